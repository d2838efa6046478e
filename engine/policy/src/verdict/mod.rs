//! What a failure means: the only place of the engine that reads reply codes and reply texts.
//!
//! Rules are data (`data/replies.toml`). A rule that knows the provider's own words comes before one that knows its enhanced
//! codes, that before general words, those before the registry of enhanced codes, and that before the basic code.

mod fault;
mod index;
mod lint;
mod pattern;
mod quoted;
mod rules;
mod table;
mod words;

use std::fmt;
use std::time::Duration;

pub use fault::{Fault, judge_network};
pub use quoted::Quoted;
pub use rules::{Because, Explained, Knowledge, RuleId, Rules};
pub use words::{Language, Words, explain};

pub(crate) use lint::Finding;
pub(crate) use table::{RuleFault, StatedRule};

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is, in the dotted vocabulary of `data/replies.toml`, such as `recipient.unknown`.
    pub class: &'static str,
    /// What it concerns.
    pub scope: Scope,
    /// What to do.
    pub action: Action,
    /// Whether the recipient is to be put on the suppression list.
    pub suppress: bool,
    /// Whether the operator should be told: something of our own is to be mended.
    pub alert: bool,
    /// The rule that said so.
    pub rule: RuleId,
}

/// What a failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This recipient only.
    Recipient,
    /// This message, whoever receives it.
    Message,
    /// This connection.
    Session,
    /// The receiving site or the whole provider, whatever we send from.
    Site,
    /// The source address at this provider.
    Source,
    /// The sender's domain at this provider.
    Identity,
}

/// What to do about the recipient that the failure was told for, and about the way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Final.
    Bounce,
    /// Try again by the retry schedule; the attempt counts.
    Defer,
    /// Defer, and send less to this provider from this source.
    SlowDown,
    /// Try the site's next host now; when there is none, defer.
    NextMx,
    /// Too many recipients for one transaction: this one goes in another. When it was the first of its transaction,
    /// defer.
    NextTransaction,
    /// Close this connection and take the recipient up again on another; the attempt does not count. When it was the
    /// connection's first message, defer, or it would go round for ever.
    Reconnect,
    /// Nothing more on this path (of a source or site, as the scope says) for so long; its recipients, this one too, wait
    /// without an attempt counted.
    Suspend(Duration),
    /// This recipient waits so long without an attempt counted, since the fault is ours; others go on.
    Hold(Duration),
    /// Defer, and use TLS with this site from now on.
    RequireTls,
    /// Try again in clear where the policy is opportunistic; defer otherwise.
    WithoutTls,
}

impl Action {
    /// Whether the try that led here is one of the recipient's attempts.
    #[must_use]
    pub const fn counts_attempt(self) -> bool {
        !matches!(self, Self::NextTransaction | Self::Reconnect | Self::Suspend(_) | Self::Hold(_))
    }
}

impl fmt::Display for Action {
    /// As in the file of rules: `bounce`, `suspend 15m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bounce => f.write_str("bounce"),
            Self::Defer => f.write_str("defer"),
            Self::SlowDown => f.write_str("slow-down"),
            Self::NextMx => f.write_str("next-mx"),
            Self::NextTransaction => f.write_str("next-transaction"),
            Self::Reconnect => f.write_str("reconnect"),
            Self::RequireTls => f.write_str("require-tls"),
            Self::WithoutTls => f.write_str("without-tls"),
            Self::Suspend(time) => write!(f, "suspend {}", Short(time)),
            Self::Hold(time) => write!(f, "hold {}", Short(time)),
        }
    }
}

/// A time in the largest unit that divides it.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(86_400, "d"), (3600, "h"), (60, "m")];
        let fits = units.into_iter().find(|&(unit, _)| seconds >= unit && seconds.is_multiple_of(unit));
        let (unit, name) = fits.unwrap_or((1, "s"));
        write!(f, "{}{name}", seconds / unit)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recipient => "recipient",
            Self::Message => "message",
            Self::Session => "session",
            Self::Site => "site",
            Self::Source => "source",
            Self::Identity => "identity",
        })
    }
}

#[cfg(test)]
mod corpus;
/// Whether the server closes the connection behind `reply` (RFC 5321 section 4.2.1).
#[must_use]
pub const fn ends_session(reply: &mail::Reply) -> bool {
    reply.code == 421
}

#[cfg(test)]
mod tests;
