//! The connections of each path: idle ones are woken when work comes, new ones are opened while limits allow, and a
//! site that cannot be reached is left alone for a while.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mail::UnixMs;
use queue::{PathId, PathKey};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::connection;
use crate::control::destination::Destination;
use crate::io;
use crate::shard::Shard;

/// How long a path rests after its first, second ... failed attempt to connect; the last repeats.
const REST: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(600),
];
/// How long a server whose TLS is broken is spoken to in clear, where the policy allows it.
const CLEAR_TTL: Duration = Duration::from_secs(3600);

/// The pools of a shard's paths.
#[derive(Default)]
pub(crate) struct Pools {
    by_path: RefCell<FxHashMap<PathId, Rc<Pool>>>,
}

/// The connections of one path.
pub(crate) struct Pool {
    pub(crate) path: PathId,
    pub(crate) key: PathKey,
    destination: RefCell<Arc<Destination>>,
    idle: RefCell<Vec<Rc<Notify>>>,
    /// When the path is to be looked at again; at most one timer runs.
    armed: Cell<Option<UnixMs>>,
    /// Failed attempts to connect in a row.
    failures: Cell<usize>,
    /// No TLS until then, because it is broken there.
    clear_until: Cell<UnixMs>,
}

impl Pools {
    /// Sets where the connections of `path` lead.
    pub(crate) fn aim(&self, path: PathId, key: PathKey, destination: Arc<Destination>) {
        let mut by_path = self.by_path.borrow_mut();
        if let Some(pool) = by_path.get(&path) {
            if !Arc::ptr_eq(&pool.destination.borrow(), &destination) {
                *pool.destination.borrow_mut() = destination;
            }
            return;
        }
        let pool = Pool {
            path,
            key,
            destination: RefCell::new(destination),
            idle: RefCell::default(),
            armed: Cell::new(None),
            failures: Cell::new(0),
            clear_until: Cell::new(UnixMs(0)),
        };
        by_path.insert(path, Rc::new(pool));
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
        for pool in self.by_path.borrow().values() {
            pool.idle.borrow_mut().drain(..).for_each(|wake| wake.notify_one());
        }
    }
}

impl Pool {
    pub(crate) fn destination(&self) -> Arc<Destination> {
        Arc::clone(&self.destination.borrow())
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

    pub(super) fn speaks_clear(&self, now: UnixMs) -> bool {
        now < self.clear_until.get()
    }

    pub(super) fn tls_is_broken(&self, now: UnixMs) {
        self.clear_until.set(now + CLEAR_TTL);
    }

    pub(super) fn connected(&self) {
        self.failures.set(0);
    }

    /// Counts one more failure to connect and says how long to rest.
    fn failed(&self) -> Duration {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        REST[failures.min(REST.len() - 1)]
    }
}

impl Shard {
    /// Something may be sent on `path`: wakes an idle connection or opens a new one.
    pub(crate) fn dispatch(self: &Rc<Self>, path: PathId) {
        let Some(pool) = self.pools.get(path) else { return };
        let idle = pool.idle.borrow_mut().pop();
        if let Some(wake) = idle {
            wake.notify_one();
            return;
        }
        if self.is_stopping() || !self.queue.borrow().wants_connection(path, self.now()) {
            return;
        }
        self.queue.borrow_mut().connection_opened(path);
        io::spawn(connection::live(Rc::clone(self), pool));
    }

    /// Looks at all paths that have work and nobody who does it.
    pub(crate) fn dispatch_wanting(self: &Rc<Self>) {
        let mut wanting = Vec::new();
        self.queue.borrow_mut().poll_wanting(self.now(), &mut wanting);
        wanting.into_iter().for_each(|path| self.dispatch(path));
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

    /// The site cannot be reached: its path rests, its recipients wait without losing an attempt.
    pub(super) fn rest(self: &Rc<Self>, pool: &Rc<Pool>, reason: &str) {
        self.counters.outbound_failures.add(1);
        let rest = pool.failed();
        self.suspend(pool, rest, reason);
    }

    /// Sends nothing on the path for `rest`.
    pub(super) fn suspend(self: &Rc<Self>, pool: &Rc<Pool>, rest: Duration, reason: &str) {
        let until = self.now() + rest;
        let site = pool.destination().site_name();
        tracing::info!(site, seconds = rest.as_secs(), reason, "path suspended");
        self.queue.borrow_mut().suspend(pool.path, until, reason);
        // The queue names the path again when its rest ends.
        self.bells.earlier.notify_one();
    }
}
