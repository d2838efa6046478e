//! What people are told of a pacer: each change with its reason, and the state in between.

use std::fmt;

use mail::UnixMs;

use crate::Limits;

/// A limit that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    /// Recipients per time.
    Rate,
    /// Connections at the same time.
    Connections,
    /// Messages per connection.
    MessagesPerConnection,
}

impl Changed {
    /// The name of its key in `[provider.NAME]`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Connections => "connections",
            Self::MessagesPerConnection => "messages_per_connection",
        }
    }
}

/// A change of the limits in force. Shown it is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which limit.
    pub what: Changed,
    /// What it was, as people write it.
    pub from: String,
    /// What it is now.
    pub to: String,
    /// Why, as the second half of a sentence.
    pub reason: &'static str,
}

impl Change {
    /// The first limit that differs, if one does.
    pub(super) fn between(from: &Limits, to: &Limits, reason: &'static str) -> Option<Self> {
        let rate =
            |limits: &Limits| limits.rate.map_or_else(|| "unlimited".to_owned(), |rate| rate.to_string());
        let (what, from, to) = if from.rate != to.rate {
            (Changed::Rate, rate(from), rate(to))
        } else if from.connections != to.connections {
            (Changed::Connections, from.connections.to_string(), to.connections.to_string())
        } else if from.messages_per_connection != to.messages_per_connection {
            let shown = |limits: &Limits| limits.messages_per_connection.to_string();
            (Changed::MessagesPerConnection, shown(from), shown(to))
        } else {
            return None;
        };
        Some(Self { what, from, to, reason })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}: {}", self.what.name(), self.from, self.to, self.reason)
    }
}

/// What a pacer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing was refused so far: it grows as long as there is demand.
    Searching,
    /// It has found the limit and stays just below it.
    Holding,
    /// It tries whether more is taken now.
    Probing,
    /// Something was refused: nothing goes, or one message to see whether mail is taken again.
    Resting,
    /// Nothing is learned here: the limits are those of the configuration.
    Fixed,
}

impl Phase {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Holding => "holding",
            Self::Probing => "probing",
            Self::Resting => "resting",
            Self::Fixed => "fixed",
        }
    }
}

/// A pacer as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PaceView {
    /// What is in force.
    pub limits: Limits,
    /// What is in force when nothing rests: what was learned so far.
    pub learned: Limits,
    /// Where learning began.
    pub start: Limits,
    /// What it may reach at most.
    pub ceiling: Limits,
    /// What it is about.
    pub phase: Phase,
    /// Why it changed last.
    pub reason: &'static str,
    /// When it changed last.
    pub changed_at: UnixMs,
    /// The end of the rest after a refusal; in the past when there is none.
    pub rests_until: UnixMs,
    /// Recipients accepted so far.
    pub accepted: u64,
    /// Refusals so far.
    pub refused: u64,
}
