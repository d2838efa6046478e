//! Receipts between shards: the shard that keeps a recipient says when its outcome is written. Until then the connection
//! that delivered counts the delivery as under way, so a crash repeats no more than what was on the wires.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Shard, ToShard};

/// How many outcomes each shard has written for each other one.
pub(crate) struct Written {
    shards: usize,
    counts: Vec<AtomicU64>,
}

impl Written {
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards, counts: (0..shards * shards).map(|_| AtomicU64::new(0)).collect() }
    }

    fn count(&self, home: u8, from: u8) -> &AtomicU64 {
        &self.counts[usize::from(home) * self.shards + usize::from(from)]
    }
}

/// Names an outcome that was sent to another shard: which shard, and how many before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    home: u8,
    number: u64,
}

impl Shard {
    /// Counts an outcome that has just gone into the ring of `home`. The ring keeps their order.
    pub(super) fn sent_home(&self, home: u8) -> Receipt {
        let sent = &self.sent[usize::from(home)];
        sent.set(sent.get() + 1);
        Receipt { home, number: sent.get() }
    }

    /// Whether the outcome is in its log, as far as the process is concerned: it survives `kill -9`.
    pub(crate) fn is_written(&self, receipt: Receipt) -> bool {
        self.shared.written.count(receipt.home, self.index).load(Ordering::Acquire) >= receipt.number
    }

    /// Writes what was booked and tells those who sent it; `booked` counts by sender and is emptied.
    pub(super) fn confirm(self: &Rc<Self>, booked: &mut [u64]) {
        if booked.iter().all(|&count| count == 0) {
            return;
        }
        self.journal.write();
        for (from, count) in (0_u8..).zip(booked).filter(|(_, count)| **count > 0) {
            self.shared.written.count(self.index, from).fetch_add(std::mem::take(count), Ordering::Release);
            // Whoever waits looks for himself after a while, should the ring be full.
            let _ = self.shared.shards[usize::from(from)].try_send(ToShard::Written);
        }
    }
}
