//! A log against the bare loop: the same bytes to the same disk, each group durable before the next, in turns.

use std::path::Path;
use std::sync::mpsc;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value, json};
use spool::{Content, Durability, Log, Recipient, SyncTarget};

use crate::bare::Bare;
use crate::clock::{Clock, Spent};
use crate::{Common, files, scene};

/// Turns that the log and the bare loop take in one measurement: other work on the disk then meets both.
const TURNS: u64 = 7;
/// Bytes that one turn writes, about; fewer when it would take too many groups.
const TURN_BYTES: u64 = 32 << 20;
/// Groups of one turn.
const GROUPS_MIN: u64 = 3;
const GROUPS_MAX: u64 = 25;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Bytes of the messages' bodies; 0 are recipients of a newsletter, 170 bytes each
    #[arg(long, value_delimiter = ',', default_values_t = [0, 300, 10_240])]
    sizes: Vec<usize>,
    /// Records made durable together
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64, 256, 1024, 4096])]
    groups: Vec<u64>,
}

/// Prints, for each size and group: MB/s of a log that waits for each group, of a log whose next group is appended
/// meanwhile, and of the bare loop, and the ratios.
pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = files::directory(&options.common.data)?;
    for round in 0..options.common.rounds {
        let mut line = Map::from_iter([("round".to_owned(), json!(round))]);
        for &size in &options.sizes {
            for &together in &options.groups {
                cell(options, directory.path(), (size, together), &mut line)?;
                files::clear(directory.path())?;
            }
        }
        println!("{}", Value::Object(line));
    }
    Ok(())
}

fn cell(
    options: &Options,
    directory: &Path,
    cell: (usize, u64),
    line: &mut Map<String, Value>,
) -> Result<()> {
    let (size, together) = cell;
    let segment_mib = options.common.segment_mib;
    // About what a record takes on disk: only to choose how many groups there are.
    let groups = (TURN_BYTES / ((size as u64 + 300) * together)).clamp(GROUPS_MIN, GROUPS_MAX);
    let open = |shard| scene::open(directory, shard, segment_mib, Durability::Disk);
    let mut blocking = Load::new(open(0)?, size)?;
    let mut overlapped = Load::new(open(1)?, size)?;
    let (mut spent, mut bytes) = (Turns::default(), blocking.blocking(1, together)?.0);
    let mut bare = Bare::new(directory, usize::try_from(bytes)?, segment_mib << 20)?;
    bytes *= groups;
    for turn in 0..TURNS {
        // Each goes first in its turn, so that none always follows the same other.
        for which in 0..3 {
            match (turn + which) % 3 {
                0 => spent.blocking.push(blocking.blocking(groups, together)?.1),
                1 => spent.overlapped.push(overlapped.overlapped(groups, together)?),
                _ => spent.bare.push(bare.write(groups)?),
            }
        }
    }
    let mut put = |name: &str, value: f64| {
        let name = format!("{}_x{together}_{name}", name_of(size));
        line.insert(name, json!((value * 1000.0).round() / 1000.0));
    };
    let [log, ahead, bare] = [&spent.blocking, &spent.overlapped, &spent.bare].map(|turns| middle(turns));
    let records = (groups * together) as f64;
    put("bare_mb_s", bytes as f64 / bare.wall / 1e6);
    put("log_mb_s", bytes as f64 / log.wall / 1e6);
    put("log_ratio", bare.wall / log.wall);
    put("overlapped_mb_s", bytes as f64 / ahead.wall / 1e6);
    put("overlapped_ratio", bare.wall / ahead.wall);
    put("bare_cpu_us", bare.cpu * 1e6 / records);
    put("log_cpu_us", log.cpu * 1e6 / records);
    Ok(())
}

/// What each turn took.
#[derive(Default)]
struct Turns {
    blocking: Vec<Spent>,
    overlapped: Vec<Spent>,
    bare: Vec<Spent>,
}

/// The medians of some turns.
fn middle(turns: &[Spent]) -> Spent {
    let median = |of: fn(&Spent) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Spent { wall: median(|spent| spent.wall), cpu: median(|spent| spent.cpu) }
}

fn name_of(size: usize) -> String {
    if size == 0 { "recipient".to_owned() } else { size.to_string() }
}

/// A log and what is appended to it.
struct Load {
    log: Log,
    content: Content,
    body: Vec<u8>,
    addressee: [Recipient; 1],
    /// Recipients without messages of their own.
    subscribers: Vec<Recipient>,
    ids: Vec<mail::RecipientId>,
}

impl Load {
    fn new(mut log: Log, size: usize) -> Result<Self> {
        let mut subscribers = Vec::new();
        if size == 0 {
            let template = log.append_content(&scene::template(), &scene::noise(20_480))?;
            subscribers = (0..4096).map(|n| scene::subscriber(template, n)).collect();
        }
        log.commit()?;
        let (content, addressee) = (scene::message(), [scene::addressee()]);
        Ok(Self { log, content, body: scene::noise(size), addressee, subscribers, ids: Vec::new() })
    }

    fn append(&mut self, together: u64) -> Result<()> {
        if self.subscribers.is_empty() {
            for _ in 0..together {
                self.log.append_message(&self.content, &self.body, &self.addressee, &mut self.ids)?;
            }
            self.ids.clear();
            return Ok(());
        }
        let mut left = usize::try_from(together)?;
        while left > 0 {
            let some = left.min(self.subscribers.len());
            for recipient in &self.subscribers[..some] {
                self.log.append_recipient(recipient)?;
            }
            left -= some;
        }
        Ok(())
    }

    /// Append a group, wait for the disk, and so on; the bytes and the time.
    fn blocking(&mut self, groups: u64, together: u64) -> Result<(u64, Spent)> {
        let before = self.log.appended().offset();
        let clock = Clock::start();
        for _ in 0..groups {
            self.append(together)?;
            self.log.commit()?;
        }
        let spent = clock.spent();
        Ok((self.log.appended().offset() - before, spent))
    }

    /// As a shard works: a group is appended and written while the one before it is being synced.
    fn overlapped(&mut self, groups: u64, together: u64) -> Result<Spent> {
        let (to_disk, targets) = mpsc::channel::<SyncTarget>();
        let (done, finished) = mpsc::channel();
        let syncer = std::thread::spawn(move || {
            for target in targets {
                let synced = target.files().iter().try_for_each(|file| file.sync_data());
                if done.send((target, synced)).is_err() {
                    return;
                }
            }
        });
        let clock = Clock::start();
        let mut is_out = false;
        for _ in 0..groups {
            self.append(together)?;
            self.log.flush()?;
            if is_out {
                self.take(&finished)?;
            }
            to_disk.send(self.log.sync_target().context("there is something to sync")?)?;
            is_out = true;
        }
        self.take(&finished)?;
        let spent = clock.spent();
        drop(to_disk);
        syncer.join().map_err(|_| anyhow::anyhow!("the syncing thread panicked"))?;
        Ok(spent)
    }

    fn take(&mut self, finished: &mpsc::Receiver<(SyncTarget, std::io::Result<()>)>) -> Result<()> {
        let (target, synced) = finished.recv()?;
        synced?;
        self.log.synced(target);
        Ok(())
    }
}
