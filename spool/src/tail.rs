//! The records of a log in order, for those who report on it. A tail never waits and never skips silently what it
//! has been told to read.

use std::sync::Arc;

use mail::RecordId;

use crate::layout::RECORDS_START;
use crate::reader::{HEAD_BYTES, Reader, age, segment_at};
use crate::scan::{Found, Scanner, Verify, resume};
use crate::segment::Segment;
use crate::view::{self, RecordRef};

/// Where a reader goes on: a position in the log, to be stored as a number. Zero is the oldest record there is. Any
/// number will do: one that is not the beginning of a record means the next record behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Behind the record `id`.
    #[must_use]
    pub const fn after(id: RecordId) -> Self {
        Self(id.position() + 1)
    }
}

/// Yields the records of a log in order.
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    position: u64,
    /// The position is known to be the beginning of a record.
    settled: bool,
    durable: bool,
}

impl Tail {
    pub(crate) fn new(reader: Reader, cursor: Cursor) -> Self {
        Self { reader, position: cursor.0, settled: false, durable: false }
    }

    /// Only what is durable: what a power cut cannot take back.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Where to go on: behind the record yielded last.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor(self.position)
    }

    /// The next record within one segment, or `None` when the segment has no more before `limit`.
    fn step(&mut self, segment: &Arc<Segment>, limit: u64) -> Option<(RecordId, RecordRef)> {
        let header = segment.header();
        let length = usize::try_from(limit - header.base).unwrap_or(usize::MAX);
        let visible = segment.bytes();
        let bytes = &visible[..length.min(visible.len())];
        let mut offset = segment.offset(self.position)?;
        if !self.settled && offset > RECORDS_START {
            offset = resume(header, bytes, offset)?;
        }
        self.settled = true;
        let mut scanner = Scanner::new(header, bytes, offset, Verify::Heads);
        let found = scanner.next();
        let (offset, span, record) = match found {
            Some(Found::Record(raw)) => {
                let record = view::record(segment, &raw).unwrap_or_else(|| RecordRef::Damaged {
                    bytes: raw.span,
                    what: format!("the head of this {} record is not one", raw.kind.name()),
                });
                (raw.offset, raw.span, record)
            }
            Some(Found::Damaged { offset, bytes, flaw }) => {
                let bytes = bytes as u64;
                (offset, bytes, RecordRef::Damaged { bytes, what: flaw.describe() })
            }
            None => return None,
        };
        let position = header.base + offset as u64;
        self.position = position + span;
        Some((RecordId::new(header.shard, position), record))
    }
}

impl Iterator for Tail {
    /// Where the record stands (of an outcome: the cursor of the event feed) and the record.
    type Item = (RecordId, RecordRef);

    fn next(&mut self) -> Option<Self::Item> {
        let end = if self.durable { self.reader.synced() } else { self.reader.flushed() }.offset();
        let segments = self.reader.shared.segments.load_full();
        loop {
            if self.position >= end {
                return None;
            }
            let Some((segment, _)) = segment_at(&segments, self.position) else {
                // Before the oldest segment, or between two of which one was lost.
                let next = segments
                    .iter()
                    .map(|segment| segment.header().base)
                    .find(|base| *base > self.position)?;
                (self.position, self.settled) = (next, true);
                continue;
            };
            let limit = segment.published().min(end);
            let offset = segment.offset(self.position).unwrap_or_default();
            if self.position < limit
                && !segment.can_read(offset..offset + HEAD_BYTES, age(&segments, segment))
            {
                // The disk does not give it now, and may later: nothing is skipped.
                return None;
            }
            if self.position < limit
                && let Some(found) = self.step(&Arc::clone(segment), limit)
            {
                return Some(found);
            }
            let next = segment.header().end();
            if limit == end || segments.last().is_none_or(|last| last.header().base < next) {
                return None;
            }
            (self.position, self.settled) = (next, true);
        }
    }
}
