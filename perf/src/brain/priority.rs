//! A million bulk recipients wait, and critical mail comes: how much later it arrives than on an idle engine, and what
//! that costs the bulk.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Only, Options, Report, rehearse};

use crate::versus::round;

const WORLD: &str = include_str!("../../brain/priority.toml");
const LENGTH: Duration = Duration::from_secs(3600);

/// Plays the same hour three times: critical mail alone, bulk alone, both.
pub(crate) fn play(seed: Option<u64>, shrink: u64) -> anyhow::Result<Value> {
    let hour =
        |only| rehearse(WORLD, &Options { seed, shrink, only, length: Some(LENGTH), ..Options::default() });
    let (idle, alone, both) = (hour(Some(Only::Streams))?, hour(Some(Only::Campaigns))?, hour(None)?);
    let (idle_ms, busy_ms) = (p99(&idle), p99(&both));
    let (alone_count, both_count) = (bulk(&alone), bulk(&both));
    Ok(json!({
        "waiting": both.books.accepted,
        "critical_p99_ms": { "idle": idle_ms, "busy": busy_ms, "above_idle": busy_ms.saturating_sub(idle_ms) },
        "bulk_in_an_hour": { "alone": alone_count, "beside_critical": both_count },
        "bulk_loss": round(1.0 - both_count as f64 / alone_count.max(1) as f64),
        "books": crate::books(&both),
        "fairness": both.fairness,
    }))
}

fn p99(report: &Report) -> u32 {
    report.classes.iter().find(|class| class.class == "critical").map_or(0, |class| class.p99_ms)
}

fn bulk(report: &Report) -> u64 {
    report.classes.iter().find(|class| class.class == "bulk").map_or(0, |class| class.delivered)
}
