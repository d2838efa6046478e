//! The slow half of the decisions, once a second for the whole engine: reputation, warm-up, canaries, breaker, burnt sources and
//! slowed senders.
//!
//! Shards tell it what has happened; it answers with [`Order`]s and by writing the [`Tables`] that shards read without a lock.
//! Time is an argument. It refuses to know messages: only counts.

mod bounded;
mod breaking;
mod burns;
mod climbs;
mod confidence;
mod order;
mod saved;
mod senders;
mod setup;
mod told;
mod trials;
mod views;

pub use order::{CODES, Event, Order, Subject};
pub use saved::Saved;
pub use setup::{CanarySettings, Mechanisms, Setup, SourceSetup, Tables, WarmUpPlan, identity_of};
pub use trials::TrialState;
pub use views::{BurntView, CampaignView, Climbing, WarmUpView};

pub(crate) use bounded::Bounded;
pub(crate) use confidence::surely_above;

use std::collections::BTreeMap;
use std::time::Duration;

use mail::{CampaignId, UnixMs};

use crate::breaker::{Evidence, Trip};
use crate::reputation::{Component, NEUTRAL, Reputation, Score, Standing};
use crate::tally::{Counts, Happening, TallyKey};
use crate::warmup::Turn;

use breaking::{Accused, Breaking, Pause, Records};
use burns::Burns;
use climbs::{Climber, Climbs};
use senders::{BAD_FOR, Senders};
use trials::{Court, Stopped, Trials};

/// Sources at providers whose score one tick writes; with more, each has its turn within seconds.
const SCORED_PER_TICK: usize = 256;
/// Below this recent score a source is in trouble.
const ALARM_BELOW: u8 = 50;
/// A trouble that has not ended for so long is not told again.
const ALARM_EVERY: Duration = Duration::from_secs(3600);
/// Below this score a source is refused for what it has done, not for the campaign at hand.
const EXCUSES_BELOW: u8 = 50;
/// A sender with this share of what was sent to a provider of late, where a second source is burnt, is why.
const MAIN_SENDER: f64 = 0.5;
/// With this share it is nearly the only one, and there is nobody to protect from it.
const ONLY_SENDER: f64 = 0.95;
/// Burns at one provider within this time belong together.
const BURNS_TOGETHER: Duration = Duration::from_secs(86_400);
/// Senders that are asked for their part in a burn.
const SUSPECTS: usize = 1024;

/// The slow half of the decisions.
#[derive(Debug)]
pub struct Brain {
    setup: Setup,
    tables: Tables,
    reputation: Reputation,
    trials: Trials,
    breaking: Breaking,
    climbs: Climbs,
    burns: Burns,
    senders: Senders,
    /// What was decided between two ticks.
    pending: Vec<Order>,
    scored: usize,
    /// When the score of a source at a provider was last told to have fallen.
    alarms: BTreeMap<(u16, u16), UnixMs>,
}

impl Brain {
    /// A brain that knows nothing yet. It writes the first allowances at once.
    #[must_use]
    pub fn new(setup: Setup, tables: Tables, now: UnixMs) -> Self {
        let mut brain = Self::unwritten(setup, tables, now);
        brain.write_all(now);
        brain
    }

    fn unwritten(setup: Setup, tables: Tables, now: UnixMs) -> Self {
        let climbs = Climbs::new(&setup, now);
        Self {
            setup,
            tables,
            reputation: Reputation::default(),
            trials: Trials::default(),
            breaking: Breaking::default(),
            climbs,
            burns: Burns::default(),
            senders: Senders::default(),
            pending: Vec::new(),
            scored: 0,
            alarms: BTreeMap::new(),
        }
    }

    fn write_all(&mut self, now: UnixMs) {
        for (source, _) in (0..).zip(&self.setup.sources) {
            for (provider, _) in (0..).zip(&self.setup.providers) {
                self.write_score(source, provider, now);
            }
        }
        let turns = self.climbs.tick(&self.tables.standings, true, now);
        self.tell_turns(turns, now);
        self.tick_senders(now);
    }

    /// Something has happened, so many times.
    pub fn heard(&mut self, key: TallyKey, counts: Counts, now: UnixMs) {
        let excused = counts[Happening::Blocked] > 0 && self.is_excused(&key, now);
        self.climbs.heard(key.source, key.identity, key.provider, &counts, now);
        if self.setup.has_breaker() {
            self.breaking.heard(&key);
        }
        if key.campaign.is_some() && self.setup.has_canary() {
            let court = Court { setup: &self.setup, gates: &self.tables.gates, now };
            self.trials.heard(&key, &counts, excused, court);
        }
        self.reputation.heard(&key, &counts, excused, now);
    }

    /// Whether a block says nothing of the mail: the source was refused before.
    fn is_excused(&self, key: &TallyKey, now: UnixMs) -> bool {
        let source = Component::Source(key.source);
        self.burns.rests(key.source, key.provider, now).is_some()
            || self.reputation.score(source, Some(key.provider), None, now).value < EXCUSES_BELOW
    }

    /// A provider refuses a source, and asks for a rest. Shards see it at once; what waits is re-routed with the
    /// next tick. Indices that the configuration does not have are not heeded.
    pub fn burnt(&mut self, source: u16, provider: u16, rest: Duration, reason: &str, now: UnixMs) {
        let is_known = usize::from(source) < self.setup.sources.len();
        if !is_known || usize::from(provider) >= self.setup.providers.len() {
            return;
        }
        let (burn, is_new) = self.burns.burnt(source, provider, rest, now);
        self.tables.standings.burn(source, provider, burn.until);
        if !is_new {
            return;
        }
        if self.setup.mechanisms.reroute {
            self.pending.push(Order::Reroute { source, provider });
        }
        self.tell_burnt(source, provider, &burn, reason, now);
        let turn = self.climbs.burnt(source, provider);
        self.tell_turns(turn, now);
        self.blame(source, provider, now);
        self.write_score(source, provider, now);
    }

    /// Somebody says that a source is not refused any more: it is tried again at once, and told so with the next tick.
    pub fn heal(&mut self, source: u16, provider: u16, now: UnixMs) {
        self.burns.heal(source, provider, now);
        self.tables.standings.heal(source, provider);
    }

    /// The providers, or the one, at which a source can be warmed up: not where the operator's own hosts are.
    #[must_use]
    pub fn warmable(&self, source: u16, provider: Option<u16>) -> Vec<u16> {
        let is_known = self.setup.mechanisms.warm_up && usize::from(source) < self.setup.sources.len();
        let providers = (0_u16..).zip(&self.setup.providers).map(|(index, _)| index);
        providers
            .filter(|index| is_known && provider.is_none_or(|wanted| wanted == *index))
            .filter(|index| !self.setup.trusted.contains(index))
            .collect()
    }

    /// Somebody begins the warm-up of a source at a provider that is [`Brain::warmable`], whatever it had before there. What
    /// waits on its paths already has not asked for its place.
    pub fn warm_up(&mut self, source: u16, provider: u16, plan: &WarmUpPlan, now: UnixMs) {
        self.climbs.order((source, provider), plan, &self.tables.standings, now);
    }

    /// Finds the senders that a burnt source is owed to: those whose own mail there is bad, and the one that has sent most
    /// when it is the second source within a day.
    fn blame(&mut self, source: u16, provider: u16, now: UnixMs) {
        let settings = self.setup.breaker;
        let is_repeated = self.burns.others_since(source, provider, now - BURNS_TOGETHER) > 0;
        let senders = self.reputation.senders_at(provider, SUSPECTS, now);
        let all: f64 = senders.iter().map(|(_, fast)| fast.attempts()).sum();
        for (identity, fast) in senders {
            // Blocks fall on all who share the source: they prove nothing.
            let own = Evidence { blocks: 0.0, ..Evidence::of(&fast) };
            let sent = fast.attempts();
            let is_main = is_repeated && (all * MAIN_SENDER..all * ONLY_SENDER).contains(&sent);
            if settings.trips(&own).is_some() || is_main {
                self.set_bad(identity, Some(provider), now);
            }
        }
    }

    fn set_bad(&mut self, identity: u32, provider: Option<u16>, now: UnixMs) {
        if self.senders.set_bad(identity, now + BAD_FOR) {
            self.tables.gates.set_good(identity, false);
            self.tell_sender(identity, provider, false, now);
        }
    }

    /// A provider wants less of a sender's mail.
    pub fn identity_slow(&mut self, identity: u32, provider: u16, now: UnixMs) {
        if !self.setup.mechanisms.identity {
            return;
        }
        let rate = self.reputation.rate(Component::Identity(identity), provider, now);
        if let Some(slowed) = self.senders.slow(identity, provider, rate, now) {
            self.write_budget(identity, provider);
            self.tell_slowed(identity, provider, Some(slowed.rate), now);
        }
    }

    /// What a second has brought: to be called about once a second. New orders are added to `orders`.
    pub fn tick(&mut self, now: UnixMs, orders: &mut Vec<Order>) {
        orders.append(&mut self.pending);
        for (source, provider) in self.burns.healed(now) {
            self.tables.standings.heal(source, provider);
            self.write_score(source, provider, now);
            self.tell_healed(source, provider, now);
        }
        let court = Court { setup: &self.setup, gates: &self.tables.gates, now };
        for stopped in self.trials.tick(court, &mut self.pending) {
            self.stopped(&stopped, now);
        }
        let providers = u16::try_from(self.setup.providers.len()).unwrap_or(u16::MAX);
        let records = Records { reputation: &self.reputation, providers, now };
        for pause in self.breaking.tick(&self.setup.breaker, records) {
            self.broken(pause, now);
        }
        let turns = self.climbs.tick(&self.tables.standings, false, now);
        self.tell_turns(turns, now);
        self.tick_senders(now);
        self.write_scores(now);
        self.spread(now);
        orders.append(&mut self.pending);
    }

    fn stopped(&mut self, stopped: &Stopped, now: UnixMs) {
        let Stopped { campaign, tenant, identity, trip, .. } = *stopped;
        let reason = self.tell_stopped(stopped, now);
        self.pause_campaign(Accused { campaign, tenant, identity, trip }, reason, now);
    }

    fn broken(&mut self, pause: Pause, now: UnixMs) {
        match pause {
            Pause::Campaign(accused) => {
                self.trials.stop(accused.campaign, &self.tables.gates);
                let reason = self.tell_broken(accused.campaign, &accused.trip, now);
                self.pause_campaign(accused, reason, now);
            }
            Pause::Tenant(tenant, trip) => {
                self.pause_tenant(tenant, format!("its mail outside of campaigns has {trip}"), &trip, now);
            }
        }
    }

    fn pause_campaign(&mut self, accused: Accused, reason: String, now: UnixMs) {
        let Accused { campaign, tenant, identity, trip } = accused;
        self.pending.push(Order::PauseCampaign { campaign, reason });
        self.set_bad(identity, None, now);
        let paused = self.breaking.paused_campaign(campaign, tenant, now);
        if self.setup.has_breaker() && paused >= self.setup.breaker.campaigns.max(1) as usize {
            let reason = format!("{paused} of its campaigns were paused within a day, the last for {trip}");
            self.pause_tenant(tenant, reason, &trip, now);
        }
    }

    fn pause_tenant(&mut self, tenant: u32, reason: String, trip: &Trip, now: UnixMs) {
        if self.breaking.paused_tenant(tenant, now) {
            self.tell_tenant(tenant, &reason, trip, now);
            self.pending.push(Order::PauseTenant { tenant, reason });
        }
    }

    /// Somebody has resumed a campaign: if it was stopped it begins anew, with a canary behind what has gone.
    pub fn resumed_campaign(&mut self, campaign: CampaignId, now: UnixMs) {
        if self.trials.get(campaign).is_some_and(|trial| trial.state != TrialState::Stopped) {
            return;
        }
        self.breaking.resumed_campaign(campaign);
        self.reputation.forget(Component::Campaign(campaign), None);
        let court = Court { setup: &self.setup, gates: &self.tables.gates, now };
        self.trials.resume(campaign, self.tables.gates.first(), court);
    }

    /// Somebody has resumed a tenant: what its stream has done so far is forgotten.
    pub fn resumed_tenant(&mut self, tenant: u32) {
        self.breaking.resumed_tenant(tenant);
        self.reputation.forget(Component::Tenant(tenant), None);
    }

    fn tick_senders(&mut self, now: UnixMs) {
        for (identity, provider, rate) in self.senders.tick(now) {
            self.write_budget(identity, provider);
            if rate.is_none() {
                self.tell_slowed(identity, provider, None, now);
            }
        }
        for identity in self.senders.forgiven(now) {
            self.tables.gates.set_good(identity, true);
            self.tell_sender(identity, None, true, now);
        }
        let turns = self.climbs.tick_identities(now);
        self.tell_turns(turns, now);
        self.climbs
            .changed_limits(now)
            .into_iter()
            .for_each(|(identity, provider)| self.write_budget(identity, provider));
    }

    fn write_budget(&mut self, identity: u32, provider: u16) {
        let warm_up = self.climbs.limit(identity, provider);
        self.senders.write(&self.tables.budgets, identity, provider, warm_up);
    }

    /// Evens out what waits for a provider over the sources of each pool.
    fn spread(&mut self, now: UnixMs) {
        if !self.setup.mechanisms.source_choice || self.setup.sources.len() < 2 {
            return;
        }
        let providers = || (0_u16..).zip(&self.setup.providers).map(|(provider, _)| provider);
        for pool in self.setup.pools.iter().filter(|pool| pool.len() > 1) {
            let spreads =
                providers().filter_map(|provider| self.tables.standings.spread(provider, pool, now));
            self.pending.extend(spreads.map(Order::Spread));
        }
    }

    fn write_scores(&mut self, now: UnixMs) {
        let providers = self.setup.providers.len().max(1);
        let cells = self.setup.sources.len() * self.setup.providers.len();
        for _ in 0..SCORED_PER_TICK.min(cells) {
            let (source, provider) = (self.scored / providers, self.scored % providers);
            self.scored = (self.scored + 1) % cells;
            if let (Ok(source), Ok(provider)) = (u16::try_from(source), u16::try_from(provider)) {
                self.write_score(source, provider, now);
                self.alarm(source, provider, now);
            }
        }
    }

    /// Tells once when a source has fallen within minutes.
    fn alarm(&mut self, source: u16, provider: u16, now: UnixMs) {
        let score = self.reputation.score(Component::Source(source), Some(provider), None, now);
        if score.recent >= ALARM_BELOW || self.burns.rests(source, provider, now).is_some() {
            return;
        }
        let last = self.alarms.insert((source, provider), now);
        if last.is_none_or(|last| now.since(last) >= ALARM_EVERY) {
            self.tell_alarm(source, provider, &score, now);
        }
    }

    fn write_score(&self, source: u16, provider: u16, now: UnixMs) {
        self.tables.standings.set_score(source, provider, self.source_score(source, provider, now));
    }

    /// The score of a source at a provider: of a day, drawn down by a bad quarter of an hour and by burns.
    fn source_score(&self, source: u16, provider: u16, now: UnixMs) -> u8 {
        let score = self.reputation.score(Component::Source(source), Some(provider), None, now);
        let drawn = NEUTRAL.saturating_sub(score.recent) / 2;
        score.value.saturating_sub(drawn).saturating_sub(self.burns.cost(source, provider, now))
    }

    fn tell_turns(&mut self, turns: impl IntoIterator<Item = (Climber, Turn)>, now: UnixMs) {
        for (climber, turn) in turns {
            self.tell_turn(climber, &turn, now);
        }
    }

    /// The score of somebody; see [`Reputation::score`].
    #[must_use]
    pub fn score(&self, component: Component, provider: Option<u16>, now: UnixMs) -> Score {
        self.reputation.score(component, provider, None, now)
    }

    /// Up to `most` scores of those that `wanted` asks for, those with the most mail first.
    #[must_use]
    pub fn scores(&self, wanted: impl Fn(Component) -> bool, most: usize, now: UnixMs) -> Vec<Standing> {
        self.reputation.standings(wanted, most, now)
    }
}

#[cfg(test)]
mod tests;
