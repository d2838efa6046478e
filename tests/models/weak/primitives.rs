//! Atomics with three mistakes: fences do nothing, counts are relaxed whatever is asked for, and an exchange looks and then
//! stores.

pub(super) use crossbeam::utils::CachePadded;
pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};

pub(super) use crate::atomics::{AtomicBool, AtomicWaker};

pub(super) fn fence(_: Ordering) {}

#[derive(Debug)]
pub(super) struct AtomicU64(loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(super) fn new(value: u64) -> Self {
        Self(loom::sync::atomic::AtomicU64::new(value))
    }

    pub(super) fn fetch_add(&self, value: u64, _: Ordering) -> u64 {
        self.0.fetch_add(value, Ordering::Relaxed)
    }

    pub(super) fn load(&self, _: Ordering) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn store(&self, value: u64, _: Ordering) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn compare_exchange_weak(
        &self,
        seen: u64,
        next: u64,
        _: Ordering,
        _: Ordering,
    ) -> Result<u64, u64> {
        let found = self.0.load(Ordering::Relaxed);
        if found != seen {
            return Err(found);
        }
        self.0.store(next, Ordering::Relaxed);
        Ok(found)
    }
}
