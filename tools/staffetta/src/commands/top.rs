//! `staffetta top`: the engine at a glance, drawn again every second: ledger, rates, paths.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tokio::signal::ctrl_c;

use super::{ledger, queue};
use crate::engine::{Client, Connect, value};
use crate::ui::progress::Pace;
use crate::ui::{self, human, paint::Paint};

/// Options of `top`.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    every: f64,
    /// Look so many times, then leave [default: until Ctrl-C; once when the output is no terminal]
    #[arg(long, value_name = "N")]
    times: Option<u64>,
    #[command(flatten)]
    connect: Connect,
}

/// How fast the books grow.
struct Rates {
    accepted: Pace,
    finished: Pace,
}

impl Top {
    /// Draws until Ctrl-C.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(self.draw())
    }

    async fn draw(&self) -> anyhow::Result<()> {
        let terminal = std::io::stdout().is_terminal();
        let times = self.times.unwrap_or(if terminal { u64::MAX } else { 1 });
        let pause = Duration::from_secs_f64(self.every.clamp(0.1, 3600.0));
        let mut client = self.connect.client()?;
        let now = Instant::now();
        let mut rates = Rates { accepted: Pace::new(now), finished: Pace::new(now) };
        let mut interrupt = std::pin::pin!(ctrl_c());
        for time in 0..times {
            let screen = self.screen(&mut client, &mut rates).await?;
            let clear = if terminal && !self.connect.json { "\x1b[2J\x1b[H" } else { "" };
            ui::out(&format!("{clear}{screen}"))?;
            if time + 1 == times {
                break;
            }
            tokio::select! {
                _ = &mut interrupt => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    async fn screen(&self, client: &mut Client, rates: &mut Rates) -> anyhow::Result<String> {
        let books = client.get("/v1/ledger").await?;
        let queues = client.get("/v1/queue").await?;
        if self.connect.json {
            return Ok(format!("{}\n", serde_json::json!({ "ledger": books, "queue": queues })));
        }
        rates.observe(&books, Instant::now());
        let paint = Paint::stdout();
        let head = format!(
            "  {}   in {}   out {}\n\n",
            paint.bold(&human::time(human::now_ms())),
            paint.cyan(&human::rate(rates.accepted.per_second())),
            paint.cyan(&human::rate(rates.finished.per_second())),
        );
        let queues = queue::render(&queues, human::now_ms(), paint);
        Ok(format!("{head}{}\n{queues}", ledger::render(&books, paint)))
    }
}

impl Rates {
    fn observe(&mut self, books: &Value, now: Instant) {
        let accepted = value::number(books, "accepted");
        self.accepted.observe(accepted, now);
        self.finished.observe(accepted.saturating_sub(value::number(books, "queued")), now);
    }
}
