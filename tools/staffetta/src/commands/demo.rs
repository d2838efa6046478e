//! `staffetta demo`: the whole engine and pretend mailbox providers in one process on loopback. Needs no root, touches no
//! other host, and leaves nothing behind.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;

use crate::Silent;
use crate::ui::progress::{Progress, Stream};
use crate::ui::{self, human, paint::Paint};

mod load;
mod observe;
mod outcome;
mod report;
mod stage;

use load::{Plan, Sent};
use observe::Observer;
use outcome::Outcome;
use stage::Stage;

/// How often events are read and bars are drawn.
const LOOK_INTERVAL: Duration = Duration::from_millis(120);
/// How long the rest may take after everything was submitted, per second that the submission was planned for.
const PATIENCE_FACTOR: u32 = 5;
/// What the rest may take at least: greylisting and full mailboxes take some seconds to pass.
const PATIENCE_MIN: Duration = Duration::from_secs(45);
/// How long is waited for the last events to be told.
const EVENTS_PATIENCE: Duration = Duration::from_secs(5);

/// Options of `demo`.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Recipients of the newsletter
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    messages: u64,
    /// Shards of the engine; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    shards: u16,
    /// For how long transactional and mission-critical mail trickles in
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print the figures as one line of JSON, and no progress
    #[arg(long)]
    json: bool,
    /// Keep the directory with configuration and spool, and say where it is
    #[arg(long)]
    keep: bool,
}

/// The bars.
struct Bars {
    newsletter: Stream,
    transactional: Stream,
    critical: Stream,
}

impl Demo {
    /// Plays the demo.
    ///
    /// # Errors
    /// When it cannot start, or the books do not balance at its end.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        start_log();
        let paint = Paint::stdout();
        let mut stage = Stage::set(self.shards)?;
        let progress = Progress::new(self.json);
        progress.say(&stage.opening(self.messages, Paint::stderr()));
        let outcome = self.play(&stage, &progress);
        progress.clear();
        let (tally, providers) = stage.close(self.keep)?;
        let outcome = outcome?.with_receiver(tally, providers);
        if self.json {
            ui::json(&report::to_json(&outcome))?;
        } else {
            ui::out(&report::render(&outcome, paint))?;
        }
        if let Some(dir) = stage.kept() {
            eprintln!("Kept: {}", dir.display());
        }
        if outcome.balances() { Ok(()) } else { Err(anyhow::Error::new(Silent)) }
    }

    fn play(&self, stage: &Stage, progress: &Progress) -> anyhow::Result<Outcome> {
        let plan = Plan::new(self.messages, self.seconds);
        let sent = Arc::new(Sent::default());
        let (stop, stopped) = watch::channel(false);
        let load = load::start(plan, stage.doors(), Arc::clone(&sent), stopped)?;
        stop_on_interrupt(stage, stop)?;
        let mut bars = Bars::new(progress, &plan);
        let mut observer = Observer::new(stage.store());
        let begun = Instant::now();
        let mut load = Some(load);
        let mut last_submitted = Instant::now();
        let patience = (Duration::from_secs(self.seconds) * PATIENCE_FACTOR).max(PATIENCE_MIN);
        loop {
            observer.read()?;
            bars.draw(&sent, &observer, &plan);
            if load.as_ref().is_some_and(std::thread::JoinHandle::is_finished) {
                let ended = load.take().map(std::thread::JoinHandle::join);
                ended.transpose().map_err(|_| anyhow::anyhow!("the load generator died"))?.transpose()?;
                last_submitted = Instant::now();
            }
            let is_drained = load.is_none() && stage.handle().ledger().queued() == 0;
            if is_drained || (load.is_none() && last_submitted.elapsed() > patience) {
                break;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        let elapsed = begun.elapsed();
        wait_for_events(stage, &mut observer)?;
        bars.draw(&sent, &observer, &plan);
        Ok(Outcome::new(stage, &sent, observer, elapsed))
    }
}

/// The event store lags behind the books by some milliseconds.
fn wait_for_events(stage: &Stage, observer: &mut Observer) -> anyhow::Result<()> {
    let until = Instant::now() + EVENTS_PATIENCE;
    while observer.finished() < stage.handle().ledger().finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        observer.read()?;
    }
    Ok(())
}

/// Ctrl-C ends the submission; what was accepted is still delivered, and a second one leaves at once.
fn stop_on_interrupt(stage: &Stage, stop: watch::Sender<bool>) -> anyhow::Result<()> {
    let dir = stage.directory().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wait = move || {
        runtime.block_on(async {
            // Without a signal handler there is nothing to wait for.
            let _ = tokio::signal::ctrl_c().await;
            stop.send_replace(true);
            let _ = tokio::signal::ctrl_c().await;
        });
        // Nothing can be done about a directory that does not go away.
        let _ = std::fs::remove_dir_all(dir);
        std::process::exit(1);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("no thread for signals")?;
    Ok(())
}

/// Logs only what `STAFFETTA_LOG` asks for: the demo tells its own story.
fn start_log() {
    let Ok(wanted) = std::env::var("STAFFETTA_LOG") else { return };
    let filter = tracing_subscriber::EnvFilter::new(wanted);
    let colour = std::io::stderr().is_terminal();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // There is no other log in this process that could have been started before.
    let _ = subscriber.try_init();
}

impl Bars {
    fn new(progress: &Progress, plan: &Plan) -> Self {
        Self {
            newsletter: progress.stream("newsletter", plan.newsletter),
            transactional: progress.stream("transactional", plan.transactional),
            critical: progress.stream("critical", plan.critical),
        }
    }

    fn draw(&mut self, sent: &Sent, observer: &Observer, plan: &Plan) {
        let handed = sent.newsletter();
        let note = if handed < plan.newsletter {
            format!("{} handed over", human::count(handed))
        } else {
            String::new()
        };
        self.newsletter.set(
            observer.class(mail::Class::Bulk).finished(),
            &[note, notes(observer, mail::Class::Bulk)].concat(),
        );
        for (bar, class) in [
            (&mut self.transactional, mail::Class::Transactional),
            (&mut self.critical, mail::Class::Critical),
        ] {
            bar.set(observer.class(class).finished(), &notes(observer, class));
        }
    }
}

/// What went another way than delivery, and how long delivery takes.
fn notes(observer: &Observer, class: mail::Class) -> String {
    let seen = observer.class(class);
    let mut notes = String::new();
    if seen.bounced > 0 {
        notes.push_str(&format!("  {} bounced", human::count(seen.bounced)));
    }
    if seen.deferrals > 0 {
        notes.push_str(&format!("  {} put off", human::count(seen.deferrals)));
    }
    if class != mail::Class::Bulk && seen.delivered > 0 {
        let p95 = Duration::from_millis(seen.latency_ms.value_at_quantile(0.95));
        notes.push_str(&format!("  p95 {}", human::duration(p95)));
    }
    notes.trim_start().to_owned()
}
