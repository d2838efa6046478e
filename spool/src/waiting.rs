//! The recipients that wait, as a start finds them: read one by one from the segments, never all in memory.

use std::sync::Arc;

use mail::{CampaignId, Class, MessageId, RecipientId, RecordId, UnixMs};

use crate::books::Entry;
use crate::log::Log;
use crate::reader::{Reader, recipient_at};
use crate::view::RecipientRef;

/// One recipient that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which recipient.
    pub id: RecipientId,
    /// The content it is to get.
    pub content: MessageId,
    /// Attempts made.
    pub attempts: u16,
    /// After a deferral: when to try again, in whole seconds (rounded up).
    pub next_attempt: Option<UnixMs>,
    /// Not to be tried before this moment; zero: at once.
    pub not_before: UnixMs,
    /// Second by which it should arrive; zero: no deadline.
    pub deadline: u32,
    /// Second at which it is to be given up; zero: never.
    pub expiry: u32,
    /// How urgent it is.
    pub class: Class,
    /// Its campaign.
    pub campaign: Option<CampaignId>,
    /// The account that submitted it.
    pub tenant: Arc<str>,
    /// Its record or its content cannot be read: it can only be given a final outcome. What cannot be read is
    /// empty or zero above.
    pub damaged: bool,
}

impl Log {
    /// The recipients that wait, in the order of their records, as far as they are flushed. Nothing is collected:
    /// each is read from its segment when the iterator comes to it.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting> + '_ {
        let flushed = self.flushed().offset();
        let reader = self.reader();
        let mut shared = Origin::default();
        (0..self.books.shelves.len())
            .flat_map(|shelf| self.books.waiting_from(shelf, 0))
            .take_while(move |entry| entry.position < flushed)
            .map(move |entry| self.describe(&entry, &reader, &mut shared))
    }

    fn describe(&self, entry: &Entry, reader: &Reader, origin: &mut Origin) -> Waiting {
        let recipient = recipient_at(&reader.shared.segments.load(), entry.position);
        let id = recipient.as_ref().map_or_else(|| self.id_at(entry.position), RecipientRef::id);
        let content = recipient.as_ref().map_or(MessageId::default(), RecipientRef::content);
        origin.turn_to(content, reader);
        let number = |read: fn(&RecipientRef) -> u32| recipient.as_ref().map_or(0, read);
        Waiting {
            id,
            content,
            attempts: entry.retry.attempts,
            next_attempt: entry.retry.next_attempt(),
            not_before: recipient.as_ref().map_or(UnixMs(0), RecipientRef::not_before),
            deadline: number(RecipientRef::deadline),
            expiry: number(RecipientRef::expiry),
            class: origin.class,
            campaign: origin.campaign,
            tenant: Arc::clone(&origin.tenant),
            damaged: recipient.is_none() || origin.damaged,
        }
    }

    /// The identifier of a waiting recipient whose record at `position` cannot be read.
    pub(crate) fn id_at(&self, position: u64) -> RecipientId {
        let there = self.books.moved.id_at(position).map(RecordId::from_raw);
        RecipientId(there.unwrap_or(RecordId::new(self.shared.shard, position)))
    }
}

/// What recipients in a row have in common: their content, and more often still their account.
struct Origin {
    content: MessageId,
    class: Class,
    campaign: Option<CampaignId>,
    tenant: Arc<str>,
    damaged: bool,
}

impl Default for Origin {
    fn default() -> Self {
        let (content, tenant) = (MessageId::default(), Arc::from(""));
        Self { content, class: Class::Bulk, campaign: None, tenant, damaged: true }
    }
}

impl Origin {
    fn turn_to(&mut self, content: MessageId, reader: &Reader) {
        if self.content == content {
            return;
        }
        self.content = content;
        let head = reader.content_head(content).ok();
        self.damaged = head.is_none();
        self.class = head.as_ref().map_or(Class::Bulk, |head| head.class());
        self.campaign = head.as_ref().and_then(|head| head.campaign());
        let tenant = head.as_ref().map_or("", |head| head.tenant());
        if *self.tenant != *tenant {
            self.tenant = Arc::from(tenant);
        }
    }
}
