//! Identifiers in paths.

use std::str::FromStr;

use axum::http::StatusCode;
use mail::IdError;

use crate::ApiError;

/// Reads an identifier of the path.
///
/// # Errors
/// It is none.
pub(crate) fn parse<T: FromStr<Err = IdError>>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error: IdError| {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_id", error.to_string()).in_field("id")
    })
}
