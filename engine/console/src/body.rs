//! Bodies of requests: how much of them is taken into memory, and how JSON in them is read.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ApiError;

/// How long a client may pause while it sends a body.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Largest body of a command, in bytes.
pub(crate) const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// What all bodies together may take, in KiB: several messages of the largest size at once. Parsing and composing
/// take up to three times as much again for a moment.
const BUDGET_KIB: usize = 256 * 1024;

/// Memory for bodies, shared by all requests.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

/// A body in memory, and its share of the budget for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) bytes: Vec<u8>,
    _share: Vec<OwnedSemaphorePermit>,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_KIB)))
    }
}

impl Budget {
    /// Takes a whole body of at most `bytes_max` into memory.
    pub(crate) async fn collect(
        &self,
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<Collected, ApiError> {
        let stated =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if stated.is_some_and(|stated| stated > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let mut collected = Collected { bytes: Vec::new(), _share: Vec::new() };
        let mut reserved = 0;
        let mut stream = body.into_data_stream();
        while let Some(chunk) = next_chunk(&mut stream).await? {
            let length = collected.bytes.len() + chunk.len();
            if length > bytes_max {
                return Err(too_large(bytes_max));
            }
            if length > reserved {
                // Doubles like the vector does, so that few permits are taken.
                let more_kib = (length - reserved).max(reserved).max(16 * 1024).div_ceil(1024);
                collected._share.push(self.reserve(more_kib)?);
                reserved += more_kib * 1024;
            }
            collected.bytes.extend_from_slice(&chunk);
        }
        Ok(collected)
    }

    fn reserve(&self, kib: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(kib).map_err(|_| {
            let message = "too many large requests at once; send this one again in a moment";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
        })
    }
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_chunk(
    stream: &mut axum::body::BodyDataStream,
) -> Result<Option<bytes::Bytes>, ApiError> {
    match tokio::time::timeout(PAUSE_MAX, stream.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => {
            let message = format!("the body broke off: {error}");
            Err(ApiError::new(StatusCode::BAD_REQUEST, "body_incomplete", message))
        }
        Err(_) => {
            let message = format!("nothing of the body came for {} seconds", PAUSE_MAX.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}

/// Refuses what says of itself that it is not JSON. Requiring the type also keeps web pages of other origins out:
/// browsers ask before they send it.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let media_type = media_type(headers);
    if media_type == "application/json" || media_type.ends_with("+json") {
        return Ok(());
    }
    Err(unsupported(&media_type, "application/json"))
}

/// The media type of a request in lower case, without parameters; empty when it does not say.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The error for a body of the wrong type.
pub(crate) fn unsupported(found: &str, wanted: &str) -> ApiError {
    let found = if found.is_empty() { "without a Content-Type" } else { found };
    let message = format!("the body is {found}; send Content-Type: {wanted}");
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
}

/// Reads JSON; errors name line and column, and the field where it is known.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        json_error(error.inner(), &path)
    })?;
    json.end().map_err(|error| json_error(&error, ""))?;
    Ok(value)
}

fn json_error(error: &serde_json::Error, path: &str) -> ApiError {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let message = format!("line {}, column {}: {text}", error.line(), error.column());
    if !error.is_data() {
        return ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", message);
    }
    ApiError::invalid(path.trim_matches('.'), message)
}

fn too_large(bytes_max: usize) -> ApiError {
    let message = format!("the body is larger than {bytes_max} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}
