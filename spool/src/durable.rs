//! Positions in a log and the proof that what lies before one is on disk. Only the log mints that proof.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use mail::RecordId;

/// The end of something appended: all bytes of the log before it. Positions grow for the life of the log and are
/// never used twice, also across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub(crate) u64);

impl Position {
    /// The byte offset from the beginning of the log.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Proof that everything before a position survives a power cut (or, with `Durability::Memory`, a crash of the
/// process). Whoever says 250 must show one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    shard: u8,
    upto: Position,
}

impl Durable {
    pub(crate) const fn new(shard: u8, upto: Position) -> Self {
        Self { shard, upto }
    }

    /// The position up to which the proof holds.
    #[must_use]
    pub const fn upto(self) -> Position {
        self.upto
    }

    /// Whether the record `id` is covered. Only for records of the log that minted the proof and that were appended
    /// before it was asked for.
    #[must_use]
    pub const fn covers(self, id: RecordId) -> bool {
        id.shard() == self.shard && id.position() < self.upto.0
    }
}

/// What must be synced next: hand each of [`SyncTarget::files`] to `fdatasync`, then give the target back by
/// `Log::synced` when all succeeded or by `Log::sync_failed` when one did not. While a target is out, the log gives
/// no other; a target that is dropped instead is never replaced, so nothing more becomes durable.
#[derive(Debug)]
#[must_use = "a target that is dropped stops the log from ever becoming durable again"]
pub struct SyncTarget {
    pub(crate) files: Vec<Arc<File>>,
    pub(crate) upto: Position,
    /// Which failures came before it.
    pub(crate) epoch: u64,
}

impl SyncTarget {
    /// The files, oldest first; the last one is the segment being written. There is one unless a segment was
    /// filled since the last sync.
    #[must_use]
    pub fn files(&self) -> &[Arc<File>] {
        &self.files
    }

    /// What will be durable then.
    #[must_use]
    pub const fn upto(&self) -> Position {
        self.upto
    }
}
