//! `/v1/queue` and `/v1/why/ID`: what waits where, and why.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use mail::{Class, RecipientId, UnixMs};
use mta::{AccountHaltView, BudgetView, HoldView, PathFilter, PathView, Step, WaitingView, Why};
use report::{as_optional_time, as_text, as_time};
use serde::{Deserialize, Serialize};

use crate::app::Console;
use crate::body::{COMMAND_BYTES_MAX, expect_json, media_type, read_json};
use crate::{ApiError, Caller, path_id};

/// The queue: paths, and what waits outside of them.
#[derive(Debug, Serialize)]
pub(crate) struct Queue {
    /// Nothing is sent until it is released: the spool was restored from a copy.
    holding: bool,
    waiting: WaitingView,
    paths: Vec<PathJson>,
    holds: Vec<HoldJson>,
    /// Accounts whose mail the engine has stopped.
    stopped_accounts: Vec<AccountHaltJson>,
}

/// An account whose mail the engine has stopped.
#[derive(Debug, Serialize)]
struct AccountHaltJson {
    account: String,
    #[serde(serialize_with = "as_time")]
    since: UnixMs,
    reason: String,
}

impl From<AccountHaltView> for AccountHaltJson {
    fn from(halt: AccountHaltView) -> Self {
        let AccountHaltView { account, since, reason } = halt;
        Self { account, since, reason }
    }
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
    budget: Option<BudgetJson>,
    #[serde(serialize_with = "as_optional_time")]
    suspended_until: Option<UnixMs>,
    reason: Option<String>,
}

/// How the limits of a path have come to be what they are.
#[derive(Debug, Serialize)]
struct BudgetJson {
    set_by: &'static str,
    phase: &'static str,
    rate_per_second: Option<f64>,
    rate_max: Option<String>,
    connections_max: u32,
    messages_per_connection: u32,
    reason: String,
    #[serde(serialize_with = "as_time")]
    changed_at: UnixMs,
    #[serde(serialize_with = "as_optional_time")]
    rests_until: Option<UnixMs>,
    accepted: u64,
    refused: u64,
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
    /// An account that the engine has stopped: only of `resume`.
    account: Option<String>,
    /// Seconds, or a number with `s`, `m`, `h` or `d`; without it until it is resumed.
    #[serde(rename = "for")]
    duration: Option<String>,
    reason: Option<String>,
}

/// How many paths a command has reached.
#[derive(Debug, Serialize)]
pub(crate) struct Reached {
    paths: usize,
    /// Whether the account that was named had been stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_resumed: Option<bool>,
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
    /// What it waits for as a stable dotted word.
    code: String,
    waits_for: String,
    #[serde(serialize_with = "as_time")]
    since: UnixMs,
    #[serde(serialize_with = "as_optional_time")]
    until: Option<UnixMs>,
    #[serde(serialize_with = "as_optional_time")]
    expires: Option<UnixMs>,
    /// When it will be delivered if nothing changes; null when nobody can know.
    #[serde(serialize_with = "as_optional_time")]
    expected: Option<UnixMs>,
    /// About how many of its class go before it on its path.
    position: Option<u64>,
    path: Option<PathJson>,
    /// What has been decided for it so far, in order.
    decisions: Vec<Step>,
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
            budget: path.budget.map(BudgetJson::from),
            suspended_until: path.suspended_until,
            reason: path.reason,
        }
    }
}

impl From<BudgetView> for BudgetJson {
    fn from(budget: BudgetView) -> Self {
        Self {
            set_by: budget.set_by,
            phase: budget.phase,
            rate_per_second: budget.rate_per_second,
            rate_max: budget.rate_max,
            connections_max: budget.connections_max,
            messages_per_connection: budget.messages_per_connection,
            reason: budget.reason,
            changed_at: budget.changed_at,
            rests_until: budget.rests_until,
            accepted: budget.accepted,
            refused: budget.refused,
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
            code: why.found.code.to_owned(),
            waits_for: why.found.words,
            since: why.since,
            until: why.found.until,
            expires: Some(why.expires),
            expected: why.found.expected,
            position: why.found.position,
            path: why.found.path.map(PathJson::from),
            decisions: why.found.steps,
        }
    }
}

/// What a verdict, or its family, says of the wait behind it.
const WAITS: [(&str, &str); 13] = [
    ("greylist", "retry.greylisted"),
    ("rate", "retry.rate"),
    ("reputation", "retry.reputation"),
    ("blocklist", "retry.reputation"),
    ("network", "retry.unreachable"),
    ("connection", "retry.unreachable"),
    ("dns", "retry.unreachable"),
    ("tls", "retry.unreachable"),
    ("protocol", "retry.unreachable"),
    ("recipient.full", "mailbox.full"),
    ("mailbox.full", "mailbox.full"),
    ("recipient.rate", "mailbox.rate"),
    ("mailbox.rate", "mailbox.rate"),
];

/// How a recipient has ended.
pub(crate) struct Ended {
    pub(crate) code: String,
    pub(crate) words: String,
}

impl Waits {
    /// Of a recipient that waits no more.
    pub(crate) fn ended(address: &str, class: Class, how: Ended, since: UnixMs, until: UnixMs) -> Self {
        Self {
            address: address.to_owned(),
            class,
            code: how.code,
            waits_for: how.words,
            since,
            until: Some(until),
            expires: None,
            expected: None,
            position: None,
            path: None,
            decisions: Vec::new(),
        }
    }

    /// What the last attempt says of a wait that the engine knows only as one for the next: a receiver that greylists,
    /// a mailbox that is full, a rate.
    pub(crate) fn refine(&mut self, verdict: &str, reply: &str) {
        if self.code != "retry.scheduled" || verdict.is_empty() {
            return;
        }
        let family = verdict.split('.').next().unwrap_or_default();
        let named = |name: &str| WAITS.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
        let Some(what) = named(verdict).or_else(|| named(family)) else { return };
        what.clone_into(&mut self.code);
        self.waits_for = format!("{}; the receiver said: {reply}", self.waits_for);
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
    let stopped_accounts = console.handle.halted_accounts().into_iter().map(AccountHaltJson::from).collect();
    let holding = console.handle.is_holding();
    Ok(Json(Queue { holding, waiting, paths, holds, stopped_accounts }))
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
    Ok(Json(Reached { paths, account_resumed: None }))
}

/// Ends the rest of paths, or lets an account go on.
pub(crate) async fn resume(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reached>, ApiError> {
    caller.must_be_operator()?;
    let command = read_command(&console, &headers, body).await?;
    if let Some(account) = &command.account {
        let account_resumed = Some(console.handle.resume_account(account));
        return Ok(Json(Reached { paths: 0, account_resumed }));
    }
    let paths = console.handle.resume(command.filter()).await;
    Ok(Json(Reached { paths, account_resumed: None }))
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
