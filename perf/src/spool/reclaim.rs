//! What reclaim costs: the same steady load with and without it, in turns.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use mail::{Outcome, RecipientId};
use serde_json::json;
use spool::{Durability, Log};

use crate::clock::{Clock, Spent};
use crate::{Common, files, scene};

/// Messages on their way: each is finished when so many came after it.
const UNDER_WAY: usize = 2_000;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Messages of one measurement
    #[arg(long, default_value_t = 300_000)]
    messages: u64,
    /// Bytes of each
    #[arg(long, default_value_t = 10_240)]
    bytes: usize,
    /// Messages made durable together
    #[arg(long, default_value_t = 64)]
    together: u64,
    /// One message in so many is finished late
    #[arg(long, default_value_t = 100)]
    late_one_in: u64,
    /// When so many messages came after it
    #[arg(long, default_value_t = 100_000)]
    late_after: usize,
    /// How often reclaim looks at the log
    #[arg(long, default_value_t = 2_000)]
    tick_ms: u64,
    /// Live bytes that one step may carry forward
    #[arg(long, default_value_t = 4 << 20)]
    budget_bytes: u64,
    /// Steps that one look makes at most, while they drop or carry something
    #[arg(long, default_value_t = 1)]
    steps: u32,
}

/// Prints the rate with and without reclaim, and what reclaim wrote and left.
pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = files::directory(&options.common.data)?;
    for round in 0..options.common.rounds {
        let with = measure(options, directory.path(), true)?;
        let without = measure(options, directory.path(), false)?;
        let rate = |load: &Load| options.messages as f64 / load.spent.wall;
        let line = json!({
            "round": round,
            "with_messages_s": rate(&with),
            "without_messages_s": rate(&without),
            "ratio": rate(&with) / rate(&without),
            "with_cpu_us_per_message": with.spent.cpu * 1e6 / options.messages as f64,
            "without_cpu_us_per_message": without.spent.cpu * 1e6 / options.messages as f64,
            "appended_bytes": with.appended(),
            "carried_bytes": with.carried_bytes,
            "write_amplification": with.carried_bytes as f64 / with.appended() as f64,
            "dropped_segments": with.dropped,
            "log_bytes_max": with.log_bytes_max,
            "log_bytes_end": with.log.size().0,
            "needed_bytes_max": with.needed_bytes_max,
            "log_per_needed_max": with.log_bytes_max as f64 / with.needed_bytes_max as f64,
            "step_ms_max": with.step_s_max * 1e3,
            "without_log_bytes": without.log.size().0,
        });
        println!("{line}");
        drop((with, without));
        files::clear(directory.path())?;
    }
    Ok(())
}

fn measure(options: &Options, directory: &Path, reclaims: bool) -> Result<Load> {
    let directory = directory.join(if reclaims { "with" } else { "without" });
    std::fs::create_dir_all(&directory)?;
    let log = scene::open(&directory, 0, options.common.segment_mib, Durability::Disk)?;
    let mut load = Load::new(log, options);
    load.run(options, reclaims)?;
    Ok(load)
}

/// A log under load.
struct Load {
    log: Log,
    began_at: u64,
    outcome: Outcome,
    /// Finished soon, and finished late.
    soon: VecDeque<RecipientId>,
    late: VecDeque<(u64, RecipientId)>,
    sent: u64,
    late_one_in: u64,
    late_after: u64,
    spent: Spent,
    carried_bytes: u64,
    dropped: u64,
    log_bytes_max: u64,
    needed_bytes_max: u64,
    step_s_max: f64,
}

impl Load {
    fn new(log: Log, options: &Options) -> Self {
        Self {
            began_at: log.appended().offset(),
            log,
            outcome: scene::delivered(),
            soon: VecDeque::new(),
            late: VecDeque::new(),
            sent: 0,
            late_one_in: options.late_one_in,
            late_after: options.late_after as u64,
            spent: Spent::default(),
            carried_bytes: 0,
            dropped: 0,
            log_bytes_max: 0,
            needed_bytes_max: 0,
            step_s_max: 0.0,
        }
    }

    /// Bytes that were appended by the load itself.
    fn appended(&self) -> u64 {
        self.log.appended().offset() - self.began_at - self.carried_bytes
    }

    fn run(&mut self, options: &Options, reclaims: bool) -> Result<()> {
        let (content, body, addressee) =
            (scene::message(), scene::noise(options.bytes), [scene::addressee()]);
        let tick = Duration::from_millis(options.tick_ms);
        let mut looked = Instant::now();
        let mut ids = Vec::new();
        let clock = Clock::start();
        while self.sent < options.messages {
            for _ in 0..options.together {
                self.log.append_message(&content, &body, &addressee, &mut ids)?;
            }
            ids.drain(..).for_each(|id| self.note(id));
            self.finish()?;
            if reclaims && looked.elapsed() >= tick {
                looked = Instant::now();
                self.reclaim(options)?;
            }
            self.log.commit()?;
        }
        self.spent = clock.spent();
        Ok(())
    }

    fn note(&mut self, id: RecipientId) {
        self.sent += 1;
        if self.sent.is_multiple_of(self.late_one_in) {
            self.late.push_back((self.sent, id));
        } else {
            self.soon.push_back(id);
        }
    }

    /// Appends the outcomes of what was under way long enough.
    fn finish(&mut self) -> Result<()> {
        while self.soon.len() > UNDER_WAY {
            let Some(id) = self.soon.pop_front() else { break };
            self.log.append_outcome(id, &self.outcome)?;
        }
        while let Some(&(sent, id)) = self.late.front()
            && sent + self.late_after < self.sent
        {
            self.late.pop_front();
            self.log.append_outcome(id, &self.outcome)?;
        }
        Ok(())
    }

    fn reclaim(&mut self, options: &Options) -> Result<()> {
        let (log_bytes, needed_bytes) = self.log.size();
        self.log_bytes_max = self.log_bytes_max.max(log_bytes);
        self.needed_bytes_max = self.needed_bytes_max.max(needed_bytes);
        for _ in 0..options.steps {
            let began = Instant::now();
            let done = self.log.reclaim_step(options.budget_bytes)?;
            self.step_s_max = self.step_s_max.max(began.elapsed().as_secs_f64());
            self.carried_bytes += done.carried_bytes;
            self.dropped += done.dropped_segments;
            if done.carried == 0 && done.dropped_segments == 0 {
                break;
            }
        }
        Ok(())
    }
}
