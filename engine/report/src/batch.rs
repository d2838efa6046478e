//! What one transaction adds to the event store: blocks of packed events, counts, and cursors. It writes nothing.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};

use mail::{CampaignId, Class, RecordId, UnixMs};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::event::{Event, Origin, Route, is_same};
use crate::pack::{Shared, Telling};

/// Events of a block: so many that what a block costs vanishes, so few that reading one event of it takes microseconds.
const BLOCK_EVENTS_MAX: u32 = 256;

/// A block is closed when it has so many bytes: replies and metadata may be long.
const BLOCK_BYTES_MAX: usize = 65_536;

/// Recipients whose records begin in the same 256 KiB of a log are found together: a block is listed once for each such stretch that it
/// has events of, not once for each event. A stretch has room for 1,500 recipients of a campaign, so a story is looked for
/// in so many blocks at most.
const STRETCH_BITS: u32 = 18;

const MINUTE_MS: u64 = 60_000;

/// What one transaction adds.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Outcomes, in the order of each shard's log.
    pub(crate) blocks: Vec<NewBlock>,
    /// Campaigns that were started, and when.
    pub(crate) started: BTreeMap<CampaignId, UnixMs>,
    /// Recipients that were taken in.
    pub(crate) accepted: FxHashMap<Accepted, u64>,
    /// Where each shard that was read is to be read on.
    pub(crate) cursors: BTreeMap<u8, u64>,
    /// Recipients that were taken in one after the other under the same key, before they are added to `accepted`.
    run: Option<(Accepted, u64)>,
    events: usize,
    room: Vec<u8>,
}

/// Under what an accepted recipient is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Accepted {
    pub(crate) minute: u64,
    pub(crate) campaign: Option<CampaignId>,
    pub(crate) tenant: String,
    pub(crate) class: Class,
}

/// Events of one shard that are to become one row.
#[derive(Debug)]
pub(crate) struct NewBlock {
    pub(crate) first: RecordId,
    pub(crate) last: RecordId,
    /// When the latest of its outcomes was decided.
    pub(crate) newest: UnixMs,
    pub(crate) origins: List<Origin>,
    pub(crate) routes: List<Route>,
    pub(crate) texts: List<String>,
    /// The packed events without the lists.
    pub(crate) events: Vec<u8>,
    /// Where to look for it; sorted and without repetition once [`NewBlock::close`] was called.
    pub(crate) places: Places,
    pub(crate) counts: FxHashMap<CountKey, u64>,
    /// How long those that were delivered had waited, in milliseconds.
    pub(crate) waits: Vec<(Class, u64)>,
    count: u32,
}

/// By what a block is found.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Stretches of the log that hold recipients of it, see [`stretch`].
    pub(crate) stretches: Vec<i64>,
    /// Messages that are not to be found by way of their recipients, see [`is_beside`].
    pub(crate) messages: Vec<i64>,
}

/// What events are counted by; origin and route are indexes into the lists of their block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CountKey {
    pub(crate) minute: u64,
    pub(crate) origin: usize,
    pub(crate) route: usize,
    pub(crate) disposition: mail::Disposition,
}

impl Batch {
    /// Counts one recipient of `origin` that was accepted at `at`.
    pub(crate) fn accept(&mut self, origin: &Origin, at: UnixMs) {
        let minute = at.0 / MINUTE_MS;
        if let Some((key, count)) = &mut self.run {
            let is_same = key.minute == minute
                && key.campaign == origin.campaign
                && key.class == origin.class
                && is_same(&key.tenant, &origin.tenant);
            if is_same {
                *count += 1;
                return;
            }
        }
        self.end_run();
        let key = Accepted {
            minute,
            campaign: origin.campaign,
            tenant: origin.tenant.clone(),
            class: origin.class,
        };
        self.run = Some((key, 1));
    }

    fn end_run(&mut self) {
        if let Some((key, count)) = self.run.take() {
            *self.accepted.entry(key).or_default() += count;
        }
    }

    /// Adds an event of `origin`, whose hash is `origin_hash`.
    pub(crate) fn tell(&mut self, telling: &Telling<'_>, origin: &Origin, origin_hash: u64) {
        let shard = telling.id.shard();
        let open = self.blocks.iter().rposition(|block| block.first.shard() == shard);
        let place = open.filter(|place| !self.blocks[*place].is_full()).unwrap_or_else(|| {
            self.blocks.push(NewBlock::new(telling.id));
            self.blocks.len() - 1
        });
        self.blocks[place].tell(telling, (origin, origin_hash), &mut self.room);
        self.events += 1;
    }

    /// Adds an event that was read back.
    pub(crate) fn tell_again(&mut self, event: &Event) {
        let origin = &event.subject.origin;
        self.tell(&Telling::of(event), origin, hash(origin));
    }

    /// How many events there are.
    pub(crate) const fn events(&self) -> usize {
        self.events
    }

    /// Completes what is kept open for speed; to be called before it is written.
    pub(crate) fn close(&mut self) {
        self.end_run();
        for block in &mut self.blocks {
            block.close();
        }
    }

    /// Makes room for the next batch.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.started.clear();
        self.accepted.clear();
        self.cursors.clear();
        self.run = None;
        self.events = 0;
    }
}

impl NewBlock {
    fn new(first: RecordId) -> Self {
        Self {
            first,
            last: first,
            newest: UnixMs(0),
            origins: List::default(),
            routes: List::default(),
            texts: List::default(),
            events: Vec::new(),
            places: Places::default(),
            counts: FxHashMap::default(),
            waits: Vec::new(),
            count: 0,
        }
    }

    /// How many events it has.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    fn is_full(&self) -> bool {
        self.count >= BLOCK_EVENTS_MAX || self.events.len() >= BLOCK_BYTES_MAX
    }

    fn tell(&mut self, telling: &Telling<'_>, origin: (&Origin, u64), room: &mut Vec<u8>) {
        let (origin, origin_hash) = origin;
        let class = origin.class;
        let origin = self.origins.place(origin_hash, |known| known.is(origin), || origin.clone());
        let route = telling.route;
        let result = &telling.result;
        let shared = Shared {
            origin,
            route: self.routes.place(hash(&route), |known| route.is(known), || route.to_route()),
            sender: self.text(telling.subject.sender),
            verdict: self.text(result.verdict),
            enhanced: self.text(result.enhanced),
        };
        telling.pack(self.last, shared, &mut self.events, room);
        self.places.add(telling.subject.recipient.0, telling.subject.message.0);
        let key = CountKey {
            minute: result.at.0 / MINUTE_MS,
            origin,
            route: shared.route,
            disposition: result.disposition,
        };
        *self.counts.entry(key).or_default() += 1;
        if let Some(latency_ms) = result.latency_ms {
            self.waits.push((class, latency_ms));
        }
        self.last = telling.id;
        self.newest = self.newest.max(result.at);
        self.count += 1;
    }

    fn text(&mut self, text: &str) -> usize {
        self.texts.place(hash(text), |known| is_same(known, text), || text.to_owned())
    }

    fn close(&mut self) {
        for keys in [&mut self.places.stretches, &mut self.places.messages] {
            keys.sort_unstable();
            keys.dedup();
        }
    }
}

impl Places {
    /// Events come about in the order of their recipients: most repetitions are of the one before.
    pub(crate) fn add(&mut self, recipient: RecordId, message: RecordId) {
        let (stretch, own) = (stretch(recipient), message.raw().cast_signed());
        if self.stretches.last() != Some(&stretch) {
            self.stretches.push(stretch);
        }
        if !is_beside(recipient, message) && self.messages.last() != Some(&own) {
            self.messages.push(own);
        }
    }
}

/// The number of the stretch of a log that `record` begins in.
pub(crate) const fn stretch(record: RecordId) -> i64 {
    (record.raw() >> STRETCH_BITS).cast_signed()
}

/// Whether `recipient` stands in the stretch of its message or the next: so do those of all short messages that did not come as a campaign, and
/// then the message need not be listed.
const fn is_beside(recipient: RecordId, message: RecordId) -> bool {
    let (of_recipient, of_message) = (stretch(recipient), stretch(message));
    of_recipient == of_message || of_recipient == of_message + 1
}

/// Each value once, by the order of their first coming.
#[derive(Debug)]
pub(crate) struct List<T> {
    values: Vec<T>,
    places: FxHashMap<u64, usize>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: FxHashMap::default() }
    }
}

impl<T> List<T> {
    /// The index of the value that has `hash` and that `is` accepts, which `make` gives when it is not there. Of two values with one hash
    /// the earlier may be added again, which does no harm.
    fn place(&mut self, hash: u64, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
        if let Some(&place) = self.places.get(&hash)
            && self.values.get(place).is_some_and(is)
        {
            return place;
        }
        self.values.push(make());
        self.places.insert(hash, self.values.len() - 1);
        self.values.len() - 1
    }

    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }
}

/// The hash under which [`Batch::tell`] wants an origin.
pub(crate) fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    FxBuildHasher.hash_one(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_far_from_their_recipients_are_listed() {
        let stretch_bytes = 1 << STRETCH_BITS;
        let mut places = Places::default();
        let message = RecordId::new(3, 5 * stretch_bytes + 10);
        for place in [5 * stretch_bytes + 20, 5 * stretch_bytes + 30, 6 * stretch_bytes] {
            places.add(RecordId::new(3, place), message);
        }
        assert_eq!((places.stretches.len(), places.messages.len()), (2, 0));
        places.add(RecordId::new(3, 7 * stretch_bytes), message);
        places.add(RecordId::new(3, 4 * stretch_bytes), message);
        assert_eq!((places.stretches.len(), places.messages.len()), (4, 1));
    }

    #[test]
    fn values_with_one_hash_stay_apart() {
        let mut list = List::default();
        for (value, place) in [("a", 0), ("b", 1), ("b", 1), ("a", 2)] {
            assert_eq!(list.place(1, |known| *known == value, || value), place);
        }
    }
}
