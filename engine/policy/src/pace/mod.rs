//! What a source may send to a provider, as learned from what the provider takes and refuses: the moving part of a budget.
//!
//! A [`Pacer`] is told of every acceptance and every refusal, and says the limits in force. It refuses to know what waits,
//! to read replies, and to go beyond what operator and provider table allow.

mod change;

use std::time::Duration;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

use crate::{Limits, Rate};

pub use change::{Change, Changed, PaceView, Phase};

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

/// The learned part of one budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Pacer {
    caps: Caps,
    in_force: Limits,
    accepted: u32,
    refused: u32,
    rests_until: UnixMs,
    last_tick: UnixMs,
    changed_at: UnixMs,
    reason: &'static str,
}

impl Pacer {
    /// A pacer that begins with `caps.start`.
    #[must_use]
    pub fn new(caps: Caps, now: UnixMs) -> Self {
        Self {
            caps,
            in_force: caps.start,
            accepted: 0,
            refused: 0,
            rests_until: UnixMs(0),
            last_tick: now,
            changed_at: now,
            reason: "start",
        }
    }

    /// A pacer that goes on from what was learned before.
    #[must_use]
    pub fn restored(caps: Caps, learned: &Learned, now: UnixMs) -> Self {
        let mut pacer = Self::new(caps, now);
        if caps.learns
            && let Some(rate) = learned.rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        {
            pacer.set_rate(rate);
        }
        pacer
    }

    /// What is to be kept over a restart.
    #[must_use]
    pub fn learned(&self) -> Learned {
        Learned {
            rate: self.in_force.rate.map(Rate::as_per_second),
            connections: Some(self.in_force.connections),
            messages_per_connection: Some(self.in_force.messages_per_connection),
            at: self.last_tick,
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
        (self.rests_until > now).then_some(self.rests_until)
    }

    /// One recipient's message was accepted.
    pub fn took(&mut self, now: UnixMs) {
        let _ = now;
        self.accepted = self.accepted.saturating_add(1);
    }

    /// Something was refused.
    pub fn refused(&mut self, signal: Signal, now: UnixMs) -> Option<Change> {
        let from = self.in_force;
        let first = self.rests_until(now).is_none();
        self.refused = self.refused.saturating_add(1);
        if !self.caps.learns {
            return None;
        }
        let (factor, rest, reason) = match signal {
            Signal::Rate => (0.8, 1, "the receiver refused the rate"),
            Signal::Reputation => (0.5, 60, "the receiver refused us for our name"),
            Signal::Connections { open } => {
                self.in_force.connections = open.clamp(1, self.in_force.connections);
                return self.changed(from, "the receiver refused a connection", now);
            }
            Signal::Session { messages } => {
                self.in_force.messages_per_connection =
                    messages.clamp(1, self.in_force.messages_per_connection);
                return self.changed(from, "the receiver refused more messages on a connection", now);
            }
            Signal::Unavailable => (1.0, 5, "the receiver is not available"),
        };
        if !first {
            return None;
        }
        self.rests_until = now + Duration::from_secs(rest);
        let rate = from.rate.map_or(f64::from(self.accepted).max(1.0), Rate::as_per_second);
        self.set_rate(rate * factor);
        self.changed(from, reason, now)
    }

    /// To be called about once a second while the budget is in use.
    pub fn tick(&mut self, demand: Demand, now: UnixMs) -> Option<Change> {
        let from = self.in_force;
        self.last_tick = now;
        let is_quiet = now.since(self.changed_at) >= Duration::from_secs(10);
        let rate = from.rate?;
        if !self.caps.learns || !demand.waited_for_rate || !is_quiet {
            return None;
        }
        self.set_rate(rate.as_per_second() * 1.05);
        self.changed(from, "what was sent has been accepted", now)
    }

    /// For people: what is in force and why.
    #[must_use]
    pub fn view(&self) -> PaceView {
        PaceView {
            limits: self.in_force,
            start: self.caps.start,
            ceiling: self.caps.most,
            phase: Phase::Holding,
            reason: self.reason,
            changed_at: self.changed_at,
            rests_until: self.rests_until,
            accepted: u64::from(self.accepted),
            refused: u64::from(self.refused),
        }
    }

    fn set_rate(&mut self, per_second: f64) {
        let most = self.caps.most.rate.map_or(f64::INFINITY, Rate::as_per_second);
        let rate = Rate::from_per_second(per_second.max(self.caps.least.as_per_second()).min(most));
        self.in_force.rate = Some(rate);
    }

    fn changed(&mut self, from: Limits, reason: &'static str, now: UnixMs) -> Option<Change> {
        let change = Change::between(&from, &self.in_force, reason)?;
        (self.changed_at, self.reason) = (now, reason);
        Some(change)
    }
}
