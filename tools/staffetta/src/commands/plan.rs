//! `staffetta plan`: predicts when a mailing arrives, by playing it against a pretend internet with the engine's own
//! policy. It asks no engine and sends nothing.

mod machine;
mod render;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use simulator::{Mode, Options, Report, chart, rehearse};

use crate::ui;

/// Sources that are tried for a number that suffices.
const SOURCES_MAX: usize = 64;

/// Options of `plan`.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// A world file, or the name of a shipped world; docs/worlds.md explains them
    #[arg(long, value_name = "FILE|NAME")]
    world: String,
    /// So many recipients in all campaigns together [default: as the world has it]
    #[arg(long, value_name = "N")]
    volume: Option<u64>,
    /// So many source addresses [default: as the world has it]
    #[arg(long, value_name = "N")]
    sources: Option<usize>,
    /// Say how many sources it takes to finish within this time, such as 4h
    #[arg(long, value_name = "TIME", value_parser = crate::ui::human::parse_duration)]
    within: Option<Duration>,
    /// Where chances begin [default: the world's own]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// From here to every provider and back
    #[arg(long, value_name = "TIME", value_parser = crate::ui::human::parse_duration, default_value = "40ms")]
    round_trip: Duration,
    /// Compare with half and twice the sources, and with documented limits and nothing learned
    #[arg(long)]
    compare: bool,
    /// Write a plot of what arrives over time
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    machine: machine::Options,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One way to send it, and what would come of it.
pub(crate) struct Variant {
    name: String,
    sources: usize,
    report: Report,
}

impl Plan {
    /// Plays the mailing and prints what would come of it.
    ///
    /// # Errors
    /// When the world cannot be read or played, or the plot not be written.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let text = text_of(&self.world)?;
        let own = simulator::sources(&text)?;
        let station = self.machine.station(&text, self.round_trip)?;
        let asked = self.sources.unwrap_or(own).max(1);
        let mut variants = vec![self.play(&text, "as planned", asked, Mode::Brain)?];
        if self.compare {
            variants.push(self.play(&text, "half the sources", (asked / 2).max(1), Mode::Brain)?);
            variants.push(self.play(&text, "twice the sources", asked * 2, Mode::Brain)?);
            variants.push(self.play(&text, "documented limits, nothing learned", asked, Mode::Static)?);
        }
        let needed = self.within.map(|within| self.sources_for(&text, within)).transpose()?;
        if let Some(file) = &self.plot {
            std::fs::write(file, plot(&variants))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        if self.json {
            return Ok(ui::json(&to_json(&variants, needed, &station))?);
        }
        let within = self.within.zip(needed);
        let mut said = render::render(&variants, within, ui::paint::Paint::stdout());
        said.push_str(&machine::render(&station, &station.judge(&variants[0].report)));
        Ok(ui::out(&said)?)
    }

    fn play(&self, text: &str, name: &str, sources: usize, mode: Mode) -> anyhow::Result<Variant> {
        let options = Options {
            seed: self.seed,
            mode,
            volume: self.volume,
            sources: Some(sources),
            round_trip: self.round_trip,
            ..Options::default()
        };
        Ok(Variant { name: name.to_owned(), sources, report: rehearse(text, &options)? })
    }

    /// The smallest number of sources with which everything is over in time: by doubling, then by halving the gap. `None` when
    /// even many do not suffice.
    fn sources_for(&self, text: &str, within: Duration) -> anyhow::Result<Option<usize>> {
        let suffices = |sources: usize| -> anyhow::Result<bool> {
            let report = self.play(text, "", sources, Mode::Brain)?.report;
            Ok(report.speed.nine_tenths_s.is_some_and(|seconds| seconds <= within.as_secs_f64()))
        };
        let mut enough = 1;
        while !suffices(enough)? {
            enough *= 2;
            if enough > SOURCES_MAX {
                return Ok(None);
            }
        }
        let mut too_few = enough / 2;
        while enough - too_few > 1 {
            let middle = usize::midpoint(enough, too_few);
            if suffices(middle)? { enough = middle } else { too_few = middle }
        }
        Ok(Some(enough))
    }
}

/// A world file's text, or that of a shipped world.
pub(super) fn text_of(world: &str) -> anyhow::Result<String> {
    let shipped = world::World::shipped();
    if let Some((_, text)) = shipped.iter().find(|(name, _)| *name == world) {
        return Ok((*text).to_owned());
    }
    std::fs::read_to_string(world).with_context(|| {
        let names: Vec<_> = shipped.iter().map(|(name, _)| *name).collect();
        format!("cannot read the world file {world}; the shipped worlds are {}", names.join(", "))
    })
}

fn plot(variants: &[Variant]) -> String {
    let lines: Vec<_> = variants
        .iter()
        .map(|variant| (variant.name.clone(), variant.report.curve(|_| true).points()))
        .collect();
    chart::svg("What arrives over time", ("hours", "recipients delivered"), &lines)
}

fn to_json(variants: &[Variant], needed: Option<Option<usize>>, station: &machine::Station) -> Value {
    let variants: Vec<_> = variants
        .iter()
        .map(|variant| {
            let report = &variant.report;
            json!({
                "name": variant.name,
                "sources": variant.sources,
                "world": report.name,
                "mode": report.mode,
                "books": report.books,
                "attempts": report.attempts,
                "speed": report.speed,
                "classes": report.classes,
                "campaigns": report.campaigns,
                "providers": report.providers,
                "machine": machine::to_json(station, &station.judge(report)),
            })
        })
        .collect();
    json!({ "plans": variants, "sources_needed": needed.flatten() })
}
