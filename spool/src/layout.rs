//! The fixed layouts on disk: the segment header and the record header, their checksums, and nothing of what the
//! records mean. Little-endian throughout; the tables are in `docs/spool.md`.

use std::hash::{BuildHasher, RandomState};
use std::mem::{offset_of, size_of};
use std::time::{SystemTime, UNIX_EPOCH};

use crc_fast::{CrcAlgorithm, Digest};

use crate::planted::{self, Bug};

/// First bytes of every segment.
const MAGIC: [u8; 8] = *b"STAFSPL\n";
/// The format that this program writes. It opens this one and older ones, and refuses newer ones.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// The layout of the heads that this program writes.
pub(crate) const RECORD_VERSION: u8 = 1;
/// Where the records of a segment begin: one page for the header and its copy.
pub(crate) const RECORDS_START: usize = 4096;
/// Where the second copy of the segment header lies: in another sector than the first.
const HEADER_COPY_AT: usize = 2048;
/// Every record begins at a multiple of this, and so does the body within it.
pub(crate) const ALIGN: usize = 16;
/// Size of a record header.
pub(crate) const RECORD_HEADER_BYTES: usize = size_of::<RecordHeader>();
/// Smallest segment: the header page, the totals, and room for a record worth the name.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// Largest segment: offsets in units of 16 bytes must fit 27 bits (see `books`), and one write call takes no more.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// The beginning of a segment file. Written twice, so that one bad sector does not take the segment along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    magic: [u8; 8],
    /// Place of the segment in the order of the log; also the file's name.
    pub(crate) sequence: u64,
    /// Position in the log of the first byte of this file.
    pub(crate) base: u64,
    /// How many positions the segment takes up in the log: the size the file was preallocated with.
    pub(crate) capacity: u64,
    /// When it was created, in milliseconds of the Unix epoch.
    pub(crate) created_ms: u64,
    /// A random number, mixed into every checksum of the segment.
    pub(crate) identity: u64,
    version: u16,
    /// The shard whose log it belongs to.
    pub(crate) shard: u8,
    /// 1: the file was a segment before, and what lies behind the last record is left from then; 0: zeros lie there.
    recycled: u8,
    reserved: [u8; 8],
    crc: u32,
}

const _: () = {
    assert!(size_of::<SegmentHeader>() == 64);
    assert!(offset_of!(SegmentHeader, sequence) == 8);
    assert!(offset_of!(SegmentHeader, base) == 16);
    assert!(offset_of!(SegmentHeader, capacity) == 24);
    assert!(offset_of!(SegmentHeader, created_ms) == 32);
    assert!(offset_of!(SegmentHeader, identity) == 40);
    assert!(offset_of!(SegmentHeader, version) == 48);
    assert!(offset_of!(SegmentHeader, shard) == 50);
    assert!(offset_of!(SegmentHeader, recycled) == 51);
    assert!(offset_of!(SegmentHeader, reserved) == 52);
    assert!(offset_of!(SegmentHeader, crc) == 60);
};

/// What the first page of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstPage {
    /// A segment this program can read.
    Segment(SegmentHeader),
    /// A segment of a newer format.
    Newer(u16),
    /// Only zeros: the file was created, but nothing in it reached the disk.
    Blank,
    /// Neither copy of the header is whole.
    Unreadable,
}

impl SegmentHeader {
    /// Of a segment that is created now.
    pub(crate) fn new(shard: u8, sequence: u64, base: u64, capacity: u64) -> Self {
        let stand_in = Self::stand_in(shard, base, random(sequence));
        Self { sequence, capacity, created_ms: now_ms(), ..stand_in }
    }

    /// Of records in memory that are to lie at `base` of the segment with `identity`.
    pub(crate) const fn stand_in(shard: u8, base: u64, identity: u64) -> Self {
        Self {
            magic: MAGIC,
            sequence: 0,
            base,
            capacity: 0,
            created_ms: 0,
            identity,
            version: FORMAT_VERSION,
            shard,
            recycled: 0,
            reserved: [0; 8],
            crc: 0,
        }
    }

    /// The same, of a segment that is written over an old one.
    pub(crate) const fn over_an_old_one(self) -> Self {
        Self { recycled: 1, ..self }
    }

    /// Whether what lies behind the last record may be anything.
    pub(crate) const fn is_recycled(&self) -> bool {
        self.recycled != 0
    }

    /// The first position behind the segment.
    pub(crate) const fn end(&self) -> u64 {
        self.base + self.capacity
    }

    /// The first page of the file: the header and its copy.
    pub(crate) fn to_page(self) -> Vec<u8> {
        let mut header = [0; 64];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(Self, magic), &self.magic);
        put(offset_of!(Self, sequence), &self.sequence.to_le_bytes());
        put(offset_of!(Self, base), &self.base.to_le_bytes());
        put(offset_of!(Self, capacity), &self.capacity.to_le_bytes());
        put(offset_of!(Self, created_ms), &self.created_ms.to_le_bytes());
        put(offset_of!(Self, identity), &self.identity.to_le_bytes());
        put(offset_of!(Self, version), &self.version.to_le_bytes());
        put(offset_of!(Self, shard), &[self.shard]);
        put(offset_of!(Self, recycled), &[self.recycled]);
        put(offset_of!(Self, reserved), &self.reserved);
        let crc = crc32c::crc32c(&header[..offset_of!(Self, crc)]);
        header[offset_of!(Self, crc)..].copy_from_slice(&crc.to_le_bytes());
        let mut page = vec![0; RECORDS_START];
        page[..64].copy_from_slice(&header);
        page[HEADER_COPY_AT..HEADER_COPY_AT + 64].copy_from_slice(&header);
        page
    }

    /// Reads the first page of a file; shorter pages are those of cut files.
    pub(crate) fn from_page(page: &[u8]) -> FirstPage {
        let copies = [0, HEADER_COPY_AT].map(|at| page.get(at..at + 64));
        if let Some(header) = copies.iter().flatten().find_map(|copy| Self::from_copy(copy)) {
            return FirstPage::Segment(header);
        }
        let newer = copies.iter().flatten().find_map(|copy| Self::newer_version(copy));
        match newer {
            Some(version) => FirstPage::Newer(version),
            None if page.iter().all(|&byte| byte == 0) => FirstPage::Blank,
            None => FirstPage::Unreadable,
        }
    }

    fn from_copy(copy: &[u8]) -> Option<Self> {
        let at = offset_of!(Self, crc);
        let header = Self {
            magic: copy.get(..8)?.try_into().ok()?,
            sequence: u64_at(copy, offset_of!(Self, sequence))?,
            base: u64_at(copy, offset_of!(Self, base))?,
            capacity: u64_at(copy, offset_of!(Self, capacity))?,
            created_ms: u64_at(copy, offset_of!(Self, created_ms))?,
            identity: u64_at(copy, offset_of!(Self, identity))?,
            version: u16_at(copy, offset_of!(Self, version))?,
            shard: *copy.get(offset_of!(Self, shard))?,
            recycled: *copy.get(offset_of!(Self, recycled))?,
            reserved: [0; 8],
            crc: u32_at(copy, at)?,
        };
        let ok = header.magic == MAGIC
            && (header.crc == crc32c::crc32c(copy.get(..at)?) || planted::is(Bug::NoCrc))
            && header.version <= FORMAT_VERSION
            && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.capacity)
            && header.base.is_multiple_of(ALIGN as u64)
            && header.capacity.is_multiple_of(ALIGN as u64)
            && header
                .base
                .checked_add(header.capacity)
                .is_some_and(|end| end <= mail::RecordId::POSITION_MAX);
        ok.then_some(header)
    }

    /// Magic and version stay where they are in every format, so that a newer one is recognised. Its checksum lies
    /// we do not know where, hence only an intact-looking first line is asked for.
    fn newer_version(copy: &[u8]) -> Option<u16> {
        let version = u16_at(copy, offset_of!(Self, version))?;
        (copy.get(..8)? == MAGIC && version > FORMAT_VERSION).then_some(version)
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A message or a template.
    Content = 1,
    /// One recipient of a content.
    Recipient = 2,
    /// What became of one attempt.
    Outcome = 3,
    /// A campaign changed its phase.
    Campaign = 4,
    /// The ledger as it stood here; first record of each segment.
    Totals = 5,
    /// Nothing follows in this segment.
    End = 6,
    /// A content carried forward by reclaim.
    MovedContent = 7,
    /// A waiting recipient carried forward by reclaim.
    MovedRecipient = 8,
    /// What was written before this segment from some position on counts for nothing: a write or sync failed there.
    Cut = 9,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Content,
        Self::Recipient,
        Self::Outcome,
        Self::Campaign,
        Self::Totals,
        Self::End,
        Self::MovedContent,
        Self::MovedRecipient,
        Self::Cut,
    ];

    /// The name users read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Recipient => "recipient",
            Self::Outcome => "outcome",
            Self::Campaign => "campaign",
            Self::Totals => "totals",
            Self::End => "end",
            Self::MovedContent => "moved content",
            Self::MovedRecipient => "moved recipient",
            Self::Cut => "cut",
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The beginning of a record. The head follows, padded to 16 bytes, then the body, padded to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct RecordHeader {
    header_crc: u32,
    head_crc: u32,
    body_crc: u32,
    /// Size of the head without its padding.
    pub(crate) head_bytes: u32,
    /// Size of the body without its padding.
    pub(crate) body_bytes: u32,
    /// A [`Kind`].
    pub(crate) kind: u8,
    /// Layout of the head.
    pub(crate) version: u8,
    reserved: u16,
    stamp: u64,
}

const _: () = {
    assert!(size_of::<RecordHeader>() == 32);
    assert!(offset_of!(RecordHeader, head_crc) == 4);
    assert!(offset_of!(RecordHeader, body_crc) == 8);
    assert!(offset_of!(RecordHeader, head_bytes) == 12);
    assert!(offset_of!(RecordHeader, body_bytes) == 16);
    assert!(offset_of!(RecordHeader, kind) == 20);
    assert!(offset_of!(RecordHeader, version) == 21);
    assert!(offset_of!(RecordHeader, reserved) == 22);
    assert!(offset_of!(RecordHeader, stamp) == 24);
    assert!(RECORD_HEADER_BYTES.is_multiple_of(ALIGN));
};

impl RecordHeader {
    /// Fills in the header of `record`: 32 bytes of room, then head, padding, body, padding.
    /// `record` must have exactly the span of these sizes; the log's encoder lays it out so.
    pub(crate) fn seal(record: &mut [u8], kind: Kind, sizes: (usize, usize), stamp: u64) {
        let (head_bytes, body_bytes) = sizes;
        let body_at = RECORD_HEADER_BYTES + padded(head_bytes);
        let head_crc = checksum(stamp, &record[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + head_bytes]);
        let body_crc = checksum(stamp.rotate_left(32), &record[body_at..body_at + body_bytes]);
        // A segment is at most 2 GiB, so both sizes fit.
        let (head_size, body_size) = (head_bytes as u32, body_bytes as u32);
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(Self, head_crc), &head_crc.to_le_bytes());
        put(offset_of!(Self, body_crc), &body_crc.to_le_bytes());
        put(offset_of!(Self, head_bytes), &head_size.to_le_bytes());
        put(offset_of!(Self, body_bytes), &body_size.to_le_bytes());
        put(offset_of!(Self, kind), &[kind as u8, RECORD_VERSION, 0, 0]);
        put(offset_of!(Self, stamp), &stamp.to_le_bytes());
        let header_crc = checksum(stamp, &record[4..RECORD_HEADER_BYTES]);
        record[..4].copy_from_slice(&header_crc.to_le_bytes());
    }

    /// The header at the beginning of `bytes`, if it was written for the place that `stamp` stands for.
    pub(crate) fn read(bytes: &[u8], stamp: u64) -> Option<Self> {
        if u64_at(bytes, offset_of!(Self, stamp))? != stamp {
            return None;
        }
        let header = Self {
            header_crc: u32_at(bytes, 0)?,
            head_crc: u32_at(bytes, offset_of!(Self, head_crc))?,
            body_crc: u32_at(bytes, offset_of!(Self, body_crc))?,
            head_bytes: u32_at(bytes, offset_of!(Self, head_bytes))?,
            body_bytes: u32_at(bytes, offset_of!(Self, body_bytes))?,
            kind: *bytes.get(offset_of!(Self, kind))?,
            version: *bytes.get(offset_of!(Self, version))?,
            reserved: u16_at(bytes, offset_of!(Self, reserved))?,
            stamp,
        };
        let crc = checksum(stamp, bytes.get(4..RECORD_HEADER_BYTES)?);
        (crc == header.header_crc || planted::is(Bug::NoCrc)).then_some(header)
    }

    /// Whether a header at the beginning of `bytes` was written for the place that `stamp` stands for, though it may be damaged: it has
    /// that stamp, or with that stamp it is whole.
    pub(crate) fn is_trace(bytes: &[u8], stamp: u64) -> bool {
        let Some(header) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else { return false };
        let mut mended = *header;
        mended[offset_of!(Self, stamp)..].copy_from_slice(&stamp.to_le_bytes());
        mended == *header || u32_at(header, 0) == Some(checksum(stamp, &mended[4..]))
    }

    /// Bytes from the beginning of this record to the next.
    pub(crate) const fn span(&self) -> u64 {
        span(self.head_bytes as u64, self.body_bytes as u64)
    }

    /// Where the body begins, from the beginning of the record.
    pub(crate) const fn body_at(&self) -> usize {
        RECORD_HEADER_BYTES + padded(self.head_bytes as usize)
    }

    pub(crate) fn head_is_whole(&self, head: &[u8]) -> bool {
        checksum(self.stamp, head) == self.head_crc || planted::is(Bug::NoCrc)
    }

    pub(crate) fn body_is_whole(&self, body: &[u8]) -> bool {
        checksum(self.stamp.rotate_left(32), body) == self.body_crc || planted::is(Bug::NoCrc)
    }
}

/// What stands before the archive in the head of a record carried forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MovedPrefix {
    /// Raw identifier: where the record first was.
    pub(crate) id: u64,
    /// Second of the next attempt; zero when none was set, and for contents.
    pub(crate) next_s: u32,
    /// Attempts made; zero for contents.
    pub(crate) attempts: u16,
    reserved: u16,
}

/// Size of a [`MovedPrefix`].
pub(crate) const MOVED_PREFIX_BYTES: usize = size_of::<MovedPrefix>();

const _: () = {
    assert!(size_of::<MovedPrefix>() == 16);
    assert!(offset_of!(MovedPrefix, next_s) == 8);
    assert!(offset_of!(MovedPrefix, attempts) == 12);
    assert!(offset_of!(MovedPrefix, reserved) == 14);
    // The archive behind it stays aligned.
    assert!(size_of::<MovedPrefix>().is_multiple_of(ALIGN));
};

impl MovedPrefix {
    pub(crate) const fn new(id: u64, next_s: u32, attempts: u16) -> Self {
        Self { id, next_s, attempts, reserved: 0 }
    }

    pub(crate) fn to_bytes(self) -> [u8; MOVED_PREFIX_BYTES] {
        let mut bytes = [0; MOVED_PREFIX_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.next_s.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.attempts.to_le_bytes());
        bytes[14..].copy_from_slice(&self.reserved.to_le_bytes());
        bytes
    }

    pub(crate) fn read(head: &[u8]) -> Option<Self> {
        Some(Self::new(u64_at(head, 0)?, u32_at(head, 8)?, u16_at(head, 12)?))
    }
}

/// Bytes that a record with a head and a body of these sizes takes.
pub(crate) const fn span(head_bytes: u64, body_bytes: u64) -> u64 {
    let align = ALIGN as u64;
    RECORD_HEADER_BYTES as u64 + head_bytes.next_multiple_of(align) + body_bytes.next_multiple_of(align)
}

/// `bytes` rounded up to the alignment of records.
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// The number that stands for one place in one segment: it is written into each record header and seeds its
/// checksums. Without the segment's random identity nobody can compute it, so neither stale bytes of a recycled
/// file nor a message body that imitates records is ever believed.
pub(crate) const fn stamp(identity: u64, position: u64) -> u64 {
    mix(identity ^ mix(position))
}

/// The finaliser of SplitMix64: every bit of the result depends on every bit of `x`.
pub(crate) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number that nobody can guess and that no two segments share: the standard library's hasher is seeded by the
/// system's random source.
fn random(sequence: u64) -> u64 {
    RandomState::new().hash_one((sequence, now_ms()))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// From so many bytes on the vector units pay.
const LONG: usize = 2048;

/// CRC-32C that goes on from `seed`: by the processor's own instruction, or for long bodies by its vector units, six
/// times as fast at 10 KiB.
fn checksum(seed: u64, bytes: &[u8]) -> u32 {
    let seed = seed as u32;
    if bytes.len() < LONG {
        return crc32c::crc32c_append(seed, bytes);
    }
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, (!seed).into());
    digest.update(bytes);
    digest.finalize() as u32
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_checksums_are_of_one_kind() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|at| (at * 7 + at / 13) as u8).collect();
        for length in [0, 1, 300, LONG - 1, LONG, LONG + 1, 10_240, 20_000] {
            for seed in [0, 1, u64::from(u32::MAX), 0x1234_5678_9abc_def0] {
                let plain = crc32c::crc32c_append(seed as u32, &bytes[..length]);
                assert_eq!(checksum(seed, &bytes[..length]), plain, "{length} {seed}");
            }
        }
    }

    #[test]
    fn a_segment_header_survives_the_loss_of_either_copy() {
        let mut header = SegmentHeader::new(3, 12, 4096, 1 << 20);
        header.identity = 9;
        for at in [0, HEADER_COPY_AT] {
            let mut page = header.to_page();
            page[at..at + 64].fill(0xff);
            let FirstPage::Segment(read) = SegmentHeader::from_page(&page) else {
                panic!("copy at {at} lost")
            };
            assert_eq!((read.sequence, read.base, read.identity, read.shard), (12, 4096, 9, 3));
        }
    }

    #[test]
    fn first_pages_that_are_not_ours_are_told_apart() {
        let page = SegmentHeader::new(0, 1, 0, 1 << 20).to_page();
        let mut newer = page.clone();
        for at in [0, HEADER_COPY_AT] {
            newer[at + offset_of!(SegmentHeader, version)] = 2;
        }
        assert_eq!(SegmentHeader::from_page(&newer), FirstPage::Newer(2));
        assert_eq!(SegmentHeader::from_page(&[0; 4096]), FirstPage::Blank);
        assert_eq!(SegmentHeader::from_page(&[]), FirstPage::Blank);
        assert_eq!(SegmentHeader::from_page(&[7; 4096]), FirstPage::Unreadable);
        assert_eq!(SegmentHeader::from_page(&page[..40]), FirstPage::Unreadable);
    }

    #[test]
    fn a_record_is_believed_only_at_its_place() {
        let mut record = vec![0; 64];
        record[32..37].copy_from_slice(b"hello");
        RecordHeader::seal(&mut record, Kind::Outcome, (5, 0), stamp(1, 4096));
        assert!(RecordHeader::read(&record, stamp(1, 4096)).is_some());
        assert!(RecordHeader::read(&record, stamp(2, 4096)).is_none());
        assert!(RecordHeader::read(&record, stamp(1, 4112)).is_none());
        assert!(RecordHeader::read(&record[..31], stamp(1, 4096)).is_none());
    }
}
