//! What this shard's paths look like to somebody who wants to know when a message would arrive. It is published for all
//! threads when somebody asks and the last one is old; nobody who delivers waits for it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mail::{CampaignId, Class, TlsWish, UnixMs};
use policy::forecast::PathState;
use queue::PathKey;
use rustc_hash::FxHashMap;

use super::Shard;

/// An outlook is good for so long.
const FRESH: Duration = Duration::from_millis(500);

/// The paths of one shard at a moment.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    at: UnixMs,
    paths: FxHashMap<PathKey, PathState>,
}

/// The outlooks of all shards.
#[derive(Debug)]
pub(crate) struct Outlooks(Vec<ArcSwap<Outlook>>);

/// A message to be, as far as its way depends on it.
#[derive(Clone, Debug)]
pub(crate) struct Prospect {
    pub(crate) identity: String,
    /// The number of its account.
    pub(crate) tenant: u32,
    pub(crate) class: Class,
    pub(crate) wish: TlsWish,
}

/// Whose limits hold for what waits: a source and a provider, and the site where it stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Strand {
    pub(crate) source: u16,
    pub(crate) provider: u16,
    pub(crate) site: Option<u64>,
}

/// What waits of a campaign on one shard.
#[derive(Debug, Default)]
pub(crate) struct CampaignOutlook {
    /// On paths: what they look like, and how many of the class have gone when its last has.
    pub(crate) strands: Vec<(Strand, PathState, u64)>,
    /// Held by its canary for a provider, or with the whole campaign.
    pub(crate) held: Vec<(Option<u16>, u64)>,
    /// How many wait for their time, and until when at the latest.
    pub(crate) scheduled: u64,
    pub(crate) latest: Option<UnixMs>,
}

/// Where mail would go: the path, and the shard that works it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) key: PathKey,
    pub(crate) shard: usize,
}

impl Outlooks {
    pub(crate) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| ArcSwap::default()).collect())
    }

    /// What was published last by a shard, if it is not too old.
    pub(crate) fn fresh(&self, shard: usize, now: UnixMs) -> Option<Arc<Outlook>> {
        let outlook = self.0.get(shard)?.load_full();
        (now.since(outlook.at) < FRESH).then_some(outlook)
    }
}

impl Outlook {
    /// The path, or an idle one when nothing was sent there lately.
    pub(crate) fn path(&self, key: PathKey) -> PathState {
        self.paths.get(&key).copied().unwrap_or_default()
    }
}

impl Shard {
    /// Publishes what this shard's paths look like now.
    pub(crate) fn publish_outlook(&self) -> Arc<Outlook> {
        let mut paths = FxHashMap::default();
        for pool in self.pools.all() {
            if let Some(state) = self.state_of(pool.path) {
                paths.insert(pool.key, state);
            }
        }
        let outlook = Arc::new(Outlook { at: self.now(), paths });
        if let Some(place) = self.shared.brain.outlooks.0.get(usize::from(self.index)) {
            place.store(Arc::clone(&outlook));
        }
        outlook
    }

    /// What waits of a campaign here.
    pub(crate) fn campaign_outlook(&self, id: CampaignId) -> CampaignOutlook {
        let waits = self.queue.borrow().campaign_waits(id);
        let mut until_last: FxHashMap<Strand, u64> = FxHashMap::default();
        for line in &waits.lines {
            if let Some(pool) = self.pools.get(line.path) {
                let PathKey { source, provider, site } = pool.key;
                let site = pool.destination().is_alone().then_some(site);
                *until_last.entry(Strand { source, provider, site }).or_default() += line.until_last;
            }
        }
        let looked = |(strand, count): (Strand, u64)| Some((strand, self.strand(strand)?, count));
        CampaignOutlook {
            strands: until_last.into_iter().filter_map(looked).collect(),
            held: waits.held,
            scheduled: waits.scheduled,
            latest: waits.latest,
        }
    }

    /// What the paths look like together that share limits; `None` when there is none here.
    pub(crate) fn strand(&self, strand: Strand) -> Option<PathState> {
        let paths = self.queue.borrow().paths_of(strand.source, strand.provider);
        let keys = paths.into_iter().filter_map(|path| self.pools.get(path));
        let meant = keys.filter(|pool| strand.site.is_none_or(|site| site == pool.key.site));
        let states = meant.filter_map(|pool| self.state_of(pool.path));
        states.reduce(|sum, one| PathState {
            ready: std::array::from_fn(|class| sum.ready[class] + one.ready[class]),
            connections: sum.connections + one.connections,
            transaction_ms: sum.transaction_ms.max(one.transaction_ms),
            // The first that may go on shows how the rest does.
            rests: sum.rests.min(one.rests),
            ..sum
        })
    }

    /// Where mail for each of `domains` would go; `None` where this shard does not know the domain.
    pub(crate) fn ways(&self, prospect: &Prospect, domains: &[Box<str>]) -> Vec<Option<Way>> {
        domains.iter().map(|domain| self.way(prospect, domain)).collect()
    }

    fn way(&self, prospect: &Prospect, domain: &str) -> Option<Way> {
        let destination = self.destination_of(domain, prospect.wish)?;
        let provider = &self.shared.config.providers[destination.provider].name;
        let source = self.shared.sources.usual(&prospect.identity, prospect.tenant, prospect.class, provider);
        let key = PathKey { source, provider: destination.provider.0, site: destination.site };
        Some(Way { key, shard: self.shared.shard_of(source, &destination) })
    }
}
