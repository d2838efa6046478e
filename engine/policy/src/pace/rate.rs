//! The learned rate: how it grows, what a refusal makes of it, and when it is tried whether more is taken.
//!
//! A limit is closed to us from the first refusal until a message is taken again; whatever is refused in between is part
//! of that one event. Between two such events a receiver has taken what its limit gave in that time, whichever way
//! it counts, so that is the best measure of the limit when events follow upon each other.

use std::time::Duration;

use mail::UnixMs;

use super::change::Phase;
use super::meter::Meter;

/// How much faster each step of the search is, and how long a step lasts.
const SEARCH_FACTOR: f64 = 1.3;
const SEARCH_STEP: Span =
    Span { least: Duration::from_secs(8), messages: 6.0, most: Duration::from_secs(40) };
/// How much faster each step of a probe is: small as long as the limit is probably just above, larger with every step
/// that stays clean.
const PROBE_FACTORS: [f64; 5] = [1.03, 1.05, 1.1, 1.2, 1.3];
const PROBE_STEP: Span =
    Span { least: Duration::from_secs(15), messages: 20.0, most: Duration::from_secs(60) };
/// How long a rate that was found is held before the next probe, first and at most.
const HOLD: Span = Span { least: Duration::from_secs(30), messages: 30.0, most: Duration::from_secs(600) };
const HOLD_MAX: Span =
    Span { least: Duration::from_secs(300), messages: 300.0, most: Duration::from_secs(3600) };
/// A refusal so soon after the last one is about the rate that was chosen then.
const SOON: Span = Span { least: Duration::from_secs(30), messages: 20.0, most: Duration::from_secs(600) };
/// What is kept of the measured limit.
const KEPT: f64 = 0.92;
/// The same where the limit counts over a long time, so that much has been measured.
const KEPT_LONG: f64 = 0.96;
const SCALE_MAX: Duration = Duration::from_secs(86_400);
/// A refusal leaves at least this part of the rate, the second in a row its square, and so on.
const CUT_MOST: f64 = 0.5;
/// How long nothing goes after a refusal; doubled with each one that follows.
const REST: Span = Span { least: Duration::from_secs(1), messages: 2.0, most: Duration::from_secs(600) };
const REST_MAX: Duration = Duration::from_secs(2 * 3600);
/// A limit that was closed for so long counts over long times.
const LONG: Span = Span { least: Duration::from_secs(60), messages: 20.0, most: Duration::from_secs(600) };
const LONG_FAILS: u8 = 3;
/// After a refusal for our name: what is kept, the rest, and for how long growth is slow.
const NAME_KEPT: f64 = 0.5;
const NAME_REST: Duration = Duration::from_secs(60);
const NAME_WARY: Duration = Duration::from_secs(3600);
/// While a limit may still be closed, one message may go in this time, to see.
const TRICKLE: f64 = 0.5;

/// A time that is long enough for a number of messages.
struct Span {
    least: Duration,
    messages: f64,
    most: Duration,
}

impl Span {
    fn at(&self, rate: f64) -> Duration {
        let seconds = self.messages / rate;
        match seconds.is_finite() {
            true => Duration::from_secs_f64(seconds.clamp(0.0, 1e6)).clamp(self.least, self.most),
            false => self.most,
        }
    }
}

/// The learned rate of one budget.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RateControl {
    /// Messages a second; infinite while it is not limited. What goes while a limit is closed is less.
    rate: f64,
    /// The fastest rate that stayed clean for a step.
    good: f64,
    /// The rate that was held last, to the end of the hold.
    settled: f64,
    phase: Phase,
    /// Steps of this probe.
    step: u8,
    /// Refusals that came soon upon each other.
    streak: u8,
    /// Single messages that were refused since the limit closed.
    fails: u8,
    /// For how long the present step or hold has been in force while mail waited for it.
    bound: Duration,
    bound_accepted: u64,
    hold: Duration,
    /// The time over which the limit counts, where that is long.
    scale: Duration,
    rests_until: UnixMs,
    /// When the limit closed last, and how much had been accepted by then.
    closed_at: UnixMs,
    closed_accepted: u64,
    /// For how long since then mail was there to be sent.
    busy: Duration,
    /// When it opened again, and whether it had been closed for long.
    opened_at: UnixMs,
    was_long: bool,
    wary_until: UnixMs,
    /// Accepted since the rest is over.
    passed: u32,
}

/// How the time since the last tick was made use of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Mail was there to be sent.
    pub(super) waited: Duration,
    /// It had to wait for the rate.
    pub(super) bound: Duration,
}

/// What a refusal was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Rate,
    Name,
}

impl RateControl {
    pub(super) const fn new(rate: f64) -> Self {
        Self {
            rate,
            good: 0.0,
            settled: 0.0,
            phase: Phase::Searching,
            step: 0,
            streak: 0,
            fails: 0,
            bound: Duration::ZERO,
            bound_accepted: 0,
            hold: Duration::ZERO,
            scale: Duration::ZERO,
            rests_until: UnixMs(0),
            closed_at: UnixMs(0),
            closed_accepted: 0,
            busy: Duration::ZERO,
            opened_at: UnixMs(0),
            was_long: false,
            wary_until: UnixMs(0),
            passed: 0,
        }
    }

    /// Goes on from a rate that was found before.
    pub(super) const fn restored(rate: f64) -> Self {
        Self { good: rate, phase: Phase::Holding, ..Self::new(rate) }
    }

    /// The rate that was learned; infinite while there is none.
    pub(super) const fn learned(&self) -> f64 {
        self.rate
    }

    /// The rate in force.
    pub(super) fn in_force(&self) -> f64 {
        if self.phase == Phase::Resting { self.rate.min(TRICKLE) } else { self.rate }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn rests_until(&self) -> UnixMs {
        self.rests_until
    }

    /// A message was accepted.
    pub(super) fn took(&mut self, now: UnixMs) {
        self.passed = self.passed.saturating_add(u32::from(now >= self.rests_until));
    }

    /// The receiver is in trouble of its own.
    pub(super) fn unavailable(&mut self, meter: &mut Meter, now: UnixMs) {
        self.rests_until = self.rests_until.max(now + REST.least);
        meter.restart(now);
        self.restart_step(meter);
    }

    /// Something was refused; the reason, if that changes anything.
    pub(super) fn refused(
        &mut self,
        refusal: Refusal,
        meter: &mut Meter,
        now: UnixMs,
    ) -> Option<&'static str> {
        let was_wary = self.wary_until > now;
        if refusal == Refusal::Name {
            self.wary_until = now + NAME_WARY;
        }
        if now < self.rests_until {
            // One event with the refusal that the rest began with, but perhaps a worse one than it seemed.
            if refusal == Refusal::Name && !was_wary {
                self.rate *= NAME_KEPT;
                self.rests_until = self.rests_until.max(now + NAME_REST);
                return Some("the receiver refused us for our name");
            }
            return None;
        }
        if self.phase == Phase::Resting {
            self.fails = self.fails.saturating_add(1);
            self.passed = 0;
            self.rests_until = self.end_of_rest(refusal, now);
            return None;
        }
        self.cut(refusal, meter, now);
        (self.closed_at, self.closed_accepted, self.busy) = (now, meter.accepted(), Duration::ZERO);
        (self.phase, self.fails, self.passed) = (Phase::Resting, 0, 0);
        self.rests_until = self.end_of_rest(refusal, now);
        Some(match refusal {
            Refusal::Rate => "the receiver refused the rate",
            Refusal::Name => "the receiver refused us for our name",
        })
    }

    /// Chooses the rate for when the limit opens again.
    fn cut(&mut self, refusal: Refusal, meter: &Meter, now: UnixMs) {
        let measured = meter.per_second(now).min(self.rate).max(f64::MIN_POSITIVE);
        let between = self.between(meter);
        let is_soon = self.opened_at > UnixMs(0) && now.since(self.opened_at) < SOON.at(self.rate);
        let rate = self.rate.min(f64::MAX);
        self.rate = if self.rate.is_infinite() {
            KEPT * measured.max(1.0)
        } else if self.was_long && self.closed_at > UnixMs(0) {
            self.scale = self.busy.min(SCALE_MAX);
            (self.settled, self.hold) = (rate.min(KEPT_LONG * between), Duration::ZERO);
            self.settled
        } else if is_soon {
            self.streak = self.streak.saturating_add(1).min(60);
            (KEPT * between).clamp(rate * CUT_MOST.powi(i32::from(self.streak)), KEPT * rate)
        } else if self.phase == Phase::Probing && self.good < rate {
            self.hold = (self.held_for() * 2).min(HOLD_MAX.at(rate));
            self.good
        } else {
            (KEPT * measured).clamp(rate * CUT_MOST, KEPT * rate)
        };
        if !is_soon {
            self.streak = 0;
        }
        if refusal == Refusal::Name {
            self.rate *= NAME_KEPT;
        }
        self.good = self.rate;
        self.was_long = false;
    }

    /// Accepted a second since the limit closed the last time.
    fn between(&self, meter: &Meter) -> f64 {
        let accepted = meter.accepted().wrapping_sub(self.closed_accepted);
        (accepted as f64 + 1.0) / self.busy.as_secs_f64().max(1.0)
    }

    /// How long the rate is to be held before it is tried whether more is taken.
    fn held_for(&self) -> Duration {
        let hold = if self.is_settled() { self.hold } else { Duration::ZERO };
        hold.max(HOLD.at(self.rate)).max(self.scale * 2)
    }

    /// Twice as long for each refusal that follows upon another.
    fn end_of_rest(&self, refusal: Refusal, now: UnixMs) -> UnixMs {
        let least = match refusal {
            Refusal::Rate => REST.least,
            Refusal::Name => NAME_REST,
        };
        let doubled = |rest: Duration, times: u8| rest.saturating_mul(1 << times.min(20));
        // A slow rate grows with the streak by itself.
        let rest = doubled(least, self.streak.saturating_add(self.fails));
        aligned(now, rest.max(doubled(REST.at(self.rate), self.fails)).min(REST_MAX))
    }

    /// To be called about once a second; the reason, if something has changed.
    pub(super) fn tick(&mut self, used: Used, meter: &mut Meter, now: UnixMs) -> Option<&'static str> {
        self.busy += used.waited;
        if now < self.rests_until {
            return None;
        }
        if self.phase == Phase::Resting {
            return (self.passed > 0).then(|| self.open(meter, now));
        }
        if self.streak > 0 && now.since(self.opened_at) >= SOON.at(self.rate) {
            self.streak = 0;
        }
        self.bound += used.bound;
        let is_wary = self.wary_until > now;
        let needed = match self.phase {
            Phase::Searching => SEARCH_STEP.at(self.rate),
            Phase::Probing => PROBE_STEP.at(self.rate).max(self.scale),
            _ if is_wary => self.held_for().max(HOLD_MAX.at(self.rate)),
            _ => self.held_for(),
        };
        let is_clean = self.bound >= needed && self.was_used(meter);
        if !is_clean || self.rate.is_infinite() {
            return None;
        }
        self.grow(is_wary);
        self.restart_step(meter);
        Some("all that was sent was taken, and more waits")
    }

    /// Whether the rate was really made use of while it is said to have been the bottleneck.
    fn was_used(&self, meter: &Meter) -> bool {
        let accepted = meter.accepted().wrapping_sub(self.bound_accepted) as f64;
        accepted + 1.0 >= 0.5 * self.rate * self.bound.as_secs_f64()
    }

    fn grow(&mut self, is_wary: bool) {
        self.good = self.rate;
        if self.phase == Phase::Holding {
            self.hold = self.held_for();
            (self.phase, self.settled, self.step) = (Phase::Probing, self.rate, 0);
            self.rate *= PROBE_FACTORS[0];
            return;
        }
        self.rate *= match self.phase {
            Phase::Searching if !is_wary => SEARCH_FACTOR,
            Phase::Probing if !is_wary => {
                self.step = self.step.saturating_add(1);
                PROBE_FACTORS[usize::from(self.step).min(PROBE_FACTORS.len() - 1)]
            }
            _ => PROBE_FACTORS[0],
        };
    }

    /// Whether the rate is about the one that was held last, so that the limit has probably not changed.
    fn is_settled(&self) -> bool {
        (0.8..1.25).contains(&(self.rate / self.settled))
    }

    /// A message was taken after the rest: mail goes again.
    fn open(&mut self, meter: &mut Meter, now: UnixMs) -> &'static str {
        self.was_long = self.fails >= LONG_FAILS && now.since(self.closed_at) >= LONG.at(self.rate);
        (self.phase, self.fails, self.opened_at) = (Phase::Holding, 0, now);
        meter.restart(now);
        self.restart_step(meter);
        "a message was taken after the rest"
    }

    fn restart_step(&mut self, meter: &Meter) {
        (self.bound, self.bound_accepted) = (Duration::ZERO, meter.accepted());
    }

    /// Keeps the rate between `least` and `most`.
    pub(super) fn keep_within(&mut self, least: f64, most: f64) {
        self.rate = self.rate.min(most).max(least);
        self.good = self.good.min(self.rate);
    }
}

/// The end of a rest that begins now. Limits that count over long times often open at a full hour or at midnight (UTC),
/// so a long rest ends just behind one that is near.
fn aligned(now: UnixMs, rest: Duration) -> UnixMs {
    const BEHIND_MS: u64 = 2_000;
    let end = now + rest;
    let rest_ms = end.0.saturating_sub(now.0);
    if rest_ms < 300_000 {
        return end;
    }
    let near = |period_ms: u64| {
        let full = (now.0 + rest_ms / 2).div_ceil(period_ms) * period_ms;
        (full <= now.0 + rest_ms + rest_ms / 2).then(|| UnixMs(full + BEHIND_MS))
    };
    near(86_400_000).or_else(|| near(3_600_000)).unwrap_or(end)
}
