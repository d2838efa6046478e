//! Outcomes on their way to the shard that keeps the recipient. Each is noted in this shard's outbox, which outlives the process:
//! a crash repeats no more than what was on the wires, and nobody waits. Where it cannot be noted, the connection that
//! delivered counts the delivery as under way until it has the receipt of the other shard, which says that it is written.

mod written;

use std::cell::{Cell, RefCell};

use mail::{Outcome, RecipientId};
use spool::Outbox;

use super::{Shard, ToShard};

pub(crate) use written::{Receipt, Written};

/// What the counts are made of: a module, so that models can put others in their place.
mod primitives {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

/// What a shard sends to the shards that keep its recipients.
pub(super) struct Homeward {
    /// Where outcomes are noted, if anywhere.
    outbox: RefCell<Option<Outbox>>,
    /// How many outcomes were sent to each shard.
    sent: Vec<Cell<u64>>,
    /// The same when the outbox last went on in its other half.
    sent_before: Vec<Cell<u64>>,
    /// Outcomes that are noted and wait for room in the ring of their shard.
    posting: Cell<usize>,
}

/// Outcomes of one shard that were booked and not confirmed.
#[derive(Clone, Copy, Default)]
pub(super) struct Booked {
    count: u64,
    /// The shard waits for one of them.
    is_awaited: bool,
}

impl Booked {
    pub(super) fn add(&mut self, is_awaited: bool) {
        self.count += 1;
        self.is_awaited |= is_awaited;
    }
}

impl Homeward {
    pub(super) fn new(outbox: Option<Outbox>, shards: usize) -> Self {
        let none = || (0..shards).map(|_| Cell::new(0)).collect();
        Self { outbox: RefCell::new(outbox), sent: none(), sent_before: none(), posting: Cell::new(0) }
    }

    /// Notes an outcome that is about to be sent; false when there is no room for it. `is_written` tells of receipts.
    fn note(&self, id: RecipientId, outcome: &Outcome, is_written: impl Fn(Receipt) -> bool) -> bool {
        let Some(outbox) = &mut *self.outbox.borrow_mut() else { return false };
        let mut is_noted = outbox.note(id, outcome);
        if !is_noted && self.is_half_free(is_written) {
            outbox.turn();
            self.sent_before.iter().zip(&self.sent).for_each(|(before, sent)| before.set(sent.get()));
            is_noted = outbox.note(id, outcome);
        }
        self.posting.update(|posting| posting + usize::from(is_noted));
        is_noted
    }

    /// Whether all that is noted in the other half is written where it belongs: it was sent before this half was begun.
    fn is_half_free(&self, is_written: impl Fn(Receipt) -> bool) -> bool {
        let mut receipts =
            (0..).zip(&self.sent_before).map(|(home, sent)| Receipt { home, number: sent.get() });
        self.posting.get() == 0 && receipts.all(is_written)
    }

    /// Counts an outcome that has just gone into the ring of `home`. The ring keeps their order.
    fn count(&self, home: u8, is_noted: bool) -> Receipt {
        self.posting.update(|posting| posting - usize::from(is_noted));
        let sent = &self.sent[usize::from(home)];
        sent.update(|sent| sent + 1);
        Receipt { home, number: sent.get() }
    }
}

impl Shard {
    /// Sends an outcome to the shard that keeps its recipient. When it could not be noted, the receipt tells when it is written.
    pub(super) async fn send_home(&self, home: u8, conclusion: super::Conclusion) -> Option<Receipt> {
        let homeward = &self.outcomes.homeward;
        let (id, outcome) = (conclusion.ticket.id, &conclusion.outcome);
        let is_noted = homeward.note(id, outcome, |receipt| self.is_written(receipt));
        let conclusion = Box::new(conclusion);
        let message = ToShard::Concluded { from: self.index, conclusion, is_awaited: !is_noted };
        if is_noted {
            self.post_idly(usize::from(home), message).await;
        } else {
            self.post(usize::from(home), message).await;
        }
        let receipt = homeward.count(home, is_noted);
        (!is_noted).then_some(receipt)
    }

    /// Whether the outcome is in its log, as far as the process is concerned: it survives `kill -9`.
    pub(crate) fn is_written(&self, receipt: Receipt) -> bool {
        self.shared.written.covers(receipt, self.index)
    }

    /// Writes what was booked, by sender, and tells those who wait for it; empties `booked`.
    pub(super) fn confirm(&self, booked: &mut [Booked]) {
        if booked.iter().all(|booked| booked.count == 0) {
            return;
        }
        self.journal.write();
        for (from, booked) in (0_u8..).zip(booked).filter(|(_, booked)| booked.count > 0) {
            let Booked { count, is_awaited } = std::mem::take(booked);
            self.shared.written.add(self.index, from, count);
            if is_awaited {
                // Whoever waits looks for himself after a while, should the ring be full.
                let _ = self.shared.shards[usize::from(from)].try_send(ToShard::Written);
            }
        }
    }
}
