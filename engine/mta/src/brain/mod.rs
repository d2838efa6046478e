//! The slow half of the engine's decisions: one `policy::brain::Brain` on the control runtime. Shards tell it what has
//! happened, in batches; it answers with tables that shards read without a lock, and with orders that are carried out here.

mod changed;
mod file;
mod halts;
mod orders;
mod task;
mod told;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mail::{CampaignId, UnixMs};
use policy::brain::{Brain, Setup, Tables};
use policy::canary::Gates;
use policy::config::Config;
use policy::lease::Budgets;
use policy::pace::{BudgetKey, Learned};
use policy::standing::Standings;
use policy::tally::{Counts, TallyKey};
use rustc_hash::FxHashMap;

use crate::decisions::Decisions;
use crate::io::{self, Receiver, Sender};
use crate::quotas::Quotas;
use crate::shard::Outlooks;
use crate::shared::Shared;

pub(crate) use changed::{Changed, clipped};
pub(crate) use file::LearnedBudget;
pub(crate) use halts::{Halt, Halts};
pub(crate) use task::{keep, save, write};

/// What shards may have told that the brain has not heard yet: each shard tells a few times a second.
const INBOX_MAX: usize = 4096;

/// What the brain is told.
pub(crate) enum ToBrain {
    /// What has happened on a shard since it told last.
    Happened(Vec<(TallyKey, Counts)>),
    /// A receiver refuses everything from a source for a while.
    Burnt { source: u16, provider: u16, rest: Duration, said: String },
    /// A receiver takes less from a sender, whatever the source.
    IdentitySlow { identity: u32, provider: u16 },
    /// Somebody has let a campaign go on that the brain had stopped.
    ResumedCampaign(CampaignId),
    /// The same of an account, by its number.
    ResumedTenant(u32),
    /// The domain of a sender, by its number.
    Met(u32, Box<str>),
    /// A pacer has changed its limits.
    Changed(Box<Changed>),
}

/// What the rest of the engine has of the brain.
pub(crate) struct BrainRoom {
    pub(crate) standings: Arc<Standings>,
    pub(crate) gates: Arc<Gates>,
    /// What identities may send to providers, all sources and shards together.
    pub(crate) identities: Arc<Budgets>,
    pub(crate) halts: Halts,
    /// What accounts may hand over.
    pub(crate) quotas: Quotas,
    pub(crate) decisions: Decisions,
    /// What paths look like to those who want to know when mail would arrive.
    pub(crate) outlooks: Outlooks,
    /// The domains of senders by their numbers, for people.
    senders: Mutex<FxHashMap<u32, Box<str>>>,
    inbox: Sender<ToBrain>,
    /// Touched on the control runtime only.
    brain: Mutex<Brain>,
    /// What budgets have learned, as it was written last; shards look when they meet a receiver for the first time.
    budgets: ArcSwap<file::Budgets>,
    /// Held by whoever writes the file.
    writing: Mutex<()>,
    path: PathBuf,
    /// What was told and found no room.
    lost: AtomicU64,
}

/// Where the brain hears.
pub(crate) struct Ears(Receiver<ToBrain>);

impl BrainRoom {
    /// The brain of an engine with this configuration, with what the file in its data directory says.
    pub(crate) fn open(config: &Config, shards: usize, now: UnixMs) -> (Self, Ears) {
        let path = config.node.data_dir.join(file::NAME);
        let saved = file::read(&path, config);
        let setup = Setup::of(config);
        let tables = Tables::of(&setup);
        let (standings, gates) = (Arc::clone(&tables.standings), Arc::clone(&tables.gates));
        let identities = Arc::clone(&tables.budgets);
        let brain = match &saved.brain {
            Some(brain) => Brain::restored(setup, tables, brain, now),
            None => Brain::new(setup, tables, now),
        };
        let (inbox, ears) = io::mailbox(INBOX_MAX);
        let room = Self {
            standings,
            gates,
            identities,
            halts: Halts::restored(saved.halts),
            quotas: Quotas::restored(config, &saved.quotas),
            decisions: Decisions::new(now),
            outlooks: Outlooks::new(shards),
            senders: Mutex::default(),
            inbox,
            brain: Mutex::new(brain),
            budgets: ArcSwap::from_pointee(saved.budgets),
            writing: Mutex::new(()),
            path,
            lost: AtomicU64::new(0),
        };
        (room, Ears(ears))
    }

    /// Tells the brain something, from any thread, without waiting; gives it back when there is no room.
    pub(crate) fn tell(&self, what: ToBrain) -> Result<(), ToBrain> {
        self.inbox.try_send(what).inspect_err(|_| {
            self.lost.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// What a budget had learned when it was kept last: before the engine was started, or before the shard forgot it.
    pub(crate) fn learned(&self, key: BudgetKey) -> Option<Learned> {
        self.budgets.load().get(&key).copied()
    }

    /// The brain itself; on the control runtime only.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Brain> {
        // A panic of the brain ends its task's tick; what it knows is still its best knowledge.
        self.brain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Names of a source and a provider.
    pub(crate) fn names(&self, source: u16, provider: u16) -> (String, String) {
        let provider = policy::provider::ProviderIndex(provider);
        (self.sources.get(source).name.clone(), self.config.providers[provider].name.clone())
    }
}
