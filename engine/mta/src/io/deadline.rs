//! Timeouts without a timer per operation and without dropping pending reads.
//!
//! Each shard has one registry. A sweep shuts overdue sockets down, whereupon their pending operation completes and
//! the stream answers `ErrorKind::TimedOut`. The sweep sleeps until the earliest deadline it knows of, runs at most
//! four times a second, and not at all while nothing is watched. Deadlines may therefore be late by 250 ms.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::socket::Socket;
use super::stream::Stream;

/// The least time between two sweeps. A sweep of 10,000 connections takes some 20 µs.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// The deadlines of a shard. Clones share them.
#[derive(Clone)]
pub struct Deadlines {
    owner: Rc<Owner>,
}

struct Owner {
    registry: Rc<Registry>,
    sweep: JoinHandle<()>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.sweep.abort();
    }
}

#[derive(Default)]
struct Registry {
    slots: RefCell<Slots>,
    /// No deadline is earlier than this; later ones may be all there is.
    earliest: Cell<Option<Instant>>,
    changed: Notify,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
}

struct Slot {
    socket: Weak<Socket>,
    at: Option<Instant>,
}

impl Deadlines {
    /// Starts the registry of this shard.
    ///
    /// # Panics
    /// Outside of a shard's runtime.
    #[must_use]
    pub fn new() -> Self {
        let registry = Rc::new(Registry::default());
        let sweep = tokio::task::spawn_local(sweep(Rc::clone(&registry)));
        Self { owner: Rc::new(Owner { registry, sweep }) }
    }

    /// Watches `stream`: what it waits for at the instant `at` ends with `TimedOut`. While nothing is being sent only
    /// reading ends, so that a server can still take its leave.
    pub fn watch(&self, stream: &Stream, at: Instant) -> Watch {
        let slot = Slot { socket: Rc::downgrade(stream.socket()), at: Some(at) };
        let mut slots = self.owner.registry.slots.borrow_mut();
        let index = match slots.free.pop() {
            Some(index) => {
                slots.slots[index] = Some(slot);
                index
            }
            None => {
                slots.slots.push(Some(slot));
                slots.slots.len() - 1
            }
        };
        drop(slots);
        self.owner.registry.expect(at);
        Watch { owner: Rc::clone(&self.owner), index }
    }

    /// How many connections are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        let slots = self.owner.registry.slots.borrow();
        slots.slots.len() - slots.free.len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::new()
    }
}

/// The deadline of one connection; dropping it ends the watch.
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    owner: Rc<Owner>,
    index: usize,
}

impl Watch {
    /// Moves the deadline. It applies to what is waited for already, too.
    pub fn set(&self, at: Instant) {
        self.put(Some(at));
        self.owner.registry.expect(at);
    }

    /// Moves the deadline to `wait` from now.
    pub fn extend(&self, wait: Duration) {
        self.set(Instant::now() + wait);
    }

    /// Takes the deadline away until the next [`Watch::set`].
    pub fn clear(&self) {
        self.put(None);
    }

    fn put(&self, at: Option<Instant>) {
        if let Some(slot) = &mut self.owner.registry.slots.borrow_mut().slots[self.index] {
            slot.at = at;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut slots = self.owner.registry.slots.borrow_mut();
        slots.slots[self.index] = None;
        slots.free.push(self.index);
    }
}

impl Registry {
    /// Wakes the sweep only if it would come too late for `at`.
    fn expect(&self, at: Instant) {
        if self.earliest.get().is_none_or(|earliest| at < earliest) {
            self.earliest.set(Some(at));
            self.changed.notify_one();
        }
    }

    /// Cuts overdue sockets off and returns the earliest deadline that is left.
    fn cut_overdue(&self, now: Instant) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for slot in self.slots.borrow_mut().slots.iter_mut().flatten() {
            let Some(at) = slot.at else { continue };
            if at > now {
                earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
                continue;
            }
            slot.at = None;
            if let Some(socket) = slot.socket.upgrade() {
                socket.cut_off();
            }
        }
        earliest
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deadlines({})", self.len())
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.index)
    }
}

async fn sweep(registry: Rc<Registry>) {
    let mut not_before = Instant::now();
    loop {
        let Some(earliest) = registry.earliest.get() else {
            registry.changed.notified().await;
            continue;
        };
        let wake = tokio::time::Instant::from_std(earliest.max(not_before));
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(wake) => {
                let now = Instant::now();
                not_before = now + SWEEP_INTERVAL;
                registry.earliest.set(registry.cut_overdue(now));
            }
            () = registry.changed.notified() => {}
        }
    }
}
