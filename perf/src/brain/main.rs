//! `perf/brain/run`: judges the engine's policy in pretend internets, against a static configuration with each
//! provider's documented limits. Nothing here reads a clock: the same seed gives the same bytes.

mod ablation;
mod chart;
mod crowd;
mod fuzz;
mod priority;
mod table;
mod versus;
mod warmup;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Judge the policy in pretend internets.
#[derive(Parser, Debug)]
struct Arguments {
    /// Shorter: every tenth recipient, fewer seeds and random worlds
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Play only these world files, and nothing else
    #[arg(long, value_name = "FILE")]
    world: Vec<PathBuf>,
    /// Where chances begin; the worlds' own seeds when left out
    #[arg(long)]
    seed: Option<u64>,
    /// Only this part: worlds, priority, warmup, ablation or fuzz
    #[arg(long, value_name = "PART")]
    part: Option<String>,
    /// Random worlds to play [default: 10000, or 300 with --quick]
    #[arg(long)]
    random: Option<u64>,
    /// Seeds of the warm-up [default: 100, or 5 with --quick]
    #[arg(long)]
    seeds: Option<u64>,
    /// Write brain.json, its tables and plots into this folder
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

impl Arguments {
    fn wants(&self, part: &str) -> bool {
        self.world.is_empty() && self.part.as_deref().is_none_or(|wanted| wanted == part)
    }

    /// The divisor of all volumes.
    const fn shrink(&self) -> u64 {
        if self.quick { 10 } else { 1 }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut proof = serde_json::Map::new();
    if arguments.wants("worlds") || !arguments.world.is_empty() {
        let worlds = worlds(&arguments)?;
        let mut played = Vec::new();
        for (name, text) in worlds {
            eprintln!("world {name}");
            played.push(versus::play(&text, arguments.seed, arguments.shrink()).with_context(|| name)?);
        }
        proof.insert("worlds".to_owned(), Value::Array(played));
    }
    if arguments.wants("priority") {
        eprintln!("priority");
        proof.insert("priority".to_owned(), priority::play(arguments.seed, arguments.shrink())?);
    }
    if arguments.wants("warmup") {
        eprintln!("warm-up");
        proof.insert(
            "warmup".to_owned(),
            warmup::play(arguments.seeds.unwrap_or(if arguments.quick { 5 } else { 100 }))?,
        );
    }
    if arguments.wants("ablation") {
        eprintln!("ablation");
        proof.insert("ablation".to_owned(), ablation::play(arguments.seed, arguments.shrink())?);
    }
    if arguments.wants("fuzz") {
        let count = arguments.random.unwrap_or(if arguments.quick { 300 } else { 10_000 });
        eprintln!("{count} random worlds");
        proof.insert("fuzz".to_owned(), fuzz::play(arguments.seed.unwrap_or(1), count));
    }
    let proof = Value::Object(proof);
    if let Some(folder) = &arguments.record {
        record(folder, &proof)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&proof)?);
    } else {
        print!("{}", table::render(&proof));
    }
    match table::failures(&proof) {
        failures if failures.is_empty() => Ok(()),
        failures => anyhow::bail!("not as it should be:\n  {}", failures.join("\n  ")),
    }
}

/// The worlds to play, by name.
fn worlds(arguments: &Arguments) -> anyhow::Result<Vec<(String, String)>> {
    if arguments.world.is_empty() {
        return Ok(world::World::shipped()
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect());
    }
    let read = |file: &PathBuf| {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok((file.display().to_string(), text))
    };
    arguments.world.iter().map(read).collect()
}

/// Writes tables, plots and figures; those by the minute are in the plots alone.
fn record(folder: &std::path::Path, proof: &Value) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let figures = without_minutes(proof.clone());
    std::fs::write(folder.join("brain.json"), serde_json::to_string_pretty(&figures)? + "\n")?;
    std::fs::write(folder.join("brain.md"), table::render(proof))?;
    for (name, picture) in chart::of(proof) {
        std::fs::write(folder.join(name), picture)?;
    }
    Ok(())
}

fn without_minutes(mut proof: Value) -> Value {
    for world in proof["worlds"].as_array_mut().into_iter().flatten() {
        let runs = ["brain", "static"].map(|run| world[run]["providers"].take());
        for (run, mut providers) in ["brain", "static"].into_iter().zip(runs) {
            let each = providers.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
            each.for_each(|provider| drop(provider.remove("by_minute")));
            world[run]["providers"] = providers;
        }
    }
    proof
}

/// What all parts say of a rehearsal's books.
fn books(report: &simulator::Report) -> Value {
    json!(report.books)
}
