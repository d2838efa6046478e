//! The segment after the one being written, made before it is needed: preallocating and syncing a directory take
//! time, so a shell has it done elsewhere, and the last part of a segment is kept for outcomes until it is there.

use std::sync::Arc;

use crate::error::SpoolError;
use crate::layout::{RECORDS_START, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SegmentHeader};
use crate::log::{Log, OVERHEAD_BYTES, Purpose};
use crate::segment::{Made, Place};

/// What is known of the segment after the one being written.
#[derive(Debug, Default)]
pub(crate) enum Next {
    /// It was not made yet, or could not be.
    #[default]
    Absent,
    /// Somebody makes the one with this sequence number.
    Ordered(u64),
    /// It is there, empty.
    Ready(Made),
}

/// What stands, or will stand, behind the segment being written.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) next: Next,
    /// Sequence number and base of the next header to be given out.
    pub(crate) issued: (u64, u64),
}

/// A segment to be made: hand it to a thread that may wait for the disk, then give the result to
/// [`Log::next_made`].
#[derive(Debug)]
#[must_use = "the log waits for what becomes of it"]
pub struct NextSegment {
    place: Place,
    header: SegmentHeader,
    min_free_bytes: u64,
}

/// What became of a [`NextSegment`].
#[derive(Debug)]
pub struct MadeNext {
    place: Place,
    header: SegmentHeader,
    result: Result<Made, SpoolError>,
}

impl NextSegment {
    /// Makes it, blocking.
    #[must_use]
    pub fn make(self) -> MadeNext {
        let Self { place, header, min_free_bytes } = self;
        let result = place.create_with_room(header, min_free_bytes);
        if result.is_ok() {
            place.keep_reserve(header.capacity);
        }
        MadeNext { place, header, result }
    }
}

impl Log {
    /// Whether [`Log::next_segment`] has something to be made.
    #[must_use]
    pub fn wants_next(&self) -> bool {
        let header = self.active.segment.header();
        let half = header.base + header.capacity / 2;
        self.fault.is_none() && matches!(self.ahead.next, Next::Absent) && self.encoder.end() >= half
    }

    /// Whether nothing new fits behind what was appended, because no next segment stands ready.
    #[must_use]
    pub fn needs_next(&self) -> bool {
        !matches!(self.ahead.next, Next::Ready(_)) && self.encoder.end() >= self.line()
    }

    /// The segment that should be made now: the one being written is half full, and nothing stands behind it. Without
    /// this call the log makes segments itself when it needs them, blocking.
    #[must_use]
    pub fn next_segment(&mut self) -> Option<NextSegment> {
        if !self.wants_next() {
            return None;
        }
        let header = self.issue_header();
        self.ahead.next = Next::Ordered(header.sequence);
        let min_free_bytes = self.options.min_free_bytes;
        Some(NextSegment { place: self.place.clone(), header, min_free_bytes })
    }

    /// Takes what became of the segment that [`Log::next_segment`] asked for.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when it could not be made. Nothing is lost by it: the log asks again.
    pub fn next_made(&mut self, made: MadeNext) -> Result<(), SpoolError> {
        let MadeNext { place, header, result } = made;
        let wanted = matches!(self.ahead.next, Next::Ordered(ordered) if ordered == header.sequence);
        match result {
            Ok(made) if wanted => {
                self.ahead.next = Next::Ready(made);
                Ok(())
            }
            // The log went on without it. An empty file left behind does no harm.
            Ok(made) => drop_segment(&place, &made),
            Err(error) => {
                if wanted {
                    self.ahead.next = Next::Absent;
                }
                self.retract_header(&header);
                Err(error)
            }
        }
    }

    /// Makes sure that accepting leaves room for outcomes: behind the last quarter of a segment the next one must
    /// stand.
    pub(crate) fn keep_room_for_outcomes(&mut self) -> Result<(), SpoolError> {
        if self.encoder.end() <= self.line() || matches!(self.ahead.next, Next::Ready(_)) {
            return Ok(());
        }
        let header = self.issue_header();
        let made = self.place.create_with_room(header, self.options.min_free_bytes);
        let made = made.inspect_err(|_| self.retract_header(&header))?;
        self.ahead.next = Next::Ready(made);
        Ok(())
    }

    /// The segment to go on in: the one that stands ready, or one made now, with room for `needed` bytes. Where it is
    /// to take outcomes and the disk is full, a small one will do.
    pub(crate) fn following(&mut self, needed: u64, purpose: Purpose) -> Result<Made, SpoolError> {
        match std::mem::take(&mut self.ahead.next) {
            Next::Ready(made) if made.segment.header().capacity >= needed => return Ok(made),
            Next::Ready(made) => drop_segment(&self.place, &made)?,
            // Whoever makes it is too late.
            Next::Ordered(_) | Next::Absent => {}
        }
        let header = self.issue_header();
        let made = match purpose {
            Purpose::Accept => self.place.create_with_room(header, self.options.min_free_bytes),
            Purpose::Record => self.place.create_or_smaller(header, needed),
        };
        made.inspect_err(|_| self.retract_header(&header))
    }

    /// Where the part of the segment begins that is kept for outcomes.
    fn line(&self) -> u64 {
        let header = self.active.segment.header();
        header.base + header.capacity / 4 * 3
    }

    /// Removes the segment that stands ready: it was made by the disk that has just failed, and its space may be needed.
    pub(crate) fn discard_next(&mut self) {
        if let Next::Ready(made) = std::mem::take(&mut self.ahead.next) {
            // Best effort: recovery also removes a segment without records.
            let _ = drop_segment(&self.place, &made);
        }
    }

    /// The header of a new segment, behind every other one.
    pub(crate) fn issue_header(&mut self) -> SegmentHeader {
        let (sequence, base) = self.ahead.issued;
        let header = SegmentHeader::new(self.shared.shard, sequence, base, self.capacity());
        self.ahead.issued = (sequence + 1, header.end());
        header
    }

    /// The same, of a segment that has room for `bytes` bytes of records and as much again as half of one.
    pub(crate) fn issue_header_for(&mut self, bytes: u64) -> SegmentHeader {
        let mut header = self.issue_header();
        let wanted = (OVERHEAD_BYTES + bytes + header.capacity / 2).next_multiple_of(RECORDS_START as u64);
        header.capacity = header.capacity.max(wanted.min(SEGMENT_BYTES_MAX));
        self.ahead.issued.1 = header.end();
        header
    }

    /// The segment with this header was not made: unless something was left there, its place is given out again.
    pub(crate) fn retract_header(&mut self, header: &SegmentHeader) {
        if self.ahead.issued == (header.sequence + 1, header.end()) && !self.place.is_taken(header.sequence) {
            self.ahead.issued = (header.sequence, header.base);
        }
    }

    fn capacity(&self) -> u64 {
        self.options.capacity().unwrap_or(SEGMENT_BYTES_MIN)
    }
}

fn drop_segment(place: &Place, made: &Made) -> Result<(), SpoolError> {
    debug_assert_eq!(Arc::strong_count(&made.segment), 1, "nobody reads a segment that was never used");
    place.remove(&made.segment)
}
