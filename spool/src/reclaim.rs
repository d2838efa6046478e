//! Giving space back: the oldest segment is dropped when nothing in it is needed. What little is still needed is
//! carried forward first, into the segment being written, and the old one goes only when the carried records are
//! durable and every reader has passed it. It refuses to drop out of order and to carry what is not whole.
//!
//! Carrying costs writes, so it waits until it is worth it: until the whole log, or its oldest segment, holds at
//! least four times (with the disk nearly full: twice) the bytes that are still needed. So for each byte that is
//! appended at most a third of a byte (one byte) is carried, and the log is never larger than four times what is
//! needed, plus the segments that readers hold, and those that a shell leaves alone because they empty by themselves.

use std::sync::Arc;

use mail::{RecipientId, RecordId};

use crate::books::{Campaign, Entry};
use crate::encode::{Encoder, Placed};
use crate::error::SpoolError;
use crate::layout::{Kind, MOVED_PREFIX_BYTES, MovedPrefix};
use crate::log::{Log, Purpose};
use crate::reader::{HEAD_BYTES, segment_at};
use crate::record::ContentKind;
use crate::scan::{Raw, Verify, record_at};
use crate::segment::{Age, Segment};
use crate::stored::StoredCampaign;
use crate::view;

/// The log is that many times larger than what is needed of it before anything is carried forward.
const SLACK: u64 = 4;
/// The same with the disk nearly full.
const SLACK_DISK_LOW: u64 = 2;

/// How far reclaim has come.
#[derive(Debug, Default)]
pub(crate) struct Reclaiming {
    /// The disk is nearly full: more may be written to free space.
    disk_low: bool,
    /// Waiting recipients of the oldest segment before this position have been carried forward.
    carried_to: u64,
    /// A segment was removed, and nobody knows whether durably.
    unsure: bool,
    /// The disk did not give something that was to be carried in this step.
    unreadable: bool,
    /// Segments that were dropped, still mapped.
    dropped: Vec<Arc<Segment>>,
}

/// Segments that reclaim has dropped and not kept as spare ones. Letting go of them unmaps them and frees their pages, which
/// takes tens of milliseconds: do it where nobody waits.
#[derive(Debug)]
pub struct Dropped(#[expect(dead_code, reason = "held to be let go of elsewhere")] Vec<Arc<Segment>>);

/// What one step of reclaim did, and why it did no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Records carried forward.
    pub carried: u64,
    /// Their bytes.
    pub carried_bytes: u64,
    /// Segments dropped: none or one.
    pub dropped_segments: u64,
    /// What stands against the next drop.
    pub waits_for: Option<ReclaimWait>,
}

/// Why the oldest segment is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimWait {
    /// It is the one being written.
    NothingElse,
    /// A reader has not passed it, or not yet the outcomes of its recipients.
    Readers,
    /// Too much of it is still needed.
    Live,
    /// What made it unneeded is not durable yet.
    Sync,
    /// The disk does not give something of it at the moment.
    Unreadable,
    /// The budget of this step is used up.
    Budget,
    /// This waiting recipient cannot be read, so it cannot be carried: give it a final outcome.
    Damaged(RecipientId),
}

impl Log {
    /// Goes one step towards dropping the oldest segment: carries at most about `budget_bytes` forward (at least one
    /// record), or drops it. What is carried lies in the write buffer like everything appended; flush and sync as
    /// always. Call it again soon while it drops or says [`ReclaimWait::Budget`].
    ///
    /// # Errors
    /// As appending; [`SpoolError::Io`] when a file could not be removed.
    pub fn reclaim_step(&mut self, budget_bytes: u64) -> Result<Reclaimed, SpoolError> {
        self.check_open()?;
        self.reclaiming.dropped.clear();
        self.reclaiming.unreadable = false;
        let mut done = Reclaimed::default();
        if self.books.shelves.len() < 2 {
            return Ok(done.wait(ReclaimWait::NothingElse));
        }
        let held = self.shared.held();
        if held < self.books.shelves[0].end {
            return Ok(done.wait(ReclaimWait::Readers));
        }
        if let Some(wait) = self.carry(budget_bytes, &mut done)? {
            return Ok(done.wait(wait));
        }
        let until = self.books.shelves[0].needed_until;
        if self.synced_position().offset() < until {
            return Ok(done.wait(ReclaimWait::Sync));
        }
        if held < until {
            return Ok(done.wait(ReclaimWait::Readers));
        }
        self.drop_oldest()?;
        done.dropped_segments = 1;
        Ok(done)
    }

    /// What the last step dropped and did not keep, to be let go of elsewhere; `None` when nothing was. The next step lets go
    /// of what nobody took.
    pub fn dropped(&mut self) -> Option<Dropped> {
        let dropped = std::mem::take(&mut self.reclaiming.dropped);
        (!dropped.is_empty()).then_some(Dropped(dropped))
    }

    /// Whether the disk is nearly full, so that reclaim carries more in order to free space sooner, and no spare segments are
    /// kept. Otherwise as many as the disk has room for. Those that go are among [`Log::dropped`].
    pub fn set_disk_low(&mut self, low: bool) {
        self.reclaiming.disk_low = low;
        let gone = if low { self.place.spare_no_more() } else { self.place.spare_fewer() };
        self.reclaiming.dropped.extend(gone);
    }

    /// Bytes of all records in the log, and about how many of them are still needed.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        (self.books.used_bytes(), self.books.live_bytes())
    }

    /// Where the oldest segment begins, and about how many bytes of it are still needed.
    #[must_use]
    pub fn oldest(&self) -> (u64, u64) {
        self.books.shelves.front().map_or((0, 0), |shelf| (shelf.base, shelf.live_bytes()))
    }

    /// Carries forward what is needed of the oldest segment; `None` when nothing is needed there any more.
    fn carry(&mut self, budget_bytes: u64, done: &mut Reclaimed) -> Result<Option<ReclaimWait>, SpoolError> {
        let contents = self.contents_needed();
        let live = self.books.shelves[0].live > 0;
        if (live || !contents.is_empty() || !self.campaigns_needed().is_empty()) && !self.is_worth_it() {
            return Ok(Some(ReclaimWait::Live));
        }
        for id in contents {
            if done.is_over(budget_bytes) {
                return Ok(Some(ReclaimWait::Budget));
            }
            // A template may be needed for two reasons; it is carried once.
            if self.lies_in_oldest(id) {
                self.carry_content(id, done)?;
            }
            if self.reclaiming.unreadable {
                return Ok(Some(ReclaimWait::Unreadable));
            }
        }
        while let Some(entry) = self.next_waiting() {
            if done.is_over(budget_bytes) {
                return Ok(Some(ReclaimWait::Budget));
            }
            let is_carried = self.carry_recipient(&entry, done)?;
            if self.reclaiming.unreadable {
                return Ok(Some(ReclaimWait::Unreadable));
            }
            if !is_carried {
                return Ok(Some(ReclaimWait::Damaged(self.id_at(entry.position))));
            }
        }
        for (id, campaign) in self.campaigns_needed() {
            self.carry_campaign(id, campaign, done)?;
        }
        Ok(None)
    }

    /// Contents of the oldest segment that recipients in other segments wait for, and templates of open campaigns.
    fn contents_needed(&self) -> Vec<u64> {
        let books = &self.books;
        let templates =
            books.campaigns.iter().filter(|(_, campaign)| campaign.phase.is_open()).map(|(id, _)| *id);
        templates.chain(books.far.keys().copied()).filter(|id| self.lies_in_oldest(*id)).collect()
    }

    /// Campaigns whose last state lies in the oldest segment, but not their template any more.
    fn campaigns_needed(&self) -> Vec<(u64, Campaign)> {
        let end = self.books.shelves[0].end;
        let states = self.books.campaigns.iter().filter(|(_, campaign)| campaign.position < end);
        states
            .filter(|(id, _)| self.books.locate(**id).is_some_and(|position| position >= end))
            .map(|(id, campaign)| (*id, *campaign))
            .collect()
    }

    fn lies_in_oldest(&self, id: u64) -> bool {
        let end = self.books.shelves[0].end;
        !self.books.unreadable.contains(&id) && self.books.locate(id).is_some_and(|position| position < end)
    }

    /// The next waiting recipient of the oldest segment.
    fn next_waiting(&mut self) -> Option<Entry> {
        let shelf = &self.books.shelves[0];
        if shelf.live == 0 {
            return None;
        }
        let (base, from) = (shelf.base, self.reclaiming.carried_to);
        let next = self.books.waiting_from(0, from).next();
        next.or_else(|| self.books.waiting_from(0, base).next())
    }

    fn is_worth_it(&self) -> bool {
        let slack = if self.reclaiming.disk_low { SLACK_DISK_LOW } else { SLACK };
        let much = |used: u64, live: u64| live.saturating_mul(slack) <= used;
        let (used, live) = self.size();
        let oldest =
            self.books.shelves.front().map_or((0, 0), |shelf| (shelf.used_bytes, shelf.live_bytes()));
        much(used, live) || much(oldest.0, oldest.1)
    }

    fn carry_content(&mut self, id: u64, done: &mut Reclaimed) -> Result<(), SpoolError> {
        let Some((segment, raw, head)) = self.whole_content(id) else {
            if self.reclaiming.unreadable {
                return Ok(());
            }
            // Its recipients wait in vain and will be told so when they are tried; recovery keeps a copy.
            self.books.unreadable.insert(id);
            return Ok(());
        };
        let template_at = (head.kind() == ContentKind::Template).then(|| head.accepted_at());
        let placed = self.copy(Kind::MovedContent, MovedPrefix::new(id, 0, 0), (&segment, &raw))?;
        self.books.content(id, placed.position, placed.span, template_at);
        self.note_carried(placed, done);
        Ok(())
    }

    /// Says whether the recipient could be read.
    fn carry_recipient(&mut self, entry: &Entry, done: &mut Reclaimed) -> Result<bool, SpoolError> {
        let segments = self.shared.segments.load_full();
        let Some((segment, offset)) = segment_at(&segments, entry.position) else { return Ok(false) };
        if !segment.can_read(offset..offset + HEAD_BYTES, Age::Old) {
            self.reclaiming.unreadable = true;
            return Ok(false);
        }
        let raw = record_at(segment.header(), segment.image().bytes(), offset, Verify::All);
        let Ok(raw) = raw else { return Ok(false) };
        let Some(recipient) = view::recipient(segment, &raw) else { return Ok(false) };
        let (id, content) = (recipient.id().raw(), recipient.content().raw());
        if self.lies_in_oldest(content) {
            self.carry_content(content, done)?;
            if self.reclaiming.unreadable {
                return Ok(false);
            }
        }
        let prefix = MovedPrefix::new(id, entry.retry.next_s, entry.retry.attempts);
        let placed = self.copy(Kind::MovedRecipient, prefix, (segment, &raw))?;
        self.books.recipient_moved(id, (placed.position, placed.span), content, entry.retry);
        self.reclaiming.carried_to = entry.position;
        self.note_carried(placed, done);
        Ok(true)
    }

    fn carry_campaign(
        &mut self,
        id: u64,
        campaign: Campaign,
        done: &mut Reclaimed,
    ) -> Result<(), SpoolError> {
        let stored = StoredCampaign { campaign: id, at: campaign.at.0, phase: campaign.phase as u8 };
        let encode = |encoder: &mut Encoder, _| encoder.record(Kind::Campaign, &stored, &[]);
        let placed = self.place(Purpose::Record, 0, encode)?;
        self.books.record(placed.position, placed.span);
        let end = placed.position + placed.span;
        self.books.campaign(id, Campaign { position: placed.position, ..campaign }, end);
        self.note_carried(placed, done);
        Ok(())
    }

    fn note_carried(&mut self, placed: Placed, done: &mut Reclaimed) {
        done.carried += 1;
        done.carried_bytes += placed.span;
        self.books.needed_until(self.books.oldest(), placed.position + placed.span);
    }

    /// The content `id` where it lies now, if it is whole.
    fn whole_content(&mut self, id: u64) -> Option<(Arc<Segment>, Raw, view::ContentHead)> {
        let segments = self.shared.segments.load();
        let (segment, offset) = segment_at(&segments, self.books.locate(id)?)?;
        let has_head = segment.can_read(offset..offset + HEAD_BYTES, Age::Old);
        let heads = has_head
            .then(|| record_at(segment.header(), segment.image().bytes(), offset, Verify::Heads).ok())
            .flatten();
        if !has_head || heads.is_some_and(|heads| !segment.can_read(heads.body, Age::Old)) {
            self.reclaiming.unreadable = true;
            return None;
        }
        let raw = record_at(segment.header(), segment.image().bytes(), offset, Verify::All).ok()?;
        if !matches!(raw.kind, Kind::Content | Kind::MovedContent) {
            return None;
        }
        let head = view::content(segment, &raw)?;
        (head.id().0 == RecordId::from_raw(id)).then(|| (Arc::clone(segment), raw, head))
    }

    /// Appends a copy of a record that was verified, under `prefix`.
    fn copy(
        &mut self,
        kind: Kind,
        prefix: MovedPrefix,
        from: (&Segment, &Raw),
    ) -> Result<Placed, SpoolError> {
        let (segment, raw) = from;
        let bytes = segment.image().bytes();
        let begin = match raw.kind {
            Kind::MovedContent | Kind::MovedRecipient => raw.head.start + MOVED_PREFIX_BYTES,
            _ => raw.head.start,
        };
        let (head, body) = (&bytes[begin..raw.head.end], &bytes[raw.body.clone()]);
        let prefix = prefix.to_bytes();
        let encode = |encoder: &mut Encoder, _| Ok(encoder.copy(kind, &prefix, head, body));
        let placed = self.place(Purpose::Record, body.len(), encode)?;
        self.books.record(placed.position, placed.span);
        Ok(placed)
    }

    fn drop_oldest(&mut self) -> Result<(), SpoolError> {
        let segments = self.shared.segments.load_full();
        let Some(oldest) = segments.first() else { return Ok(()) };
        // If this removal came undone while a later one did not, finished recipients would wait again.
        if self.reclaiming.unsure {
            self.place.sync_directory()?;
            self.reclaiming.unsure = false;
        }
        // The file first: a segment that could not be removed must stay in the books, or the next start would find
        // its recipients waiting again.
        let spare = self.place.retire(oldest, !self.reclaiming.disk_low)?;
        if spare.is_none() {
            self.reclaiming.dropped.push(Arc::clone(oldest));
        }
        self.shared.segments.store(Arc::new(segments[1..].to_vec()));
        self.books.drop_oldest();
        self.reclaiming.carried_to = 0;
        self.reclaiming.unsure = true;
        let synced = self.place.sync_directory();
        self.reclaiming.unsure = synced.is_err();
        match spare {
            Some(spare) if synced.is_ok() => self.reclaiming.dropped.extend(self.place.offer(spare)),
            // It could come back under its old name.
            Some(spare) => self.reclaiming.dropped.push(self.place.discard(spare)),
            None => {}
        }
        synced
    }
}

impl Reclaimed {
    fn is_over(&self, budget_bytes: u64) -> bool {
        self.carried > 0 && self.carried_bytes >= budget_bytes
    }

    fn wait(mut self, wait: ReclaimWait) -> Self {
        self.waits_for = Some(wait);
        self
    }
}
