//! `/v1/queue` and `/v1/why/ID`: what waits where, and why.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use mail::{Class, RecipientId, UnixMs};
use mta::{HoldView, PathFilter, PathView, WaitingView, Why};
use report::{as_optional_time, as_text, as_time};
use serde::{Deserialize, Serialize};

use crate::app::Console;
use crate::body::{expect_json, media_type, read_json};
use crate::{ApiError, Caller, path_id};

/// Largest body of a command, in bytes.
const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// The queue: paths, and what waits outside of them.
#[derive(Debug, Serialize)]
pub(crate) struct Queue {
    /// Nothing is sent until it is released: the spool was restored from a copy.
    holding: bool,
    waiting: WaitingView,
    paths: Vec<PathJson>,
    holds: Vec<HoldJson>,
}

/// Mail of a sender that waits, because a receiver refuses it by a fault of our own.
#[derive(Debug, Serialize)]
struct HoldJson {
    identity: String,
    provider: String,
    #[serde(serialize_with = "as_time")]
    until: UnixMs,
    reason: String,
}

/// A path with its times as texts.
#[derive(Debug, Serialize)]
pub(crate) struct PathJson {
    shard: u8,
    source: String,
    provider: String,
    site: String,
    ready: ReadyJson,
    paused: u64,
    oldest_ms: u64,
    connections: u32,
    connections_max: u32,
    rate: Option<String>,
    #[serde(serialize_with = "as_optional_time")]
    suspended_until: Option<UnixMs>,
    reason: Option<String>,
}

/// Waiting recipients by class.
#[derive(Debug, Serialize)]
struct ReadyJson {
    critical: u64,
    transactional: u64,
    personal: u64,
    bulk: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Command {
    provider: Option<String>,
    source: Option<String>,
    site: Option<String>,
    /// Seconds, or a number with `s`, `m`, `h` or `d`; without it until it is resumed.
    #[serde(rename = "for")]
    duration: Option<String>,
    reason: Option<String>,
}

/// How many paths a command has reached.
#[derive(Debug, Serialize)]
pub(crate) struct Reached {
    paths: usize,
}

/// What became of a release.
#[derive(Debug, Serialize)]
pub(crate) struct Released {
    /// Whether anything was held.
    released: bool,
}

/// Why a recipient is where it is.
#[derive(Debug, Serialize)]
pub(crate) struct WhyJson {
    #[serde(serialize_with = "as_text")]
    id: RecipientId,
    state: &'static str,
    #[serde(flatten)]
    why: Waits,
}

/// What a recipient waits for.
#[derive(Debug, Serialize)]
pub(crate) struct Waits {
    address: String,
    class: Class,
    waits_for: String,
    #[serde(serialize_with = "as_time")]
    since: UnixMs,
    #[serde(serialize_with = "as_optional_time")]
    until: Option<UnixMs>,
    #[serde(serialize_with = "as_optional_time")]
    expires: Option<UnixMs>,
    path: Option<PathJson>,
}

impl From<PathView> for PathJson {
    fn from(path: PathView) -> Self {
        let [critical, transactional, personal, bulk] = path.ready;
        Self {
            shard: path.shard,
            source: path.source,
            provider: path.provider,
            site: path.site,
            ready: ReadyJson { critical, transactional, personal, bulk },
            paused: path.paused,
            oldest_ms: path.oldest_ms,
            connections: path.connections,
            connections_max: path.connections_max,
            rate: path.rate,
            suspended_until: path.suspended_until,
            reason: path.reason,
        }
    }
}

impl From<HoldView> for HoldJson {
    fn from(hold: HoldView) -> Self {
        let HoldView { identity, provider, until, reason } = hold;
        Self { identity, provider, until, reason }
    }
}

impl From<Why> for Waits {
    fn from(why: Why) -> Self {
        Self {
            address: why.address,
            class: why.class,
            waits_for: why.waits_for,
            since: why.since,
            until: why.until,
            expires: Some(why.expires),
            path: why.path.map(PathJson::from),
        }
    }
}

impl Waits {
    /// Of a recipient that waits no more.
    pub(crate) fn ended(address: &str, class: Class, how: String, since: UnixMs, until: UnixMs) -> Self {
        let address = address.to_owned();
        Self { address, class, waits_for: how, since, until: Some(until), expires: None, path: None }
    }
}

/// Shows the queue.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Queue>, ApiError> {
    caller.must_be_operator()?;
    let waiting = console.handle.waiting().await;
    let paths = console.handle.paths().await.into_iter().map(PathJson::from).collect();
    let holds = console.handle.holds().into_iter().map(HoldJson::from).collect();
    Ok(Json(Queue { holding: console.handle.is_holding(), waiting, paths, holds }))
}

/// Lets paths rest.
pub(crate) async fn suspend(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reached>, ApiError> {
    caller.must_be_operator()?;
    let command = read_command(&console, &headers, body).await?;
    let until = match &command.duration {
        Some(text) => console.handle.now() + duration(text)?,
        None => UnixMs::NEVER,
    };
    let reason = command.reason.clone().unwrap_or_else(|| "suspended by the operator".to_owned());
    let paths = console.handle.suspend(command.filter(), until, reason).await;
    Ok(Json(Reached { paths }))
}

/// Ends the rest of paths.
pub(crate) async fn resume(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reached>, ApiError> {
    caller.must_be_operator()?;
    let command = read_command(&console, &headers, body).await?;
    let paths = console.handle.resume(command.filter()).await;
    Ok(Json(Reached { paths }))
}

/// Lets mail leave after a restore.
pub(crate) async fn release(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Released>, ApiError> {
    caller.must_be_operator()?;
    Ok(Json(Released { released: console.handle.release() }))
}

/// Says why a recipient waits.
pub(crate) async fn why(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<WhyJson>, ApiError> {
    let id: RecipientId = path_id::parse(&id)?;
    let subject = crate::stories::recipient(&console, &caller, id).await?;
    subject.why().map(Json)
}

impl WhyJson {
    pub(crate) const fn new(id: RecipientId, state: &'static str, why: Waits) -> Self {
        Self { id, state, why }
    }
}

/// A command about nothing in particular may come without a body and is about everything.
async fn read_command(console: &Console, headers: &HeaderMap, body: Body) -> Result<Command, ApiError> {
    let body = console.budget.collect(headers, body, COMMAND_BYTES_MAX).await?;
    if body.bytes.is_empty() && media_type(headers).is_empty() {
        return Ok(Command::default());
    }
    expect_json(headers)?;
    read_json(&body.bytes)
}

impl Command {
    fn filter(self) -> PathFilter {
        PathFilter { provider: self.provider, source: self.source, site: self.site }
    }
}

fn duration(text: &str) -> Result<Duration, ApiError> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let unit_seconds = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = unit_seconds.and_then(|unit: u64| count.parse::<u64>().ok()?.checked_mul(unit));
    let seconds =
        seconds.ok_or_else(|| ApiError::invalid("for", "write a duration as 90s, 15m, 4h or 1d"))?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        for (text, seconds) in [("90", 90), ("90s", 90), (" 15m ", 900), ("4h", 14_400), ("1d", 86_400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "1x", "-1s", "1h30m", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
