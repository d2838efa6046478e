//! What all threads of the engine share: read-only maps, rings and counters. Nothing in it is locked on the message path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use mail::Ledger;
use policy::config::Config;

use crate::Refusal;
use crate::brain::BrainRoom;
use crate::campaigns::Campaigns;
use crate::classification::Classifier;
use crate::clock::Clock;
use crate::control::destination::{Destination, Destinations};
use crate::counters::{Counters, ShardCounters};
use crate::holds::Holds;
use crate::io::Sender;
use crate::shard::{LedgerBook, Recordings, ToShard, Written, tenant_number};
use crate::signing::Signing;
use crate::sources::Sources;
use crate::tls_report::TlsReports;

/// Shared by all shards and the control runtime.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) host_name: String,
    pub(crate) clock: Clock,
    /// The ring of each shard.
    pub(crate) shards: Vec<Sender<ToShard>>,
    /// The log of each shard, for reading.
    pub(crate) readers: Vec<spool::Reader>,
    pub(crate) counting: Counting,
    pub(crate) campaigns: Campaigns,
    pub(crate) sources: Sources,
    pub(crate) brain: BrainRoom,
    pub(crate) signing: Signing,
    pub(crate) destinations: Destinations,
    /// The control runtime, on which look-ups run.
    pub(crate) control: tokio::runtime::Handle,
    pub(crate) recordings: Recordings,
    pub(crate) written: Written,
    pub(crate) condition: Condition,
}

/// What is counted of the engine's work.
pub(crate) struct Counting {
    /// By each shard.
    pub(crate) shards: Vec<Arc<ShardCounters>>,
    /// The ledger of each shard.
    pub(crate) books: Vec<Arc<LedgerBook>>,
    /// How sessions with receivers were protected.
    pub(crate) tls_reports: TlsReports,
    /// What kind of mail it is, and whether it says the same to many.
    pub(crate) classifier: Classifier,
}

/// What holds for the whole engine at a moment.
#[derive(Default)]
pub(crate) struct Condition {
    /// Whether old segments may be dropped: not before the readers of the ledger hold what they have not read.
    pub(crate) reclaiming: AtomicBool,
    pub(crate) stopping: AtomicBool,
    /// Nothing is sent before the operator says so: the spool was restored from a copy.
    pub(crate) holding: AtomicBool,
    /// Senders whose mail waits because a receiver refuses it by a fault of our own.
    pub(crate) holds: Holds,
    /// Why accept refuses, while the disk is nearly full.
    pub(crate) no_room: ArcSwapOption<String>,
    /// Why accept refuses, while too many recipients wait.
    pub(crate) full: ArcSwapOption<String>,
}

impl Shared {
    /// Whether a submission may be taken now.
    pub(crate) fn gate(&self) -> Result<(), Refusal> {
        if self.condition.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Stopping);
        }
        if let Some(why) = self.condition.no_room.load().as_deref() {
            return Err(Refusal::NoRoom(why.clone()));
        }
        match self.condition.full.load().as_deref() {
            Some(why) => Err(Refusal::Full(why.clone())),
            None => Ok(()),
        }
    }

    /// Whether nothing may be sent yet.
    pub(crate) fn is_holding(&self) -> bool {
        self.condition.holding.load(Ordering::Acquire)
    }

    /// The books of all shards together.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        self.counting.books.iter().for_each(|book| sum += book.read());
        sum
    }

    /// The name of the account that the queue knows by its number.
    pub(crate) fn account_name(&self, tenant: u32) -> String {
        let accounts = self.config.accounts.iter();
        let mut named = accounts.filter(|account| tenant_number(&account.name) == tenant);
        named.next().map(|account| account.name.clone()).unwrap_or_default()
    }

    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.counting.shards.iter().for_each(|shard| sum.add(shard));
        // Classes are decided also where there is no shard.
        sum.class_newsletter_in_transactional += self.counting.classifier.newsletters();
        sum.class_bulk_without_unsubscribe += self.counting.classifier.without_unsubscribe();
        sum
    }

    /// The shard that works a path. Paths of one source and provider share limits, so they live together; receivers that
    /// nothing is known about share only a name, so they are spread.
    pub(crate) fn shard_of(&self, source: u16, destination: &Destination) -> usize {
        let apart = if destination.is_alone() { destination.site } else { 0 };
        let key = (u64::from(source) << 16 | u64::from(destination.provider.0)) ^ apart;
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize % self.shards.len()
    }
}
