//! What the handle says and takes of the engine's own decisions: the feed, feedback, what is stopped, how sources stand.

use mail::CampaignId;
use policy::brain::{Climbing, TrialState};
use policy::lease::QuotaState;
use policy::provider::ProviderIndex;
use policy::reputation::Component;
use policy::tally::{Counts, Happening, TallyKey};
use tokio::sync::watch;

use super::Handle;
use crate::brain::ToBrain;
use crate::decisions::{About, Decision};
use crate::feedback::{Feedback, FeedbackKind};
use crate::shard::{identity_number, tenant_number};
use crate::views::{
    AccountHaltView, AccountView, CanaryView, PartsView, PathFilter, PathView, QuotaView, ReputationView,
    SourceView, StandingView, WarmUpView,
};

impl Handle {
    /// Up to `max` decisions from `number` on, oldest first, and the number to go on with. Only the latest few thousand
    /// are kept.
    #[must_use]
    pub fn decisions(&self, number: u64, max: usize) -> (Vec<Decision>, u64) {
        self.shared.brain.decisions.from(number, max)
    }

    /// The number that the next decision will have.
    #[must_use]
    pub fn decisions_next(&self) -> u64 {
        self.shared.brain.decisions.next()
    }

    /// Wakes its receivers when there are new decisions.
    #[must_use]
    pub fn decisions_told(&self) -> watch::Receiver<u64> {
        self.shared.brain.decisions.subscribe()
    }

    /// Counts what a recipient did with a message. A source that is gone is not counted for.
    pub fn feedback(&self, feedback: Feedback) {
        let shared = &self.shared;
        let source = shared.sources.index_of(&feedback.source);
        let provider = shared.config.providers.by_name(&feedback.provider);
        let key = TallyKey {
            source: source.unwrap_or(u16::MAX),
            provider: provider.unwrap_or(ProviderIndex::DEFAULT).0,
            class: feedback.class,
            identity: identity_number(&feedback.identity),
            tenant: tenant_number(&feedback.tenant),
            campaign: feedback.campaign,
        };
        let happening = match feedback.kind {
            FeedbackKind::Complaint => Happening::Complaint,
            FeedbackKind::Open => Happening::Opened,
            FeedbackKind::Click => Happening::Clicked,
            FeedbackKind::Unsubscribe => Happening::Unsubscribed,
        };
        if shared.brain.tell(ToBrain::Happened(vec![(key, Counts::of(happening))])).is_err() {
            tracing::warn!("feedback was not counted: more comes than can be counted");
        }
    }

    /// Why the engine has paused a campaign, if it has and nobody has resumed it since.
    #[must_use]
    pub fn why_paused(&self, campaign: CampaignId) -> Option<String> {
        self.shared.brain.halts.of_campaign(campaign).map(|halt| halt.reason)
    }

    /// The accounts whose mail the engine has stopped.
    #[must_use]
    pub fn halted_accounts(&self) -> Vec<AccountHaltView> {
        let halts = self.shared.brain.halts.tenants();
        let view = |(&tenant, halt): (&u32, &crate::brain::Halt)| AccountHaltView {
            account: self.shared.account_name(tenant),
            since: halt.since,
            reason: halt.reason.clone(),
        };
        halts.iter().map(view).collect()
    }

    /// The accounts, in the order of the configuration, with what they have handed over.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountView> {
        let (config, now) = (&self.shared.config, self.now());
        let quota = |state: QuotaState| QuotaView {
            rate: state.rate.to_string(),
            used: state.used,
            left: u64::from(state.rate.count()) - state.used,
            waiting: state.promised,
            critical_used: state.critical,
            free_at: state.free_at,
        };
        let view = |account: &policy::config::Account| AccountView {
            name: account.name.clone(),
            pool: account.pool.and_then(|pool| config.pools.get(pool)).map(|pool| pool.name.clone()),
            quota: self.shared.brain.quotas.state(&account.name, now).map(quota),
        };
        config.accounts.iter().map(view).collect()
    }

    /// Lets the mail of an account go on that the engine has stopped; false when it was not stopped.
    #[must_use]
    pub fn resume_account(&self, account: &str) -> bool {
        let was_stopped = self.shared.brain.halts.free_tenant(tenant_number(account));
        if was_stopped {
            drop(self.shared.brain.tell(ToBrain::ResumedTenant(tenant_number(account))));
            let about = About { account: Some(account.to_owned()), ..About::default() };
            self.shared.decided("account.resumed", about, "the operator has said so".to_owned());
        }
        was_stopped
    }

    /// Sources that `filter` means are not held to be refused by its provider any more: who refuses them says so again.
    pub(super) fn heal(&self, filter: &PathFilter) {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        let (shared, now) = (&self.shared, self.now());
        for (source, _) in shared.sources.iter().filter(|(_, known)| is(&filter.source, &known.name)) {
            for (provider, known) in shared.config.providers.iter() {
                let is_burnt = shared.brain.standings.at(source, provider.0).is_burnt(now);
                if is_burnt && is(&filter.provider, &known.name) {
                    shared.brain.lock().heal(source, provider.0, now);
                }
            }
        }
    }

    /// How the judgement of a campaign stands; `None` when it has no canary.
    #[must_use]
    pub fn canary(&self, campaign: CampaignId) -> Option<CanaryView> {
        let view = self.shared.brain.lock().campaign(campaign)?;
        let state = match view.state {
            TrialState::Judged => "judged",
            TrialState::Open => "open",
            TrialState::Stopped => "stopped",
        };
        Some(CanaryView { state, passed: view.total.passed, allowed: view.total.allowed })
    }

    /// Up to `most` scores, those with the most mail first.
    #[must_use]
    pub fn reputation(&self, most: usize) -> Vec<ReputationView> {
        let rows = self.shared.brain.lock().scores(|_| true, most, self.now());
        rows.into_iter().map(|row| self.reputation_view(row)).collect()
    }

    fn reputation_view(&self, row: policy::reputation::Standing) -> ReputationView {
        let shared = &self.shared;
        let (of, name) = match row.component {
            Component::Source(source) => ("source", shared.sources.get(source).name.clone()),
            Component::Identity(identity) => ("sender", shared.identity_name(identity)),
            Component::Tenant(tenant) => ("account", shared.account_name(tenant)),
            Component::Campaign(campaign) => ("campaign", campaign.to_string()),
        };
        let provider = |index| shared.config.providers[ProviderIndex(index)].name.clone();
        let parts = row.score.parts;
        ReputationView {
            of,
            name,
            provider: row.provider.map(provider),
            class: row.class,
            score: row.score.value,
            recent: row.score.recent,
            parts: PartsView {
                seen: rounded(parts.seen),
                delivered: rounded(parts.delivered),
                deferred: rounded(parts.deferred),
                blocked: rounded(parts.blocked),
                unknown_users: rounded(parts.unknown_users),
                spam_refused: rounded(parts.spam_refused),
                complaints: rounded(parts.complaints),
                engaged: rounded(parts.engaged),
            },
        }
    }

    /// All sources, and how each stands with the providers that it has sent to.
    pub async fn sources(&self) -> Vec<SourceView> {
        let (paths, warm_ups) = (self.paths().await, self.warm_ups());
        let view = |(index, source): (u16, &policy::config::Source)| SourceView {
            name: source.name.clone(),
            ip: source.ip,
            providers: self.standings(index, &source.name, (&paths, &warm_ups)),
        };
        self.shared.sources.iter().map(view).collect()
    }

    /// The warm-ups that are under way or done, sources first.
    #[must_use]
    pub fn warm_ups(&self) -> Vec<WarmUpView> {
        let views = self.shared.brain.lock().warm_ups(self.now());
        let view = |view: policy::brain::WarmUpView| WarmUpView {
            who: match view.who {
                Climbing::Source(source) => source_name(&self.shared.sources.get(source).name),
                Climbing::Identity(identity) => {
                    format!("sender {}", self.shared.identity_name(identity))
                }
            },
            provider: self.shared.config.providers[ProviderIndex(view.provider)].name.clone(),
            ladder: view.ladder,
            day: view.day,
            per_day: view.per_day,
            allowed: view.allowed,
            used: view.used,
            next_at: view.next_at,
        };
        views.into_iter().map(view).collect()
    }

    fn standings(
        &self,
        source: u16,
        name: &str,
        (paths, warm_ups): (&[PathView], &[WarmUpView]),
    ) -> Vec<StandingView> {
        let (shared, now, who) = (&self.shared, self.now(), source_name(name));
        let brain = shared.brain.lock();
        let seen = |provider: ProviderIndex| {
            brain.score(Component::Source(source), Some(provider.0), now).parts.seen
        };
        let mut views = Vec::new();
        for (provider, known) in shared.config.providers.iter() {
            let standing = shared.brain.standings.at(source, provider.0);
            let path = paths.iter().find(|path| path.source == name && path.provider == known.name);
            let is_burnt = standing.is_burnt(now);
            // A warm-up is under way at every provider; it is told where something was sent.
            let is_told = path.is_some() || is_burnt || seen(provider) > 0.0;
            if !is_told {
                continue;
            }
            views.push(StandingView {
                provider: known.name.clone(),
                score: standing.score,
                burnt_until: is_burnt.then_some(standing.burnt_until),
                left: standing.left,
                warm_up: warm_ups
                    .iter()
                    .find(|one| one.who == who && one.provider == known.name)
                    .map(|one| format!("day {} of {}, {} sent", one.day, one.ladder, one.used)),
                rate: path.and_then(|path| path.rate.clone()),
                connections: path.map(|path| path.connections_max),
            });
        }
        views
    }
}

fn source_name(name: &str) -> String {
    format!("source {name}")
}

/// To four digits behind the point: nobody reads more of a share.
fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}
