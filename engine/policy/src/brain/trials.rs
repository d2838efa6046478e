//! The judgement of campaigns by their first recipients, and of each further step by all before it.
//!
//! A campaign ends open or stopped: bad shares stop it; good ones, or a time limit without bad ones, widen its gates until
//! they are open. Where it goes badly at one provider alone it is held there. It refuses to send or hold anything: that is done by the gates.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mail::{CampaignId, UnixMs};
use serde::{Deserialize, Serialize};

use crate::breaker::{Evidence, Trip};
use crate::canary::{CampaignGates, FirstStep, GateView, Gates};
use crate::tally::{Counts, Happening, TallyKey};

use super::breaking::beyond_one;
use super::order::{Event, Order, Subject};
use super::setup::Setup;

/// A step is judged when so much of what has passed has an outcome: the rest is on its way, or deferred by slow receivers.
const DECIDED_ENOUGH: f64 = 0.6;
/// The next step opens when so much of this one has passed, so that a good campaign seldom waits.
const USED_ENOUGH: f64 = 0.5;
/// The part of the time that the whole list will take for which complaints about its first step are awaited at most.
const WAIT_SHARE: f64 = 0.02;
/// With so many recipients judged at a provider its gate is open, and with so many over all the campaign's.
const OPEN_AT: u64 = 50_000;
/// Or with this share of a list whose size is known, and so many at least: a list may still be growing.
const OPEN_SHARE: f64 = 0.25;
const OPEN_LEAST: f64 = 1000.0;
/// Where dozens of providers are looked at, so many at one of them may be chance.
const CHANCE: f64 = 2.0;
/// Gates that nobody has used for so long are forgotten: longer than bulk mail waits.
const IDLE: Duration = Duration::from_secs(7 * 86_400);
/// And those of a list that has passed as a whole after this: retries ask no gate, and complaints are the breaker's.
const DONE: Duration = Duration::from_secs(3600);
/// Campaigns that one tick judges besides those that something was heard of; with more, each has its turn within seconds.
const JUDGED_PER_TICK: usize = 512;

/// What has become of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrialState {
    /// It goes in steps.
    Judged,
    /// It goes without a limit.
    Open,
    /// Nothing of it goes.
    Stopped,
}

/// What has become of recipients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) evidence: Evidence,
    /// Attempts that came too fast.
    rate_limited: f64,
}

impl Seen {
    fn add(&mut self, counts: &Counts, excused: bool) {
        self.evidence.add(counts, excused);
        self.rate_limited += f64::from(counts[Happening::RateLimited]);
    }
}

impl From<Evidence> for Seen {
    fn from(evidence: Evidence) -> Self {
        Self { evidence, rate_limited: 0.0 }
    }
}

/// One campaign.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) state: TrialState,
    pub(crate) tenant: u32,
    pub(crate) identity: u32,
    pub(crate) seen: Seen,
    pub(crate) lanes: BTreeMap<u16, Lane>,
    /// The first steps are done: each provider goes on by itself.
    pub(crate) is_lifted: bool,
    began: Option<UnixMs>,
    /// When the pace of the first step was looked at last.
    looked_at: Option<UnixMs>,
    /// Sources that the list may leave by.
    sources: usize,
    passed: u64,
    used_at: UnixMs,
}

/// One campaign at one provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) seen: Seen,
    pub(crate) began: Option<UnixMs>,
    pub(crate) steps: u8,
    pub(crate) is_shut: bool,
    /// Outcomes at the last look, and the most a second between two of them.
    looked: f64,
    rate: f64,
}

impl Lane {
    fn look(&mut self, seconds: f64) {
        let decided = self.seen.evidence.decided();
        self.rate = self.rate.max((decided - self.looked) / seconds);
        self.looked = decided;
    }
}

impl Trial {
    fn new(now: UnixMs) -> Self {
        Self {
            state: TrialState::Judged,
            tenant: 0,
            identity: 0,
            seen: Seen::default(),
            lanes: BTreeMap::new(),
            is_lifted: false,
            began: None,
            looked_at: None,
            sources: 1,
            passed: 0,
            used_at: now,
        }
    }
}

/// What the judgement needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Court<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) gates: &'a Gates,
    pub(crate) now: UnixMs,
}

/// All campaigns that have gates.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    campaigns: BTreeMap<CampaignId, Trial>,
    /// Something was heard of them since the last tick.
    lively: BTreeSet<CampaignId>,
    next: Option<CampaignId>,
}

impl Trials {
    pub(crate) fn get(&self, campaign: CampaignId) -> Option<&Trial> {
        self.campaigns.get(&campaign)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CampaignId, &Trial)> {
        self.campaigns.iter()
    }

    pub(crate) fn restore(
        &mut self,
        campaign: CampaignId,
        state: TrialState,
        is_lifted: bool,
        now: UnixMs,
    ) -> &mut Trial {
        let trial = self.campaigns.entry(campaign).or_insert_with(|| Trial::new(now));
        (trial.state, trial.is_lifted) = (state, is_lifted);
        trial
    }

    /// Counts what has become of recipients of a campaign that has gates.
    pub(crate) fn heard(&mut self, key: &TallyKey, counts: &Counts, excused: bool, court: Court<'_>) {
        let Some(campaign) = key.campaign else { return };
        let trial = match self.campaigns.entry(campaign) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if court.gates.campaign(campaign).is_none() => return,
            Entry::Vacant(new) => new.insert(Trial::new(court.now)),
        };
        (trial.tenant, trial.identity, trial.used_at) = (key.tenant, key.identity, court.now);
        trial.sources = trial.sources.max(court.setup.beside(key.source));
        self.lively.insert(campaign);
        trial.seen.add(counts, excused);
        trial.lanes.entry(key.provider).or_default().seen.add(counts, excused);
    }

    /// Judges the campaigns whose turn it is. The ones that are stopped are returned: they are to be paused.
    pub(crate) fn tick(&mut self, court: Court<'_>, orders: &mut Vec<Order>) -> Vec<Stopped> {
        let gates = court.gates.campaigns();
        for (campaign, _) in &gates {
            self.campaigns.entry(*campaign).or_insert_with(|| Trial::new(court.now));
        }
        // What was forgotten because the table of gates was full is forgotten here too.
        if self.campaigns.len() > gates.len() {
            let there = |campaign: &CampaignId| gates.binary_search_by_key(campaign, |entry| entry.0).is_ok();
            self.campaigns.retain(|campaign, _| there(campaign));
        }
        let lively = std::mem::take(&mut self.lively);
        let from = self.next.map_or(0, |next| gates.partition_point(|&(campaign, _)| campaign < next));
        let to = from.saturating_add(JUDGED_PER_TICK).min(gates.len());
        let place = |campaign: &CampaignId| gates.binary_search_by_key(campaign, |entry| entry.0).ok();
        let lively = lively.iter().filter_map(place).filter(|place| !(from..to).contains(place));
        let turn = (from..to).chain(lively).filter_map(|place| gates.get(place));
        self.next = gates.get(to).map(|&(campaign, _)| campaign);
        let (mut stopped, mut forgotten) = (Vec::new(), Vec::new());
        for (campaign, gates) in turn {
            let Some(trial) = self.campaigns.get_mut(campaign) else { continue };
            stopped.extend(trial.judge(*campaign, gates, court, orders));
            let is_done = trial.state != TrialState::Stopped && gates.is_through();
            if court.now.since(trial.used_at) >= if is_done { DONE } else { IDLE } {
                forgotten.push(*campaign);
            }
        }
        forgotten.iter().for_each(|campaign| drop(self.campaigns.remove(campaign)));
        court.gates.forget(&forgotten);
        stopped
    }

    /// Shuts the gates of a campaign that was stopped for another reason.
    pub(crate) fn stop(&mut self, campaign: CampaignId, gates: &Gates) {
        if let Some(trial) = self.campaigns.get_mut(&campaign) {
            trial.state = TrialState::Stopped;
        }
        if let Some(gates) = gates.campaign(campaign) {
            gates.stop();
        }
    }

    /// Begins a stopped campaign anew, with a first step behind what has passed.
    pub(crate) fn resume(&mut self, campaign: CampaignId, first: &FirstStep, court: Court<'_>) {
        let Some(gates) = court.gates.campaign(campaign) else { return };
        gates.restart(first);
        self.campaigns.insert(campaign, Trial::new(court.now));
    }
}

/// A campaign that is to be paused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    pub(crate) campaign: CampaignId,
    pub(crate) tenant: u32,
    pub(crate) identity: u32,
    pub(crate) trip: Trip,
    pub(crate) passed: u64,
    pub(crate) recipients: u64,
}

impl Trial {
    fn judge(
        &mut self,
        campaign: CampaignId,
        gates: &CampaignGates,
        court: Court<'_>,
        orders: &mut Vec<Order>,
    ) -> Option<Stopped> {
        let total = gates.total();
        if total.passed != self.passed {
            (self.passed, self.used_at) = (total.passed, court.now);
        }
        if self.state == TrialState::Stopped || self.passed == 0 {
            return None;
        }
        if self.state == TrialState::Judged {
            if let Some(trip) = court.setup.breaker.trips(&self.of_the_mail(total.passed)) {
                gates.stop();
                self.state = TrialState::Stopped;
                let (tenant, identity, passed) = (self.tenant, self.identity, self.passed);
                return Some(Stopped {
                    campaign,
                    tenant,
                    identity,
                    trip,
                    passed,
                    recipients: gates.recipients(),
                });
            }
            self.shut_bad_lanes(campaign, gates, court, orders);
            self.widen(campaign, gates, court, orders);
        }
        let awaited = gates.awaited().into_iter();
        orders.extend(awaited.map(|provider| Order::Open { campaign, provider }));
        None
    }

    /// What is seen of the mail itself, of which so many have passed: blocks by one provider alone are about the source there.
    fn of_the_mail(&self, passed: u64) -> Evidence {
        let blocks = beyond_one(self.lanes.values().map(|lane| lane.seen.evidence.blocks));
        Evidence { blocks, ..self.seen.evidence.within(passed) }
    }

    /// Shuts the gate of each provider at which the campaign goes badly. Blocks are no reason: they are about the source, which
    /// rests there by itself.
    fn shut_bad_lanes(
        &mut self,
        campaign: CampaignId,
        gates: &CampaignGates,
        court: Court<'_>,
        orders: &mut Vec<Order>,
    ) {
        for (&provider, lane) in self.lanes.iter_mut().filter(|(_, lane)| !lane.is_shut) {
            let passed = gates.at(provider).passed;
            let own = Evidence { blocks: 0.0, ..lane.seen.evidence.within(passed) };
            let Some(trip) = court.setup.breaker.trips(&own) else { continue };
            if court.setup.breaker.trips(&own.less(CHANCE)).is_none() {
                continue;
            }
            lane.is_shut = true;
            gates.shut(provider);
            let name = court.setup.provider(provider);
            orders.push(Order::Tell(Event {
                at: court.now,
                code: "canary.shut",
                subject: Subject::Campaign { campaign, provider: Some(provider) },
                figures: vec![
                    ("count", trip.count),
                    ("of", trip.of),
                    ("limit", trip.limit),
                    ("passed", passed as f64),
                ],
                sentence: format!("campaign {campaign} is held at {name}: {trip}"),
            }));
        }
    }

    fn widen(
        &mut self,
        campaign: CampaignId,
        gates: &CampaignGates,
        court: Court<'_>,
        orders: &mut Vec<Order>,
    ) {
        if !self.is_lifted {
            self.lift(campaign, gates, court, orders);
        }
        for provider in 0..gates.lanes() {
            self.widen_lane(campaign, provider, gates, court, orders);
        }
        let (decided, recipients) = (self.seen.evidence.decided(), gates.recipients() as f64);
        let of_list = recipients > 0.0 && decided >= (recipients * OPEN_SHARE).max(OPEN_LEAST);
        if decided >= OPEN_AT as f64 || of_list {
            self.open(campaign, gates, court, orders);
        }
    }

    /// Ends the first step over all providers when it is done. Until then each provider has its steps within it.
    fn lift(
        &mut self,
        campaign: CampaignId,
        gates: &CampaignGates,
        court: Court<'_>,
        orders: &mut Vec<Order>,
    ) {
        let began = *self.began.get_or_insert(court.now);
        let is_awaited = (0..gates.lanes()).any(|provider| gates.is_awaited(provider));
        let wait = self.wait(gates.recipients(), court);
        let step = Step { view: gates.total(), seen: &self.seen, began, is_awaited };
        if !step.is_done(wait, court) {
            return;
        }
        self.is_lifted = true;
        gates.lift_total();
        let opened = (0..gates.lanes()).filter(|&provider| gates.was_asked(provider));
        orders.extend(opened.map(|provider| Order::Open { campaign, provider }));
        orders.push(self.told(campaign, None, "canary.passed", "has passed its first step", court));
    }

    /// How long complaints about the first step are awaited: in proportion to the time that the list will take. Each
    /// provider's first outcomes show how fast it takes mail from one source, which is all that a first step needs.
    fn wait(&mut self, recipients: u64, court: Court<'_>) -> Duration {
        let elapsed = court.now.since(self.looked_at.replace(court.now).unwrap_or(court.now));
        self.lanes.values_mut().for_each(|lane| lane.look(elapsed.as_secs_f64().max(1.0)));
        let rate = self.lanes.values().map(|lane| lane.rate).sum::<f64>() * self.sources as f64;
        let longest = court.setup.canary.wait;
        if recipients == 0 || rate <= 0.0 {
            return longest;
        }
        let share = WAIT_SHARE * recipients as f64 / rate;
        Duration::try_from_secs_f64(share).map_or(longest, |share| share.min(longest))
    }

    fn open(
        &mut self,
        campaign: CampaignId,
        gates: &CampaignGates,
        court: Court<'_>,
        orders: &mut Vec<Order>,
    ) {
        (self.state, self.is_lifted) = (TrialState::Open, true);
        gates.lift_total();
        let shut = |provider: u16| self.lanes.get(&provider).is_some_and(|lane| lane.is_shut);
        for provider in (0..gates.lanes()).filter(|&provider| !shut(provider)) {
            gates.widen(provider, u64::MAX);
            if gates.was_asked(provider) {
                orders.push(Order::Open { campaign, provider });
            }
        }
        orders.push(self.told(campaign, None, "canary.opened", "goes without a limit", court));
    }

    fn widen_lane(
        &mut self,
        campaign: CampaignId,
        provider: u16,
        gates: &CampaignGates,
        court: Court<'_>,
        orders: &mut Vec<Order>,
    ) {
        let view = gates.at(provider);
        let Some(allowed) = view.allowed.filter(|_| view.passed > 0) else { return };
        let lane = self.lanes.entry(provider).or_default();
        let began = *lane.began.get_or_insert(court.now);
        let step = Step { view, seen: &lane.seen, began, is_awaited: gates.is_awaited(provider) };
        // Complaints were awaited over all providers.
        if lane.is_shut || !step.is_done(Duration::ZERO, court) {
            return;
        }
        let next = allowed.saturating_mul(court.setup.canary.growth.into());
        let next = if next > OPEN_AT { u64::MAX } else { next };
        gates.widen(provider, next);
        (lane.steps, lane.began) = (lane.steps.saturating_add(1), Some(court.now));
        orders.push(Order::Open { campaign, provider });
        let how_far = match next {
            u64::MAX => "goes without a limit".to_owned(),
            next => format!("may go to {next} recipients"),
        };
        orders.push(self.told(campaign, Some(provider), "canary.widened", &how_far, court));
    }

    fn told(
        &self,
        campaign: CampaignId,
        provider: Option<u16>,
        code: &'static str,
        what: &str,
        court: Court<'_>,
    ) -> Order {
        let lane = provider.and_then(|provider| self.lanes.get(&provider));
        let evidence = lane.map_or(&self.seen.evidence, |lane| &lane.seen.evidence);
        let place =
            provider.map_or(String::new(), |provider| format!(" at {}", court.setup.provider(provider)));
        let (decided, delivered) = (evidence.decided(), evidence.delivered);
        Order::Tell(Event {
            at: court.now,
            code,
            subject: Subject::Campaign { campaign, provider },
            figures: vec![
                ("delivered", delivered),
                ("decided", decided),
                ("unknown_users", evidence.unknown_users),
                ("spam", evidence.spam),
                ("complaints", evidence.complaints),
            ],
            sentence: format!(
                "campaign {campaign} {what}{place}: {delivered:.0} of {decided:.0} were delivered"
            ),
        })
    }
}

/// One step of a gate.
struct Step<'a> {
    view: GateView,
    seen: &'a Seen,
    began: UnixMs,
    /// Somebody waits for the next one.
    is_awaited: bool,
}

impl Step<'_> {
    /// Whether the next step may begin, when nothing of this one is bad and complaints were awaited for `wait`.
    fn is_done(&self, wait: Duration, court: Court<'_>) -> bool {
        let passed = self.view.passed as f64;
        let used = self.view.allowed.is_none_or(|allowed| passed >= allowed as f64 * USED_ENOUGH);
        if !used && !self.is_awaited {
            return false;
        }
        let (settings, elapsed) = (&court.setup.canary, court.now.since(self.began));
        let evidence = &self.seen.evidence;
        let (decided, enough) = (evidence.decided(), passed * DECIDED_ENOUGH);
        // What was only put off has harmed nobody yet, and the time of greylisting is not lost to the next step.
        let is_put_off = evidence.asked() + self.seen.rate_limited >= enough && elapsed >= settings.wait;
        (decided >= enough && elapsed >= wait) || is_put_off || elapsed >= settings.time_limit
    }
}
