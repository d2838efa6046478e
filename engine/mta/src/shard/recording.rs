//! Whether the outcomes of each shard's recipients can be recorded. Nothing is delivered that could not be: it would be
//! delivered again after the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwapOption;

/// What a shard's log does with outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Recording {
    /// It takes them, if only into memory.
    Works,
    /// It has no room at the moment: its recipients wait.
    Waits,
}

/// The same of all shards. Only the shard itself writes its own.
#[derive(Debug)]
pub(crate) struct Recordings(Vec<State>);

#[derive(Debug)]
struct State {
    recording: AtomicU8,
    /// Why the log can write nothing, while that is so.
    fault: ArcSwapOption<String>,
    /// Why it has no room for anything new, while that is so.
    no_room: ArcSwapOption<String>,
}

impl Recordings {
    pub(crate) fn new(shards: usize) -> Self {
        let state = || State {
            recording: AtomicU8::new(Recording::Works as u8),
            fault: ArcSwapOption::empty(),
            no_room: ArcSwapOption::empty(),
        };
        Self((0..shards).map(|_| state()).collect())
    }

    pub(crate) fn of(&self, shard: u8) -> Recording {
        match self.0.get(usize::from(shard)).map(|state| state.recording.load(Ordering::Acquire)) {
            Some(0) => Recording::Works,
            _ => Recording::Waits,
        }
    }

    /// Sets what a shard's log does.
    pub(crate) fn set(&self, shard: u8, recording: Recording) {
        if let Some(state) = self.0.get(usize::from(shard)) {
            state.recording.store(recording as u8, Ordering::Release);
        }
    }

    /// Whether every log takes outcomes.
    pub(crate) fn all_work(&self) -> bool {
        self.0.iter().all(|state| state.recording.load(Ordering::Acquire) == Recording::Works as u8)
    }

    /// Why a shard's log can write nothing; `None` when it can.
    pub(crate) fn set_fault(&self, shard: u8, why: Option<&str>) {
        if let Some(state) = self.0.get(usize::from(shard)) {
            state.fault.store(why.map(|why| Arc::new(why.to_owned())));
        }
    }

    /// Why a shard's log has no room for anything new; `None` when it has.
    pub(crate) fn set_no_room(&self, shard: u8, why: Option<&str>) {
        if let Some(state) = self.0.get(usize::from(shard)) {
            state.no_room.store(why.map(|why| Arc::new(why.to_owned())));
        }
    }

    /// Whether a shard's log can write nothing.
    pub(crate) fn is_failing(&self, shard: u8) -> bool {
        self.0.get(usize::from(shard)).is_some_and(|state| state.fault.load().is_some())
    }

    /// Why a shard's log accepts nothing, while that is so.
    pub(crate) fn fault_of(&self, shard: usize) -> Option<Arc<String>> {
        let state = self.0.get(shard)?;
        state.fault.load_full().or_else(|| state.no_room.load_full())
    }

    /// The first shard whose log accepts nothing, and why.
    pub(crate) fn fault(&self) -> Option<(usize, Arc<String>)> {
        (0..self.0.len()).find_map(|shard| Some((shard, self.fault_of(shard)?)))
    }
}
