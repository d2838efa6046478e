//! What reclaim costs: the same steady load with and without it, in turns.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use mail::{Outcome, RecipientId};
use serde_json::json;
use spool::{Durability, Log};

use crate::clock::{Clock, Spent};
use crate::{Common, files, scene};

/// Messages on their way: each is finished when so many came after it.
const UNDER_WAY: usize = 2_000;
/// Turns that the two logs take: other work on the disk then meets both, and what the kernel does later of its own
/// falls mostly into the turn that caused it.
const TURNS: u64 = 10;

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
    late_after: u64,
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
        let mut with = Load::new(options, &directory.path().join("with"), true)?;
        let mut without = Load::new(options, &directory.path().join("without"), false)?;
        for turn in 1..=TURNS {
            let sent = options.messages * turn / TURNS;
            let (first, second) =
                if turn % 2 == 0 { (&mut with, &mut without) } else { (&mut without, &mut with) };
            first.send(options, sent)?;
            second.send(options, sent)?;
        }
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

/// A log under load.
struct Load {
    log: Log,
    began_at: u64,
    /// When reclaim looks next, in seconds of this load's own time; never without reclaim.
    next_look_s: Option<f64>,
    outcome: Outcome,
    /// Finished soon, and finished late.
    soon: VecDeque<RecipientId>,
    late: VecDeque<(u64, RecipientId)>,
    sent: u64,
    spent: Spent,
    carried_bytes: u64,
    dropped: u64,
    log_bytes_max: u64,
    needed_bytes_max: u64,
    step_s_max: f64,
}

impl Load {
    fn new(options: &Options, directory: &Path, reclaims: bool) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let log = scene::open(directory, 0, options.common.segment_mib, Durability::Disk)?;
        Ok(Self {
            began_at: log.appended().offset(),
            log,
            next_look_s: reclaims.then_some(options.tick_ms as f64 / 1e3),
            outcome: bench::delivered(scene::NOW),
            soon: VecDeque::new(),
            late: VecDeque::new(),
            sent: 0,
            spent: Spent::default(),
            carried_bytes: 0,
            dropped: 0,
            log_bytes_max: 0,
            needed_bytes_max: 0,
            step_s_max: 0.0,
        })
    }

    /// Bytes that were appended by the load itself.
    fn appended(&self) -> u64 {
        self.log.appended().offset() - self.began_at - self.carried_bytes
    }

    /// Sends until `sent` messages were sent in all.
    fn send(&mut self, options: &Options, sent: u64) -> Result<()> {
        let (content, body, addressee) =
            (scene::message(), scene::noise(options.bytes), [scene::addressee()]);
        let mut ids = Vec::new();
        let clock = Clock::start();
        while self.sent < sent {
            for _ in 0..options.together {
                self.log.append_message(&content, &body, &addressee, &mut ids)?;
            }
            ids.drain(..).for_each(|id| self.note(options, id));
            self.finish(options)?;
            let now_s = self.spent.wall + clock.spent().wall;
            if self.next_look_s.is_some_and(|look| look <= now_s) {
                self.next_look_s = Some(now_s + options.tick_ms as f64 / 1e3);
                self.reclaim(options)?;
            }
            self.log.commit()?;
        }
        self.spent += clock.spent();
        Ok(())
    }

    fn note(&mut self, options: &Options, id: RecipientId) {
        self.sent += 1;
        if self.sent.is_multiple_of(options.late_one_in) {
            self.late.push_back((self.sent, id));
        } else {
            self.soon.push_back(id);
        }
    }

    /// Appends the outcomes of what was under way long enough.
    fn finish(&mut self, options: &Options) -> Result<()> {
        while self.soon.len() > UNDER_WAY {
            let Some(id) = self.soon.pop_front() else { break };
            self.log.append_outcome(id, &self.outcome)?;
        }
        while let Some(&(sent, id)) = self.late.front()
            && sent + options.late_after < self.sent
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
