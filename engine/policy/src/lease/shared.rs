//! A rate that several shards draw on without a lock: the generic cell rate algorithm in one atomic number.
//!
//! The crate in `tests/models` compiles this very file and goes through its interleavings.

use super::primitives::{AtomicU64, Ordering};

/// The moment at which the bucket is full again, and the time from one token to the next; both in nanoseconds.
#[derive(Debug)]
pub(crate) struct Meter {
    full_at_ns: AtomicU64,
    interval_ns: AtomicU64,
}

impl Meter {
    /// A full bucket.
    pub(crate) fn new(interval_ns: u64) -> Self {
        Self { full_at_ns: AtomicU64::new(0), interval_ns: AtomicU64::new(interval_ns.max(1)) }
    }

    pub(crate) fn interval_ns(&self) -> u64 {
        self.interval_ns.load(Ordering::Relaxed)
    }

    /// Changes the time from one token to the next; what is in the bucket stays.
    pub(crate) fn set_interval(&self, interval_ns: u64) {
        self.interval_ns.store(interval_ns.max(1), Ordering::Relaxed);
    }

    /// Takes up to `want` tokens, at least one, out of a bucket that holds `burst_ns` of its time, or one token if that
    /// is longer. Each token that is taken was the bucket's alone.
    ///
    /// # Errors
    /// The bucket is empty: the moment at which there will be a token.
    pub(crate) fn take(&self, want: u32, burst_ns: u64, now_ns: u64) -> Result<u32, u64> {
        let interval_ns = self.interval_ns();
        let burst_ns = burst_ns.max(interval_ns);
        let mut full_at_ns = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let from_ns = full_at_ns.max(now_ns);
            let room_ns = now_ns.saturating_add(burst_ns).saturating_sub(from_ns);
            let tokens = (room_ns / interval_ns).min(u64::from(want.max(1)));
            if tokens == 0 {
                return Err(from_ns.saturating_add(interval_ns).saturating_sub(burst_ns));
            }
            let next_ns = from_ns.saturating_add(tokens.saturating_mul(interval_ns));
            // The number orders nothing but itself: who wins the exchange owns the tokens.
            match self.full_at_ns.compare_exchange_weak(
                full_at_ns,
                next_ns,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(u32::try_from(tokens).unwrap_or(u32::MAX)),
                Err(other) => full_at_ns = other,
            }
        }
    }

    /// Puts tokens back that were taken and not used.
    pub(crate) fn give_back(&self, tokens: u32) {
        let back_ns = u64::from(tokens).saturating_mul(self.interval_ns());
        let mut full_at_ns = self.full_at_ns.load(Ordering::Relaxed);
        while let Err(other) = self.full_at_ns.compare_exchange_weak(
            full_at_ns,
            full_at_ns.saturating_sub(back_ns),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            full_at_ns = other;
        }
    }
}
