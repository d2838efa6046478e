//! Segments made record by record, whole by every checksum whatever their records say: for fuzzing only, behind the
//! feature `raw-records`, so that what lies behind the checksums is fuzzed too. It writes no file.

use mail::{Ledger, Outcome, RecordId};

use crate::encode::Encoder;
use crate::error::SpoolError;
use crate::layout::{
    Kind, MovedPrefix, RECORD_HEADER_BYTES, RECORDS_START, RecordHeader, SegmentHeader, padded, stamp,
};
use crate::record::{CampaignState, Content, Recipient};
use crate::stored::{StoredCampaign, StoredContent, StoredCut, StoredOutcome, StoredRecipient, StoredTotals};

/// Where the kind stands in a record header; the version stands behind it.
const KIND_AT: usize = 20;

/// What the head of a record says.
#[derive(Clone, Copy, Debug)]
pub enum RawHead<'a> {
    /// A message or a template.
    Content(&'a Content),
    /// A recipient of the content with the raw identifier in front.
    Recipient(u64, &'a Recipient),
    /// An outcome of the recipient with the raw identifier in front.
    Outcome(u64, &'a Outcome),
    /// A campaign's state.
    Campaign(&'a CampaignState),
    /// The ledger, and whether it was written at an opening.
    Totals(&'a Ledger, bool),
    /// The position from which on nothing before the segment counts.
    Cut(u64),
}

impl RawHead<'_> {
    /// The kind of record that has such a head.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Content(_) => Kind::Content,
            Self::Recipient(..) => Kind::Recipient,
            Self::Outcome(..) => Kind::Outcome,
            Self::Campaign(_) => Kind::Campaign,
            Self::Totals(..) => Kind::Totals,
            Self::Cut(_) => Kind::Cut,
        }
    }

    /// The head as it lies on disk.
    ///
    /// # Errors
    /// [`SpoolError::Encode`] when a text or list is longer than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SpoolError> {
        let mut encoder = Encoder::new(0, 0);
        let kind = self.kind();
        match *self {
            Self::Content(content) => encoder.record(kind, &StoredContent::from(content), &[]),
            Self::Recipient(content, recipient) => {
                encoder.record(kind, &StoredRecipient::of(content, recipient), &[])
            }
            Self::Outcome(recipient, outcome) => {
                encoder.record(kind, &StoredOutcome::of(recipient, outcome), &[])
            }
            Self::Campaign(state) => {
                let (campaign, at, phase) = (state.campaign.raw(), state.at.0, state.phase as u8);
                encoder.record(kind, &StoredCampaign { campaign, at, phase }, &[])
            }
            Self::Totals(ledger, opening) => encoder.record(kind, &StoredTotals::of(ledger, opening), &[]),
            Self::Cut(from) => encoder.record(kind, &StoredCut { from }, &[]),
        }?;
        let header = RecordHeader::read(encoder.bytes(), stamp(0, 0));
        let head_bytes = header.map_or(0, |header| header.head_bytes as usize);
        Ok(encoder.bytes()[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + head_bytes].to_vec())
    }
}

/// What stands before the archive in the head of a record carried forward.
#[must_use]
pub fn moved_prefix(id: u64, next_s: u32, attempts: u16) -> [u8; 16] {
    MovedPrefix::new(id, next_s, attempts).to_bytes()
}

/// Where a segment stands in its log.
#[derive(Clone, Copy, Debug)]
pub struct RawPlace {
    /// Whose log it belongs to.
    pub shard: u8,
    /// Its place in the order of the log.
    pub sequence: u64,
    /// Position of its first byte.
    pub base: u64,
    /// Positions it takes up.
    pub capacity: u64,
    /// The number that is mixed into its checksums.
    pub identity: u64,
}

/// A segment file in memory.
#[derive(Clone, Debug)]
pub struct RawSegment {
    place: RawPlace,
    bytes: Vec<u8>,
}

impl RawSegment {
    /// A segment without records. Its header is whole, but nothing checks what `place` says.
    #[must_use]
    pub fn new(place: RawPlace) -> Self {
        let mut header = SegmentHeader::new(place.shard, place.sequence, place.base, place.capacity);
        header.identity = place.identity;
        Self { place, bytes: header.to_page() }
    }

    /// Appends a record that is whole by its checksums, and says where it stands.
    pub fn record(&mut self, kind: u8, version: u8, head: &[u8], body: &[u8]) -> RecordId {
        let id = self.next_id();
        let begin = self.bytes.len();
        self.bytes.resize(begin + RECORD_HEADER_BYTES, 0);
        self.bytes.extend_from_slice(head);
        self.bytes.resize(padded(self.bytes.len()), 0);
        self.bytes.extend_from_slice(body);
        self.bytes.resize(padded(self.bytes.len()), 0);
        let record = &mut self.bytes[begin..];
        let stamp = stamp(self.place.identity, self.place.base.wrapping_add(begin as u64));
        RecordHeader::seal(record, Kind::Content, (head.len(), body.len()), stamp);
        (record[KIND_AT], record[KIND_AT + 1]) = (kind, version);
        // The checksum of a header is seeded with its stamp, like those of head and body.
        let crc = crc32c::crc32c_append(stamp as u32, &record[4..RECORD_HEADER_BYTES]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        id
    }

    /// Appends bytes as they are, and zeros up to where the next record may begin.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(padded(self.bytes.len()), 0);
    }

    /// The identifier of the next record.
    #[must_use]
    pub fn next_id(&self) -> RecordId {
        RecordId::new(self.place.shard, self.place.base.wrapping_add(self.bytes.len() as u64))
    }

    /// Bytes so far, with the header's page.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= RECORDS_START
    }

    /// The file, without the unwritten rest.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Inspection, What};

    #[test]
    fn what_is_made_by_hand_is_believed() {
        let place = RawPlace { shard: 3, sequence: 1, base: 4096, capacity: 16 << 10, identity: 9 };
        let mut segment = RawSegment::new(place);
        let content = Content { sender: "a sender of some length".to_owned(), ..Content::default() };
        let head = RawHead::Content(&content);
        let id = segment.record(head.kind() as u8, 1, &head.to_bytes().unwrap(), b"a body");
        segment.record(Kind::Recipient as u8, 1, b"no archive at all", &[]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), segment.into_bytes()).unwrap();
        let inspection = Inspection::open(file.path()).unwrap();
        let mut entries = inspection.entries();
        let first = entries.next().unwrap();
        let read = first.content.expect("a content");
        assert_eq!((first.id, read.sender(), read.body()), (id, "a sender of some length", &b"a body"[..]));
        assert!(matches!(entries.next().unwrap().what, What::Damaged(why) if why.contains("is not one")));
        assert!(entries.next().is_none());
    }
}
