//! Each mechanism switched off in turn: the figure that it is there for gets worse, or it is not needed.

use serde_json::{Value, json};
use simulator::{Mechanisms, Options, Report, rehearse};

use crate::versus::round;

/// A mechanism, the world in which it matters, and the figure that shows it.
struct Trial {
    mechanism: &'static str,
    off: fn(&mut Mechanisms),
    /// What is off in both runs: the net before it, which would catch everything.
    besides: fn(&mut Mechanisms),
    world: &'static str,
    figure: &'static str,
    of: fn(&Report) -> f64,
    /// Whether a larger figure is a better one.
    more_is_better: bool,
}

const TRIALS: &[Trial] = &[
    Trial {
        mechanism: "learning",
        off: |mechanisms| mechanisms.learning = false,
        besides: |_| (),
        world: "limit-change-at-noon",
        figure: "recipients delivered an hour",
        of: per_hour,
        more_is_better: true,
    },
    Trial {
        mechanism: "source choice",
        off: |mechanisms| mechanisms.source_choice = false,
        besides: |_| (),
        world: "burnt-ip",
        figure: "replies that refuse the sender",
        of: blocked,
        more_is_better: false,
    },
    Trial {
        mechanism: "re-routing",
        off: |mechanisms| mechanisms.reroute = false,
        besides: |_| (),
        world: "burnt-ip",
        figure: "recipients delivered an hour",
        of: per_hour,
        more_is_better: true,
    },
    Trial {
        mechanism: "warm-up",
        off: |mechanisms| mechanisms.warm_up = false,
        besides: |_| (),
        world: "cold-ips",
        figure: "replies that refuse the sender",
        of: blocked,
        more_is_better: false,
    },
    Trial {
        mechanism: "canary",
        off: |mechanisms| mechanisms.canary = false,
        besides: |_| (),
        world: "one-bad-tenant",
        figure: "share of the worst list that providers saw",
        of: worst_exposure,
        more_is_better: false,
    },
    Trial {
        mechanism: "breaker",
        off: |mechanisms| mechanisms.breaker = false,
        besides: |mechanisms| mechanisms.canary = false,
        world: "one-bad-tenant",
        figure: "share of the worst list that providers saw, without a canary",
        of: worst_exposure,
        more_is_better: false,
    },
    Trial {
        mechanism: "mailbox pacing",
        off: |mechanisms| mechanisms.mailbox = false,
        besides: |_| (),
        world: "mailbox-full",
        figure: "attempts for each recipient delivered",
        of: |report| report.attempts.total as f64 / report.books.delivered.max(1) as f64,
        more_is_better: false,
    },
    Trial {
        mechanism: "identity budgets",
        off: |mechanisms| mechanisms.identity = false,
        besides: |_| (),
        world: "identity-limits",
        figure: "rate-limit replies",
        of: |report| report.attempts.rate_limited as f64,
        more_is_better: false,
    },
    Trial {
        mechanism: "critical reserve",
        off: |mechanisms| mechanisms.reserve = false,
        besides: |_| (),
        world: "branches",
        figure: "p99 of critical mail, ms",
        of: critical_p99,
        more_is_better: false,
    },
];

fn per_hour(report: &Report) -> f64 {
    let curve = report.curve(|_| true);
    curve.per_hour((report.books.accepted as f64 * 0.8) as u64).round()
}

fn blocked(report: &Report) -> f64 {
    (report.attempts.disliked + report.attempts.blocked) as f64
}

fn worst_exposure(report: &Report) -> f64 {
    let stopped = report
        .campaigns
        .iter()
        .filter(|campaign| campaign.delivered * 2 < campaign.recipients || campaign.stopped);
    round(
        stopped
            .map(|campaign| campaign.exposed as f64 / campaign.recipients.max(1) as f64)
            .fold(0.0, f64::max),
    )
}

fn critical_p99(report: &Report) -> f64 {
    report.classes.iter().find(|class| class.class == "critical").map_or(0.0, |class| f64::from(class.p99_ms))
}

/// Plays every trial with and without its mechanism.
pub(crate) fn play(seed: Option<u64>, shrink: u64) -> anyhow::Result<Value> {
    let own = [("branches", include_str!("../../brain/branches.toml"))];
    let shipped = || world::World::shipped().iter().chain(&own);
    let mut rows = Vec::new();
    for trial in TRIALS {
        let found = shipped().find(|(name, _)| *name == trial.world);
        let (_, text) = found.ok_or_else(|| anyhow::anyhow!("there is no world {}", trial.world))?;
        let mut with = Mechanisms::default();
        (trial.besides)(&mut with);
        let mut without = with;
        (trial.off)(&mut without);
        let figure = |mechanisms| -> anyhow::Result<f64> {
            Ok(round((trial.of)(&rehearse(
                text,
                &Options { seed, shrink, mechanisms, ..Options::default() },
            )?)))
        };
        let (with, without) = (figure(with)?, figure(without)?);
        let is_worse = if trial.more_is_better { without < with } else { without > with };
        rows.push(json!({
            "mechanism": trial.mechanism,
            "world": trial.world,
            "figure": trial.figure,
            "with": with,
            "without": without,
            "worse": is_worse,
        }));
    }
    Ok(Value::Array(rows))
}
