//! One message for those who are to have it in one transaction: read from the spool's map, rendered and signed while it is being sent.

use std::sync::Arc;

use content::dkim::Unsigned;
use content::seven_bit::to_seven_bit;
use content::template::{RecipientContext, Stretches, Template};
use mail::{CampaignId, Enhanced, Reply, TlsWish, UnixMs};
use queue::{FlowKey, Ticket};
use smallvec::{SmallVec, smallvec};
use smtp::client::{Client, To, Transaction, Unsendable};
use spool::{ContentHead, ContentKind, ContentRef, ReadError, RecipientRef};

use super::flight::Tickets;
use super::pool::Pool;
use crate::campaigns::Campaign;
use crate::io::{self, Body};
use crate::shard::{Shard, domain_of};

/// Room before a message for the signatures that are made when it stands already: two of RSA and Ed25519 fit.
const HEADROOM: usize = 2048;
/// What a connection keeps of each of its buffers while it is idle: making them anew costs less than a microsecond, and
/// there may be ten thousand idle connections.
pub(super) const SPARE_BYTES_MAX: usize = 2 << 10;

/// The memory of a connection in which messages are made.
#[derive(Default)]
pub(super) struct Scratch {
    /// The message, behind room for its signatures.
    bytes: Vec<u8>,
    headers: Vec<u8>,
    /// Where the message begins.
    start: usize,
    /// What of it lies in the template: parts of the message that come between its bytes.
    stretches: Stretches,
}

impl Scratch {
    fn clear(&mut self) {
        self.headers.clear();
        self.bytes.clear();
        self.stretches.clear();
        self.start = 0;
    }

    /// Where a message is to be written, behind room for its signatures.
    fn begin(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = io::borrow_line();
        }
        self.bytes.resize(HEADROOM, 0);
        self.start = HEADROOM;
        &mut self.bytes
    }

    /// Puts the signatures before the message without moving it, if there is room.
    pub(super) fn join(&mut self, signed: &Unsigned) {
        if let Err(error) = signed.finish(&mut self.headers) {
            tracing::warn!(%error, "a message leaves without signature");
        }
        self.stretches.iter_mut().for_each(|stretch| stretch.move_by(self.headers.len()));
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

    fn take(&mut self, template: Option<&Arc<Template>>) -> Body {
        let (line, start) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.start));
        let stretches = std::mem::take(&mut self.stretches);
        match template {
            Some(template) if !stretches.is_empty() => {
                Body::Merged { line, start, template: Arc::clone(template), stretches }
            }
            _ => Body::Made(line, start),
        }
    }

    /// Gives back what the message has taken.
    pub(super) fn give_back(&mut self) {
        io::return_line(std::mem::take(&mut self.bytes));
        self.start = 0;
    }
}

/// Whether a server takes bytes above 127.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SevenBit {
    /// It offers 8BITMIME.
    NotNeeded,
    Needed,
}

impl SevenBit {
    fn convert(self, message: &[u8]) -> Option<Vec<u8>> {
        (self == Self::Needed).then(|| to_seven_bit(message)).flatten()
    }
}

/// A message, in the order in which it is read.
type Pieces<'a> = SmallVec<[&'a [u8]; 8]>;

/// What is to be sent to whom.
pub(super) struct Job {
    tickets: Tickets,
    /// In the order of `tickets`.
    recipients: SmallVec<[RecipientRef; 1]>,
    text: Text,
}

/// What a message is made of.
pub(super) enum Text {
    /// Sent as it lies in the spool, with a signature before it where there is a key.
    Message(ContentRef),
    /// Rendered for the recipient.
    Template(ContentHead, Arc<Campaign>),
}

impl Text {
    /// The message that was begun, to be sent from where it lies; `scratch` is empty then.
    pub(super) fn into_body(self, scratch: &mut Scratch) -> Body {
        match self {
            Self::Message(content) if scratch.message().is_empty() => Body::Spooled(content),
            Self::Message(_) => scratch.take(None),
            Self::Template(_, campaign) => scratch.take(Some(&campaign.template)),
        }
    }
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
            ContentKind::Message => {
                let content = reader.with_body(head).map_err(unreadable)?;
                shard.pools.courses[usize::from(home)].reads(&content, &recipient);
                Text::Message(content)
            }
            ContentKind::Template => {
                let campaign =
                    shard.campaign(CampaignId(recipient.content().0)).ok_or_else(unknown_campaign)?;
                Text::Template(head, campaign)
            }
        };
        Ok(Self { tickets: smallvec![ticket], recipients: smallvec![recipient], text })
    }

    /// Takes along those who wait next in `flow` and are to have the same message in the same domain, until they are
    /// `recipients_max`.
    pub(super) fn gather(&mut self, shard: &Shard, pool: &Pool, flow: FlowKey, recipients_max: usize) {
        let Text::Message(_) = self.text else { return };
        let more_max = recipients_max.saturating_sub(1);
        // The last of its message, most often the only one: looking at who waits next would be in vain.
        if more_max == 0 || !self.recipients[0].has_neighbour() {
            return;
        }
        let first = self.recipients[0].clone();
        let (content, domain) = (first.content(), domain_of(first.address()));
        let reader = &shard.shared.readers[usize::from(content.0.shard())];
        let (recipients, mut tickets) = (&mut self.recipients, Vec::new());
        let goes_along = |ticket: &Ticket| {
            // What is kept elsewhere is of another message.
            if ticket.id.0.shard() != content.0.shard() {
                return false;
            }
            let Ok(next) = reader.recipient(ticket.id) else { return false };
            let fits = next.content() == content
                && domain_of(next.address()).eq_ignore_ascii_case(domain)
                && shard.mailbox_rests(next.address()).is_none()
                && shard.take_of_identity(pool, flow).is_ok();
            if fits {
                recipients.push(next);
            }
            fits
        };
        shard.queue.borrow_mut().pull_with(pool.path, flow, more_max, goes_along, &mut tickets);
        self.tickets.extend(tickets);
    }

    /// The address of the first recipient.
    pub(super) fn address(&self) -> &str {
        self.recipients[0].address()
    }

    /// The domain that the message is sent for.
    pub(super) fn identity(&self) -> &str {
        self.head().identity()
    }

    /// All recipients but the first leave the job.
    pub(super) fn leave_first(&mut self) -> Vec<Ticket> {
        self.recipients.truncate(1);
        self.tickets.drain(1..).collect()
    }

    /// Those it is for, and what it is made of.
    pub(super) fn into_parts(self) -> (Tickets, Text) {
        (self.tickets, self.text)
    }

    fn head(&self) -> &ContentHead {
        match &self.text {
            Text::Message(content) => content,
            Text::Template(head, _) => head,
        }
    }

    /// Makes the message in `scratch`, unless it is sent as it lies in the spool: then `scratch` stays empty. For a server
    /// that does not take bytes above 127 it is put into ASCII (RFC 6152 section 3), before it is signed.
    ///
    /// Returns what is to be signed of it, and then given to [`Scratch::join`].
    pub(super) fn render(
        &self,
        shard: &Shard,
        scratch: &mut Scratch,
        seven_bit: SevenBit,
        now: UnixMs,
    ) -> Result<Unsigned, Reply> {
        scratch.clear();
        let signing = &shard.shared.signing;
        match &self.text {
            Text::Message(content) => {
                let converted = seven_bit.convert(content.body());
                let body = converted.as_deref().unwrap_or(content.body());
                let unsigned = signing.unsigned(content.identity(), body, None, now);
                if !unsigned.is_empty() || converted.is_some() {
                    scratch.begin().extend_from_slice(body);
                }
                Ok(unsigned)
            }
            Text::Template(head, campaign) => {
                let mut body_hash = campaign.template.static_body_hash();
                let reads_all = seven_bit == SevenBit::Needed
                    || (body_hash.is_none() && !signing.signers(head.identity()).is_empty());
                self.render_template(head, campaign, scratch, reads_all, now)?;
                if let Some(converted) = seven_bit.convert(&scratch.bytes[HEADROOM..]) {
                    scratch.bytes.truncate(HEADROOM);
                    scratch.bytes.extend_from_slice(&converted);
                    body_hash = None;
                }
                let message = &scratch.bytes[HEADROOM..];
                Ok(signing.unsigned(head.identity(), message, body_hash, now))
            }
        }
    }

    /// Long stretches stay in the template, unless it is to be `whole`.
    fn render_template(
        &self,
        head: &ContentHead,
        campaign: &Campaign,
        scratch: &mut Scratch,
        whole: bool,
        now: UnixMs,
    ) -> Result<(), Reply> {
        let recipient = &self.recipients[0];
        let values: Vec<&str> = recipient.values().collect();
        let context = RecipientContext {
            address: recipient.address(),
            id: recipient.id(),
            campaign: campaign.id,
            account: &campaign.tenant,
            host: head.identity(),
            date: now,
        };
        let rendered = if whole {
            campaign.template.render(&values, &context, scratch.begin())
        } else {
            let mut stretches = std::mem::take(&mut scratch.stretches);
            let rendered =
                campaign.template.render_around(&values, &context, scratch.begin(), &mut stretches);
            scratch.stretches = stretches;
            rendered
        };
        rendered.map_err(unrendered)
    }

    /// The message to be sent: the one in `scratch`, or the one in the spool when `scratch` is empty.
    fn pieces<'a>(&'a self, scratch: &'a Scratch) -> Pieces<'a> {
        match &self.text {
            Text::Message(content) if scratch.message().is_empty() => smallvec![content.body()],
            Text::Message(_) => smallvec![scratch.message()],
            Text::Template(_, campaign) => {
                campaign.template.pieces(scratch.message(), &scratch.stretches).collect()
            }
        }
    }

    /// Begins the transaction. Returns its number, and how many bytes the message has.
    pub(super) fn begin(&self, client: &mut Client, scratch: &Scratch) -> Result<(u64, u64), Unsendable> {
        let message = self.pieces(scratch);
        let bytes = message.iter().map(|piece| piece.len() as u64).sum();
        let head = self.head();
        let to = |recipient| To {
            address: RecipientRef::address(recipient),
            notify: recipient.notify(),
            original: recipient.original(),
        };
        let recipients: SmallVec<[To<'_>; 1]> = self.recipients.iter().map(to).collect();
        let transaction = client.begin(Transaction {
            sender: head.sender(),
            recipients: &recipients,
            body: &message,
            eight_bit: head.body_type() == mail::BodyType::EightBitMime,
            smtputf8: head.smtputf8(),
            dsn_return: head.dsn_return(),
            envelope_id: head.envelope_id(),
            require_tls: head.tls_wish() == TlsWish::Required,
        })?;
        Ok((transaction, bytes))
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
