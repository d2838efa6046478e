//! Turns the records of one shard's log into a batch for the store: outcomes with all that is known of their recipient,
//! and counts of what was accepted.

use std::sync::Arc;

use mail::{CampaignId, MessageId, RecordId, UnixMs};
use rustc_hash::FxHashMap;
use spool::{
    CampaignPhase, ContentHead, ContentKind, Cursor, OutcomeRef, ReadError, Reader, RecordRef, Tail,
};

use crate::event::{Event, Origin, Subject};
use crate::write::Batch;

/// Messages whose head is remembered between the records that name them.
const HEADS_MAX: usize = 4096;

/// Records that one call reads at most, also when few of them are outcomes.
const RECORDS_MAX: usize = 16_384;

/// Reads one shard's log.
#[derive(Debug)]
pub(crate) struct ShardTail {
    shard: u8,
    reader: Reader,
    tail: Tail,
    heads: FxHashMap<MessageId, Arc<Head>>,
}

/// What is needed of a message's content for each of its recipients.
#[derive(Debug)]
struct Head {
    origin: Origin,
    sender: String,
    accepted_at: UnixMs,
    metadata: Option<String>,
    is_template: bool,
}

/// What the records of all shards may need of each other.
#[derive(Debug, Default)]
pub(crate) struct Campaigns {
    /// When each campaign was last started.
    pub(crate) started: FxHashMap<CampaignId, UnixMs>,
}

impl ShardTail {
    /// Reads `reader` from `position` on.
    pub(crate) fn new(shard: u8, reader: Reader, position: u64) -> Self {
        let tail = reader.tail(Cursor(position)).durable();
        Self { shard, reader, tail, heads: FxHashMap::default() }
    }

    /// Adds what has been written since to `batch`, at most `events_max` events of it; the number of records that were read, and whether all were.
    pub(crate) fn read(
        &mut self,
        events_max: usize,
        batch: &mut Batch,
        campaigns: &mut Campaigns,
        now: UnixMs,
    ) -> (usize, bool) {
        let (mut records, mut is_end) = (0, false);
        let full = batch.events.len() + events_max;
        while records < RECORDS_MAX && batch.events.len() < full {
            let Some((id, record)) = self.tail.next() else {
                is_end = true;
                break;
            };
            records += 1;
            self.take(id, &record, batch, campaigns, now);
        }
        if records > 0 {
            batch.cursors.insert(self.shard, self.tail.cursor().0);
        }
        (records, is_end)
    }

    fn take(
        &mut self,
        id: RecordId,
        record: &RecordRef,
        batch: &mut Batch,
        campaigns: &mut Campaigns,
        now: UnixMs,
    ) {
        match record {
            RecordRef::Content(head) => {
                self.remember(head);
            }
            RecordRef::Recipient(recipient) => self.accept(recipient.content(), batch, now),
            RecordRef::Outcome(outcome) => {
                let event = self.event(id, outcome, campaigns);
                batch.events.push(event);
            }
            RecordRef::Campaign(state) if state.phase == CampaignPhase::Running => {
                campaigns.started.insert(state.campaign, state.at);
                batch.started.insert(state.campaign, state.at);
            }
            _ => {}
        }
    }

    fn accept(&mut self, content: MessageId, batch: &mut Batch, now: UnixMs) {
        let Some(head) = self.head(content) else { return };
        // The recipients of a campaign come at any time after its template.
        let at = if head.is_template { now } else { head.accepted_at };
        batch.accept(&head.origin, at);
    }

    fn event(&mut self, id: RecordId, outcome: &OutcomeRef, campaigns: &Campaigns) -> Event {
        let recipient = outcome.recipient();
        let found = self.reader.recipient(recipient);
        let (content, address, not_before) = match &found {
            Ok(found) => (found.content(), found.address().to_owned(), found.not_before()),
            Err(error) => {
                lost(*error);
                (MessageId::default(), String::new(), UnixMs(0))
            }
        };
        let head = self.head(content);
        let started = head.as_ref().filter(|head| head.is_template).and_then(|head| head.origin.campaign);
        let started = started.and_then(|campaign| campaigns.started.get(&campaign)).copied();
        let accepted_at = head.as_ref().map_or(outcome.at(), |head| head.accepted_at);
        let ready_at = accepted_at.max(not_before).max(started.unwrap_or_default());
        let subject = Subject {
            recipient,
            message: content,
            address,
            sender: head.as_ref().map(|head| head.sender.clone()).unwrap_or_default(),
            accepted_at,
            metadata: head.as_ref().and_then(|head| head.metadata.clone()),
            origin: head.map_or_else(Origin::unknown, |head| head.origin.clone()),
        };
        Event::new(id, subject, outcome.to_outcome(), ready_at)
    }

    fn head(&mut self, content: MessageId) -> Option<Arc<Head>> {
        if let Some(head) = self.heads.get(&content) {
            return Some(Arc::clone(head));
        }
        match self.reader.content_head(content) {
            Ok(head) => Some(self.remember(&head)),
            Err(error) => {
                lost(error);
                None
            }
        }
    }

    fn remember(&mut self, head: &ContentHead) -> Arc<Head> {
        if self.heads.len() >= HEADS_MAX {
            self.heads.clear();
        }
        let known = Arc::new(Head::of(head));
        self.heads.insert(head.id(), Arc::clone(&known));
        known
    }
}

impl Head {
    fn of(head: &ContentHead) -> Self {
        let is_template = head.kind() == ContentKind::Template;
        let own = is_template.then(|| CampaignId(head.id().0));
        Self {
            sender: head.sender().to_owned(),
            origin: Origin {
                tenant: head.tenant().to_owned(),
                class: head.class(),
                campaign: own.or(head.campaign()),
                campaign_name: head.name().to_owned(),
                tags: head.tags().map(str::to_owned).collect(),
            },
            accepted_at: head.accepted_at(),
            metadata: Some(head.metadata().to_owned()).filter(|text| !text.is_empty()),
            is_template,
        }
    }
}

/// The event is told without what the damaged or missing record said; the outcome itself is whole.
fn lost(error: ReadError) {
    tracing::warn!("an event is incomplete: {error}");
}
