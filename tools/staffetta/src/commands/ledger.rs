//! `staffetta ledger`: what was accepted and what became of it.

use clap::Args;
use serde_json::Value;

use crate::engine::{Connect, value};
use crate::ui::{self, human, paint::Paint};

/// Options of `ledger`.
#[derive(Args, Debug)]
pub(crate) struct Ledger {
    #[command(flatten)]
    connect: Connect,
}

impl Ledger {
    /// Prints the ledger of the running engine.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(async {
            let ledger = self.connect.client()?.get("/v1/ledger").await?;
            if self.connect.json {
                return Ok(ui::json(&ledger)?);
            }
            Ok(ui::out(&render(&ledger, Paint::stdout()))?)
        })
    }
}

/// The ledger as text, with its check line.
pub(crate) fn render(ledger: &Value, paint: Paint) -> String {
    const ROWS: [&str; 6] = ["delivered", "bounced", "expired", "cancelled", "suppressed", "queued"];
    let accepted = value::number(ledger, "accepted");
    let mut text = format!("  {:<12} {:>12}\n", "accepted", human::count(accepted));
    let mut sum: u64 = 0;
    for name in ROWS {
        let number = value::number(ledger, name);
        sum += number;
        let cell = format!("{:>12}", human::count(number));
        let cell = match name {
            _ if number == 0 => paint.dim(&cell),
            "delivered" => paint.green(&cell),
            "bounced" | "expired" => paint.red(&cell),
            _ => cell,
        };
        text.push_str(&format!("  {name:<12} {cell}\n"));
    }
    let unknown = value::number(ledger, "unknown_retries");
    if unknown > 0 {
        text.push_str(&format!(
            "  {:<12} {:>12}   possibly delivered twice\n",
            "unknown",
            human::count(unknown)
        ));
    }
    text.push_str(&balance_line(accepted, sum, paint));
    text
}

fn balance_line(accepted: u64, sum: u64, paint: Paint) -> String {
    if accepted == sum {
        return format!("  {} the ledger balances\n", paint.green("✓"));
    }
    let off = format!("the ledger is off by {}", accepted.abs_diff(sum));
    format!("  {} {}\n", paint.red("✗"), paint.red(&off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balanced_ledger_says_so() {
        let ledger = serde_json::json!({"accepted": 10, "delivered": 7, "bounced": 1, "expired": 0, "cancelled": 0,
            "suppressed": 0, "queued": 2, "unknown_retries": 0});
        let text = render(&ledger, Paint::plain());
        assert!(text.contains("accepted               10") && text.contains("balances"), "{text}");
        let ledger = serde_json::json!({"accepted": 10, "delivered": 7});
        assert!(render(&ledger, Paint::plain()).contains("off by 3"));
    }
}
