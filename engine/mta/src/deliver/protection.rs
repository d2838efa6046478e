//! How a connection is to be protected, and how it turned out to be.

use policy::TlsPolicy;
use smtp::client::TlsWanted;

use super::pool::Pool;
use crate::control::destination::{Destination, Guard, Host};
use crate::io::Stream;
use crate::io::tls::{Standing, Trust};

/// What protects an open connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Protection {
    /// Nobody can read along who only listens.
    pub(crate) encrypted: bool,
    /// By whose word the server is the one that the mail is for.
    pub(crate) authenticated: Option<By>,
}

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A certificate authority's, for the name of the host.
    Authority,
    /// The domain's own, in signed TLSA records (RFC 7672).
    Dane,
    /// A certificate authority's, for a host that the domain's MTA-STS policy names (RFC 8461).
    MtaSts,
}

impl Protection {
    /// For people, behind version and cipher.
    pub(crate) const fn label(self) -> &'static str {
        match self.authenticated {
            None => "unverified",
            Some(By::Authority) => "verified",
            Some(By::Dane) => "DANE",
            Some(By::MtaSts) => "MTA-STS",
        }
    }
}

/// What is asked of a connection before it is made.
pub(super) struct Wanted {
    pub(super) tls: TlsWanted,
    pub(super) trust: Trust,
    /// By whose word the server will be the right one when the handshake succeeds.
    by: Option<By>,
}

impl Wanted {
    const fn new(tls: TlsWanted, trust: Trust, by: Option<By>) -> Self {
        Self { tls, trust, by }
    }

    /// What is wanted of a connection of `pool` to `host`: by what the domain publishes, else by the operator's word.
    pub(super) fn of(pool: &Pool, destination: &Destination, host: &Host, is_broken: bool) -> Self {
        let authorities = || Self::new(TlsWanted::Required, Trust::Authorities, Some(By::Authority));
        match (&host.guard, destination.tls) {
            (Guard::Dane(set), _) => Self::new(TlsWanted::Required, Trust::Dane(set.clone()), Some(By::Dane)),
            (Guard::MtaSts, _) => Self::new(TlsWanted::Required, Trust::Authorities, Some(By::MtaSts)),
            (_, TlsPolicy::Verified) => authorities(),
            (Guard::Encrypted, _) | (_, TlsPolicy::Required) => Self::encrypted(),
            (Guard::ByPolicy, TlsPolicy::Off) => Self::in_clear(),
            (Guard::ByPolicy, TlsPolicy::Opportunistic) if pool.abilities.needs_tls() => Self::encrypted(),
            (Guard::ByPolicy, TlsPolicy::Opportunistic) if is_broken => Self::in_clear(),
            (Guard::ByPolicy, TlsPolicy::Opportunistic) => {
                Self::new(TlsWanted::Opportunistic, Trust::Any, None)
            }
        }
    }

    /// Without TLS.
    pub(super) const fn in_clear() -> Self {
        Self::new(TlsWanted::Off, Trust::Any, None)
    }

    const fn encrypted() -> Self {
        Self::new(TlsWanted::Required, Trust::Any, None)
    }

    /// What protects `stream`, which has been opened as it was wanted.
    pub(super) fn got(&self, stream: &Stream) -> Protection {
        let Some(standing) = stream.tls_standing() else { return Protection::default() };
        let witnessed = (standing == Standing::Verified).then_some(By::Authority);
        Protection { encrypted: true, authenticated: self.by.or(witnessed) }
    }
}
