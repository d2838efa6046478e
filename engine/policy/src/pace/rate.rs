//! The learned rate: how it grows, what a refusal makes of it, and when it is tried whether more is taken.
//!
//! A limit is closed to us from the first refusal until a message is taken again; whatever is refused in between is part
//! of that one event. Between two such events a receiver has taken what its limit gave in that time, whichever way
//! it counts, so that is the best measure of the limit when events follow upon each other.

use std::time::Duration;

use mail::UnixMs;

use super::change::Phase;
use super::closing::{Closing, Mark};
use super::meter::Meter;
use super::reason::Reason;
use super::span::Span;

/// How much faster each step of the search is, and how long a step lasts.
const SEARCH_FACTOR: f64 = 1.3;
const SEARCH_STEP: Span =
    Span { least: Duration::from_secs(8), messages: 6.0, most: Duration::from_secs(40) };
/// How much faster each step of a probe is: small as long as the limit is probably just above, larger with every step
/// that stays clean.
const PROBE_FACTORS: [f64; 5] = [1.03, 1.05, 1.1, 1.2, 1.3];
const PROBE_STEP: Span =
    Span { least: Duration::from_secs(15), messages: 20.0, most: Duration::from_secs(200) };
/// How long a rate that was found is held before the next probe: at first, and at most. It is doubled with every probe
/// that finds the limit where it was.
const HOLD: Span = Span { least: Duration::from_secs(30), messages: 30.0, most: Duration::from_secs(600) };
const HOLD_MAX: Span =
    Span { least: Duration::from_secs(300), messages: 300.0, most: Duration::from_secs(3600) };
/// A refusal so soon after the limit opened is about the rate that was chosen then.
const SOON: Span = Span { least: Duration::from_secs(30), messages: 20.0, most: Duration::from_secs(600) };
/// What is kept of the measured limit: usually, where it was taken for a while, and where the limit counts over a long
/// time and much was measured.
const KEPT: f64 = 0.92;
const KEPT_HELD: f64 = 0.95;
const KEPT_LONG: f64 = 0.96;
/// What is kept of a documented limit that was found to be the true one: hardly less, since it need not be measured.
const KEPT_DOCUMENTED: f64 = 0.99;
/// What a refusal leaves of the rate at least; those that follow soon may leave less and less.
const LEFT_LEAST: f64 = 0.5;
const LEFT_LEAST_SOON: [f64; 5] = [1.0, 0.85, 0.5, 0.2, 0.05];
/// The least that is made of an unlimited rate: a second's measure is not more exact.
const FOUND_LEAST: f64 = 1.0;
/// Openings after a long time that are farther apart have nothing to do with each other.
const SCALE_MAX: Duration = Duration::from_secs(30 * 3600);
/// Of a limit that counts over a long time, a rest after a single message that was refused is at least this part.
const SCALE_RESTS: u64 = 32;
/// The part of the rate that is let pass from one long closing to the next, if it is the limit that closes for long.
const LONG_SHARE: f64 = 0.8;
/// After a refusal for our name: what is kept, the rest, and for how long growth waits and is slow.
const NAME_KEPT: f64 = 0.5;
const NAME_REST: Duration = Duration::from_secs(60);
const NAME_HOLD: Duration = Duration::from_secs(300);
const NAME_FACTOR: f64 = 1.15;
const NAME_WARY: Duration = Duration::from_secs(1800);
/// While a limit may still be closed, messages a second that go to see.
const TRICKLE: f64 = 0.5;

/// What a refusal was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Rate,
    Name,
}

impl Refusal {
    const fn rest(self) -> Duration {
        match self {
            Self::Rate => Duration::ZERO,
            Self::Name => NAME_REST,
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Rate => Reason::RateRefused,
            Self::Name => Reason::NameRefused,
        }
    }
}

/// How the time since the last tick was made use of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Mail was there to be sent.
    pub(super) waited: Duration,
    /// It had to wait for the rate.
    pub(super) bound: Duration,
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
    /// What the provider says of its limit, where learning began; infinite where it says nothing.
    documented: f32,
    phase: Phase,
    /// Steps of this probe.
    step: u8,
    /// For how long the present step or hold has been in force while mail waited for it, and what had been accepted before.
    bound_ms: u32,
    bound_accepted: u32,
    /// How long a settled rate is held, in seconds.
    hold_s: u32,
    /// The time over which the limit counts in seconds, where that is long.
    scale_s: u32,
    /// For how long mail has waited for the rate or for the end of a rest, altogether.
    busy_ms: u32,
    /// Until this second after the epoch growth is slow.
    wary_until_s: u32,
    closing: Closing,
}

impl RateControl {
    pub(super) fn new(rate: f64, now: UnixMs) -> Self {
        Self {
            rate,
            good: 0.0,
            settled: 0.0,
            documented: rate as f32,
            phase: Phase::Searching,
            step: 0,
            bound_ms: 0,
            bound_accepted: 0,
            hold_s: 0,
            scale_s: 0,
            busy_ms: 0,
            wary_until_s: 0,
            closing: Closing::new(now),
        }
    }

    /// Goes on from a rate that was found before; `documented` is where learning had begun.
    pub(super) fn restored(rate: f64, documented: f64, now: UnixMs) -> Self {
        Self { rate, good: rate, phase: Phase::Holding, ..Self::new(documented, now) }
    }

    /// The rate that was learned; infinite while there is none.
    pub(super) const fn learned(&self) -> f64 {
        self.rate
    }

    /// The rate in force.
    pub(super) const fn in_force(&self) -> f64 {
        match self.phase {
            Phase::Resting => self.rate.min(TRICKLE),
            _ => self.rate,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn rests_until(&self) -> UnixMs {
        self.closing.rests_until
    }

    /// Rests without learning anything.
    pub(super) fn rest(&mut self, until: UnixMs) {
        self.closing.rests_until = until;
    }

    /// Keeps the rate between `least` and `most`.
    pub(super) fn keep_within(&mut self, least: f64, most: f64) {
        self.rate = self.rate.min(most).max(least);
        self.good = self.good.min(self.rate);
    }

    /// A message was accepted.
    pub(super) fn took(&mut self, now: UnixMs) {
        self.closing.took(now);
    }

    /// The receiver is in trouble of its own: a rest, and nothing is learned.
    pub(super) fn unavailable(&mut self, meter: &mut Meter, now: UnixMs) {
        if now >= self.closing.rests_until && self.closing.trouble(meter.low(), now) {
            meter.restart(now);
            self.restart_step(meter);
        }
    }

    /// Something was refused; the reason, if that changes anything.
    pub(super) fn refused(&mut self, refusal: Refusal, meter: &Meter, now: UnixMs) -> Option<Reason> {
        let was_wary = self.is_wary(now);
        if refusal == Refusal::Name {
            self.wary_until_s = seconds(now.since(UnixMs(0)) + NAME_WARY);
        }
        if now < self.closing.rests_until {
            // One event with the refusal that the rest began with, but perhaps a worse one than it seemed.
            let is_worse = refusal == Refusal::Name && !was_wary;
            if is_worse {
                self.rate *= NAME_KEPT;
                self.closing.rests_until = self.closing.rests_until.max(now + NAME_REST);
            }
            return is_worse.then_some(Reason::NameRefused);
        }
        if self.phase == Phase::Resting {
            let of_scale = Duration::from_secs(u64::from(self.scale_s) / SCALE_RESTS);
            self.closing.fail(self.rate, refusal.rest().max(of_scale), now);
            return None;
        }
        let closed = Mark { at: now, accepted: meter.low(), busy_ms: self.busy_ms };
        self.cut(refusal, &closed, meter.per_second(now).min(self.rate));
        self.closing.close(closed, self.rate, refusal.rest());
        self.phase = Phase::Resting;
        Some(refusal.reason())
    }

    /// Chooses the rate for when the limit opens again. `measured` is what was accepted a second lately.
    fn cut(&mut self, refusal: Refusal, closed: &Mark, measured: f64) {
        let (rate, opened_at) = (self.rate, self.closing.opened_at);
        let is_soon = opened_at > UnixMs(0) && closed.at.since(opened_at) < SOON.at(rate);
        self.closing.streak = if is_soon { self.closing.streak.saturating_add(1) } else { 0 };
        self.rate = if rate.is_infinite() {
            KEPT * measured.max(FOUND_LEAST)
        } else if refusal == Refusal::Name {
            // How much is taken of a bad name says little of the limit for a good one.
            measured.clamp(rate * LEFT_LEAST, rate)
        } else if is_soon {
            let streak = usize::from(self.closing.streak).min(LEFT_LEAST_SOON.len() - 1);
            let between = self.closing.closed.per_second_to(closed);
            (KEPT * between).clamp(rate * LEFT_LEAST_SOON[streak], KEPT * rate)
        } else if self.phase == Phase::Probing && self.good < rate {
            self.hold_s = seconds((self.held_for() * 2).min(HOLD_MAX.at(rate)));
            self.good
        } else {
            let kept = if self.phase == Phase::Holding { KEPT_HELD } else { KEPT };
            (kept * measured).clamp(rate * LEFT_LEAST, kept * rate)
        };
        if refusal == Refusal::Name {
            self.rate *= NAME_KEPT;
        }
        // A limit that is measured about where it is documented is taken to be just there.
        let documented = f64::from(self.documented);
        let is_documented = (0.85..1.1).contains(&(self.rate / documented));
        if refusal == Refusal::Rate && !is_soon && is_documented {
            self.rate = KEPT_DOCUMENTED * documented;
        }
        self.good = self.rate;
    }

    /// To be called about once a second; the reason, if something has changed.
    pub(super) fn tick(&mut self, used: Used, meter: &mut Meter, now: UnixMs) -> Option<Reason> {
        let busy = if self.phase == Phase::Resting { used.waited } else { used.bound };
        self.busy_ms = self.busy_ms.wrapping_add(milliseconds(busy));
        if now < self.closing.rests_until {
            return None;
        }
        if self.phase == Phase::Resting {
            return self.closing.is_over(now).then(|| self.open(meter, now));
        }
        self.bound_ms = self.bound_ms.saturating_add(milliseconds(used.bound));
        let is_clean = milliseconds(self.needed(now)) <= self.bound_ms && self.was_used(meter);
        if !is_clean || self.rate.is_infinite() {
            return None;
        }
        self.grow(now);
        self.restart_step(meter);
        Some(Reason::Clean)
    }

    /// For how long the present rate must stay clean before it grows.
    fn needed(&self, now: UnixMs) -> Duration {
        match self.phase {
            Phase::Searching => SEARCH_STEP.at(self.rate),
            Phase::Probing => PROBE_STEP.at(self.rate).max(Duration::from_secs(self.scale_s.into())),
            _ if self.is_wary(now) => self.held_for().max(NAME_HOLD),
            _ => self.held_for(),
        }
    }

    /// How long the rate is to be held before it is tried whether more is taken.
    fn held_for(&self) -> Duration {
        let settled_s = if self.is_settled() { self.hold_s } else { 0 };
        let seconds = settled_s.max(self.scale_s.saturating_mul(2));
        HOLD.at(self.rate).max(Duration::from_secs(seconds.into()))
    }

    /// Whether the rate is about the one that was held last, so that the limit has probably not changed.
    fn is_settled(&self) -> bool {
        (0.8..1.25).contains(&(self.rate / self.settled))
    }

    fn is_wary(&self, now: UnixMs) -> bool {
        u64::from(self.wary_until_s) > now.seconds()
    }

    /// Whether the rate was really made use of while it is said to have been the bottleneck.
    fn was_used(&self, meter: &Meter) -> bool {
        let accepted = meter.low().wrapping_sub(self.bound_accepted);
        f64::from(accepted) + 1.0 >= 0.5 * self.rate * f64::from(self.bound_ms) / 1000.0
    }

    fn grow(&mut self, now: UnixMs) {
        let (is_wary, was_settled) = (self.is_wary(now), self.is_settled());
        self.good = self.rate;
        self.rate *= match self.phase {
            _ if is_wary => NAME_FACTOR,
            Phase::Searching => SEARCH_FACTOR,
            Phase::Probing => {
                self.step = self.step.saturating_add(1);
                PROBE_FACTORS[usize::from(self.step).min(PROBE_FACTORS.len() - 1)]
            }
            Phase::Holding | Phase::Resting | Phase::Fixed => PROBE_FACTORS[0],
        };
        if self.phase == Phase::Holding {
            self.hold_s = if was_settled { self.hold_s } else { 0 };
            (self.phase, self.settled, self.step) = (Phase::Probing, self.good, 0);
        }
    }

    /// A message was taken after the rest: mail goes again.
    fn open(&mut self, meter: &mut Meter, now: UnixMs) -> Reason {
        let was_long = self.closing.open(self.rate, now);
        if was_long && !self.is_wary(now) {
            self.opened_after_long(meter, now);
        }
        self.phase = Phase::Holding;
        meter.restart(now);
        self.restart_step(meter);
        Reason::Opened
    }

    /// The limit counts over a long time. From one such opening to the next it lets pass what it ever does in that time, so
    /// that much is sent from now on, evenly.
    fn opened_after_long(&mut self, meter: &Meter, now: UnixMs) {
        let opened = Mark { at: now, accepted: meter.low(), busy_ms: self.busy_ms };
        let before = std::mem::replace(&mut self.closing.opened_long, opened);
        let between = now.since(before.at);
        if between > SCALE_MAX {
            return;
        }
        let average = before.per_second_to(&opened);
        if average < LONG_SHARE * self.rate {
            self.scale_s = seconds(between);
        }
        if self.scale_s > 0 && KEPT_LONG * average < self.rate {
            (self.rate, self.hold_s) = (KEPT_LONG * average, 0);
            (self.good, self.settled) = (self.rate, self.rate);
        }
    }

    fn restart_step(&mut self, meter: &Meter) {
        (self.bound_ms, self.bound_accepted) = (0, meter.low());
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
