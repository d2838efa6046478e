//! `spool-bench`: the spool alone, measured beside the least that the disk asks for. It prints one line of JSON for
//! each round and judges nothing; `perf/spool.py` keeps the results.

mod append;
mod bare;
mod clock;
mod direct;
mod files;
mod fill;
mod map;
mod memory;
mod paths;
mod reclaim;
mod recover;
mod scene;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// The engine's allocator: what memory is held depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the spool and the queue behind it; prints one line of JSON for each round.
#[derive(Parser, Debug)]
#[command(name = "spool-bench", version)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Append and commit, beside a bare loop of pwrite and fdatasync of the same bytes
    Append(append::Options),
    /// Three ways to the disk, and reading back what took each of them
    Paths(paths::Options),
    /// Fills a spool for `recover` and `memory`
    Fill(fill::Options),
    /// Opens a filled spool and queues what waits in it, from the page cache and from the disk
    Recover(recover::Options),
    /// Steady load with and without reclaim
    Reclaim(reclaim::Options),
    /// What the waiting recipients of a filled spool cost in memory
    Memory(memory::Options),
}

/// Where to work, and how often.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Directory on the disk to measure; a temporary one is made in it and removed
    #[arg(long, default_value = "/tmp")]
    data: PathBuf,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Size of a segment
    #[arg(long, default_value_t = 256)]
    segment_mib: u64,
}

fn main() -> ExitCode {
    let done = match Options::parse().what {
        What::Append(options) => append::run(&options),
        What::Paths(options) => paths::run(&options),
        What::Fill(options) => fill::run(&options),
        What::Recover(options) => recover::run(&options),
        What::Reclaim(options) => reclaim::run(&options),
        What::Memory(options) => memory::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spool-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}
