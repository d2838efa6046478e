//! `GET /v1/decisions`: what the engine has decided by itself, with the reasons.

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};
use mail::UnixMs;
use mta::Decision;
use report::as_time;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::app::Console;
use crate::feed::{read_query, wait_of};
use crate::{ApiError, Caller};

/// Decisions that are given when the request does not say how many.
const LIMIT_DEFAULT: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DecisionsQuery {
    after: String,
    limit: Option<usize>,
    wait: String,
}

/// One page of the feed.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    decisions: Vec<Told>,
    /// To be given as `after` for the next page.
    next: u64,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(serialize_with = "as_time")]
    at: UnixMs,
    #[serde(flatten)]
    decision: Decision,
}

/// The decisions from a number on; waits for some if it is asked to and there are none.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Page>, ApiError> {
    caller.must_be_operator()?;
    let query: DecisionsQuery = read_query(&uri)?;
    let until = Instant::now() + wait_of(&query.wait)?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_DEFAULT);
    let first = match query.after.as_str() {
        "" => 0,
        "now" => console.handle.decisions_next(),
        text => text.parse().map_err(|_| {
            ApiError::invalid("after", "the number that `next` of the last page named, or `now`")
        })?,
    };
    let mut told = console.handle.decisions_told();
    let mut stopping = console.stopping.subscribe();
    loop {
        told.mark_unchanged();
        let (found, next) = console.handle.decisions(first, limit);
        if !found.is_empty() || Instant::now() >= until || *stopping.borrow() {
            let decisions = found.into_iter().map(|decision| Told { at: decision.at, decision }).collect();
            return Ok(Json(Page { decisions, next }));
        }
        tokio::select! {
            _ = told.changed() => {}
            _ = stopping.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
