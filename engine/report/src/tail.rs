//! Turns the records of one shard's log into a batch for the store: outcomes with all that is known of their recipient,
//! and counts of what was accepted.

use std::sync::Arc;

use mail::{CampaignId, Disposition, Enhanced, MessageId, RecipientId, RecordId, UnixMs};
use rustc_hash::FxHashMap;
use spool::{
    CampaignPhase, ContentHead, ContentKind, Cursor, OutcomeRef, ReadError, Reader, RecipientRef, RecordRef,
    Tail,
};

use crate::batch::{Batch, hash};
use crate::event::Origin;
use crate::pack::{ResultTold, RouteTold, SubjectTold, Telling};

/// Messages whose head is remembered between the records that name them.
const HEADS_MAX: usize = 4096;

/// Records that one call reads at most, also when few of them are outcomes.
const RECORDS_MAX: usize = 16_384;

/// Records that are taken together: what the outcomes among them name lies elsewhere in the log, and is fetched at the same time.
const TOGETHER: usize = 32;

/// A record as it was read.
#[derive(Debug)]
struct Taken {
    id: RecordId,
    record: RecordRef,
    /// Of an outcome: whose it is, if that can be read.
    recipient: Option<RecipientRef>,
}

/// Reads one shard's log.
#[derive(Debug)]
pub(crate) struct ShardTail {
    shard: u8,
    reader: Reader,
    tail: Tail,
    together: Vec<Taken>,
    heads: FxHashMap<MessageId, Arc<Head>>,
    enhanced: Words,
}

/// An enhanced code in words, for as long as outcomes have the same: most have that of success.
#[derive(Debug, Default)]
struct Words {
    code: Option<Enhanced>,
    text: String,
}

impl Words {
    fn of(&mut self, code: Option<Enhanced>) -> &str {
        if self.code != code {
            self.code = code;
            self.text = code.as_ref().map(Enhanced::to_string).unwrap_or_default();
        }
        &self.text
    }
}

/// What is needed of a message's content for each of its recipients.
#[derive(Debug)]
struct Head {
    origin: Origin,
    origin_hash: u64,
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

impl Taken {
    fn recipient_id(&self) -> Option<RecipientId> {
        match &self.record {
            RecordRef::Outcome(outcome) => Some(outcome.recipient()),
            _ => None,
        }
    }
}

impl ShardTail {
    /// Reads `reader` from `position` on.
    pub(crate) fn new(shard: u8, reader: Reader, position: u64) -> Self {
        let tail = reader.tail(Cursor(position)).durable();
        let (heads, enhanced) = (FxHashMap::default(), Words::default());
        Self { shard, reader, tail, together: Vec::with_capacity(TOGETHER), heads, enhanced }
    }

    /// Adds what has been written since to `batch`, about `events_max` events of it at most; the number of records that were
    /// read, and whether all were.
    pub(crate) fn read(
        &mut self,
        events_max: usize,
        batch: &mut Batch,
        campaigns: &mut Campaigns,
        now: UnixMs,
    ) -> (usize, bool) {
        let (mut records, mut is_end) = (0, false);
        let full = batch.events() + events_max;
        while !is_end && records < RECORDS_MAX && batch.events() < full {
            let mut together = self.take_some();
            is_end = together.len() < TOGETHER;
            records += together.len();
            together.drain(..).for_each(|taken| self.tell(&taken, batch, campaigns, now));
            self.together = together;
        }
        if records > 0 {
            batch.cursors.insert(self.shard, self.tail.cursor().0);
        }
        (records, is_end)
    }

    /// The next records, with the recipients that outcomes are of; what is told of these and their contents is at hand then.
    fn take_some(&mut self) -> Vec<Taken> {
        let mut together = std::mem::take(&mut self.together);
        let records = self.tail.by_ref().take(TOGETHER);
        together.extend(records.map(|(id, record)| Taken { id, record, recipient: None }));
        self.reader.fetch(together.iter().filter_map(|taken| Some(taken.recipient_id()?.0)));
        for taken in &mut together {
            let found = taken.recipient_id().map(|id| self.reader.recipient(id).map_err(lost));
            taken.recipient = found.and_then(Result::ok);
        }
        let contents = together.iter().filter_map(|taken| Some(taken.recipient.as_ref()?.content().0));
        self.reader.fetch(contents);
        together
    }

    fn tell(&mut self, taken: &Taken, batch: &mut Batch, campaigns: &mut Campaigns, now: UnixMs) {
        match &taken.record {
            RecordRef::Content(head) => {
                self.remember(head);
            }
            RecordRef::Recipient(recipient) => self.accept(recipient.content(), batch, now),
            RecordRef::Outcome(outcome) => {
                self.tell_outcome(taken, outcome, batch, campaigns);
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

    fn tell_outcome(
        &mut self,
        taken: &Taken,
        outcome: &OutcomeRef,
        batch: &mut Batch,
        campaigns: &Campaigns,
    ) {
        let recipient = taken.recipient.as_ref();
        let content = recipient.map_or_else(MessageId::default, RecipientRef::content);
        let not_before = recipient.map_or(UnixMs(0), RecipientRef::not_before);
        let head = self.head(content).unwrap_or_else(|| Arc::new(Head::unknown(outcome.at())));
        let started = head.origin.campaign.filter(|_| head.is_template);
        let started = started.and_then(|campaign| campaigns.started.get(&campaign)).copied();
        let ready_at = head.accepted_at.max(not_before).max(started.unwrap_or_default());
        let subject = SubjectTold {
            recipient: outcome.recipient(),
            message: content,
            address: recipient.map_or("", RecipientRef::address),
            sender: &head.sender,
            accepted_at: head.accepted_at,
            metadata: head.metadata.as_deref(),
        };
        let timings = outcome.timings();
        let telling = Telling {
            id: taken.id,
            subject,
            result: result(outcome, self.enhanced.of(outcome.enhanced()), ready_at),
            route: route(outcome),
            connect_ms: timings.connect_ms,
            transaction_ms: timings.transaction_ms,
        };
        batch.tell(&telling, &head.origin, head.origin_hash);
    }

    fn head(&mut self, content: MessageId) -> Option<Arc<Head>> {
        if let Some(head) = self.heads.get(&content) {
            return Some(Arc::clone(head));
        }
        match self.reader.content_head(content) {
            // Of most messages this is the only recipient: keeping them would only push others out.
            Ok(head) if head.kind() != ContentKind::Template => Some(Arc::new(Head::of(&head))),
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

/// What `outcome` says. `ready_at` is the moment from which its recipient could be sent.
fn result<'a>(outcome: &'a OutcomeRef, enhanced: &'a str, ready_at: UnixMs) -> ResultTold<'a> {
    let delivered = outcome.disposition() == Disposition::Delivered;
    let waited = u64::try_from(outcome.at().since(ready_at).as_millis()).unwrap_or(u64::MAX);
    ResultTold {
        at: outcome.at(),
        disposition: outcome.disposition(),
        attempt: outcome.attempt(),
        next_attempt: outcome.next_attempt(),
        phase: outcome.phase(),
        verdict: outcome.verdict(),
        code: outcome.code(),
        enhanced,
        reply: outcome.text(),
        latency_ms: delivered.then_some(waited),
    }
}

fn route(outcome: &OutcomeRef) -> RouteTold<'_> {
    RouteTold {
        source: outcome.source(),
        provider: outcome.provider(),
        mx: outcome.mx(),
        address: outcome.address(),
        tls: outcome.tls(),
    }
}

impl Head {
    /// Of a message whose record can no longer be read.
    fn unknown(accepted_at: UnixMs) -> Self {
        let origin = Origin::unknown();
        Self {
            origin_hash: hash(&origin),
            origin,
            sender: String::new(),
            accepted_at,
            metadata: None,
            is_template: false,
        }
    }

    fn of(head: &ContentHead) -> Self {
        let is_template = head.kind() == ContentKind::Template;
        let own = is_template.then(|| CampaignId(head.id().0));
        let origin = Origin {
            tenant: head.tenant().to_owned(),
            class: head.class(),
            campaign: own.or(head.campaign()),
            campaign_name: head.name().to_owned(),
            tags: head.tags().map(str::to_owned).collect(),
        };
        Self {
            sender: head.sender().to_owned(),
            origin_hash: hash(&origin),
            origin,
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
