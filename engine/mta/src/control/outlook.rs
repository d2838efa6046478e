//! When a message would arrive that is not there yet, for admission: by what its paths look like now.

use std::sync::Arc;

use mail::{Address, UnixMs};
use policy::forecast::PathState;

use super::Handle;
use crate::shard::{Outlook, Prospect, Way, tenant_number};
use crate::submission::SubmissionMeta;

impl Handle {
    /// When the message of `meta` would arrive at each of `recipients` if nothing changes; `None` where nobody can know,
    /// because its domain has not been looked up yet.
    pub async fn expected(&self, meta: &SubmissionMeta, recipients: &[&Address]) -> Vec<Option<UnixMs>> {
        let identity =
            meta.identity.clone().or_else(|| meta.sender.as_ref().map(|sender| sender.domain().to_owned()));
        let prospect = Prospect {
            identity: identity.unwrap_or_default(),
            tenant: tenant_number(&meta.tenant),
            class: meta.class,
            wish: meta.tls,
        };
        let mut domains: Vec<Box<str>> = recipients.iter().map(|address| address.domain().into()).collect();
        domains.sort_unstable();
        domains.dedup();
        let forecasts = self.forecasts(prospect, domains.clone()).await;
        let begins = meta.not_before.map_or(self.now(), |moment| moment.max(self.now()));
        let expected = |address: &&Address| {
            let place = domains.binary_search_by(|domain| domain.as_ref().cmp(address.domain())).ok()?;
            let state = forecasts.get(place)?.as_ref()?;
            Some(begins + state.expected(meta.class).arrives)
        };
        recipients.iter().map(expected).collect()
    }

    /// The deadline of a message: its own, or that of its class.
    #[must_use]
    pub fn deadline(&self, meta: &SubmissionMeta) -> Option<UnixMs> {
        let begins = meta.not_before.map_or(self.now(), |moment| moment.max(self.now()));
        meta.deadline.or_else(|| self.shared.config.class(meta.class).deadline.map(|after| begins + after))
    }

    async fn forecasts(&self, prospect: Prospect, domains: Vec<Box<str>>) -> Vec<Option<PathState>> {
        let find =
            move |shard: std::rc::Rc<crate::shard::Shard>| async move { shard.ways(&prospect, &domains) };
        let Ok(ways) = self.shared.ask(self.any_shard(), find).await else { return Vec::new() };
        let mut states = Vec::with_capacity(ways.len());
        for way in ways {
            states.push(match way {
                Some(way) => self.outlook(way).await.map(|outlook| outlook.path(way.key)),
                None => None,
            });
        }
        states
    }

    async fn outlook(&self, way: Way) -> Option<Arc<Outlook>> {
        if let Some(fresh) = self.shared.brain.outlooks.fresh(way.shard, self.now()) {
            return Some(fresh);
        }
        self.shared.ask(way.shard, |shard| async move { shard.publish_outlook() }).await.ok()
    }
}
