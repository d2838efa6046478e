//! What became of one attempt to deliver to one recipient.

use std::sync::Arc;

use crate::{Reply, UnixMs};

/// How far an attempt got when its outcome was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Before any connection: DNS, routing, expiry while waiting, cancellation.
    Routing = 0,
    /// While the TCP connection was being made.
    Connect = 1,
    /// Waiting for the 220 greeting.
    Banner = 2,
    /// EHLO or HELO.
    Ehlo = 3,
    /// STARTTLS or the TLS handshake.
    StartTls = 4,
    /// AUTH.
    Auth = 5,
    /// MAIL FROM.
    Mail = 6,
    /// RCPT TO.
    Rcpt = 7,
    /// DATA, before the body.
    Data = 8,
    /// The reply to the final dot or to the last BDAT chunk.
    Body = 9,
}

impl Phase {
    /// All phases in the order of a session.
    pub const ALL: [Self; 10] = [
        Self::Routing,
        Self::Connect,
        Self::Banner,
        Self::Ehlo,
        Self::StartTls,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Body,
    ];

    /// The name users read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::Connect => "connect",
            Self::Banner => "banner",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Body => "body",
        }
    }

    /// The phase whose discriminant is `index`.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

/// Where the recipient stands after an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Disposition {
    /// Final: the receiver took the message.
    Delivered = 0,
    /// Not final: to be tried again.
    Deferred = 1,
    /// Not final: the connection was lost after the last byte, so nobody knows (RFC 1047); to be tried again, maybe twice delivered.
    Unknown = 2,
    /// Final: refused for good.
    Bounced = 3,
    /// Final: its time ran out.
    Expired = 4,
    /// Final: the user withdrew it.
    Cancelled = 5,
    /// Final: the recipient is on a suppression list.
    Suppressed = 6,
}

impl Disposition {
    /// All dispositions, by discriminant.
    pub const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Deferred,
        Self::Unknown,
        Self::Bounced,
        Self::Expired,
        Self::Cancelled,
        Self::Suppressed,
    ];

    /// Whether nothing more will happen to the recipient.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Deferred | Self::Unknown)
    }

    /// The name users read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Unknown => "unknown",
            Self::Bounced => "bounced",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Suppressed => "suppressed",
        }
    }

    /// The disposition whose discriminant is `index`.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

/// How long the parts of an attempt took, in milliseconds; zero where the part did not happen or a connection was reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From connect to the end of the greeting and STARTTLS.
    pub connect_ms: u32,
    /// From the first byte of MAIL to the last reply of the transaction.
    pub transaction_ms: u32,
}

/// The outcome of one attempt, with the receiver's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When it was decided.
    pub at: UnixMs,
    /// Which attempt it was, counted from 1; 0 when none was made (expiry while waiting, cancellation).
    pub attempt: u16,
    /// Where the recipient stands now.
    pub disposition: Disposition,
    /// When it will be tried again; only for dispositions that are not final.
    pub next_attempt: Option<UnixMs>,
    /// How far the attempt got.
    pub phase: Phase,
    /// The verdict's class in the dotted vocabulary of `policy/verdict`, such as `recipient.unknown`; empty when delivered.
    pub verdict: String,
    /// What the receiver answered, or our own words with code 0 when no reply was the ground (a timeout, a DNS answer).
    pub reply: Reply,
    /// Which way it went: shared by all that went the same.
    pub route: Arc<Route>,
    /// How long it took.
    pub timings: Timings,
}

/// Which way an attempt went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Name of the source it left from; empty when none was chosen.
    pub source: String,
    /// Name of the provider; empty when routing failed.
    pub provider: String,
    /// Host name of the receiving server; empty when none was tried.
    pub mx: String,
    /// Address and port of the receiving server; empty when none was tried.
    pub address: String,
    /// TLS version and cipher suite; empty when in clear.
    pub tls: String,
}
