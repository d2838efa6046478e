//! What a shard shows of itself, and what the operator may ask of its paths.

use std::rc::Rc;

use mail::{RecipientId, UnixMs};
use queue::{PathId, Place};

use super::Shard;
use super::due::domain_of;
use crate::views::{PathFilter, PathView, WaitingView, Why};

impl Shard {
    /// All paths of this shard.
    pub(crate) fn paths(&self) -> Vec<PathView> {
        let queue = self.queue.borrow();
        queue.paths().into_iter().map(|path| self.path_view(path)).collect()
    }

    fn path_view(&self, path: queue::PathView) -> PathView {
        let (suspended_until, reason) = path.suspended.unzip();
        let now = self.now();
        PathView {
            shard: self.index,
            source: self.shared.sources.get(path.key.source).name.clone(),
            provider: self.provider_name(path.key.provider),
            site: self.pools.get(path.id).map(|pool| pool.destination().site_name()).unwrap_or_default(),
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

    /// What a recipient of this shard's log waits for, as far as this shard knows; `None` when it is not here: it is on
    /// its way between shards, or under way to its receiver.
    pub(crate) fn explain(&self, id: RecipientId) -> Option<(String, Option<UnixMs>, Option<PathView>)> {
        let place = self.queue.borrow().find(id);
        let Some(place) = place else { return self.explain_resolving(id) };
        Some(match place {
            Place::Scheduled { due } => (self.why_scheduled(id), Some(due), None),
            Place::Held { campaign, .. } => {
                let phase = self.campaign(campaign).map_or("unknown", |campaign| campaign.phase().name());
                (format!("its campaign {campaign} is {phase}: start or resume it"), None, None)
            }
            Place::Ready { path, .. } => {
                let view = self.queue.borrow().path_view(path).map(|path| self.path_view(path));
                let (words, until) = view.as_ref().map_or_else(|| ("its path".to_owned(), None), why_ready);
                (words, until, view)
            }
        })
    }

    fn explain_resolving(&self, id: RecipientId) -> Option<(String, Option<UnixMs>, Option<PathView>)> {
        let recipient = self.shared.readers[usize::from(self.index)].recipient(id).ok()?;
        let domain = domain_of(recipient.address());
        let waits = self.routes.asks_for(id, domain);
        waits.then(|| (format!("the answer of the DNS about {domain}"), None, None))
    }

    fn why_scheduled(&self, id: RecipientId) -> String {
        let reader = &self.shared.readers[usize::from(id.0.shard())];
        if self.shared.is_holding() {
            return "`staffetta queue release`: the spool was restored from a copy".to_owned();
        }
        let recipient = reader.recipient(id);
        if let Ok(recipient) = &recipient
            && let Ok(content) = reader.content_head(recipient.content())
            && let Some(hold) = self.hold_on(content.identity(), domain_of(recipient.address()))
        {
            let identity = content.identity();
            return format!("mail of {identity} for this receiver is held, because it said: {}", hold.reply);
        }
        match recipient {
            Ok(recipient) if recipient.not_before() > self.now() => {
                "the time before which it must not be sent".to_owned()
            }
            _ => "its next attempt, by the retry schedule of its class".to_owned(),
        }
    }
}

fn why_ready(path: &PathView) -> (String, Option<UnixMs>) {
    let waiting: u64 = path.ready.iter().sum();
    let name = format!("path {} from source {} to {}", path.provider, path.source, path.site);
    match (&path.reason, path.suspended_until, &path.rate) {
        (Some(reason), until @ Some(_), _) => (format!("{name}, which rests: {reason}"), until),
        (_, _, Some(rate)) => (
            format!(
                "its turn among {waiting} on {name}, limited to {rate} and {} connections",
                path.connections_max
            ),
            None,
        ),
        _ => (
            format!(
                "its turn among {waiting} on {name}, with {} of {} connections open",
                path.connections, path.connections_max
            ),
            None,
        ),
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
        found: Option<(String, Option<UnixMs>, Option<PathView>)>,
    ) -> Self {
        let (waits_for, until, path) = found.unwrap_or_else(|| (in_motion(recipient.id()), None, None));
        Self {
            address: recipient.address().to_owned(),
            class: content.class(),
            waits_for,
            since: content.accepted_at(),
            until,
            expires: UnixMs::from_seconds(u64::from(recipient.expiry())),
            path,
        }
    }
}
