//! TLS configuration: whom we believe as a client, whom we claim to be as a server. Always with aws-lc-rs.
//!
//! Decides nothing: which trust a connection needs is the caller's word. One subject per file: the client's
//! configurations are here, `dane` believes TLSA records, `witness` believes everybody and notes who deserved it,
//! `standing` carries that note to the connection, `files` reads PEM.

mod dane;
mod files;
mod standing;
mod witness;

use std::cell::RefCell;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

pub use dane::{Association, DaneSet};
pub use files::{Identity, TlsFileFault, identity, roots, server_config};
pub(super) use standing::during;
pub use standing::{Doubt, Standing};

use standing::Sessions;
use witness::Witness;

/// Servers whose sessions a shard remembers; a session takes a few kilobytes.
const SESSIONS_MAX: usize = 1024;
/// Configurations for TLSA record sets that a shard keeps; beyond it all are forgotten and made again.
const DANE_MAX: usize = 256;

/// Whom a connection believes.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Any certificate: encryption against listeners, as good as the cleartext it replaces (RFC 7435). Whether the
    /// certificate would have been good is noted ([`super::Stream::tls_standing`]).
    Any,
    /// Certificates that a trusted authority has issued for the name.
    Authorities,
    /// Certificates that these TLSA records name (RFC 7672).
    Dane(Arc<DaneSet>),
}

/// The client's configurations of one shard; connections that share one take up each other's sessions.
#[derive(Debug)]
pub struct ClientTls {
    plain: Pair,
    /// For each identity, in the order in which they were given.
    identified: Vec<Pair>,
    /// By the records that they believe.
    dane: RefCell<FxHashMap<Arc<DaneSet>, Arc<ClientConfig>>>,
}

#[derive(Debug)]
struct Pair {
    any: Arc<ClientConfig>,
    authorities: Arc<ClientConfig>,
}

impl ClientTls {
    /// The configurations for one shard that trusts `roots` and can show each of `identities`.
    #[must_use]
    pub fn new(roots: &Arc<RootCertStore>, identities: &[Identity]) -> Self {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::new(provider())).build();
        let verifier = verifier.expect("roots are never empty: the public ones are among them");
        Self {
            plain: Pair::new(&verifier, None),
            identified: identities.iter().map(|identity| Pair::new(&verifier, Some(identity))).collect(),
            dane: RefCell::default(),
        }
    }

    /// The configuration for a connection; `identity` is the place of what the server is shown when it asks.
    #[must_use]
    pub fn config(&self, trust: &Trust, identity: Option<usize>) -> Arc<ClientConfig> {
        let pair = identity.and_then(|place| self.identified.get(place)).unwrap_or(&self.plain);
        match trust {
            Trust::Any => Arc::clone(&pair.any),
            Trust::Authorities => Arc::clone(&pair.authorities),
            Trust::Dane(set) => self.for_dane(set),
        }
    }

    fn for_dane(&self, set: &Arc<DaneSet>) -> Arc<ClientConfig> {
        let mut known = self.dane.borrow_mut();
        if let Some(config) = known.get(set) {
            return Arc::clone(config);
        }
        if known.len() >= DANE_MAX {
            known.clear();
        }
        let verifier = dane::Verifier::new(Arc::clone(set), provider().signature_verification_algorithms);
        let builder = client_builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = builder.with_no_client_auth();
        // A set of records is of one host.
        config.resumption = Resumption::in_memory_sessions(1);
        let config = Arc::new(config);
        known.insert(Arc::clone(set), Arc::clone(&config));
        config
    }
}

impl Pair {
    fn new(verifier: &Arc<WebPkiServerVerifier>, identity: Option<&Identity>) -> Self {
        let witness = Arc::new(Witness::new(Arc::clone(verifier)));
        let any = client_builder().dangerous().with_custom_certificate_verifier(witness);
        let authorities = client_builder().with_webpki_verifier(Arc::clone(verifier));
        let (mut any, mut authorities) = match identity {
            None => (any.with_no_client_auth(), authorities.with_no_client_auth()),
            Some(identity) => {
                let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(identity)));
                (
                    any.with_client_cert_resolver(resolver.clone()),
                    authorities.with_client_cert_resolver(resolver),
                )
            }
        };
        any.resumption = Resumption::store(Arc::new(Sessions::new(SESSIONS_MAX)));
        authorities.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Self { any: Arc::new(any), authorities: Arc::new(authorities) }
    }
}

/// 128 random bits in hexadecimal digits.
pub fn nonce() -> String {
    let mut bytes = [0; 16];
    provider().secure_random.fill(&mut bytes).expect("the kernel gives random bytes to everybody");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn client_builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has ciphers for TLS 1.2 and 1.3")
}
