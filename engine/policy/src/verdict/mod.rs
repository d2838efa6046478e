//! What a failure means: the only place of the engine that reads reply codes and reply texts.
//!
//! Rules are data (`data/replies.toml`). A rule that knows the provider's own words comes before one that knows its enhanced
//! codes, that before general words, those before the registry of enhanced codes, and that before the basic code.

mod fault;
mod pattern;
mod rules;
mod table;

use std::time::Duration;

use mail::{Phase, Reply};

pub use fault::{Fault, judge_network};

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
    pub rule: &'static str,
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

/// Says what `reply`, given in `phase` by a server of `provider`, means. For replies that are not what was hoped for; any
/// other is a breach of the protocol.
#[must_use]
pub fn judge(phase: Phase, reply: &Reply, provider: &str) -> Verdict {
    rules::judge(phase, reply, provider)
}

#[cfg(test)]
mod tests;
