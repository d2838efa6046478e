//! `allocations`: how often the engine calls the allocator for a message. The engine runs in this process under a counting
//! allocator; injector and sink are processes of their own. It judges nothing.

mod control;
mod counting;
mod house;
mod sites;
mod stretch;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

use counting::Counting;
use stretch::Count;
use workload::Workload;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts the engine's allocations for a message, by kind of thread.
#[derive(Parser, Debug)]
#[command(name = "allocations", version)]
struct Options {
    /// Only this workload; may be given several times
    #[arg(long, value_enum)]
    workload: Vec<Workload>,
    /// Messages of each workload, besides a tenth as many to warm up
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(10..))]
    messages: u64,
    /// Also tell where they are made
    #[arg(long)]
    sites: bool,
    /// With --sites: every so manieth allocation of a thread is looked at
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "sites", value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Where `staffetta` and `inject` are [default: where this program is]
    #[arg(long, value_name = "DIR")]
    bin: Option<PathBuf>,
    /// Where the spools are put
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    data: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("allocations: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let programs = match &options.bin {
        Some(folder) => folder.clone(),
        None => program.parent().context("a program stands in a folder")?.to_owned(),
    };
    let count = Count { every: if options.sites { options.every } else { 0 } };
    let wanted = if options.workload.is_empty() { Workload::value_variants() } else { &options.workload };
    let mut told: Vec<Value> = Vec::new();
    for workload in wanted {
        let stretches = workload.run((&programs, &options.data), options.messages, count)?;
        if !options.json {
            println!("{}", workload.name());
            stretches.iter().for_each(|stretch| print!("{}", stretch.text()));
        }
        let stretches: Vec<Value> = stretches.iter().map(stretch::Stretch::json).collect();
        told.push(json!({"workload": workload.name(), "stretches": stretches}));
    }
    if options.json {
        println!("{}", json!({"workloads": told}));
    }
    Ok(())
}
