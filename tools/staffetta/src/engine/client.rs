//! A small HTTP/1.1 client over a unix socket or TCP: one connection, kept open, JSON in the answers.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Target;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long one exchange may take; events wait up to 30 s for news.
const EXCHANGE_MAX: Duration = Duration::from_secs(120);
/// How often a busy engine (429, 503) is asked again.
const BUSY_RETRIES_MAX: u32 = 120;
/// The longest pause that a busy engine can ask for.
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a request carries.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    kind: &'static str,
    bytes: Bytes,
}

impl Body {
    /// Nothing.
    pub(crate) const fn empty() -> Self {
        Self { kind: "", bytes: Bytes::new() }
    }

    /// JSON.
    pub(crate) fn json(value: &Value) -> Self {
        Self { kind: "application/json", bytes: Bytes::from(value.to_string()) }
    }

    /// Bytes of the given media type.
    pub(crate) fn of(kind: &'static str, bytes: Vec<u8>) -> Self {
        Self { kind, bytes: Bytes::from(bytes) }
    }
}

/// The engine refused: its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) field: Option<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if let Some(field) = &self.field {
            write!(f, " (field `{field}`)")?;
        }
        write!(f, " [{} {}]", self.status, self.code)
    }
}

impl std::error::Error for Refused {}

/// A client of one engine. Requests go one after another.
pub(crate) struct Client {
    target: Target,
    token: Option<String>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client that connects when it is first used.
    pub(crate) const fn new(target: Target, token: Option<String>) -> Self {
        Self { target, token, connection: None }
    }

    /// GET.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses ([`Refused`]).
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.exchange(Method::GET, path, Body::empty()).await
    }

    /// POST.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn post(&mut self, path: &str, body: Body) -> anyhow::Result<Value> {
        self.exchange(Method::POST, path, body).await
    }

    /// POST, asked again for a while when the engine says that it is busy.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn post_patiently(&mut self, path: &str, body: Body) -> anyhow::Result<Value> {
        for _ in 0..BUSY_RETRIES_MAX {
            match self.exchange(Method::POST, path, body.clone()).await {
                Err(error) if is_busy(&error) => tokio::time::sleep(Duration::from_millis(500)).await,
                answer => return answer,
            }
        }
        self.exchange(Method::POST, path, body).await
    }

    async fn exchange(&mut self, method: Method, path: &str, body: Body) -> anyhow::Result<Value> {
        let work = self.exchange_once(method, path, body);
        let answer = tokio::time::timeout(EXCHANGE_MAX, work).await;
        answer
            .unwrap_or_else(|_| Err(anyhow!("the engine did not answer within {} s", EXCHANGE_MAX.as_secs())))
    }

    async fn exchange_once(&mut self, method: Method, path: &str, body: Body) -> anyhow::Result<Value> {
        let request = self.request(method, path, body)?;
        let mut sender = match self.kept_connection().await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let broke = || format!("the connection to the engine at {} broke", self.target);
        let response = sender.send_request(request).await.with_context(broke)?;
        let status = response.status();
        let pause = retry_after(response.headers());
        let collected = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = collected.map_err(|error| anyhow!("{}: {error}", broke()))?.to_bytes();
        self.connection = Some(sender);
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(pause.min(BUSY_PAUSE_MAX)).await;
        }
        read_answer(status, &bytes)
    }

    /// The connection of the last exchange, if the engine has not closed it meanwhile.
    async fn kept_connection(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut sender = self.connection.take()?;
        sender.ready().await.ok().map(|()| sender)
    }

    fn request(&self, method: Method, path: &str, body: Body) -> anyhow::Result<Request<Full<Bytes>>> {
        let host = match &self.target {
            Target::Unix(_) => "localhost",
            Target::Http(authority) => authority,
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if !body.kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, body.kind);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(body.bytes)).with_context(|| format!("`{path}` cannot be asked for"))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let unreachable = || format!("no engine answers at {} (is `staffetta serve` running?)", self.target);
        match &self.target {
            Target::Unix(path) => start(UnixStream::connect(path).await.with_context(unreachable)?).await,
            Target::Http(authority) => {
                let stream = TcpStream::connect(authority.as_str()).await.with_context(unreachable)?;
                drop(stream.set_nodelay(true));
                start(stream).await
            }
        }
    }
}

async fn start<S>(stream: S) -> anyhow::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.context("the engine does not speak HTTP")?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The engine asks to come again.
pub(crate) fn is_busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| matches!(refused.status, 429 | 503))
}

fn retry_after(headers: &hyper::HeaderMap) -> Duration {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}

fn read_answer(status: StatusCode, bytes: &[u8]) -> anyhow::Result<Value> {
    let value: Option<Value> =
        if bytes.is_empty() { Some(Value::Null) } else { serde_json::from_slice(bytes).ok() };
    if status.is_success() {
        return value.ok_or_else(|| anyhow!("the engine's answer is not JSON"));
    }
    let error = value.as_ref().and_then(|value| value.get("error"));
    let Some(error) = error else {
        bail!("the engine answered {status}");
    };
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    Err(anyhow::Error::new(Refused {
        status: status.as_u16(),
        code: text("code").unwrap_or_default(),
        message: text("message").unwrap_or_else(|| format!("the engine answered {status}")),
        field: text("field"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_the_engines_words() {
        let body = br#"{"error":{"code":"invalid","message":"no such class","field":"class"}}"#;
        let error = read_answer(StatusCode::BAD_REQUEST, body).expect_err("a refusal");
        assert_eq!(error.to_string(), "no such class (field `class`) [400 invalid]");
        assert!(!is_busy(&error));
    }

    #[test]
    fn busy_engines_are_asked_again() {
        let body = br#"{"error":{"code":"busy","message":"queue is full","field":null}}"#;
        let error = read_answer(StatusCode::TOO_MANY_REQUESTS, body).expect_err("a refusal");
        assert!(is_busy(&error));
    }

    #[test]
    fn answers_that_are_not_json_are_errors() {
        assert!(read_answer(StatusCode::OK, b"<html>").is_err());
        assert_eq!(read_answer(StatusCode::OK, b"").expect("empty"), Value::Null);
        let error = read_answer(StatusCode::NOT_FOUND, b"nothing").expect_err("a refusal");
        assert_eq!(error.to_string(), "the engine answered 404 Not Found");
    }

    #[tokio::test]
    async fn an_absent_engine_is_named() {
        let mut client = Client::new(Target::Unix("/nonexistent/control.sock".into()), None);
        let error = client.get("/v1/ledger").await.expect_err("nobody is there");
        let text = format!("{error:#}");
        assert!(text.contains("/nonexistent/control.sock") && text.contains("staffetta serve"), "{text}");
    }
}
