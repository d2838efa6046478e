//! What waiting recipients cost in memory: the books of the logs, and a queue for each of them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use mail::CampaignId;
use queue::{FlowKey, Limits, PathKey, Queue};
use rustix::thread::disable_transparent_huge_pages;
use serde_json::json;
use spool::{Durability, Log};

use crate::clock::Clock;
use crate::recover::{new_queue, queued, ticket};
use crate::scene;

/// How the allocator is given time to return what is free: its purges are delayed.
const PURGE: Duration = Duration::from_millis(1500);

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where `fill` has made a spool
    #[arg(long)]
    dir: PathBuf,
    /// Its logs
    #[arg(long, default_value_t = 2)]
    shards: u8,
    /// How the recipients wait
    #[arg(long, value_enum, default_value_t = How::Scheduled)]
    how: How,
    /// Asks the kernel for no huge pages, which an allocator's half-used ones fill with zeros
    #[arg(long)]
    small_pages: bool,
    /// Size of a segment
    #[arg(long, default_value_t = 256)]
    segment_mib: u64,
}

/// Where a recipient waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// In the timing wheel: after a start, or deferred
    Scheduled,
    /// By a campaign that was not started
    Held,
    /// On paths: half of them on ten large ones, the rest on 20,000
    Ready,
}

/// Prints resident memory before, with the logs, and with the queues, and bytes for each recipient.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.small_pages {
        disable_transparent_huge_pages(true)?;
    }
    let before = Resident::now()?;
    let logs: Vec<Log> = (0..options.shards)
        .map(|shard| scene::open(&options.dir, shard, options.segment_mib, Durability::Disk))
        .collect::<Result<_>>()?;
    let with_logs = Resident::now()?;
    let clock = Clock::start();
    let queues: Vec<Queue> = logs.iter().map(|log| fill(log, options.how)).collect::<Result<_>>()?;
    let queued = clock.spent();
    std::thread::sleep(PURGE);
    // An allocation of some size lets the allocator do what it has put off.
    drop(std::hint::black_box(vec![0_u8; 1 << 20]));
    let after = Resident::now()?;
    let waiting: u64 = queues.iter().map(|queue| queue.totals().waiting()).sum();
    let owned: usize = queues.iter().map(Queue::bytes).sum();
    let each = |bytes: u64| (bytes as f64 / waiting as f64 * 100.0).round() / 100.0;
    let line = json!({
        "waiting": waiting,
        "rss_bytes": after.all,
        "rss_anon_bytes": after.anonymous,
        "rss_file_bytes": after.file,
        "rss_anon_bytes_with_logs_only": with_logs.anonymous,
        "queued_cpu_s": queued.cpu,
        "queue_owned_bytes_each": each(owned as u64),
        "queue_anon_bytes_each": each(after.anonymous.saturating_sub(with_logs.anonymous)),
        "books_anon_bytes_each": each(with_logs.anonymous.saturating_sub(before.anonymous)),
        "anon_bytes_each": each(after.anonymous - before.anonymous),
    });
    println!("{line}");
    drop((queues, logs));
    Ok(())
}

fn fill(log: &Log, how: How) -> Result<Queue> {
    match how {
        How::Scheduled => queued(log),
        How::Held => held(log),
        How::Ready => ready(log),
    }
}

fn held(log: &Log) -> Result<Queue> {
    let mut queue = new_queue();
    for waiting in log.waiting() {
        let campaign = waiting.campaign.unwrap_or(CampaignId::from_raw(1));
        queue.hold(campaign, None, ticket(&waiting))?;
    }
    Ok(queue)
}

fn ready(log: &Log) -> Result<Queue> {
    let mut queue = new_queue();
    let limits = Limits {
        connections: 10,
        rate: None,
        messages_per_connection: 100,
        recipients_per_message: 1,
        pipeline_depth: 1,
    };
    for (n, waiting) in (0_u64..).zip(log.waiting()) {
        let path = match n % 2 {
            0 => queue.path(PathKey { source: 0, provider: u16::try_from(n / 2 % 10)?, site: 0 }, limits),
            _ => queue.path_alone(PathKey { source: 0, provider: 99, site: n / 2 % 20_000 }, limits),
        };
        let key = FlowKey { class: waiting.class, tenant: 0, campaign: waiting.campaign, identity: 0 };
        queue.enqueue(path, key, ticket(&waiting), scene::NOW)?;
    }
    Ok(queue)
}

/// Resident memory of this process, in bytes.
#[derive(Clone, Copy, Debug)]
struct Resident {
    all: u64,
    /// Not backed by files.
    anonymous: u64,
    /// Pages of mapped files, which the kernel takes back when it needs them.
    file: u64,
}

impl Resident {
    fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name| field(&status, name);
        Ok(Self { all: field("VmRSS")?, anonymous: field("RssAnon")?, file: field("RssFile")? })
    }
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib =
        line.and_then(|line| line.split_whitespace().next()).context("no such line in /proc/self/status")?;
    Ok(kib.parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "VmRSSx:\t 1 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(field(status, "VmRSS").expect("it is there"), 2 << 20);
        assert!(field(status, "RssAnon").is_err());
    }
}
