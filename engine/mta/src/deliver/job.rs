//! One message for one recipient: read from the spool's map, rendered and signed while it is being sent.

use std::sync::Arc;

use content::template::RecipientContext;
use mail::{CampaignId, Enhanced, Reply};
use queue::Ticket;
use smtp::client::{Client, To, Transaction, Unsendable};
use spool::{ContentHead, ContentKind, ContentRef, ReadError, RecipientRef};

use crate::campaigns::Campaign;
use crate::shard::Shard;

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
        let reader = &shard.shared.readers[usize::from(ticket.id.0.shard())];
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
    pub(super) fn render(&self, shard: &Shard, scratch: &mut Vec<u8>) -> Result<(), Reply> {
        scratch.clear();
        let shared = &shard.shared;
        match &self.text {
            Text::Message(content) => {
                shared.signing.sign(content.identity(), content.body(), None, shard.now(), scratch);
                if !scratch.is_empty() {
                    scratch.extend_from_slice(content.body());
                }
            }
            Text::Template(head, campaign) => self.render_template(shard, head, campaign, scratch)?,
        }
        Ok(())
    }

    fn render_template(
        &self,
        shard: &Shard,
        head: &ContentHead,
        campaign: &Campaign,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Reply> {
        let now = shard.now();
        let values: Vec<&str> = self.recipient.values().collect();
        let context = RecipientContext {
            address: self.recipient.address(),
            id: self.recipient.id(),
            campaign: campaign.id,
            account: &campaign.tenant,
            host: head.identity(),
            date: now,
        };
        let signers = shard.shared.signing.signers(head.identity());
        if signers.is_empty() {
            return campaign.template.render(&values, &context, scratch).map_err(unrendered);
        }
        let mut plain = Vec::with_capacity(scratch.capacity());
        campaign.template.render(&values, &context, &mut plain).map_err(unrendered)?;
        let body_hash = campaign.template.static_body_hash();
        shard.shared.signing.sign(head.identity(), &plain, body_hash, now, scratch);
        scratch.extend_from_slice(&plain);
        Ok(())
    }

    /// The message to be sent: the one in `scratch`, or the one in the spool when `scratch` is empty.
    pub(super) fn message<'a>(&'a self, scratch: &'a [u8]) -> &'a [u8] {
        match &self.text {
            Text::Message(content) if scratch.is_empty() => content.body(),
            _ => scratch,
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
        })
    }
}

fn unreadable(error: ReadError) -> Reply {
    Reply::enhanced(0, Enhanced(5, 3, 0), format!("the spool record cannot be read: {error}"))
}

fn unknown_campaign() -> Reply {
    Reply::enhanced(0, Enhanced(5, 3, 0), "the campaign's template is not known")
}

fn unrendered(error: content::template::RenderError) -> Reply {
    Reply::enhanced(0, Enhanced(5, 6, 0), format!("the template could not be rendered: {error}"))
}
