//! How many outcomes each shard has written for each other one: counted up by the one, looked at by the other. It
//! writes nothing itself.
//!
//! The crate in `tests/models` compiles this very file and goes through its interleavings.

use super::primitives::{AtomicU64, Ordering};

/// How many outcomes each shard has written for each other one.
pub(crate) struct Written {
    shards: usize,
    counts: Vec<AtomicU64>,
}

/// Names an outcome that was sent to another shard: which shard, and how many before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(super) home: u8,
    pub(super) number: u64,
}

impl Written {
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards, counts: (0..shards * shards).map(|_| AtomicU64::new(0)).collect() }
    }

    /// `home` has written `count` more outcomes that came from `from`; called after the write.
    pub(super) fn add(&self, home: u8, from: u8, count: u64) {
        // Release: who sees the count finds the outcomes written.
        self.count(home, from).fetch_add(count, Ordering::Release);
    }

    /// Whether the outcome that `from` has sent is written.
    pub(super) fn covers(&self, receipt: Receipt, from: u8) -> bool {
        self.count(receipt.home, from).load(Ordering::Acquire) >= receipt.number
    }

    fn count(&self, home: u8, from: u8) -> &AtomicU64 {
        &self.counts[usize::from(home) * self.shards + usize::from(from)]
    }
}
