//! Skeleton of the log: signatures first.
#![allow(clippy::unimplemented, unused_variables, missing_docs, reason = "signatures land before the bodies")]
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mail::{CampaignId, Class, Ledger, MessageId, Outcome, RecipientId, RecordId, UnixMs};

use crate::{CampaignState, Content, Durable, Position, Reader, Recipient, SpoolError, SyncTarget};

/// Whether a record must survive a power cut before it is called durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Durable is what fdatasync has confirmed.
    #[default]
    Disk,
    /// Durable is what the page cache holds: a crash of the process loses nothing, a power cut does.
    Memory,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment; a record must fit into one.
    pub segment_bytes: u64,
    /// What durable means.
    pub durability: Durability,
}

impl Default for Options {
    /// 256 MiB (a few seconds of full load, so that reclaim is prompt and the files are few), on disk.
    fn default() -> Self {
        Self { segment_bytes: 256 << 20, durability: Durability::Disk }
    }
}

/// Keeps a data directory to one engine; released when dropped.
#[derive(Debug)]
pub struct SpoolLock {}
impl SpoolLock {
    /// Locks `data_dir/lock`.
    pub fn acquire(data_dir: &Path) -> Result<Self, SpoolError> {
        unimplemented!()
    }
}

/// Free bytes for this user on the file system of `path`.
pub fn free_bytes(path: &Path) -> Result<u64, SpoolError> {
    unimplemented!()
}

/// One recipient that waits, as recovery found it.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: RecipientId,
    pub content: MessageId,
    pub attempts: u16,
    /// After a deferral, in whole seconds.
    pub next_attempt: Option<UnixMs>,
    pub not_before: UnixMs,
    pub deadline: u32,
    pub expiry: u32,
    pub class: Class,
    pub campaign: Option<CampaignId>,
    pub tenant: Arc<str>,
    /// Its record or its content cannot be read: give it a final outcome.
    pub damaged: bool,
}

/// A stretch of a log that recovery could not believe.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The record, by the position at which it stood.
    pub id: RecordId,
    pub bytes: u64,
    pub what: String,
    /// Where the bytes were copied to.
    pub kept_in: Option<PathBuf>,
}

/// What recovery found. The waiting recipients are read by [`Log::waiting`].
#[derive(Clone, Debug)]
pub struct Recovered {
    pub ledger: Ledger,
    pub waiting: u64,
    pub campaigns: Vec<CampaignState>,
    pub damage: Vec<Damage>,
}

/// What one step of reclaim did.
#[derive(Clone, Debug, Default)]
pub struct Reclaimed {
    pub carried: u64,
    pub carried_bytes: u64,
    pub dropped_segments: u64,
}

/// The log of one shard.
#[derive(Debug)]
pub struct Log {}
impl Log {
    /// Opens `<data_dir>/spool/<shard>/`, recovers it, and begins a new segment.
    pub fn open(data_dir: &Path, shard: u8, options: Options) -> Result<(Self, Recovered), SpoolError> {
        unimplemented!()
    }
    /// The recipients that wait, in the order of their records.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting> + '_ {
        std::iter::empty()
    }
    /// Appends a message with all its recipients: all or nothing. `Recipient::content` is filled in.
    pub fn append_message(&mut self, content: &Content, body: &[u8], recipients: &[Recipient], ids: &mut Vec<RecipientId>) -> Result<MessageId, SpoolError> {
        unimplemented!()
    }
    pub fn append_content(&mut self, content: &Content, body: &[u8]) -> Result<MessageId, SpoolError> {
        unimplemented!()
    }
    pub fn append_recipient(&mut self, recipient: &Recipient) -> Result<RecipientId, SpoolError> {
        unimplemented!()
    }
    pub fn append_outcome(&mut self, recipient: RecipientId, outcome: &Outcome) -> Result<Position, SpoolError> {
        unimplemented!()
    }
    pub fn append_campaign_state(&mut self, state: &CampaignState) -> Result<Position, SpoolError> {
        unimplemented!()
    }
    /// One write of everything appended.
    pub fn flush(&mut self) -> Result<Position, SpoolError> {
        unimplemented!()
    }
    /// What to fdatasync now; `None` when everything flushed is synced, a sync is under way, or the log is closed.
    pub fn sync_target(&mut self) -> Option<SyncTarget> {
        unimplemented!()
    }
    pub fn synced(&mut self, target: SyncTarget) {
        unimplemented!()
    }
    pub fn sync_failed(&mut self, target: SyncTarget, error: &io::Error) {
        unimplemented!()
    }
    /// Flushes and syncs here and now, blocking.
    pub fn commit(&mut self) -> Result<Durable, SpoolError> {
        unimplemented!()
    }
    /// The proof for everything before `position`, once it is synced.
    pub fn durable(&self, position: Position) -> Option<Durable> {
        unimplemented!()
    }
    /// The end of what was appended.
    pub fn appended(&self) -> Position {
        unimplemented!()
    }
    pub fn ledger(&self) -> Ledger {
        unimplemented!()
    }
    pub fn campaigns(&self) -> Vec<CampaignState> {
        unimplemented!()
    }
    /// Why nothing more is appended; `None` while the log takes records.
    pub fn closed(&self) -> Option<&str> {
        unimplemented!()
    }
    /// The largest body that one record takes.
    pub fn body_bytes_max(&self) -> u64 {
        unimplemented!()
    }
    pub fn reader(&self) -> Reader {
        unimplemented!()
    }
    /// Frees the oldest segment, carrying at most about `budget_bytes` of live records forward.
    pub fn reclaim_step(&mut self, budget_bytes: u64) -> Result<Reclaimed, SpoolError> {
        unimplemented!()
    }
    /// Whether reclaim may write more in order to free space sooner.
    pub fn set_disk_low(&mut self, low: bool) {
        unimplemented!()
    }
}
