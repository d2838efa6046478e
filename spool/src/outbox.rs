//! The outbox of a shard: outcomes on their way to the logs of other shards, noted where they survive the process, so that
//! whoever delivered need not wait until they are written there. It is a file of that shard, written through a map. It is
//! never synced: what a power cut takes of it, it takes of the logs as well.

use std::fs::{self, OpenOptions};
use std::path::Path;

use mail::{Outcome, RecipientId};

use crate::disk::{Disk, LocalDisk, zero};
use crate::encode::Encoder;
use crate::error::SpoolError;
use crate::layout::{ALIGN, FORMAT_VERSION, FirstPage, Kind, RECORDS_START, SegmentHeader};
use crate::log::Log;
use crate::mmap::Slate;
use crate::scan::{Verify, record_at};
use crate::segment::Segment;
use crate::stored::StoredOutcome;
use crate::view;

/// Its name, beside the segments of the shard.
const NAME: &str = "outbox";
/// Two halves with room for some two thousand outcomes each.
const BYTES: usize = 1 << 20;

/// Outcomes that a shard has sent home. It is laid out as a segment of outcomes, in two halves: one is filled while those
/// in the other are written where they belong.
#[derive(Debug)]
pub struct Outbox {
    slate: Slate,
    /// Encodes one record at a time.
    encoder: Encoder,
    /// Where the next outcome is noted.
    at: usize,
    /// Where the half that is being filled ends.
    end: usize,
}

impl Outbox {
    /// Makes the outbox of `shard` below `data_dir`. One that is there goes: take over what is in it first, by
    /// [`Outbox::left`].
    ///
    /// # Errors
    /// [`SpoolError::Io`] when there is no room for it, or the file system copies on write: then writing through a map may
    /// need room that nobody has reserved.
    pub fn create(data_dir: &Path, shard: u8) -> Result<Self, SpoolError> {
        let directory = data_dir.join("spool").join(shard.to_string());
        let path = directory.join(NAME);
        let make = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if !LocalDisk.writes_in_place(&directory) {
                return Err(std::io::ErrorKind::Unsupported.into());
            }
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            LocalDisk.reserve(&file, BYTES as u64)?;
            zero(&LocalDisk, &file, 0, BYTES as u64)?;
            let header = SegmentHeader::new(shard, 0, 0, BYTES as u64);
            LocalDisk.write(&file, &header.to_page(), 0)?;
            Ok((Slate::map(&file)?, header.identity))
        };
        let (slate, identity) = make().map_err(|error| SpoolError::io("make", &path, error))?;
        let [first, _] = halves(BYTES);
        Ok(Self { slate, encoder: Encoder::new(0, identity), at: first.0, end: first.1 })
    }

    /// Notes an outcome, which then outlives the process; false when this half has no room for it, or the disk does not give it.
    pub fn note(&mut self, id: RecipientId, outcome: &Outcome) -> bool {
        self.encoder.begin_at(self.at as u64);
        let encoded = self.encoder.record(Kind::Outcome, &StoredOutcome::of(id.raw(), outcome), &[]);
        let end = self.at + self.encoder.bytes().len();
        if encoded.is_err() || end > self.end {
            return false;
        }
        let is_noted = self.slate.write(self.at, self.encoder.bytes());
        self.at += if is_noted { self.encoder.bytes().len() } else { 0 };
        is_noted
    }

    /// Begins the other half: all that was noted there must be written where it belongs.
    pub fn turn(&mut self) {
        let [first, second] = halves(BYTES);
        (self.at, self.end) = if self.end == first.1 { second } else { first };
    }

    /// What the outboxes below `data_dir` hold: outcomes that the logs may lack ([`Log::lacks`]), and others.
    ///
    /// # Errors
    /// [`SpoolError::Newer`], [`SpoolError::Io`].
    pub fn left(data_dir: &Path) -> Result<Vec<(RecipientId, Outcome)>, SpoolError> {
        let spool = data_dir.join("spool");
        let mut left = Vec::new();
        for entry in fs::read_dir(&spool).map_err(|error| SpoolError::io("list", &spool, error))?.flatten() {
            let path = entry.path().join(NAME);
            if path.is_file() {
                read(&path, &mut left)?;
            }
        }
        Ok(left)
    }
}

impl Log {
    /// Whether an outcome that was noted elsewhere is not written here: its recipient waits, and knows of no such attempt.
    #[must_use]
    pub fn lacks(&self, id: RecipientId, outcome: &Outcome) -> bool {
        let ours = id.0.shard() == self.shard();
        let waiting = self.books.find(id.raw()).filter(|_| ours);
        waiting.is_some_and(|entry| outcome.disposition.is_final() || outcome.attempt > entry.retry.attempts)
    }
}

/// Where the halves of an outbox of `bytes` begin and end.
fn halves(bytes: usize) -> [(usize, usize); 2] {
    let middle = (RECORDS_START + bytes) / 2 / ALIGN * ALIGN;
    [(RECORDS_START, middle), (middle, bytes)]
}

/// Reads the outbox at `path`. Each half ends where something stands that is not whole: what the process was writing when it
/// ended, or what is left of an earlier turn.
fn read(path: &Path, into: &mut Vec<(RecipientId, Outcome)>) -> Result<(), SpoolError> {
    let (page, segment) = Segment::copy(path)?;
    if let FirstPage::Newer(found) = page {
        return Err(SpoolError::Newer { path: path.to_owned(), found, known: FORMAT_VERSION });
    }
    // Made, and not finished: nothing was noted there.
    let Some(segment) = segment.map(std::sync::Arc::new) else { return Ok(()) };
    let capacity = usize::try_from(segment.header().capacity).unwrap_or(usize::MAX);
    for (begin, end) in halves(capacity) {
        let mut at = begin;
        while at < end
            && let Ok(raw) = record_at(segment.header(), segment.bytes(), at, Verify::All)
        {
            at += usize::try_from(raw.span).unwrap_or(usize::MAX);
            into.extend(view::outcome(&segment, &raw).map(|found| (found.recipient(), found.to_outcome())));
        }
    }
    Ok(())
}
