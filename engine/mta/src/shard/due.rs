//! Waits for the time of scheduled recipients and sends them on their way; gives up those whose time has run out.

use std::rc::Rc;
use std::time::Duration;

use mail::{CampaignId, Disposition, Enhanced, Reply, UnixMs};
use queue::{FlowKey, Ticket};
use spool::{CampaignPhase, ContentKind, ReadError};

use super::submit::seconds;
use super::{Conclusion, Recording, Shard};
use crate::io;

/// How many due recipients are worked before others get their turn.
const BATCH: usize = 256;
/// How often waiting recipients are looked at for expiry.
const EXPIRY_TICK: Duration = Duration::from_millis(100);
/// How long a recipient waits that cannot be read yet.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// How long a recipient waits for which there is no place in a queue.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(5);
/// How long a recipient waits that the disk does not give.
pub(crate) const READ_PAUSE: Duration = Duration::from_secs(5);
/// How often is looked whether outcomes can be recorded again.
pub(crate) const RECORDING_TICK: Duration = Duration::from_millis(500);

impl Shard {
    /// Puts a recipient of this shard's log on the timing wheel.
    pub(crate) fn schedule(self: &Rc<Self>, ticket: Ticket, campaign: Option<CampaignId>, due: UnixMs) {
        let mut queue = self.queue.borrow_mut();
        let earlier = queue.next_due().is_none_or(|next| due < next);
        let refused = queue.schedule(ticket, campaign, due).is_err();
        drop(queue);
        if refused {
            self.cancel(ticket);
        } else if earlier {
            self.bells.earlier.notify_one();
        }
    }

    /// Routes a recipient of this shard's log again.
    pub(super) fn again(self: &Rc<Self>, ticket: Ticket) {
        let shard = Rc::clone(self);
        io::spawn(async move { shard.start(ticket).await });
    }

    /// Ends a recipient whose campaign was cancelled while it was elsewhere.
    pub(crate) fn cancel(self: &Rc<Self>, ticket: Ticket) {
        let shard = Rc::clone(self);
        io::spawn(async move { shard.give_up(ticket, Disposition::Cancelled, cancelled()).await });
    }

    /// Ends many recipients whose campaign was cancelled.
    pub(super) fn cancel_all(self: &Rc<Self>, tickets: Vec<Ticket>) {
        io::spawn(super::campaign::cancel(Rc::clone(self), tickets));
    }

    /// Works what is due, until the shard ends.
    pub(super) async fn due_loop(self: &Rc<Self>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            if self.shared.is_holding() || self.shared.recordings.of(self.index) == Recording::Waits {
                tokio::time::sleep(RECORDING_TICK).await;
                self.dispatch_wanting();
                continue;
            }
            self.queue.borrow_mut().due(self.now(), BATCH, &mut batch);
            self.dispatch_wanting();
            if batch.is_empty() {
                self.sleep_until_due().await;
                continue;
            }
            for ticket in batch.drain(..) {
                self.start(ticket).await;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn sleep_until_due(&self) {
        let next = self.queue.borrow().next_due();
        let Some(next) = next else { return self.bells.earlier.notified().await };
        tokio::select! {
            () = tokio::time::sleep(next.since(self.now())) => {}
            () = self.bells.earlier.notified() => {}
        }
    }

    /// Sends a recipient on its way: to its path, to its campaign's waiting room, or to its end.
    pub(crate) async fn start(self: &Rc<Self>, ticket: Ticket) {
        let now = self.now();
        let reader = &self.shared.readers[usize::from(ticket.id.0.shard())];
        let recipient = match reader.recipient(ticket.id) {
            Ok(recipient) => recipient,
            Err(error) => return self.not_read(ticket, error).await,
        };
        let content = recipient.content();
        let head = match reader.content_head(content) {
            Ok(head) => head,
            Err(error) => return self.not_read(ticket, error).await,
        };
        let campaign = (head.kind() == ContentKind::Template).then_some(CampaignId(content.0));
        let flow = FlowKey {
            class: ticket.class,
            tenant: tenant_number(head.tenant()),
            campaign,
            identity: identity_number(head.identity()),
        };
        if self.shared.is_holding() {
            return self.schedule(ticket, campaign, now);
        }
        if ticket.is_expired(now) {
            return self.give_up(ticket, Disposition::Expired, out_of_time()).await;
        }
        // One whose template could not be recovered is not known: its mail waits for a version that can.
        let phase = campaign.map(|id| self.campaign(id).map_or(CampaignPhase::Paused, |known| known.phase()));
        match phase {
            Some(CampaignPhase::Created | CampaignPhase::Paused) => {
                self.hold(CampaignId(content.0), None, ticket)
            }
            Some(CampaignPhase::Cancelled) => self.give_up(ticket, Disposition::Cancelled, cancelled()).await,
            // It was in its campaign's waiting room, and its turn in the quota of the account has not come. From then on
            // it has the whole time of its class.
            Some(_) if recipient.not_before() > now => {
                let life = self.shared.config.class(ticket.class).expiry;
                let expiry = ticket.expiry.max(seconds(Some(recipient.not_before() + life)));
                self.schedule(Ticket { expiry, ..ticket }, campaign, recipient.not_before())
            }
            _ => {
                let domain = domain_of(recipient.address());
                self.route(ticket, flow, head.identity(), domain, head.tls_wish()).await;
            }
        }
    }

    /// A recipient whose record or content cannot be read: it waits if that may change, and is given up otherwise.
    async fn not_read(self: &Rc<Self>, ticket: Ticket, error: ReadError) {
        let pause = match error {
            // A notice that is only in memory, because nothing can be written.
            ReadError::Gone(_) if self.journal.fault().is_some() => FAULT_PAUSE,
            ReadError::Unreadable(_) if !ticket.is_expired(self.now()) => READ_PAUSE,
            _ => {
                return self.give_up(ticket, Disposition::Bounced, unreadable(&error.to_string())).await;
            }
        };
        tracing::warn!(id = %ticket.id, %error, "a recipient waits until it can be read");
        self.schedule(ticket, None, self.now() + pause);
    }

    /// Keeps a recipient until its campaign is released; in a `lane`, until more of it may go to that provider.
    pub(crate) fn hold(self: &Rc<Self>, campaign: CampaignId, lane: Option<u16>, ticket: Ticket) {
        let held = self.queue.borrow_mut().hold(campaign, lane, ticket);
        match held {
            Ok(()) => self.bells.waiting.notify_one(),
            Err(queue::Refused::Full(ticket)) => {
                self.schedule(ticket, Some(campaign), self.now() + FULL_PAUSE);
            }
            Err(refused) => self.cancel(refused.ticket()),
        }
    }

    /// Lets a recipient come again for which the queue of this shard has no place now; no attempt is made.
    pub(super) fn come_back(self: &Rc<Self>, ticket: Ticket, flow: FlowKey) {
        let (shard, until) = (Rc::clone(self), self.now() + FULL_PAUSE);
        io::spawn(async move { shard.schedule_at_home(ticket, flow, until).await });
    }

    /// Ends a recipient without an attempt.
    pub(crate) async fn give_up(self: &Rc<Self>, ticket: Ticket, disposition: Disposition, reply: Reply) {
        let outcome = super::book::without_attempt(self.now(), disposition, reply);
        self.conclude(Conclusion { ticket, outcome }).await;
    }

    /// Looks for recipients that expire while they wait on a path, until the shard ends.
    pub(super) async fn expiry_loop(self: &Rc<Self>) {
        let mut batch = Vec::new();
        let mut is_more = false;
        loop {
            let totals = self.queue.borrow().totals();
            if totals.waiting() == totals.scheduled {
                self.bells.waiting.notified().await;
            }
            if is_more {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(EXPIRY_TICK).await;
            }
            is_more = false;
            if self.shared.is_holding() || !self.shared.recordings.all_work() {
                // Their end could not be recorded, or their notices not be sent: they stay where they are.
                continue;
            }
            self.queue.borrow_mut().expired(self.now(), BATCH, &mut batch);
            is_more = batch.len() == BATCH;
            for ticket in batch.drain(..) {
                self.give_up(ticket, Disposition::Expired, out_of_time()).await;
            }
        }
    }
}

/// The number by which the queue keeps accounts apart: the same on every shard and after every start.
pub(crate) fn tenant_number(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The number by which the queue and the brain keep sender domains apart, in whatever case they are written: as lasting as
/// that of an account.
pub(crate) fn identity_number(domain: &str) -> u32 {
    policy::brain::identity_of(domain)
}

fn unreadable(why: &str) -> Reply {
    Reply::enhanced(0, Enhanced(5, 3, 0), format!("the spool record cannot be read: {why}"))
}

fn out_of_time() -> Reply {
    Reply::enhanced(0, Enhanced(4, 4, 7), "the message could not be delivered before its time ran out")
}

pub(crate) fn cancelled() -> Reply {
    Reply::enhanced(0, Enhanced(5, 7, 0), "the sender has withdrawn the message")
}

/// What stands behind the last `@`.
pub(crate) fn domain_of(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}
