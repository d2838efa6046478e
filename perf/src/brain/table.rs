//! The proof as people read it, and what of it is not as it should be.

use std::fmt::Write as _;

use serde_json::Value;

/// Markdown tables of all parts that were played.
pub(crate) fn render(proof: &Value) -> String {
    let mut text = String::new();
    if let Some(worlds) = proof["worlds"].as_array() {
        text.push_str("| world | hidden limits | recipients | delivered an hour, brain / static | rate-limit replies | static's | least fair share | stopped campaigns exposed | lost | balanced |\n|---|---|---:|---:|---:|---:|---:|---|---:|---|\n");
        worlds.iter().for_each(|world| text.push_str(&world_row(world)));
        text.push('\n');
        text.push_str(&limits(worlds));
    }
    if let Some(priority) = proof.get("priority") {
        let _ = writeln!(
            text,
            "critical mail beside {} waiting recipients: p99 {} ms, idle {} ms; bulk loses {}\n",
            priority["waiting"],
            priority["critical_p99_ms"]["busy"],
            priority["critical_p99_ms"]["idle"],
            percent(&priority["bulk_loss"]),
        );
    }
    if let Some(warmup) = proof.get("warmup") {
        let _ = writeln!(
            text,
            "warm-up: {} of {} seeds reached {} a day in {} days without a block\n",
            warmup["reached"], warmup["seeds"], warmup["target"], warmup["days"],
        );
    }
    if let Some(rows) = proof["ablation"].as_array() {
        text.push_str("| switched off | world | figure | with it | without it |\n|---|---|---|---:|---:|\n");
        for row in rows {
            let cell = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                cell("mechanism"),
                cell("world"),
                cell("figure"),
                row["with"],
                row["without"]
            );
        }
        text.push('\n');
    }
    if let Some(fuzz) = proof.get("fuzz") {
        let _ = writeln!(
            text,
            "{} random worlds with {} recipients: {} faults",
            fuzz["worlds"], fuzz["recipients"], fuzz["faults"]
        );
    }
    text
}

fn world_row(world: &Value) -> String {
    let exposed = world["stopped_campaign_exposure"].as_array().cloned().unwrap_or_default();
    let exposed: Vec<_> = exposed.iter().map(percent).collect();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        world["name"].as_str().unwrap_or_default(),
        if world["hidden_limits"] == true { "yes" } else { "no" },
        world["recipients"],
        world["delivered_ratio"],
        percent(&world["rate_limit_reply_share"]),
        percent(&world["static"]["attempts"]["rate_limit_reply_share"]),
        world["fairness"]["least"].as_f64().map_or_else(String::new, |least| format!("{least:.2}")),
        exposed.join(", "),
        world["lost"],
        if world["balanced"] == true { "yes" } else { "NO" },
    )
}

fn limits(worlds: &[Value]) -> String {
    let mut text = String::from(
        "| world | provider | limit since | lets through | 85 % used after | used then |\n|---|---|---:|---:|---:|---:|\n",
    );
    for world in worlds {
        for limit in world["limits"].as_array().into_iter().flatten() {
            let after = limit["used_after_s"]
                .as_u64()
                .map_or_else(|| "never".to_owned(), |s| format!("{} min", s / 60));
            let _ = writeln!(
                text,
                "| {} | {} | {} min | {:.2}/s | {after} | {} |",
                world["name"].as_str().unwrap_or_default(),
                limit["provider"].as_str().unwrap_or_default(),
                limit["since_s"].as_u64().unwrap_or_default() / 60,
                limit["per_s"].as_f64().unwrap_or_default(),
                percent(&limit["used_share"]),
            );
        }
    }
    text.push('\n');
    text
}

fn percent(share: &Value) -> String {
    share.as_f64().map_or_else(String::new, |share| format!("{:.2} %", share * 100.0))
}

/// What misses its aim.
pub(crate) fn failures(proof: &Value) -> Vec<String> {
    let mut failures = Vec::new();
    for world in proof["worlds"].as_array().into_iter().flatten() {
        failures.extend(world_failures(world));
    }
    if let Some(priority) = proof.get("priority") {
        let above = priority["critical_p99_ms"]["above_idle"].as_u64().unwrap_or(u64::MAX);
        let loss = priority["bulk_loss"].as_f64().unwrap_or(1.0);
        if above >= 1000 {
            failures.push(format!("critical mail is {above} ms later beside bulk"));
        }
        if loss >= 0.05 {
            failures.push(format!("bulk loses {loss} beside critical mail"));
        }
    }
    if let Some(warmup) = proof.get("warmup") {
        let (reached, seeds) =
            (warmup["reached"].as_f64().unwrap_or(0.0), warmup["seeds"].as_f64().unwrap_or(1.0));
        if reached / seeds < 0.95 {
            failures.push(format!("warm-up reaches its target in {reached} of {seeds} seeds"));
        }
    }
    for row in proof["ablation"].as_array().into_iter().flatten() {
        if row["worse"] != true {
            failures.push(format!(
                "without {} nothing gets worse: {} and {}",
                row["mechanism"], row["with"], row["without"]
            ));
        }
    }
    if proof.get("fuzz").is_some_and(|fuzz| fuzz["faults"] != 0) {
        failures.push(format!("random worlds: {}", proof["fuzz"]["first_faults"]));
    }
    failures
}

fn world_failures(world: &Value) -> Vec<String> {
    let name = world["name"].as_str().unwrap_or_default();
    let mut failures = Vec::new();
    let (ratio, share) = (world["delivered_ratio"].as_f64(), world["rate_limit_reply_share"].as_f64());
    let least = if world["hidden_limits"] == true { 1.3 } else { 0.95 };
    if ratio.is_none_or(|ratio| ratio < least) {
        failures.push(format!("{name}: delivered per hour is {ratio:?} of static's, not {least}"));
    }
    if share.is_none_or(|share| share >= 0.02) {
        failures.push(format!("{name}: rate-limit replies are {share:?} of attempts"));
    }
    if world["lost"] != 0 || world["balanced"] != true {
        failures.push(format!("{name}: the books do not balance"));
    }
    if world["fairness"]["least"].as_f64().is_none_or(|least| least < 0.9) {
        failures.push(format!("{name}: somebody had {} of a fair share", world["fairness"]["least"]));
    }
    for exposed in world["stopped_campaign_exposure"].as_array().into_iter().flatten() {
        if exposed.as_f64().is_none_or(|share| share >= 0.01) {
            failures.push(format!("{name}: a stopped campaign had exposed {exposed} of its list"));
        }
    }
    for limit in world["limits"].as_array().into_iter().flatten() {
        if limit["used_after_s"].as_u64().is_none_or(|seconds| seconds > 15 * 60) {
            failures.push(format!(
                "{name}: {} of {}/s was used after {}",
                limit["provider"], limit["per_s"], limit["used_after_s"]
            ));
        }
    }
    failures
}
