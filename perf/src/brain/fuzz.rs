//! Thousands of random worlds: whatever a world does, nobody is lost, nobody has two ends, budgets hold, and everything
//! comes to an end.

use policy::source::mixed;
use serde_json::{Value, json};
use simulator::{Options, Report, rehearse};
use world::World;

use crate::crowd;

/// Faults that are named one by one; of more only the number is told.
const NAMED_MAX: usize = 20;

/// Plays `count` worlds.
pub(crate) fn play(seed: u64, count: u64) -> Value {
    let played = crowd::each(count, |round| {
        let number = mixed(seed ^ mixed(round)) >> 32;
        let (recipients, faults) = match rehearse(&World::random(number), &Options::default()) {
            Ok(report) => (report.books.accepted, broken(&report)),
            Err(fault) => (0, vec![fault.to_string()]),
        };
        (recipients, faults.into_iter().map(|what| format!("world {number}: {what}")).collect::<Vec<_>>())
    });
    let recipients: u64 = played.iter().map(|(recipients, _)| recipients).sum();
    let faults: Vec<String> = played.into_iter().flat_map(|(_, faults)| faults).collect();
    let named: Vec<_> = faults.iter().take(NAMED_MAX).collect();
    json!({ "worlds": count, "recipients": recipients, "faults": faults.len(), "first_faults": named })
}

/// What does not hold in a world that was played.
fn broken(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    let books = &report.books;
    if books.lost > 0 || !books.balanced {
        broken.push(format!("the books do not balance: {books:?}"));
    }
    if report.invariants.rate_exceeded > 0 || report.invariants.connections_exceeded > 0 {
        broken.push(format!("a budget was exceeded: {:?}", report.invariants));
    }
    if report.invariants.starved > 0 {
        broken.push(format!("{} waited although nothing stood in their way", report.invariants.starved));
    }
    if report.invariants.finished_twice > 0 {
        broken.push(format!("{} had two ends", report.invariants.finished_twice));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_worlds_break_nothing() {
        let proof = play(7, 3);
        assert_eq!(proof["faults"], 0, "{proof}");
    }
}
