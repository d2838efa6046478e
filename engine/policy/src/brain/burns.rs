//! Sources that a provider refuses: how long each rests there, and what it is worth afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

/// A burn within so long after the last is a repetition, which rests twice as long.
const REPEATS_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// The longest rest: a provider that refuses for days is asked once a day.
const REST_MAX: Duration = Duration::from_secs(86_400);
/// Points that a source has lost when it is tried again; half of them return each day.
const COST: f64 = 30.0;
const COST_HALF_LIFE: Duration = Duration::from_secs(86_400);

/// One source at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Burn {
    pub(crate) until: UnixMs,
    pub(crate) times: u8,
    pub(crate) is_healed: bool,
}

/// All of them; at most as many as there are sources and providers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Burns(BTreeMap<(u16, u16), Burn>);

impl Burns {
    /// The provider refuses the source, and asks for a rest. The rest that is kept and whether it is a new one: what was under
    /// way is refused too, and prolongs nothing unless it asks for more.
    pub(crate) fn burnt(&mut self, source: u16, provider: u16, rest: Duration, now: UnixMs) -> (Burn, bool) {
        let before = self.0.get(&(source, provider)).copied();
        if let Some(burn) = before.filter(|burn| now < burn.until) {
            let until = burn.until.max(now + rest.min(REST_MAX));
            let burn = Burn { until, ..burn };
            self.0.insert((source, provider), burn);
            return (burn, false);
        }
        let repeated = before.filter(|burn| now < burn.until + REPEATS_WITHIN);
        let times = repeated.map_or(1, |burn| burn.times.saturating_add(1));
        let longer = rest.saturating_mul(1 << (times - 1).min(10));
        let burn = Burn { until: now + longer.min(REST_MAX.max(rest)), times, is_healed: false };
        self.0.insert((source, provider), burn);
        (burn, true)
    }

    /// The sources whose rest is over, each once.
    pub(crate) fn healed(&mut self, now: UnixMs) -> Vec<(u16, u16)> {
        self.0.retain(|_, burn| !burn.is_healed || now < burn.until + REPEATS_WITHIN);
        let over = self.0.iter_mut().filter(|(_, burn)| !burn.is_healed && now >= burn.until);
        over.map(|(&key, burn)| {
            burn.is_healed = true;
            key
        })
        .collect()
    }

    /// The rest is over by somebody's word.
    pub(crate) fn heal(&mut self, source: u16, provider: u16, now: UnixMs) {
        if let Some(burn) = self.0.get_mut(&(source, provider)) {
            burn.until = burn.until.min(now);
        }
    }

    /// Points that the source has lost at the provider.
    pub(crate) fn cost(&self, source: u16, provider: u16, now: UnixMs) -> u8 {
        let Some(burn) = self.0.get(&(source, provider)) else { return 0 };
        let days = now.since(burn.until).as_secs_f64() / COST_HALF_LIFE.as_secs_f64();
        (COST * f64::from(burn.times) * (-days).exp2()).round().min(100.0) as u8
    }

    /// Whether it rests, and until when.
    pub(crate) fn rests(&self, source: u16, provider: u16, now: UnixMs) -> Option<UnixMs> {
        self.0.get(&(source, provider)).map(|burn| burn.until).filter(|&until| now < until)
    }

    /// The other sources that were burnt at the provider since `since`.
    pub(crate) fn others_since(&self, source: u16, provider: u16, since: UnixMs) -> usize {
        let others = self.0.iter().filter(|((other, at), _)| *at == provider && *other != source);
        others.filter(|(_, burn)| burn.until >= since).count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&(u16, u16), &Burn)> {
        self.0.iter()
    }

    pub(crate) fn restore(&mut self, source: u16, provider: u16, burn: Burn) {
        self.0.insert((source, provider), burn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn repeated_burns_rest_longer_and_cost_more() {
        let mut burns = Burns::default();
        let mut now = NOW;
        let mut rests = Vec::new();
        for _ in 0..7 {
            let (burn, is_new) = burns.burnt(1, 2, HOUR, now);
            assert!(is_new);
            assert!(!burns.burnt(1, 2, HOUR / 2, now + HOUR / 4).1, "what was under way prolongs nothing");
            rests.push(burn.until.since(now).as_secs() / 3600);
            now = burn.until;
            assert_eq!((burns.healed(now), burns.healed(now)), (vec![(1, 2)], vec![]));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 24, 24]);
        assert_eq!(burns.cost(1, 2, now), 100);
        let later = now + REPEATS_WITHIN;
        assert!(burns.cost(1, 2, later) <= 2);
        assert_eq!(burns.burnt(1, 2, HOUR, later).0.times, 1, "a week later it is forgotten");
    }
}
