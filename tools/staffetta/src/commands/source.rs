//! `staffetta source`: the addresses that mail leaves from, how each stands with receivers, and their warm-up.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use mail::UnixMs;
use policy::warmup::{Day, Ladder, calendar};
use serde_json::{Value, json};
use simulator::{Options, Report, rehearse};

use crate::engine::{Body, Connect, value};
use crate::ui::{self, human, paint::Paint, table::Table};

/// Options of `source`.
#[derive(Args, Debug)]
pub(crate) struct Source {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the sources: score, limits and warm-up at each provider that they send to
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// How a new source becomes known to receivers
    #[command(subcommand)]
    Warmup(Warmup),
}

#[derive(Subcommand, Debug)]
enum Warmup {
    /// Print the calendar of a warm-up before it begins
    Plan(Plan),
    /// Begin the warm-up of a source in the running engine, whatever it had before
    Start(Start),
    /// Show where the warm-ups stand
    Status {
        #[command(flatten)]
        connect: Connect,
    },
}

/// Which warm-up is to begin.
#[derive(Args, Debug)]
struct Start {
    /// The source
    name: String,
    /// Only at this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The day of the ladder to begin with; one behind the last ends the warm-up
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    day: u32,
    /// A built-in ladder or one of the configuration; without it that of the source, else `generic`
    #[arg(long, value_name = "NAME")]
    ladder: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

/// Which calendar.
#[derive(Args, Debug)]
struct Plan {
    /// A built-in ladder, or one of the configuration
    #[arg(long, value_name = "NAME", default_value = "generic")]
    ladder: String,
    /// Messages a day that are wanted at each provider
    #[arg(long, value_name = "MESSAGES", default_value_t = 100_000)]
    volume: u64,
    /// Take the ladder of this source of the configuration
    #[arg(long, value_name = "NAME", requires = "config")]
    source: Option<String>,
    /// The configuration that has the ladder or the source
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also play it: thirty days of four new sources and a new sender in the shipped world `warm-up`
    #[arg(long)]
    rehearsed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Source {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the engine cannot be asked, or there is no such ladder.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match &self.verb {
            Verb::Ls { connect } => super::block_on(list(connect)),
            Verb::Warmup(Warmup::Plan(plan)) => plan.print(),
            Verb::Warmup(Warmup::Start(start)) => super::block_on(start.order()),
            Verb::Warmup(Warmup::Status { connect }) => super::block_on(status(connect)),
        }
    }
}

impl Start {
    async fn order(&self) -> anyhow::Result<()> {
        let Self { name, provider, day, ladder, connect } = self;
        let order = json!({ "source": name, "provider": provider, "ladder": ladder, "day": day });
        let begun = connect.client()?.post("/v1/sources/warmup", Body::json(&order)).await?;
        if connect.json {
            return Ok(ui::json(&begun)?);
        }
        Ok(ui::line(&render_begun(&begun, provider.as_deref()))?)
    }
}

fn render_begun(begun: &Value, provider: Option<&str>) -> String {
    let providers = human::plural(value::number(begun, "providers"), "provider");
    let place = provider.map_or(providers, str::to_owned);
    let (source, ladder) = (value::text(begun, "source"), value::text(begun, "ladder"));
    match value::optional(begun, "per_day") {
        Some(per_day) => {
            let (day, per_day) = (value::number(begun, "day"), human::count(per_day));
            format!("source {source} begins day {day} of {ladder} at {place}: {per_day} a day")
        }
        None => format!("source {source} is warm at {place}: {ladder} has no such day"),
    }
}

impl Plan {
    fn print(&self) -> anyhow::Result<()> {
        let (ladder, begins) = self.ladder()?;
        let days = calendar(&ladder, begins, self.volume);
        let outcome = self.rehearsed.then(|| rehearsed(&ladder)).transpose()?;
        if self.json {
            return Ok(ui::json(&json!({
                "ladder": ladder.name,
                "days": days.iter().map(day).collect::<Vec<_>>(),
                "rehearsed": outcome.as_ref().map(outcome_json),
            }))?);
        }
        let mut text = render_plan(&ladder, &days, Paint::stdout());
        if let Some(report) = &outcome {
            text.push_str(&render_outcome(report));
        }
        Ok(ui::out(&text)?)
    }

    fn ladder(&self) -> anyhow::Result<(Arc<Ladder>, UnixMs)> {
        let now = UnixMs(human::now_ms());
        let config = self.config.as_deref().map(crate::config::load).transpose()?;
        if let (Some(name), Some(config)) = (&self.source, &config) {
            let source = config.sources.iter().find(|source| source.name == *name);
            let source = source.with_context(|| format!("the configuration has no source {name}"))?;
            let plan = source.warm_up.as_ref();
            let plan =
                plan.with_context(|| format!("source {name} has no `warmup`: it is taken to be warm"))?;
            return Ok((Arc::clone(&plan.ladder), plan.start.unwrap_or(now)));
        }
        let plans =
            config.iter().flat_map(|config| &config.sources).filter_map(|source| source.warm_up.as_ref());
        let mut own = plans.map(|plan| &plan.ladder).filter(|ladder| ladder.name == self.ladder);
        let found = own.next().cloned().or_else(|| Ladder::by_name(&self.ladder));
        let names = || Ladder::builtin().iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", ");
        let ladder = found.with_context(|| format!("there is no ladder {}: use {}", self.ladder, names()))?;
        Ok((ladder, now))
    }
}

/// The world in which a ladder is tried.
const WORLD: &str = "warm-up";

/// What becomes of thirty days by this ladder.
fn rehearsed(ladder: &Arc<Ladder>) -> anyhow::Result<Report> {
    let text = super::plan::text_of(WORLD)?;
    let options = Options { ladder: Some(Arc::clone(ladder)), ..Options::default() };
    Ok(rehearse(&text, &options)?)
}

fn outcome_json(report: &Report) -> Value {
    json!({
        "world": report.name,
        "books": report.books,
        "attempts": report.attempts,
        "nine_tenths_s": report.speed.nine_tenths_s,
    })
}

fn render_outcome(report: &Report) -> String {
    let (books, attempts) = (&report.books, &report.attempts);
    format!(
        "\n  played in the world {}: {} of {} delivered in its thirty days, {} still waiting;\n  \
         {} attempts put off for who sends, {} refused because it was blocked\n",
        report.name,
        human::count(books.delivered),
        human::plural(books.accepted, "recipient"),
        human::count(books.queued),
        human::count(attempts.disliked),
        human::count(attempts.blocked),
    )
}

fn day(day: &Day) -> Value {
    json!({
        "day": day.number, "begins": human::time(day.begins.0), "allowed": day.allowed, "hourly": day.hourly,
        "goes": day.goes, "over": day.over,
    })
}

fn render_plan(ladder: &Ladder, days: &[Day], paint: Paint) -> String {
    let mut text = format!(
        "  ladder {}: {} if every day is clean and used at least half\n",
        paint.bold(&ladder.name),
        human::plural(days.len() as u64, "day"),
    );
    let mut table =
        Table::new(&[">day", "begins", ">allowed", ">an hour", ">goes", ">waits or leaves by others"]);
    let limit = |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), human::count);
    for day in days {
        table.row([
            day.number.to_string(),
            human::time(day.begins.0),
            limit(day.allowed),
            limit(day.hourly),
            human::count(day.goes),
            human::count(day.over),
        ]);
    }
    text.push_str(&table.render(paint));
    text
}

async fn list(connect: &Connect) -> anyhow::Result<()> {
    let sources = connect.client()?.get("/v1/sources").await?;
    if connect.json {
        return Ok(ui::json(&sources)?);
    }
    Ok(ui::out(&render(&sources, human::now_ms(), Paint::stdout()))?)
}

async fn status(connect: &Connect) -> anyhow::Result<()> {
    let sources = connect.client()?.get("/v1/sources").await?;
    let warm_ups = value::list(&sources, "warm_ups");
    if connect.json {
        return Ok(ui::json(&json!({ "warm_ups": warm_ups }))?);
    }
    if warm_ups.is_empty() {
        return Ok(ui::line("  nothing is warming up")?);
    }
    let mut table = Table::new(&[
        "who",
        "provider",
        "ladder",
        ">day",
        ">a day",
        ">allowed now",
        ">sent today",
        "more from",
    ]);
    let (begun, others): (Vec<&Value>, Vec<&Value>) =
        warm_ups.iter().partition(|one| value::number(one, "used") > 0 || value::number(one, "day") > 1);
    for one in begun {
        let number =
            |key: &str| value::optional(one, key).map_or_else(|| "no limit".to_owned(), human::count);
        table.row([
            value::text(one, "who"),
            value::text(one, "provider"),
            value::text(one, "ladder"),
            value::text(one, "day"),
            number("per_day"),
            number("allowed"),
            human::count(value::number(one, "used")),
            value::moment(one, "next_at").map_or_else(|| "-".to_owned(), human::time),
        ]);
    }
    let mut text = table.render(Paint::stdout());
    if !others.is_empty() {
        let providers = human::plural(others.len() as u64, "warm-up");
        text.push_str(&format!("  {providers} at their first day, with nothing sent\n"));
    }
    Ok(ui::out(&text)?)
}

/// The sources as a table, one line for each provider that they send to.
fn render(sources: &Value, now_ms: u64, paint: Paint) -> String {
    let mut table =
        Table::new(&["source", "address", "provider", ">score", ">rate", ">connections", ">left", "state"]);
    for source in value::list(sources, "sources") {
        let (name, ip) = (value::text(source, "name"), value::text(source, "ip"));
        let providers = value::list(source, "providers");
        if providers.is_empty() {
            table.row([name.as_str(), ip.as_str(), "", "", "", "", "", "nothing was sent lately"]);
        }
        for (place, standing) in providers.iter().enumerate() {
            let (name, ip) = if place == 0 { (name.as_str(), ip.as_str()) } else { ("", "") };
            let state = match value::moment(standing, "burnt_until").filter(|until| *until > now_ms) {
                Some(until) => format!("refused there, ends {}", human::relative(until, now_ms)),
                None => value::text(standing, "warm_up"),
            };
            table.row([
                name.to_owned(),
                ip.to_owned(),
                value::text(standing, "provider"),
                value::text(standing, "score"),
                value::text(standing, "rate"),
                value::text(standing, "connections"),
                value::text(standing, "left"),
                state,
            ]);
        }
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_calendar_that_ends_when_all_goes() {
        let ladder = Ladder::by_name("generic").expect("built in");
        let days = calendar(&ladder, UnixMs::from_seconds(1_800_000_000), 1_200);
        let text = render_plan(&ladder, &days, Paint::plain());
        for part in ["ladder generic: 6 days", "1,150", "1,200", "2027-01-15"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_warm_up_that_has_begun_is_a_sentence() {
        let begun = |per_day: Option<u64>| json!({"source": "a", "ladder": "generic", "day": 1, "per_day": per_day, "providers": 26});
        assert_eq!(
            render_begun(&begun(Some(1050)), None),
            "source a begins day 1 of generic at 26 providers: 1,050 a day"
        );
        let warm = render_begun(&begun(None), Some("google"));
        assert_eq!(warm, "source a is warm at google: generic has no such day");
    }

    #[test]
    fn sources_are_shown_with_their_standing() {
        let sources = serde_json::json!({"sources": [
            {"name": "a", "ip": "192.0.2.1", "providers": [
                {"provider": "gmail", "score": 71, "burnt_until": "2026-01-01T00:01:00.000Z", "left": 20, "rate": "7/s", "connections": 3},
                {"provider": "yahoo", "score": 90, "warm_up": "day 3 of generic"}]},
            {"name": "b", "ip": null, "providers": []},
        ]});
        let text = render(&sources, 1_767_225_600_000, Paint::plain());
        for part in [
            "192.0.2.1",
            "refused there, ends in 1m 00s",
            "day 3 of generic",
            "nothing was sent lately",
            "7/s",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
