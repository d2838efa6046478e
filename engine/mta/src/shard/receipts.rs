//! Receipts between shards: the shard that keeps a recipient says when its outcome is written. Until then the connection
//! that delivered counts the delivery as under way, so a crash repeats no more than what was on the wires.

mod written;

use std::rc::Rc;

use super::{Shard, ToShard};

pub(crate) use written::{Receipt, Written};

/// What the counts are made of: a module, so that models can put others in their place.
mod primitives {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

impl Shard {
    /// Counts an outcome that has just gone into the ring of `home`. The ring keeps their order.
    pub(super) fn sent_home(&self, home: u8) -> Receipt {
        let sent = &self.numbers.sent[usize::from(home)];
        sent.set(sent.get() + 1);
        Receipt { home, number: sent.get() }
    }

    /// Whether the outcome is in its log, as far as the process is concerned: it survives `kill -9`.
    pub(crate) fn is_written(&self, receipt: Receipt) -> bool {
        self.shared.written.covers(receipt, self.index)
    }

    /// Writes what was booked and tells those who sent it; `booked` counts by sender and is emptied.
    pub(super) fn confirm(self: &Rc<Self>, booked: &mut [u64]) {
        if booked.iter().all(|&count| count == 0) {
            return;
        }
        self.journal.write();
        for (from, count) in (0_u8..).zip(booked).filter(|(_, count)| **count > 0) {
            self.shared.written.add(self.index, from, std::mem::take(count));
            // Whoever waits looks for himself after a while, should the ring be full.
            let _ = self.shared.shards[usize::from(from)].try_send(ToShard::Written);
        }
    }
}
