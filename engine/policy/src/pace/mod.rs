//! What a source may send to a provider, as learned from what the provider takes and refuses: the moving part of a budget.
//!
//! A [`Pacer`] is told of every acceptance and every refusal, and says the limits in force. It refuses to know what waits,
//! to read replies, and to go beyond what operator and provider table allow.

mod change;
mod counts;
mod meter;
mod rate;

use std::time::Duration;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

use crate::{Limits, Rate};

pub use change::{Change, Changed, PaceView, Phase};

use counts::Count;
use meter::Meter;
use rate::{RateControl, Refusal, Used};

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

/// The learned part of one budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Pacer {
    start: Limits,
    most: Limits,
    least: f64,
    learns: bool,
    in_force: Limits,
    meter: Meter,
    rate: RateControl,
    connections: Count,
    sessions: Count,
    refused: u32,
    had_mail: bool,
    changed_at: UnixMs,
    reason: &'static str,
}

impl Pacer {
    /// A pacer that begins with `caps.start`.
    #[must_use]
    pub fn new(caps: Caps, now: UnixMs) -> Self {
        let start = caps.start;
        let mut pacer = Self {
            start,
            most: caps.most,
            least: caps.least.as_per_second(),
            learns: caps.learns,
            in_force: start,
            meter: Meter::new(now),
            rate: RateControl::new(start.rate.map_or(f64::INFINITY, Rate::as_per_second)),
            connections: Count::new(start.connections),
            sessions: Count::new(start.messages_per_connection),
            refused: 0,
            had_mail: false,
            changed_at: now,
            reason: "where learning begins",
        };
        pacer.keep_within();
        pacer
    }

    /// A pacer that goes on from what was learned before.
    #[must_use]
    pub fn restored(caps: Caps, learned: &Learned, now: UnixMs) -> Self {
        let mut pacer = Self::new(caps, now);
        if !caps.learns {
            return pacer;
        }
        if let Some(rate) = learned.rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
            pacer.rate = RateControl::restored(rate);
        }
        pacer.connections = Count::new(learned.connections.unwrap_or(caps.start.connections));
        pacer.sessions =
            Count::new(learned.messages_per_connection.unwrap_or(caps.start.messages_per_connection));
        pacer.reason = "learned before the restart";
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
    pub const fn limits(&self) -> Limits {
        self.in_force
    }

    /// The end of the rest after a refusal, if there is one: nothing goes before it.
    #[must_use]
    pub fn rests_until(&self, now: UnixMs) -> Option<UnixMs> {
        Some(self.rate.rests_until()).filter(|&until| until > now)
    }

    /// One recipient's message was accepted. Costs a few nanoseconds.
    #[inline]
    pub fn took(&mut self, now: UnixMs) {
        self.meter.took();
        self.rate.took(now);
    }

    /// Something was refused. Refusals of what was under way at the same time are one event, so only the first of them
    /// changes something; the change, if there is one.
    pub fn refused(&mut self, signal: Signal, now: UnixMs) -> Option<Change> {
        self.refused = self.refused.saturating_add(1);
        let reason = match signal {
            Signal::Rate => self.rate.refused(Refusal::Rate, &mut self.meter, now),
            Signal::Reputation => self.rate.refused(Refusal::Name, &mut self.meter, now),
            Signal::Connections { open } => self
                .connections
                .refused(open, CONNECTIONS, now)
                .then_some("the receiver refused another connection"),
            Signal::Session { messages } => self
                .sessions
                .refused(messages, SESSIONS, now)
                .then_some("the receiver refused another message on the connection"),
            Signal::Unavailable => {
                self.rate.unavailable(&mut self.meter, now);
                None
            }
        };
        self.changed(reason?, now)
    }

    /// To be called about once a second while the budget is in use: the one place where limits grow.
    pub fn tick(&mut self, demand: Demand, now: UnixMs) -> Option<Change> {
        let gap = now.since(self.meter.ticked_at());
        let passed = self.meter.tick(now);
        let (has_waited, had_mail) = (demand.waited_for_rate, self.had_mail);
        self.had_mail = demand.ready > 0;
        let used = Used {
            waited: if had_mail && self.had_mail { gap } else { passed.min(TICK) },
            bound: if has_waited { passed } else { Duration::ZERO },
        };
        let mut reason = self.rate.tick(used, &mut self.meter, now);
        let is_open = self.rate.phase() != Phase::Resting && self.rests_until(now).is_none();
        if is_open && demand.ready > 0 {
            let is_bound = !has_waited && demand.connections >= self.connections.now();
            let wants_connections =
                is_bound && self.connections.used(passed, self.most.connections, CONNECTIONS);
            let most = self.most.messages_per_connection;
            if wants_connections {
                reason = reason.or(Some("all connections are busy, and more waits"));
            }
            if self.sessions.used(passed, most, SESSIONS) {
                reason = reason.or(Some("connections have taken all messages so far"));
            }
        }
        self.changed(reason?, now)
    }

    /// For people: what is in force and why.
    #[must_use]
    pub fn view(&self) -> PaceView {
        PaceView {
            limits: self.in_force,
            learned: self.limits_at(self.rate.learned()),
            start: self.start,
            ceiling: self.most,
            phase: self.rate.phase(),
            reason: self.reason,
            changed_at: self.changed_at,
            rests_until: self.rate.rests_until(),
            accepted: self.meter.accepted(),
            refused: u64::from(self.refused),
        }
    }

    fn keep_within(&mut self) {
        if !self.learns {
            return;
        }
        self.rate.keep_within(self.least, self.most.rate.map_or(f64::INFINITY, Rate::as_per_second));
        self.connections.keep_within(self.most.connections);
        self.sessions.keep_within(self.most.messages_per_connection);
        self.in_force = self.limits_at(self.rate.in_force());
    }

    fn limits_at(&self, rate: f64) -> Limits {
        let is_start = |start: &Rate| (start.as_per_second() - rate).abs() < 1e-9 * rate;
        let written = self.start.rate.filter(is_start);
        let rate = rate.is_finite().then(|| written.unwrap_or_else(|| Rate::from_per_second(rate)));
        let most = self.most.rate;
        Limits {
            connections: self.connections.now(),
            // What is written in another unit may be rounded up.
            rate: rate.map(|rate| most.map_or(rate, |most| most.slower(rate))),
            messages_per_connection: self.sessions.now(),
            ..self.start
        }
    }

    fn changed(&mut self, reason: &'static str, now: UnixMs) -> Option<Change> {
        let before = self.in_force;
        self.keep_within();
        let change = Change::between(&before, &self.in_force, reason)?;
        (self.changed_at, self.reason) = (now, reason);
        Some(change)
    }
}

#[cfg(test)]
mod tests;
