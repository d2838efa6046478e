//! Atomics with two mistakes: fences do nothing, and counts are relaxed whatever is asked for.

pub(super) use crossbeam::utils::CachePadded;
pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};

pub(super) use crate::atomics::{AtomicBool, AtomicWaker};

pub(super) fn fence(_: Ordering) {}

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
}
