//! RSA keys for signatures (RFC 8017 section 8.2, with SHA-256): read by aws-lc-rs, which checks them, and, where they are
//! of the usual kind, prepared for eight lanes too.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256};
use rustls_pki_types::PrivateKeyDer;

use super::limbs::{self, Full};
use super::private::{Parts, Private};

/// Bytes of a signature with 2048 bits.
const SIGNATURE_BYTES: usize = 256;
/// The only public exponent that the lanes know, big-endian.
const EXPONENT: &[u8] = &[1, 0, 1];
/// What stands before a SHA-256 digest: its name (RFC 8017 section 9.2, note 1).
const DIGEST_INFO: [u8; 19] =
    *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

/// An RSA key pair.
pub(super) struct Rsa {
    pair: RsaKeyPair,
    lanes: Option<Box<Private>>,
}

impl Rsa {
    /// Reads a key in PKCS#8 or PKCS#1.
    ///
    /// # Errors
    /// The library's words when it is none, damaged, or shorter than 2048 bits.
    pub(super) fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let (pair, pkcs1) = match der {
            PrivateKeyDer::Pkcs1(der) => {
                (RsaKeyPair::from_der(der.secret_pkcs1_der()), Some(der.secret_pkcs1_der()))
            }
            PrivateKeyDer::Pkcs8(der) => {
                (RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()), pkcs1_within(der.secret_pkcs8_der()))
            }
            _ => return Err("it is neither in PKCS#8 nor in PKCS#1".to_owned()),
        };
        let pair = pair.map_err(|error| error.to_string())?;
        let lanes = pkcs1.and_then(parts).and_then(|parts| Private::new(&parts)).map(Box::new);
        Ok(Self { pair, lanes })
    }

    /// The SubjectPublicKeyInfo, or the library's words.
    pub(super) fn public(&self) -> Result<Vec<u8>, String> {
        let public: PublicKeyX509Der<'_> =
            self.pair.public_key().as_der().map_err(|_| "its public part cannot be written".to_owned())?;
        Ok(public.as_ref().to_vec())
    }

    /// The key for the lanes, if it is of their kind.
    pub(super) fn lanes(&self) -> Option<&Private> {
        self.lanes.as_deref()
    }

    /// Signs a SHA-256 digest with aws-lc-rs.
    pub(super) fn sign_alone(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign_digest(&RSA_PKCS1_SHA256, digest, &mut signature).ok()?;
        Some(signature)
    }
}

#[cfg(test)]
impl Rsa {
    /// Puts a fault into one half of the key for the lanes.
    pub(super) fn damage(&mut self) {
        if let Some(lanes) = &mut self.lanes {
            lanes.p.exponent[3] ^= 1 << 7;
        }
    }
}

/// EMSA-PKCS1-v1_5 for 2048 bits: 00 01 FF .. FF 00, the name of SHA-256, the digest (RFC 8017 section 9.2).
pub(super) fn padded(digest: &Digest) -> Full {
    let mut message = [0xff; SIGNATURE_BYTES];
    let digest = digest.as_ref();
    let info_begins = SIGNATURE_BYTES - digest.len() - DIGEST_INFO.len();
    message[..2].copy_from_slice(&[0, 1]);
    message[info_begins - 1] = 0;
    message[info_begins..info_begins + DIGEST_INFO.len()].copy_from_slice(&DIGEST_INFO);
    message[info_begins + DIGEST_INFO.len()..].copy_from_slice(digest);
    limbs::from_bytes(&message)
}

/// The tag of INTEGER, OCTET STRING and SEQUENCE in DER (X.690 section 8).
const INTEGER: u8 = 2;
const OCTET_STRING: u8 = 4;
const SEQUENCE: u8 = 0x30;

/// The RSAPrivateKey within a PrivateKeyInfo (RFC 5208 section 5): version, algorithm, octets.
fn pkcs1_within(pkcs8: &[u8]) -> Option<&[u8]> {
    let (mut info, _) = element(pkcs8, SEQUENCE)?;
    for tag in [INTEGER, SEQUENCE] {
        (_, info) = element(info, tag)?;
    }
    Some(element(info, OCTET_STRING)?.0)
}

/// The parts of an RSAPrivateKey of two primes: version 0, n, e, d, p, q, d mod (p-1), d mod (q-1), 1/q mod p. None for a
/// public exponent other than 65537. The key has been checked before.
fn parts(pkcs1: &[u8]) -> Option<Parts<'_>> {
    let (mut rest, _) = element(pkcs1, SEQUENCE)?;
    let mut next = || {
        let (number, after) = element(rest, INTEGER)?;
        rest = after;
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        Some(&number[zeros..])
    };
    if !next()?.is_empty() {
        return None;
    }
    let (modulus, exponent) = (next()?, next()?);
    let (_, p, q, dp, dq, q_inverse) = (next()?, next()?, next()?, next()?, next()?, next()?);
    (exponent == EXPONENT).then_some(Parts { modulus, p, q, dp, dq, q_inverse })
}

/// The first element's contents, and what stands behind it; None unless it has this tag.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else { return None };
    let (length, rest) = match length {
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        0..=0x7f => (usize::from(*length), rest),
        _ => return None,
    };
    if *found != tag { None } else { rest.split_at_checked(length) }
}
