//! What a provider allows, when that changes, and the meters that hold senders to it.

use std::time::Duration;

use mail::UnixMs;
use policy::Rate;
use serde::Deserialize;

use crate::file::{Settings, StatedDocumented, StatedLimit, StatedLimits};

/// From this on, a rate is a count in windows instead of a bucket.
const WINDOW_MIN: Duration = Duration::from_secs(3600);
/// What a bucket holds, as a part of the time of its rate: all of a second's, a sixth of a minute's.
const BURST: [(Duration, u32); 2] = [(Duration::from_secs(1), 1), (Duration::from_secs(60), 6)];
/// Refusals are counted towards a penalty for so long.
const REFUSALS_MS: u64 = 60_000;

/// Whom a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// A source address.
    Ip,
    /// All source addresses of one /24, or of one /64 of IPv6.
    Netblock,
    /// The domain of the sender address.
    Identity,
}

/// So many recipients per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whom it counts.
    pub per: Per,
    /// Per second or minute it is a bucket; per hour or day it is counted in windows from the beginning of the world.
    pub rate: Rate,
    /// What going on against it costs.
    pub penalty: Option<Penalty>,
}

/// After so many refusals within a minute, one more closes the limit for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    /// Refusals that are borne.
    pub refusals: u32,
    /// How long everything is refused.
    pub lasts: Duration,
}

/// All that a provider allows to those that stand well with it. `None` is without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open connections per source address.
    pub connections: Option<u32>,
    /// Messages of one connection.
    pub messages_per_connection: Option<u32>,
    /// Recipients of one message.
    pub recipients_per_message: Option<u32>,
    /// Rates, all of which hold.
    pub rates: Vec<Limit>,
}

/// What a provider tells senders of its limits. `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Documented {
    /// Open connections per source address.
    pub connections: Option<u32>,
    /// Recipients per time and source address.
    pub rate: Option<Rate>,
    /// Messages of one connection.
    pub messages_per_connection: Option<u32>,
    /// Recipients of one message.
    pub recipients_per_message: Option<u32>,
    /// Transactions on the wire of one connection at the same time.
    pub pipeline_depth: Option<u16>,
}

impl Documented {
    /// What was written, and the truth at the beginning where nothing was.
    pub(crate) fn of(settings: &Settings, truth: &Limits) -> Self {
        let StatedDocumented::Told(stated) = settings.documented else { return Self::default() };
        let per_ip = truth.rates.iter().find(|limit| limit.per == Per::Ip);
        Self {
            connections: stated.connections.or(truth.connections),
            rate: stated.rate.map(|rate| rate.0).or(per_ip.map(|limit| limit.rate)),
            messages_per_connection: stated.messages_per_connection.or(truth.messages_per_connection),
            recipients_per_message: stated.recipients_per_message.or(truth.recipients_per_message),
            pipeline_depth: stated.pipeline_depth,
        }
    }
}

/// The limits of a provider over time.
#[derive(Debug)]
pub(crate) struct Phases {
    /// From when each holds; the first from zero.
    list: Vec<(Duration, Limits)>,
    at: usize,
    gauges: Gauges,
}

/// The gauges of the present phase, by whom they count.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Which phase, so that meters know theirs.
    pub(crate) phase: u32,
    pub(crate) per_ip: Vec<Gauge>,
    pub(crate) per_netblock: Vec<Gauge>,
    pub(crate) per_identity: Vec<Gauge>,
}

impl Phases {
    pub(crate) fn of(settings: &Settings) -> Self {
        let mut stated = settings.limits.clone();
        let mut list = vec![(Duration::ZERO, Limits::of(&stated))];
        for change in &settings.changes {
            let new = change.limits();
            stated.connections = new.connections.or(stated.connections);
            stated.messages_per_connection = new.messages_per_connection.or(stated.messages_per_connection);
            stated.recipients_per_message = new.recipients_per_message.or(stated.recipients_per_message);
            stated.rate = new.rate.or(stated.rate);
            stated.limits = new.limits.or(stated.limits);
            list.push((change.after.0, Limits::of(&stated)));
        }
        let gauges = Gauges::of(&list[0].1, 0);
        Self { list, at: 0, gauges }
    }

    /// What holds since the last call of [`Phases::age`].
    pub(crate) fn now(&self) -> &Limits {
        &self.list[self.at].1
    }

    pub(crate) const fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// From when each holds.
    pub(crate) fn beginnings(&self) -> Vec<Duration> {
        self.list.iter().map(|&(from, _)| from).collect()
    }

    /// What holds at an age of the world.
    pub(crate) fn at(&self, age: Duration) -> &Limits {
        let last = self.list.iter().rev().find(|(from, _)| *from <= age);
        &last.unwrap_or(&self.list[0]).1
    }

    /// Goes on to the phase of this age.
    pub(crate) fn age(&mut self, age: Duration) {
        while self.list.get(self.at + 1).is_some_and(|(from, _)| *from <= age) {
            self.at += 1;
            self.gauges = Gauges::of(&self.list[self.at].1, self.at as u32);
        }
    }
}

impl Limits {
    fn of(stated: &StatedLimits) -> Self {
        let short = stated.rate.map(|rate| Limit { per: Per::Ip, rate: rate.0, penalty: None });
        let long = stated.limits.iter().flatten().map(Limit::from);
        Self {
            connections: stated.connections,
            messages_per_connection: stated.messages_per_connection,
            recipients_per_message: stated.recipients_per_message,
            rates: short.into_iter().chain(long).collect(),
        }
    }
}

impl From<&StatedLimit> for Limit {
    fn from(stated: &StatedLimit) -> Self {
        let penalty =
            stated.penalty.map(|penalty| Penalty { refusals: penalty.refusals, lasts: penalty.lasts.0 });
        Self { per: stated.per, rate: stated.rate.0, penalty }
    }
}

impl Gauges {
    fn of(limits: &Limits, phase: u32) -> Self {
        let per = |per: Per| limits.rates.iter().filter(|limit| limit.per == per).map(Gauge::of).collect();
        Self {
            phase,
            per_ip: per(Per::Ip),
            per_netblock: per(Per::Netblock),
            per_identity: per(Per::Identity),
        }
    }
}

/// A limit, made ready for counting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge {
    measure: Measure,
    /// Refusals borne, and milliseconds of what follows.
    penalty: Option<(u32, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum Measure {
    Bucket { interval_ns: f64, burst_ns: f64 },
    Window { length_ms: u64, most: f64 },
}

impl Gauge {
    pub(crate) fn of(limit: &Limit) -> Self {
        let (per, count) = (limit.rate.per(), f64::from(limit.rate.count()));
        let measure = if per >= WINDOW_MIN {
            Measure::Window { length_ms: per.as_millis() as u64, most: count }
        } else {
            let part = BURST.iter().find(|(up_to, _)| per <= *up_to).map_or(60, |&(_, part)| part);
            let interval_ns = per.as_nanos() as f64 / count;
            Measure::Bucket { interval_ns, burst_ns: (per / part).as_nanos() as f64 }
        };
        let penalty = limit.penalty.map(|penalty| (penalty.refusals, penalty.lasts.as_millis() as u64));
        Self { measure, penalty }
    }

    /// Whether it counts a long time, as a quota does.
    pub(crate) const fn is_quota(&self) -> bool {
        matches!(self.measure, Measure::Window { .. })
    }
}

/// What one sender has used of one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// Of a bucket: when it is full again, in nanoseconds. Of a window: which one it is.
    level: u64,
    /// Of a window: what was counted in it.
    count: u32,
    /// Refusals since `refused_since_ms`.
    refusals: u32,
    refused_since_ms: u64,
    /// All is refused until then.
    closed_until_ms: u64,
}

/// The present, as limits see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: UnixMs,
    /// Since the world began.
    pub(crate) age_ms: u64,
}

impl Meter {
    /// Whether one more fits when the limit is scaled by `factor`; a refusal counts towards the penalty.
    pub(crate) fn check(&mut self, gauge: &Gauge, moment: Moment, factor: f64) -> bool {
        let fits = moment.now.0 >= self.closed_until_ms && self.has_room(gauge, moment, factor);
        if let (false, Some((borne, lasts_ms))) = (fits, gauge.penalty) {
            self.refuse(moment.now, borne, lasts_ms);
        }
        fits
    }

    /// When it was last of use, as a number that grows with time.
    pub(crate) const fn level(&self) -> u64 {
        self.level
    }

    fn has_room(&mut self, gauge: &Gauge, moment: Moment, factor: f64) -> bool {
        match gauge.measure {
            Measure::Bucket { interval_ns, burst_ns } => {
                let now_ns = moment.now.0.saturating_mul(1_000_000);
                let used_ns = self.level.saturating_sub(now_ns) as f64;
                let interval_ns = interval_ns / factor;
                used_ns + interval_ns <= burst_ns.max(interval_ns)
            }
            Measure::Window { length_ms, most } => {
                let window = moment.age_ms / length_ms;
                if window != self.level {
                    (self.level, self.count) = (window, 0);
                }
                f64::from(self.count) + 1.0 <= (most * factor).max(1.0)
            }
        }
    }

    /// Counts one that fitted.
    pub(crate) fn take(&mut self, gauge: &Gauge, moment: Moment, factor: f64) {
        match gauge.measure {
            Measure::Bucket { interval_ns, .. } => {
                let now_ns = moment.now.0.saturating_mul(1_000_000);
                self.level = self.level.max(now_ns).saturating_add((interval_ns / factor) as u64);
            }
            Measure::Window { .. } => self.count = self.count.saturating_add(1),
        }
    }

    fn refuse(&mut self, now: UnixMs, borne: u32, lasts_ms: u64) {
        if now.0 < self.closed_until_ms {
            return;
        }
        if now.0.saturating_sub(self.refused_since_ms) >= REFUSALS_MS {
            (self.refused_since_ms, self.refusals) = (now.0, 0);
        }
        self.refusals += 1;
        if self.refusals > borne {
            self.closed_until_ms = now.0.saturating_add(lasts_ms);
            self.refusals = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(count: u32, seconds: u64, penalty: Option<Penalty>) -> Gauge {
        let rate = Rate::new(count, Duration::from_secs(seconds)).expect("above zero");
        Gauge::of(&Limit { per: Per::Ip, rate, penalty })
    }

    /// How many of the attempts at each of these milliseconds fit.
    fn taken(gauge: &Gauge, factor: f64, attempts: impl Iterator<Item = u64>) -> usize {
        let mut meter = Meter::default();
        attempts
            .filter(|&ms| {
                let moment = Moment { now: UnixMs(1_700_000_000_000 + ms), age_ms: ms };
                let fits = meter.check(gauge, moment, factor);
                if fits {
                    meter.take(gauge, moment, factor);
                }
                fits
            })
            .count()
    }

    #[test]
    fn a_bucket_holds_a_second_of_a_second_and_ten_of_a_minute() {
        assert_eq!(taken(&gauge(100, 1, None), 1.0, (0..10_000).map(|n| n / 100)), 100 + 9);
        assert_eq!(taken(&gauge(100, 1, None), 1.0, 0..10_000), 1100 - 1);
        assert_eq!(taken(&gauge(600, 60, None), 1.0, (0..1000).map(|_| 0)), 100);
        assert_eq!(taken(&gauge(1, 1, None), 1.0, [0, 0, 999, 1000, 1999, 2000].into_iter()), 3);
    }

    #[test]
    fn windows_are_aligned_with_the_beginning_of_the_world() {
        let hour = 3_600_000;
        let gauge = gauge(10, 3600, None);
        assert_eq!(taken(&gauge, 1.0, (0..20).map(|n| hour - 20 + n)), 10);
        assert_eq!(taken(&gauge, 1.0, (0..40).map(|n| hour - 20 + n)), 20);
    }

    #[test]
    fn a_factor_scales_what_is_allowed() {
        assert_eq!(taken(&gauge(100, 1, None), 0.5, 0..10_000), 549);
        assert_eq!(taken(&gauge(10, 3600, None), 0.5, 0..100), 5);
        assert_eq!(taken(&gauge(10, 3600, None), 0.0001, 0..100), 1, "a window always lets one in");
    }

    #[test]
    fn hammering_closes_the_limit_for_the_time_of_the_penalty() {
        let penalty = Penalty { refusals: 5, lasts: Duration::from_secs(10) };
        let gauge = gauge(1, 1, Some(penalty));
        // Ten at once: one fits, five refusals are borne, the sixth closes.
        let hammering = (0..10).map(|_| 0);
        assert_eq!(taken(&gauge, 1.0, hammering.clone().chain([2000, 9_999])), 1);
        assert_eq!(taken(&gauge, 1.0, hammering.chain([2000, 10_000])), 2);
        let patient = (0..5).map(|_| 0).chain([2000, 2000, 70_000, 70_000]);
        assert_eq!(taken(&gauge, 1.0, patient), 3);
    }
}
