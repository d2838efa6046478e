//! What this shard's paths look like to somebody who wants to know when a message would arrive. It is published for all
//! threads when somebody asks and the last one is old; nobody who delivers waits for it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mail::{Class, TlsWish, UnixMs};
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
