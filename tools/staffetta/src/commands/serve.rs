//! `staffetta serve`: runs the engine in the foreground until a signal ends it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use policy::config::Severity;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::house::House;
use crate::ui;

/// Options of `serve`.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What is logged to stderr: error, warn, info, debug, or as in RUST_LOG [default: STAFFETTA_LOG, or info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// The data directory was restored from a copy: queue and accept, but send nothing until `staffetta queue release`
    #[arg(long)]
    restored: bool,
}

impl Serve {
    /// Runs the engine.
    ///
    /// # Errors
    /// When it cannot start: one sentence that says what is missing.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        self.start_log()?;
        self.log_warnings()?;
        let config = Arc::new(crate::config::load(&self.config)?);
        let house = if self.restored { House::open_restored(config)? } else { House::open(config)? };
        ui::line(&format!("ready {}", house.addresses().join(" ")))?;
        tracing::info!("ready: {}", house.addresses().join(" "));
        wait_for_end()?;
        house.close();
        tracing::info!("stopped");
        Ok(())
    }

    fn start_log(&self) -> anyhow::Result<()> {
        let wanted = self.log.clone().or_else(|| std::env::var("STAFFETTA_LOG").ok());
        let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or("info")).map_err(|error| {
            super::usage(format!("`{}` is no log filter: {error}", wanted.unwrap_or_default()))
        })?;
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
        subscriber.with_ansi(colour).with_target(false).try_init().map_err(|error| anyhow::anyhow!(error))
    }

    fn log_warnings(&self) -> anyhow::Result<()> {
        let checked = crate::config::check(&self.config)?;
        for problem in checked.problems.iter().filter(|problem| problem.severity == Severity::Warning) {
            tracing::warn!("{}:{}: {}: {}", problem.file, problem.line, problem.key, problem.what);
        }
        Ok(())
    }
}

/// The signals that end the engine, and the one that cannot do what it is for yet.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGINT or SIGTERM.
    async fn end(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: the configuration cannot be read again while the engine runs; restart it");
                }
            }
        }
    }
}

/// Waits for the first signal; from then on a thread ends the process at the second one. What is not finished then is
/// in the spool and is taken up at the next start.
fn wait_for_end() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new().context("signals cannot be listened to")?
    };
    runtime.block_on(signals.end());
    tracing::info!("stopping; a second signal stops at once");
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(signals.end());
        tracing::warn!("stopped at once; what was not finished is taken up at the next start");
        std::process::exit(0);
    })?;
    Ok(())
}
