//! What both sets of primitives have in common: loom's types under the names and with the calls that the engine uses.

use std::task::Waker;

use loom::sync::atomic::Ordering;

/// loom's waker with the calls of the one in `futures_util`.
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(loom::future::AtomicWaker::new())
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}

/// loom's, with stores made by swaps.
///
/// loom 0.7 keeps stores in a partial order, and does not know that a swap stands directly behind the store it read:
/// of S1 (true), a swap of S1 (false) by another thread, and a later store S2 (true) of the first thread, it lets a
/// load that must see S2 read the older swap. The memory model forbids that, and with it the lost wake-up that loom
/// reports of the bell. A swap takes its place behind everything before it. What is lost by this: a store that
/// another thread's earlier swap overtakes, which is another interleaving of the same steps.
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        Self(loom::sync::atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, order)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.0.swap(value, order);
    }
}
