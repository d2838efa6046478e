//! The demo's last page, as text and as JSON.

use std::time::Duration;

use mail::Class;
use serde_json::{Value, json};

use super::observe::Seen;
use super::outcome::Outcome;
use crate::commands::ledger;
use crate::ui::{human, paint::Paint, table::Table};

/// The report for people.
pub(super) fn render(outcome: &Outcome, paint: Paint) -> String {
    let seconds = outcome.elapsed.as_secs_f64().max(1e-3);
    let heading = |text: &str| format!("\n  {}\n", paint.bold(text));
    let mut text = format!(
        "\n  {} in {}: {} on average, {} in the best second; the list was taken at {}\n",
        paint.bold(&format!("{} delivered", human::count(outcome.ledger.delivered))),
        human::duration(outcome.elapsed),
        paint.cyan(&human::rate(outcome.ledger.delivered as f64 / seconds)),
        paint.cyan(&human::rate(outcome.observer.peak_per_second() as f64)),
        human::rate(outcome.list_per_second),
    );
    text.push_str(&heading("Providers"));
    text.push_str(&providers(outcome).render(paint));
    text.push_str(&heading("From acceptance to delivery"));
    text.push_str(&classes(outcome).render(paint));
    text.push_str(&heading("Ledger"));
    text.push_str(&ledger::render(&ledger_json(outcome), paint));
    text.push_str(&checks(outcome, paint));
    text
}

fn providers(outcome: &Outcome) -> Table {
    let mut table = Table::new(&[
        "provider",
        ">delivered",
        ">put off",
        ">bounced",
        ">expired",
        ">p50",
        ">p95",
        ">connections",
        ">at most",
        ">messages each",
    ]);
    for (name, seen) in outcome.observer.providers() {
        let counts =
            outcome.providers.iter().find(|(provider, _)| provider == name).map(|(_, counts)| *counts);
        let counts = counts.unwrap_or_default();
        table.row([
            name.clone(),
            human::count(seen.delivered),
            human::count(seen.deferrals),
            human::count(seen.bounced),
            human::count(seen.expired),
            quantile(seen, 0.5),
            quantile(seen, 0.95),
            human::count(counts.connections),
            human::count(counts.open_peak.into()),
            human::count(counts.messages / counts.connections.max(1)),
        ]);
    }
    table
}

fn classes(outcome: &Outcome) -> Table {
    let mut table = Table::new(&["class", ">delivered", ">p50", ">p95", ">p99", ">slowest"]);
    for class in Class::ALL {
        let seen = outcome.observer.class(class);
        if seen.finished() > 0 {
            let quantiles = [0.5, 0.95, 0.99, 1.0].map(|share| quantile(seen, share));
            table.row([class.name().to_owned(), human::count(seen.delivered)].into_iter().chain(quantiles));
        }
    }
    table
}

fn quantile(seen: &Seen, share: f64) -> String {
    if seen.latency_ms.is_empty() {
        return "-".to_owned();
    }
    human::duration(Duration::from_millis(seen.latency_ms.value_at_quantile(share)))
}

fn checks(outcome: &Outcome, paint: Paint) -> String {
    let mut text = String::new();
    for check in outcome.checks() {
        let mark = if check.holds { paint.green("✓") } else { paint.red("✗") };
        text.push_str(&format!("  {mark} {}  {}\n", check.what, paint.dim(&check.figures)));
    }
    text.push_str(&paint.dim(&format!(
        "\n  {} to the disk, before every 250 and 2xx that was said\n",
        human::plural(outcome.counters.commits, "group commit"),
    )));
    text.push('\n');
    text
}

fn ledger_json(outcome: &Outcome) -> Value {
    let mut ledger = serde_json::to_value(outcome.ledger).unwrap_or_default();
    ledger["queued"] = Value::from(outcome.ledger.queued());
    ledger
}

/// The report for programs.
pub(super) fn to_json(outcome: &Outcome) -> Value {
    let seconds = outcome.elapsed.as_secs_f64().max(1e-3);
    let checks: Vec<Value> = outcome
        .checks()
        .into_iter()
        .map(|check| json!({ "what": check.what, "holds": check.holds, "figures": check.figures }))
        .collect();
    let classes: serde_json::Map<String, Value> = Class::ALL
        .into_iter()
        .map(|class| (class.name().to_owned(), seen_json(outcome.observer.class(class))))
        .collect();
    let providers: serde_json::Map<String, Value> =
        outcome.observer.providers().iter().map(|(name, seen)| (name.clone(), seen_json(seen))).collect();
    json!({
        "balanced": outcome.balances(), "seconds": outcome.elapsed.as_secs_f64(),
        "delivered_per_second": outcome.ledger.delivered as f64 / seconds,
        "peak_per_second": outcome.observer.peak_per_second(),
        "list_per_second": outcome.list_per_second, "submitted": outcome.submitted,
        "ledger": ledger_json(outcome), "checks": checks, "classes": classes, "providers": providers,
        "receiver": crate::receiver::final_json(&outcome.tally, &outcome.providers), "counters": outcome.counters,
    })
}

fn seen_json(seen: &Seen) -> Value {
    let quantile = |share: f64| seen.latency_ms.value_at_quantile(share);
    json!({
        "delivered": seen.delivered, "bounced": seen.bounced, "expired": seen.expired, "deferrals": seen.deferrals,
        "latency_ms": { "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99), "max": seen.latency_ms.max() },
    })
}
