//! Cold addresses and a new sender climbing their ladders, seed by seed: whether they reach their volume without being
//! blocked.

use serde_json::{Value, json};
use simulator::{Options, rehearse};

use crate::crowd;

/// The shipped world of thirty days.
const WORLD: &str = "warm-up";
/// What its last days ask for, in recipients a day.
const TARGET: u64 = 28_800;
/// This much of it is reached when a full day delivers it: a few go to mailboxes that do not exist.
const REACHED: f64 = 0.95;
const DAY_STEPS: usize = 8640;

/// Plays `seeds` seeds.
pub(crate) fn play(seeds: u64) -> anyhow::Result<Value> {
    let found = world::World::shipped().iter().find(|(name, _)| *name == WORLD);
    let (_, text) = found.ok_or_else(|| anyhow::anyhow!("there is no world {WORLD}"))?;
    let (mut reached, mut blocked, mut days) = (0_u64, 0_u64, Vec::new());
    let options = |seed| Options { seed: Some(seed), ..Options::default() };
    for report in crowd::each(seeds, |before| rehearse(text, &options(before + 1))) {
        let report = report?;
        let day = report.curve(|_| true).first_span(DAY_STEPS, (TARGET as f64 * REACHED) as u64);
        blocked += u64::from(report.attempts.blocked > 0);
        reached += u64::from(day.is_some() && report.attempts.blocked == 0);
        days.extend(day.map(|day| day + 1));
    }
    days.sort_unstable();
    Ok(json!({
        "world": WORLD,
        "seeds": seeds,
        "reached": reached,
        "blocked": blocked,
        "target": TARGET,
        "days": days.get(days.len() / 2),
    }))
}
