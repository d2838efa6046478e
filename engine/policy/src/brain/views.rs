//! What the brain shows of itself to `why`, the CLI and the console.

use mail::{CampaignId, UnixMs};

use crate::breaker::Evidence;
use crate::canary::GateView;

use super::Brain;
use super::trials::TrialState;

/// Who is warmed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Climbing {
    /// A source, by its index.
    Source(u16),
    /// A sender's domain, by its hash.
    Identity(u32),
}

/// One warm-up at one provider.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmUpView {
    /// Who.
    pub who: Climbing,
    /// Index of the provider.
    pub provider: u16,
    /// The name of the ladder.
    pub ladder: String,
    /// The day of the ladder, 1 is the first.
    pub day: u32,
    /// Messages of this day; `None`: it is warm.
    pub per_day: Option<u64>,
    /// Messages that may have gone by now; `None`: without a limit.
    pub allowed: Option<u64>,
    /// Messages that have gone today.
    pub used: u64,
    /// When more may go.
    pub next_at: UnixMs,
}

/// A source that a provider refuses, or has refused within a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurntView {
    /// Index of the source.
    pub source: u16,
    /// Index of the provider.
    pub provider: u16,
    /// Until when it rests; in the past when it is tried again.
    pub until: UnixMs,
    /// How often within a week.
    pub times: u8,
}

/// How the judgement of a campaign stands.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignView {
    /// What has become of it.
    pub state: TrialState,
    /// What has been seen of it.
    pub evidence: Evidence,
    /// Recipients of the list; 0: unknown.
    pub recipients: u64,
    /// What has passed, and may, at all providers together; `None` of what may: each provider has its own limit.
    pub total: GateView,
    /// The same for each provider that has had any of it, by its index.
    pub providers: Vec<(u16, GateView)>,
}

impl Brain {
    /// All warm-ups, sources first.
    #[must_use]
    pub fn warm_ups(&self, now: UnixMs) -> Vec<WarmUpView> {
        let view =
            |who, provider, ladder: &crate::warmup::Ladder, warm_up: &crate::warmup::WarmUp| WarmUpView {
                who,
                provider,
                ladder: ladder.name.clone(),
                day: u32::from(warm_up.step()) + 1,
                per_day: ladder.per_day(warm_up.step().into()),
                allowed: warm_up.allowance(ladder, now),
                used: warm_up.used(),
                next_at: warm_up.next_at(ladder, now),
            };
        let sources = self.climbs.sources.iter();
        let sources =
            sources.map(|one| view(Climbing::Source(one.source), one.provider, &one.ladder, &one.warm_up));
        let identities = self.climbs.identities.iter();
        let identities = identities.map(|(&(identity, provider), one)| {
            view(Climbing::Identity(identity), provider, &one.ladder, &one.warm_up)
        });
        sources.chain(identities).collect()
    }

    /// The sources that a provider has refused within a week.
    #[must_use]
    pub fn burnt_sources(&self) -> Vec<BurntView> {
        let view = |(&(source, provider), burn): (&(u16, u16), &super::burns::Burn)| BurntView {
            source,
            provider,
            until: burn.until,
            times: burn.times,
        };
        self.burns.iter().map(view).collect()
    }

    /// The senders that are slowed, by their hash, at which provider, and to how many messages a second.
    #[must_use]
    pub fn slowed_senders(&self) -> Vec<(u32, u16, f64)> {
        self.senders
            .slowed()
            .map(|(&(identity, provider), slowed)| (identity, provider, slowed.rate))
            .collect()
    }

    /// How the judgement of a campaign stands; `None` when it has no gates.
    #[must_use]
    pub fn campaign(&self, campaign: CampaignId) -> Option<CampaignView> {
        let gates = self.tables.gates.campaign(campaign)?;
        let trial = self.trials.get(campaign);
        let providers = (0..gates.lanes()).filter(|&provider| gates.was_asked(provider));
        Some(CampaignView {
            state: trial.map_or(TrialState::Judged, |trial| trial.state),
            evidence: trial.map_or(Evidence::default(), |trial| trial.seen.evidence),
            recipients: gates.recipients(),
            total: gates.total(),
            providers: providers.map(|provider| (provider, gates.at(provider))).collect(),
        })
    }
}
