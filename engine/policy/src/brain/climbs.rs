//! All warm-ups: the sources at each provider, through their allowances, and the senders' domains, through their budgets.

use std::collections::BTreeMap;
use std::sync::Arc;

use mail::UnixMs;
use rustc_hash::FxHashMap;

use crate::standing::Standings;
use crate::tally::{Counts, Happening};
use crate::warmup::{DAY, Ladder, Turn, WarmUp};

use super::setup::{Setup, WarmUpPlan};

/// Warm-ups that one tick looks at.
const SEEN_PER_TICK: usize = 1024;
/// Up to so many the allowance grows one by one, so that nothing is lost that is taken meanwhile.
const GROWN_ONE_BY_ONE: u64 = 10_000;
/// The largest allowance that is written: fits the table.
const ALLOWED_MOST: u64 = 1 << 31;
/// What is left to a sender that has used its allowance, messages a second: one a day.
const NEXT_TO_NOTHING: f64 = 1.0 / 86_400.0;
/// A sender's limit is written anew when it has changed by so much.
const CHANGED: f64 = 0.05;

/// One source at one provider.
#[derive(Clone, Debug)]
pub(crate) struct SourceClimb {
    pub(crate) source: u16,
    pub(crate) provider: u16,
    pub(crate) ladder: Arc<Ladder>,
    pub(crate) warm_up: WarmUp,
    /// What was allowed since the day began.
    granted: u64,
    /// It was begun while the engine ran: whatever the configuration says of it, this is kept.
    pub(crate) is_ordered: bool,
}

/// One sender's domain at one provider.
#[derive(Clone, Debug)]
pub(crate) struct IdentityClimb {
    pub(crate) ladder: Arc<Ladder>,
    pub(crate) warm_up: WarmUp,
    /// The limit that was written last, messages a second.
    written: Option<f64>,
}

/// Who has climbed or fallen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Climber {
    Source(u16, u16),
    Identity(u32, u16),
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Climbs {
    pub(crate) sources: Vec<SourceClimb>,
    places: FxHashMap<(u16, u16), usize>,
    pub(crate) identities: BTreeMap<(u32, u16), IdentityClimb>,
    cursor: usize,
}

impl Climbs {
    /// The warm-ups that are configured, each on its first day.
    pub(crate) fn new(setup: &Setup, now: UnixMs) -> Self {
        let mut climbs = Self::default();
        if !setup.mechanisms.warm_up {
            return climbs;
        }
        let providers = || (0..).zip(&setup.providers).map(|(provider, _)| provider);
        let providers = || providers().filter(|provider: &u16| !setup.trusted.contains(provider));
        for (source, plan) in
            (0..).zip(&setup.sources).filter_map(|(n, one)| Some((n, one.warm_up.as_ref()?)))
        {
            for provider in providers() {
                let (ladder, warm_up) = (Arc::clone(&plan.ladder), begun(plan, now));
                climbs.put(SourceClimb { source, provider, ladder, warm_up, granted: 0, is_ordered: false });
            }
        }
        for (&identity, plan) in &setup.identities {
            for provider in providers() {
                let (ladder, warm_up) = (Arc::clone(&plan.ladder), begun(plan, now));
                climbs
                    .identities
                    .insert((identity, provider), IdentityClimb { ladder, warm_up, written: None });
            }
        }
        climbs
    }

    fn put(&mut self, climb: SourceClimb) -> &mut SourceClimb {
        let key = (climb.source, climb.provider);
        let place = *self.places.entry(key).or_insert(self.sources.len());
        if place == self.sources.len() {
            self.sources.push(climb);
        } else {
            self.sources[place] = climb;
        }
        &mut self.sources[place]
    }

    /// Begins the warm-up of a source at a provider, or begins it anew; the allowance holds at once.
    pub(crate) fn order(&mut self, at: (u16, u16), plan: &WarmUpPlan, standings: &Standings, now: UnixMs) {
        let (ladder, warm_up) = (Arc::clone(&plan.ladder), begun(plan, now));
        let (source, provider) = at;
        let climb = self.put(SourceClimb { source, provider, ladder, warm_up, granted: 0, is_ordered: true });
        // Whatever was left before counts for nothing.
        standings.set_allowance(source, provider, Some(0));
        climb.refresh(standings, now);
    }

    /// One that was begun while the engine ran.
    pub(crate) fn restore_ordered(&mut self, at: (u16, u16), ladder: Arc<Ladder>, warm_up: WarmUp) {
        let ((source, provider), granted) = (at, warm_up.used());
        self.put(SourceClimb { source, provider, ladder, warm_up, granted, is_ordered: true });
    }

    pub(crate) fn restore_source(&mut self, source: u16, provider: u16, warm_up: WarmUp) {
        let place = self.places.get(&(source, provider));
        if let Some(climb) = place.and_then(|&place| self.sources.get_mut(place)) {
            climb.warm_up = warm_up;
            climb.granted = warm_up.used();
        }
    }

    pub(crate) fn restore_identity(&mut self, identity: u32, provider: u16, warm_up: WarmUp) {
        if let Some(climb) = self.identities.get_mut(&(identity, provider)) {
            climb.warm_up = warm_up;
        }
    }

    pub(crate) fn ladder_of(&self, climber: Climber) -> Option<Arc<Ladder>> {
        match climber {
            Climber::Source(source, provider) => {
                let place = self.places.get(&(source, provider));
                place.and_then(|&place| self.sources.get(place)).map(|climb| Arc::clone(&climb.ladder))
            }
            Climber::Identity(identity, provider) => {
                self.identities.get(&(identity, provider)).map(|climb| Arc::clone(&climb.ladder))
            }
        }
    }

    /// What has become of mail.
    pub(crate) fn heard(&mut self, source: u16, identity: u32, provider: u16, counts: &Counts, now: UnixMs) {
        let place = self.places.get(&(source, provider));
        if let Some(climb) = place.and_then(|&place| self.sources.get_mut(place)) {
            climb.warm_up.heard(counts);
            // A warm one has no allowance to count by.
            if climb.warm_up.is_warm(&climb.ladder) {
                climb.warm_up.went(attempts(counts), now);
            }
        }
        if let Some(climb) = self.identities.get_mut(&(identity, provider)) {
            climb.warm_up.heard(counts);
            climb.warm_up.went(attempts(counts), now);
        }
    }

    /// The provider refuses the source.
    pub(crate) fn burnt(&mut self, source: u16, provider: u16) -> Option<(Climber, Turn)> {
        let &place = self.places.get(&(source, provider))?;
        let climb = self.sources.get_mut(place)?;
        let turn = climb.warm_up.burnt(&climb.ladder)?;
        Some((Climber::Source(source, provider), turn))
    }

    /// Ends the days that are over and writes the allowances of sources. What has changed.
    pub(crate) fn tick(&mut self, standings: &Standings, all: bool, now: UnixMs) -> Vec<(Climber, Turn)> {
        let count = self.sources.len();
        let from = if self.cursor < count && !all { self.cursor } else { 0 };
        let to = if all { count } else { from.saturating_add(SEEN_PER_TICK).min(count) };
        self.cursor = to;
        let mut turns = Vec::new();
        for climb in &mut self.sources[from..to] {
            let turn = climb.refresh(standings, now);
            turns.extend(turn.map(|turn| (Climber::Source(climb.source, climb.provider), turn)));
        }
        turns
    }

    /// Ends the days that are over for senders. What has changed.
    pub(crate) fn tick_identities(&mut self, now: UnixMs) -> Vec<(Climber, Turn)> {
        let turn = |(&(identity, provider), climb): (&(u32, u16), &mut IdentityClimb)| {
            let turn = climb.warm_up.turn(&climb.ladder, now)?;
            Some((Climber::Identity(identity, provider), turn))
        };
        self.identities.iter_mut().filter_map(turn).collect()
    }

    /// The senders at providers whose limit is another one by now.
    pub(crate) fn changed_limits(&mut self, now: UnixMs) -> Vec<(u32, u16)> {
        let changed =
            self.identities.iter_mut().filter_map(|(&key, climb)| climb.has_changed(now).then_some(key));
        changed.collect()
    }

    /// The limit of a sender's warm-up, messages a second; `None`: it has none.
    pub(crate) fn limit(&self, identity: u32, provider: u16) -> Option<f64> {
        self.identities.get(&(identity, provider)).and_then(|climb| climb.written)
    }
}

impl SourceClimb {
    fn refresh(&mut self, standings: &Standings, now: UnixMs) -> Option<Turn> {
        let left = standings.at(self.source, self.provider).left.map(u64::from);
        if let Some(left) = left {
            // Some go beyond the allowance, such as what a greylisting receiver has seen already: they count all the same.
            let taken = self.granted.saturating_sub(left).max(self.warm_up.decided());
            let used = self.warm_up.used();
            self.warm_up.went(taken.saturating_sub(used), now);
            self.warm_up.came_back(used.saturating_sub(taken));
        }
        let turn = self.warm_up.turn(&self.ladder, now);
        let allowed = self.warm_up.allowance(&self.ladder, now);
        let wanted = allowed.map(|allowed| allowed.saturating_sub(self.warm_up.used()).min(ALLOWED_MOST));
        match (left, wanted) {
            (Some(left), Some(wanted)) if wanted >= left && wanted - left <= GROWN_ONE_BY_ONE => {
                (left..wanted).for_each(|_| standings.give_back(self.source, self.provider));
            }
            (left, wanted) if left != wanted => {
                let wanted = wanted.map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX));
                standings.set_allowance(self.source, self.provider, wanted);
            }
            _ => {}
        }
        self.granted = self.warm_up.used() + wanted.unwrap_or(0);
        turn
    }
}

impl IdentityClimb {
    /// Messages a second that may go now.
    fn limit(&self, now: UnixMs) -> Option<f64> {
        self.warm_up.per_second(&self.ladder, now).map(|limit| limit.max(NEXT_TO_NOTHING))
    }

    /// Notes the limit that holds now; whether it is another one.
    fn has_changed(&mut self, now: UnixMs) -> bool {
        let limit = self.limit(now);
        let is_other = match (limit, self.written) {
            (Some(limit), Some(written)) => (limit / written - 1.0).abs() > CHANGED,
            (limit, written) => limit != written,
        };
        if is_other {
            self.written = limit;
        }
        is_other
    }
}

/// A warm-up at its beginning, or where the calendar has it by now when it began in the past.
fn begun(plan: &WarmUpPlan, now: UnixMs) -> WarmUp {
    let Some(start) = plan.start else { return WarmUp::new(plan.day, now) };
    let days = now.since(start).as_secs() / DAY.as_secs();
    let days = u32::try_from(days).unwrap_or(u32::MAX);
    WarmUp::new(plan.day.saturating_add(days), start + DAY * days)
}

fn attempts(counts: &Counts) -> u64 {
    use Happening::{Blocked, Deferred, Delivered, OtherBounce, RateLimited, SpamRefused, UnknownUser};
    let all = [Delivered, Deferred, RateLimited, Blocked, UnknownUser, SpamRefused, OtherBounce];
    all.into_iter().map(|happening| u64::from(counts[happening])).sum()
}
