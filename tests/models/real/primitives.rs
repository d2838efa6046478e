//! loom's atomics, as strong as is asked for.

pub(super) use crossbeam::utils::CachePadded;
pub(super) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

pub(super) use crate::atomics::{AtomicBool, AtomicWaker};
