//! A rate that several holders draw on without a lock: the generic cell rate algorithm in one atomic number. It refuses to
//! know time units other than nanoseconds, and who draws.
//!
//! The crate in `tests/models` compiles this very file and goes through its interleavings.

use super::primitives::{AtomicU64, Ordering};

/// A bucket of tokens, kept as the moment at which it will be full again.
#[derive(Debug)]
pub(crate) struct Meter {
    full_at_ns: AtomicU64,
    /// The time from one token to the next.
    interval_ns: AtomicU64,
}

/// Tokens that were taken out, and the interval that each of them cost: so much is given back, whatever the rate is then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) tokens: u32,
    pub(crate) interval_ns: u64,
}

impl Meter {
    /// A full bucket.
    pub(crate) fn new(interval_ns: u64) -> Self {
        Self { full_at_ns: AtomicU64::new(0), interval_ns: AtomicU64::new(interval_ns.max(1)) }
    }

    pub(crate) fn interval_ns(&self) -> u64 {
        // It orders nothing: who draws with the rate of a moment ago has drawn a moment ago.
        self.interval_ns.load(Ordering::Relaxed)
    }

    /// Changes the time from one token to the next; what is on loan, and what was drawn ahead, stays.
    pub(crate) fn set_interval(&self, interval_ns: u64) {
        self.interval_ns.store(interval_ns.max(1), Ordering::Relaxed);
    }

    /// Takes up to `want` tokens, at least one, out of a bucket that holds `burst_ns` of its time, or one token if that
    /// is longer.
    ///
    /// # Errors
    /// The bucket is empty: the moment at which there will be a token.
    pub(crate) fn draw(&self, want: u32, burst_ns: u64, now_ns: u64) -> Result<Drawn, u64> {
        let interval_ns = self.interval_ns();
        let burst_ns = burst_ns.max(interval_ns);
        let mut full_at_ns = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let from_ns = full_at_ns.max(now_ns);
            let room_ns = now_ns.saturating_add(burst_ns).saturating_sub(from_ns);
            // At most `want`, which is a u32.
            let tokens = (room_ns / interval_ns).min(u64::from(want.max(1))) as u32;
            if tokens == 0 {
                return Err(from_ns.saturating_add(interval_ns).saturating_sub(burst_ns));
            }
            let next_ns = from_ns.saturating_add(u64::from(tokens).saturating_mul(interval_ns));
            match self.exchange(full_at_ns, next_ns) {
                Ok(()) => return Ok(Drawn { tokens, interval_ns }),
                Err(other) => full_at_ns = other,
            }
        }
    }

    /// Puts tokens back that were drawn and not used.
    pub(crate) fn give_back(&self, drawn: Drawn) {
        let back_ns = u64::from(drawn.tokens).saturating_mul(drawn.interval_ns);
        let mut full_at_ns = self.full_at_ns.load(Ordering::Relaxed);
        while let Err(other) = self.exchange(full_at_ns, full_at_ns.saturating_sub(back_ns)) {
            full_at_ns = other;
        }
    }

    /// Replaces `seen` by `next`, unless somebody has replaced it before. Relaxed, because the number is all that is
    /// shared: who wins the exchange owns the tokens.
    fn exchange(&self, seen: u64, next: u64) -> Result<(), u64> {
        self.full_at_ns.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed).map(|_| ())
    }
}
