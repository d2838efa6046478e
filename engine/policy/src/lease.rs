//! Budgets that several shards share: each takes a few tokens at a time on loan, so that no message costs a lock, and the
//! loans together never exceed the budget.

mod meter;
mod quota;

/// The atomics that the shared part is built on; the models put loom's here.
mod primitives {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mail::UnixMs;
use rustc_hash::FxHashMap;

use crate::Rate;
use meter::{Drawn, Meter};
pub use quota::{AHEAD_MAX, Exceeded, Moments, Quota, QuotaState, SavedQuota};

/// What may be taken at once after a pause: as much as the rate gives in this time, and never less than one.
const BURST: Duration = Duration::from_millis(100);
/// How long a loan holds. What is not used by then goes back.
const LOAN: Duration = Duration::from_secs(1);
/// The part of a second that one loan takes of a fast rate: long enough that the atomic is seldom touched, short enough
/// that what lies unused with one holder is not missed by the others.
const LOANS_PER_SECOND: u64 = 50;

/// A rate that several holders draw on.
#[derive(Debug)]
pub struct SharedBudget(Meter);

/// Tokens on loan. They are to be used before the end, or given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// How many.
    pub tokens: u32,
    /// Until when they can be used.
    pub ends: UnixMs,
    /// What each of them has cost.
    interval_ns: u64,
}

impl SharedBudget {
    /// A budget that is full.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self(Meter::new(rate.interval_ns()))
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
        let burst_ns = BURST.as_nanos() as u64;
        match self.0.draw(want, burst_ns, now.0.saturating_mul(1_000_000)) {
            Ok(Drawn { tokens, interval_ns }) => Ok(Lease { tokens, ends: now + LOAN, interval_ns }),
            Err(at_ns) => Err(UnixMs(at_ns.div_ceil(1_000_000))),
        }
    }

    /// Takes back what was lent and not used.
    pub fn give_back(&self, unused: Lease) {
        self.0.give_back(Drawn { tokens: unused.tokens, interval_ns: unused.interval_ns });
    }

    /// How many tokens a loan of fair size has.
    fn share(&self) -> u32 {
        let tokens = 1_000_000_000 / LOANS_PER_SECOND / self.0.interval_ns();
        u32::try_from(tokens).unwrap_or(u32::MAX).max(1)
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

    /// Puts one token back that was taken and not used.
    pub fn put_back(&mut self, budget: &SharedBudget, now: UnixMs) {
        // Before the first loan nothing can have been taken.
        if self.lease.interval_ns > 0 {
            self.lease.tokens = self.lease.tokens.saturating_add(1);
        }
        self.settle(budget, now);
    }

    /// Gives back what is on loan and past its end. To be called now and then while nothing is taken.
    pub fn settle(&mut self, budget: &SharedBudget, now: UnixMs) {
        if self.lease.tokens > 0 && now >= self.lease.ends {
            budget.give_back(self.lease);
            self.lease.tokens = 0;
        }
    }

    /// Gives all back that is on loan, as when the holder is not needed any more.
    pub fn release(&mut self, budget: &SharedBudget) {
        budget.give_back(self.lease);
        self.lease.tokens = 0;
    }
}

/// What a budget belongs to: a sender identity, by its hash, at a provider, by its index.
type Key = (u32, u16);

/// The shared budgets of sender identities at providers. Reading takes no lock; writing copies the table, which is small,
/// since it holds only those that are slowed.
#[derive(Debug, Default)]
pub struct Budgets {
    table: ArcSwap<FxHashMap<Key, Arc<SharedBudget>>>,
    /// How many there are, for those who only want to know whether there is any.
    count: AtomicUsize,
}

impl Budgets {
    /// No budget for anybody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nobody has a budget. One relaxed load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many budgets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The budget of an identity at a provider; `None` when it is not limited there.
    #[must_use]
    pub fn get(&self, identity: u32, provider: u16) -> Option<Arc<SharedBudget>> {
        self.table.load().get(&(identity, provider)).cloned()
    }

    /// Limits an identity at a provider, or changes its rate.
    pub fn set(&self, identity: u32, provider: u16, rate: Rate) {
        if let Some(budget) = self.get(identity, provider) {
            return budget.set_rate(rate);
        }
        let new = Arc::new(SharedBudget::new(rate));
        self.change(|table| {
            table.entry((identity, provider)).or_insert_with(|| Arc::clone(&new));
        });
    }

    /// Takes the limit of an identity at a provider away.
    pub fn remove(&self, identity: u32, provider: u16) {
        self.change(|table| {
            table.remove(&(identity, provider));
        });
    }

    fn change(&self, change: impl Fn(&mut FxHashMap<Key, Arc<SharedBudget>>)) {
        self.table.rcu(|table| {
            let mut table = FxHashMap::clone(table);
            change(&mut table);
            table
        });
        self.count.store(self.table.load().len(), Ordering::Relaxed);
    }
}

/// One shard's side of [`Budgets`].
#[derive(Debug, Default)]
pub struct Leases {
    holders: FxHashMap<Key, LeaseHolder>,
}

impl Leases {
    /// Takes one token of an identity's budget at a provider; always there is one where it has no budget.
    ///
    /// # Errors
    /// There is none: the moment at which there will be one.
    pub fn take(
        &mut self,
        budgets: &Budgets,
        identity: u32,
        provider: u16,
        now: UnixMs,
    ) -> Result<(), UnixMs> {
        if budgets.is_empty() {
            return Ok(());
        }
        match budgets.get(identity, provider) {
            Some(budget) => self.holders.entry((identity, provider)).or_default().take(&budget, now),
            None => Ok(()),
        }
    }

    /// Puts one token back that was taken and not used.
    pub fn put_back(&mut self, budgets: &Budgets, identity: u32, provider: u16, now: UnixMs) {
        let Some(holder) = self.holders.get_mut(&(identity, provider)) else { return };
        if let Some(budget) = budgets.get(identity, provider) {
            holder.put_back(&budget, now);
        }
    }

    /// Gives back what is past its end, and forgets the holders without a loan. To be called about once a second.
    pub fn settle(&mut self, budgets: &Budgets, now: UnixMs) {
        self.holders.retain(|&(identity, provider), holder| {
            let Some(budget) = budgets.get(identity, provider) else { return false };
            holder.settle(&budget, now);
            holder.lease.tokens > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMs = UnixMs(1_700_000_000_000);

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate::new(count, Duration::from_secs(seconds)).expect("above zero")
    }

    /// What `holders` take together in so many milliseconds, each asking every few milliseconds.
    fn taken(budget: &SharedBudget, holders: &mut [LeaseHolder], length_ms: u64, every_ms: u64) -> u64 {
        let mut taken = 0;
        for ms in (0..length_ms).step_by(every_ms as usize) {
            for holder in holders.iter_mut() {
                while holder.take(budget, UnixMs(START.0 + ms)).is_ok() {
                    taken += 1;
                }
            }
        }
        taken
    }

    #[test]
    fn a_fast_rate_is_not_lost_by_leasing() {
        for per_second in [100, 1_000, 50_000] {
            let budget = SharedBudget::new(Rate::per_second(per_second));
            let taken = taken(&budget, &mut [LeaseHolder::default(); 4], 10_000, 5);
            let expected = u64::from(per_second) * 10;
            assert!((expected..=expected + expected / 100 + 1).contains(&taken), "{per_second}: {taken}");
        }
    }

    #[test]
    fn a_slow_rate_is_lent_one_by_one() {
        let budget = SharedBudget::new(rate(5, 3600));
        assert_eq!(taken(&budget, &mut [LeaseHolder::default(); 3], 3_600_000, 1_000), 5);
        let now = START + Duration::from_secs(3600);
        assert_eq!(budget.lease(100, now).map(|lease| lease.tokens), Ok(1));
        assert_eq!(budget.lease(1, now), Err(now + Duration::from_secs(720)));
    }

    #[test]
    fn what_is_not_used_goes_back_at_its_end() {
        let budget = SharedBudget::new(Rate::per_second(1_000));
        let mut holder = LeaseHolder::default();
        assert_eq!(holder.take(&budget, START), Ok(()));
        assert_eq!(holder.lease.tokens, 19);
        let before = budget.lease(1_000, START).expect("the rest of the burst");
        assert_eq!(before.tokens, 80);
        holder.settle(&budget, START + LOAN / 2);
        assert_eq!(holder.lease.tokens, 19, "it may still be used");
        holder.settle(&budget, START + LOAN);
        assert_eq!(holder.lease.tokens, 0);
    }

    #[test]
    fn what_is_given_back_is_what_was_drawn_also_at_another_rate() {
        let budget = SharedBudget::new(Rate::per_second(100));
        let lease = budget.lease(10, START).expect("it is full");
        budget.set_rate(rate(1, 10));
        budget.give_back(lease);
        // The bucket is full, which is one token now, and not ten of ten seconds each.
        assert_eq!(budget.lease(100, START).map(|lease| lease.tokens), Ok(1));
        assert!(budget.lease(100, START).is_err());
    }

    #[test]
    fn identities_are_limited_one_by_one() {
        let budgets = Budgets::new();
        let mut leases = Leases::default();
        assert!(budgets.is_empty());
        assert_eq!(leases.take(&budgets, 1, 2, START), Ok(()));
        budgets.set(1, 2, rate(1, 60));
        assert_eq!((budgets.len(), budgets.get(1, 3).is_none()), (1, true));
        assert_eq!(leases.take(&budgets, 1, 2, START), Ok(()));
        assert_eq!(leases.take(&budgets, 1, 2, START), Err(START + Duration::from_secs(60)));
        assert_eq!(leases.take(&budgets, 1, 3, START), Ok(()), "another provider");
        leases.put_back(&budgets, 1, 2, START);
        assert_eq!(leases.take(&budgets, 1, 2, START), Ok(()));
        // A change of the rate does not fill the bucket.
        budgets.set(1, 2, rate(1, 30));
        assert!(leases.take(&budgets, 1, 2, START).is_err());
        leases.settle(&budgets, START + LOAN);
        assert!(leases.holders.is_empty());
        budgets.remove(1, 2);
        assert!(budgets.is_empty() && leases.take(&budgets, 1, 2, START).is_ok());
    }

    /// What a holder does.
    #[derive(Clone, Copy, Debug)]
    enum Deed {
        Take(u16),
        PutBack,
        Settle,
        Release,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            4 => (1_u16..300).prop_map(Deed::Take),
            1 => Just(Deed::PutBack),
            1 => Just(Deed::Settle),
            1 => Just(Deed::Release),
        ]
    }

    proptest! {
        /// Used and on loan together are at every instant at most the burst and what the rate has given so far.
        #[test]
        fn leases_sum_to_at_most_the_budget(
            count in 1_u32..20_000,
            seconds in prop_oneof![Just(1_u64), Just(60), Just(3600)],
            story in prop::collection::vec((0_usize..5, deed(), 0_u64..2_000), 1..200),
        ) {
            let rate = rate(count, seconds);
            let budget = SharedBudget::new(rate);
            let mut holders = [LeaseHolder::default(); 5];
            let (mut now, mut used) = (START, 0_u64);
            for (index, deed, passed_ms) in story {
                now = UnixMs(now.0 + passed_ms);
                let holder = &mut holders[index];
                match deed {
                    Deed::Take(count) => {
                        used += (0..count).map_while(|_| holder.take(&budget, now).ok()).count() as u64;
                    }
                    Deed::PutBack if used > 0 && holder.lease.interval_ns > 0 => {
                        used -= 1;
                        holder.put_back(&budget, now);
                    }
                    Deed::PutBack => {}
                    Deed::Settle => holder.settle(&budget, now),
                    Deed::Release => holder.release(&budget),
                }
                let on_loan: u64 = holders.iter().map(|holder| u64::from(holder.lease.tokens)).sum();
                let passed_ns = (now.0 - START.0) * 1_000_000;
                let burst_ns = (BURST.as_nanos() as u64).max(rate.interval_ns());
                let most = (passed_ns + burst_ns) / rate.interval_ns();
                prop_assert!(used + on_loan <= most, "{used} used, {on_loan} on loan, {most} are there");
            }
        }
    }
}
