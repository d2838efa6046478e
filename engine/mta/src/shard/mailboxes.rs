//! Mailboxes in trouble, as the shard of their path knows them: whoever else has mail for one waits without asking it, and
//! the story says so. While no mailbox is in trouble this costs a look at a number.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mail::{Disposition, Enhanced, RecipientId, Reply, Route, UnixMs};
use policy::mailbox::{MailboxTrouble, reason};
use queue::{FlowKey, Ticket};

use super::{Conclusion, Shard, ToShard, without_attempt};
use crate::deliver::Pool;

/// A shorter wait is not told in the story: it is for the fate of another message under way.
const TOLD_FROM: Duration = Duration::from_secs(30);

impl Shard {
    /// The mailbox of a recipient by a hash of its address; `None` when its record cannot be read.
    fn mailbox_of(&self, id: RecipientId) -> Option<u64> {
        let recipient = self.shared.readers[usize::from(id.0.shard())].recipient(id).ok()?;
        Some(mailbox_number(recipient.address()))
    }

    /// Until when the mailbox `address` rests, asked right before an attempt.
    pub(crate) fn mailbox_rests(&self, address: &str) -> Option<UnixMs> {
        let mut mailboxes = self.mind.mailboxes.borrow_mut();
        if mailboxes.count() == 0 {
            return None;
        }
        mailboxes.rests(mailbox_number(address), self.now())
    }

    /// What is the matter with the mailbox `address` and until when, without asking to try it.
    pub(crate) fn mailbox_trouble(&self, address: &str) -> Option<(MailboxTrouble, UnixMs)> {
        self.mind.mailboxes.borrow().resting(mailbox_number(address))
    }

    /// The mailbox of a recipient was refused for its own state: when it may be tried again.
    pub(crate) fn mailbox_in_trouble(
        &self,
        ticket: Ticket,
        trouble: MailboxTrouble,
        now: UnixMs,
    ) -> Option<UnixMs> {
        let mailbox = self.mailbox_of(ticket.id)?;
        Some(self.mind.mailboxes.borrow_mut().trouble(mailbox, trouble, now))
    }

    /// The mailbox of a recipient has taken a message.
    pub(crate) fn mailbox_works(&self, ticket: Ticket) {
        if self.mind.mailboxes.borrow().count() > 0
            && let Some(mailbox) = self.mailbox_of(ticket.id)
        {
            self.mind.mailboxes.borrow_mut().works(mailbox);
        }
    }

    /// The attempt has come back without a word on the mailbox.
    pub(crate) fn mailbox_undecided(&self, ticket: Ticket) {
        if self.mind.mailboxes.borrow().count() > 0
            && let Some(mailbox) = self.mailbox_of(ticket.id)
        {
            self.mind.mailboxes.borrow_mut().undecided(mailbox);
        }
    }

    /// Lets a recipient wait for its mailbox, on the shard of its record: no attempt is made.
    pub(crate) async fn wait_for_mailbox(
        self: &Rc<Self>,
        pool: &Pool,
        (ticket, flow): (Ticket, FlowKey),
        address: &str,
        until: UnixMs,
    ) {
        let now = self.now();
        if until.since(now) < TOLD_FROM {
            self.leaves(pool.key, ticket, flow);
            return self.schedule_at_home(ticket, flow, until).await;
        }
        let trouble = self.mailbox_trouble(address).map_or(MailboxTrouble::Full, |(trouble, _)| trouble);
        let mut outcome = without_attempt(now, Disposition::Deferred, waits(trouble));
        outcome.attempt = ticket.attempts;
        outcome.next_attempt = Some(until);
        reason(trouble).clone_into(&mut outcome.verdict);
        let (source, provider) = self.shared.names(pool.key.source, pool.key.provider);
        outcome.route = Arc::new(Route { source, provider, ..Route::default() });
        self.passed_back(pool, ticket, flow, &outcome);
        self.conclude(Conclusion { ticket, outcome }).await;
    }

    /// Schedules a recipient on the shard of its record, without a word in its story.
    pub(crate) async fn schedule_at_home(self: &Rc<Self>, ticket: Ticket, flow: FlowKey, until: UnixMs) {
        let home = ticket.id.0.shard();
        if home == self.index {
            return self.schedule(ticket, flow.campaign, until);
        }
        let call = Box::new(move |shard: &Rc<Self>| shard.schedule(ticket, flow.campaign, until));
        self.post(usize::from(home), ToShard::Call(call)).await;
    }
}

/// Our own words for those who wait while another message's fate has told of the mailbox.
fn waits(trouble: MailboxTrouble) -> Reply {
    let (enhanced, words) = match trouble {
        MailboxTrouble::Full => {
            (Enhanced(4, 2, 2), "the mailbox was found full: it is tried again with one message")
        }
        MailboxTrouble::Rate => {
            (Enhanced(4, 2, 1), "the mailbox gets too much at once: it is tried again with one message")
        }
    };
    Reply::enhanced(0, enhanced, words)
}

/// The number by which mailboxes are told apart: of the address in lower case.
fn mailbox_number(address: &str) -> u64 {
    address.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_one_however_its_address_is_written() {
        assert_eq!(mailbox_number("Bob@There.test"), mailbox_number("bob@there.test"));
        assert_ne!(mailbox_number("bob@there.test"), mailbox_number("ann@there.test"));
    }
}
