//! Why a request over HTTPS has no answer: whose fault it is decides what is told of it.

use std::error::Error;
use std::io;

use http_body_util::LengthLimitError;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpsFault {
    /// The text is no URL of HTTPS.
    #[error("not a URL of HTTPS")]
    Url,
    /// The URL names a port of its own.
    #[error("only the port of HTTPS is used, except where `deliver.allow_private` names the address")]
    Port,
    /// DNS names no address, or does not answer.
    #[error("{0}")]
    Resolve(String),
    /// DNS names only addresses that it must not make the engine dial.
    #[error("DNS names only addresses for {0} that are private, our own or unusable")]
    Forbidden(String),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The certificate does not prove that it is the host.
    #[error("the certificate is not valid: {0}")]
    Certificate(String),
    /// TLS failed for another reason.
    #[error("TLS handshake: {0}")]
    Tls(String),
    /// What came is not HTTP, or it broke off.
    #[error("HTTP: {0}")]
    Http(String),
    /// The body is longer than allowed.
    #[error("the answer is too long")]
    TooLong,
    /// It took longer than allowed.
    #[error("no complete answer in time")]
    Timeout,
}

impl HttpsFault {
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(why.to_string()),
            _ => Self::Tls(error.to_string()),
        }
    }

    pub(super) fn of_http(error: &hyper::Error) -> Self {
        Self::Http(error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
    }

    pub(super) fn of_body(error: &(dyn Error + Send + Sync + 'static)) -> Self {
        if error.is::<LengthLimitError>() {
            return Self::TooLong;
        }
        error.downcast_ref::<hyper::Error>().map_or_else(|| Self::Http(error.to_string()), Self::of_http)
    }
}
