//! Believes the certificates that TLSA records name (RFC 6698, with the rules of RFC 7672 for mail).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// One TLSA record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Association {
    /// 2 is DANE-TA, 3 is DANE-EE; 0 and 1 (PKIX-TA, PKIX-EE) are not for mail (RFC 7672 section 3.1.3).
    pub usage: u8,
    /// 0 is the whole certificate, 1 its public key.
    pub selector: u8,
    /// 0 is the thing itself, 1 its SHA-256, 2 its SHA-512.
    pub matching: u8,
    /// What it must be.
    pub data: Vec<u8>,
}

impl Association {
    const ANCHOR: u8 = 2;
    const END_ENTITY: u8 = 3;

    /// Whether the record can stand for a certificate; one that cannot is as good as none, except that the host must
    /// be spoken to under TLS (RFC 7672 section 2.2).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let whole = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == SHA256.output_len(),
            2 => self.data.len() == SHA512.output_len(),
            _ => false,
        };
        whole && matches!(self.usage, Self::ANCHOR | Self::END_ENTITY) && self.selector <= 1
    }

    fn fits(&self, certificate: &CertificateDer<'_>) -> bool {
        let key;
        let selected: &[u8] = match self.selector {
            0 => certificate,
            _ => match ParsedCertificate::try_from(certificate) {
                Ok(parsed) => {
                    key = parsed.subject_public_key_info();
                    &key
                }
                Err(_) => return false,
            },
        };
        match self.matching {
            0 => self.data == selected,
            1 => self.data == digest(&SHA256, selected).as_ref(),
            2 => self.data == digest(&SHA512, selected).as_ref(),
            _ => false,
        }
    }
}

/// The usable TLSA records of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DaneSet {
    /// Each of them suffices.
    pub associations: Vec<Association>,
    /// Whom a certificate under a trust anchor may name (RFC 7672 section 3.2.2); the first is where the records were
    /// found, and is told to the server (section 8.1).
    pub names: Vec<String>,
}

/// Verifies by a set of records.
#[derive(Debug)]
pub(super) struct Verifier {
    set: Arc<DaneSet>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) const fn new(set: Arc<DaneSet>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { set, algorithms }
    }

    /// Whether `end_entity` has a path to the trust anchor that `association` names, and one of the names.
    fn is_under_anchor(
        &self,
        association: &Association,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut anchors = RootCertStore::empty();
        let shown = intermediates.iter().filter(|certificate| association.fits(certificate));
        // One that cannot be read is no anchor.
        shown.for_each(|certificate| drop(anchors.add(certificate.clone().into_owned())));
        if (association.selector, association.matching) == (0, 0) {
            // A whole certificate in DNS need not be sent by the server.
            drop(anchors.add(CertificateDer::from(association.data.clone())));
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &anchors, intermediates, now, algorithms)?;
        let names = self.set.names.iter().filter_map(|name| ServerName::try_from(name.as_str()).ok());
        let mut judged = names.map(|name| verify_server_name(&parsed, &name));
        judged.find(Result::is_ok).unwrap_or(Err(CertificateError::NotValidForName.into()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut fault = CertificateError::ApplicationVerificationFailure.into();
        for association in &self.set.associations {
            let judged = match association.usage {
                // Neither names nor dates of the certificate count (RFC 7672 section 3.1.1).
                Association::END_ENTITY if association.fits(end_entity) => Ok(()),
                Association::ANCHOR => self.is_under_anchor(association, end_entity, intermediates, now),
                _ => continue,
            };
            match judged {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData};
    use std::time::Duration;

    struct Made {
        authority: CertificateDer<'static>,
        authority_key: Vec<u8>,
        server: CertificateDer<'static>,
        server_key: Vec<u8>,
    }

    /// An authority and a certificate of it for `mx.example.test` that has run out unless it is to `last`.
    fn made(last: bool) -> Made {
        let key = KeyPair::generate().expect("a key");
        let authority_key = key.subject_public_key_info();
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("it signs itself");
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(["mx.example.test".to_owned()]).expect("a name");
        if !last {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let server = params.signed_by(&key, &issuer).expect("it is signed");
        Made {
            authority: authority.der().clone(),
            authority_key,
            server: server.der().clone(),
            server_key: key.subject_public_key_info(),
        }
    }

    fn record(usage: u8, selector: u8, matching: u8, of: &[u8]) -> Association {
        let data = match matching {
            0 => of.to_vec(),
            1 => digest(&SHA256, of).as_ref().to_vec(),
            _ => digest(&SHA512, of).as_ref().to_vec(),
        };
        Association { usage, selector, matching, data }
    }

    /// Whether a server that shows `chain` is believed for `name`.
    fn believes(associations: Vec<Association>, name: &str, chain: &[&CertificateDer<'static>]) -> bool {
        let set = DaneSet { associations, names: vec![name.to_owned()] };
        let algorithms = super::super::provider().signature_verification_algorithms;
        let verifier = Verifier::new(Arc::new(set), algorithms);
        let intermediates: Vec<_> = chain[1..].iter().map(|&certificate| certificate.clone()).collect();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        verifier.verify_server_cert(chain[0], &intermediates, &name, &[], now).is_ok()
    }

    #[test]
    fn an_end_entity_is_believed_whatever_its_name_and_dates() {
        let made = made(false);
        for matching in 0..3 {
            for record in [record(3, 0, matching, &made.server), record(3, 1, matching, &made.server_key)] {
                assert!(record.is_usable());
                assert!(believes(vec![record], "other.test", &[&made.server]));
            }
        }
        let wrong = record(3, 1, 1, b"another key");
        assert!(!believes(vec![wrong.clone()], "mx.example.test", &[&made.server, &made.authority]));
        let right = record(3, 1, 1, &made.server_key);
        assert!(believes(vec![wrong, right], "mx.example.test", &[&made.server]));
    }

    #[test]
    fn an_anchor_vouches_for_a_name_and_a_time() {
        let (good, expired) = (made(true), made(false));
        for matching in 0..3 {
            for (selector, of) in [(0, good.authority.as_ref()), (1, &good.authority_key)] {
                let record = record(2, selector, matching, of);
                let chain = [&good.server, &good.authority];
                assert!(believes(vec![record.clone()], "mx.example.test", &chain), "2 {selector} {matching}");
                assert!(!believes(vec![record.clone()], "other.test", &chain));
                let in_dns = (selector, matching) == (0, 0);
                assert_eq!(believes(vec![record], "mx.example.test", &chain[..1]), in_dns);
            }
        }
        let anchor = record(2, 0, 1, &expired.authority);
        assert!(!believes(vec![anchor], "mx.example.test", &[&expired.server, &expired.authority]));
        let foreign = record(2, 0, 1, &expired.authority);
        let chain = [&good.server, &good.authority, &expired.authority];
        assert!(!believes(vec![foreign], "mx.example.test", &chain), "the anchor has not signed it");
    }

    #[test]
    fn what_is_not_for_mail_or_malformed_is_unusable() {
        for (usage, selector, matching, bytes, usable) in [
            (3, 1, 1, 32, true),
            (2, 0, 2, 64, true),
            (3, 0, 0, 900, true),
            (0, 1, 1, 32, false),
            (1, 1, 1, 32, false),
            (255, 1, 1, 32, false),
            (3, 2, 1, 32, false),
            (3, 1, 3, 32, false),
            (3, 1, 1, 31, false),
            (3, 1, 2, 32, false),
            (3, 1, 0, 0, false),
        ] {
            let record = Association { usage, selector, matching, data: vec![0; bytes] };
            assert_eq!(record.is_usable(), usable, "{usage} {selector} {matching} {bytes}");
        }
    }
}
