//! `staffetta accounts`: the accounts, and how much of their quotas they have used.

use clap::Args;
use serde_json::Value;

use crate::engine::{Connect, value};
use crate::ui::{self, human, paint::Paint, table::Table};

/// Options of `accounts`.
#[derive(Args, Debug)]
pub(crate) struct Accounts {
    #[command(flatten)]
    connect: Connect,
}

impl Accounts {
    /// Prints the accounts.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(async {
            let answer = self.connect.client()?.get("/v1/accounts").await?;
            if self.connect.json {
                return Ok(ui::json(&answer)?);
            }
            Ok(ui::out(&render(&answer, human::now_ms(), Paint::stdout()))?)
        })
    }
}

fn render(answer: &Value, now_ms: u64, paint: Paint) -> String {
    let accounts = value::list(answer, "accounts");
    if accounts.is_empty() {
        return "  the configuration has no accounts\n".to_owned();
    }
    let mut table =
        Table::new(&["account", "pool", "quota", ">used", ">left", ">waiting", ">critical", "takes mail"]);
    for account in accounts {
        let pool = value::text(account, "pool");
        let (name, pool) = (value::text(account, "name"), if pool.is_empty() { "(class)" } else { &pool });
        let Some(quota) = account.get("quota").filter(|quota| !quota.is_null()) else {
            table.row([name.as_str(), pool, "no limit", "", "", "", "", "yes"]);
            continue;
        };
        let count = |key: &str| human::count(value::number(quota, key));
        table.row([
            name,
            pool.to_owned(),
            value::text(quota, "rate"),
            count("used"),
            count("left"),
            count("waiting"),
            count("critical_used"),
            match value::moment(quota, "free_at").filter(|at| *at > now_ms) {
                Some(at) => format!("again {}", human::relative(at, now_ms)),
                None => "yes".to_owned(),
            },
        ]);
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_shown_with_what_they_have_used() {
        let answer = serde_json::json!({"accounts": [
            {"name": "shop", "pool": null, "quota": {"rate": "100000/d", "used": 100_000, "left": 0, "waiting": 20_000,
             "critical_used": 12, "free_at": "2026-01-01T00:01:00.000Z"}},
            {"name": "news", "pool": null, "quota": {"rate": "50/h", "used": 1, "left": 49, "waiting": 0,
             "critical_used": 0, "free_at": null}},
            {"name": "alerts", "pool": "own", "quota": null}]});
        let text = render(&answer, 1_767_225_600_000, Paint::plain());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        for line in [
            "shop (class) 100000/d 100,000 0 20,000 12 again in 1m 00s",
            "news (class) 50/h 1 49 0 0 yes",
            "alerts own no limit yes",
        ] {
            assert!(lines.contains(&line.split(' ').collect()), "{line} in {text}");
        }
        assert!(render(&serde_json::json!({"accounts": []}), 0, Paint::plain()).contains("no accounts"));
    }
}
