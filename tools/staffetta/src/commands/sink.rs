//! `staffetta sink`: a receiver for tests. It counts what comes, says so live, and sums up at the end.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use world::{Latency, World};

use crate::receiver::{self, Door, Options, Receiver, Tally};
use crate::ui::progress::Pace;
use crate::ui::{self, human, paint::Paint};

/// How often the live line is drawn on a terminal, and printed elsewhere.
const LIVE_INTERVAL: Duration = Duration::from_millis(500);
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Options of `sink`.
#[derive(Args, Debug)]
pub(crate) struct Sink {
    /// Where to listen; may be given several times; port 0 is any; with --world also as the server of one provider
    #[arg(long, value_name = "[PROVIDER=]ADDR", default_value = "127.0.0.1:2526")]
    listen: Vec<Door>,
    /// Answer as the pretend providers of this file do (`builtin`: five well-known manners; or a shipped world by its name)
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// With --world: the seed of its chances
    #[arg(long, value_name = "N", default_value_t = 1, requires = "world")]
    seed: u64,
    /// Keep the messages here, as files with an index
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write a line for each accepted recipient: time, client, recipient, Message-ID
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// With --world: write the complaints of its readers here, as feedback reports (RFC 5965)
    #[arg(long, value_name = "DIR", requires = "world")]
    reports: Option<PathBuf>,
    /// Pretend to be far away: each reply leaves so long after its command has come (100ms); replies overlap
    #[arg(long, value_name = "TIME", default_value = "0s", hide_default_value = true)]
    latency: Latency,
    /// Offer STARTTLS with the certificate in this PEM file
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Measure how long messages were on their way, from the time that `inject --stamp` writes into them
    #[arg(long)]
    timed: bool,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print the final counts as JSON, and those so far upon SIGUSR1
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
        let mut receiver = Receiver::start(Options {
            doors: self.listen.clone(),
            world: self.world.as_deref().map(|file| read_world(file, self.seed)).transpose()?,
            threads: usize::from(self.threads),
            keep: self.keep.clone(),
            ids: self.ids.clone(),
            reports: self.reports.clone(),
            latency: self.latency,
            timed: self.timed,
            tls: self.cert.as_deref().zip(self.key.as_deref()).map(read_certificate).transpose()?,
        })?;
        let addresses: Vec<String> = receiver.doors().iter().map(|door| door.address.to_string()).collect();
        ui::line(&format!("ready {}", addresses.join(" ")))?;
        super::block_on(self.watch(&receiver))?;
        let tally = receiver.stop()?;
        if self.json {
            Ok(ui::json(&receiver.json())?)
        } else {
            Ok(ui::out(&receiver::summary(&tally, &receiver.providers(), Paint::stdout()))?)
        }
    }

    async fn watch(&self, receiver: &Receiver) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut asked = signal(SignalKind::user_defined1())?;
        let terminal = std::io::stderr().is_terminal();
        let interval = if terminal { LIVE_INTERVAL } else { PLAIN_INTERVAL };
        let mut pace = Pace::new(Instant::now());
        let mut shown = 0;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = asked.recv() => if self.json { ui::json(&receiver.json())? },
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

fn read_world(file: &Path, seed: u64) -> anyhow::Result<World> {
    if file == Path::new("builtin") {
        return Ok(World::builtin(seed));
    }
    // A file goes before a shipped world of its name.
    let shipped = World::shipped().iter().find(|(name, _)| file == Path::new(name) && !file.exists());
    if let Some((_, text)) = shipped {
        return World::from_toml(text, seed).with_context(|| file.display().to_string());
    }
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the world {} cannot be read", file.display()))?;
    World::from_toml(&text, seed).with_context(|| file.display().to_string())
}

fn read_certificate((cert, key): (&Path, &Path)) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    Ok(mta::io::tls::server_config(cert, key)?)
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
