//! What waits and where it belongs: ticket, flow key, path key. Nothing here moves.

use std::fmt;

use mail::{CampaignId, Class, RecipientId, UnixMs};

/// One waiting recipient, as small as the queue can carry it; everything else stays in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Whom the spool knows by this name.
    pub id: RecipientId,
    /// When to give up, in seconds since the epoch; 0 is never.
    pub expiry: u32,
    /// When it must have arrived, in seconds since the epoch; 0 is no deadline.
    pub deadline: u32,
    /// Attempts made so far.
    pub attempts: u16,
    /// What kind of mail it is.
    pub class: Class,
}

const _: () = assert!(size_of::<Ticket>() <= 24, "a ticket is at most 24 bytes");

impl Ticket {
    /// Whether its time has run out.
    #[must_use]
    pub const fn is_expired(&self, now: UnixMs) -> bool {
        self.expiry != 0 && self.expiry as u64 <= now.seconds()
    }
}

/// The line a ticket stands in: lines of one path take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The kind of mail.
    pub class: Class,
    /// The account that sent it.
    pub tenant: u32,
    /// The campaign it is part of.
    pub campaign: Option<CampaignId>,
    /// The identity it is sent as: a hash of the sender's domain. Receivers may limit each of them apart.
    pub identity: u32,
}

/// A way out: from one of our addresses to the hosts of one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathKey {
    /// The source, by its index in the configuration.
    pub source: u16,
    /// The provider, by its index.
    pub provider: u16,
    /// The set of hosts that takes the mail; a provider may have many.
    pub site: u64,
}

/// Names a path while it exists. A path that was removed leaves its name to nobody: the name then means no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}
/// What a connection is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Deliver to this recipient.
    Ticket(Ticket, FlowKey),
    /// Nothing waits that may leave now.
    Empty,
    /// Something waits; ask again at this moment.
    Wait(UnixMs),
    /// The path is suspended until this moment.
    Suspended(UnixMs),
    /// Close this connection: another path of the same source and provider has work, no connection, and a better claim;
    /// or the limits have come down and there are more connections than they allow.
    Yield,
}

/// The queue did not take a ticket. It is given back: its caller owns it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its campaign was cancelled while the ticket was elsewhere: record it as cancelled.
    Cancelled(Ticket),
    /// The path was removed meanwhile: route the ticket again.
    NoPath(Ticket),
    /// The queue is nearly full: schedule the ticket for a little later, for which there is always room.
    Full(Ticket),
}

impl Refused {
    /// The ticket, whatever the reason.
    #[must_use]
    pub const fn ticket(self) -> Ticket {
        match self {
            Self::Cancelled(ticket) | Self::NoPath(ticket) | Self::Full(ticket) => ticket,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled(ticket) => write!(f, "the campaign of {} was cancelled", ticket.id),
            Self::NoPath(ticket) => write!(f, "the path of {} was removed", ticket.id),
            Self::Full(ticket) => write!(f, "there is hardly any place left, and none for {}", ticket.id),
        }
    }
}

impl std::error::Error for Refused {}
