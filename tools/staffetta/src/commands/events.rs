//! `staffetta events`: what happened, one line per attempt, from the replayable feed.

use clap::Args;
use serde_json::Value;

use crate::engine::{Client, Connect, value};
use crate::ui::{self, human, paint::Paint, table};

/// Events asked for at a time.
const PAGE_EVENTS: u64 = 1000;

/// Options of `events`.
#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Go on with new events as they happen
    #[arg(long, short)]
    follow: bool,
    /// Begin behind this place of the feed, or `now` [default: the beginning; with --follow: now]
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Print at most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    connect: Connect,
}

impl Events {
    /// Prints the events; with `--json` one object per line.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(self.list())
    }

    async fn list(&self) -> anyhow::Result<()> {
        let beginning = if self.follow { "now" } else { "" };
        let mut feed = Feed::new(self.connect.client()?, self.after.as_deref().unwrap_or(beginning));
        let mut left = self.limit.unwrap_or(u64::MAX);
        let paint = Paint::stdout();
        while left > 0 {
            let page = feed.page(left.min(PAGE_EVENTS), self.follow).await?;
            if page.is_empty() && !self.follow {
                break;
            }
            left = left.saturating_sub(page.len() as u64);
            let mut text = String::new();
            for event in &page {
                text.push_str(&if self.connect.json { event.to_string() } else { line(event, paint) });
                text.push('\n');
            }
            ui::out(&text)?;
        }
        if !self.connect.json && !self.follow {
            eprintln!("{}", Paint::stderr().dim(&format!("go on with --after {}", feed.cursor)));
        }
        Ok(())
    }
}

/// The feed, page after page.
pub(crate) struct Feed {
    client: Client,
    cursor: String,
}

impl Feed {
    /// The feed behind `cursor`.
    pub(crate) fn new(client: Client, cursor: &str) -> Self {
        Self { client, cursor: cursor.to_owned() }
    }

    /// The next events; when `wait`, after some time for them to happen.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) async fn page(&mut self, limit: u64, wait: bool) -> anyhow::Result<Vec<Value>> {
        let mut path = format!("/v1/events?limit={limit}");
        if !self.cursor.is_empty() {
            path.push_str(&format!("&after={}", value::escape(&self.cursor)));
        }
        if wait {
            path.push_str("&wait=30s");
        }
        let answer = self.client.get(&path).await?;
        if let Some(next) = answer.get("next").and_then(Value::as_str) {
            next.clone_into(&mut self.cursor);
        }
        Ok(value::list(&answer, "events").to_vec())
    }
}

/// One event as one line.
pub(crate) fn line(event: &Value, paint: Paint) -> String {
    let name = value::text(event, "event");
    let shown = format!("{name:<9}");
    let shown = match name.as_str() {
        "delivered" => paint.green(&shown),
        "bounced" | "expired" => paint.red(&shown),
        "deferred" | "unknown" => paint.yellow(&shown),
        _ => shown,
    };
    let at = value::moment(event, "at").map_or_else(|| "-".to_owned(), human::clock);
    let attempt = match value::number(event, "attempt") {
        0 | 1 => String::new(),
        attempt => format!("  attempt {attempt}"),
    };
    let address = value::text(event, "address");
    let way = [value::text(event, "provider"), value::text(event, "mx")].join(" ");
    format!(
        "{}  {shown}  {:<32}  {:<13}  {}  {}{attempt}",
        paint.dim(&at),
        table::printable(&address),
        value::text(event, "class"),
        paint.cyan(table::printable(way.trim()).as_str()),
        table::clip(&table::printable(&reply(event)), 100),
    )
}

/// The receiver's words with their code; the verdict when there are none.
pub(crate) fn reply(event: &Value) -> String {
    let code = match value::number(event, "code") {
        0 => String::new(),
        code => code.to_string(),
    };
    let words = [code, value::text(event, "enhanced"), value::text(event, "reply")];
    let said = words.iter().filter(|word| !word.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ");
    if said.is_empty() { value::text(event, "verdict") } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_cannot_steer_the_terminal() {
        let event = serde_json::json!({
            "event": "deferred", "at": "2026-01-01T00:00:00.000Z", "address": "a@x.test", "class": "bulk", "attempt": 2,
            "provider": "gmail", "mx": "mx.x.test", "code": 451, "enhanced": "4.7.1", "reply": "try\nlater\u{1b}[2J",
        });
        let line = line(&event, Paint::plain());
        assert!(
            line.contains("deferred")
                && line.contains("451 4.7.1 try?later?[2J")
                && line.ends_with("attempt 2"),
            "{line}"
        );
        assert!(!line.contains(['\n', '\u{1b}']));
    }
}
