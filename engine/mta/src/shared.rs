//! What all threads of the engine share: read-only maps, rings and counters. Nothing in it is locked on the message path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use mail::Ledger;
use policy::config::Config;

use crate::Refusal;
use crate::campaigns::Campaigns;
use crate::clock::Clock;
use crate::control::destination::Destinations;
use crate::counters::{Counters, ShardCounters};
use crate::io::Sender;
use crate::shard::{LedgerBook, Recordings, ToShard};
use crate::signing::Signing;
use crate::sources::Sources;

/// Shared by all shards and the control runtime.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) host_name: String,
    pub(crate) clock: Clock,
    /// The ring of each shard.
    pub(crate) shards: Vec<Sender<ToShard>>,
    /// The log of each shard, for reading.
    pub(crate) readers: Vec<spool::Reader>,
    pub(crate) books: Vec<Arc<LedgerBook>>,
    pub(crate) counters: Vec<Arc<ShardCounters>>,
    pub(crate) campaigns: Campaigns,
    pub(crate) sources: Sources,
    pub(crate) signing: Signing,
    pub(crate) destinations: Destinations,
    /// The control runtime, on which look-ups run.
    pub(crate) control: tokio::runtime::Handle,
    pub(crate) recordings: Recordings,
    pub(crate) stopping: AtomicBool,
    /// Why accept refuses, while the disk is nearly full.
    pub(crate) no_room: ArcSwapOption<String>,
}

impl Shared {
    /// Whether a submission may be taken now.
    pub(crate) fn gate(&self) -> Result<(), Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Stopping);
        }
        match self.no_room.load().as_deref() {
            Some(why) => Err(Refusal::NoRoom(why.clone())),
            None => Ok(()),
        }
    }

    /// The books of all shards together.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        self.books.iter().for_each(|book| sum += book.read());
        sum
    }

    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.counters.iter().for_each(|shard| sum.add(shard));
        sum
    }

    /// The shard that works the paths of a source and provider: they share limits, so they live together.
    pub(crate) fn shard_of(&self, source: u16, provider: u16) -> usize {
        let mixed = (u64::from(source) << 16 | u64::from(provider)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize % self.shards.len()
    }
}
