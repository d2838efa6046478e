//! The replies that are due, and how long each may take.

use std::time::Duration;

use mail::Phase;

const MINUTE: Duration = Duration::from_secs(60);

/// How long a TLS handshake or an idle connection may take; RFC 5321 says nothing about them.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2 * 60);
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long the connection may take no more of a text (RFC 5321 section 4.5.3.2.5).
pub(super) const BLOCK_TIMEOUT: Duration = Duration::from_secs(3 * 60);

/// A reply that is due, in the order of the commands sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Greeting,
    /// To EHLO or LHLO.
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Rset,
    Mail,
    /// The recipient's index.
    Rcpt(usize),
    Data,
    /// To the final dot or the last chunk; under LMTP one for each recipient that was taken (RFC 2033 section 4.2).
    Body,
    Quit,
}

/// A reply that is due, and from when on it can be one: bytes of this session that must have been handed out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) what: Awaited,
    pub(super) after: u64,
}

impl Awaited {
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Greeting => Phase::Banner,
            Self::Ehlo | Self::Helo => Phase::Ehlo,
            Self::StartTls => Phase::StartTls,
            Self::Auth => Phase::Auth,
            // What stands between two messages belongs to the one that is to come.
            Self::Rset | Self::Mail | Self::Quit => Phase::Mail,
            Self::Rcpt(_) => Phase::Rcpt,
            Self::Data => Phase::Data,
            Self::Body => Phase::Body,
        }
    }

    /// RFC 5321 section 4.5.3.2; it says nothing about EHLO, RSET (5 minutes as for MAIL), STARTTLS, AUTH
    /// (2 minutes as for DATA) and QUIT.
    pub(super) fn timeout(self) -> Duration {
        match self {
            Self::Greeting | Self::Ehlo | Self::Helo | Self::Rset | Self::Mail | Self::Rcpt(_) => 5 * MINUTE,
            Self::StartTls | Self::Auth | Self::Data => 2 * MINUTE,
            Self::Body => 10 * MINUTE,
            Self::Quit => MINUTE / 2,
        }
    }
}
