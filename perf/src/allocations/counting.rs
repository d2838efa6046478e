//! The allocator of the engine with counters in front of it, one set for each thread: the only file of this program with
//! `unsafe`. It changes nothing about where memory comes from, and never allocates for itself.
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait; every call is handed on as it came")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use mimalloc::MiMalloc;

use crate::sites;

/// Threads that are counted apart: shards, control and event store, and what a run begins and ends. Those beyond share
/// the last set.
const THREADS_MAX: usize = 512;

static ROWS: [Row; THREADS_MAX] = [const { Row::new() }; THREADS_MAX];
/// Sets that are given to threads.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Every so manieth allocation of a thread is kept with its stack; 0 for none.
static EVERY: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Without destructors and with constant values: using them allocates nothing.
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    static SINCE_SAMPLE: Cell<u64> = const { Cell::new(0) };
    /// The thread keeps a stack: what that allocates is not the engine's.
    static IS_SAMPLING: Cell<bool> = const { Cell::new(false) };
}

/// What one thread has done; padded so that no two threads write to one line of the cache.
#[repr(align(128))]
struct Row {
    thread: AtomicI32,
    allocations: AtomicU64,
    frees: AtomicU64,
    reallocations: AtomicU64,
    bytes: AtomicU64,
}

/// Calls of the allocator. `bytes` are those asked for by allocations, and by reallocations beyond what was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    pub(crate) reallocations: u64,
    pub(crate) bytes: u64,
}

/// The engine's allocator, counted.
pub(crate) struct Counting;

impl Row {
    const fn new() -> Self {
        Self {
            thread: AtomicI32::new(0),
            allocations: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            reallocations: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            allocations: self.allocations.load(Ordering::Relaxed),
            frees: self.frees.load(Ordering::Relaxed),
            reallocations: self.reallocations.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            frees: self.frees - before.frees,
            reallocations: self.reallocations - before.reallocations,
            bytes: self.bytes - before.bytes,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.allocations += more.allocations;
        self.frees += more.frees;
        self.reallocations += more.reallocations;
        self.bytes += more.bytes;
    }
}

/// What each thread has done so far, by its number in the kernel.
pub(crate) fn by_thread() -> BTreeMap<i32, Counts> {
    let taken = TAKEN.load(Ordering::Acquire).min(THREADS_MAX);
    let mut found = BTreeMap::<i32, Counts>::new();
    for row in &ROWS[..taken] {
        *found.entry(row.thread.load(Ordering::Relaxed)).or_default() += row.counts();
    }
    found
}

/// Keeps the stack of every so manieth allocation from now on; 0 for none.
pub(crate) fn sample_every(allocations: u64) {
    EVERY.store(allocations, Ordering::Relaxed);
}

/// The set of this thread; none while it keeps a stack, or ends.
fn mine() -> Option<&'static Row> {
    if IS_SAMPLING.try_with(Cell::get).unwrap_or(true) {
        return None;
    }
    let index = MINE.try_with(|mine| {
        if mine.get() == usize::MAX {
            let index = TAKEN.fetch_add(1, Ordering::AcqRel).min(THREADS_MAX - 1);
            ROWS[index].thread.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
            mine.set(index);
        }
        mine.get()
    });
    index.ok().map(|index| &ROWS[index])
}

fn allocated(bytes: usize, count: impl FnOnce(&Row) -> &AtomicU64) {
    let Some(row) = mine() else { return };
    count(row).fetch_add(1, Ordering::Relaxed);
    row.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    let every = EVERY.load(Ordering::Relaxed);
    if every == 0 {
        return;
    }
    let since = SINCE_SAMPLE.with(|since| since.replace((since.get() + 1) % every));
    if since == 0 {
        IS_SAMPLING.set(true);
        sites::keep(row.thread.load(Ordering::Relaxed), bytes);
        IS_SAMPLING.set(false);
    }
}

// SAFETY: memory comes from and goes to mimalloc, with the arguments of the caller, whose duties are those of the same
// function there. The counters touch none of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size(), |row| &row.allocations);
        // SAFETY: the caller's duties are the same.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size(), |row| &row.allocations);
        // SAFETY: the caller's duties are the same.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if let Some(row) = mine() {
            row.frees.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's duties are the same, and `place` came from mimalloc.
        unsafe { MiMalloc.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        allocated(size.saturating_sub(layout.size()), |row| &row.reallocations);
        // SAFETY: the caller's duties are the same, and `place` came from mimalloc.
        unsafe { MiMalloc.realloc(place, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_charged_with_what_it_does() {
        let done = std::thread::spawn(|| {
            let me = rustix::thread::gettid().as_raw_nonzero().get();
            let before = by_thread().get(&me).copied().unwrap_or_default();
            let mut text: Vec<u8> = Vec::with_capacity(100);
            text.reserve_exact(1_000);
            drop(std::hint::black_box(text));
            // Read before the map is made, which allocates too.
            ROWS[MINE.get()].counts() - before
        });
        let counts = done.join().expect("it ends");
        // The map of `before` was made and dropped meanwhile as well.
        assert!(counts.allocations >= 1 && counts.reallocations >= 1 && counts.frees >= 1, "{counts:?}");
        assert!(counts.bytes >= 1_000, "{counts:?}");
    }
}
