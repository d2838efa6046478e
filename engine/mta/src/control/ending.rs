//! When a campaign ends, by where its recipients wait now. It refuses to guess what no queue says: then nobody knows.

use content::Mailbox;
use mail::{CampaignId, UnixMs};
use policy::forecast::{LONGEST, PathState, campaign_ends};
use spool::CampaignPhase;

use super::Handle;
use crate::campaigns::Campaign;
use crate::shard::{CampaignOutlook, Strand, tenant_number};

impl Handle {
    /// When the last waiting recipient of a running campaign arrives if nothing changes: those on paths in their turn, those
    /// whom the canary holds as if they might go now, those that wait for their time behind the latest such moment, and not before
    /// they could at `rate`, final outcomes a second of late. `None` when it does not run or nobody can know.
    pub async fn campaign_ends(&self, id: CampaignId, rate: f64) -> Option<UnixMs> {
        let campaign = self.campaign(id).filter(|campaign| campaign.phase() == CampaignPhase::Running)?;
        let outlooks = self.shared.of_all(move |shard| shard.campaign_outlook(id)).await;
        let scheduled: u64 = outlooks.iter().map(|outlook| outlook.scheduled).sum();
        if self.shared.brain.halts.has_tenant(tenant_number(&campaign.tenant))
            || scheduled > 0 && self.waits_for_warm_up(&campaign)
        {
            return None;
        }
        let latest = outlooks.iter().filter_map(|outlook| outlook.latest).max();
        let mut strands: Vec<(Strand, PathState, u64)> = Vec::new();
        let mut held = Vec::new();
        for CampaignOutlook { strands: on_paths, held: lanes, .. } in outlooks {
            strands.extend(on_paths);
            held.extend(lanes);
        }
        for (provider, count) in held {
            self.add_held(&campaign, provider?, count, &mut strands).await;
        }
        let drained = campaign_ends(strands.iter().map(|(_, state, count)| (state, campaign.class, *count)));
        let at_rate = if scheduled > 0 && rate > 0.0 { scheduled as f64 / rate } else { 0.0 };
        let at_rate = std::time::Duration::try_from_secs_f64(at_rate).unwrap_or(LONGEST);
        let wait = drained.max(at_rate);
        let now = self.now();
        (wait < LONGEST).then(|| (now + wait).max(latest.unwrap_or(now)))
    }

    /// Whether the sources of a campaign have used up what warm-ups allow at some provider: then what waits may wait for days, and the
    /// ladder goes on by what becomes of it.
    fn waits_for_warm_up(&self, campaign: &Campaign) -> bool {
        let shared = &self.shared;
        let pool = shared.sources.of(tenant_number(&campaign.tenant), campaign.class);
        let is_used_up = |provider: u16| {
            let mut lefts = pool.main.iter().map(|one| shared.brain.standings.at(one.source, provider).left);
            !pool.main.is_empty() && lefts.all(|left| left == Some(0))
        };
        shared.config.providers.iter().any(|(provider, _)| is_used_up(provider.0))
    }

    /// Adds those whom the canary holds at a provider, behind all that waits on the path of the campaign's usual source.
    async fn add_held(
        &self,
        campaign: &Campaign,
        provider: u16,
        count: u64,
        strands: &mut Vec<(Strand, PathState, u64)>,
    ) {
        let behind = |state: &PathState| state.ready[campaign.class.index()] + count;
        let is_there = |(strand, ..): &&mut (Strand, PathState, u64)| strand.provider == provider;
        if let Some((_, state, until_last)) = strands.iter_mut().find(is_there) {
            *until_last = (*until_last).max(behind(state));
            return;
        }
        let name = &self.shared.config.providers[policy::provider::ProviderIndex(provider)].name;
        let identity = Mailbox::parse(&campaign.draft.from).map(|author| author.address.domain().to_owned());
        let (tenant, identity) = (tenant_number(&campaign.tenant), identity.unwrap_or_default());
        let source = self.shared.sources.usual(&identity, tenant, campaign.class, name);
        let strand = Strand { source, provider, site: None };
        let found = self.shared.of_all(move |shard| shard.strand(strand)).await;
        let limits = self.shared.config.providers[policy::provider::ProviderIndex(provider)].limits;
        let idle = PathState {
            rate: limits.rate.map(policy::Rate::as_per_second),
            connections_max: limits.connections,
            ..PathState::default()
        };
        let state = found.into_iter().flatten().next().unwrap_or(idle);
        strands.push((strand, state, behind(&state)));
    }
}
