//! `GET /v1/tls-reports`: how connections to domains were protected, as their TLS reports (RFC 8460) will say.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use policy::tls_report::{Day, PolicyReport};
use serde::{Deserialize, Serialize};

use crate::app::Console;
use crate::feed::read_query;
use crate::{ApiError, Caller};

/// Policies that are shown at most; a domain has one or two.
const POLICIES_MAX: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    /// One domain; all without.
    domain: Option<String>,
    /// A day as `2026-11-22`; today without.
    day: Option<String>,
}

/// What was counted on a day.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    day: String,
    /// The days of which anything is kept: until a domain has its report, two days at most.
    days: Vec<String>,
    /// As in a report; those with failures first, the most first.
    policies: Vec<PolicyReport>,
    /// Whether there are more than are shown.
    truncated: bool,
}

/// The counts of one day, of one domain or of all. They tell whom the whole engine writes to, so they are for the operator.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Counted>, ApiError> {
    caller.must_be_operator()?;
    let wanted: Wanted = read_query(&uri)?;
    let day = match wanted.day.as_deref() {
        None => Day::of(console.handle.now()),
        Some(text) => Day::parse(text).ok_or_else(|| {
            let message = format!("`{text}` is no day; write it like 2026-11-22");
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", message)
        })?,
    };
    let reports = console.handle.tls_reports();
    let mut policies = reports.policies(day, wanted.domain.as_deref());
    policies.sort_by_key(|told| std::cmp::Reverse(told.summary.failed));
    let truncated = policies.len() > POLICIES_MAX;
    policies.truncate(POLICIES_MAX);
    let days = reports.days().iter().map(Day::to_string).collect();
    Ok(Json(Counted { day: day.to_string(), days, policies, truncated }))
}
