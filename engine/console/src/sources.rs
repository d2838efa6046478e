//! `/v1/sources` and `/v1/reputation`: the addresses that mail leaves from, how each stands with receivers and is warmed up, and
//! how everybody else does who is part of mail.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use mail::UnixMs;
use mta::{ReputationView, SourceView, StandingView, WarmUpBegun, WarmUpOrder, WarmUpView};
use report::{as_optional_time, as_time};
use serde::{Deserialize, Serialize};

use crate::app::Console;
use crate::body::{COMMAND_BYTES_MAX, expect_json, read_json};
use crate::{ApiError, Caller};

/// Most scores that are shown.
const SCORES_MAX: usize = 1_000;

/// All sources.
#[derive(Debug, Serialize)]
pub(crate) struct Sources {
    sources: Vec<SourceJson>,
    warm_ups: Vec<WarmUpJson>,
}

#[derive(Debug, Serialize)]
struct WarmUpJson {
    who: String,
    provider: String,
    ladder: String,
    day: u32,
    per_day: Option<u64>,
    allowed: Option<u64>,
    used: u64,
    #[serde(serialize_with = "as_time")]
    next_at: UnixMs,
}

impl From<WarmUpView> for WarmUpJson {
    fn from(view: WarmUpView) -> Self {
        let WarmUpView { who, provider, ladder, day, per_day, allowed, used, next_at } = view;
        Self { who, provider, ladder, day, per_day, allowed, used, next_at }
    }
}

#[derive(Debug, Serialize)]
struct SourceJson {
    name: String,
    ip: Option<std::net::IpAddr>,
    providers: Vec<StandingJson>,
}

#[derive(Debug, Serialize)]
struct StandingJson {
    provider: String,
    score: u8,
    #[serde(serialize_with = "as_optional_time")]
    burnt_until: Option<UnixMs>,
    left: Option<u32>,
    warm_up: Option<String>,
    rate: Option<String>,
    connections: Option<u32>,
}

impl From<SourceView> for SourceJson {
    fn from(source: SourceView) -> Self {
        let SourceView { name, ip, providers } = source;
        Self { name, ip, providers: providers.into_iter().map(StandingJson::from).collect() }
    }
}

impl From<StandingView> for StandingJson {
    fn from(standing: StandingView) -> Self {
        let StandingView { provider, score, burnt_until, left, warm_up, rate, connections } = standing;
        Self { provider, score, burnt_until, left, warm_up, rate, connections }
    }
}

/// All scores.
#[derive(Debug, Serialize)]
pub(crate) struct Reputation {
    reputation: Vec<ReputationView>,
}

/// Shows the scores of those with the most mail.
pub(crate) async fn reputation(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Reputation>, ApiError> {
    caller.must_be_operator()?;
    Ok(Json(Reputation { reputation: console.handle.reputation(SCORES_MAX) }))
}

/// A warm-up that is to begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WarmUpCommand {
    source: String,
    /// Without it at all providers.
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    ladder: Option<String>,
    #[serde(default = "first_day")]
    day: u32,
}

const fn first_day() -> u32 {
    1
}

/// Begins a warm-up.
pub(crate) async fn warm_up(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<WarmUpBegun>, ApiError> {
    caller.must_be_operator()?;
    let body = console.budget.collect(&headers, body, COMMAND_BYTES_MAX).await?;
    expect_json(&headers)?;
    let WarmUpCommand { source, provider, ladder, day } = read_json(&body.bytes)?;
    let order = WarmUpOrder { source, provider, ladder, day };
    Ok(Json(console.handle.start_warm_up(order).await?))
}

/// Shows the sources.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Sources>, ApiError> {
    caller.must_be_operator()?;
    let sources = console.handle.sources().await.into_iter().map(SourceJson::from).collect();
    let warm_ups = console.handle.warm_ups().into_iter().map(WarmUpJson::from).collect();
    Ok(Json(Sources { sources, warm_ups }))
}
