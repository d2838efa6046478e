//! Skeleton of the readers: signatures first.
#![allow(clippy::unimplemented, unused_variables, missing_docs, reason = "signatures land before the bodies")]
use mail::{BodyType, CampaignId, Class, Disposition, DsnReturn, Ledger, MessageId, Notify, Outcome, RecipientId, RecordId, UnixMs};

use crate::{CampaignState, ContentKind, ReadError};

/// Reads one log from any thread.
#[derive(Clone, Debug)]
pub struct Reader {}
impl Reader {
    /// The content with its body, both checked.
    pub fn content(&self, id: MessageId) -> Result<ContentRef, ReadError> {
        unimplemented!()
    }
    /// The content without touching its body.
    pub fn content_head(&self, id: MessageId) -> Result<ContentHead, ReadError> {
        unimplemented!()
    }
    pub fn recipient(&self, id: RecipientId) -> Result<RecipientRef, ReadError> {
        unimplemented!()
    }
    /// Records in order from `cursor`; `None` at the end of what is flushed, then more later.
    pub fn tail(&self, cursor: Cursor) -> Tail {
        unimplemented!()
    }
    /// Keeps every segment that is needed from `cursor` on.
    pub fn hold(&self, cursor: Cursor) -> Hold {
        unimplemented!()
    }
}

/// Where a reader goes on; the number may be stored. Zero is the oldest record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

/// Pins segments until it is advanced or dropped.
#[derive(Debug)]
pub struct Hold {}
impl Hold {
    pub fn advance(&self, cursor: Cursor) {
        unimplemented!()
    }
}

#[derive(Debug)]
pub struct Tail {}
impl Tail {
    /// Only what is durable, not all that is flushed.
    pub fn durable(self) -> Self {
        self
    }
    /// Where to go on: behind the record yielded last.
    pub fn cursor(&self) -> Cursor {
        unimplemented!()
    }
}
impl Iterator for Tail {
    /// The record's identifier (shard and position) and the record.
    type Item = (RecordId, RecordRef);
    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}

#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RecordRef {
    Content(ContentHead),
    Recipient(RecipientRef),
    Outcome(OutcomeRef),
    Campaign(CampaignState),
    /// Carried forward by reclaim; nothing new.
    Moved(RecordId),
    Totals(Ledger),
    Damaged { bytes: u64 },
}

#[derive(Clone, Debug)]
pub struct ContentHead {}
impl ContentHead {
    pub fn id(&self) -> MessageId {
        unimplemented!()
    }
    pub fn kind(&self) -> ContentKind {
        unimplemented!()
    }
    pub fn accepted_at(&self) -> UnixMs {
        unimplemented!()
    }
    pub fn sender(&self) -> &str {
        unimplemented!()
    }
    pub fn tenant(&self) -> &str {
        unimplemented!()
    }
    pub fn class(&self) -> Class {
        unimplemented!()
    }
    /// The campaign a message belongs to, or a template is.
    pub fn campaign(&self) -> Option<CampaignId> {
        unimplemented!()
    }
    pub fn body_type(&self) -> BodyType {
        unimplemented!()
    }
    pub fn smtputf8(&self) -> bool {
        unimplemented!()
    }
    pub fn dsn_return(&self) -> DsnReturn {
        unimplemented!()
    }
    pub fn envelope_id(&self) -> Option<&str> {
        unimplemented!()
    }
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> {
        std::iter::empty()
    }
    pub fn metadata(&self) -> &str {
        unimplemented!()
    }
    pub fn name(&self) -> &str {
        unimplemented!()
    }
    pub fn identity(&self) -> &str {
        unimplemented!()
    }
}

/// Dereferences to its [`ContentHead`].
#[derive(Clone, Debug)]
pub struct ContentRef {}
impl ContentRef {
    pub fn body(&self) -> &[u8] {
        unimplemented!()
    }
}
impl std::ops::Deref for ContentRef {
    type Target = ContentHead;
    fn deref(&self) -> &ContentHead {
        unimplemented!()
    }
}

#[derive(Clone, Debug)]
pub struct RecipientRef {}
impl RecipientRef {
    pub fn id(&self) -> RecipientId {
        unimplemented!()
    }
    pub fn content(&self) -> MessageId {
        unimplemented!()
    }
    pub fn address(&self) -> &str {
        unimplemented!()
    }
    pub fn not_before(&self) -> UnixMs {
        unimplemented!()
    }
    pub fn deadline(&self) -> u32 {
        unimplemented!()
    }
    pub fn expiry(&self) -> u32 {
        unimplemented!()
    }
    pub fn notify(&self) -> Notify {
        unimplemented!()
    }
    pub fn original(&self) -> Option<&str> {
        unimplemented!()
    }
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        std::iter::empty()
    }
}

#[derive(Clone, Debug)]
pub struct OutcomeRef {}
impl OutcomeRef {
    pub fn recipient(&self) -> RecipientId {
        unimplemented!()
    }
    pub fn at(&self) -> UnixMs {
        unimplemented!()
    }
    pub fn disposition(&self) -> Disposition {
        unimplemented!()
    }
    pub fn to_outcome(&self) -> Outcome {
        unimplemented!()
    }
}
