//! The write buffer of a log: turns records into bytes at the place where they will lie. It knows no files.

use std::sync::Arc;

use rkyv::Serialize;
use rkyv::api::low::{LowSerializer, to_bytes_in_with_alloc};
use rkyv::rancor::{Failure, Fallible};
use rkyv::ser::allocator::{Arena, ArenaHandle};
use rkyv::ser::{Positional, Writer};
use rkyv::util::AlignedVec;

use crate::error::SpoolError;
use crate::layout::{Kind, RECORD_HEADER_BYTES, RECORDS_START, RecordHeader, SegmentHeader, padded, stamp};
use crate::scan::{self, Raw, Verify};
use crate::segment::Segment;

/// Memory kept for the next batch when the buffer has been written out.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// What every head must be able to do.
pub(crate) trait Encodable:
    for<'a> Serialize<LowSerializer<HeadWriter<'a>, ArenaHandle<'a>, Failure>>
{
}
impl<T> Encodable for T where T: for<'a> Serialize<LowSerializer<HeadWriter<'a>, ArenaHandle<'a>, Failure>> {}

/// A record in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Position in the log.
    pub(crate) position: u64,
    /// Bytes on disk.
    pub(crate) span: u64,
}

/// Records that are not written yet.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Aligned as the file is, so that archives can be read here too.
    buffer: AlignedVec<16>,
    /// Position in the log of the first byte of the buffer.
    start: u64,
    /// Identity of the segment that the records will lie in.
    identity: u64,
    scratch: Scratch,
}

struct Scratch(Arena);

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scratch({} bytes)", self.0.capacity())
    }
}

impl Encoder {
    /// Nothing to write yet at `start` of the segment with `identity`.
    pub(crate) fn new(start: u64, identity: u64) -> Self {
        Self { buffer: AlignedVec::new(), start, identity, scratch: Scratch(Arena::new()) }
    }

    /// The position behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// The position of the first byte not written yet.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The record at `position`, if it is not written yet, and the bytes it lies in.
    pub(crate) fn record_at(&self, position: u64) -> Option<(Raw, &[u8])> {
        let offset = usize::try_from(position.checked_sub(self.start)?).ok()?;
        // The buffer as if it were a segment that begins where the buffer does.
        let header = SegmentHeader::stand_in(0, self.start, self.identity);
        let raw = scan::record_at(&header, self.bytes(), offset, Verify::Heads).ok()?;
        Some((raw, self.bytes()))
    }

    /// Appends a record. The body comes in parts, of which none need be.
    pub(crate) fn record(
        &mut self,
        kind: Kind,
        head: &impl Encodable,
        body: &[&[u8]],
    ) -> Result<Placed, SpoolError> {
        let begin = self.begin();
        let head_at = self.buffer.len();
        let writer = HeadWriter { buffer: &mut self.buffer, start: head_at };
        let arena = self.scratch.0.acquire();
        if to_bytes_in_with_alloc::<_, _, Failure>(head, writer, arena).is_err() {
            self.buffer.resize(begin, 0);
            return Err(SpoolError::Encode(format!("the head of a {} record is too large", kind.name())));
        }
        Ok(self.finish(begin, kind, body))
    }

    /// Appends a record whose head is `prefix` (16 bytes or none) and then `head`, bytes of an archive.
    pub(crate) fn copy(&mut self, kind: Kind, prefix: &[u8], head: &[u8], body: &[u8]) -> Placed {
        let begin = self.begin();
        self.buffer.extend_from_slice(prefix);
        self.buffer.extend_from_slice(head);
        self.finish(begin, kind, &[body])
    }

    /// Takes back everything behind `end`, a position that [`Encoder::end`] once gave.
    pub(crate) fn cut(&mut self, end: u64) {
        let kept = usize::try_from(end.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.buffer.resize(kept.min(self.buffer.len()), 0);
    }

    /// Forgets the bytes: they are written.
    pub(crate) fn written(&mut self) {
        self.start = self.end();
        self.empty();
    }

    /// Forgets the bytes before `end`: they are written.
    pub(crate) fn written_to(&mut self, end: u64) {
        let written = usize::try_from(end - self.start).unwrap_or(usize::MAX).min(self.buffer.len());
        let rest = self.buffer[written..].to_vec();
        self.start = end;
        self.empty();
        self.buffer.extend_from_slice(&rest);
    }

    /// What is not written yet, as if it stood in a segment of its own.
    pub(crate) fn as_segment(&self, shard: u8) -> Arc<Segment> {
        let mut bytes = AlignedVec::new();
        bytes.resize(RECORDS_START, 0);
        bytes.extend_from_slice(&self.buffer);
        // Behind the first page of a segment at the earliest, so this does not fall below zero.
        let base = self.start.saturating_sub(RECORDS_START as u64);
        let mut header = SegmentHeader::stand_in(shard, base, self.identity);
        header.capacity = bytes.len() as u64;
        Arc::new(Segment::in_memory(header, bytes))
    }

    /// Goes on at `start` of the same segment; what was not written is forgotten.
    pub(crate) fn begin_at(&mut self, start: u64) {
        self.start = start;
        self.empty();
    }

    /// Goes on at `start` of another segment; what was not written is forgotten.
    pub(crate) fn move_to(&mut self, start: u64, identity: u64) {
        self.start = start;
        self.identity = identity;
        self.empty();
    }

    fn empty(&mut self) {
        self.buffer.clear();
        if self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = AlignedVec::new();
        }
    }

    fn begin(&mut self) -> usize {
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        begin
    }

    fn finish(&mut self, begin: usize, kind: Kind, body: &[&[u8]]) -> Placed {
        let head_bytes = self.buffer.len() - begin - RECORD_HEADER_BYTES;
        self.buffer.resize(begin + RECORD_HEADER_BYTES + padded(head_bytes), 0);
        body.iter().for_each(|part| self.buffer.extend_from_slice(part));
        self.buffer.resize(padded(self.buffer.len()), 0);
        let position = self.start + begin as u64;
        let stamp = stamp(self.identity, position);
        let record = &mut self.buffer.as_mut_slice()[begin..];
        RecordHeader::seal(record, kind, (head_bytes, body_bytes(body)), stamp);
        Placed { position, span: record.len() as u64 }
    }
}

/// Size of a body that comes in parts.
pub(crate) fn body_bytes(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// Writes an archive at the end of the buffer; positions count from the archive's beginning, which is aligned.
pub(crate) struct HeadWriter<'a> {
    buffer: &'a mut AlignedVec<16>,
    start: usize,
}

impl Positional for HeadWriter<'_> {
    fn pos(&self) -> usize {
        self.buffer.len() - self.start
    }
}

impl Fallible for HeadWriter<'_> {
    type Error = Failure;
}

impl Writer<Failure> for HeadWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}
