//! The log of one shard: what was appended goes out in one write, what was written becomes durable when the shell
//! reports that its sync succeeded. It refuses to write to a segment after the first write or sync of it that failed,
//! and to call durable what is not.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mail::{CampaignId, Ledger};

use crate::books::Books;
use crate::durable::{Durable, Position, SyncTarget};
use crate::encode::{Encoder, Placed};
use crate::error::SpoolError;
use crate::fault::{Fault, Syncing};
use crate::layout::{RECORDS_START, SEGMENT_BYTES_MIN, SegmentHeader, span};
use crate::next::Ahead;
use crate::options::Options;
use crate::planted::{self, Bug};
use crate::reader::{Reader, Segments, Shared};
use crate::reclaim::Reclaiming;
use crate::record::CampaignState;
use crate::segment::{Made, Place};
use crate::stored::ArchivedStoredTotals;

/// Bytes of an End record, for which every segment keeps room.
const END_BYTES: u64 = span(0, 0);
/// Bytes of a segment that hold no records of callers: header page, totals, end.
pub(crate) const OVERHEAD_BYTES: u64 =
    RECORDS_START as u64 + span(size_of::<ArchivedStoredTotals>() as u64, 0) + END_BYTES;
/// What a message's head and the head of its record may take of a segment at most, as far as the limit on messages
/// is concerned.
const HEAD_BYTES: u64 = 64 << 10;
/// A buffer that holds this much is written out before more is appended: groups of 5 MB
/// and more were measured to be slower, and memory is bounded.
pub(crate) const BUFFER_BYTES_MAX: usize = 4 << 20;

/// The log of one shard. Owned by the shard's thread; others read through [`Log::reader`].
#[derive(Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
    /// The lock on the directory.
    _held: File,
    pub(crate) options: Options,
    /// The segment being written; after a failure the one that failed.
    pub(crate) active: Made,
    pub(crate) ahead: Ahead,
    pub(crate) encoder: Encoder,
    pub(crate) books: Books,
    pub(crate) syncing: Syncing,
    /// A write or sync has failed, and no other segment has been made yet.
    pub(crate) fault: Option<Fault>,
    pub(crate) reclaiming: Reclaiming,
    /// The content that was found to be one last.
    pub(crate) known_content: u64,
    /// Memory for the places of a message's recipients.
    pub(crate) places: Vec<Placed>,
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It takes something on: refused while the log has a fault, and when it would use up the room for outcomes.
    Accept,
    /// It tells what became of something: taken as long as there is room, after a failure in memory.
    Record,
}

/// What recovery hands over.
pub(crate) struct Start {
    pub(crate) place: Place,
    pub(crate) held: File,
    pub(crate) options: Options,
    pub(crate) shard: u8,
    pub(crate) segments: Segments,
    pub(crate) books: Books,
    /// Sequence number and base of the segment to begin.
    pub(crate) next: (u64, u64),
}

impl Log {
    /// Begins a new segment behind what recovery found, and makes it durable.
    pub(crate) fn begin(start: Start) -> Result<Self, SpoolError> {
        let Start { place, held, options, shard, mut segments, mut books, next } = start;
        let header = SegmentHeader::new(shard, next.0, next.1, options.capacity()?);
        let active = match place.create_or_smaller(header, OVERHEAD_BYTES) {
            Err(error) if error.is_disk_full() && place.use_reserve() => {
                place.create_or_smaller(header, OVERHEAD_BYTES)?
            }
            made => made?,
        };
        place.keep_reserve(options.capacity()?);
        let header = *active.segment.header();
        segments.push(Arc::clone(&active.segment));
        books.begin(&header);
        books.moved.flush();
        let begin = header.base + RECORDS_START as u64;
        let mut log = Self {
            shared: Arc::new(Shared::new(shard, segments, books.moved.flushed.clone(), begin)),
            place,
            _held: held,
            options,
            active,
            ahead: Ahead { issued: (header.sequence + 1, header.end()), ..Ahead::default() },
            encoder: Encoder::new(begin, header.identity),
            books,
            syncing: Syncing::default(),
            fault: None,
            reclaiming: Reclaiming::default(),
            known_content: 0,
            places: Vec::new(),
        };
        log.append_totals(true)?;
        log.commit()?;
        Ok(log)
    }

    /// Writes out everything appended, in one write: readers see it, and it survives the process. It does not
    /// survive a power cut yet.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the write failed: from then on the log has a [`Log::fault`]. [`SpoolError::Closed`]
    /// while it has one.
    pub fn flush(&mut self) -> Result<Position, SpoolError> {
        self.check_open()?;
        if self.encoder.bytes().is_empty() {
            return Ok(Position(self.encoder.end()));
        }
        let header = self.active.segment.header();
        let offset = self.encoder.start() - header.base;
        if let Err(error) = self.place.disk.write(&self.active.file, self.encoder.bytes(), offset) {
            return Err(self.failed("write", error));
        }
        self.encoder.written();
        let end = self.encoder.end();
        self.active.segment.image().publish(usize::try_from(end - header.base).unwrap_or(usize::MAX));
        self.shared.show(end, !self.options.on_disk() || planted::is(Bug::AcknowledgeBeforeSync));
        self.books.moved.flush();
        Ok(Position(end))
    }

    /// What to sync now. `None` when everything flushed is durable, when a target is out, or while the log has a fault.
    pub fn sync_target(&mut self) -> Option<SyncTarget> {
        let upto = self.flushed();
        if self.fault.is_some() || self.syncing.out || upto <= self.synced_position() {
            return None;
        }
        self.syncing.out = true;
        let files = self.syncing.full.iter().chain([&self.active.file]).map(Arc::clone).collect();
        Some(SyncTarget { files, upto, epoch: self.syncing.epoch })
    }

    /// Every file of `target` was synced successfully.
    pub fn synced(&mut self, target: SyncTarget) {
        if target.epoch == self.syncing.epoch {
            self.syncing.out = false;
            self.settle(target.files.len() - 1, target.upto);
        }
    }

    /// The sync of a file of `target` failed: nobody knows what of it is on disk, and a second sync would not say so.
    /// What was not durable counts for nothing from now on, and the log has a [`Log::fault`] until it goes on in
    /// another segment.
    pub fn sync_failed(&mut self, target: SyncTarget, error: &io::Error) {
        if target.epoch != self.syncing.epoch {
            return;
        }
        self.syncing.out = false;
        if !planted::is(Bug::RetryFsync) {
            self.fail(format!("cannot sync {}: {error}", self.active.segment.path().display()));
        }
    }

    /// Flushes and syncs here and now, blocking: for the start, the end, and tools.
    ///
    /// # Errors
    /// As [`Log::flush`], also when the sync failed.
    pub fn commit(&mut self) -> Result<Durable, SpoolError> {
        let upto = self.flush()?;
        if upto > self.synced_position() {
            let files = self.syncing.full.iter().chain([&self.active.file]);
            let mut synced = Ok(());
            for file in files {
                synced = synced.and_then(|()| self.place.disk.sync(file));
            }
            if let Err(error) = synced {
                return Err(self.failed("sync", error));
            }
            self.settle(self.syncing.full.len(), upto);
        }
        Ok(Durable::new(self.shared.shard, upto))
    }

    /// The proof that everything before `position` is durable; `None` while it is not. Ask with what
    /// [`Log::appended`] or [`Log::flush`] gave behind the records in question.
    #[must_use]
    pub fn durable(&self, position: Position) -> Option<Durable> {
        let synced = self.synced_position();
        let is_durable = position <= synced && !self.syncing.is_void(position);
        is_durable.then(|| Durable::new(self.shared.shard, synced))
    }

    /// The end of what was appended.
    #[must_use]
    pub fn appended(&self) -> Position {
        Position(self.encoder.end())
    }

    /// The end of what was flushed.
    #[must_use]
    pub fn flushed(&self) -> Position {
        Position(self.shared.flushed.load(Ordering::Acquire))
    }

    /// The end of what is durable.
    #[must_use]
    pub fn synced_position(&self) -> Position {
        Position(self.shared.synced.load(Ordering::Acquire))
    }

    /// The books of this shard, at the end of what was appended.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.books.ledger
    }

    /// Recipients that wait: those without a final outcome.
    #[must_use]
    pub fn waiting_count(&self) -> u64 {
        self.books.waiting
    }

    /// Every campaign of which the log still knows, with its last state.
    #[must_use]
    pub fn campaigns(&self) -> Vec<CampaignState> {
        let states = self.books.campaigns.iter();
        states
            .map(|(&id, campaign)| CampaignState {
                campaign: CampaignId::from_raw(id),
                phase: campaign.phase,
                at: campaign.at,
            })
            .collect()
    }

    /// The shard whose log it is.
    #[must_use]
    pub fn shard(&self) -> u8 {
        self.shared.shard
    }

    /// The largest message that is sure to fit: a limit on messages must not be above it.
    #[must_use]
    pub fn message_bytes_max(&self) -> u64 {
        let record = self.record_bytes_max();
        record - HEAD_BYTES.min(record / 4)
    }

    /// Reads this log, from any thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    pub(crate) fn check_open(&self) -> Result<(), SpoolError> {
        self.fault.as_ref().map_or(Ok(()), |fault| Err(self.closed(&fault.why)))
    }

    /// What is answered while the log has a fault.
    pub(crate) fn closed(&self, why: &str) -> SpoolError {
        SpoolError::Closed { shard: self.shared.shard, reason: why.to_owned() }
    }

    /// Bytes that the largest record may take in a segment.
    pub(crate) fn record_bytes_max(&self) -> u64 {
        self.options.capacity().unwrap_or(SEGMENT_BYTES_MIN) - OVERHEAD_BYTES
    }

    /// Whether what is in the buffer fits into the segment, with room for its end.
    pub(crate) fn fits(&self) -> bool {
        let header = self.fault.as_ref().map_or(self.active.segment.header(), |fault| &fault.header);
        self.encoder.end() + END_BYTES <= header.end()
    }

    /// Writes the buffer out when it holds enough. After a failure nothing can be written, so it may not grow further.
    pub(crate) fn relieve(&mut self) -> Result<(), SpoolError> {
        if self.encoder.bytes().len() >= BUFFER_BYTES_MAX { self.flush().map(drop) } else { Ok(()) }
    }

    /// Ends this segment and begins the next, which has room for a record of `needed` bytes. When the next one
    /// cannot be made (the disk is full), this one stays as it is and the caller may try again later.
    pub(crate) fn roll(&mut self, needed: u64, purpose: Purpose) -> Result<(), SpoolError> {
        self.check_open()?;
        let made = self.following(OVERHEAD_BYTES + needed, purpose)?;
        self.encoder.end_record()?;
        if let Err(error) = self.flush() {
            // Best effort: recovery removes a segment without records too.
            let _ = self.place.remove(&made.segment);
            return Err(error);
        }
        let header = *made.segment.header();
        self.encoder.move_to(header.base + RECORDS_START as u64, header.identity);
        self.books.begin(&header);
        let mut segments = self.shared.segments.load().as_ref().clone();
        segments.push(Arc::clone(&made.segment));
        self.shared.segments.store(Arc::new(segments));
        let filled = std::mem::replace(&mut self.active, made);
        if self.options.on_disk() {
            self.syncing.full.push(filled.file);
        }
        self.append_totals(false)
    }

    /// A write or sync of the segment being written has failed.
    fn failed(&mut self, action: &'static str, error: io::Error) -> SpoolError {
        let error = SpoolError::io(action, self.active.segment.path(), error);
        self.fail(error.to_string());
        error
    }

    fn append_totals(&mut self, opening: bool) -> Result<(), SpoolError> {
        let placed = self.encoder.totals(&self.books.ledger, opening)?;
        self.books.record(placed.position, placed.span);
        self.books.totals(placed.position + placed.span);
        Ok(())
    }

    /// The `filled` oldest of the filled segments are synced, and everything before `upto`.
    fn settle(&mut self, filled: usize, upto: Position) {
        let full = &mut self.syncing.full;
        full.drain(..filled.min(full.len()));
        self.shared.synced.fetch_max(upto.0, Ordering::AcqRel);
    }
}
