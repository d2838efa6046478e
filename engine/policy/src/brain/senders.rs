//! Sender identities: those that a provider wants less of are slowed there, and bad ones lose the help of other sources.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

use crate::Rate;
use crate::lease::Budgets;

use super::bounded::Bounded;

/// Slowed (identity, provider) pairs at the same time; beyond them nobody more is slowed.
pub(crate) const SLOWED_MAX: usize = 16_384;
/// A refusal lowers the rate to this part of what went.
const DECREASE: f64 = 0.5;
/// Refusals of what was under way do not lower it again within this time.
const DECREASE_EVERY: Duration = Duration::from_secs(30);
/// After so long without a refusal the rate grows,
const CLEAN: Duration = Duration::from_secs(60);
/// by this part of what went when the first refusal came.
const INCREASE: f64 = 0.1;
/// At so many times that rate there is no limit any more.
const FREE_AT: f64 = 4.0;
/// What is left at least: one every ten seconds, so that it is seen when the provider wants more again.
const FLOOR: f64 = 0.1;
/// A limit that rises to so many times the last one begins with an empty memory: under the old one the next message may have
/// had to wait for hours.
const FRESH_AT: f64 = 4.0;
/// How long a bad sender stays one.
pub(crate) const BAD_FOR: Duration = Duration::from_secs(86_400);
/// Bad senders at the same time.
const BAD_MAX: usize = 65_536;

/// One identity at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slowed {
    /// Messages a second.
    pub(crate) rate: f64,
    /// What went when the first refusal came.
    pub(crate) before: f64,
    pub(crate) refused_at: UnixMs,
    pub(crate) raised_at: UnixMs,
}

#[derive(Debug)]
pub(crate) struct Senders {
    slowed: Bounded<(u32, u16), Slowed>,
    bad: BTreeMap<u32, UnixMs>,
    /// The limits that were written last, messages a second.
    written: BTreeMap<(u32, u16), f64>,
    cursor: usize,
}

impl Default for Senders {
    fn default() -> Self {
        Self { slowed: Bounded::new(SLOWED_MAX), bad: BTreeMap::new(), written: BTreeMap::new(), cursor: 0 }
    }
}

/// How many slowed pairs one tick looks at.
const SEEN_PER_TICK: usize = 1024;

impl Senders {
    /// The provider wants less of the identity, which has sent it `rate` a second of late. The new rate, when it was lowered.
    pub(crate) fn slow(&mut self, identity: u32, provider: u16, rate: f64, now: UnixMs) -> Option<Slowed> {
        if self.slowed.count() >= SLOWED_MAX && self.rate(identity, provider).is_none() {
            return None;
        }
        let new =
            || Slowed { rate: f64::INFINITY, before: rate.max(FLOOR), refused_at: UnixMs(0), raised_at: now };
        let slowed = self.slowed.entry((identity, provider), new);
        if now.since(slowed.refused_at) < DECREASE_EVERY {
            return None;
        }
        // What went in fact may be far below the limit.
        slowed.rate = (slowed.rate.min(rate.max(FLOOR)) * DECREASE).max(FLOOR);
        (slowed.refused_at, slowed.raised_at) = (now, now);
        Some(*slowed)
    }

    /// Raises the rates of those that have been clean, and returns those that have changed: `None` is free again.
    pub(crate) fn tick(&mut self, now: UnixMs) -> Vec<(u32, u16, Option<f64>)> {
        let (entries, next) = self.slowed.walk(self.cursor, SEEN_PER_TICK);
        let mut changed = Vec::new();
        for (&(identity, provider), slowed) in entries {
            if now.since(slowed.raised_at) < CLEAN {
                continue;
            }
            slowed.raised_at = now;
            slowed.rate += slowed.before * INCREASE;
            let is_free = slowed.rate >= slowed.before * FREE_AT;
            changed.push((identity, provider, (!is_free).then_some(slowed.rate)));
        }
        self.cursor = next;
        for (identity, provider, _) in changed.iter().filter(|(_, _, rate)| rate.is_none()) {
            self.slowed.remove(&(*identity, *provider));
        }
        changed
    }

    /// The limit in force, messages a second.
    pub(crate) fn rate(&self, identity: u32, provider: u16) -> Option<f64> {
        self.slowed.get(&(identity, provider)).map(|slowed| slowed.rate)
    }

    pub(crate) fn slowed(&self) -> impl Iterator<Item = (&(u32, u16), &Slowed)> {
        self.slowed.iter()
    }

    pub(crate) fn restore(&mut self, identity: u32, provider: u16, slowed: Slowed) {
        self.slowed.insert((identity, provider), slowed);
    }

    /// The sender has done harm. Whether that is news.
    pub(crate) fn set_bad(&mut self, identity: u32, until: UnixMs) -> bool {
        if self.bad.len() >= BAD_MAX && !self.bad.contains_key(&identity) {
            return false;
        }
        self.bad.insert(identity, until).is_none()
    }

    /// Writes the limit of a sender at a provider: of its warm-up, if it has one, and for what was refused the smaller one.
    pub(crate) fn write(&mut self, budgets: &Budgets, identity: u32, provider: u16, warm_up: Option<f64>) {
        let key = (identity, provider);
        let limit = [self.rate(identity, provider), warm_up].into_iter().flatten().reduce(f64::min);
        let before = match limit {
            Some(limit) => self.written.insert(key, limit),
            None => self.written.remove(&key),
        };
        let rises = limit.zip(before).is_some_and(|(limit, before)| limit >= before * FRESH_AT);
        if rises || (limit.is_none() && before.is_some()) {
            budgets.remove(identity, provider);
        }
        if let Some(rate) = limit.and_then(rate_of) {
            budgets.set(identity, provider, rate);
        }
    }

    /// Those that have behaved for long enough.
    pub(crate) fn forgiven(&mut self, now: UnixMs) -> Vec<u32> {
        let over: Vec<u32> =
            self.bad.iter().filter(|&(_, &until)| now >= until).map(|(&identity, _)| identity).collect();
        for identity in &over {
            self.bad.remove(identity);
        }
        over
    }

    pub(crate) fn bad(&self) -> impl Iterator<Item = (&u32, &UnixMs)> {
        self.bad.iter()
    }
}

/// So many a second, as a rate: exact to a tenth of a percent from one a day up.
fn rate_of(per_second: f64) -> Option<Rate> {
    let per = Duration::from_secs(match per_second {
        fast if fast >= 100.0 => 1,
        medium if medium >= 0.1 => 10_000,
        _ => 10_000_000,
    });
    let count = (per_second * per.as_secs_f64()).round().clamp(1.0, f64::from(u32::MAX));
    Rate::new(count as u32, per)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    #[test]
    fn a_slowed_sender_halves_recovers_slowly_and_is_free_again() {
        let mut senders = Senders::default();
        assert_eq!(senders.slow(1, 2, 20.0, NOW).map(|slowed| slowed.rate), Some(10.0));
        assert!(senders.slow(1, 2, 20.0, NOW + DECREASE_EVERY / 2).is_none(), "what was under way");
        let again = NOW + DECREASE_EVERY;
        assert_eq!(senders.slow(1, 2, 10.0, again).map(|slowed| slowed.rate), Some(5.0));
        let mut rates = Vec::new();
        for minute in 1..60 {
            rates.extend(senders.tick(again + CLEAN * minute));
        }
        assert_eq!(rates[..2], [(1, 2, Some(7.0)), (1, 2, Some(9.0))], "a tenth of 20 each minute");
        assert_eq!(rates.last(), Some(&(1, 2, None)), "80 a second are no limit");
        assert!(senders.rate(1, 2).is_none());
    }

    #[test]
    fn the_rate_has_a_floor() {
        let mut senders = Senders::default();
        for round in 0..20 {
            senders.slow(1, 2, 0.0, NOW + DECREASE_EVERY * round);
        }
        assert_eq!(senders.rate(1, 2), Some(FLOOR));
    }

    #[test]
    fn bad_senders_are_forgiven_after_a_day() {
        let mut senders = Senders::default();
        assert!(senders.set_bad(7, NOW + BAD_FOR));
        assert!(!senders.set_bad(7, NOW + BAD_FOR), "known");
        assert!(senders.forgiven(NOW).is_empty());
        assert_eq!(senders.forgiven(NOW + BAD_FOR), [7]);
    }

    #[test]
    fn rates_are_written_exactly() {
        for per_second in [0.00012, 0.1, 0.37, 12.5, 99.9, 150.0, 20_000.0] {
            let rate = rate_of(per_second).expect("above zero");
            let exact = f64::from(rate.count()) / rate.per().as_secs_f64();
            assert!((exact / per_second - 1.0).abs() < 0.005, "{per_second}: {rate}");
        }
    }
}
