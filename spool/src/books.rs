//! What of a log is still needed: which recipients wait and where they lie, which contents and campaigns they need,
//! and the ledger. Fed by every record in order, while appending and while recovering alike; does no IO.
//!
//! Memory: 4 bytes for each recipient of a segment, 10 once one of that segment's recipients has been deferred. The
//! finished ones are swept out when they are a third (and more than a thousand), so a waiting recipient costs at
//! most 15 bytes here; the segment being written has room to grow besides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use mail::{Disposition, Ledger, UnixMs};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::layout::{ALIGN, SegmentHeader};
use crate::record::CampaignPhase;

/// The recipient waits.
const LIVE: u32 = 1 << 31;
/// Its content lies in another segment than itself, so it is counted in [`Books::far`].
const FAR: u32 = 1 << 30;
/// Bits of a slot that are the offset in units of [`ALIGN`]: enough for segments of 2 GiB.
const PLACE: u32 = (1 << 27) - 1;
/// Fewer finished slots than this are not worth a sweep.
const SWEEP_MIN: usize = 1024;

/// How often a recipient was tried, and when it is to be tried next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    pub(crate) attempts: u16,
    /// Second of the Unix epoch, rounded up; zero when none was set.
    pub(crate) next_s: u32,
}

impl Retry {
    pub(crate) fn new(attempts: u16, next: Option<UnixMs>) -> Self {
        let next_s = next.map_or(0, |at| u32::try_from(at.0.div_ceil(1000)).unwrap_or(u32::MAX));
        Self { attempts, next_s }
    }

    pub(crate) fn next_attempt(self) -> Option<UnixMs> {
        (self.next_s != 0).then(|| UnixMs::from_seconds(u64::from(self.next_s)))
    }
}

/// A recipient in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where its record lies now.
    pub(crate) position: u64,
    pub(crate) retry: Retry,
    segment: usize,
    index: usize,
}

/// What the books know of one segment.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) base: u64,
    pub(crate) end: u64,
    /// Waiting recipients whose record lies here now.
    pub(crate) live: u32,
    /// Recipients whose record ever lay here.
    recipients: u32,
    /// Bytes of contents and recipients.
    payload_bytes: u64,
    /// Bytes of all records.
    pub(crate) used_bytes: u64,
    /// Everything that made something here unneeded was appended before this position: outcomes of recipients of
    /// this segment or of recipients of its contents, later states of its campaigns, records carried forward from
    /// here, and the totals at the beginning of the next segment.
    pub(crate) needed_until: u64,
    /// Places of recipients in order, with their bits.
    slots: Vec<u32>,
    /// Beside `slots`; shorter ones are read as zeros.
    next_s: Vec<u32>,
    attempts: Vec<u16>,
}

/// A campaign in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Campaign {
    pub(crate) phase: CampaignPhase,
    pub(crate) at: UnixMs,
    /// Where its last state lies; for a campaign without one, its template.
    pub(crate) position: u64,
}

/// Where the records lie that reclaim has carried forward, as far as they are flushed: raw identifier to position.
/// The readers share it and ask it only for records whose first segment is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct MovedMap(Arc<RwLock<FxHashMap<u64, u64>>>);

impl MovedMap {
    pub(crate) fn position(&self, id: u64) -> Option<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }
}

/// The same with what is not flushed yet: a record that is carried on from where it was carried to must not lead
/// readers to its new place before it can be read there.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) flushed: MovedMap,
    fresh: FxHashMap<u64, u64>,
    /// Entries in `flushed`, known without its lock: mostly none.
    flushed_count: usize,
}

impl Moved {
    fn position(&self, id: u64) -> Option<u64> {
        if self.fresh.is_empty() && self.flushed_count == 0 {
            return None;
        }
        self.fresh.get(&id).copied().or_else(|| self.flushed.position(id))
    }

    /// The record that was carried to `position`: slow, for what cannot be read there any more.
    pub(crate) fn id_at(&self, position: u64) -> Option<u64> {
        let flushed = self.flushed.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.fresh.iter().chain(flushed.iter());
        all.find(|(_, there)| **there == position).map(|(id, _)| *id)
    }

    fn insert(&mut self, id: u64, position: u64) {
        self.fresh.insert(id, position);
    }

    /// What was carried can be read: shows it to the readers.
    pub(crate) fn flush(&mut self) {
        if !self.fresh.is_empty() {
            let mut flushed = self.flushed.0.write().unwrap_or_else(PoisonError::into_inner);
            flushed.extend(self.fresh.drain());
            self.flushed_count = flushed.len();
        }
    }

    fn forget_before(&mut self, oldest: u64) {
        let mut flushed = self.flushed.0.write().unwrap_or_else(PoisonError::into_inner);
        flushed.retain(|_, position| *position >= oldest);
        self.flushed_count = flushed.len();
    }
}

/// Everything that is still needed.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// One for each segment, oldest first.
    pub(crate) shelves: VecDeque<Shelf>,
    /// Waiting recipients of contents that lie in another segment than they do, by raw content identifier.
    pub(crate) far: FxHashMap<u64, u32>,
    /// Records carried forward.
    pub(crate) moved: Moved,
    /// By raw identifier.
    pub(crate) campaigns: BTreeMap<u64, Campaign>,
    pub(crate) ledger: Ledger,
    /// Recipients that wait.
    pub(crate) waiting: u64,
    /// Contents that cannot be carried forward because they cannot be read, by raw identifier.
    pub(crate) unreadable: FxHashSet<u64>,
}

/// Finds the content of the recipient whose record lies at a position.
pub(crate) type ContentOf<'a> = &'a dyn Fn(u64) -> Option<u64>;

impl Books {
    /// A segment begins.
    pub(crate) fn begin(&mut self, header: &SegmentHeader) {
        if let Some(full) = self.shelves.back_mut() {
            full.slots.shrink_to_fit();
        }
        let shelf = Shelf { base: header.base, end: header.end(), ..Shelf::default() };
        self.shelves.push_back(shelf);
    }

    /// The oldest position that is still there.
    pub(crate) fn oldest(&self) -> u64 {
        self.shelves.front().map_or(0, |shelf| shelf.base)
    }

    /// Index of the shelf that holds `position`.
    pub(crate) fn shelf_of(&self, position: u64) -> Option<usize> {
        // Most questions are about the segment being written.
        if let Some(last) = self.shelves.back()
            && position >= last.base
        {
            return (position < last.end).then_some(self.shelves.len() - 1);
        }
        let behind = self.shelves.partition_point(|shelf| shelf.base <= position);
        let index = behind.checked_sub(1)?;
        (position < self.shelves[index].end).then_some(index)
    }

    /// Where the record with this raw identifier lies now; `None` when its segment was dropped.
    pub(crate) fn locate(&self, id: u64) -> Option<u64> {
        let first = mail::RecordId::from_raw(id).position();
        self.moved.position(id).or_else(|| self.shelf_of(first).map(|_| first))
    }

    /// A record of `span` bytes stands at `position`.
    pub(crate) fn record(&mut self, position: u64, span: u64) {
        if let Some(index) = self.shelf_of(position) {
            self.shelves[index].used_bytes += span;
        }
    }

    /// A content stands at `position`; a template opens its campaign.
    pub(crate) fn content(&mut self, id: u64, position: u64, span: u64, template_at: Option<UnixMs>) {
        if let Some(index) = self.shelf_of(position) {
            self.shelves[index].payload_bytes += span;
        }
        if id != mail::RecordId::new(mail::RecordId::from_raw(id).shard(), position).raw() {
            self.moved.insert(id, position);
        }
        if let Some(at) = template_at {
            let campaign = Campaign { phase: CampaignPhase::Created, at, position };
            self.campaigns.entry(id).or_insert(campaign);
        }
    }

    /// A new recipient stands at `position`.
    pub(crate) fn recipient(&mut self, position: u64, span: u64, content: u64) {
        self.ledger.accepted = self.ledger.accepted.saturating_add(1);
        self.shelve(position, span, content, Retry::default());
    }

    /// The recipient `id` was carried forward to `position`.
    pub(crate) fn recipient_moved(&mut self, id: u64, to: (u64, u64), content: u64, retry: Retry) {
        let (position, span) = to;
        if let Some(entry) = self.find(id) {
            self.unshelve(&entry, Some(content), position + span);
        }
        self.moved.insert(id, position);
        self.shelve(position, span, content, retry);
    }

    /// An outcome of the recipient `id` ends at `end`. Says whether the recipient was waiting.
    pub(crate) fn outcome(
        &mut self,
        id: u64,
        disposition: Disposition,
        retry: Retry,
        end: u64,
        content_of: ContentOf<'_>,
    ) -> bool {
        let Some(entry) = self.find(id) else { return false };
        self.ledger.record(disposition);
        if disposition.is_final() {
            let far = self.shelves[entry.segment].slots[entry.index] & FAR != 0;
            let content = if far { content_of(entry.position) } else { None };
            self.unshelve(&entry, content, end);
        } else {
            let shelf = &mut self.shelves[entry.segment];
            shelf.needed_until = shelf.needed_until.max(end);
            shelf.set_retry(entry.index, retry);
        }
        true
    }

    /// A campaign's new state ends at `end`. It makes the state before it unneeded, and a final one also the template
    /// that nobody waits for.
    pub(crate) fn campaign(&mut self, id: u64, campaign: Campaign, end: u64) {
        let before = self.campaigns.insert(id, campaign).map(|before| before.position);
        for position in [before, self.locate(id)].into_iter().flatten() {
            self.needed_until(position, end);
        }
    }

    /// What lies at `position` became unneeded by a record that ends at `end`: until that is durable, it is needed.
    pub(crate) fn needed_until(&mut self, position: u64, end: u64) {
        if let Some(index) = self.shelf_of(position) {
            let shelf = &mut self.shelves[index];
            shelf.needed_until = shelf.needed_until.max(end);
        }
    }

    /// The totals of the newest segment end at `end`: until they are durable, the segment before is needed.
    pub(crate) fn totals(&mut self, end: u64) {
        if let Some(before) = self.shelves.len().checked_sub(2) {
            let shelf = &mut self.shelves[before];
            shelf.needed_until = shelf.needed_until.max(end);
        }
    }

    /// What was appended from `from` on is appended once more, and ends at `end`.
    pub(crate) fn needed_longer(&mut self, from: u64, end: u64) {
        for shelf in self.shelves.iter_mut().filter(|shelf| shelf.needed_until > from) {
            shelf.needed_until = end;
        }
    }

    /// The segment with this header was never made; nothing is booked there any more.
    pub(crate) fn forget(&mut self, header: &SegmentHeader) {
        self.shelves.retain(|shelf| shelf.base != header.base);
    }

    /// Whether readers are sent to `position` for the record `id`.
    pub(crate) fn is_shown_at(&self, id: u64, position: u64) -> bool {
        self.moved.position(id) == Some(position)
    }

    /// Sends readers to `position` for the record `id`, for which nobody waits any more.
    pub(crate) fn show_at(&mut self, id: u64, position: u64) {
        self.moved.insert(id, position);
    }

    /// Nothing that waits in `void` was ever accepted.
    pub(crate) fn withdraw_all(&mut self, void: std::ops::Range<u64>) {
        let all = (0..self.shelves.len()).flat_map(|shelf| self.waiting_from(shelf, void.start));
        let waiting: Vec<u64> = all.map(|entry| entry.position).filter(|at| void.contains(at)).collect();
        for position in waiting {
            self.ledger.accepted = self.ledger.accepted.saturating_sub(1);
            if let Some(entry) = self.entry_at(position) {
                self.unshelve(&entry, None, 0);
            }
        }
    }

    /// The waiting recipient `id` was never accepted.
    pub(crate) fn withdraw(&mut self, id: u64, content: u64) {
        self.ledger.accepted = self.ledger.accepted.saturating_sub(1);
        if let Some(entry) = self.find(id) {
            self.unshelve(&entry, Some(content), 0);
        }
    }

    /// The waiting recipient with this raw identifier.
    pub(crate) fn find(&self, id: u64) -> Option<Entry> {
        let first = mail::RecordId::from_raw(id).position();
        self.entry_at(first).or_else(|| self.entry_at(self.moved.position(id)?))
    }

    /// The waiting recipients of a shelf from `from` (a position) on, in order.
    pub(crate) fn waiting_from(&self, segment: usize, from: u64) -> impl Iterator<Item = Entry> + '_ {
        let found = self.shelves.get(segment);
        let slots = found.map_or(&[][..], |shelf| &shelf.slots);
        let base = found.map_or(0, |shelf| shelf.base);
        let first = slots.partition_point(|slot| base + place_bytes(*slot) < from);
        (first..slots.len()).filter(|&index| slots[index] & LIVE != 0).filter_map(move |index| {
            let found = found?;
            let retry = found.retry(index);
            Some(Entry { position: base + place_bytes(found.slots[index]), retry, segment, index })
        })
    }

    /// Forgets the oldest segment.
    pub(crate) fn drop_oldest(&mut self) {
        self.shelves.pop_front();
        let oldest = self.oldest();
        self.moved.forget_before(oldest);
        let far = &self.far;
        self.campaigns.retain(|id, campaign| {
            campaign.phase.is_open() || far.contains_key(id) || campaign.position >= oldest
        });
    }

    /// About how many bytes of contents and recipients are still needed.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.shelves.iter().map(Shelf::live_bytes).sum()
    }

    /// Bytes of all records.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.shelves.iter().map(|shelf| shelf.used_bytes).sum()
    }

    fn entry_at(&self, position: u64) -> Option<Entry> {
        let segment = self.shelf_of(position)?;
        let shelf = &self.shelves[segment];
        let index = shelf.index_of(position)?;
        Some(Entry { position, retry: shelf.retry(index), segment, index })
    }

    fn shelve(&mut self, position: u64, span: u64, content: u64, retry: Retry) {
        let Some(segment) = self.shelf_of(position) else { return };
        let near = self.locate(content).and_then(|at| self.shelf_of(at)) == Some(segment);
        if !near {
            *self.far.entry(content).or_default() += 1;
        }
        let shelf = &mut self.shelves[segment];
        let far = if near { 0 } else { FAR };
        shelf.slots.push(place(position - shelf.base) | LIVE | far);
        shelf.set_retry(shelf.slots.len() - 1, retry);
        shelf.live += 1;
        shelf.recipients = shelf.recipients.saturating_add(1);
        shelf.payload_bytes += span;
        self.waiting += 1;
    }

    /// Takes a recipient off its shelf: it was finished, or carried elsewhere, by a record that ends at `end`.
    fn unshelve(&mut self, entry: &Entry, content: Option<u64>, end: u64) {
        let shelf = &mut self.shelves[entry.segment];
        let far = shelf.slots[entry.index] & FAR != 0;
        shelf.slots[entry.index] &= !LIVE;
        shelf.live -= 1;
        shelf.needed_until = shelf.needed_until.max(end);
        shelf.sweep();
        self.waiting -= 1;
        // A far content whose recipient cannot be read any more keeps its count, and so its segment, until the
        // next start counts anew.
        let Some(content) = content.filter(|_| far) else { return };
        if let Some(at) = self.locate(content) {
            self.needed_until(at, end);
        }
        if let Some(count) = self.far.get_mut(&content) {
            *count -= 1;
            if *count == 0 {
                self.far.remove(&content);
            }
        }
    }
}

impl Shelf {
    /// About how many bytes of contents and recipients are still needed, taking all recipients for equal.
    pub(crate) fn live_bytes(&self) -> u64 {
        let recipients = u64::from(self.recipients.max(1));
        u64::try_from(u128::from(self.payload_bytes) * u128::from(self.live) / u128::from(recipients))
            .unwrap_or(u64::MAX)
    }

    fn index_of(&self, position: u64) -> Option<usize> {
        let wanted = place(position.checked_sub(self.base)?);
        let index = self.slots.binary_search_by_key(&wanted, |slot| slot & PLACE).ok()?;
        (self.slots[index] & LIVE != 0).then_some(index)
    }

    fn retry(&self, index: usize) -> Retry {
        let next_s = self.next_s.get(index).copied().unwrap_or_default();
        Retry { attempts: self.attempts.get(index).copied().unwrap_or_default(), next_s }
    }

    fn set_retry(&mut self, index: usize, retry: Retry) {
        if retry == Retry::default() && index >= self.next_s.len() {
            return;
        }
        if index >= self.next_s.len() {
            self.next_s.resize(self.slots.len(), 0);
            self.attempts.resize(self.slots.len(), 0);
        }
        self.next_s[index] = retry.next_s;
        self.attempts[index] = retry.attempts;
    }

    /// Sweeps out the finished recipients when they are a third of all.
    fn sweep(&mut self) {
        let finished = self.slots.len() - self.live as usize;
        if finished < SWEEP_MIN.max(self.slots.len() / 3) {
            return;
        }
        let retried = self.next_s.len();
        let mut kept = 0;
        for index in 0..self.slots.len() {
            if self.slots[index] & LIVE == 0 {
                continue;
            }
            self.slots[kept] = self.slots[index];
            if index < retried {
                self.next_s[kept] = self.next_s[index];
                self.attempts[kept] = self.attempts[index];
            } else if kept < retried {
                self.next_s[kept] = 0;
                self.attempts[kept] = 0;
            }
            kept += 1;
        }
        self.slots.truncate(kept);
        self.next_s.truncate(kept);
        self.attempts.truncate(kept);
        self.slots.shrink_to_fit();
        self.next_s.shrink_to_fit();
        self.attempts.shrink_to_fit();
    }
}

/// The slot bits of an offset in a segment.
fn place(offset: u64) -> u32 {
    // Segments are at most 2 GiB, so the quotient fits 27 bits.
    (offset / ALIGN as u64) as u32 & PLACE
}

fn place_bytes(slot: u32) -> u64 {
    u64::from(slot & PLACE) * ALIGN as u64
}
