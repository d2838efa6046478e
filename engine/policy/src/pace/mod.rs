//! What a source may send to a provider, as learned from what the provider takes and refuses: the moving part of a budget.
//!
//! A [`Pacer`] is told of every acceptance and every refusal, and says the limits in force. Whoever is refused for his own
//! sake (no such mailbox, a greylist) has passed the limits, and counts as accepted here. It refuses to know what waits,
//! to read replies, and to go beyond what operator and provider table allow.
//!
//! # How the rate is learned
//!
//! 1. **Search.** It begins with the documented rate. As long as mail waits for the rate and all that is sent is taken, the
//!    rate grows by 30 % every 8 seconds (longer for slow rates). Little mail is no reason to grow.
//! 2. **Refusal.** The first refusal closes the limit; what else comes back of what was under way is the same event. What
//!    was accepted a second lately is the best estimate of the limit: about nine tenths of it are kept. If that is about
//!    where the limit is documented, it is taken to be just there. A refusal that comes soon after the limit opened says
//!    more: what was accepted from one closing to the next, in the time between them, is the limit itself, whether the
//!    receiver counts by seconds, minutes or hours.
//! 3. **Rest.** Nothing goes for a second (longer for slow rates, and when it was refused soon before), then one message, to
//!    see. If that is refused the rest doubles, later triples, up to two hours; long rests go not beyond a full hour or
//!    whole hours since the limit opened before, and after three hours not beyond midnight (UTC) or whole days since,
//!    for quotas open then. When the message is taken, mail goes on at the new rate within a second.
//! 4. **Hold.** The rate stays for half a minute, and after each probe that finds the limit where it was twice as long, up
//!    to five minutes (or 300 messages, if that is longer).
//! 5. **Probe.** Then it grows by 3 %, and as long as that stays clean by 5, 10, 20 and 30 % more, each step for 15 seconds
//!    or 20 messages. So a limit that was raised is found within minutes, and one that was not costs a message or two.
//!    A refused probe goes back to the last step that was clean.
//! 6. **Quotas.** When the limit was closed for minutes, twice, and much less than the rate went through in between, it counts
//!    over a long time. Then what went through from one opening to the next is sent evenly over that time, and holds
//!    and steps last as long as the receiver's window.
//!
//! A refusal for our name (reputation) halves the rate, rests for a minute at least, and for half an hour growth begins only
//! after five minutes and goes by 15 %. A receiver that is not there (three failures in a row with nothing taken) is
//! given a rest of a second, doubled up to a minute, and nothing is learned.
//!
//! Connections grow by a quarter every ten seconds while all are busy and the rate is not what is short. A refused connection
//! says the limit; one more is tried after a minute, later after five. Messages per connection are remembered from
//! the first refusal, and one more is tried after an hour, later after four.

mod change;
mod closing;
mod counts;
mod meter;
mod rate;
mod reason;
mod span;

use std::time::Duration;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

use crate::{Limits, Rate};

pub use change::{Change, Changed, PaceView, Phase};

use counts::Count;
use meter::{Meter, low};
use rate::{RateControl, Refusal, Used};
use reason::Reason;

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetKey {
    /// Index of the source in the configuration.
    pub source: u16,
    /// Index of the provider in the configuration.
    pub provider: u16,
    /// The site, where the provider is only a name for many that have nothing in common (`default`, `routed`); 0 otherwise.
    pub site: u64,
}

/// Between which limits a budget is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Where learning begins.
    pub start: Limits,
    /// What it may reach at most, each limit for itself; below `start` it holds too.
    pub most: Limits,
    /// What the rate never falls below.
    pub least: Rate,
    /// Whether anything is learned; without it `start` is in force for ever.
    pub learns: bool,
}

impl Caps {
    /// Learning from `start` up to `most`, and down to one a minute.
    #[must_use]
    pub const fn new(start: Limits, most: Limits) -> Self {
        Self { start, most, least: RATE_LEAST, learns: true }
    }

    /// `limits` for ever.
    #[must_use]
    pub const fn fixed(limits: Limits) -> Self {
        Self { start: limits, most: limits, least: RATE_LEAST, learns: false }
    }

    /// The same, with learning switched off if `learns` is not set.
    #[must_use]
    pub const fn learning(self, learns: bool) -> Self {
        Self { learns, ..self }
    }
}

/// One an hour: less is not a rate, but a block.
const RATE_LEAST: Rate = Rate::per_hour(1);

/// What a receiver has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Too much per time.
    Rate,
    /// Too much for the name that we have there.
    Reputation,
    /// Too many connections at the same time.
    Connections {
        /// How many were open, without the one that was refused.
        open: u32,
    },
    /// Too many messages on one connection.
    Session {
        /// How many messages it had taken.
        messages: u32,
    },
    /// The receiver is not there, or in trouble of its own.
    Unavailable,
}

/// What has been asked of a budget since the last [`Pacer::tick`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Recipients that could leave now.
    pub ready: u64,
    /// Open connections.
    pub connections: u32,
    /// Whether something had to wait for the rate.
    pub waited_for_rate: bool,
}

/// What is kept over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    /// Recipients per second; absent while nothing was refused where the rate has no limit.
    pub rate: Option<f64>,
    /// Connections at the same time.
    pub connections: Option<u32>,
    /// Messages per connection.
    pub messages_per_connection: Option<u32>,
    /// When this was so.
    pub at: UnixMs,
}

/// The rest after a refusal where nothing is learned.
const FIXED_REST: Duration = Duration::from_secs(30);
/// The usual time between two ticks.
const TICK: Duration = Duration::from_secs(1);
/// How connections are learned: more when all are busy, tried again after minutes.
const CONNECTIONS: counts::Pace = counts::Pace {
    step: Duration::from_secs(10),
    hold: Duration::from_secs(60),
    hold_max: Duration::from_secs(300),
};
/// How messages per connection are learned: too few cost only handshakes, so there is no hurry.
const SESSIONS: counts::Pace = counts::Pace {
    step: Duration::from_secs(600),
    hold: Duration::from_secs(3600),
    hold_max: Duration::from_secs(4 * 3600),
};

/// What a rate without a limit is taken to be while nothing is known of it.
const PACE_UNLIMITED: f64 = 1000.0;

/// The learned part of one budget, in less than 300 bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Pacer {
    start: Limits,
    most: Most,
    least: f64,
    meter: Meter,
    rate: RateControl,
    connections: Count,
    sessions: Count,
    refused: u32,
    learns: bool,
    had_mail: bool,
    reason: Reason,
    changed_s: u32,
    /// When something waited for the rate last; the low bits of the milliseconds.
    waited_ms: u32,
}

const _: () = assert!(size_of::<Pacer>() < 300);

/// What may be reached at most.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Most {
    /// Messages a second; infinite where there is no limit.
    rate: f64,
    connections: u32,
    messages_per_connection: u32,
}

impl Pacer {
    /// A pacer that begins with `caps.start`.
    #[must_use]
    pub fn new(caps: Caps, now: UnixMs) -> Self {
        let start = caps.start;
        let most = Most {
            rate: caps.most.rate.map_or(f64::INFINITY, Rate::as_per_second),
            connections: caps.most.connections,
            messages_per_connection: caps.most.messages_per_connection,
        };
        let mut pacer = Self {
            start,
            most,
            least: caps.least.as_per_second(),
            meter: Meter::new(now),
            rate: RateControl::new(start.rate.map_or(f64::INFINITY, Rate::as_per_second), now),
            connections: Count::new(start.connections),
            sessions: Count::new(start.messages_per_connection),
            refused: 0,
            learns: caps.learns,
            had_mail: false,
            reason: Reason::Start,
            changed_s: whole_seconds(now),
            waited_ms: low(now.0),
        };
        pacer.keep_within();
        pacer
    }

    /// A pacer that goes on from what was learned before. What is no number, or beyond the caps, is not taken up.
    #[must_use]
    pub fn restored(caps: Caps, learned: &Learned, now: UnixMs) -> Self {
        let mut pacer = Self::new(caps, now);
        if !caps.learns {
            return pacer;
        }
        if let Some(rate) = learned.rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
            let documented = caps.start.rate.map_or(f64::INFINITY, Rate::as_per_second);
            pacer.rate = RateControl::restored(rate, documented, now);
        }
        let messages = learned.messages_per_connection.unwrap_or(caps.start.messages_per_connection);
        pacer.connections = Count::new(learned.connections.unwrap_or(caps.start.connections));
        pacer.sessions = Count::new(messages);
        pacer.reason = Reason::Restored;
        pacer.keep_within();
        pacer
    }

    /// What is to be kept over a restart.
    #[must_use]
    pub fn learned(&self) -> Learned {
        let rate = self.rate.learned();
        Learned {
            rate: rate.is_finite().then_some(rate),
            connections: Some(self.connections.now()),
            messages_per_connection: Some(self.sessions.now()),
            at: self.meter.ticked_at(),
        }
    }

    /// The limits in force. They change only in [`Pacer::refused`] and [`Pacer::tick`], which tell so.
    #[must_use]
    pub fn limits(&self) -> Limits {
        if self.learns { self.limits_at(self.rate.in_force()) } else { self.start }
    }

    /// The end of the rest after a refusal, if there is one: nothing goes before it.
    #[must_use]
    pub fn rests_until(&self, now: UnixMs) -> Option<UnixMs> {
        let until = self.rate.rests_until();
        (until > now).then_some(until)
    }

    /// Recipients a second that the budget lets through: its rate where that is what mail waits for, or where none waits; what
    /// was accepted lately where connections are what it waits for.
    #[must_use]
    pub fn pace(&self, demand: Demand, now: UnixMs) -> f64 {
        if demand.ready > 0 && !demand.waited_for_rate {
            return self.meter.per_second(now);
        }
        self.limits().rate.map_or(PACE_UNLIMITED, Rate::as_per_second)
    }

    /// One recipient was let through by the receiver's limits: its message was taken, or refused for its own sake
    /// ([`Reaction::passed`](crate::reaction::Reaction::passed)). Costs a few nanoseconds.
    #[inline]
    pub fn took(&mut self, now: UnixMs) {
        self.meter.took();
        self.rate.took(now);
    }

    /// Something was refused. Refusals of what was under way at the same time are one event, so only the first of them
    /// changes something; the change, if there is one.
    pub fn refused(&mut self, signal: Signal, now: UnixMs) -> Option<Change> {
        self.refused = self.refused.saturating_add(1);
        if !self.learns {
            self.rate.rest(now + FIXED_REST);
            return None;
        }
        let before = self.limits();
        let reason = match signal {
            // A connection that takes nothing at all says that the receiver is not there for us.
            Signal::Unavailable | Signal::Connections { open: 0 } | Signal::Session { messages: 0 } => {
                self.rate.unavailable(&mut self.meter, now);
                None
            }
            Signal::Rate => self.rate.refused(Refusal::Rate, &self.meter, now),
            Signal::Reputation => self.rate.refused(Refusal::Name, &self.meter, now),
            Signal::Connections { open } => {
                self.connections.refused(open, CONNECTIONS, now).then_some(Reason::ConnectionRefused)
            }
            Signal::Session { messages } => {
                self.sessions.refused(messages, SESSIONS, now).then_some(Reason::SessionRefused)
            }
        };
        self.changed(&before, reason?, now)
    }

    /// To be called about once a second while the budget is in use, also while it rests: the one place where limits grow.
    pub fn tick(&mut self, demand: Demand, now: UnixMs) -> Option<Change> {
        if !self.learns {
            return None;
        }
        let before = self.limits();
        let gap = now.since(self.meter.ticked_at());
        let passed = self.meter.tick(now);
        let had_mail = std::mem::replace(&mut self.had_mail, demand.ready > 0);
        let used = Used {
            waited: if had_mail && self.had_mail { gap } else { passed.min(TICK) },
            bound: if demand.waited_for_rate { self.bound_since(now) } else { Duration::ZERO },
        };
        if demand.waited_for_rate {
            self.waited_ms = low(now.0);
        }
        if demand.ready == 0 {
            self.meter.idle(now);
        }
        let of_rate = self.rate.tick(used, &mut self.meter, now);
        let of_counts = self.grow_counts(demand, passed, now);
        self.changed(&before, of_rate.or(of_counts)?, now)
    }

    /// Connections grow while they are what is short, messages per connection as long as mail goes.
    fn grow_counts(&mut self, demand: Demand, passed: Duration, now: UnixMs) -> Option<Reason> {
        let is_open = self.rate.phase() != Phase::Resting && self.rests_until(now).is_none();
        if !is_open || demand.ready == 0 {
            return None;
        }
        let is_bound = !demand.waited_for_rate && demand.connections >= self.connections.now();
        let (connections, messages) = (self.most.connections, self.most.messages_per_connection);
        let is_longer = self.sessions.used(passed, messages, SESSIONS);
        if is_bound && self.connections.used(passed, connections, CONNECTIONS) {
            return Some(Reason::ConnectionsBusy);
        }
        is_longer.then_some(Reason::SessionsClean)
    }

    /// For people: what is in force and why.
    #[must_use]
    pub fn view(&self) -> PaceView {
        PaceView {
            limits: self.limits(),
            learned: if self.learns { self.limits_at(self.rate.learned()) } else { self.start },
            start: self.start,
            ceiling: Limits {
                connections: self.most.connections,
                rate: self.most.rate.is_finite().then(|| Rate::from_per_second(self.most.rate)),
                messages_per_connection: self.most.messages_per_connection,
                ..self.start
            },
            phase: if self.learns { self.rate.phase() } else { Phase::Fixed },
            reason: self.reason.text(),
            changed_at: UnixMs::from_seconds(self.changed_s.into()),
            rests_until: self.rate.rests_until(),
            accepted: self.meter.accepted(),
            refused: u64::from(self.refused),
        }
    }

    /// For how long the rate has been the bottleneck, if something waits for it now. Of a slow rate one pull waits over
    /// many ticks.
    fn bound_since(&self, now: UnixMs) -> Duration {
        let interval = 1.5 / self.rate.learned();
        let most = Duration::from_secs_f64(interval.clamp(2.0, 7200.0));
        Duration::from_millis(low(now.0).wrapping_sub(self.waited_ms).into()).min(most)
    }

    fn keep_within(&mut self) {
        self.rate.keep_within(self.least, self.most.rate);
        self.connections.keep_within(self.most.connections);
        self.sessions.keep_within(self.most.messages_per_connection);
    }

    fn limits_at(&self, rate: f64) -> Limits {
        let is_start = |start: &Rate| (start.as_per_second() - rate).abs() < 1e-9 * rate;
        let written = self.start.rate.filter(is_start);
        Limits {
            connections: self.connections.now(),
            rate: rate.is_finite().then(|| written.unwrap_or_else(|| Rate::from_per_second(rate))),
            messages_per_connection: self.sessions.now(),
            ..self.start
        }
    }

    fn changed(&mut self, before: &Limits, reason: Reason, now: UnixMs) -> Option<Change> {
        self.keep_within();
        let change = Change::between(before, &self.limits(), reason.text())?;
        (self.changed_s, self.reason) = (whole_seconds(now), reason);
        Some(change)
    }
}

fn whole_seconds(now: UnixMs) -> u32 {
    u32::try_from(now.seconds()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
