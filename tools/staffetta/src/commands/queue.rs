//! `staffetta queue`: the paths on which mail waits, and how to hold or free them.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::Value;

use crate::engine::{Body, Connect, value};
use crate::ui::{self, human, paint::Paint, table, table::Table};

/// Options of `queue`.
#[derive(Args, Debug)]
pub(crate) struct Queue {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the paths: source × provider, what waits on each and why
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// Send nothing on the paths of a provider or a source for a while
    Suspend {
        #[command(flatten)]
        paths: Paths,
        /// For how long
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
        /// Why: shown to everybody who looks
        #[arg(long, default_value = "suspended by the operator")]
        reason: String,
        #[command(flatten)]
        connect: Connect,
    },
    /// Send again at once
    Resume {
        #[command(flatten)]
        paths: Paths,
        #[command(flatten)]
        connect: Connect,
    },
    /// After `serve --restored`: let mail leave
    Release {
        #[command(flatten)]
        connect: Connect,
    },
}

/// Which paths are meant.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["provider", "source", "all", "account"]))]
struct Paths {
    /// Paths to this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Paths from this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Every path
    #[arg(long, conflicts_with_all = ["provider", "source", "account"])]
    all: bool,
    /// With `resume`: the account whose mail the engine has stopped
    #[arg(long, value_name = "NAME", conflicts_with_all = ["provider", "source"])]
    account: Option<String>,
}

impl Queue {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the engine cannot be asked or refuses.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(async {
            match &self.verb {
                Verb::Ls { connect } => list(connect).await,
                Verb::Suspend { paths, seconds, reason, connect } => {
                    let mut order = paths.to_json();
                    order["for"] = Value::from(format!("{seconds}s"));
                    order["reason"] = Value::from(reason.as_str());
                    steer(connect, "suspend", &order).await
                }
                Verb::Resume { paths, connect } => steer(connect, "resume", &paths.to_json()).await,
                Verb::Release { connect } => release(connect).await,
            }
        })
    }
}

impl Paths {
    fn to_json(&self) -> Value {
        let mut filter = serde_json::json!({});
        for (name, wanted) in
            [("provider", &self.provider), ("source", &self.source), ("account", &self.account)]
        {
            if let Some(wanted) = wanted {
                filter[name] = Value::from(wanted.as_str());
            }
        }
        filter
    }
}

async fn list(connect: &Connect) -> anyhow::Result<()> {
    let queue = connect.client()?.get("/v1/queue").await?;
    if connect.json {
        return Ok(ui::json(&queue)?);
    }
    Ok(ui::out(&render(&queue, human::now_ms(), Paint::stdout()))?)
}

async fn steer(connect: &Connect, verb: &str, order: &Value) -> anyhow::Result<()> {
    let answer = connect.client()?.post(&format!("/v1/queue/{verb}"), Body::json(order)).await?;
    if connect.json {
        return Ok(ui::json(&answer)?);
    }
    if let Some(resumed) = answer.get("account_resumed").and_then(Value::as_bool) {
        return Ok(ui::line(if resumed { "its mail leaves" } else { "the account was not stopped" })?);
    }
    let paths = human::plural(value::number(&answer, "paths"), "path");
    Ok(ui::line(&format!("{paths} {verb}{}", if verb.ends_with('e') { "d" } else { "ed" }))?)
}

async fn release(connect: &Connect) -> anyhow::Result<()> {
    let answer = connect.client()?.post("/v1/queue/release", Body::json(&serde_json::json!({}))).await?;
    if connect.json {
        return Ok(ui::json(&answer)?);
    }
    let was_held = answer.get("released").and_then(Value::as_bool).unwrap_or_default();
    Ok(ui::line(if was_held { "mail leaves" } else { "nothing was held" })?)
}

/// The queues as a table, with what waits elsewhere above it.
pub(crate) fn render(queue: &Value, now_ms: u64, paint: Paint) -> String {
    let mut text = waiting(queue);
    if queue.get("holding").and_then(Value::as_bool).unwrap_or_default() {
        text.insert_str(0, "  restored from a copy: nothing is sent until `staffetta queue release`\n");
    }
    for hold in value::list(queue, "holds") {
        let [identity, provider, until, reason] =
            ["identity", "provider", "until", "reason"].map(|key| value::text(hold, key));
        text.push_str(&format!("  mail of {identity} for {provider} is held until {until}: {reason}\n"));
    }
    for halt in value::list(queue, "stopped_accounts") {
        let [account, reason] = ["account", "reason"].map(|key| value::text(halt, key));
        text.push_str(&format!(
            "  mail of account {account} is stopped: {reason}; `staffetta queue resume --account {account}`\n"
        ));
    }
    let paths = value::list(queue, "paths");
    if paths.is_empty() {
        text.push_str("  nothing is ready to be sent\n");
        return text;
    }
    let mut table = Table::new(&[
        "source",
        "provider",
        "site",
        ">critical",
        ">transact.",
        ">personal",
        ">bulk",
        ">oldest",
        ">connections",
        ">rate",
        "set by",
        "state",
    ]);
    for path in paths {
        let ready = path.get("ready").unwrap_or(path);
        let count = |class: mail::Class| dash(value::number(ready, class.name()));
        let oldest = match value::number(path, "oldest_ms") {
            0 => "-".to_owned(),
            ms => human::duration(Duration::from_millis(ms)),
        };
        table.row([
            value::text(path, "source"),
            value::text(path, "provider"),
            table::clip(&value::text(path, "site"), 36),
            count(mail::Class::Critical),
            count(mail::Class::Transactional),
            count(mail::Class::Personal),
            count(mail::Class::Bulk),
            oldest,
            format!("{}/{}", value::number(path, "connections"), value::number(path, "connections_max")),
            value::text(path, "rate"),
            path.get("budget").map_or_else(String::new, |budget| value::text(budget, "set_by")),
            state(path, now_ms),
        ]);
    }
    text.push_str(&table.render(paint));
    text
}

fn dash(number: u64) -> String {
    if number == 0 { "-".to_owned() } else { human::count(number) }
}

fn state(path: &Value, now_ms: u64) -> String {
    match value::moment(path, "suspended_until") {
        Some(until) if until > now_ms => {
            format!("suspended, ends {}: {}", human::relative(until, now_ms), value::text(path, "reason"))
        }
        _ if value::number(path, "paused") > 0 => {
            format!("open; {} of paused campaigns", human::count(value::number(path, "paused")))
        }
        _ => "open".to_owned(),
    }
}

fn waiting(queue: &Value) -> String {
    let waiting = queue.get("waiting").unwrap_or(queue);
    let parts: Vec<String> = [
        ("scheduled", "waiting for their time"),
        ("held", "held by their campaign"),
        ("resolving", "waiting for DNS"),
    ]
    .into_iter()
    .map(|(key, what)| (value::number(waiting, key), what))
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", human::count(count)))
    .collect();
    if parts.is_empty() { String::new() } else { format!("  {}\n", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_a_table_with_their_reasons() {
        let queue = serde_json::json!({
            "waiting": {"scheduled": 1200, "held": 0, "resolving": 0},
            "paths": [
                {"source": "a", "provider": "gmail", "site": "mx1.g.test mx2.g.test", "ready": {"critical": 0, "transactional": 1, "personal": 0, "bulk": 2000}, "oldest_ms": 1500,
                 "connections": 2, "connections_max": 20, "rate": "100/s", "suspended_until": 65_000, "reason": "421 too fast"},
            ],
        });
        let text = render(&queue, 5000, Paint::plain());
        assert!(text.starts_with("  1,200 waiting for their time\n"), "{text}");
        for part in ["2,000", "1.5 s", "2/20", "100/s", "suspended, ends in 1m 00s: 421 too fast"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let empty = render(&serde_json::json!({"paths": []}), 0, Paint::plain());
        assert!(empty.contains("nothing is ready"));
    }
}
