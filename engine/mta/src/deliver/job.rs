//! One message for one recipient: read from the spool's map, rendered and signed while it is being sent.

use std::sync::Arc;

use content::template::RecipientContext;
use mail::{CampaignId, Enhanced, Reply};
use queue::Ticket;
use smtp::client::{Client, To, Transaction, Unsendable};
use spool::{ContentHead, ContentKind, ContentRef, ReadError, RecipientRef};

use crate::campaigns::Campaign;
use crate::shard::Shard;

/// Room before a message for the signatures that are made when it stands already: two of RSA and Ed25519 fit.
const HEADROOM: usize = 2048;
/// What a connection keeps of its buffers while it is idle.
pub(super) const SPARE_BYTES_MAX: usize = 128 << 10;

/// The memory of a connection in which messages are made.
#[derive(Default)]
pub(super) struct Scratch {
    /// The message, behind room for its signatures.
    bytes: Vec<u8>,
    headers: Vec<u8>,
    /// Where the message begins.
    start: usize,
}

impl Scratch {
    fn clear(&mut self) {
        self.headers.clear();
        self.bytes.clear();
        self.bytes.resize(HEADROOM, 0);
        self.start = HEADROOM;
    }

    /// Puts the signatures before the message without moving it, if there is room.
    fn join(&mut self) {
        match HEADROOM.checked_sub(self.headers.len()) {
            Some(start) => {
                self.start = start;
                self.bytes[start..HEADROOM].copy_from_slice(&self.headers);
            }
            None => drop(self.bytes.splice(self.start..self.start, self.headers.drain(..))),
        }
    }

    fn message(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Gives back what a large message has taken.
    pub(super) fn shrink(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SPARE_BYTES_MAX);
        self.start = 0;
    }
}

/// What is to be sent to whom.
pub(super) struct Job {
    recipient: RecipientRef,
    text: Text,
}

enum Text {
    /// Sent as it lies in the spool, with a signature before it where there is a key.
    Message(ContentRef),
    /// Rendered for the recipient.
    Template(ContentHead, Arc<Campaign>),
}

impl Job {
    /// Reads what the spool holds for `ticket`.
    pub(super) fn read(shard: &Shard, ticket: Ticket) -> Result<Self, Reply> {
        let home = ticket.id.0.shard();
        let reader = &shard.shared.readers[usize::from(home)];
        let unreadable = |error| unreadable(error, shard.shared.recordings.is_failing(home));
        let recipient = reader.recipient(ticket.id).map_err(unreadable)?;
        let head = reader.content_head(recipient.content()).map_err(unreadable)?;
        let text = match head.kind() {
            ContentKind::Message => Text::Message(reader.content(recipient.content()).map_err(unreadable)?),
            ContentKind::Template => {
                let campaign =
                    shard.campaign(CampaignId(recipient.content().0)).ok_or_else(unknown_campaign)?;
                Text::Template(head, campaign)
            }
        };
        Ok(Self { recipient, text })
    }

    fn head(&self) -> &ContentHead {
        match &self.text {
            Text::Message(content) => content,
            Text::Template(head, _) => head,
        }
    }

    /// Makes the message in `scratch`, unless it is sent as it lies in the spool: then `scratch` stays empty.
    pub(super) fn render(&self, shard: &Shard, scratch: &mut Scratch) -> Result<(), Reply> {
        scratch.clear();
        let signing = &shard.shared.signing;
        match &self.text {
            Text::Message(content) => {
                signing.sign(content.identity(), content.body(), None, shard.now(), &mut scratch.headers);
                if !scratch.headers.is_empty() {
                    scratch.bytes.extend_from_slice(content.body());
                }
            }
            Text::Template(head, campaign) => {
                self.render_template(shard, head, campaign, &mut scratch.bytes)?;
                let (message, body_hash) = (&scratch.bytes[HEADROOM..], campaign.template.static_body_hash());
                signing.sign(head.identity(), message, body_hash, shard.now(), &mut scratch.headers);
            }
        }
        scratch.join();
        Ok(())
    }

    fn render_template(
        &self,
        shard: &Shard,
        head: &ContentHead,
        campaign: &Campaign,
        out: &mut Vec<u8>,
    ) -> Result<(), Reply> {
        let values: Vec<&str> = self.recipient.values().collect();
        let context = RecipientContext {
            address: self.recipient.address(),
            id: self.recipient.id(),
            campaign: campaign.id,
            account: &campaign.tenant,
            host: head.identity(),
            date: shard.now(),
        };
        campaign.template.render(&values, &context, out).map_err(unrendered)
    }

    /// The message to be sent: the one in `scratch`, or the one in the spool when `scratch` is empty.
    pub(super) fn message<'a>(&'a self, scratch: &'a Scratch) -> &'a [u8] {
        match &self.text {
            Text::Message(content) if scratch.message().is_empty() => content.body(),
            _ => scratch.message(),
        }
    }

    /// Begins the transaction.
    pub(super) fn begin(&self, client: &mut Client, message: &[u8]) -> Result<u64, Unsendable> {
        let head = self.head();
        let to = To {
            address: self.recipient.address(),
            notify: self.recipient.notify(),
            original: self.recipient.original(),
        };
        client.begin(Transaction {
            sender: head.sender(),
            recipients: &[to],
            body: message,
            eight_bit: head.body_type() == mail::BodyType::EightBitMime,
            smtputf8: head.smtputf8(),
            dsn_return: head.dsn_return(),
            envelope_id: head.envelope_id(),
            require_tls: head.tls_wish() == mail::TlsWish::Required,
        })
    }
}

fn unreadable(error: ReadError, is_failing: bool) -> Reply {
    // What the disk does not give at the moment, or what cannot be written yet, can be read later.
    let may_go_later =
        matches!(error, ReadError::Unreadable(_)) || (is_failing && matches!(error, ReadError::Gone(_)));
    let class = if may_go_later { 4 } else { 5 };
    Reply::enhanced(0, Enhanced(class, 3, 0), format!("the spool record cannot be read: {error}"))
}

fn unknown_campaign() -> Reply {
    Reply::enhanced(0, Enhanced(5, 3, 0), "the campaign's template is not known")
}

fn unrendered(error: content::template::RenderError) -> Reply {
    Reply::enhanced(0, Enhanced(5, 6, 0), format!("the template could not be rendered: {error}"))
}
