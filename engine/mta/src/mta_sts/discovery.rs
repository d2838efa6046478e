//! One look at a domain: its record in DNS, and its policy over HTTPS when the record calls for it (RFC 8461 section 3.3).

use std::sync::Arc;
use std::time::Duration;

use mail::UnixMs;
use policy::mta_sts::{DOCUMENT_BYTES_MAX, HOST_LABEL, Policy, RECORD_LABEL, WELL_KNOWN_PATH, policy_id};
use policy::tls_report::{AppliedPolicy, Failure, ResultType, Session};

use super::Shared;
use super::store::Held;
use crate::https::{Bounds, HttpsFault};

/// How long fetching a policy may take in all (RFC 8461 section 3.3 suggests a minute).
const BOUNDS: Bounds = Bounds { body_bytes_max: DOCUMENT_BYTES_MAX, time_max: Duration::from_secs(60) };

/// What a look at a domain has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A policy.
    Policy(Held),
    /// The policy that was had before is the current one.
    Same,
    /// DNS says that there is none. One that is held still is in force until its time is over.
    Absent,
    /// DNS did not answer, or the policy could not be fetched or read.
    Failed,
}

/// Looks at `domain`, an A-label name, of which `had` is the policy fetched last.
pub(super) async fn discover(shared: &Shared, domain: &str, had: Option<&Held>, now: UnixMs) -> Found {
    let texts = match shared.resolver.texts(&format!("{RECORD_LABEL}.{domain}")).await {
        Ok(texts) => texts,
        Err((_, what)) => {
            tracing::info!(domain, what, "DNS does not say for now whether it has an MTA-STS policy");
            return Found::Failed;
        }
    };
    let Some(id) = policy_id(&texts) else { return Found::Absent };
    if had.is_some_and(|had| *had.id == *id && !had.is_old(now)) {
        return Found::Same;
    }
    let fetched = if had.is_some_and(|had| had.holds(now)) {
        let _permit = shared.refreshes.acquire().await.expect("the semaphore is never closed");
        fetch(shared, domain).await
    } else if let Some(fetched) = shared.fetches.pass(fetch(shared, domain)).await {
        fetched
    } else {
        tracing::info!(
            domain,
            "the host of its MTA-STS policy is slow, and others wait: it is given up for now"
        );
        return Found::Failed;
    };
    match fetched {
        Ok(policy) => Found::Policy(Held { policy: Arc::new(policy), id: id.into(), fetched_at: now }),
        Err((result_type, why)) => {
            tracing::info!(domain, why, "its MTA-STS policy cannot be used");
            let failure = Failure { failure_reason_code: why, ..Failure::new(result_type) };
            let policy = AppliedPolicy::sts(domain, had.map(|had| &*had.policy));
            shared.reports.record(Session { at: now, policy: Arc::new(policy), failure: Some(failure) });
            Found::Failed
        }
    }
}

/// The policy, or what a report says of its lack (RFC 8460 section 4.3.2.2).
async fn fetch(shared: &Shared, domain: &str) -> Result<Policy, (ResultType, String)> {
    let url = format!("https://{HOST_LABEL}.{domain}{WELL_KNOWN_PATH}");
    let answer = shared.https.get(&url, BOUNDS).await.map_err(|fault| {
        let result_type = match fault {
            HttpsFault::Certificate(_) => ResultType::StsWebpkiInvalid,
            HttpsFault::TooLong => ResultType::StsPolicyInvalid,
            _ => ResultType::StsPolicyFetchError,
        };
        (result_type, fault.to_string())
    })?;
    if answer.status != 200 {
        return Err((ResultType::StsPolicyFetchError, format!("HTTP status {}", answer.status)));
    }
    if answer.media_type != "text/plain" {
        let why = format!("the media type is `{}`, not text/plain", answer.media_type.escape_debug());
        return Err((ResultType::StsPolicyInvalid, why));
    }
    Policy::parse(&answer.body).map_err(|error| (ResultType::StsPolicyInvalid, error.to_string()))
}
