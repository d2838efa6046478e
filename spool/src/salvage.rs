//! Reads records again that were appended but are not durable, so that a log can keep some of them after its disk has
//! failed. It believes nothing without its checksum, like every reader.

use std::sync::Arc;

use mail::{Disposition, RecordId, UnixMs};

use crate::layout::{Kind, MOVED_PREFIX_BYTES, RECORDS_START, span};
use crate::record::{CampaignState, ContentKind};
use crate::scan::{Found, Raw, Scanner, Verify};
use crate::segment::{Age, Segment};
use crate::view;

/// A record that was read again.
#[derive(Debug)]
pub(crate) struct Salvaged {
    pub(crate) kind: Kind,
    /// Where it stood.
    pub(crate) position: u64,
    /// What it is or speaks of: a content, a recipient, a template.
    pub(crate) id: RecordId,
    /// Of a recipient: its content.
    pub(crate) content: u64,
    /// A content that the engine made itself.
    pub(crate) is_notice: bool,
    /// Of a template: when it was accepted.
    pub(crate) template_at: Option<UnixMs>,
    /// Of an outcome.
    pub(crate) disposition: Disposition,
    /// Of a campaign's state.
    pub(crate) campaign: Option<CampaignState>,
    pub(crate) head: Vec<u8>,
    /// Empty where it is not needed: of contents that somebody outside waits for.
    pub(crate) body: Vec<u8>,
}

impl Salvaged {
    /// The most bytes that it takes when it is written again.
    pub(crate) fn span_max(&self) -> u64 {
        span((self.head.len() + MOVED_PREFIX_BYTES) as u64, self.body.len() as u64)
    }
}

/// Appends the records of `segment` from position `from` on to `into`, in order.
pub(crate) fn salvage(segment: &Arc<Segment>, from: u64, into: &mut Vec<Salvaged>) {
    let header = segment.header();
    let begin = usize::try_from(from.saturating_sub(header.base)).unwrap_or(usize::MAX);
    let bytes = segment.image().bytes();
    if !segment.can_read(begin..bytes.len(), Age::Recent) {
        // What cannot be read cannot be kept: those deliveries are repeated after the next start.
        return;
    }
    let found = Scanner::new(header, bytes, begin.max(RECORDS_START), Verify::All);
    let whole = found.filter_map(|found| match found {
        Found::Record(raw) => read(segment, &raw),
        Found::Damaged { .. } => None,
    });
    into.extend(whole);
}

fn read(segment: &Arc<Segment>, raw: &Raw) -> Option<Salvaged> {
    let header = segment.header();
    let bytes = segment.image().bytes();
    let position = header.base + raw.offset as u64;
    let mut record = Salvaged {
        kind: raw.kind,
        position,
        id: RecordId::new(header.shard, position),
        content: 0,
        is_notice: false,
        template_at: None,
        disposition: Disposition::Deferred,
        campaign: None,
        head: bytes.get(raw.head.clone())?.to_vec(),
        body: Vec::new(),
    };
    match raw.kind {
        Kind::Content | Kind::MovedContent => {
            let content = view::content(segment, raw)?;
            record.id = content.id().0;
            record.is_notice = content.is_notice();
            record.template_at = (content.kind() == ContentKind::Template).then(|| content.accepted_at());
            if record.is_notice || raw.kind == Kind::MovedContent {
                record.body = bytes.get(raw.body.clone())?.to_vec();
            }
        }
        Kind::Recipient | Kind::MovedRecipient => {
            let recipient = view::recipient(segment, raw)?;
            (record.id, record.content) = (recipient.id().0, recipient.content().raw());
        }
        Kind::Outcome => {
            let outcome = view::outcome(segment, raw)?;
            (record.id, record.disposition) = (outcome.recipient().0, outcome.disposition());
        }
        Kind::Campaign => {
            let state = view::campaign(segment, raw)?;
            (record.id, record.campaign) = (state.campaign.0, Some(state));
        }
        // Written anew.
        Kind::Totals | Kind::End | Kind::Cut => return None,
    }
    Some(record)
}
