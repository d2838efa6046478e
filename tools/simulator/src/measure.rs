//! What a rehearsal is judged by: counts by the minute and provider, latencies by class, shares of those who wait
//! together, how much of a list a campaign has shown. It decides nothing.

use std::time::Duration;

use mail::{Class, RecipientId};
use queue::{FlowKey, PathKey, Queue};
use world::{Cause, Feedback, FeedbackKind};

use crate::clock::{Clock, Moment};
use crate::fairness::Fairness;
use crate::invariants::Watch;
use crate::letters::{Fate, Letters};
use crate::script::Script;
use crate::stage::Event;

/// Seconds of one step of the curve of deliveries.
pub(crate) const STEP_S: u64 = 10;
/// Decisions that are kept.
const DECISIONS_MAX: usize = 1000;

/// What happened at one provider in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Minute {
    /// Recipients that it has answered for, and connections that it has refused.
    pub(crate) attempts: u32,
    /// Of those, how many it called too fast or too many.
    pub(crate) too_fast: u32,
    pub(crate) delivered: u32,
    /// Of the attempts, how many its limits have let through: taken, or refused for the recipient's sake.
    pub(crate) passed: u32,
    /// Of the attempts, how many were put off because of who sends.
    pub(crate) disliked: u32,
    /// And how many were refused because the sender is blocked.
    pub(crate) blocked: u32,
    /// Seconds of it in which somebody waited for the provider.
    pub(crate) backlog_s: u32,
}

impl Minute {
    fn add(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.too_fast += other.too_fast;
        self.delivered += other.delivered;
        self.passed += other.passed;
        self.disliked += other.disliked;
        self.blocked += other.blocked;
        self.backlog_s += other.backlog_s;
    }
}

/// All that is counted.
#[derive(Debug)]
pub(crate) struct Measure {
    /// Per provider of the configuration, per minute.
    pub(crate) minutes: Vec<Vec<Minute>>,
    /// Milliseconds from hand-over to delivery, by class.
    pub(crate) latencies: [Vec<u32>; 4],
    accepted_ms: Vec<u32>,
    class_of: Vec<Class>,
    /// Per batch: recipients delivered in each step of [`STEP_S`].
    pub(crate) delivered_by_step: Vec<Vec<u32>>,
    /// Per provider of the configuration: when its last recipient of a campaign came to an end; of a stream, where there are no
    /// campaigns.
    pub(crate) finished: Vec<Moment>,
    provider_of: Vec<u16>,
    pub(crate) fairness: Fairness,
    pub(crate) watch: Watch,
    pub(crate) complaints: u64,
    /// What was decided, oldest first.
    pub(crate) decisions: Vec<String>,
}

impl Measure {
    pub(crate) fn new(script: &Script, letters: &Letters) -> Self {
        let ids = || (0..letters.count() as u32).map(crate::letters::id_of);
        Self {
            minutes: vec![Vec::new(); script.provider_names.len()],
            latencies: Default::default(),
            accepted_ms: vec![0; letters.count() as usize],
            class_of: ids().map(|id| letters.batch(id).class).collect(),
            delivered_by_step: vec![Vec::new(); letters.batches.len()],
            finished: vec![Moment(0); script.provider_names.len()],
            provider_of: ids().map(|id| script.provider_of(letters.provider(id))).collect(),
            fairness: Fairness::new(script.weights()),
            watch: Watch::default(),
            complaints: 0,
            decisions: Vec::new(),
        }
    }

    pub(crate) fn accepted(&mut self, id: RecipientId, at: Moment) {
        self.accepted_ms[crate::letters::index_of(id)] = (at.0 / 1000) as u32;
    }

    fn minute(&mut self, provider: u16, at: Moment) -> &mut Minute {
        let minutes = &mut self.minutes[usize::from(provider)];
        if minutes.len() <= at.minute() {
            minutes.resize(at.minute() + 1, Minute::default());
        }
        &mut minutes[at.minute()]
    }

    /// A provider has answered for a recipient, or refused a connection.
    pub(crate) fn answered(&mut self, clock: &Clock<Event>, key: PathKey, cause: Option<Cause>) {
        let minute = self.minute(key.provider, clock.moment());
        minute.attempts += 1;
        minute.too_fast += u32::from(cause.is_some_and(is_rate));
        minute.passed += u32::from(cause.is_none_or(is_of_recipient));
        minute.disliked += u32::from(matches!(cause, Some(Cause::LowStanding | Cause::IdentityLowStanding)));
        minute.blocked += u32::from(matches!(cause, Some(Cause::Blocked | Cause::IdentityBlocked)));
    }

    pub(crate) fn delivered(&mut self, clock: &Clock<Event>, key: PathKey, batch: usize) {
        let now = clock.moment();
        self.minute(key.provider, now).delivered += 1;
        let (step, steps) = ((now.0 / 1_000_000 / STEP_S) as usize, &mut self.delivered_by_step[batch]);
        if steps.len() <= step {
            steps.resize(step + 1, 0);
        }
        steps[step] += 1;
    }

    /// A second is over.
    pub(crate) fn tick(&mut self, queue: &Queue, clock: &Clock<Event>, is_paused: impl Fn(&FlowKey) -> bool) {
        let now = clock.moment();
        let mut waits: Vec<u16> = Vec::new();
        for path in queue.paths() {
            self.watch.tick(&path);
            let is_waited_for = path.ready.iter().any(|&ready| ready > 0);
            if is_waited_for && !waits.contains(&path.key.provider) {
                waits.push(path.key.provider);
            }
        }
        waits.into_iter().for_each(|provider| self.minute(provider, now).backlog_s += 1);
        if now.0 % 60_000_000 < 1_000_000 {
            self.fairness.minute(is_paused);
        }
    }

    /// Somebody has complained, or read.
    pub(crate) fn heard(&mut self, word: &Feedback) {
        self.complaints += u64::from(word.kind == FeedbackKind::Complaint);
    }

    pub(crate) fn told(&mut self, decision: String) {
        if self.decisions.len() < DECISIONS_MAX {
            self.decisions.push(decision);
        }
    }

    /// A recipient's story ends; `counts` says whether it is one of those whose end is awaited.
    pub(crate) fn finished(&mut self, id: RecipientId, fate: Fate, counts: bool, at: Moment) {
        let index = crate::letters::index_of(id);
        if counts {
            let place = &mut self.finished[usize::from(self.provider_of[index])];
            *place = at.max(*place);
        }
        if fate == Fate::Delivered {
            let waited = ((at.0 / 1000) as u32).saturating_sub(self.accepted_ms[index]);
            self.latencies[self.class_of[index].index()].push(waited);
        }
    }

    /// The sums over all providers from `from` on.
    pub(crate) fn sums(&self, from: Duration) -> Minute {
        let skipped = (from.as_secs() / 60) as usize;
        let mut sum = Minute::default();
        for minutes in &self.minutes {
            minutes.iter().skip(skipped).for_each(|&minute| sum.add(minute));
        }
        sum
    }
}

/// Whether a refusal says that too much came at once.
pub(crate) const fn is_rate(cause: Cause) -> bool {
    matches!(cause, Cause::TooFast | Cause::IdentityTooFast | Cause::QuotaUsed | Cause::TooManyConnections)
}

/// Whether a refusal is about the recipient or the message alone.
const fn is_of_recipient(cause: Cause) -> bool {
    use Cause::{ContentRefused, Greylisted, MailboxAbandoned, MailboxBusy, MailboxFull, UnknownUser};
    matches!(cause, Greylisted | UnknownUser | MailboxFull | MailboxAbandoned | MailboxBusy | ContentRefused)
}

/// The value below which `share` of the numbers lie, which are sorted for it; 0 of none.
pub(crate) fn quantile(numbers: &mut [u32], share: f64) -> u32 {
    numbers.sort_unstable();
    let Some(last) = numbers.len().checked_sub(1) else { return 0 };
    numbers[(last as f64 * share).round() as usize]
}
