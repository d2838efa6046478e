//! `staffetta campaign`: what became of campaigns, and starting, pausing, resuming, cancelling them.

use std::time::Duration;

use clap::{Args, Subcommand};
use mail::CampaignId;
use serde_json::Value;

use crate::engine::{Body, Connect, value};
use crate::ui::{self, human, paint::Paint, table::Table};

/// The final outcomes of recipients, as the API names them.
const FINAL: [&str; 5] = ["delivered", "bounced", "expired", "cancelled", "suppressed"];

/// Options of `campaign`.
#[derive(Args, Debug)]
pub(crate) struct Campaign {
    #[command(subcommand)]
    verb: Verb,
}

/// A campaign and its engine.
#[derive(Args, Debug)]
struct One {
    /// The campaign
    id: CampaignId,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the campaigns
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// Show outcomes, rate and time left of one
    Show(One),
    /// Begin sending
    Start(One),
    /// Send nothing more of it for now
    Pause(One),
    /// Go on
    Resume(One),
    /// Give up all that waits, for good
    Cancel(One),
}

impl Campaign {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the engine cannot be asked or refuses.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(async {
            match &self.verb {
                Verb::Ls { connect } => list(connect).await,
                Verb::Show(one) => show(one).await,
                Verb::Start(one) => steer(one, "start").await,
                Verb::Pause(one) => steer(one, "pause").await,
                Verb::Resume(one) => steer(one, "resume").await,
                Verb::Cancel(one) => steer(one, "cancel").await,
            }
        })
    }
}

async fn list(connect: &Connect) -> anyhow::Result<()> {
    let answer = connect.client()?.get("/v1/campaigns").await?;
    if connect.json {
        return Ok(ui::json(&answer)?);
    }
    let campaigns = value::list(&answer, "campaigns");
    if campaigns.is_empty() {
        return Ok(ui::line("there are no campaigns")?);
    }
    let mut table = Table::new(&[
        "id",
        "name",
        "class",
        "state",
        ">recipients",
        ">delivered",
        ">queued",
        "created",
        "ends",
    ]);
    for campaign in campaigns {
        let standing = Standing::of(campaign);
        table.row([
            value::text(campaign, "id"),
            value::text(campaign, "name"),
            value::text(campaign, "class"),
            standing.state.clone(),
            human::count(standing.accepted),
            human::count(standing.finals.first().map_or(0, |(_, delivered)| *delivered)),
            human::count(standing.queued),
            value::moment(campaign, "created_at").map_or_else(String::new, human::time),
            value::moment(campaign, "expected_at").map_or_else(|| "-".to_owned(), human::time),
        ]);
    }
    Ok(ui::out(&table.render(Paint::stdout()))?)
}

async fn show(one: &One) -> anyhow::Result<()> {
    let answer = one.connect.client()?.get(&format!("/v1/campaigns/{}", one.id)).await?;
    if one.connect.json {
        return Ok(ui::json(&answer)?);
    }
    Ok(ui::out(&render(&answer, Paint::stdout()))?)
}

async fn steer(one: &One, verb: &str) -> anyhow::Result<()> {
    let path = format!("/v1/campaigns/{}/{verb}", one.id);
    let answer = one.connect.client()?.post(&path, Body::empty()).await?;
    if one.connect.json {
        return Ok(ui::json(&answer)?);
    }
    let state = value::text(&answer, "state");
    let state = if state.is_empty() { format!("told to {verb}") } else { state };
    Ok(ui::line(&format!("campaign {} is {state}", one.id))?)
}

/// Where a campaign stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// `created`, `running`, `paused` or `cancelled`.
    pub(crate) state: String,
    accepted: u64,
    queued: u64,
    deferrals: u64,
    finals: Vec<(&'static str, u64)>,
    per_second: Option<f64>,
    eta: Option<Duration>,
}

impl Standing {
    /// Reads the API's answer.
    pub(crate) fn of(answer: &Value) -> Self {
        let counts = answer.get("counts").unwrap_or(answer);
        let finals: Vec<(&'static str, u64)> =
            FINAL.iter().map(|&name| (name, value::number(counts, name))).collect();
        let done: u64 = finals.iter().map(|(_, count)| count).sum();
        let accepted = value::optional(counts, "accepted").unwrap_or(done + value::number(counts, "queued"));
        Self {
            state: value::text(answer, "state"),
            accepted,
            queued: value::optional(counts, "queued").unwrap_or_else(|| accepted.saturating_sub(done)),
            deferrals: value::number(counts, "deferrals"),
            finals,
            per_second: value::decimal(answer, "rate_per_second"),
            eta: value::decimal(answer, "eta_seconds").filter(|eta| *eta >= 0.0).map(Duration::from_secs_f64),
        }
    }

    /// Recipients in all.
    pub(crate) const fn total(&self) -> u64 {
        self.accepted
    }

    /// Recipients with their final outcome.
    pub(crate) fn done(&self) -> u64 {
        self.finals.iter().map(|(_, count)| count).sum()
    }

    /// Every recipient has its outcome. The counts lag behind a little, so the caller says how many there are at least.
    pub(crate) fn is_finished(&self, accepted: u64) -> bool {
        self.accepted >= accepted && self.done() >= self.accepted
    }

    /// It neither runs nor is finished.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state.as_str(), "paused" | "cancelled")
    }

    /// What stands behind the progress bar.
    pub(crate) fn note(&self) -> String {
        let mut parts = Vec::new();
        for (name, count) in self.finals.iter().skip(1).filter(|(_, count)| *count > 0) {
            parts.push(format!("{} {name}", human::count(*count)));
        }
        if self.deferrals > 0 {
            parts.push(human::plural(self.deferrals, "deferral"));
        }
        parts.join(", ")
    }

    /// The outcomes in one line.
    pub(crate) fn summary(&self) -> String {
        let outcomes: Vec<String> = self
            .finals
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{} {name}", human::count(*count)))
            .collect();
        if outcomes.is_empty() { "nothing sent".to_owned() } else { outcomes.join(", ") }
    }
}

/// A campaign as text: head, outcomes, providers.
pub(crate) fn render(answer: &Value, paint: Paint) -> String {
    let standing = Standing::of(answer);
    let name = value::text(answer, "name");
    let mut text = format!(
        "  {}  {}  {}  {}\n\n",
        paint.bold(&value::text(answer, "id")),
        crate::ui::table::printable(&name),
        value::text(answer, "class"),
        paint.cyan(&standing.state),
    );
    let because = value::text(answer, "paused_because");
    if !because.is_empty() {
        text.push_str(&format!("  stopped by the engine: {}\n\n", crate::ui::table::printable(&because)));
    }
    if let Some(canary) = answer.get("canary").filter(|canary| value::text(canary, "state") == "judged") {
        let passed = human::count(value::number(canary, "passed"));
        text.push_str(&format!("  judged by its first recipients: {passed} have passed\n\n"));
    }
    text.push_str(&format!("  {:<12} {:>12}\n", "accepted", human::count(standing.accepted)));
    for (outcome, count) in standing.finals.iter().chain([&("queued", standing.queued)]) {
        let share = *count as f64 * 100.0 / standing.accepted.max(1) as f64;
        if *count > 0 || *outcome == "delivered" || *outcome == "queued" {
            text.push_str(&format!("  {outcome:<12} {:>12}  {share:>5.1} %\n", human::count(*count)));
        }
    }
    if let Some(rate) = standing.per_second.filter(|rate| *rate > 0.0) {
        let eta = standing
            .eta
            .filter(|eta| !eta.is_zero())
            .map_or_else(String::new, |eta| format!(", {} left", human::duration(eta)));
        text.push_str(&format!("  {:<12} {:>12}{eta}\n", "rate", human::rate(rate)));
    }
    if let Some(expected) = value::moment(answer, "expected_at") {
        text.push_str(&format!("  {:<12} {}\n", "expected end", human::time(expected)));
    }
    text.push_str(&providers(answer, paint));
    text
}

fn providers(answer: &Value, paint: Paint) -> String {
    let mut table = Table::new(&["provider", ">delivered", ">deferrals", ">bounced", ">expired"]);
    let cell = |counts: &Value, name: &str| human::count(value::number(counts, name));
    let Some(Value::Object(providers)) =
        answer.get("providers").filter(|providers| **providers != serde_json::json!({}))
    else {
        return String::new();
    };
    for (name, counts) in providers {
        let name = if name.is_empty() { "(not routed)" } else { name };
        table.row([
            name.to_owned(),
            cell(counts, "delivered"),
            cell(counts, "deferrals"),
            cell(counts, "bounced"),
            cell(counts, "expired"),
        ]);
    }
    format!("\n{}", table.render(paint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        serde_json::json!({
            "id": "0040000000c80", "name": "May", "class": "bulk", "state": "running",
            "counts": {"accepted": 1000, "delivered": 700, "bounced": 20, "queued": 280, "deferrals": 31},
            "rate_per_second": 350.0, "eta_seconds": 0.8, "expected_at": "2026-01-01T00:01:00.000Z",
            "providers": {"gmail": {"delivered": 700, "bounced": 20}},
        })
    }

    #[test]
    fn a_standing_knows_what_is_left() {
        let standing = Standing::of(&answer());
        assert_eq!((standing.total(), standing.done()), (1000, 720));
        assert!(!standing.is_finished(1000) && !standing.is_stopped());
        assert_eq!(standing.note(), "20 bounced, 31 deferrals");
        assert_eq!(standing.summary(), "700 delivered, 20 bounced");
        let fresh = Standing::of(&serde_json::json!({"state": "running", "counts": {"accepted": 0}}));
        assert!(!fresh.is_finished(1) && fresh.is_finished(0));
    }

    #[test]
    fn a_campaign_is_shown_with_its_providers() {
        let text = render(&answer(), Paint::plain());
        for part in ["May", "1,000", "70.0 %", "350/s, 800 ms left", "gmail", "expected end 2026-01-01"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
