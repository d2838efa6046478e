//! What a certificate was worth where any is accepted: noted by the verifier, carried to the connection it belongs to.
//!
//! Connections share one configuration, so that they take up each other's sessions; the verifier in it does not learn
//! for which of them it is asked. But it is asked while one connection works, on that connection's thread: what is
//! noted meanwhile is that connection's. A session that is taken up again brings the note of the one that began it.

use std::cell::Cell;

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

/// What the certificate of a server is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It proves nothing.
    #[default]
    Unverified,
    /// A trusted authority has issued it for the server's name, and the server has shown that it is its own.
    Verified,
}

thread_local! {
    /// Of the connection that works now.
    static CURRENT: Cell<Standing> = const { Cell::new(Standing::Unverified) };
}

/// Does `work` of a connection; what is noted meanwhile goes into its `standing`.
pub(in crate::io) fn during<R>(standing: &mut Standing, work: impl FnOnce() -> R) -> R {
    CURRENT.set(*standing);
    let result = work();
    *standing = CURRENT.replace(Standing::Unverified);
    result
}

/// Notes what the certificate of the connection at work is worth.
pub(super) fn note(standing: Standing) {
    CURRENT.set(standing);
}

/// Sessions to be taken up again, with the standing of the connection that began them.
#[derive(Debug)]
pub(super) struct Sessions {
    verified: ClientSessionMemoryCache,
    unverified: ClientSessionMemoryCache,
}

impl Sessions {
    pub(super) fn new(servers_max: usize) -> Self {
        let cache = || ClientSessionMemoryCache::new(servers_max);
        Self { verified: cache(), unverified: cache() }
    }

    fn of_current(&self) -> &ClientSessionMemoryCache {
        match CURRENT.get() {
            Standing::Verified => &self.verified,
            Standing::Unverified => &self.unverified,
        }
    }

    /// The better session first; whoever takes it up has its standing.
    fn find<T>(&self, find: impl Fn(&ClientSessionMemoryCache) -> Option<T>) -> Option<T> {
        if let Some(session) = find(&self.verified) {
            note(Standing::Verified);
            return Some(session);
        }
        let session = find(&self.unverified)?;
        note(Standing::Unverified);
        Some(session)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.unverified.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.unverified.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.of_current().set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.find(|cache| cache.tls12_session(server_name))
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.verified.remove_tls12_session(server_name);
        self.unverified.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.of_current().insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.find(|cache| cache.take_tls13_ticket(server_name))
    }
}
