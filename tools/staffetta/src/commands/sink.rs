//! `staffetta sink`: a receiver for tests. It counts what comes, says so live, and sums up at the end.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::receiver::{self, Options, Receiver, Tally};
use crate::ui::progress::Pace;
use crate::ui::{self, human, paint::Paint};

/// How often the live line is drawn on a terminal, and printed elsewhere.
const LIVE_INTERVAL: Duration = Duration::from_millis(500);
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Options of `sink`.
#[derive(Args, Debug)]
pub(crate) struct Sink {
    /// Where to listen; may be given several times; port 0 is any
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2526")]
    listen: Vec<SocketAddr>,
    /// Keep the messages here, as files with an index
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write a line for each accepted recipient: time, client, recipient, Message-ID
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print the final counts as JSON
    #[arg(long)]
    json: bool,
    /// No live line
    #[arg(long)]
    quiet: bool,
}

impl Sink {
    /// Receives until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When an address cannot be listened on or a file cannot be written.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let receiver = Receiver::start(&Options {
            addresses: self.listen.clone(),
            threads: usize::from(self.threads),
            keep: self.keep.clone(),
            ids: self.ids.clone(),
        })?;
        let addresses: Vec<String> = receiver.addresses().iter().map(ToString::to_string).collect();
        ui::line(&format!("ready {}", addresses.join(" ")))?;
        super::block_on(self.watch(&receiver))?;
        let tally = receiver.stop()?;
        if self.json {
            Ok(ui::json(&receiver::final_json(&tally))?)
        } else {
            Ok(ui::out(&receiver::summary(&tally, Paint::stdout()))?)
        }
    }

    async fn watch(&self, receiver: &Receiver) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let terminal = std::io::stderr().is_terminal();
        let interval = if terminal { LIVE_INTERVAL } else { PLAIN_INTERVAL };
        let mut pace = Pace::new(Instant::now());
        let mut shown = 0;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = tokio::time::sleep(interval), if !self.quiet => {
                    let tally = receiver.tally();
                    pace.observe(tally.messages, Instant::now());
                    if terminal {
                        eprint!("\r\x1b[K{}", live(&tally, &pace));
                        drop(std::io::stderr().flush());
                    } else if tally.messages != shown {
                        eprintln!("{}", live(&tally, &pace));
                    }
                    shown = tally.messages;
                }
            }
        }
        if terminal && !self.quiet {
            eprint!("\r\x1b[K");
        }
        Ok(())
    }
}

fn live(tally: &Tally, pace: &Pace) -> String {
    let duplicates = match tally.duplicates {
        0 => String::new(),
        duplicates => format!("  {}", human::plural(duplicates, "duplicate")),
    };
    format!(
        "  {:>12} messages  {:>9}  {} open, {} at most{duplicates}",
        human::count(tally.messages),
        human::rate(pace.per_second()),
        human::plural(tally.open, "connection"),
        human::count(tally.open_peak),
    )
}
