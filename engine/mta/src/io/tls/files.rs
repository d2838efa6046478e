//! Certificates and keys from PEM files: an operator's fault is one sentence that names the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::provider;

/// Why certificate and key cannot be used. An operator's fault; each is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileFault {
    /// The file cannot be read.
    #[error("the TLS file {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system answered.
        cause: std::io::Error,
    },
    /// The file is not PEM.
    #[error("the TLS file {} is not PEM: {cause}", path.display())]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// There is no certificate in the file.
    #[error("the TLS file {} holds no certificate (a block that begins with BEGIN CERTIFICATE)", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// There is no private key in the file.
    #[error(
        "the TLS file {} holds no private key (a block that begins with BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or \
         BEGIN EC PRIVATE KEY; encrypted keys are not supported)",
        path.display()
    )]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
    /// The two do not go together, or are of a kind that TLS does not know.
    #[error("the certificate {} and the key {} cannot be used together: {cause}", certificate.display(), key.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls says.
        cause: rustls::Error,
    },
}

/// The server's configuration from PEM files: the certificate first in its file, then the chain. Share one among all
/// shards, so that a session begun at one is taken up at another.
///
/// # Errors
/// One sentence that names the file.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsFileFault> {
    let chain = read_chain(certificate)?;
    let private = read_key(key)?;
    let unusable = |cause| TlsFileFault::Unusable { certificate: certificate.into(), key: key.into(), cause };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has ciphers for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    // One ticket is enough for a client that comes back with one connection at a time; two are the default.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// What a client shows to a server that asks who it is.
pub type Identity = Arc<CertifiedKey>;

/// A client certificate from PEM files: the certificate first in its file, then the chain.
///
/// # Errors
/// One sentence that names the file.
pub fn identity(certificate: &Path, key: &Path) -> Result<Identity, TlsFileFault> {
    let chain = read_chain(certificate)?;
    let private = read_key(key)?;
    CertifiedKey::from_der(chain, private, &provider())
        .map(Arc::new)
        .map_err(|cause| TlsFileFault::Unusable { certificate: certificate.into(), key: key.into(), cause })
}

/// The public authorities, and those of a PEM file.
///
/// # Errors
/// One sentence that names the file.
pub fn roots(more: Option<&Path>) -> Result<Arc<RootCertStore>, TlsFileFault> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    if let Some(path) = more {
        for authority in read_chain(path)? {
            roots
                .add(authority)
                .map_err(|fault| TlsFileFault::NotPem { path: path.into(), cause: fault.to_string() })?;
        }
    }
    Ok(Arc::new(roots))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileFault> {
    let blocks = CertificateDer::pem_file_iter(path).map_err(|fault| explain(path, fault))?;
    let chain: Vec<_> = blocks.collect::<Result<_, _>>().map_err(|fault| explain(path, fault))?;
    if chain.is_empty() { Err(TlsFileFault::NoCertificate { path: path.into() }) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileFault> {
    PrivateKeyDer::from_pem_file(path).map_err(|fault| match fault {
        pem::Error::NoItemsFound => TlsFileFault::NoKey { path: path.into() },
        other => explain(path, other),
    })
}

fn explain(path: &Path, fault: pem::Error) -> TlsFileFault {
    match fault {
        pem::Error::Io(cause) => TlsFileFault::Unreadable { path: path.into(), cause },
        other => TlsFileFault::NotPem { path: path.into(), cause: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("it can be written");
        file.into_temp_path()
    }

    #[test]
    fn faults_name_the_file_and_what_is_wrong() {
        let made = rcgen::generate_simple_self_signed(["mx.example.test".to_owned()]).expect("a certificate");
        let other =
            rcgen::generate_simple_self_signed(["mx.example.test".to_owned()]).expect("a certificate");
        let (certificate, key) = (file(&made.cert.pem()), file(&made.signing_key.serialize_pem()));
        let strange = file(&other.signing_key.serialize_pem());
        let (empty, broken) =
            (file(""), file("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"));

        server_config(&certificate, &key).expect("they go together");
        for (certificate, key, sentence) in [
            (Path::new("/none.pem"), &*key, "/none.pem cannot be read: No such file"),
            (&*certificate, Path::new("/none.pem"), "/none.pem cannot be read: No such file"),
            (&*empty, &*key, "holds no certificate"),
            (&*certificate, &*empty, "holds no private key"),
            (&*certificate, &*certificate, "holds no private key"),
            (&*broken, &*key, "is not PEM"),
            (&*certificate, &*strange, "cannot be used together"),
        ] {
            let fault = server_config(certificate, key).expect_err(sentence).to_string();
            assert!(fault.contains(sentence), "{fault}");
        }
    }

    #[test]
    fn authorities_of_a_file_are_added_to_the_public_ones() {
        let public = roots(None).expect("they are compiled in").len();
        let made = rcgen::generate_simple_self_signed(["ca.example.test".to_owned()]).expect("a certificate");
        let more = file(&made.cert.pem());
        assert_eq!(roots(Some(&more)).expect("one more").len(), public + 1);
        let fault = roots(Some(Path::new("/none.pem"))).expect_err("no file").to_string();
        assert!(fault.contains("/none.pem cannot be read"), "{fault}");
    }
}
