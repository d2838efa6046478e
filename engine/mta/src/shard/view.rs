//! What a shard shows of itself, and what the operator may ask of its paths.

use std::rc::Rc;

use mail::{RecipientId, UnixMs};
use queue::PathId;

use super::Shard;
use super::why::budget_view;
use crate::views::{Found, PathFilter, PathView, WaitingView, Why};

impl Shard {
    /// All paths of this shard.
    pub(crate) fn paths(&self) -> Vec<PathView> {
        let queue = self.queue.borrow();
        queue.paths().into_iter().map(|path| self.path_view(path)).collect()
    }

    pub(super) fn path_view(&self, path: queue::PathView) -> PathView {
        let (suspended_until, reason) = path.suspended.unzip();
        let now = self.now();
        let pool = self.pools.get(path.id);
        PathView {
            shard: self.index,
            source: self.shared.sources.get(path.key.source).name.clone(),
            provider: self.provider_name(path.key.provider),
            site: pool.as_ref().map(|pool| pool.destination().site_name()).unwrap_or_default(),
            budget: pool.map(|pool| budget_view(&pool, now)),
            ready: path.ready.map(u64::from),
            paused: u64::from(path.paused),
            oldest_ms: path.oldest.map_or(0, |since| now.since(since).as_millis() as u64),
            connections: path.connections,
            connections_max: path.limits.connections,
            rate: path.limits.rate.map(|rate| rate.to_string()),
            suspended_until,
            reason,
        }
    }

    fn provider_name(&self, index: u16) -> String {
        let provider = self.shared.config.providers.get(policy::provider::ProviderIndex(index));
        provider.map(|provider| provider.name.clone()).unwrap_or_default()
    }

    /// Recipients that wait here, by what they wait for.
    pub(crate) fn waiting(&self) -> WaitingView {
        let totals = self.queue.borrow().totals();
        WaitingView {
            scheduled: totals.scheduled,
            ready: totals.ready.iter().sum(),
            held: totals.held + totals.paused,
            resolving: self.routes.waiting(),
        }
    }

    /// Lets the paths that `filter` means rest; returns how many.
    pub(crate) fn suspend_paths(&self, filter: &PathFilter, until: UnixMs, reason: &str) -> usize {
        let meant = self.meant(filter);
        for &path in &meant {
            self.queue.borrow_mut().suspend(path, until, reason);
            if let Some(pool) = self.pools.get(path) {
                pool.rests_until(until);
            }
        }
        self.bells.earlier.notify_one();
        meant.len()
    }

    /// Ends the rest of the paths that `filter` means; returns how many.
    pub(crate) fn resume_paths(self: &Rc<Self>, filter: &PathFilter) -> usize {
        let meant = self.meant(filter);
        for &path in &meant {
            self.queue.borrow_mut().resume(path);
            if let Some(pool) = self.pools.get(path) {
                pool.resumed();
            }
        }
        self.dispatch_wanting();
        meant.len()
    }

    fn meant(&self, filter: &PathFilter) -> Vec<PathId> {
        let paths = self.queue.borrow().paths();
        paths
            .into_iter()
            .map(|path| (path.id, path))
            .filter(|(_, path)| filter.matches(&self.path_view(path.clone())))
            .map(|(id, _)| id)
            .collect()
    }
}

/// A recipient that no queue holds at this moment.
pub(crate) fn in_motion(id: RecipientId) -> String {
    format!("nothing: {id} is being delivered at this moment")
}

impl Why {
    /// Puts together what the record says and what the shards say.
    pub(crate) fn new(
        recipient: &spool::RecipientRef,
        content: &spool::ContentHead,
        found: Option<Found>,
    ) -> Self {
        let found = found.unwrap_or_else(|| Found::new("path.sending", in_motion(recipient.id())));
        Self {
            address: recipient.address().to_owned(),
            class: content.class(),
            found,
            since: content.accepted_at(),
            expires: UnixMs::from_seconds(u64::from(recipient.expiry())),
        }
    }
}
