//! The DKIM keys of the configured domains, read and checked once at the start, and who makes signatures with them.

use std::collections::HashMap;

use content::dkim::{Algorithm, BodyHash, Key, Signer, Unsigned};
use mail::UnixMs;
use policy::config::{Config, DkimAlgorithm};

use crate::deliver::SigningThreads;

/// Who signs for which domain.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    by_domain: HashMap<String, Vec<Signer>>,
    /// That make signatures beside the shards.
    pub(crate) threads: SigningThreads,
}

impl Signing {
    /// Reads every key of the configuration, and starts as many threads for signatures as shards if there is any.
    ///
    /// # Errors
    /// One sentence naming the first key that cannot be used, or that there is no thread to be had.
    pub(crate) fn load(config: &Config, shards: usize) -> Result<Self, String> {
        let mut by_domain = HashMap::new();
        for domain in config.domains.iter().filter(|domain| !domain.dkim.is_empty()) {
            let mut signers = Vec::new();
            for stated in &domain.dkim {
                let file = stated.key_file.display();
                let pem = std::fs::read_to_string(&stated.key_file).map_err(|error| {
                    format!("the DKIM key {file} of {} cannot be read: {error}", domain.name)
                })?;
                let algorithm = match stated.algorithm {
                    DkimAlgorithm::RsaSha256 => Algorithm::RsaSha256,
                    DkimAlgorithm::Ed25519Sha256 => Algorithm::Ed25519Sha256,
                };
                let key = Key::from_pem(&pem, algorithm).map_err(|error| {
                    format!("the DKIM key {file} of {} cannot be used: {error}", domain.name)
                })?;
                signers.push(Signer { domain: domain.name.clone(), selector: stated.selector.clone(), key });
            }
            by_domain.insert(domain.name.clone(), signers);
        }
        let count = if by_domain.is_empty() { 0 } else { shards };
        let threads = SigningThreads::start(count)
            .map_err(|error| format!("the threads that sign cannot be started: {error}"))?;
        Ok(Self { by_domain, threads })
    }

    /// What is to be signed of mail from `identity`: nothing when it has no key. A message that cannot be signed, because it
    /// has no author, is sent without: to lose it would be worse.
    pub(crate) fn unsigned(
        &self,
        identity: &str,
        message: &[u8],
        body_hash: Option<&BodyHash>,
        now: UnixMs,
    ) -> Unsigned {
        Unsigned::new(self.signers(identity), message, body_hash, now.seconds()).unwrap_or_else(|error| {
            tracing::warn!(identity, %error, "a message leaves without signature");
            Unsigned::default()
        })
    }

    /// The signers for mail from `identity`, the domain of From: those of that domain or of the nearest one above it
    /// (relaxed alignment, RFC 7489 section 3.1.1).
    pub(crate) fn signers(&self, identity: &str) -> &[Signer] {
        let mut name = identity;
        loop {
            if let Some(signers) = self.by_domain.get(name) {
                return signers;
            }
            let Some((_, above)) = name.split_once('.') else { return &[] };
            name = above;
        }
    }
}
