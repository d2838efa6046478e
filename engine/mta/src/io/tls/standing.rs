//! What a certificate was worth where any is accepted: noted by the verifier, carried to the connection it belongs to.
//!
//! Connections share one configuration, so that they take up each other's sessions; the verifier in it does not learn
//! for which of them it is asked. But it is asked while one connection works, on that connection's thread: what is
//! noted meanwhile is that connection's. A session that is taken up again brings the note of the one that began it.

use std::cell::Cell;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, NamedGroup};

/// What the certificate of a server is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It proves nothing.
    Unverified(Doubt),
    /// A trusted authority has issued it for the server's name, and the server has shown that it is its own.
    Verified,
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It has run out, or is not valid yet.
    Time,
    /// It does not name the server.
    Name,
    /// Nobody who is trusted has issued it.
    Issuer,
    /// Anything else.
    Other,
}

impl Default for Standing {
    fn default() -> Self {
        Self::Unverified(Doubt::Other)
    }
}

impl Standing {
    const ALL: [Self; 5] = [
        Self::Verified,
        Self::Unverified(Doubt::Time),
        Self::Unverified(Doubt::Name),
        Self::Unverified(Doubt::Issuer),
        Self::Unverified(Doubt::Other),
    ];
}

impl Doubt {
    /// What a refusal of rustls says of the certificate.
    #[must_use]
    pub const fn of(fault: &rustls::Error) -> Self {
        use CertificateError as Fault;
        let rustls::Error::InvalidCertificate(fault) = fault else { return Self::Other };
        match fault {
            Fault::Expired | Fault::ExpiredContext { .. } => Self::Time,
            Fault::NotValidYet | Fault::NotValidYetContext { .. } => Self::Time,
            Fault::NotValidForName | Fault::NotValidForNameContext { .. } => Self::Name,
            Fault::UnknownIssuer => Self::Issuer,
            _ => Self::Other,
        }
    }
}

thread_local! {
    /// Of the connection that works now.
    static CURRENT: Cell<Standing> = const { Cell::new(Standing::Unverified(Doubt::Other)) };
}

/// Does `work` of a connection; what is noted meanwhile goes into its `standing`.
pub(in crate::io) fn during<R>(standing: &mut Standing, work: impl FnOnce() -> R) -> R {
    CURRENT.set(*standing);
    let result = work();
    *standing = CURRENT.take();
    result
}

/// Notes what the certificate of the connection at work is worth.
pub(super) fn note(standing: Standing) {
    CURRENT.set(standing);
}

/// Sessions to be taken up again, with the standing of the connection that began them.
#[derive(Debug)]
pub(super) struct Sessions {
    /// In the order of [`Standing::ALL`].
    caches: [ClientSessionMemoryCache; 5],
}

impl Sessions {
    pub(super) fn new(servers_max: usize) -> Self {
        Self { caches: Standing::ALL.map(|_| ClientSessionMemoryCache::new(servers_max)) }
    }

    fn of_current(&self) -> &ClientSessionMemoryCache {
        let current = CURRENT.get();
        let place = Standing::ALL.iter().position(|standing| *standing == current);
        &self.caches[place.expect("all standings are listed")]
    }

    /// The better session first; whoever takes it up has its standing.
    fn find<T>(&self, find: impl Fn(&ClientSessionMemoryCache) -> Option<T>) -> Option<T> {
        let mut pairs = Standing::ALL.into_iter().zip(&self.caches);
        pairs.find_map(|(standing, cache)| {
            let session = find(cache)?;
            note(standing);
            Some(session)
        })
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.caches[0].set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.caches[0].kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.of_current().set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.find(|cache| cache.tls12_session(server_name))
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.caches.iter().for_each(|cache| cache.remove_tls12_session(server_name));
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.of_current().insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.find(|cache| cache.take_tls13_ticket(server_name))
    }
}
