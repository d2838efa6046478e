//! How the demo ended, from four sides that know nothing of each other: who sent, the books, the events, who received.

use std::time::Duration;

use mail::Ledger;
use mta::Counters;

use super::load::Sent;
use super::observe::Observer;
use super::stage::Stage;
use crate::receiver::Tally;

/// Everything that is known at the end.
pub(super) struct Outcome {
    pub(super) elapsed: Duration,
    /// Recipients that the load generator has acknowledgements for.
    pub(super) submitted: u64,
    pub(super) list_per_second: f64,
    pub(super) ledger: Ledger,
    /// Recipients that the queue holds, by its own count.
    pub(super) waiting: u64,
    pub(super) counters: Counters,
    pub(super) observer: Observer,
    pub(super) tally: Tally,
    pub(super) providers: Vec<(String, world::Counters)>,
}

/// One comparison of two sides.
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) holds: bool,
    pub(super) figures: String,
}

impl Outcome {
    /// What the engine says of itself.
    pub(super) fn new(stage: &Stage, sent: &Sent, observer: Observer, elapsed: Duration) -> Self {
        let handle = stage.handle();
        let waiting = stage.block_on(handle.waiting());
        Self {
            elapsed,
            submitted: sent.all(),
            list_per_second: sent.list_per_second(),
            ledger: handle.ledger(),
            waiting: waiting.scheduled + waiting.ready + waiting.held + waiting.resolving,
            counters: handle.counters(),
            observer,
            tally: Tally::default(),
            providers: Vec::new(),
        }
    }

    /// Adds what the providers have counted.
    pub(super) fn with_receiver(self, tally: Tally, providers: Vec<(String, world::Counters)>) -> Self {
        Self { tally, providers, ..self }
    }

    /// The comparisons.
    pub(super) fn checks(&self) -> Vec<Check> {
        let ledger = &self.ledger;
        let arrived = self.tally.recipients - self.tally.duplicates;
        let check = |what, holds, figures| Check { what, holds, figures };
        vec![
            check(
                "all that was submitted was accepted, and notices of failure",
                ledger.accepted == self.submitted + self.counters.notices,
                format!("{} + {} = {}", self.submitted, self.counters.notices, ledger.accepted),
            ),
            check(
                "accepted = delivered + bounced + expired + cancelled + queued",
                ledger.finished() + self.waiting == ledger.accepted,
                format!(
                    "{} = {} + {} + {} + {} + {}",
                    ledger.accepted,
                    ledger.delivered,
                    ledger.bounced,
                    ledger.expired,
                    ledger.cancelled,
                    self.waiting
                ),
            ),
            check(
                "every final outcome is told once",
                self.observer.finished() == ledger.finished(),
                format!("{} of {}", self.observer.finished(), ledger.finished()),
            ),
            check(
                "the providers have what was delivered",
                arrived >= ledger.delivered && arrived <= ledger.delivered + ledger.unknown_retries,
                format!("{arrived} of {}", ledger.delivered),
            ),
        ]
    }

    /// Whether all comparisons hold.
    pub(super) fn balances(&self) -> bool {
        self.checks().iter().all(|check| check.holds)
    }
}
