//! `/healthz` and `/metrics`: whether the engine takes mail, and its numbers.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use report::{METRICS_TYPE, Scrape};
use serde::Serialize;

use crate::ApiError;
use crate::app::Console;

#[derive(Debug, Serialize)]
struct Healthy {
    status: &'static str,
}

/// 200 when submissions are taken, 503 with the reason when not. Everyone may ask.
pub(crate) async fn health(State(console): State<Console>) -> Response {
    match console.handle.health() {
        Ok(()) => Json(Healthy { status: "ok" }).into_response(),
        Err(why) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_accepting", why).into_response(),
    }
}

/// The numbers, for Prometheus.
pub(crate) async fn metrics(State(console): State<Console>) -> Result<Response, ApiError> {
    let handle = &console.handle;
    let scrape = Scrape {
        accepting: handle.health().is_ok(),
        ledger: handle.ledger(),
        counters: handle.counters(),
        waiting: handle.waiting().await,
        paths: handle.paths().await,
        tls: handle.tls_reports().counters(),
        sources: handle.sources().await,
    };
    let text = scrape.text(&console.store).map_err(|error| ApiError::fault(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}
