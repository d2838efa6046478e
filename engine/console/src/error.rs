//! What the API answers when it does not do what it was asked: always `{"error": {"code", "message", "field"}}`.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use content::{ComposeError, HeaderError};
use mta::Refusal;
use report::StoreError;
use serde::Serialize;

use crate::list::{ListError, Rejected};

/// An error of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    /// When to ask again, where more is known of it than that it is for now.
    retry_after: Option<Duration>,
    body: ErrorBody,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ErrorBody {
    error: ErrorText,
    /// What an upload had done before it failed.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    done: Option<Box<UploadDone>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ErrorText {
    /// Stable, for programs.
    code: &'static str,
    /// A sentence, for people.
    message: String,
    /// The field of the request that is wrong, if it is one.
    field: Option<String>,
}

/// How far an upload of recipients came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UploadDone {
    /// Recipients that were taken; they are durable.
    pub accepted: u64,
    /// The first lines that were not, with the reason; at most 1,000.
    pub rejected: Vec<Rejected>,
    /// How many lines were not taken.
    pub rejected_count: u64,
    /// After an error: the line from which on nothing was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_line: Option<u64>,
}

impl ApiError {
    /// An error with its own status and code.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let error = ErrorText { code, message: message.into(), field: None };
        Self { status, retry_after: None, body: ErrorBody { error, done: None } }
    }

    /// A wrong value in `field`.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message).in_field(field)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The caller may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The engine failed, not the request.
    pub fn fault(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Names the field that is wrong.
    #[must_use]
    pub fn in_field(mut self, field: &str) -> Self {
        self.body.error.field = Some(field.to_owned()).filter(|field| !field.is_empty());
        self
    }

    /// Tells what was done before.
    #[must_use]
    pub fn after(mut self, done: UploadDone) -> Self {
        self.body.done = Some(Box::new(done));
        self
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body as it is written.
    #[cfg(test)]
    pub(crate) const fn body_for_test(&self) -> &impl Serialize {
        &self.body
    }

    /// The error that stands for a bare status, such as one of the router's own answers.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is nothing under this path"),
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this path knows other methods only"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large"),
            status if status.is_server_error() => ("internal", "the engine could not answer"),
            _ => ("bad_request", "the request cannot be understood"),
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let advice = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some((header::RETRY_AFTER, "1"))
            }
            _ => None,
        };
        if let Some((name, value)) = advice {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Some(wait) = self.retry_after {
            // RFC 9110 section 10.2.3: whole seconds; rounded up, since one asked too early is refused again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = Self::new(status, refusal.code(), refusal.to_string());
        let error = Self { retry_after: refusal.retry_after(), ..error };
        error.in_field(refusal.field().unwrap_or_default())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Cursor(error) => Self::invalid("after", error.to_string()),
            error => {
                tracing::error!("{error}");
                Self::fault(error.to_string())
            }
        }
    }
}

impl From<ComposeError> for ApiError {
    fn from(error: ComposeError) -> Self {
        Self::invalid(&error.field, error.message)
    }
}

impl From<HeaderError> for ApiError {
    /// The directives of a message have the same names in the API, without their prefix.
    fn from(error: HeaderError) -> Self {
        let name = error.header.to_ascii_lowercase();
        let field = match name.strip_prefix("x-staffetta-") {
            Some("tag") => "tags".to_owned(),
            Some(directive) => directive.replace('-', "_"),
            None => format!("headers.{}", error.header),
        };
        Self::invalid(&field, error.reason)
    }
}

impl From<ListError> for ApiError {
    fn from(error: ListError) -> Self {
        let message = error.to_string();
        let refused = Self::new(StatusCode::BAD_REQUEST, error.code, message);
        refused.in_field(&error.field.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_beyond_a_quota_is_told_when_to_come_again_and_others_to_come_soon() {
        let wait = |refusal: Refusal| {
            let response = ApiError::from(refusal).into_response();
            let value = response.headers().get(header::RETRY_AFTER).expect("a wait").clone();
            (response.status().as_u16(), value.to_str().expect("text").to_owned())
        };
        let quota = |retry_after| Refusal::Quota { why: String::new(), retry_after };
        assert_eq!(wait(quota(Duration::from_millis(8_640_001))), (429, "8641".to_owned()));
        assert_eq!(wait(quota(Duration::ZERO)), (429, "1".to_owned()));
        assert_eq!(wait(Refusal::Busy(String::new())), (429, "1".to_owned()));
    }
}
