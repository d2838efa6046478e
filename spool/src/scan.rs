//! Walks the records of one segment: a pure function of bytes, used by recovery, readers and inspection alike. It
//! believes nothing without its checksum, panics on no bytes, and finds its way again behind a damaged record.

use std::ops::Range;

use crate::layout::{
    ALIGN, Kind, RECORD_HEADER_BYTES, RECORD_VERSION, RECORDS_START, RecordHeader, SegmentHeader, stamp,
};

/// Kept aside where the header of the last record is damaged and old records may lie behind.
const TRACE_BYTES: usize = 64 << 10;

/// Which checksums to verify beyond those of the record headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Heads; bodies are not touched.
    Heads,
    /// Heads and bodies.
    All,
}

/// A whole record: where it lies in its segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Offset of the record in the segment.
    pub(crate) offset: usize,
    pub(crate) kind: Kind,
    /// Bytes of the segment that are its head.
    pub(crate) head: Range<usize>,
    /// Bytes of the segment that are its body.
    pub(crate) body: Range<usize>,
    /// Bytes from its beginning to the next record.
    pub(crate) span: u64,
}

/// Why the bytes at an offset are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// No header that was written for this place.
    Header,
    /// The header is whole; the head does not match its checksum.
    Head(u8),
    /// Header and head are whole; the body does not match its checksum.
    Body(u8),
    /// The header is whole; the rest is cut off.
    Cut(u8),
    /// Whole, but of a kind or version that this program does not know.
    Unknown { kind: u8, version: u8 },
}

impl Flaw {
    /// What is wrong, for people.
    pub(crate) fn describe(self) -> String {
        let name = |kind| Kind::from_byte(kind).map_or("unknown", Kind::name);
        match self {
            Self::Header => "the record header does not match its checksum".to_owned(),
            Self::Head(kind) => format!("the head of this {} record does not match its checksum", name(kind)),
            Self::Body(kind) => format!("the body of this {} record does not match its checksum", name(kind)),
            Self::Cut(kind) => format!("this {} record is cut off", name(kind)),
            Self::Unknown { kind, version } => {
                format!("kind {kind} in version {version} is not known to this program")
            }
        }
    }
}

/// What stands at one place of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole record.
    Record(Raw),
    /// Bytes that are not to be believed, with more records behind them.
    Damaged { offset: usize, bytes: usize, flaw: Flaw },
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By an End record at this offset: complete.
    Sealed(usize),
    /// Nothing but zeros from this offset on, or what was in the file before it was this segment: the log was being written
    /// here.
    Open(usize),
    /// Something that is no record, and no record behind it: a write that a crash cut short.
    Torn { offset: usize, bytes: usize, flaw: Flaw },
}

impl Ending {
    /// Where the believable records end.
    pub(crate) const fn offset(self) -> usize {
        match self {
            Self::Sealed(offset) | Self::Open(offset) | Self::Torn { offset, .. } => offset,
        }
    }
}

/// The record at `offset` of `bytes`, the visible part of the segment that begins with `header`.
pub(crate) fn record_at(
    header: &SegmentHeader,
    bytes: &[u8],
    offset: usize,
    verify: Verify,
) -> Result<Raw, Flaw> {
    let record = header_at(header, bytes, offset).ok_or(Flaw::Header)?;
    let Some(kind) = Kind::from_byte(record.kind).filter(|_| record.version <= RECORD_VERSION) else {
        return Err(Flaw::Unknown { kind: record.kind, version: record.version });
    };
    // A segment is at most 2 GiB and both sizes are u32, so these sums do not overflow.
    let head_at = offset + RECORD_HEADER_BYTES;
    let body_at = offset + record.body_at();
    let head = head_at..head_at + record.head_bytes as usize;
    let body = body_at..body_at + record.body_bytes as usize;
    let head_slice = bytes.get(head.clone()).ok_or(Flaw::Cut(record.kind))?;
    let body_slice = bytes.get(body.clone()).ok_or(Flaw::Cut(record.kind))?;
    if !record.head_is_whole(head_slice) {
        return Err(Flaw::Head(record.kind));
    }
    if verify == Verify::All && !record.body_is_whole(body_slice) {
        return Err(Flaw::Body(record.kind));
    }
    Ok(Raw { offset, kind, head, body, span: record.span() })
}

/// The kind of the record at `offset`, of which only the header is looked at.
pub(crate) fn kind_at(header: &SegmentHeader, bytes: &[u8], offset: usize) -> Option<Kind> {
    Kind::from_byte(header_at(header, bytes, offset)?.kind)
}

fn header_at(header: &SegmentHeader, bytes: &[u8], offset: usize) -> Option<RecordHeader> {
    RecordHeader::read(bytes.get(offset..)?, stamp(header.identity, header.base + offset as u64))
}

/// The first offset from `offset` on (rounded up) at which a record header stands that was written for that place.
pub(crate) fn resume(header: &SegmentHeader, bytes: &[u8], offset: usize) -> Option<usize> {
    let first = offset.max(RECORDS_START).next_multiple_of(ALIGN);
    (first..bytes.len().saturating_sub(RECORD_HEADER_BYTES - 1))
        .step_by(ALIGN)
        .find(|&candidate| header_at(header, bytes, candidate).is_some())
}

/// Goes through the records of a segment in order.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    header: &'a SegmentHeader,
    bytes: &'a [u8],
    offset: usize,
    verify: Verify,
    ending: Option<Ending>,
}

impl<'a> Scanner<'a> {
    /// Over the visible `bytes` of the segment that begins with `header`, from `offset` on, where a record begins.
    pub(crate) fn new(header: &'a SegmentHeader, bytes: &'a [u8], offset: usize, verify: Verify) -> Self {
        Self { header, bytes, offset: offset.max(RECORDS_START), verify, ending: None }
    }

    /// How the segment ends; known once the iterator has yielded `None`.
    pub(crate) fn ending(&self) -> Ending {
        self.ending.unwrap_or(Ending::Open(self.offset))
    }

    /// Where the next record is looked for.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Passes over what stands here, without looking into it.
    pub(crate) fn pass(&mut self) -> Range<usize> {
        let offset = self.offset;
        let behind = match header_at(self.header, self.bytes, offset) {
            Some(record) => offset.saturating_add(usize::try_from(record.span()).unwrap_or(usize::MAX)),
            None => resume(self.header, self.bytes, offset + ALIGN).unwrap_or(self.bytes.len()),
        };
        self.offset = behind.min(self.bytes.len());
        offset..self.offset
    }

    fn end(&mut self, ending: Ending) -> Option<Found> {
        self.ending = Some(ending);
        None
    }

    /// Decides whether what stands here is a damaged record or the end.
    fn flawed(&mut self, flaw: Flaw) -> Option<Found> {
        let offset = self.offset;
        // A whole header tells the way to the next record; without one, look at each place where one could begin.
        let behind = match (flaw, header_at(self.header, self.bytes, offset)) {
            (Flaw::Header, _) | (_, None) => offset + ALIGN,
            (_, Some(record)) => offset.saturating_add(usize::try_from(record.span()).unwrap_or(usize::MAX)),
        };
        let next = match resume(self.header, self.bytes, behind.min(self.bytes.len())) {
            Some(next) => Some(next),
            // A cut record claims to reach beyond the bytes at hand: look inside it too.
            None if behind > offset + ALIGN => resume(self.header, self.bytes, offset + ALIGN),
            None => None,
        };
        if let Some(next) = next {
            self.offset = next;
            return Some(Found::Damaged { offset, bytes: next - offset, flaw });
        }
        let ending = match self.torn_bytes(offset, behind, flaw) {
            0 => Ending::Open(offset),
            bytes => Ending::Torn { offset, bytes, flaw },
        };
        self.end(ending)
    }

    fn stamp(&self, offset: usize) -> u64 {
        stamp(self.header.identity, self.header.base + offset as u64)
    }

    /// How many of the last bytes, from `offset` on, are those of a write that was cut short. In a recycled segment only the
    /// header tells that something was written at all: a whole one reaches to `behind`, a damaged one nobody knows how far.
    fn torn_bytes(&self, offset: usize, behind: usize, flaw: Flaw) -> usize {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        match (self.header.is_recycled(), flaw) {
            (true, Flaw::Header) if RecordHeader::is_trace(rest, self.stamp(offset)) => {
                rest.len().min(TRACE_BYTES)
            }
            (true, Flaw::Header) => 0,
            (true, _) => rest.len().min(behind - offset),
            (false, _) => rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1),
        }
    }
}

impl Iterator for Scanner<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.ending.is_some() {
            return None;
        }
        match record_at(self.header, self.bytes, self.offset, self.verify) {
            Ok(raw) if raw.kind == Kind::End => self.end(Ending::Sealed(self.offset)),
            Ok(raw) => {
                self.offset = raw.offset.saturating_add(usize::try_from(raw.span).unwrap_or(usize::MAX));
                Some(Found::Record(raw))
            }
            Err(flaw) => self.flawed(flaw),
        }
    }
}
