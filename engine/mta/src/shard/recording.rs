//! Whether the outcomes of each shard's recipients can be recorded. Nothing is delivered that could not be: it would be
//! delivered again after the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwapOption;

/// What a shard's log does with outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Recording {
    /// It takes them.
    Works,
    /// It has no room at the moment: its recipients wait.
    Waits,
    /// It takes nothing more until the next start, and neither do its recipients leave before.
    Ended,
}

/// The same of all shards. Only the shard itself writes its own.
#[derive(Debug)]
pub(crate) struct Recordings {
    states: Vec<AtomicU8>,
    /// Why a shard's log accepts nothing more.
    pub(crate) fault: ArcSwapOption<String>,
}

impl Recordings {
    pub(crate) fn new(shards: usize) -> Self {
        let states = (0..shards).map(|_| AtomicU8::new(Recording::Works as u8)).collect();
        Self { states, fault: ArcSwapOption::empty() }
    }

    pub(crate) fn of(&self, shard: u8) -> Recording {
        match self.states.get(usize::from(shard)).map(|state| state.load(Ordering::Acquire)) {
            Some(0) => Recording::Works,
            Some(1) => Recording::Waits,
            _ => Recording::Ended,
        }
    }

    /// Sets what a shard's log does; what has ended stays so.
    pub(crate) fn set(&self, shard: u8, recording: Recording) {
        if let Some(state) = self.states.get(usize::from(shard))
            && self.of(shard) != Recording::Ended
        {
            state.store(recording as u8, Ordering::Release);
        }
    }

    /// A shard's log takes nothing more.
    pub(crate) fn end(&self, shard: u8, why: &str) {
        self.set(shard, Recording::Ended);
        self.fault.store(Some(Arc::new(why.to_owned())));
    }

    /// Whether every log takes outcomes.
    pub(crate) fn all_work(&self) -> bool {
        self.states.iter().all(|state| state.load(Ordering::Acquire) == Recording::Works as u8)
    }
}
