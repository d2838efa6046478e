//! `/v1/ledger` and `/v1/events`: the books, and the story of everything in order.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use report::{Cursor, Event, Store, StoreError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::app::Console;
use crate::{ApiError, Caller};

/// Events that are given when the request does not say how many.
const EVENTS_DEFAULT: usize = 1_000;

/// The longest that a request waits for events: less than what proxies let a silent connection live.
const WAIT_MAX: Duration = Duration::from_secs(55);

/// The books, as they are told.
#[derive(Debug, Serialize)]
pub(crate) struct Books {
    accepted: u64,
    delivered: u64,
    bounced: u64,
    expired: u64,
    cancelled: u64,
    suppressed: u64,
    queued: u64,
    unknown_retries: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EventsQuery {
    after: String,
    limit: Option<usize>,
    wait: String,
}

/// One page of the feed.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    events: Vec<Event>,
    next: String,
}

/// The books of the whole engine.
pub(crate) async fn ledger(State(console): State<Console>) -> Json<Books> {
    let ledger = console.handle.ledger();
    Json(Books {
        accepted: ledger.accepted,
        delivered: ledger.delivered,
        bounced: ledger.bounced,
        expired: ledger.expired,
        cancelled: ledger.cancelled,
        suppressed: ledger.suppressed,
        queued: ledger.queued(),
        unknown_retries: ledger.unknown_retries,
    })
}

/// The events behind a cursor; waits for some if it is asked to and there are none.
pub(crate) async fn events(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Page>, ApiError> {
    let query: EventsQuery = read_query(&uri)?;
    let limit = query.limit.unwrap_or(EVENTS_DEFAULT);
    let until = Instant::now() + wait_of(&query.wait)?;
    let tenant = caller.account().map(|account| account.name.clone());
    let mut told = console.store.subscribe();
    let mut stopping = console.stopping.subscribe();
    let mut cursor = match query.after.as_str() {
        "now" => blocking(&console.store, Store::end).await?,
        text => text.parse().map_err(StoreError::from)?,
    };
    loop {
        told.mark_unchanged();
        let (events, next) = page(&console.store, cursor.clone(), limit, tenant.clone()).await?;
        let is_end = next == cursor;
        cursor = next;
        if !events.is_empty() || (is_end && (Instant::now() >= until || *stopping.borrow())) {
            return Ok(Json(Page { events, next: cursor.to_string() }));
        }
        if is_end {
            tokio::select! {
                _ = told.changed() => {}
                _ = stopping.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

async fn page(
    store: &Store,
    cursor: Cursor,
    limit: usize,
    tenant: Option<String>,
) -> Result<(Vec<Event>, Cursor), ApiError> {
    blocking(store, move |store| store.events_after(&cursor, limit, tenant.as_deref())).await
}

/// Runs a query of the store where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    store: &Store,
    query: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = store.clone();
    let answer = tokio::task::spawn_blocking(move || query(&store)).await;
    Ok(answer.map_err(|_| ApiError::fault("the query of the event store failed"))??)
}

/// Reads the query of a request.
pub(crate) fn read_query<T: serde::de::DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    let query = Query::<T>::try_from_uri(uri);
    query.map(|Query(query)| query).map_err(|error| {
        let message = error.body_text();
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", message)
    })
}

/// `30s` or `30`; nothing is no waiting.
pub(crate) fn wait_of(text: &str) -> Result<Duration, ApiError> {
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let seconds: u64 = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", "write the wait in seconds, as in 30s")
            .in_field("wait")
    })?;
    Ok(Duration::from_secs(seconds).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_strictly() {
        let read = |text: &str| read_query::<EventsQuery>(&text.parse().expect("a URI"));
        let query = read("/v1/events?after=0-1f_1-2&limit=10&wait=30s").expect("read");
        assert_eq!((query.after.as_str(), query.limit, query.wait.as_str()), ("0-1f_1-2", Some(10), "30s"));
        for text in ["/v1/events?limit=ten", "/v1/events?limit=-1", "/v1/events?behind=1"] {
            assert_eq!(read(text).expect_err(text).status().as_u16(), 400);
        }
    }

    #[test]
    fn waits_are_bounded() {
        for (text, seconds) in [("", 0), ("5", 5), ("30s", 30), ("3600s", 55)] {
            assert_eq!(wait_of(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["s", "-1", "1m"] {
            assert!(wait_of(text).is_err(), "{text}");
        }
    }
}
