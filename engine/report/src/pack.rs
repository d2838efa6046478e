//! The packed form of events: a block of some hundred in one run of bytes. It knows no database and no clock.
//!
//! ```text
//! block  = numbers of its origins, numbers of its routes, texts, events to the end
//! list   = count, then the numbers; of texts: each its length and its bytes
//! event  = length of the rest, place, way back to the recipient, way back from there to the message, rest
//! ```
//!
//! Every number is a LEB128 varint. What many events of a block share (origin, route, sender, verdict, enhanced code) is
//! in a list once, and an event has its index there. The fields that events are looked up by come first, so that the
//! others of an event that nobody asked for are not read. Places count from the event before; all other differences wrap around, so that any value comes back.

use mail::{Disposition, MessageId, Phase, RecipientId, RecordId, UnixMs};

use crate::event::{Event, Outcome, Subject, is_same};

const HAS_NEXT: u8 = 1;
const HAS_LATENCY: u8 = 2;
const HAS_METADATA: u8 = 4;

/// One event that is to be packed, as it stands in the records that tell it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling<'a> {
    pub(crate) id: RecordId,
    pub(crate) subject: SubjectTold<'a>,
    pub(crate) result: ResultTold<'a>,
    pub(crate) route: RouteTold<'a>,
    pub(crate) connect_ms: u32,
    pub(crate) transaction_ms: u32,
}

/// [`Subject`] without its origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubjectTold<'a> {
    pub(crate) recipient: RecipientId,
    pub(crate) message: MessageId,
    pub(crate) address: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) accepted_at: UnixMs,
    pub(crate) metadata: Option<&'a str>,
}

/// [`Outcome`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResultTold<'a> {
    pub(crate) at: UnixMs,
    pub(crate) disposition: Disposition,
    pub(crate) attempt: u16,
    pub(crate) next_attempt: Option<UnixMs>,
    pub(crate) phase: Phase,
    pub(crate) verdict: &'a str,
    pub(crate) code: u16,
    pub(crate) enhanced: &'a str,
    pub(crate) reply: &'a str,
    pub(crate) latency_ms: Option<u64>,
}

/// [`crate::Route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteTold<'a> {
    pub(crate) source: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) mx: &'a str,
    pub(crate) address: &'a str,
    pub(crate) tls: &'a str,
}

/// Indexes into a block's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) origin: usize,
    pub(crate) route: usize,
    pub(crate) sender: usize,
    pub(crate) verdict: usize,
    pub(crate) enhanced: usize,
}

impl<'a> Telling<'a> {
    /// `event` as it was told.
    pub(crate) fn of(event: &'a Event) -> Self {
        let Event { id, subject, result, way } = event;
        Self {
            id: *id,
            subject: SubjectTold {
                recipient: subject.recipient,
                message: subject.message,
                address: &subject.address,
                sender: &subject.sender,
                accepted_at: subject.accepted_at,
                metadata: subject.metadata.as_deref(),
            },
            result: ResultTold {
                at: result.at,
                disposition: result.disposition,
                attempt: result.attempt,
                next_attempt: result.next_attempt,
                phase: result.phase,
                verdict: &result.verdict,
                code: result.code,
                enhanced: &result.enhanced,
                reply: &result.reply,
                latency_ms: result.latency_ms,
            },
            route: RouteTold {
                source: &way.route.source,
                provider: &way.route.provider,
                mx: &way.route.mx,
                address: &way.route.address,
                tls: &way.route.tls,
            },
            connect_ms: way.connect_ms,
            transaction_ms: way.transaction_ms,
        }
    }

    /// Adds the event to `bytes`; `before` is the event packed last, or where the block begins. `rest` is room to work in.
    pub(crate) fn pack(&self, before: RecordId, shared: Shared, bytes: &mut Vec<u8>, rest: &mut Vec<u8>) {
        rest.clear();
        let subject = &self.subject;
        put(rest, self.id.raw().wrapping_sub(before.raw()));
        put(rest, self.id.raw().wrapping_sub(subject.recipient.raw()));
        put(rest, subject.recipient.raw().wrapping_sub(subject.message.raw()));
        for index in [shared.origin, shared.route, shared.sender, shared.verdict, shared.enhanced] {
            put(rest, index as u64);
        }
        self.pack_result(rest);
        put(rest, self.result.at.0.wrapping_sub(subject.accepted_at.0));
        put(rest, u64::from(self.connect_ms));
        put(rest, u64::from(self.transaction_ms));
        put_text(rest, subject.address);
        put_text(rest, self.result.reply);
        if let Some(metadata) = subject.metadata {
            put_text(rest, metadata);
        }
        put(bytes, rest.len() as u64);
        bytes.extend_from_slice(rest);
    }

    fn pack_result(&self, rest: &mut Vec<u8>) {
        let result = &self.result;
        let mut has = 0;
        for (flag, is_there) in [
            (HAS_NEXT, result.next_attempt.is_some()),
            (HAS_LATENCY, result.latency_ms.is_some()),
            (HAS_METADATA, self.subject.metadata.is_some()),
        ] {
            has |= if is_there { flag } else { 0 };
        }
        rest.extend_from_slice(&[has, result.disposition as u8, result.phase as u8]);
        put(rest, result.at.0);
        put(rest, u64::from(result.attempt));
        put(rest, u64::from(result.code));
        if let Some(next) = result.next_attempt {
            put(rest, next.0.wrapping_sub(result.at.0));
        }
        if let Some(latency_ms) = result.latency_ms {
            put(rest, latency_ms);
        }
    }
}

/// The lists of a block, ready to stand before its events.
pub(crate) fn pack_lists(origins: &[i64], routes: &[i64], texts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for numbers in [origins, routes] {
        put(&mut bytes, numbers.len() as u64);
        for number in numbers {
            put(&mut bytes, number.cast_unsigned());
        }
    }
    put(&mut bytes, texts.len() as u64);
    for text in texts {
        put_text(&mut bytes, text);
    }
    bytes
}

/// A block as it is read.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    origins: Vec<i64>,
    routes: Vec<i64>,
    texts: Vec<&'a str>,
    before: RecordId,
    events: Bytes<'a>,
}

/// An event of which only that is read by which it is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    pub(crate) id: RecordId,
    pub(crate) recipient: RecipientId,
    pub(crate) message: MessageId,
    rest: Bytes<'a>,
}

/// What an unpacked event lacks: the numbers of its origin and route.
#[derive(Debug)]
pub(crate) struct Unpacked<'a> {
    pub(crate) origin: i64,
    pub(crate) route: i64,
    pub(crate) subject: SubjectTold<'a>,
    pub(crate) result: Outcome,
    pub(crate) connect_ms: u32,
    pub(crate) transaction_ms: u32,
}

impl<'a> Block<'a> {
    /// The block whose first event is `first`; `None` when `bytes` are not one.
    pub(crate) fn read(first: RecordId, bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let origins = bytes.list(|bytes| bytes.number().map(u64::cast_signed))?;
        let routes = bytes.list(|bytes| bytes.number().map(u64::cast_signed))?;
        let texts = bytes.list(Bytes::text)?;
        Some(Self { origins, routes, texts, before: first, events: bytes })
    }

    /// The next event; `None` at the end, an error when the bytes are damaged.
    pub(crate) fn next_event(&mut self) -> Option<Result<Packed<'a>, Damaged>> {
        (!self.events.0.is_empty()).then(|| self.step().ok_or(Damaged))
    }

    fn step(&mut self) -> Option<Packed<'a>> {
        let length = usize::try_from(self.events.number()?).ok()?;
        let mut rest = Bytes(self.events.take(length)?);
        let id = self.before.raw().wrapping_add(rest.number()?);
        let recipient = id.wrapping_sub(rest.number()?);
        let message = recipient.wrapping_sub(rest.number()?);
        self.before = RecordId::from_raw(id);
        Some(Packed {
            id: self.before,
            recipient: RecipientId::from_raw(recipient),
            message: MessageId::from_raw(message),
            rest,
        })
    }

    /// All of `packed`, which is of this block.
    pub(crate) fn unpack(&self, packed: &Packed<'a>) -> Result<Unpacked<'a>, Damaged> {
        self.try_unpack(packed).ok_or(Damaged)
    }

    fn try_unpack(&self, packed: &Packed<'a>) -> Option<Unpacked<'a>> {
        let mut bytes = packed.rest;
        let origin = *self.origins.get(bytes.index()?)?;
        let route = *self.routes.get(bytes.index()?)?;
        let sender = *self.texts.get(bytes.index()?)?;
        let (verdict, enhanced) = (*self.texts.get(bytes.index()?)?, *self.texts.get(bytes.index()?)?);
        let &[has, disposition, phase] = bytes.take(3)? else { return None };
        let at = UnixMs(bytes.number()?);
        let attempt = u16::try_from(bytes.number()?).ok()?;
        let code = u16::try_from(bytes.number()?).ok()?;
        let next = if has & HAS_NEXT != 0 { Some(bytes.number()?) } else { None };
        let latency_ms = if has & HAS_LATENCY != 0 { Some(bytes.number()?) } else { None };
        let accepted_at = UnixMs(at.0.wrapping_sub(bytes.number()?));
        let connect_ms = u32::try_from(bytes.number()?).ok()?;
        let transaction_ms = u32::try_from(bytes.number()?).ok()?;
        let (address, reply) = (bytes.text()?, bytes.text()?);
        let metadata = if has & HAS_METADATA != 0 { Some(bytes.text()?) } else { None };
        let (recipient, message) = (packed.recipient, packed.message);
        let subject = SubjectTold { recipient, message, address, sender, accepted_at, metadata };
        let result = Outcome {
            at,
            disposition: Disposition::from_index(disposition).unwrap_or(Disposition::Unknown),
            attempt,
            next_attempt: next.map(|next| UnixMs(at.0.wrapping_add(next))),
            phase: Phase::from_index(phase).unwrap_or(Phase::Routing),
            verdict: verdict.to_owned(),
            code,
            enhanced: enhanced.to_owned(),
            reply: reply.to_owned(),
            latency_ms,
        };
        Some(Unpacked { origin, route, subject, result, connect_ms, transaction_ms })
    }
}

impl SubjectTold<'_> {
    /// The subject with its origin.
    pub(crate) fn to_subject(self, origin: crate::Origin) -> Subject {
        Subject {
            recipient: self.recipient,
            message: self.message,
            address: self.address.to_owned(),
            sender: self.sender.to_owned(),
            accepted_at: self.accepted_at,
            metadata: self.metadata.map(str::to_owned),
            origin,
        }
    }
}

impl RouteTold<'_> {
    pub(crate) fn to_route(self) -> crate::Route {
        crate::Route {
            source: self.source.to_owned(),
            provider: self.provider.to_owned(),
            mx: self.mx.to_owned(),
            address: self.address.to_owned(),
            tls: self.tls.to_owned(),
        }
    }

    pub(crate) fn is(self, route: &crate::Route) -> bool {
        is_same(self.provider, &route.provider)
            && is_same(self.address, &route.address)
            && is_same(self.source, &route.source)
            && is_same(self.mx, &route.mx)
            && is_same(self.tls, &route.tls)
    }
}

/// The bytes are not a block that this program wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn index(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.index()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// An item takes a byte at least, so damaged counts allocate no more than there are bytes.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.index()?;
        if count > self.0.len() {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        // Seven bits of the number and the mark that more follow.
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for number in (0..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            let mut read = Bytes(&bytes);
            assert_eq!((read.number(), read.0.len()), (Some(number), 0));
        }
        assert_eq!(Bytes(&[0x80; 11]).number(), None);
    }

    #[test]
    fn any_damage_is_an_end_or_an_error() {
        let telling = telling();
        let shared = Shared { origin: 0, route: 1, sender: 0, verdict: 1, enhanced: 2 };
        let mut bytes = pack_lists(&[3], &[-1, 9], &["s@x".to_owned(), String::new(), "2.0.0".to_owned()]);
        telling.pack(telling.id, shared, &mut bytes, &mut Vec::new());
        let mut block = Block::read(telling.id, &bytes).expect("a block");
        let packed = block.next_event().expect("an event").expect("whole");
        let unpacked = block.unpack(&packed).expect("whole");
        assert_eq!((unpacked.origin, unpacked.route, unpacked.subject.sender), (3, 9, "s@x"));
        assert_eq!((unpacked.result.at, unpacked.result.next_attempt), (UnixMs(5), Some(UnixMs(u64::MAX))));
        assert_eq!((packed.recipient, unpacked.subject.accepted_at), (RecipientId::from_raw(900), UnixMs(7)));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            read_all(telling.id, &damaged);
            read_all(telling.id, &bytes[..place]);
        }
    }

    fn read_all(first: RecordId, bytes: &[u8]) {
        let Some(mut block) = Block::read(first, bytes) else { return };
        while let Some(Ok(packed)) = block.next_event() {
            drop(block.unpack(&packed));
        }
    }

    /// With differences that wrap around.
    fn telling() -> Telling<'static> {
        Telling {
            id: RecordId::from_raw(77),
            subject: SubjectTold {
                recipient: RecipientId::from_raw(900),
                message: MessageId::from_raw(1000),
                address: "r@x",
                sender: "s@x",
                accepted_at: UnixMs(7),
                metadata: Some("{}"),
            },
            result: ResultTold {
                at: UnixMs(5),
                disposition: Disposition::Deferred,
                attempt: 1,
                next_attempt: Some(UnixMs(u64::MAX)),
                phase: Phase::Body,
                verdict: "",
                code: 250,
                enhanced: "2.0.0",
                reply: "ok",
                latency_ms: Some(3),
            },
            route: RouteTold { source: "a", provider: "p", mx: "m", address: "1", tls: "" },
            connect_ms: 1,
            transaction_ms: u32::MAX,
        }
    }
}
