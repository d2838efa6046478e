//! Believes everybody, and notes who deserved it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::standing::{Doubt, Standing, note};

/// What a certificate is worth to somebody who would also have sent in the clear: nothing, so a malformed one must not
/// send the mail back to the clear. It is looked at all the same, so that people learn what `verified` would do.
#[derive(Debug)]
pub(super) struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
}

impl Witness {
    pub(super) const fn new(verifier: Arc<WebPkiServerVerifier>) -> Self {
        Self { verifier }
    }

    /// A server that cannot sign with the certificate's key has only borrowed the certificate.
    fn signed(signature: Result<HandshakeSignatureValid, Error>) -> Result<HandshakeSignatureValid, Error> {
        if signature.is_err() {
            note(Standing::Unverified(Doubt::Other));
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        note(match judged {
            Ok(_) => Standing::Verified,
            Err(fault) => Standing::Unverified(Doubt::of(&fault)),
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signed(self.verifier.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signed(self.verifier.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
