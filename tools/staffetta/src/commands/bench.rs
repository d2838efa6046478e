//! `staffetta bench`: measures what the engine costs on this machine. It starts engines of its own on loopback with directories of its own,
//! which are gone afterwards; it touches no engine that runs and no other host.

mod config;
mod facts;
mod report;
mod scene;
mod stage;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, bail};
use capacity::{Machine, Sample};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::ui::progress::Progress;
use crate::ui::{self, human, paint::Paint};
use scene::{Figures, Kind, Scene};
use workload::Length;

/// Options of `bench`.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// About twenty seconds instead of two minutes: each figure once, from a shorter run
    #[arg(long)]
    quick: bool,
    /// The disk to measure with: a directory is made in this one, and removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// So many messages in each run, however long it takes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(50..=10_000_000))]
    messages: Option<u64>,
    /// Shards of the engine; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    shards: u16,
    /// Measure also what the model was not fitted to, and print how far off its prediction is
    #[arg(long)]
    check: bool,
    /// Write what was measured as a machine file, for `staffetta plan --machine`
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print one line of JSON, and no progress
    #[arg(long)]
    json: bool,
}

/// A scene, and the median of its rounds.
pub(super) struct Measured {
    pub(super) scene: Scene,
    pub(super) figures: Figures,
}

/// Everything that was measured, and what follows from it.
pub(super) struct Outcome {
    pub(super) tools: Figures,
    pub(super) measured: Vec<Measured>,
    pub(super) machine: Machine,
    pub(super) is_memory: bool,
}

impl Bench {
    /// Measures, and prints what came of it.
    ///
    /// # Errors
    /// When an engine does not start, a message does not arrive, or a file cannot be written.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let interrupted = listen_for_interrupt()?;
        let progress = Progress::new(self.json);
        let outcome = self.measure(&progress, &interrupted);
        progress.clear();
        let outcome = outcome?;
        if let Some(file) = &self.write {
            std::fs::write(file, outcome.machine.to_toml()?)
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        if self.json {
            Ok(ui::json(&report::to_json(&outcome))?)
        } else {
            Ok(ui::out(&report::render(&outcome, Paint::stdout()))?)
        }
    }

    fn measure(&self, progress: &Progress, interrupted: &AtomicBool) -> anyhow::Result<Outcome> {
        let rounds = if self.quick || self.messages.is_some() { 1 } else { 3 };
        let length = match (self.messages, self.quick) {
            (Some(messages), _) => Length::Messages(messages),
            (None, true) => Length::Seconds(0.5),
            (None, false) => Length::Seconds(1.5),
        };
        let facts = facts::of(&self.dir, rounds)?;
        let disk = facts::disk(&self.dir)?;
        let mut scenes = scene::fitted();
        if self.check {
            scenes.extend(scene::held_out());
        }
        let mut tools = Vec::new();
        let mut figures: Vec<Vec<Figures>> = scenes.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            progress.say(&format!("round {} of {rounds}", round + 1));
            tools.push(workload::ceiling(length)?);
            for (scene, found) in scenes.iter().zip(&mut figures) {
                anyhow::ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
                let one = match workload::measure(scene, &self.dir, self.shards, length) {
                    // The engine heard it too and refused the rest.
                    Err(_) if interrupted.load(Ordering::Relaxed) => bail!("interrupted"),
                    one => one.with_context(|| format!("{} could not be measured", scene.label()))?,
                };
                progress.say(&format!(
                    "  {:<40} {:>8.1} µs  {}",
                    scene.label(),
                    one.cpu_us,
                    human::rate(one.per_s)
                ));
                found.push(one);
            }
        }
        let measured: Vec<Measured> = scenes
            .into_iter()
            .zip(&figures)
            .map(|(scene, found)| Measured { scene, figures: Figures::median(found) })
            .collect();
        let costs = capacity::fit(&samples(&measured)).map_err(|gap| anyhow!(gap))?;
        let is_memory = matches!(facts.filesystem.as_str(), "tmpfs" | "ramfs");
        let machine = Machine { facts, costs, disk };
        Ok(Outcome { tools: Figures::median(&tools), measured, machine, is_memory })
    }
}

/// What the coefficients are fitted to.
fn samples(measured: &[Measured]) -> Vec<Sample> {
    let fitted = measured.iter().filter(|one| one.scene.kind == Kind::Fitted);
    fitted
        .flat_map(|one| {
            let sent = Sample { work: one.scene.work, us: one.figures.cpu_us };
            let accepted = one.figures.accept_cpu_us.map(|us| Sample {
                work: capacity::Work { way: capacity::Way::Accept, ..one.scene.work },
                us,
            });
            accepted.into_iter().chain(std::iter::once(sent))
        })
        .collect()
}

/// SIGINT and SIGTERM end the measurement after the run that is under way, so that no engine and no directory is left behind. Ctrl-C
/// reaches the engine of that run too, which ends the run at once.
fn listen_for_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let heard = Arc::clone(&interrupted);
    let mut terminate = {
        let _inside = runtime.enter();
        signal(SignalKind::terminate()).context("signals cannot be listened to")?
    };
    let wait = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => (),
            _ = terminate.recv() => (),
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(wait);
        heard.store(true, Ordering::Relaxed);
    })?;
    Ok(interrupted)
}
