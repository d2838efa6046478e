//! Bytes as a script that writes segments: whole records of every kind whose heads are archives, archives with wrong
//! bytes, or anything at all, and bytes that are no records. Every checksum and stamp is right unless the script
//! says otherwise, or the fuzzer would never get past them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mail::{
    BodyType, CampaignId, Class, Disposition, DsnReturn, Enhanced, Ledger, MessageId, Notify, Outcome, Phase,
    RecordId, Reply, Route, Timings, TlsWish, UnixMs,
};
use spool::raw::{RawHead, RawPlace, RawSegment, moved_prefix};
use spool::{CampaignPhase, CampaignState, Content, ContentKind, Ground, Kind, Needs, Recipient};

use crate::input::Input;

/// Positions that a segment takes up, unless the script says otherwise.
pub const SEGMENT_BYTES: u64 = 16 << 10;
/// A segment takes no more than this.
const SEGMENT_BYTES_MAX: usize = 64 << 10;
/// Segments of a log.
const SEGMENTS_MAX: usize = 3;
/// The layout of heads that is written now.
const VERSION: u8 = 1;

/// A segment file.
#[derive(Debug)]
pub struct Written {
    /// Its sequence number.
    pub sequence: u64,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A log that a script has written.
#[derive(Debug)]
pub struct Script {
    /// Its segments in order.
    pub segments: Vec<Written>,
    /// Whether a log could have written this: no wrong bytes, and every record makes sense where it stands.
    pub is_sound: bool,
    /// Raw identifiers of the records with their kinds, to refer to.
    ids: Vec<(u64, u8)>,
    /// Waiting recipients by raw identifier, and the number of the segment that holds each now.
    waiting: BTreeMap<u64, usize>,
    /// Contents in the same way.
    contents: BTreeMap<u64, usize>,
}

impl Script {
    /// Carries out the script.
    #[must_use]
    pub fn run(input: &mut Input<'_>) -> Self {
        let mut script = Self {
            segments: Vec::new(),
            is_sound: true,
            ids: Vec::new(),
            waiting: BTreeMap::new(),
            contents: BTreeMap::new(),
        };
        let mut base = 0;
        while script.segments.is_empty() || (!input.is_empty() && script.segments.len() < SEGMENTS_MAX) {
            let place = script.place(input, base);
            base = place.base.wrapping_add(place.capacity);
            let mut bytes = script.segment(input, RawSegment::new(place));
            // No file is ever longer than its segment: that is the size it was preallocated with.
            let capacity = usize::try_from(place.capacity).unwrap_or(usize::MAX);
            script.is_sound &= bytes.len() <= capacity;
            bytes.truncate(capacity);
            script.segments.push(Written { sequence: place.sequence, bytes });
        }
        script
    }

    /// Where the next segment stands: mostly behind the one before.
    fn place(&mut self, input: &mut Input<'_>, base: u64) -> RawPlace {
        let sequence = self.segments.len() as u64 + 1;
        let mut place = RawPlace { shard: 0, sequence, base, capacity: SEGMENT_BYTES, identity: sequence };
        let step = input.u8();
        self.is_sound &= step < 250;
        match step {
            255 => place.shard = input.u8(),
            254 => place.sequence = u64::from(input.u16()),
            // Far up, but not so far that a log could not go on behind it.
            253 => place.base = input.u64() >> 9 & !15,
            252 => place.capacity = input.u64(),
            251 => place.base = place.base.wrapping_add(u64::from(input.u16()) << 4),
            250 => place.capacity = SEGMENT_BYTES << (input.u8() & 7),
            _ => {}
        }
        place
    }

    fn segment(&mut self, input: &mut Input<'_>, mut segment: RawSegment) -> Vec<u8> {
        let mut has_end = false;
        if input.u8() > 224 {
            self.cut(input, &mut segment);
        }
        while !input.is_empty() && segment.len() < SEGMENT_BYTES_MAX {
            let step = input.u8();
            self.is_sound &= !matches!(step & 15, 0 | 8 | 9 | 12 | 14) && (!has_end || step & 15 == 13);
            has_end |= step & 15 == 11;
            match step & 15 {
                0 => self.anything(input, &mut segment),
                1..=3 => self.recipient(input, &mut segment, step),
                4 => self.content(input, &mut segment, step),
                5 | 6 => self.outcome(input, &mut segment, step),
                7 => self.campaign(input, &mut segment, step),
                8 => self.totals(input, &mut segment, step),
                9 => segment.bytes(input.take(usize::from(step >> 4) * 16)),
                10 => segment.bytes(&[0; 4096][..usize::from(step >> 4) << 8]),
                11 => drop(segment.record(Kind::End as u8, VERSION, &[], &[])),
                12 => return spoilt(input, segment.into_bytes()),
                13 => return segment.into_bytes(),
                // A whole record that stands somewhere else than it says.
                14 => {
                    let other = RawPlace { shard: 0, sequence: 1, base: 16, capacity: 0, identity: 1 };
                    let mut other = RawSegment::new(other);
                    other.record(input.u8(), VERSION, input.take(16), &[]);
                    segment.bytes(&other.into_bytes()[4096..]);
                }
                _ => self.body(input, &mut segment),
            }
        }
        segment.into_bytes()
    }

    /// The records before this segment count for nothing from some position on.
    fn cut(&mut self, input: &mut Input<'_>, segment: &mut RawSegment) {
        self.is_sound = false;
        let from = RecordId::from_raw(self.id(input)).position();
        self.head(input, segment, 0, &RawHead::Cut(from));
    }

    /// A head of any bytes under any kind.
    fn anything(&mut self, input: &mut Input<'_>, segment: &mut RawSegment) {
        let kind = input.u8() % 11;
        let version = match input.u8() {
            255 => 2,
            version => version & 1,
        };
        let length = usize::from(input.u8());
        let mut head = input.take(length).to_vec();
        bound_totals(kind, &mut head);
        let id = segment.record(kind, version, &head, input.take(usize::from(kind)));
        self.ids.push((id.raw(), kind));
    }

    fn content(&mut self, input: &mut Input<'_>, segment: &mut RawSegment, step: u8) {
        let marks = input.u8();
        let content = Content {
            kind: if marks & 1 == 0 { ContentKind::Message } else { ContentKind::Template },
            accepted_at: UnixMs(u64::from(input.u16())),
            sender: input.text(),
            tenant: input.text(),
            class: Class::ALL[usize::from(marks >> 1 & 3)],
            campaign: (marks & 8 != 0).then(|| CampaignId::from_raw(self.id(input))),
            needs: Needs {
                body_type: if marks & 16 == 0 { BodyType::SevenBit } else { BodyType::EightBitMime },
                smtputf8: marks & 32 != 0,
                tls: TlsWish::from_index(marks >> 4 & 3),
            },
            dsn_return: if marks & 64 == 0 { DsnReturn::Full } else { DsnReturn::Headers },
            envelope_id: (marks & 128 != 0).then(|| input.text()),
            tags: input.texts(),
            metadata: input.text(),
            name: input.text(),
            identity: String::new(),
            ground: Ground { code: step, because: String::new() },
            notice: marks & 3 == 3,
        };
        self.head(input, segment, step, &RawHead::Content(&content));
    }

    /// A content with a long body, some of which looks like the segment itself.
    fn body(&mut self, input: &mut Input<'_>, segment: &mut RawSegment) {
        let so_far = segment.clone().into_bytes();
        let from = (usize::from(input.u16()) * 16).min(so_far.len());
        let until = so_far.len().min(from + usize::from(input.u8()) * 16);
        if let Ok(head) = RawHead::Content(&Content::default()).to_bytes() {
            let id = segment.record(Kind::Content as u8, VERSION, &head, &so_far[from..until]).raw();
            self.ids.push((id, Kind::Content as u8));
            self.contents.insert(id, self.segments.len());
        }
    }

    fn recipient(&mut self, input: &mut Input<'_>, segment: &mut RawSegment, step: u8) {
        let marks = input.u8();
        let recipient = Recipient {
            content: MessageId::default(),
            address: input.text(),
            not_before: UnixMs(u64::from(marks)),
            deadline: u32::from(marks),
            expiry: u32::from(marks >> 1),
            notify: Notify::from_bits(marks),
            original: (marks & 1 != 0).then(|| input.text()),
            values: if marks & 2 != 0 { input.texts() } else { Vec::new() },
        };
        let content = self.id(input);
        self.is_sound &= self.contents.contains_key(&content);
        self.head(input, segment, step, &RawHead::Recipient(content, &recipient));
    }

    fn outcome(&mut self, input: &mut Input<'_>, segment: &mut RawSegment, step: u8) {
        let marks = input.u8();
        let next = u64::from(input.u16()) * 999;
        let outcome = Outcome {
            at: UnixMs(next),
            attempt: u16::from(marks >> 3),
            disposition: Disposition::from_index(marks & 7).unwrap_or(Disposition::Deferred),
            next_attempt: (next != 0).then_some(UnixMs(next)),
            phase: Phase::from_index(marks >> 4).unwrap_or(Phase::Body),
            verdict: input.text(),
            reply: Reply {
                code: next as u16,
                enhanced: (marks & 1 == 0).then_some(Enhanced(marks, 1, 2)),
                text: input.text(),
            },
            route: Arc::new(Route { source: input.text(), mx: input.text(), ..Route::default() }),
            timings: Timings { connect_ms: 1, transaction_ms: u32::from(marks) },
        };
        let recipient = self.id(input);
        self.is_sound &= self.waiting.contains_key(&recipient) && step & 16 == 0;
        if outcome.disposition.is_final() {
            self.waiting.remove(&recipient);
        }
        self.head(input, segment, step, &RawHead::Outcome(recipient, &outcome));
    }

    fn campaign(&mut self, input: &mut Input<'_>, segment: &mut RawSegment, step: u8) {
        let phase = CampaignPhase::from_index(input.u8() % 5).unwrap_or(CampaignPhase::Created);
        let state = CampaignState {
            campaign: CampaignId::from_raw(self.id(input)),
            phase,
            at: UnixMs(u64::from(input.u16())),
        };
        self.is_sound &= self.contents.contains_key(&state.campaign.raw()) && step & 16 == 0;
        self.head(input, segment, step, &RawHead::Campaign(&state));
    }

    fn totals(&mut self, input: &mut Input<'_>, segment: &mut RawSegment, step: u8) {
        let mut number = || u64::from(input.u8());
        let ledger = Ledger {
            accepted: number(),
            delivered: number(),
            bounced: number(),
            expired: number(),
            cancelled: number(),
            suppressed: number(),
            unknown_retries: number(),
        };
        let opening = number() & 1 == 0;
        self.head(input, segment, step, &RawHead::Totals(&ledger, opening));
    }

    /// Writes a record with this head: as it is, as one carried forward, or with wrong bytes.
    fn head(&mut self, input: &mut Input<'_>, segment: &mut RawSegment, step: u8, head: &RawHead<'_>) {
        let Ok(mut bytes) = head.to_bytes() else { return };
        let mut kind = head.kind() as u8;
        let mut moved = None;
        if step & 16 != 0 {
            let id = self.id(input);
            moved = Some(id);
            let prefix = moved_prefix(id, u32::from(input.u8()), u16::from(input.u8()));
            bytes = [&prefix, bytes.as_slice()].concat();
            kind = match head {
                RawHead::Content(_) => Kind::MovedContent as u8,
                _ => Kind::MovedRecipient as u8,
            };
        }
        self.is_sound &= step >> 5 < 3;
        for _ in 0..(step >> 5).saturating_sub(4) {
            let at = usize::from(input.u8()) % bytes.len().max(1);
            bytes[at] ^= input.u8();
        }
        if step >> 5 == 3 {
            bytes.truncate(usize::from(input.u8()));
        }
        bound_totals(kind, &mut bytes);
        let body = if step & 15 == 4 { input.take(usize::from(step >> 4) * 4) } else { &[] };
        let id = segment.record(kind, VERSION, &bytes, body).raw();
        self.ids.push((id, kind));
        self.keep(moved.unwrap_or(id), moved.is_some(), head);
    }

    /// A content or recipient stands in this segment from now on.
    fn keep(&mut self, id: u64, is_moved: bool, head: &RawHead<'_>) {
        let here = self.segments.len();
        let kept = match head {
            RawHead::Content(_) => &mut self.contents,
            RawHead::Recipient(..) => &mut self.waiting,
            _ => return,
        };
        // Only what stands in an earlier segment is ever carried forward.
        self.is_sound &= !is_moved || kept.get(&id).is_some_and(|there| *there < here);
        kept.insert(id, here);
    }

    /// One of the records so far, or any number.
    fn id(&self, input: &mut Input<'_>) -> u64 {
        match input.u8() {
            255 => input.u64(),
            254 => u64::from(input.u16()) << 4,
            // So that what makes sense is found soon.
            step @ 128.. => {
                self.latest(if step & 1 == 0 { Kind::Content } else { Kind::Recipient }, step >> 1 & 15)
            }
            back => self.ids.iter().rev().nth(usize::from(back)).map_or(0, |(id, _)| *id),
        }
    }

    fn latest(&self, kind: Kind, back: u8) -> u64 {
        let ids = self.ids.iter().rev().filter(|(_, other)| *other == kind as u8);
        ids.map(|(id, _)| *id).nth(usize::from(back)).unwrap_or_default()
    }
}

/// Keeps the seven numbers of a ledger below 2^48: no log counts further, and the sums of [`Ledger`] are plain ones.
fn bound_totals(kind: u8, head: &mut [u8]) {
    if kind == Kind::Totals as u8 {
        // An archive's struct stands at its end.
        let begin = head.len().saturating_sub(64);
        head[begin..]
            .chunks_mut(8)
            .take(7)
            .for_each(|number| number.iter_mut().skip(6).for_each(|byte| *byte = 0));
    }
}

/// The end of a file with some wrong bytes, or cut.
fn spoilt(input: &mut Input<'_>, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..input.u8() & 3 {
        let at = usize::from(input.u16()) % bytes.len();
        bytes[at] ^= input.u8();
    }
    if input.u8() & 1 != 0 {
        bytes.truncate(usize::from(input.u16()));
    }
    bytes
}
