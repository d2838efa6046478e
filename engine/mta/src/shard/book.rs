//! The books of a shard: every outcome of a recipient whose record the shard keeps is written here, decides whether it
//! waits again or is finished, and brings the sender a notice when it failed.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mail::{CampaignId, Disposition, Ledger, Outcome, Phase, RecipientId, Reply, Timings, UnixMs};
use queue::Ticket;
use spool::{ContentKind, SpoolError};

use super::due::RECORDING_TICK;
use super::{Receipt, Recording, Shard};
use crate::notice::{self, Notice};

/// What became of a recipient, on its way to the shard that keeps its record.
pub(crate) struct Conclusion {
    pub(crate) ticket: Ticket,
    pub(crate) outcome: Outcome,
}

/// A conclusion for which the log has no room.
pub(crate) struct Unwritten {
    conclusion: Conclusion,
    /// Its notice is written, or it calls for none.
    noticed: bool,
}

/// One shard's ledger as others see it.
#[derive(Debug, Default)]
pub(crate) struct LedgerBook([AtomicU64; 7]);

impl LedgerBook {
    pub(crate) fn publish(&self, ledger: &Ledger) {
        let Ledger { accepted, delivered, bounced, expired, cancelled, suppressed, unknown_retries } =
            *ledger;
        let numbers = [accepted, delivered, bounced, expired, cancelled, suppressed, unknown_retries];
        // `accepted` is stored first and read last, so that nobody sees more finished than accepted.
        for (place, number) in self.0.iter().zip(numbers) {
            place.store(number, Ordering::Release);
        }
    }

    pub(crate) fn read(&self) -> Ledger {
        let [accepted, rest @ ..] = &self.0;
        let [delivered, bounced, expired, cancelled, suppressed, unknown_retries] =
            rest.each_ref().map(|number| number.load(Ordering::Acquire));
        let accepted = accepted.load(Ordering::Acquire);
        Ledger { accepted, delivered, bounced, expired, cancelled, suppressed, unknown_retries }
    }
}

/// An outcome that needed no attempt.
pub(crate) fn without_attempt(at: UnixMs, disposition: Disposition, reply: Reply) -> Outcome {
    Outcome {
        at,
        attempt: 0,
        disposition,
        next_attempt: None,
        phase: Phase::Routing,
        verdict: String::new(),
        reply,
        route: Arc::default(),
        timings: Timings::default(),
    }
}

impl Shard {
    /// Sends an outcome home: to the shard whose log holds the recipient. When that is another one, and a crash might lose the
    /// outcome, the receipt tells when it is written.
    pub(crate) async fn conclude(self: &Rc<Self>, conclusion: Conclusion) -> Option<Receipt> {
        let home = conclusion.ticket.id.0.shard();
        if home == self.index {
            self.book(conclusion);
            return None;
        }
        self.send_home(home, conclusion).await
    }

    /// Writes an outcome of a recipient of this shard; when the log has no room for it, later.
    pub(crate) fn book(self: &Rc<Self>, conclusion: Conclusion) {
        if !conclusion.outcome.disposition.is_final() {
            self.counters.deferrals.add(1);
        }
        let mut unwritten = Unwritten { conclusion, noticed: false };
        if self.outcomes.unwritten.borrow().is_empty() && self.write_outcome(&mut unwritten) {
            return;
        }
        self.shared.recordings.set(self.index, Recording::Waits);
        self.outcomes.unwritten.borrow_mut().push_back(unwritten);
        self.bells.unwritten.notify_one();
    }

    /// Tries again to write what the log had no room for, until the shard ends.
    pub(super) async fn unwritten_loop(self: &Rc<Self>) {
        loop {
            self.bells.unwritten.notified().await;
            while !self.outcomes.unwritten.borrow().is_empty() {
                tokio::time::sleep(RECORDING_TICK).await;
                self.write_unwritten();
            }
            self.shared.recordings.set(self.index, Recording::Works);
        }
    }

    fn write_unwritten(self: &Rc<Self>) {
        loop {
            let Some(mut first) = self.outcomes.unwritten.borrow_mut().pop_front() else { return };
            if !self.write_outcome(&mut first) {
                return self.outcomes.unwritten.borrow_mut().push_front(first);
            }
        }
    }

    /// Writes an outcome and does what follows from it; false when it is to be tried again.
    fn write_outcome(self: &Rc<Self>, unwritten: &mut Unwritten) -> bool {
        let Conclusion { ticket, outcome } = &unwritten.conclusion;
        // The notice first: should the power fail between the two, it is repeated rather than lost.
        if !unwritten.noticed
            && let Some(notice) = notice::for_outcome(&self.shared, ticket.id, outcome)
        {
            match self.write_notice(&notice) {
                Ok(recipients) => recipients.into_iter().for_each(|recipient| self.send_notice(recipient)),
                Err(error) => return !self.may_be_tried_again(ticket, &error),
            }
        }
        unwritten.noticed = true;
        let written = self.journal.append(|log| log.append_outcome(ticket.id, outcome));
        self.publish();
        match written {
            Ok(_) => self.go_on(*ticket, outcome),
            Err(error) => return !self.may_be_tried_again(ticket, &error),
        }
        true
    }

    fn write_notice(&self, notice: &Notice) -> Result<Vec<RecipientId>, SpoolError> {
        let mut noticed = Vec::new();
        let recipient = std::slice::from_ref(&notice.recipient);
        self.journal
            .append(|log| log.append_message(&notice.content, &notice.body, recipient, &mut noticed))?;
        Ok(noticed)
    }

    fn may_be_tried_again(&self, ticket: &Ticket, error: &SpoolError) -> bool {
        // A log without room, or one that has failed and keeps no more in memory.
        let again = matches!(error, SpoolError::Io { .. } | SpoolError::Closed { .. });
        if again {
            tracing::warn!(id = %ticket.id, %error, "an outcome waits to be written");
        } else {
            tracing::error!(id = %ticket.id, %error, "an outcome could not be written: the delivery may be repeated");
        }
        again
    }

    /// A recipient that is not finished waits for its next attempt.
    fn go_on(self: &Rc<Self>, mut ticket: Ticket, outcome: &Outcome) {
        if let Some(next) = outcome.next_attempt {
            ticket.attempts = outcome.attempt;
            self.note_source(ticket, outcome);
            let campaign = self.campaign_of(ticket);
            self.schedule(ticket, campaign, next);
        }
    }

    /// The campaign whose recipient waits, if it is one of a campaign.
    fn campaign_of(&self, ticket: Ticket) -> Option<CampaignId> {
        let reader = &self.shared.readers[usize::from(self.index)];
        let content = reader.recipient(ticket.id).ok()?.content();
        let head = reader.content_head(content).ok()?;
        (head.kind() == ContentKind::Template).then_some(CampaignId(content.0))
    }

    /// Shows the ledger to the other threads.
    pub(crate) fn publish(&self) {
        self.journal.with_log(|log| self.book.publish(&log.ledger()));
    }

    fn send_notice(self: &Rc<Self>, recipient: RecipientId) {
        self.counters.notices.add(1);
        // It is read again from the map, so it must be there.
        self.journal.write();
        let now = self.now();
        let policy = self.shared.config.class(notice::CLASS);
        let expiry = u32::try_from((now + policy.expiry).seconds()).unwrap_or(u32::MAX);
        self.schedule(
            Ticket { id: recipient, expiry, deadline: 0, attempts: 0, class: notice::CLASS },
            None,
            now,
        );
    }
}
