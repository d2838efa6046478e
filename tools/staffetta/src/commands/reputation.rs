//! `staffetta reputation`: how welcome the mail of each source, sender, account and campaign is, with what that is made of.

use clap::Args;
use serde_json::Value;

use crate::engine::{Connect, value};
use crate::ui::{self, human, paint::Paint, table::Table};

/// Options of `reputation`.
#[derive(Args, Debug)]
pub(crate) struct Reputation {
    /// Only of these: source, sender, account or campaign
    #[arg(long, value_name = "KIND", value_parser = ["source", "sender", "account", "campaign"])]
    of: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

impl Reputation {
    /// Prints the scores.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(async {
            let answer = self.connect.client()?.get("/v1/reputation").await?;
            if self.connect.json {
                return Ok(ui::json(&answer)?);
            }
            Ok(ui::out(&render(&answer, self.of.as_deref(), Paint::stdout()))?)
        })
    }
}

fn render(answer: &Value, of: Option<&str>, paint: Paint) -> String {
    let mut table = Table::new(&[
        "of",
        "name",
        "provider",
        "class",
        ">score",
        ">recent",
        ">attempts",
        ">delivered",
        ">deferred",
        ">blocked",
        ">unknown",
        ">spam",
        ">complaints",
        ">engaged",
    ]);
    let rows = value::list(answer, "reputation").iter();
    let rows: Vec<&Value> = rows.filter(|row| of.is_none_or(|of| value::text(row, "of") == of)).collect();
    if rows.is_empty() {
        return "  nothing was sent yet\n".to_owned();
    }
    for row in rows {
        let parts = row.get("parts").unwrap_or(row);
        let share = |key: &str| format!("{:.1} %", value::decimal(parts, key).unwrap_or_default() * 100.0);
        let provider = value::text(row, "provider");
        table.row([
            value::text(row, "of"),
            value::text(row, "name"),
            if provider.is_empty() { "(all)".to_owned() } else { provider },
            value::text(row, "class"),
            value::text(row, "score"),
            value::text(row, "recent"),
            human::count(value::decimal(parts, "seen").unwrap_or_default() as u64),
            share("delivered"),
            share("deferred"),
            share("blocked"),
            share("unknown_users"),
            share("spam_refused"),
            share("complaints"),
            share("engaged"),
        ]);
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_shown_with_their_parts() {
        let answer = serde_json::json!({"reputation": [
            {"of": "source", "name": "a", "provider": "gmail", "class": "bulk", "score": 71, "recent": 60,
             "parts": {"seen": 1200.4, "delivered": 0.955, "complaints": 0.002}},
            {"of": "campaign", "name": "0000000000430", "provider": null, "class": "bulk", "score": 80, "recent": 80, "parts": {}},
        ]});
        let text = render(&answer, None, Paint::plain());
        for part in ["gmail", "71", "1,200", "95.5 %", "0.2 %", "(all)"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!render(&answer, Some("source"), Paint::plain()).contains("(all)"));
        assert!(render(&answer, Some("account"), Paint::plain()).contains("nothing"));
    }
}
