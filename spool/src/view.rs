//! Records as they are read back: in place, each keeping the segment it lies in alive. `record` has the owned values
//! that went in.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use mail::{BodyType, CampaignId, Class, Disposition, DsnReturn, Ledger, MessageId, Notify, Outcome};
use mail::{Enhanced, Phase, RecipientId, RecordId, Timings, TlsWish, UnixMs};
use rkyv::option::ArchivedOption;
use rkyv::string::ArchivedString;

use crate::books::Retry;
use crate::layout::{ALIGN, Kind, MOVED_PREFIX_BYTES, MovedPrefix, RECORD_HEADER_BYTES};
use crate::mmap::Head;
use crate::reader::HEAD_BYTES;
use crate::record::{CampaignPhase, CampaignState, ContentKind};
use crate::scan::{Raw, kind_at};
use crate::segment::Segment;
use crate::stored::{
    ArchivedStoredCampaign, ArchivedStoredContent, ArchivedStoredCut, ArchivedStoredOutcome,
    ArchivedStoredRecipient, ArchivedStoredTotals,
};

/// One record of a log, whatever it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RecordRef {
    /// A message or a template was accepted.
    Content(ContentHead),
    /// A recipient was accepted.
    Recipient(RecipientRef),
    /// An attempt ended.
    Outcome(OutcomeRef),
    /// A campaign changed its phase. May come again unchanged, when reclaim carries it forward.
    Campaign(CampaignState),
    /// Reclaim carried the named record forward; nothing happened to it.
    Moved(RecordId),
    /// The ledger as it stood here.
    Totals(Ledger),
    /// A write or sync had failed: everything from this position on up to here counted for nothing.
    Cut {
        /// The position.
        from: u64,
    },
    /// Bytes that are no record any more; the records behind them follow.
    Damaged {
        /// How many bytes were skipped.
        bytes: u64,
        /// What is wrong with them.
        what: String,
    },
}

/// A content apart from its body.
#[derive(Clone)]
pub struct ContentHead {
    id: MessageId,
    head: Head<ArchivedStoredContent<'static>>,
    /// Where its record begins in the segment.
    offset: usize,
    body: Range<usize>,
}

impl ContentHead {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Message or template.
    #[must_use]
    pub fn kind(&self) -> ContentKind {
        self.head.archived().kind()
    }

    /// When it was accepted.
    #[must_use]
    pub fn accepted_at(&self) -> UnixMs {
        UnixMs(self.head.archived().accepted_at.to_native())
    }

    /// The envelope sender; empty is `<>`.
    #[must_use]
    pub fn sender(&self) -> &str {
        &self.head.archived().sender
    }

    /// The account that submitted it; empty without accounts.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.head.archived().tenant
    }

    /// How urgent it is.
    #[must_use]
    pub fn class(&self) -> Class {
        Class::from_index(usize::from(self.head.archived().class)).unwrap_or(Class::Bulk)
    }

    /// The campaign that a message belongs to or that a template is.
    #[must_use]
    pub fn campaign(&self) -> Option<CampaignId> {
        if self.kind() == ContentKind::Template {
            return Some(CampaignId(self.id.0));
        }
        let raw = self.head.archived().campaign.to_native();
        (raw != 0).then_some(CampaignId::from_raw(raw))
    }

    /// Whether the engine itself wrote it.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.head.archived().is_notice()
    }

    /// `BODY=` of MAIL.
    #[must_use]
    pub fn body_type(&self) -> BodyType {
        self.head.archived().body_type()
    }

    /// Whether MAIL said `SMTPUTF8`.
    #[must_use]
    pub fn smtputf8(&self) -> bool {
        self.head.archived().smtputf8()
    }

    /// What its sender asks of TLS on its way.
    #[must_use]
    pub fn tls_wish(&self) -> TlsWish {
        self.head.archived().tls_wish()
    }

    /// `RET=` of MAIL.
    #[must_use]
    pub fn dsn_return(&self) -> DsnReturn {
        self.head.archived().dsn_return()
    }

    /// `ENVID=` of MAIL.
    #[must_use]
    pub fn envelope_id(&self) -> Option<&str> {
        text(&self.head.archived().envelope_id)
    }

    /// Tags of the submission.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> {
        self.head.archived().tags.iter().map(ArchivedString::as_str)
    }

    /// The submission's metadata as JSON text; empty when there is none.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.head.archived().metadata
    }

    /// The campaign's name; empty for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.kind() {
            ContentKind::Template => &self.head.archived().name,
            ContentKind::Message => "",
        }
    }

    /// What decided its class, as it was handed in: the code, 0 when it was not told, and what it stands on.
    #[must_use]
    pub fn ground(&self) -> (u8, &str) {
        let head = self.head.archived();
        match self.kind() {
            ContentKind::Template => (head.ground, ""),
            ContentKind::Message => (head.ground, &head.name),
        }
    }

    /// The sender identity: the domain of From; empty when unknown.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.head.archived().identity
    }

    /// Size of the body.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body.len() as u64
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        self.head.segment()
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn body_range(&self) -> Range<usize> {
        self.body.clone()
    }
}

impl fmt::Debug for ContentHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("id", &self.id)
            .field("kind", &self.kind())
            .field("accepted_at", &self.accepted_at())
            .field("sender", &self.sender())
            .field("tenant", &self.tenant())
            .field("class", &self.class())
            .field("campaign", &self.campaign())
            .field("body_bytes", &self.body_bytes())
            .finish_non_exhaustive()
    }
}

/// A content with its body, whose checksum was verified when this was made. Dereferences to [`ContentHead`].
#[derive(Clone, Debug)]
pub struct ContentRef {
    head: ContentHead,
}

impl ContentRef {
    /// The message, or the template as it was submitted.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.head.head.segment().image().bytes()[self.head.body.clone()]
    }
}

impl Deref for ContentRef {
    type Target = ContentHead;

    fn deref(&self) -> &ContentHead {
        &self.head
    }
}

/// One recipient.
#[derive(Clone)]
pub struct RecipientRef {
    id: RecipientId,
    head: Head<ArchivedStoredRecipient<'static>>,
    retry: Retry,
}

impl RecipientRef {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> RecipientId {
        self.id
    }

    /// The content it is to get.
    #[must_use]
    pub fn content(&self) -> MessageId {
        MessageId::from_raw(self.head.archived().content.to_native())
    }

    /// Where it is to go.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.head.archived().address
    }

    /// Not to be tried before this moment; zero: at once.
    #[must_use]
    pub fn not_before(&self) -> UnixMs {
        UnixMs(self.head.archived().not_before.to_native())
    }

    /// Second by which it should arrive; zero: no deadline.
    #[must_use]
    pub fn deadline(&self) -> u32 {
        self.head.archived().deadline.to_native()
    }

    /// Second at which it is to be given up; zero: never.
    #[must_use]
    pub fn expiry(&self) -> u32 {
        self.head.archived().expiry.to_native()
    }

    /// `NOTIFY=` of RCPT.
    #[must_use]
    pub fn notify(&self) -> Notify {
        Notify::from_bits(self.head.archived().notify)
    }

    /// `ORCPT=` of RCPT.
    #[must_use]
    pub fn original(&self) -> Option<&str> {
        text(&self.head.archived().original)
    }

    /// Merge values in the order of the template's fields.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.head.archived().values.iter().map(ArchivedString::as_str)
    }

    /// Whether another recipient stands right behind in the log, as those of one message do. Nothing is read that was not asked for
    /// together with this one.
    #[must_use]
    pub fn has_neighbour(&self) -> bool {
        let (segment, behind) = (self.head.segment(), self.end());
        let is_near = behind + RECORD_HEADER_BYTES < self.head.range().start + HEAD_BYTES / 2;
        let kind = || kind_at(segment.header(), segment.bytes(), behind);
        !is_near || matches!(kind(), Some(Kind::Recipient | Kind::MovedRecipient))
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        self.head.segment()
    }

    /// Offset in its segment of the record behind it.
    pub(crate) fn end(&self) -> usize {
        self.head.range().end.next_multiple_of(ALIGN)
    }

    /// What a record carried forward says of earlier attempts.
    pub(crate) fn retry(&self) -> Retry {
        self.retry
    }
}

impl fmt::Debug for RecipientRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient")
            .field("id", &self.id)
            .field("content", &self.content())
            .field("address", &self.address())
            .field("not_before", &self.not_before())
            .field("deadline", &self.deadline())
            .field("expiry", &self.expiry())
            .finish_non_exhaustive()
    }
}

/// What became of one attempt.
#[derive(Clone)]
pub struct OutcomeRef {
    head: Head<ArchivedStoredOutcome<'static>>,
}

impl OutcomeRef {
    /// Whose attempt it was.
    #[must_use]
    pub fn recipient(&self) -> RecipientId {
        RecipientId::from_raw(self.head.archived().recipient.to_native())
    }

    /// When it was decided.
    #[must_use]
    pub fn at(&self) -> UnixMs {
        UnixMs(self.head.archived().at.to_native())
    }

    /// Which attempt it was, counted from 1; 0 when none was made.
    #[must_use]
    pub fn attempt(&self) -> u16 {
        self.head.archived().marks.attempt.to_native()
    }

    /// Where the recipient stands now.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        self.head.archived().disposition()
    }

    /// When it will be tried again.
    #[must_use]
    pub fn next_attempt(&self) -> Option<UnixMs> {
        self.head.archived().next_attempt()
    }

    /// How far the attempt got.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.head.archived().phase()
    }

    /// The class of the verdict; empty when delivered.
    #[must_use]
    pub fn verdict(&self) -> &str {
        &self.head.archived().verdict
    }

    /// The reply code; 0 when the words are our own.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.head.archived().code.to_native()
    }

    /// The enhanced code of the reply.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.head.archived().enhanced_code()
    }

    /// The text of the reply.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.head.archived().text
    }

    /// Name of the source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.head.archived().source
    }

    /// Name of the provider.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.head.archived().provider
    }

    /// Host name of the receiving server.
    #[must_use]
    pub fn mx(&self) -> &str {
        &self.head.archived().mx
    }

    /// Address and port of the receiving server.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.head.archived().address
    }

    /// TLS version and cipher suite; empty without.
    #[must_use]
    pub fn tls(&self) -> &str {
        &self.head.archived().tls
    }

    /// How long the parts took.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.head.archived().timings()
    }

    /// All of it, as an owned value.
    #[must_use]
    pub fn to_outcome(&self) -> Outcome {
        self.head.archived().to_outcome()
    }
}

impl fmt::Debug for OutcomeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("recipient", &self.recipient())
            .field("outcome", &self.to_outcome())
            .finish()
    }
}

fn text(stored: &ArchivedOption<ArchivedString>) -> Option<&str> {
    stored.as_ref().map(ArchivedString::as_str)
}

/// Identifier and archive of a record that may have been carried forward.
fn unwrap(segment: &Segment, raw: &Raw) -> Option<(RecordId, Retry, Range<usize>)> {
    match raw.kind {
        Kind::MovedContent | Kind::MovedRecipient => {
            let prefix = MovedPrefix::read(segment.image().bytes().get(raw.head.clone())?)?;
            let archive = raw.head.start.checked_add(MOVED_PREFIX_BYTES)?..raw.head.end;
            let retry = Retry { attempts: prefix.attempts, next_s: prefix.next_s };
            Some((RecordId::from_raw(prefix.id), retry, archive))
        }
        _ => {
            let header = segment.header();
            let id = RecordId::new(header.shard, header.base + raw.offset as u64);
            Some((id, Retry::default(), raw.head.clone()))
        }
    }
}

/// `raw` as a content; `None` when its head is not an archive of one.
pub(crate) fn content(segment: &Arc<Segment>, raw: &Raw) -> Option<ContentHead> {
    let (id, _, archive) = unwrap(segment, raw)?;
    let head = Head::check(segment, archive)?;
    Some(ContentHead { id: MessageId(id), head, offset: raw.offset, body: raw.body.clone() })
}

/// A content whose body was verified.
pub(crate) fn with_body(head: ContentHead) -> ContentRef {
    ContentRef { head }
}

/// `raw` as a recipient; `None` when its head is not an archive of one.
pub(crate) fn recipient(segment: &Arc<Segment>, raw: &Raw) -> Option<RecipientRef> {
    let (id, retry, archive) = unwrap(segment, raw)?;
    Some(RecipientRef { id: RecipientId(id), head: Head::check(segment, archive)?, retry })
}

/// The totals and whether they were written at an opening.
pub(crate) fn totals(segment: &Arc<Segment>, raw: &Raw) -> Option<(Ledger, bool)> {
    let head = Head::<ArchivedStoredTotals>::check(segment, raw.head.clone())?;
    Some((head.archived().ledger(), head.archived().opening))
}

/// The position from which on nothing before the segment of this cut counts.
pub(crate) fn cut(segment: &Arc<Segment>, raw: &Raw) -> Option<u64> {
    let head = Head::<ArchivedStoredCut>::check(segment, raw.head.clone())?;
    Some(head.archived().from.to_native())
}

/// `raw` as an outcome; `None` when its head is not an archive of one.
pub(crate) fn outcome(segment: &Arc<Segment>, raw: &Raw) -> Option<OutcomeRef> {
    Some(OutcomeRef { head: Head::check(segment, raw.head.clone())? })
}

/// `raw` as a campaign's state; `None` when its head is not an archive of one.
pub(crate) fn campaign(segment: &Arc<Segment>, raw: &Raw) -> Option<CampaignState> {
    let head = Head::<ArchivedStoredCampaign>::check(segment, raw.head.clone())?;
    let stored = head.archived();
    Some(CampaignState {
        campaign: CampaignId::from_raw(stored.campaign.to_native()),
        phase: CampaignPhase::from_index(stored.phase)?,
        at: UnixMs(stored.at.to_native()),
    })
}

/// `raw` as what readers see; `None` when its head is not what its kind says.
pub(crate) fn record(segment: &Arc<Segment>, raw: &Raw) -> Option<RecordRef> {
    match raw.kind {
        Kind::Content => content(segment, raw).map(RecordRef::Content),
        Kind::Recipient => recipient(segment, raw).map(RecordRef::Recipient),
        Kind::Outcome => outcome(segment, raw).map(RecordRef::Outcome),
        Kind::Campaign => campaign(segment, raw).map(RecordRef::Campaign),
        Kind::Totals => totals(segment, raw).map(|(ledger, _)| RecordRef::Totals(ledger)),
        Kind::MovedContent => content(segment, raw).map(|content| RecordRef::Moved(content.id().0)),
        Kind::MovedRecipient => recipient(segment, raw).map(|recipient| RecordRef::Moved(recipient.id().0)),
        Kind::Cut => cut(segment, raw).map(|from| RecordRef::Cut { from }),
        // The scanner ends at it and never yields it.
        Kind::End => None,
    }
}
