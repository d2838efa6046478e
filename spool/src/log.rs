//! The log of one shard: what was appended goes out in one write, what was written becomes durable when the shell
//! reports that its sync succeeded. It refuses to append after the first failed write or sync, and to call durable
//! what is not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mail::{CampaignId, Ledger};

use crate::books::Books;
use crate::durable::{Durable, Position, SyncTarget};
use crate::encode::{Encoder, Placed};
use crate::error::SpoolError;
use crate::layout::{RECORDS_START, SEGMENT_BYTES_MIN, SegmentHeader, span};
use crate::options::Options;
use crate::planted::{self, Bug};
use crate::reader::{Reader, Segments, Shared};
use crate::record::CampaignState;
use crate::segment::Segment;
use crate::stored::ArchivedStoredTotals;

/// Bytes of an End record, for which every segment keeps room.
const END_BYTES: u64 = span(0, 0);
/// Bytes of a segment that hold no records of callers: header page, totals, end.
const OVERHEAD_BYTES: u64 =
    RECORDS_START as u64 + span(size_of::<ArchivedStoredTotals>() as u64, 0) + END_BYTES;
/// What a message's head and the head of its record may take of a segment at most, as far as the limit on messages
/// is concerned.
const HEAD_BYTES: u64 = 64 << 10;
/// A buffer that holds this much is written out before more is appended: groups of 5 MB
/// and more were measured to be slower, and memory is bounded.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// The log of one shard. Owned by the shard's thread; others read through [`Log::reader`].
#[derive(Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) directory: PathBuf,
    /// The lock on the directory.
    _held: File,
    pub(crate) options: Options,
    pub(crate) active: Active,
    pub(crate) encoder: Encoder,
    pub(crate) books: Books,
    /// Filled segments that were not synced since.
    full: Vec<Arc<File>>,
    /// A sync target is out.
    syncing: bool,
    closed: Option<String>,
    /// The ledger as of the last flush: what it goes back to when the next write fails.
    flushed_ledger: Ledger,
    /// The disk is nearly full: reclaim may write more.
    pub(crate) disk_low: bool,
    /// The content that was found to be one last.
    pub(crate) known_content: u64,
    /// Memory for the places of a message's recipients.
    pub(crate) places: Vec<Placed>,
    /// Waiting recipients of the oldest segment before this position have been carried forward.
    pub(crate) carried_to: u64,
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    file: Arc<File>,
}

/// What recovery hands over.
pub(crate) struct Start {
    pub(crate) directory: PathBuf,
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
        let Start { directory, held, options, shard, mut segments, mut books, next } = start;
        let header = SegmentHeader::new(shard, next.0, next.1, options.capacity()?);
        let (segment, file) = create(&directory, header, OVERHEAD_BYTES, options.on_disk())?;
        let header = *segment.header();
        segments.push(Arc::clone(&segment));
        books.begin(&header);
        books.moved.flush();
        let begin = header.base + RECORDS_START as u64;
        let flushed_ledger = books.ledger;
        let mut log = Self {
            shared: Arc::new(Shared::new(shard, segments, books.moved.flushed.clone(), begin)),
            directory,
            _held: held,
            options,
            active: Active { segment, file: Arc::new(file) },
            encoder: Encoder::new(begin, header.identity),
            books,
            full: Vec::new(),
            syncing: false,
            closed: None,
            flushed_ledger,
            disk_low: false,
            known_content: 0,
            places: Vec::new(),
            carried_to: 0,
        };
        log.append_totals(true)?;
        log.commit()?;
        Ok(log)
    }

    /// Writes out everything appended, in one write: readers see it, and it survives the process. It does not
    /// survive a power cut yet.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the write failed, which closes the log; [`SpoolError::Closed`] when it was closed.
    pub fn flush(&mut self) -> Result<Position, SpoolError> {
        self.check_open()?;
        if self.encoder.bytes().is_empty() {
            return Ok(Position(self.encoder.end()));
        }
        let header = self.active.segment.header();
        let offset = self.encoder.start() - header.base;
        if let Err(error) = self.active.file.write_all_at(self.encoder.bytes(), offset) {
            let error = SpoolError::io("write", self.active.segment.path(), error);
            self.close(error.to_string());
            return Err(error);
        }
        self.encoder.written();
        let end = self.encoder.end();
        self.active.segment.image().publish(usize::try_from(end - header.base).unwrap_or(usize::MAX));
        self.shared.flushed.store(end, Ordering::Release);
        self.books.moved.flush();
        self.flushed_ledger = self.books.ledger;
        if !self.options.on_disk() || planted::is(Bug::AcknowledgeBeforeSync) {
            self.shared.synced.store(end, Ordering::Release);
        }
        Ok(Position(end))
    }

    /// What to sync now. `None` when everything flushed is durable, when a target is out, or when the log is closed.
    pub fn sync_target(&mut self) -> Option<SyncTarget> {
        let upto = self.flushed();
        if self.closed.is_some() || self.syncing || upto <= self.synced_position() {
            return None;
        }
        self.syncing = true;
        let files = self.full.iter().chain([&self.active.file]).map(Arc::clone).collect();
        Some(SyncTarget { files, upto })
    }

    /// Every file of `target` was synced successfully.
    pub fn synced(&mut self, target: SyncTarget) {
        self.syncing = false;
        self.settle(target.files.len() - 1, target.upto);
    }

    /// The sync of a file of `target` failed: the log is closed, because nobody knows what of it is on disk and a
    /// second sync would not say so.
    pub fn sync_failed(&mut self, target: SyncTarget, error: &io::Error) {
        drop(target);
        self.syncing = false;
        if planted::is(Bug::RetryFsync) {
            return;
        }
        self.close(format!("cannot sync {}: {error}", self.active.segment.path().display()));
    }

    /// Flushes and syncs here and now, blocking: for the start, the end, and tools.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when it failed, which closes the log; [`SpoolError::Closed`] when it was closed.
    pub fn commit(&mut self) -> Result<Durable, SpoolError> {
        let upto = self.flush()?;
        if upto > self.synced_position() {
            let synced = self.full.iter().chain([&self.active.file]).try_for_each(|file| file.sync_data());
            if let Err(error) = synced {
                let error = SpoolError::io("sync", self.active.segment.path(), error);
                self.close(error.to_string());
                return Err(error);
            }
            self.settle(self.full.len(), upto);
        }
        Ok(Durable::new(self.shared.shard, upto))
    }

    /// The proof that everything before `position` is durable; `None` while it is not. Ask with what
    /// [`Log::appended`] or [`Log::flush`] gave behind the records in question.
    #[must_use]
    pub fn durable(&self, position: Position) -> Option<Durable> {
        let synced = self.synced_position();
        (position <= synced).then(|| Durable::new(self.shared.shard, synced))
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

    /// Why nothing more is appended; `None` while the log takes records.
    #[must_use]
    pub fn closed(&self) -> Option<&str> {
        self.closed.as_deref()
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
        match &self.closed {
            None => Ok(()),
            Some(reason) => Err(SpoolError::Closed { shard: self.shared.shard, reason: reason.clone() }),
        }
    }

    /// Bytes that the largest record may take in a segment.
    pub(crate) fn record_bytes_max(&self) -> u64 {
        self.options.capacity().unwrap_or(SEGMENT_BYTES_MIN) - OVERHEAD_BYTES
    }

    /// Whether what is in the buffer fits into the segment, with room for its end.
    pub(crate) fn fits(&self) -> bool {
        self.encoder.end() + END_BYTES <= self.active.segment.header().end()
    }

    /// Writes the buffer out when it holds enough.
    pub(crate) fn relieve(&mut self) -> Result<(), SpoolError> {
        if self.encoder.bytes().len() >= BUFFER_BYTES_MAX { self.flush().map(drop) } else { Ok(()) }
    }

    /// Ends this segment and begins the next, which has room for a record of `needed` bytes. When the next one
    /// cannot be made (the disk is full), this one stays as it is and the caller may try again later.
    pub(crate) fn roll(&mut self, needed: u64) -> Result<(), SpoolError> {
        self.check_open()?;
        let old = *self.active.segment.header();
        let header = SegmentHeader::new(old.shard, old.sequence + 1, old.end(), self.options.capacity()?);
        let (segment, file) =
            create(&self.directory, header, OVERHEAD_BYTES + needed, self.options.on_disk())?;
        self.encoder.end_record()?;
        if let Err(error) = self.flush() {
            // Best effort: recovery removes a segment without records too.
            let _ = segment.remove();
            return Err(error);
        }
        let header = *segment.header();
        self.encoder.move_to(header.base + RECORDS_START as u64, header.identity);
        self.books.begin(&header);
        let mut segments = self.shared.segments.load().as_ref().clone();
        segments.push(Arc::clone(&segment));
        self.shared.segments.store(Arc::new(segments));
        let filled = std::mem::replace(&mut self.active, Active { segment, file: Arc::new(file) });
        if self.options.on_disk() {
            self.full.push(filled.file);
        }
        self.append_totals(false)
    }

    /// Nothing more is appended; what was not written is taken back.
    pub(crate) fn close(&mut self, reason: String) {
        self.encoder.cut(self.encoder.start());
        self.books.cut(self.flushed().0, self.flushed_ledger);
        self.closed.get_or_insert(reason);
    }

    fn append_totals(&mut self, opening: bool) -> Result<(), SpoolError> {
        let placed = self.encoder.totals(&self.books.ledger, opening)?;
        self.books.record(placed.position, placed.span);
        // The ledger of the segment before is needed until this one is durable.
        if let Some(before) = self.active.segment.header().base.checked_sub(1) {
            self.books.needed_until(before, placed.position + placed.span);
        }
        Ok(())
    }

    /// The `filled` oldest of the filled segments are synced, and everything before `upto`.
    fn settle(&mut self, filled: usize, upto: Position) {
        self.full.drain(..filled.min(self.full.len()));
        self.shared.synced.fetch_max(upto.0, Ordering::AcqRel);
    }
}

/// Creates a segment. When the disk is too full for one of the usual size, a smaller one is made, as long as it has
/// `needed` bytes: outcomes of mail that leaves can then still be recorded, and reclaim can work.
fn create(
    directory: &std::path::Path,
    mut header: SegmentHeader,
    needed: u64,
    sync: bool,
) -> Result<(Arc<Segment>, File), SpoolError> {
    loop {
        let error = match Segment::create(directory, header, sync) {
            Ok((segment, file)) => return Ok((Arc::new(segment), file)),
            Err(error) => error,
        };
        let page = RECORDS_START as u64;
        header.capacity = header.capacity / 4 / page * page;
        if !error.is_disk_full() || header.capacity < needed.max(SEGMENT_BYTES_MIN) {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use mail::RecipientId;

    use super::*;
    use crate::{Content, Durability, Recipient};

    fn send(log: &mut Log, body: &[u8]) -> Result<RecipientId, SpoolError> {
        let mut ids = Vec::new();
        let to = Recipient { address: "a@example.test".to_owned(), ..Recipient::default() };
        log.append_message(&Content::default(), body, &[to], &mut ids)?;
        Ok(ids[0])
    }

    fn open(directory: &tempfile::TempDir) -> Log {
        let options = Options { segment_bytes: 16 << 10, durability: Durability::Disk };
        Log::open(directory.path(), 0, options).expect("an empty directory").0
    }

    #[test]
    fn the_first_failed_write_closes_the_log_and_takes_back_what_was_not_written() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut log = open(&directory);
        let kept = send(&mut log, b"kept").expect("room");
        log.commit().expect("a sound disk");
        let (position, ledger) = (log.appended(), log.ledger());
        // A file that cannot be written stands for a disk that fails.
        log.active.file = Arc::new(File::open(log.active.segment.path()).expect("the segment is there"));
        let lost = send(&mut log, b"lost").expect("only the buffer is touched");
        assert!(matches!(log.flush(), Err(SpoolError::Io { action: "write", .. })));
        assert!(log.closed().is_some_and(|reason| reason.contains("cannot write")));
        assert!(matches!(send(&mut log, b"more"), Err(SpoolError::Closed { shard: 0, .. })));
        assert!(matches!(log.flush(), Err(SpoolError::Closed { .. })));
        assert!(log.reclaim_step(1).is_err());
        assert!(log.sync_target().is_none());
        assert_eq!((log.appended(), log.ledger(), log.waiting_count()), (position, ledger, 1));
        assert_eq!(log.durable(position).map(Durable::upto), Some(position));
        assert!(log.reader().recipient(kept).is_ok());
        assert!(log.reader().recipient(lost).is_err());
    }

    #[test]
    fn a_segment_that_cannot_be_begun_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut log = open(&directory);
        let there = log.directory.clone();
        log.directory = there.join("not there");
        let (mut sent, body) = (0, [b'x'; 3000]);
        while send(&mut log, &body).is_ok() {
            sent += 1;
        }
        let (position, ledger) = (log.appended(), log.ledger());
        assert!(matches!(send(&mut log, &body), Err(SpoolError::Io { action: "create", .. })));
        assert_eq!((log.appended(), log.ledger(), log.closed()), (position, ledger, None));
        send(&mut log, b"a small one still fits").expect("room");
        log.commit().expect("a sound disk");
        log.directory = there;
        send(&mut log, &body).expect("a new segment");
        log.commit().expect("a sound disk");
        assert_eq!((log.waiting().count(), log.ledger().queued()), (sent + 2, sent as u64 + 2));
    }

    #[test]
    fn a_failed_blocking_sync_closes_the_log() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut log = open(&directory);
        send(&mut log, b"x").expect("room");
        let position = log.flush().expect("a sound disk");
        // Some files cannot be synced: this one stands for a disk that fails.
        log.full.push(Arc::new(File::open("/proc/self/status").expect("linux")));
        assert!(matches!(log.commit(), Err(SpoolError::Io { action: "sync", .. })));
        assert!(log.closed().is_some() && log.durable(position).is_none());
    }
}
