//! The budgets of this shard's paths: one pacer for each source and provider, or for each site where the provider is only
//! a name. A pacer is told what receivers say at once; while its budget is in use it is looked at once a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mail::UnixMs;
use policy::Demand;
use policy::Limits;
use policy::pace::{BudgetKey, Change, PaceView, Pacer, Signal};
use policy::provider::ProviderIndex;
use queue::{PathId, PathKey};
use rustc_hash::FxHashMap;

use super::Shard;
use crate::brain::{Changed, LearnedBudget};
use crate::control::destination::Destination;

/// How often a budget that is in use is looked at.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Budgets kept of single sites: beyond it those that nothing is sent to are forgotten.
const KEPT_MAX: usize = 20_000;

/// The budgets of a shard.
#[derive(Default)]
pub(crate) struct Pacers {
    by_key: RefCell<FxHashMap<BudgetKey, Rc<Budget>>>,
    /// Those in use: they are looked at each second.
    active: RefCell<Vec<Rc<Budget>>>,
}

/// What one source may burden one provider with, as far as it is known now.
pub(crate) struct Budget {
    pub(crate) key: BudgetKey,
    pacer: RefCell<Pacer>,
    /// The limits in force, as every connection asks for them.
    limits: Cell<Limits>,
    /// One of its paths: what is set there holds for all.
    path: Cell<PathId>,
    is_active: Cell<bool>,
    /// Something was delivered or refused since it was looked at last.
    is_used: Cell<bool>,
    /// It has learned something that the file does not have.
    is_changed: Cell<bool>,
}

impl Budget {
    /// The limits in force.
    pub(crate) fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// One of its paths.
    pub(crate) fn path(&self) -> PathId {
        self.path.get()
    }

    /// A recipient was let through by the receiver's limits.
    pub(crate) fn took(&self, now: UnixMs) {
        self.is_used.set(true);
        self.pacer.borrow_mut().took(now);
    }

    /// Nothing is sent before this moment.
    pub(crate) fn rests_until(&self, now: UnixMs) -> Option<UnixMs> {
        self.pacer.borrow().rests_until(now)
    }

    /// What is known of it, for people.
    pub(crate) fn view(&self) -> PaceView {
        self.pacer.borrow().view()
    }
}

impl Pacers {
    /// Forgets what is not used any more, when there is too much of it.
    pub(super) fn tidy(&self) {
        let mut by_key = self.by_key.borrow_mut();
        if by_key.len() > KEPT_MAX {
            by_key.retain(|key, budget| key.site == 0 || Rc::strong_count(budget) > 1);
        }
    }
}

impl Shard {
    /// The budget of a path that has just been made, and its limits set in the queue.
    pub(crate) fn budget_of(&self, path: PathId, key: PathKey, destination: &Destination) -> Rc<Budget> {
        let site = if destination.is_alone() { key.site } else { 0 };
        let key = BudgetKey { source: key.source, provider: key.provider, site };
        let known = self.mind.pacers.by_key.borrow().get(&key).cloned();
        let budget = known.unwrap_or_else(|| self.new_budget(key, path));
        budget.path.set(path);
        let rate_bytes = self.shared.config.providers[ProviderIndex(key.provider)].rate_bytes;
        let mut queue = self.queue.borrow_mut();
        queue.set_limits(path, budget.limits());
        queue.set_rate_bytes(path, rate_bytes);
        drop(queue);
        budget
    }

    fn new_budget(&self, key: BudgetKey, path: PathId) -> Rc<Budget> {
        let now = self.now();
        let config = &self.shared.config;
        let caps = config.providers[ProviderIndex(key.provider)].caps(config.deliver.learns);
        let learned = self.shared.brain.learned(key);
        let pacer = match &learned {
            Some(learned) => Pacer::restored(caps, learned, now),
            None => Pacer::new(caps, now),
        };
        let budget = Rc::new(Budget {
            key,
            limits: Cell::new(pacer.limits()),
            pacer: RefCell::new(pacer),
            path: Cell::new(path),
            is_active: Cell::new(false),
            is_used: Cell::new(false),
            is_changed: Cell::new(learned.is_some()),
        });
        self.mind.pacers.by_key.borrow_mut().insert(key, Rc::clone(&budget));
        budget
    }

    /// The budget is in use: it is looked at each second until it is not.
    pub(crate) fn stir(&self, budget: &Rc<Budget>) {
        if !budget.is_active.replace(true) {
            self.mind.pacers.active.borrow_mut().push(Rc::clone(budget));
            self.bells.stirred.notify_one();
        }
    }

    /// A receiver wants less of us: the limits change at once, and a rest is kept on all paths of the budget.
    pub(crate) fn refused(self: &Rc<Self>, budget: &Rc<Budget>, signal: Signal, said: &str) {
        let now = self.now();
        budget.is_used.set(true);
        let change = budget.pacer.borrow_mut().refused(signal, now);
        if let Some(change) = change {
            self.obey(budget, change, said);
        }
        if let Some(until) = budget.rests_until(now) {
            self.rest_budget(budget, until, said);
        }
    }

    /// Nothing goes on any path of a budget before the rest of its pacer ends. Connections stay, unless they would be
    /// idle for too long.
    fn rest_budget(self: &Rc<Self>, budget: &Budget, until: UnixMs, said: &str) {
        for pool in self.pools.of_budget(budget) {
            self.pause(&pool, until, said);
        }
    }

    /// The hosts of a single site's budget, for people.
    pub(crate) fn site_of(&self, budget: BudgetKey) -> Option<String> {
        let pool = self.pools.get(self.pools.path_of(budget)?)?;
        Some(pool.destination().site_name())
    }

    fn obey(&self, budget: &Rc<Budget>, change: Change, said: &str) {
        let limits = budget.pacer.borrow().limits();
        budget.limits.set(limits);
        budget.is_changed.set(true);
        self.queue.borrow_mut().set_limits(budget.path.get(), limits);
        self.tell_changed(Changed::new(self, budget.key, change, said));
    }

    /// Looks at the budgets in use; says whether any still is.
    pub(super) fn tick_budgets(&self, now: UnixMs) -> bool {
        let active = self.mind.pacers.active.take();
        let mut still = Vec::with_capacity(active.len());
        for budget in active {
            let demand = self.demand_of(&budget);
            self.tell_load(&budget, demand, now);
            let was_used = budget.is_used.replace(false);
            let change = budget.pacer.borrow_mut().tick(demand, now);
            if let Some(change) = change {
                self.obey(&budget, change, "");
            }
            budget.is_changed.set(budget.is_changed.get() || was_used);
            // What waits for the end of a rest is not ready, and the time counts all the same.
            let rests = budget.rests_until(now).is_some();
            if was_used || demand.ready > 0 || rests {
                still.push(budget);
            } else {
                budget.is_active.set(false);
            }
        }
        let mut active = self.mind.pacers.active.borrow_mut();
        // Some may have been stirred meanwhile.
        still.append(&mut active);
        *active = still;
        !active.is_empty()
    }

    /// Tells routing how long mail waits for the budget.
    fn tell_load(&self, budget: &Budget, demand: Demand, now: UnixMs) {
        if budget.key.site == 0 {
            let (BudgetKey { source, provider, .. }, pace) =
                (budget.key, budget.pacer.borrow().pace(demand, now));
            self.shared.brain.standings.set_load(source, provider, demand.ready, pace);
        }
    }

    fn demand_of(&self, budget: &Budget) -> Demand {
        if self.pools.get(budget.path.get()).is_none()
            && let Some(path) = self.pools.path_of(budget.key)
        {
            budget.path.set(path);
        }
        let demand = self.queue.borrow_mut().demand(budget.path.get());
        Demand {
            ready: demand.ready,
            connections: demand.connections,
            waited_for_rate: demand.waited_for_rate,
        }
    }

    /// What the budgets have learned since they were asked last.
    pub(crate) fn learned(&self) -> Vec<LearnedBudget> {
        let by_key = self.mind.pacers.by_key.borrow();
        let changed = by_key.values().filter(|budget| budget.is_changed.replace(false));
        changed
            .map(|budget| LearnedBudget { key: budget.key, learned: budget.pacer.borrow().learned() })
            .collect()
    }
}
