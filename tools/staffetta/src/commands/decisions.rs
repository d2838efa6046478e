//! `staffetta decisions`: what the engine has decided by itself, each with its reason.

use clap::Args;
use serde_json::Value;

use crate::engine::{Connect, value};
use crate::ui::{self, human, paint::Paint, table};

/// Options of `decisions`.
#[derive(Args, Debug)]
pub(crate) struct Decisions {
    /// Go on with new decisions as they are made
    #[arg(long, short)]
    follow: bool,
    /// Begin with this number, or `now` [default: the oldest that is kept; with --follow: now]
    #[arg(long, value_name = "N")]
    after: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

impl Decisions {
    /// Prints the decisions; with `--json` one object per line.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(self.list())
    }

    async fn list(&self) -> anyhow::Result<()> {
        let mut client = self.connect.client()?;
        let beginning = if self.follow { "now" } else { "" };
        let mut after = self.after.clone().unwrap_or_else(|| beginning.to_owned());
        let paint = Paint::stdout();
        loop {
            let wait = if self.follow { "&wait=30s" } else { "" };
            let page = client.get(&format!("/v1/decisions?after={}{wait}", value::escape(&after))).await?;
            after = value::number(&page, "next").to_string();
            let decisions = value::list(&page, "decisions");
            if decisions.is_empty() && !self.follow {
                return Ok(());
            }
            let mut text = String::new();
            for decision in decisions {
                text.push_str(&if self.connect.json { decision.to_string() } else { line(decision, paint) });
                text.push('\n');
            }
            ui::out(&text)?;
        }
    }
}

/// One decision as one line.
fn line(decision: &Value, paint: Paint) -> String {
    let at = value::moment(decision, "at").map_or_else(|| "-".to_owned(), human::clock);
    let about = ["source", "provider", "site", "campaign", "account", "identity"]
        .map(|key| decision.get(key).and_then(Value::as_str).unwrap_or_default());
    let about: Vec<&str> = about.into_iter().filter(|part| !part.is_empty()).collect();
    let text = |key: &str| decision.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let change = match (text("from"), text("to")) {
        (from, to) if from.is_empty() && to.is_empty() => String::new(),
        (from, to) if from.is_empty() => format!("{to}  "),
        (from, to) => format!("{from} → {to}  "),
    };
    format!(
        "{}  {:<18}  {}  {}{}",
        paint.dim(&at),
        table::printable(&text("kind")),
        paint.cyan(&table::printable(&about.join(" → "))),
        table::printable(&change),
        table::printable(&text("reason")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_one_line_with_its_reason() {
        let decision = serde_json::json!({
            "number": 7, "at": "2026-01-01T00:00:00.000Z", "kind": "budget.rate", "source": "a", "provider": "gmail",
            "from": "100/s", "to": "70/s", "reason": "the receiver\nlimits the rate",
        });
        let line = line(&decision, Paint::plain());
        for part in ["budget.rate", "a → gmail", "100/s → 70/s", "the receiver?limits the rate"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains('\n'));
    }
}
