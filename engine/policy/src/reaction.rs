//! What a verdict means for everybody but the words: the one table that the engine and the simulator follow. It reads no
//! reply; what a reply means was said before, in `verdict`.

use std::time::Duration;

use crate::pace::Signal;
use crate::tally::Happening;
use crate::verdict::{Action, Scope, Verdict};

/// What is to be done about a failure, besides telling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// What the pacer of the (source, provider) is to be told.
    pub pace: Option<PaceSignal>,
    /// What is counted.
    pub happening: Happening,
    /// What becomes of the recipient.
    pub fate: Fate,
    /// What the mailbox's own back-off is to be told.
    pub mailbox: Option<MailboxTrouble>,
    /// The source is refused at the provider, and nothing leaves from it there for so long.
    pub burns: Option<Duration>,
    /// Nothing goes to this site (from any source) for so long.
    pub rests: Option<Duration>,
    /// The sender's identity has a bad name at the provider: less of its mail goes there.
    pub identity_slow: bool,
}

/// What a pacer is told; [`PaceSignal::signal`] adds the numbers that only the connection knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaceSignal {
    /// Too much per time.
    Rate,
    /// Too much for the name that we have there.
    Reputation,
    /// Too many connections.
    Connections,
    /// Too many messages on a connection.
    Session,
    /// The receiver is not there, or in trouble of its own.
    Unavailable,
}

impl PaceSignal {
    /// The signal, of a connection that has taken `messages`, beside `open` others.
    #[must_use]
    pub const fn signal(self, open: u32, messages: u32) -> Signal {
        match self {
            Self::Rate => Signal::Rate,
            Self::Reputation => Signal::Reputation,
            Self::Connections => Signal::Connections { open },
            Self::Session => Signal::Session { messages },
            Self::Unavailable => Signal::Unavailable,
        }
    }
}

/// What becomes of a recipient that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It has failed for good.
    Bounce,
    /// It is tried again by the retry schedule; the attempt counts.
    Retry,
    /// It goes back to its path, or to another source where this one is burnt, without an attempt counted.
    Wait,
    /// It waits so long without an attempt counted.
    Hold(Duration),
    /// It goes to the site's next host; [`Fate::Retry`] when there is none.
    NextHost,
    /// It goes in another transaction; [`Fate::Retry`] when it was the first of its own.
    NextTransaction,
    /// It goes on another connection; [`Fate::Retry`] when it was the first of its own.
    Reconnect,
    /// [`Fate::Retry`], and TLS is used with the site from now on.
    RequireTls,
    /// It goes in clear where the policy allows it; [`Fate::Retry`] otherwise.
    WithoutTls,
}

/// What is wrong with a mailbox that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailboxTrouble {
    /// It has no room.
    Full,
    /// It gets too much at once.
    Rate,
}

/// What `verdict` means for everybody but the words.
#[must_use]
pub fn reaction(verdict: &Verdict) -> Reaction {
    let fate = fate(verdict);
    Reaction {
        pace: pace(verdict),
        happening: happening(verdict),
        fate,
        mailbox: mailbox(verdict),
        burns: match (verdict.action, verdict.scope) {
            (Action::Suspend(rest), Scope::Source) => Some(rest),
            _ => None,
        },
        rests: match (verdict.action, verdict.scope) {
            (Action::Suspend(rest), scope) if scope != Scope::Source => Some(rest),
            _ => None,
        },
        identity_slow: verdict.class == "reputation.domain",
    }
}

fn family(class: &str) -> &str {
    class.split('.').next().unwrap_or_default()
}

fn pace(verdict: &Verdict) -> Option<PaceSignal> {
    match verdict.class {
        "rate.conn" => Some(PaceSignal::Connections),
        "rate.msgs_per_conn" => Some(PaceSignal::Session),
        "rate" => Some(PaceSignal::Rate),
        "reputation" | "reputation.ip" | "reputation.rate" => Some(PaceSignal::Reputation),
        "system" | "network" => Some(PaceSignal::Unavailable),
        _ => None,
    }
}

fn happening(verdict: &Verdict) -> Happening {
    match (verdict.class, family(verdict.class)) {
        ("recipient.unknown" | "recipient.disabled", _) => Happening::UnknownUser,
        (_, "rate") => Happening::RateLimited,
        (_, "reputation" | "blocklist") => Happening::Blocked,
        ("content.spam", _) => Happening::SpamRefused,
        _ if verdict.action == Action::Bounce => Happening::OtherBounce,
        _ => Happening::Deferred,
    }
}

fn fate(verdict: &Verdict) -> Fate {
    match verdict.action {
        Action::Bounce => Fate::Bounce,
        Action::Defer => Fate::Retry,
        Action::SlowDown if verdict.scope == Scope::Recipient => Fate::Retry,
        Action::SlowDown | Action::Suspend(_) => Fate::Wait,
        Action::NextMx => Fate::NextHost,
        Action::NextTransaction => Fate::NextTransaction,
        Action::Reconnect => Fate::Reconnect,
        Action::Hold(time) => Fate::Hold(time),
        Action::RequireTls => Fate::RequireTls,
        Action::WithoutTls => Fate::WithoutTls,
    }
}

fn mailbox(verdict: &Verdict) -> Option<MailboxTrouble> {
    match verdict.class {
        "recipient.full" => Some(MailboxTrouble::Full),
        "recipient.rate" => Some(MailboxTrouble::Rate),
        _ => None,
    }
}
