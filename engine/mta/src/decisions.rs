//! What the engine has decided by itself, each with its reason: the latest few thousand, for people and programs that
//! follow them. It decides nothing and keeps nothing over a restart: whatever a decision has changed is kept elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mail::UnixMs;
use serde::Serialize;
use tokio::sync::watch;

/// Decisions that are kept: an hour of an engine with a hundred restless paths.
const KEPT_MAX: usize = 4096;

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Its place in the feed: it grows with every decision, over restarts too.
    pub number: u64,
    /// When it was made.
    #[serde(skip)]
    pub at: UnixMs,
    /// What kind of decision it is, a stable dotted word such as `budget.rate` or `campaign.paused`.
    pub kind: &'static str,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// What held before; empty where nothing did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// What holds now; empty where there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Why, as a sentence.
    pub reason: String,
    /// The numbers that it was decided by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<&'static str, f64>,
}

/// What a decision is about; what it does not concern is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// Name of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Name of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Hosts of the site, where the provider is only a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The campaign's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The sender's domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// The latest decisions.
#[derive(Debug)]
pub(crate) struct Decisions {
    ring: Mutex<Ring>,
    told: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    kept: VecDeque<Decision>,
    next: u64,
}

impl Decisions {
    /// None yet. The numbers begin with the milliseconds of the start, which no earlier run has come to.
    pub(crate) fn new(started: UnixMs) -> Self {
        let ring = Ring { kept: VecDeque::new(), next: started.0 };
        Self { ring: Mutex::new(ring), told: watch::Sender::new(0) }
    }

    /// Keeps a decision, gives it its number and says it in the log.
    pub(crate) fn add(&self, mut decision: Decision) {
        let Decision { kind, about, from, to, reason, .. } = &decision;
        let said = about.words();
        tracing::info!(kind, about = said, from, to, reason, "decided");
        let mut ring = self.lock();
        decision.number = ring.next;
        ring.next += 1;
        if ring.kept.len() >= KEPT_MAX {
            ring.kept.pop_front();
        }
        ring.kept.push_back(decision);
        drop(ring);
        self.told.send_modify(|count| *count += 1);
    }

    /// Up to `max` decisions from `number` on, oldest first, and the number to go on with.
    pub(crate) fn from(&self, number: u64, max: usize) -> (Vec<Decision>, u64) {
        let ring = self.lock();
        let first = ring.kept.partition_point(|decision| decision.number < number);
        let found: Vec<Decision> = ring.kept.iter().skip(first).take(max).cloned().collect();
        let next = found.last().map_or(number.min(ring.next), |last| last.number + 1);
        (found, next)
    }

    /// The number that the next decision will have.
    pub(crate) fn next(&self) -> u64 {
        self.lock().next
    }

    /// Wakes its receivers when there are new decisions.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Nothing panics half-way: a poisoned lock guards a whole ring.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl About {
    /// All that is stated, in one line.
    fn words(&self) -> String {
        let Self { source, provider, site, campaign, account, identity } = self;
        let parts = [source, provider, site, campaign, account, identity];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" → ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(reason: &str) -> Decision {
        Decision {
            number: 0,
            at: UnixMs(1),
            kind: "budget.rate",
            about: About::default(),
            from: String::new(),
            to: String::new(),
            reason: reason.to_owned(),
            figures: BTreeMap::new(),
        }
    }

    #[test]
    fn decisions_are_read_once_each_and_in_order() {
        let decisions = Decisions::new(UnixMs(1000));
        for n in 0..5 {
            decisions.add(decision(&n.to_string()));
        }
        let (first, next) = decisions.from(0, 3);
        assert_eq!(first.iter().map(|one| one.number).collect::<Vec<_>>(), [1000, 1001, 1002]);
        let (rest, next) = decisions.from(next, 3);
        assert_eq!((rest.len(), next), (2, 1005));
        assert_eq!(decisions.from(next, 3), (Vec::new(), 1005));
    }

    #[test]
    fn the_oldest_are_forgotten_and_a_cursor_of_another_run_is_no_trap() {
        let decisions = Decisions::new(UnixMs(0));
        for n in 0..KEPT_MAX + 10 {
            decisions.add(decision(&n.to_string()));
        }
        let (first, _) = decisions.from(3, 1);
        assert_eq!(first[0].number, 10);
        let (none, next) = decisions.from(u64::MAX, 1);
        assert_eq!((none.len(), next), (0, decisions.next()));
    }
}
