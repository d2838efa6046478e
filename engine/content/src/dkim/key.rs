//! DKIM keys: reading, making, and the DNS record that publishes them (RFC 6376 section 3.6.1, RFC 8463 section 4).
//!
//! Making a key draws from the crypto library's own generator; aws-lc-rs makes both kinds itself, so that no further
//! library is needed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::private::Private;
use super::rsa::Rsa;

/// The library's word for an RSA key of fewer than 2048 bits.
const TOO_SHORT: &str = "TooSmall";
/// Most bytes of one character-string of a TXT record (RFC 1035 section 3.3).
const TXT_BYTES_MAX: usize = 255;

/// The kind of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `rsa-sha256`: what every receiver verifies.
    RsaSha256,
    /// `ed25519-sha256`: short and quick; some large receivers do not verify it.
    Ed25519Sha256,
}

impl Algorithm {
    /// The name in `a=` and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "rsa-sha256" => Ok(Self::RsaSha256),
            "ed25519-sha256" => Ok(Self::Ed25519Sha256),
            _ => Err(KeyError::Algorithm(text.to_owned())),
        }
    }
}

/// Why a key cannot be used or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The algorithm's name is not known.
    #[error("`{0}` is not an algorithm: use rsa-sha256 or ed25519-sha256")]
    Algorithm(String),
    /// The text is no PEM with a private key.
    #[error("no private key found: the file must be PEM with BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY")]
    Pem,
    /// The key is not of the kind that the algorithm needs, or is damaged.
    #[error("the key is not usable for {algorithm}: {reason}")]
    Unusable {
        /// What it was to be used for.
        algorithm: Algorithm,
        /// The library's words.
        reason: String,
    },
    /// The RSA key is too short (RFC 8301 section 3.2 asks for 1024 bits and recommends 2048).
    #[error("the RSA key is shorter than 2048 bits")]
    TooShort,
    /// The library could not make a key.
    #[error("a key could not be made")]
    Generate,
}

/// A private key ready to sign. Clones share it.
#[derive(Clone)]
pub struct Key {
    pair: Arc<Pair>,
    algorithm: Algorithm,
    /// What stands behind `p=` in the DNS record.
    public: Arc<str>,
}

/// The key itself.
pub(super) enum Pair {
    Rsa(Rsa),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// Reads a PEM file's text: PKCS#8, for RSA also PKCS#1.
    ///
    /// # Errors
    /// Not PEM, not a key for `algorithm`, or too short.
    pub fn from_pem(pem: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Pem)?;
        let unusable = |reason: String| KeyError::Unusable { algorithm, reason };
        let (pair, public) = match algorithm {
            Algorithm::RsaSha256 => {
                let pair = Rsa::from_der(&der).map_err(|reason| match reason.as_str() {
                    TOO_SHORT => KeyError::TooShort,
                    _ => unusable(reason),
                })?;
                let public = pair.public().map_err(unusable)?;
                (Pair::Rsa(pair), public)
            }
            Algorithm::Ed25519Sha256 => {
                let PrivateKeyDer::Pkcs8(der) = &der else {
                    return Err(unusable("it is not in PKCS#8".to_owned()));
                };
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
                    .map_err(|error| unusable(error.to_string()))?;
                let public = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(pair), public)
            }
        };
        Ok(Self { pair: Arc::new(pair), algorithm, public: STANDARD.encode(public).into() })
    }

    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The key for the lanes, if it is of their kind.
    pub(super) fn lanes(&self) -> Option<&Private> {
        match &*self.pair {
            Pair::Rsa(rsa) => rsa.lanes(),
            Pair::Ed25519(_) => None,
        }
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The text of the TXT record that publishes the key.
    #[must_use]
    pub fn dns_record(&self) -> String {
        let kind = match self.algorithm {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        };
        format!("v=DKIM1; k={kind}; p={}", self.public)
    }
}

#[cfg(test)]
impl Key {
    /// The same key with a fault in what the lanes compute with.
    pub(super) fn damaged(mut self) -> Self {
        if let Some(Pair::Rsa(rsa)) = Arc::get_mut(&mut self.pair) {
            rsa.damage();
        }
        self
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Makes an RSA key of 2048 bits, as PKCS#8 PEM.
///
/// # Errors
/// When the library fails.
pub fn generate_rsa_2048() -> Result<String, KeyError> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Generate)?;
    Ok(pem(der.as_ref()))
}

/// Makes an Ed25519 key, as PKCS#8 PEM.
///
/// # Errors
/// When the library fails.
pub fn generate_ed25519() -> Result<String, KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Generate)?;
    Ok(pem(der.as_ref()))
}

pub(super) fn pem(der: &[u8]) -> String {
    let mut text = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for (index, c) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}

/// The name of the record that publishes a key, without a dot at its end.
#[must_use]
pub fn dns_name(domain: &str, selector: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// The record as a line of a zone file; long text is split as DNS needs it.
#[must_use]
pub fn dns_zone_line(domain: &str, selector: &str, record: &str) -> String {
    let strings: Vec<String> = record
        .as_bytes()
        .chunks(TXT_BYTES_MAX)
        .map(|chunk| format!("\"{}\"", String::from_utf8_lossy(chunk)))
        .collect();
    format!("{}. IN TXT ( {} )", dns_name(domain, selector), strings.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_keys_read_back_and_publish_what_they_are() {
        for (algorithm, pem, kind) in [
            (Algorithm::RsaSha256, generate_rsa_2048().expect("makes a key"), "rsa"),
            (Algorithm::Ed25519Sha256, generate_ed25519().expect("makes a key"), "ed25519"),
        ] {
            assert!(
                pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.lines().all(|line| line.len() <= 64)
            );
            let key = Key::from_pem(&pem, algorithm).expect("is usable");
            let record = key.dns_record();
            assert!(record.starts_with(&format!("v=DKIM1; k={kind}; p=")), "{record}");
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn known_keys_have_the_records_that_other_tools_compute() {
        // `openssl pkey -in test-rsa.pem -pubout -outform DER | base64`, and the same for Ed25519 less its prefix.
        let rsa =
            Key::from_pem(include_str!("../../testdata/test-rsa.pem"), Algorithm::RsaSha256).expect("reads");
        assert_eq!(
            rsa.dns_record(),
            format!("v=DKIM1; k=rsa; p={}", include_str!("../../testdata/test-rsa.txt").trim())
        );
        let ed25519 =
            Key::from_pem(include_str!("../../testdata/test-ed25519.pem"), Algorithm::Ed25519Sha256)
                .expect("reads");
        assert_eq!(
            ed25519.dns_record(),
            "v=DKIM1; k=ed25519; p=vdcDgUdQmyr614h/I765Q/Y+oPez5LA9N4G8Bs2pvv0="
        );
        let pkcs1 = Key::from_pem(include_str!("../../testdata/test-rsa-pkcs1.pem"), Algorithm::RsaSha256)
            .expect("reads");
        assert_eq!(pkcs1.dns_record(), rsa.dns_record());
    }

    #[test]
    fn unusable_keys_say_why() {
        let rsa = include_str!("../../testdata/test-rsa.pem");
        let ed25519 = include_str!("../../testdata/test-ed25519.pem");
        let short = include_str!("../../testdata/test-rsa-1024.pem");
        let cut = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", "AAAA".repeat(10));
        for (pem, algorithm, part) in [
            ("", Algorithm::RsaSha256, "no private key"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                Algorithm::RsaSha256,
                "no private key",
            ),
            (rsa, Algorithm::Ed25519Sha256, "ed25519-sha256"),
            (ed25519, Algorithm::RsaSha256, "rsa-sha256"),
            (&cut, Algorithm::RsaSha256, "rsa-sha256"),
            (short, Algorithm::RsaSha256, "2048"),
        ] {
            let error = Key::from_pem(pem, algorithm).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!("rsa".parse::<Algorithm>().is_err());
    }

    #[test]
    fn long_records_are_split_for_the_zone_file() {
        let line = dns_zone_line("example.test", "s1", &"x".repeat(300));
        let expected =
            format!("s1._domainkey.example.test. IN TXT ( \"{}\" \"{}\" )", "x".repeat(255), "x".repeat(45));
        assert_eq!(line, expected);
    }
}
