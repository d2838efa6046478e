//! Single requests over HTTPS to hosts that strangers name: of policies (RFC 8461) and for reports (RFC 8460).
//!
//! The certificate must name the host, addresses that DNS must not make the engine dial are not dialled, nor, unless the
//! operator has named the address, other ports than that of HTTPS; redirects are not followed, and time and size have limits. It refuses to keep connections: none of its hosts is asked twice a day.

mod fault;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use fault::HttpsFault;

use crate::control::destination::Reach;
use crate::resolve::Resolver;

/// The port of HTTPS.
pub const PORT: u16 = 443;
/// How long one address of a host may take to accept a connection, when it has another one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;
/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Asks. Clones share everything.
#[derive(Clone, Debug)]
pub struct Https {
    resolver: Resolver,
    tls: Arc<ClientConfig>,
    reach: Reach,
    port: u16,
}

/// What a host answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The media type in lower case without its parameters; empty when the host does not say.
    pub media_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// How much an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest body.
    pub body_bytes_max: usize,
    /// Longest time, from the look-up of the host to the end of the body.
    pub time_max: Duration,
}

impl Https {
    /// Believes certificates that lead to one of `roots`, and dials what is within `reach`.
    ///
    /// # Panics
    /// Never with the ciphers of aws-lc-rs, which this is built with.
    #[must_use]
    pub(crate) fn new(resolver: Resolver, roots: Arc<RootCertStore>, reach: Reach) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has ciphers for TLS 1.2 and 1.3");
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { resolver, tls: Arc::new(tls), reach, port: PORT }
    }

    /// The same, but this port is the one of HTTPS: for tests and laboratories.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Fetches `url`.
    ///
    /// # Errors
    /// Why there is no answer. An answer of any status is one.
    pub async fn get(&self, url: &str, bounds: Bounds) -> Result<Answer, HttpsFault> {
        let request = Request::builder().method(Method::GET);
        self.ask(url, request, Bytes::new(), bounds).await
    }

    /// Sends `body`, of the given media type, to `url`.
    ///
    /// # Errors
    /// Why there is no answer; the host may have taken the body all the same. An answer of any status is one.
    pub async fn post(
        &self,
        url: &str,
        media_type: &'static str,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Answer, HttpsFault> {
        let request = Request::builder()
            .method(Method::POST)
            .header(CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.ask(url, request, body, bounds).await
    }

    async fn ask(
        &self,
        url: &str,
        request: hyper::http::request::Builder,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Answer, HttpsFault> {
        let url: Uri = url.parse().map_err(|_| HttpsFault::Url)?;
        let authority =
            url.authority().filter(|_| url.scheme_str() == Some("https")).ok_or(HttpsFault::Url)?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = request
            .uri(path)
            .header(HOST, authority.as_str())
            .header(USER_AGENT, concat!("staffetta/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|_| HttpsFault::Url)?;
        let port = authority.port().map_or(self.port, |port| port.as_u16());
        let work = async {
            let stream = self.connect(authority.host(), port).await?;
            exchange(stream, request, bounds.body_bytes_max).await
        };
        tokio::time::timeout(bounds.time_max, work).await.unwrap_or(Err(HttpsFault::Timeout))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, HttpsFault> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let server_name = ServerName::try_from(name).map_err(|_| HttpsFault::Url)?.to_owned();
        let found = self.resolver.host(name).await.map_err(|fault| HttpsFault::Resolve(fault.text))?;
        let ips: Vec<IpAddr> = found.hosts.into_iter().flat_map(|host| host.addresses).collect();
        // Whoever names the host could have any service anywhere be told something.
        if port != self.port && !ips.iter().all(|&ip| self.reach.is_stated(ip)) {
            return Err(HttpsFault::Port);
        }
        let mut fault = HttpsFault::Forbidden(name.to_owned());
        for ip in self.dialable(ips.into_iter()) {
            match tcp(SocketAddr::new(ip, port)).await {
                // Another address of the host has the same certificate, or the host is in disorder: no further one is tried.
                Ok(stream) => return self.secure(server_name, stream).await,
                Err(failed) => fault = failed,
            }
        }
        Err(fault)
    }

    fn dialable(&self, ips: impl Iterator<Item = IpAddr>) -> impl Iterator<Item = IpAddr> {
        ips.filter(|ip| self.reach.may_dial(*ip)).take(ADDRESSES_MAX)
    }

    async fn secure(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, HttpsFault> {
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(name, stream).await.map_err(|error| HttpsFault::of_handshake(&error))
    }
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, HttpsFault> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(HttpsFault::Connect(format!("{address}: {error}"))),
        Err(_) => Err(HttpsFault::Connect(format!("{address} does not answer"))),
    }
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
    body_bytes_max: usize,
) -> Result<Answer, HttpsFault> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| HttpsFault::of_http(&error))?;
    // Ends with this function, however it ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| HttpsFault::of_http(&error))?;
    let (status, media_type) = (response.status().as_u16(), media_type(&response));
    let body = Limited::new(response.into_body(), body_bytes_max);
    let body = body.collect().await.map_err(|error| HttpsFault::of_body(&*error))?;
    Ok(Answer { status, media_type, body: body.to_bytes().to_vec() })
}

fn media_type(response: &Response<Incoming>) -> String {
    let stated = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = stated.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}
