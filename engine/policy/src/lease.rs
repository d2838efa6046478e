//! Budgets that several shards share: each takes a few tokens at a time on loan, so that no message costs a lock.

mod shared;

/// The atomics that the shared part is built on; the models put loom's here.
mod primitives {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mail::UnixMs;
use rustc_hash::FxHashMap;

use crate::Rate;

/// What may be taken at once after a pause: as much as the rate gives in this time, and never less than one.
const BURST_NS: u64 = 100_000_000;
/// How long a loan holds. What is not used by then goes back.
const LOAN: Duration = Duration::from_secs(1);
/// The part of a second that one loan takes of a fast rate.
const LOANS_PER_SECOND: u32 = 50;

/// A rate that several holders draw on.
#[derive(Debug)]
pub struct SharedBudget(shared::Meter);

/// Tokens on loan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// How many.
    pub tokens: u32,
    /// Until when they can be used.
    pub ends: UnixMs,
}

impl SharedBudget {
    /// A budget that is full.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self(shared::Meter::new(rate.interval_ns()))
    }

    /// Changes the rate; what is on loan stays on loan.
    pub fn set_rate(&self, rate: Rate) {
        self.0.set_interval(rate.interval_ns());
    }

    /// Lends up to `want` tokens, at least one.
    ///
    /// # Errors
    /// There is none: the moment at which there will be one.
    pub fn lease(&self, want: u32, now: UnixMs) -> Result<Lease, UnixMs> {
        match self.0.take(want, BURST_NS, now.0.saturating_mul(1_000_000)) {
            Ok(tokens) => Ok(Lease { tokens, ends: now + LOAN }),
            Err(at_ns) => Err(UnixMs(at_ns.div_ceil(1_000_000))),
        }
    }

    /// Takes back what was lent and not used.
    pub fn give_back(&self, tokens: u32) {
        self.0.give_back(tokens);
    }

    /// How many tokens one loan of a fair size has: a fiftieth of a second's.
    fn share(&self) -> u32 {
        let per_second = 1_000_000_000 / self.0.interval_ns();
        u32::try_from(per_second / u64::from(LOANS_PER_SECOND)).unwrap_or(u32::MAX).max(1)
    }
}

/// One shard's side of a shared budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseHolder {
    lease: Lease,
}

impl LeaseHolder {
    /// Takes one token, on loan or out of a new loan.
    ///
    /// # Errors
    /// There is none: the moment at which there will be one.
    pub fn take(&mut self, budget: &SharedBudget, now: UnixMs) -> Result<(), UnixMs> {
        self.settle(budget, now);
        if self.lease.tokens == 0 {
            self.lease = budget.lease(budget.share(), now)?;
        }
        self.lease.tokens -= 1;
        Ok(())
    }

    /// Puts a token back that was taken and not used.
    pub fn put_back(&mut self, budget: &SharedBudget) {
        budget.give_back(1);
    }

    /// Gives back what is on loan and past its end. To be called now and then while nothing is taken.
    pub fn settle(&mut self, budget: &SharedBudget, now: UnixMs) {
        if self.lease.tokens > 0 && now >= self.lease.ends {
            budget.give_back(std::mem::take(&mut self.lease.tokens));
        }
    }
}

/// The shared budgets of sender identities at providers. Reading takes no lock; writing copies the table, which is
/// small: it holds only those that are slowed.
#[derive(Debug, Default)]
pub struct Budgets {
    table: ArcSwap<FxHashMap<(u32, u16), Arc<SharedBudget>>>,
}

impl Budgets {
    /// No budget for anybody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nobody has a budget.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.load().is_empty()
    }

    /// The budget of an identity at a provider; `None` when it is not limited there.
    #[must_use]
    pub fn get(&self, identity: u32, provider: u16) -> Option<Arc<SharedBudget>> {
        self.table.load().get(&(identity, provider)).cloned()
    }

    /// Limits an identity at a provider, or changes its rate. For one writer at a time.
    pub fn set(&self, identity: u32, provider: u16, rate: Rate) {
        if let Some(budget) = self.get(identity, provider) {
            return budget.set_rate(rate);
        }
        let mut table = FxHashMap::clone(&self.table.load());
        table.insert((identity, provider), Arc::new(SharedBudget::new(rate)));
        self.table.store(Arc::new(table));
    }

    /// Takes the limit of an identity at a provider away.
    pub fn remove(&self, identity: u32, provider: u16) {
        let mut table = FxHashMap::clone(&self.table.load());
        if table.remove(&(identity, provider)).is_some() {
            self.table.store(Arc::new(table));
        }
    }
}
