//! The connections of each path: idle ones are woken when work comes, new ones are opened while limits allow, and a
//! site that cannot be reached is left alone for a while.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mail::UnixMs;
use policy::pace::BudgetKey;
use queue::{PathId, PathKey};
use rustc_hash::FxHashMap;
use spool::Course;
use tokio::sync::Notify;

use super::abilities::Abilities;
use super::avoided::Avoided;
use super::connection;
use super::desk::Desk;
use crate::control::destination::{Destination, Party};
use crate::io;
use crate::shard::{Budget, Shard};

/// How long a path rests after its first, second ... failed attempt to connect; the last repeats.
const REST: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(600),
];

/// How long things take on a path, in milliseconds, the latest ones counting most; 0 as long as none has been seen.
#[derive(Default)]
struct Times {
    /// A connection is busy with a recipient.
    transaction_ms: Cell<f64>,
    /// A connection is made.
    connect_ms: Cell<f64>,
}

/// What a transaction and a new connection take as long as none has been seen.
const UNKNOWN_MS: f64 = 100.0;

/// The pools of a shard's paths, and what all their connections share.
pub(crate) struct Pools {
    by_path: RefCell<FxHashMap<PathId, Rc<Pool>>>,
    /// Memory for the paths that the queue names.
    wanting: Cell<Vec<PathId>>,
    pub(crate) desk: Desk,
    /// How connections go through the log of each shard.
    pub(super) courses: Vec<Course>,
}

/// The connections of one path.
pub(crate) struct Pool {
    pub(crate) path: PathId,
    pub(crate) key: PathKey,
    destination: RefCell<Arc<Destination>>,
    /// What its source may burden its provider with.
    pub(crate) budget: Rc<Budget>,
    /// Whose mail its connections carry.
    pub(super) party: Party,
    idle: RefCell<Vec<Rc<Notify>>>,
    /// Connections that are being opened.
    opening: Cell<u32>,
    /// Connections that are open.
    open: Cell<u32>,
    /// When the path is to be looked at again; at most one timer runs.
    armed: Cell<Option<UnixMs>>,
    /// Connections begun.
    turn: Cell<u64>,
    times: Times,
    /// Failed attempts to connect in a row.
    failures: Cell<usize>,
    /// The path rests until then.
    rests_until: Cell<UnixMs>,
    pub(super) avoided: Avoided,
    pub(super) abilities: Abilities,
}

impl Pools {
    /// Of a shard among so many.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            by_path: RefCell::default(),
            wanting: Cell::default(),
            desk: Desk::default(),
            courses: (0..shards).map(|_| Course::default()).collect(),
        }
    }

    /// The pool of `path`, whose connections lead to `destination` from now on.
    fn aimed(&self, path: PathId, destination: &Arc<Destination>, now: UnixMs) -> Option<Rc<Pool>> {
        let pool = self.get(path)?;
        pool.party.joins(destination, now);
        if !Arc::ptr_eq(&pool.destination.borrow(), destination) {
            *pool.destination.borrow_mut() = Arc::clone(destination);
        }
        Some(pool)
    }

    pub(crate) fn get(&self, path: PathId) -> Option<Rc<Pool>> {
        self.by_path.borrow().get(&path).cloned()
    }

    /// Forgets the pools of paths that are gone.
    pub(crate) fn retain(&self, exists: impl Fn(&Pool) -> bool) {
        self.by_path.borrow_mut().retain(|_, pool| exists(pool));
    }

    /// Wakes every idle connection: the engine stops.
    pub(crate) fn wake_all(&self) {
        self.by_path.borrow().values().for_each(|pool| pool.wake_all());
    }

    pub(crate) fn all(&self) -> Vec<Rc<Pool>> {
        self.by_path.borrow().values().cloned().collect()
    }

    /// A path whose limits are those of a budget.
    pub(crate) fn path_of(&self, budget: BudgetKey) -> Option<PathId> {
        let by_path = self.by_path.borrow();
        by_path.values().find(|pool| pool.budget.key == budget).map(|pool| pool.path)
    }

    /// The pools of all paths that share a budget. That of a single site has one.
    pub(crate) fn of_budget(&self, budget: &Budget) -> Vec<Rc<Pool>> {
        if budget.key.site != 0 {
            return self.get(budget.path()).into_iter().collect();
        }
        self.by_path.borrow().values().filter(|pool| pool.budget.key == budget.key).cloned().collect()
    }
}

impl Pool {
    pub(crate) fn destination(&self) -> Arc<Destination> {
        Arc::clone(&self.destination.borrow())
    }

    /// Whether its provider is only a name for sites that have nothing in common.
    pub(super) fn is_alone(&self) -> bool {
        self.budget.key.site != 0
    }

    fn wake_all(&self) {
        self.idle.borrow_mut().drain(..).for_each(|wake| wake.notify_one());
    }

    pub(super) fn put_idle(&self, wake: &Rc<Notify>) {
        self.idle.borrow_mut().push(Rc::clone(wake));
    }

    /// Takes a connection out of the idle ones; false when somebody has woken it already.
    pub(super) fn take_idle(&self, wake: &Rc<Notify>) -> bool {
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().position(|other| Rc::ptr_eq(other, wake));
        place.map(|place| idle.swap_remove(place)).is_some()
    }

    /// A number for each connection, which decides among equal hosts.
    pub(super) fn next_turn(&self) -> u64 {
        self.turn.replace(self.turn.get() + 1)
    }

    /// Whether one more may be opened: at most as many at a time as are open already, and one to begin with. So a site
    /// that is gone or slow is not met by all connections at once, and each that opens calls the next.
    fn may_open(&self) -> bool {
        self.opening.get() < self.open.get().max(1)
    }

    /// Connections that are open.
    pub(super) fn open_count(&self) -> u32 {
        self.open.get()
    }

    /// Connections that the receiver may count: those that are open, and those that are being opened.
    pub(super) fn counted(&self) -> u32 {
        self.open.get() + self.opening.get()
    }

    fn count_opening(&self) {
        self.opening.set(self.opening.get() + 1);
    }

    pub(super) fn count_open(&self) {
        self.opening.set(self.opening.get().saturating_sub(1));
        self.open.set(self.open.get() + 1);
    }

    pub(super) fn count_closed(&self, was_open: bool) {
        let count = if was_open { &self.open } else { &self.opening };
        count.set(count.get().saturating_sub(1));
    }

    /// The site has answered for a recipient.
    pub(super) fn works(&self) {
        self.failures.set(0);
    }

    /// A recipient kept one of `under_way` transactions of a connection busy for so long.
    pub(super) fn took_ms(&self, transaction_ms: u32, under_way: usize) {
        let busy = f64::from(transaction_ms) / u32::try_from(under_way.max(1)).map_or(1.0, f64::from);
        smooth(&self.times.transaction_ms, busy);
    }

    /// A connection took so long to be made.
    pub(super) fn connected_ms(&self, connect_ms: u32) {
        smooth(&self.times.connect_ms, f64::from(connect_ms));
    }

    /// How long a connection is busy with one recipient, and how long making one takes, in milliseconds.
    pub(crate) fn pace_ms(&self) -> (f64, f64) {
        let known = |cell: &Cell<f64>| if cell.get() > 0.0 { cell.get() } else { UNKNOWN_MS };
        (known(&self.times.transaction_ms), known(&self.times.connect_ms))
    }

    /// The path may be looked at before the moment for which it is armed.
    pub(super) fn disarm(&self) {
        self.armed.set(None);
    }

    fn is_armed(&self, now: UnixMs) -> bool {
        self.armed.get().is_some_and(|at| at > now)
    }

    /// Notes that the path rests until a moment that the operator has named; its connections are closed.
    pub(crate) fn rests_until(&self, until: UnixMs) {
        self.rests_until.set(until);
        self.wake_all();
    }

    /// Notes that the operator has ended the path's rest.
    pub(crate) fn resumed(&self) {
        self.rests_until.set(UnixMs(0));
        self.failures.set(0);
        self.disarm();
    }

    /// Counts one more failure to connect and says how long to rest.
    fn failed(&self) -> Duration {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        REST[failures.min(REST.len() - 1)]
    }
}

/// Moves an average a tenth of the way towards the latest value; the first one counts whole.
fn smooth(average: &Cell<f64>, latest: f64) {
    let before = average.get();
    average.set(if before == 0.0 { latest.max(0.001) } else { before + (latest - before) / 10.0 });
}

impl Shard {
    /// The pool of `path`, made if need be, with connections that lead to `destination`.
    pub(crate) fn aim(&self, path: PathId, key: PathKey, destination: Arc<Destination>) -> Rc<Pool> {
        let now = self.now();
        if let Some(pool) = self.pools.aimed(path, &destination, now) {
            return pool;
        }
        let party = Party::default();
        party.joins(&destination, now);
        let pool = Rc::new(Pool {
            path,
            key,
            budget: self.budget_of(path, key, &destination),
            destination: RefCell::new(destination),
            party,
            idle: RefCell::default(),
            opening: Cell::new(0),
            open: Cell::new(0),
            armed: Cell::new(None),
            turn: Cell::new(0),
            times: Times::default(),
            failures: Cell::new(0),
            rests_until: Cell::new(UnixMs(0)),
            avoided: Avoided::hosts(),
            abilities: Abilities::default(),
        });
        self.pools.by_path.borrow_mut().insert(path, Rc::clone(&pool));
        pool
    }

    /// Something may be sent on `path`: wakes an idle connection or opens a new one.
    pub(crate) fn dispatch(self: &Rc<Self>, path: PathId) {
        self.dispatch_at(path, self.now());
    }

    /// The same at `now`, which is the present.
    pub(super) fn dispatch_at(self: &Rc<Self>, path: PathId, now: UnixMs) {
        let Some(pool) = self.pools.get(path) else { return };
        let idle = pool.idle.borrow_mut().pop();
        if let Some(wake) = idle {
            wake.notify_one();
            return;
        }
        if self.is_stopping() || !pool.may_open() {
            return;
        }
        // While the path waits for its rate, one more connection could only wait too.
        if pool.is_armed(now) || !self.queue.borrow().wants_connection(path, now) {
            return;
        }
        self.queue.borrow_mut().connection_opened(path);
        pool.count_opening();
        io::spawn(connection::live(Rc::clone(self), pool));
    }

    /// Looks at a path on which critical mail has come: it may leave before the moment for which other mail waits.
    pub(crate) fn dispatch_critical(self: &Rc<Self>, path: PathId) {
        if let Some(pool) = self.pools.get(path).filter(|pool| pool.idle.borrow().is_empty()) {
            pool.disarm();
        }
        self.dispatch(path);
    }

    /// Looks at all paths that have work and nobody who does it.
    pub(crate) fn dispatch_wanting(self: &Rc<Self>) {
        let mut wanting = self.pools.wanting.take();
        self.queue.borrow_mut().poll_wanting(self.now(), &mut wanting);
        wanting.drain(..).for_each(|path| self.dispatch(path));
        self.pools.wanting.set(wanting);
    }

    /// Looks at `pool`'s path again at `at`: its budget or its suspension ends then.
    pub(super) fn arm(self: &Rc<Self>, pool: &Rc<Pool>, at: UnixMs) {
        if pool.armed.get().is_some_and(|armed| armed <= at) {
            return;
        }
        pool.armed.set(Some(at));
        let (shard, pool) = (Rc::clone(self), Rc::clone(pool));
        io::spawn(async move {
            tokio::time::sleep(at.since(shard.now())).await;
            if pool.armed.get() == Some(at) {
                pool.armed.set(None);
                shard.dispatch(pool.path);
            }
        });
    }

    /// The site cannot be reached or worked with: its path rests, its recipients wait without losing an attempt. What
    /// many connections find at the same time is one failure.
    pub(super) fn rest(self: &Rc<Self>, pool: &Rc<Pool>, reason: &str) {
        self.counters.outbound_failures.add(1);
        if pool.rests_until.get() <= self.now() {
            let rest = pool.failed();
            self.suspend(pool, rest, reason);
        }
    }

    /// Sends nothing from the path's source to its provider for `rest`.
    pub(super) fn suspend_source(self: &Rc<Self>, pool: &Rc<Pool>, rest: Duration, reason: &str) {
        for pool in self.pools.of_budget(&pool.budget) {
            self.suspend(&pool, rest, reason);
        }
    }

    /// Sends nothing on the path before `until`, and keeps its connections: the receiver has only asked for less.
    pub(crate) fn pause(self: &Rc<Self>, pool: &Rc<Pool>, until: UnixMs, reason: &str) {
        if pool.rests_until.get() >= until {
            return;
        }
        self.queue.borrow_mut().suspend(pool.path, until, reason);
        pool.rests_until.set(until);
        self.bells.earlier.notify_one();
    }

    /// Sends nothing on the path for `rest`, or for longer when a longer rest was asked for before.
    pub(super) fn suspend(self: &Rc<Self>, pool: &Rc<Pool>, rest: Duration, reason: &str) {
        let until = self.now() + rest;
        if pool.rests_until.get() >= until {
            return;
        }
        let site = pool.destination().site_name();
        tracing::info!(site, seconds = rest.as_secs(), reason, "path suspended");
        self.queue.borrow_mut().suspend(pool.path, until, reason);
        pool.rests_until(until);
        // The queue names the path again when its rest ends.
        self.bells.earlier.notify_one();
    }
}
