//! A start: opening a filled log, and queueing everything that waits in it, as the engine's shards do.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use queue::{Queue, Ticket};
use serde_json::json;
use spool::Log;

use crate::clock::{Clock, Spent};
use crate::{files, scene};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where `fill` has made a spool
    #[arg(long)]
    dir: PathBuf,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Size of a segment
    #[arg(long, default_value_t = 256)]
    segment_mib: u64,
}

/// Prints how long opening the log of shard 0 took and how long everything until the queue was filled, from the disk
/// and from the page cache.
pub(crate) fn run(options: &Options) -> Result<()> {
    for round in 0..options.rounds {
        files::evict(&options.dir, 0)?;
        let cold = start(options)?;
        let warm = start(options)?;
        let gb_s = |seconds: f64| warm.bytes as f64 / seconds / 1e9;
        let per_million = |spent: f64| spent * 1e6 / warm.waiting as f64;
        let line = json!({
            "round": round,
            "waiting": warm.waiting,
            "log_bytes": warm.bytes,
            "warm_open_s": warm.open.wall,
            "warm_open_gb_per_core_s": gb_s(warm.open.cpu),
            "warm_open_gb_s": gb_s(warm.open.wall),
            "warm_queued_s": warm.walk.wall,
            "warm_ready_s": warm.open.wall + warm.walk.wall,
            "warm_ready_s_per_million": per_million(warm.open.wall + warm.walk.wall),
            "cold_open_s": cold.open.wall,
            "cold_open_gb_per_core_s": gb_s(cold.open.cpu),
            "cold_open_gb_s": gb_s(cold.open.wall),
            "cold_ready_s": cold.open.wall + cold.walk.wall,
            "cold_ready_s_per_million": per_million(cold.open.wall + cold.walk.wall),
        });
        println!("{line}");
    }
    Ok(())
}

/// What a start took.
struct Start {
    open: Spent,
    walk: Spent,
    bytes: u64,
    waiting: u64,
}

fn start(options: &Options) -> Result<Start> {
    let clock = Clock::start();
    let opening = spool::Options { segment_bytes: options.segment_mib << 20, ..spool::Options::default() };
    let (log, recovered) = Log::open(&options.dir, 0, opening)?;
    let open = clock.spent();
    let clock = Clock::start();
    let queue = queued(&log)?;
    let walk = clock.spent();
    anyhow::ensure!(queue.totals().waiting() == recovered.waiting, "not everything was queued");
    Ok(Start { open, walk, bytes: recovered.bytes, waiting: recovered.waiting })
}

/// A queue of everything that waits in `log`, as `engine/mta/src/shard/life.rs` makes it.
pub(crate) fn queued(log: &Log) -> Result<Queue> {
    let now = scene::NOW;
    let mut queue = new_queue();
    for waiting in log.waiting() {
        let due = waiting.next_attempt.unwrap_or_default().max(waiting.not_before).max(now);
        queue.schedule(ticket(&waiting), waiting.campaign, due)?;
    }
    Ok(queue)
}

/// An empty queue with the engine's weights.
pub(crate) fn new_queue() -> Queue {
    Queue::new([16, 8, 4, 1], 0.2, scene::NOW)
}

/// What the queue keeps of a waiting recipient.
pub(crate) fn ticket(waiting: &spool::Waiting) -> Ticket {
    Ticket {
        id: waiting.id,
        expiry: waiting.expiry,
        deadline: waiting.deadline,
        attempts: waiting.attempts,
        class: waiting.class,
    }
}
