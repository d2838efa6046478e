//! What providers count, for reports.

use std::net::IpAddr;
use std::sync::Arc;

use mail::UnixMs;

use crate::words::Cause;

/// What a provider has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Recipients whose message was taken.
    pub accepted: u64,
    /// Recipients put off: answered with a 4yz, or a message that had to wait for another session.
    pub deferred: u64,
    /// Recipients refused for good.
    pub refused: u64,
    /// Messages taken.
    pub messages: u64,
    /// Bytes of the messages taken.
    pub bytes: u64,
    /// Connections let in since the beginning.
    pub connections: u64,
    /// Connections turned away.
    pub turned_away: u64,
    /// Connections open now.
    pub open: u32,
    /// The most that were open at the same time.
    pub open_peak: u32,
    /// Times that an address, a netblock or an identity was blocked.
    pub blocks: u64,
    /// Mails taken for spam traps.
    pub traps: u64,
    /// What readers did.
    pub readers: Reactions,
    /// Why recipients were put off or refused, and connections turned away.
    pub causes: Causes,
}

/// What readers did with the mail they got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reactions {
    /// Said that it is spam.
    pub complaints: u64,
    /// Opened it.
    pub opens: u64,
    /// Followed a link.
    pub clicks: u64,
    /// Asked for no more.
    pub unsubscribes: u64,
}

/// A count for each cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes([u64; Cause::ALL.len()]);

impl Causes {
    /// How often for this cause.
    #[must_use]
    pub const fn of(&self, cause: Cause) -> u64 {
        self.0[cause.index()]
    }

    /// Those that happened.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }

    /// How often for a limit on how much is sent ([`Cause::is_rate`]).
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.iter().filter(|(cause, _)| cause.is_rate()).map(|(_, count)| count).sum()
    }

    /// How often for a bad standing ([`Cause::is_standing`]).
    #[must_use]
    pub fn standing(&self) -> u64 {
        self.iter().filter(|(cause, _)| cause.is_standing()).map(|(_, count)| count).sum()
    }

    pub(crate) const fn add(&mut self, cause: Cause, count: u64) {
        self.0[cause.index()] += count;
    }
}

/// Whose standing it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A source address.
    Ip(IpAddr),
    /// All addresses of a /24 or /64, by the first of them.
    Netblock(IpAddr),
    /// A sender domain.
    Identity(Arc<str>),
}

/// How somebody stands with a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Stands {
    /// Who.
    pub who: Who,
    /// 0 is the worst, 1 the best.
    pub standing: f64,
    /// Mail of the last hours that the judgement rests on.
    pub mail: f64,
    /// Until when it is blocked.
    pub blocked_until: Option<UnixMs>,
}
