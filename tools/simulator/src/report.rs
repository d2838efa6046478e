//! What came of a rehearsal, in figures. Nothing is decided here.

use std::time::Duration;

use mail::Class;
use serde::Serialize;

use crate::capacity;
use crate::clock::Moment;
use crate::invariants::Invariants;
use crate::letters::Fate;
use crate::measure::{Minute, STEP_S, quantile};
use crate::script::Mode;
use crate::stage::Stage;

/// Before this, learning has had no time: rate replies are not held against it.
const LEARNING: Duration = Duration::from_secs(600);
/// The part of what can be delivered at all by which speed is measured: the last tenth is full mailboxes and the like.
const MEASURED: f64 = 0.9;

/// One rehearsal.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The world.
    pub name: String,
    /// Whether the world says that its limits are not what is documented, or change.
    pub hidden_limits: bool,
    /// `brain` or `static`.
    pub mode: &'static str,
    /// Where the books stand.
    pub books: Books,
    /// Attempts and what they met.
    pub attempts: Attempts,
    /// How fast it went.
    pub speed: Speed,
    /// By class: how long recipients waited.
    pub classes: Vec<ClassReport>,
    /// By provider.
    pub providers: Vec<ProviderReport>,
    /// By campaign.
    pub campaigns: Vec<CampaignReport>,
    /// Shares of those who waited together.
    pub fairness: FairnessReport,
    /// What did not hold.
    pub invariants: Invariants,
    /// How soon the limits of providers were found.
    pub limits: Vec<LimitFound>,
    /// What was decided, oldest first, at most a thousand.
    pub decisions: Vec<String>,
    /// Recipients delivered in each step of ten seconds, by campaign and stream.
    #[serde(skip)]
    curves: Vec<Vec<u32>>,
}

impl Report {
    /// The curve of what was delivered of the campaigns and streams (in this order, each in that of the file) that `counts` names.
    #[must_use]
    pub fn curve(&self, counts: impl Fn(usize) -> bool) -> Curve {
        let mut sums = Vec::new();
        for (_, steps) in self.curves.iter().enumerate().filter(|(batch, _)| counts(*batch)) {
            sums.resize(steps.len().max(sums.len()), 0);
            sums.iter_mut().zip(steps).for_each(|(sum, &step)| *sum += u64::from(step));
        }
        Curve { steps: sums, length_s: self.speed.virtual_s }
    }
}

/// Deliveries over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    steps: Vec<u64>,
    length_s: f64,
}

impl Curve {
    /// Recipients delivered in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.steps.iter().sum()
    }

    /// The first span of so many steps of ten seconds in which at least so many were delivered.
    #[must_use]
    pub fn first_span(&self, steps: usize, recipients: u64) -> Option<usize> {
        self.steps.chunks(steps.max(1)).position(|span| span.iter().sum::<u64>() >= recipients)
    }

    /// Hours, and recipients delivered by then.
    #[must_use]
    pub fn points(&self) -> Vec<(f64, f64)> {
        let mut sum = 0;
        let point = |(step, &delivered): (u64, &u64)| {
            sum += delivered;
            ((step * STEP_S) as f64 / 3600.0, sum as f64)
        };
        (1_u64..).zip(&self.steps).map(point).collect()
    }

    /// Recipients per hour until `goal` of them were delivered; until the end where that was never so.
    #[must_use]
    pub fn per_hour(&self, goal: u64) -> f64 {
        let mut sum = 0;
        for (steps, &delivered) in (1_u64..).zip(&self.steps) {
            sum += delivered;
            if sum >= goal {
                return sum as f64 * 3600.0 / (steps * STEP_S) as f64;
            }
        }
        sum as f64 * 3600.0 / self.length_s.max(1.0)
    }
}

/// How soon a limit of a provider, all sources together, was used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitFound {
    /// The provider.
    pub provider: String,
    /// Since when the limit holds, in seconds.
    pub since_s: u64,
    /// What it lets through, in recipients a second.
    pub per_s: f64,
    /// Seconds from the first minute since then in which mail waited, to one in which 85 % of it was used; absent when it
    /// never was.
    pub used_after_s: Option<u64>,
    /// The share of it that was used in the minutes after that in which somebody waited.
    pub used_share: f64,
}

/// The books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Recipients handed over.
    pub accepted: u64,
    /// Taken by their provider.
    pub delivered: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Given up.
    pub expired: u64,
    /// Withdrawn: their campaign was stopped.
    pub cancelled: u64,
    /// Still waiting at the end.
    pub queued: u64,
    /// Of those that wait, how many are nowhere.
    pub lost: u64,
    /// Whether accepted is the sum of the rest and nothing is lost.
    pub balanced: bool,
}

/// Attempts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attempts {
    /// Answers to recipients, and connections refused.
    pub total: u64,
    /// Of those, refused because too much came at once.
    pub rate_limited: u64,
    /// The share of those after the first ten minutes.
    pub rate_limit_reply_share: f64,
    /// Put off because of who sends.
    pub disliked: u64,
    /// Refused because the sender is blocked.
    pub blocked: u64,
    /// Complaints heard.
    pub complaints: u64,
}

/// Speed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// How long the rehearsal took in virtual time, in seconds.
    pub virtual_s: f64,
    /// Seconds until nine tenths of what was handed over had been delivered; absent when it never was.
    pub nine_tenths_s: Option<f64>,
    /// When the last recipient of the campaigns (of the streams, where there are none) came to an end, in seconds; absent when
    /// some still wait.
    pub finish_s: Option<f64>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub class: &'static str,
    /// Recipients delivered.
    pub delivered: u64,
    /// Milliseconds from hand-over to delivery.
    pub p50_ms: u32,
    /// 99 of 100 were faster.
    pub p99_ms: u32,
    /// The slowest.
    pub max_ms: u32,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProviderReport {
    /// Its name.
    pub name: String,
    /// Recipients delivered.
    pub delivered: u64,
    /// Answers and refused connections.
    pub attempts: u64,
    /// Refused because too much came at once.
    pub rate_limited: u64,
    /// Put off because of who sends, or refused because it is blocked.
    pub blocked: u64,
    /// When its last recipient of the campaigns (of the streams, where there are none) came to an end, in seconds.
    pub finish_s: f64,
    /// Recipients delivered in each minute.
    #[serde(skip)]
    pub by_minute: Vec<u32>,
}

/// One campaign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CampaignReport {
    /// Its name.
    pub name: String,
    /// Its list.
    pub recipients: u64,
    /// Of those, how many were offered to a provider at least once.
    pub exposed: u64,
    /// Delivered.
    pub delivered: u64,
    /// Whether it was stopped.
    pub stopped: bool,
}

/// Shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FairnessReport {
    /// The least share of its due that anybody had in a minute in which it waited throughout.
    pub least: f64,
    /// Shares judged.
    pub judged: u64,
    /// Of those, below nine tenths.
    pub unfair: u64,
}

pub(crate) fn report(stage: &mut Stage, name: &str) -> Report {
    let end = stage.clock.moment();
    Report {
        name: name.to_owned(),
        hidden_limits: stage.world.about().hidden_limits,
        mode: if stage.script.mode == Mode::Brain { "brain" } else { "static" },
        books: books(stage),
        attempts: attempts(stage),
        speed: speed(stage, end),
        classes: classes(stage),
        providers: providers(stage),
        campaigns: campaigns(stage),
        fairness: FairnessReport {
            least: stage.measure.fairness.least,
            judged: stage.measure.fairness.judged,
            unfair: stage.measure.fairness.unfair,
        },
        invariants: stage.measure.watch.broken,
        limits: limits(stage),
        decisions: std::mem::take(&mut stage.measure.decisions),
        curves: std::mem::take(&mut stage.measure.delivered_by_step),
    }
}

fn books(stage: &Stage) -> Books {
    let of = |fate| stage.letters.of(fate);
    let (delivered, bounced, expired, cancelled, queued) =
        (of(Fate::Delivered), of(Fate::Bounced), of(Fate::Expired), of(Fate::Cancelled), of(Fate::Waiting));
    let accepted = stage.letters.count() - of(Fate::Unsent);
    let found =
        stage.queue.totals().waiting() + stage.lines.under_way() + stage.mind.stopped.tickets.len() as u64;
    let lost = queued.abs_diff(found);
    let sum = delivered + bounced + expired + cancelled + queued;
    Books {
        accepted,
        delivered,
        bounced,
        expired,
        cancelled,
        queued,
        lost,
        balanced: lost == 0 && sum == accepted,
    }
}

fn attempts(stage: &Stage) -> Attempts {
    let (all, later) = (stage.measure.sums(Duration::ZERO), stage.measure.sums(LEARNING));
    Attempts {
        total: all.attempts.into(),
        rate_limited: all.too_fast.into(),
        rate_limit_reply_share: f64::from(later.too_fast) / f64::from(later.attempts.max(1)),
        disliked: all.disliked.into(),
        blocked: all.blocked.into(),
        complaints: stage.measure.complaints,
    }
}

fn speed(stage: &Stage, end: Moment) -> Speed {
    let goal = (stage.letters.count() as f64 * MEASURED) as u64;
    let last = stage.measure.finished.iter().max().copied().unwrap_or_default();
    let is_done = stage.letters.waiting(|batch| stage.letters.is_awaited(batch)) == 0;
    Speed {
        virtual_s: end.since(Moment(0)).as_secs_f64(),
        nine_tenths_s: time_to_deliver(stage, goal, last.since(Moment(0)).as_secs_f64()),
        finish_s: is_done.then(|| last.since(Moment(0)).as_secs_f64()),
    }
}

/// Seconds until `count` recipients had been delivered; within a step they are taken to be evenly spread. The last outcome
/// was `last_s` after the beginning.
fn time_to_deliver(stage: &Stage, count: u64, last_s: f64) -> Option<f64> {
    let curves = &stage.measure.delivered_by_step;
    let steps = curves.iter().map(Vec::len).max().unwrap_or(0);
    let mut sum = 0;
    for step in 0..steps {
        let delivered: u64 =
            curves.iter().filter_map(|curve| curve.get(step)).map(|&delivered| u64::from(delivered)).sum();
        if sum + delivered >= count {
            let part = (count - sum) as f64 / delivered.max(1) as f64;
            let from = step as f64 * STEP_S as f64;
            return Some(from + part * (last_s - from).clamp(0.0, STEP_S as f64));
        }
        sum += delivered;
    }
    None
}

fn limits(stage: &Stage) -> Vec<LimitFound> {
    let mut found = Vec::new();
    for index in stage.script.played() {
        let provider = stage.script.worlds[usize::from(index)];
        let changes = stage.world.limit_changes(provider);
        for (number, &since) in changes.iter().enumerate() {
            let until = changes.get(number + 1).copied();
            let Some(per_s) = capacity::of(stage, provider, since) else { continue };
            let minutes = &stage.measure.minutes[usize::from(index)];
            let (from, to) = (minute(since), until.map_or(minutes.len(), minute).min(minutes.len()));
            let Some(span) = minutes.get(from..to) else { continue };
            found.extend(limit_found(stage, index, (since.as_secs(), per_s), span));
        }
    }
    found
}

const fn minute(time: Duration) -> usize {
    (time.as_secs() / 60) as usize
}

/// How soon the minutes of a span used a limit; `None` when nobody waited long enough to use it.
fn limit_found(
    stage: &Stage,
    index: u16,
    (since_s, per_s): (u64, f64),
    span: &[Minute],
) -> Option<LimitFound> {
    let is_waited_for = |minute: &Minute| minute.backlog_s >= 59;
    let waited = span.iter().filter(|minute| is_waited_for(minute)).count();
    if waited < 15 {
        return None;
    }
    let share = |minute: &Minute| f64::from(minute.passed) / (per_s * 60.0);
    let wanted = span.iter().position(is_waited_for).unwrap_or(0);
    let first = span.iter().position(|minute| share(minute) >= 0.85);
    let later = span[first.unwrap_or(0)..].iter().filter(|minute| is_waited_for(minute));
    let shares: Vec<f64> = later.map(share).collect();
    Some(LimitFound {
        provider: stage.script.provider_names[usize::from(index)].clone(),
        since_s,
        per_s,
        used_after_s: first.map(|minutes| (minutes.saturating_sub(wanted) as u64 + 1) * 60),
        used_share: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
    })
}

fn classes(stage: &mut Stage) -> Vec<ClassReport> {
    let latencies = &mut stage.measure.latencies;
    let report = |class: Class| {
        let waits = &mut latencies[class.index()];
        let delivered = waits.len() as u64;
        let [p50_ms, p99_ms, max_ms] = [0.5, 0.99, 1.0].map(|share| quantile(waits, share));
        ClassReport { class: class.name(), delivered, p50_ms, p99_ms, max_ms }
    };
    Class::ALL.map(report).into_iter().filter(|class| class.delivered > 0).collect()
}

fn providers(stage: &Stage) -> Vec<ProviderReport> {
    let report = |index: u16| {
        let index = usize::from(index);
        let minutes = &stage.measure.minutes[index];
        let sum = |of: fn(&Minute) -> u32| minutes.iter().map(|minute| u64::from(of(minute))).sum();
        ProviderReport {
            name: stage.script.provider_names[index].clone(),
            delivered: sum(|minute| minute.delivered),
            attempts: sum(|minute| minute.attempts),
            rate_limited: sum(|minute| minute.too_fast),
            blocked: sum(|minute| minute.disliked + minute.blocked),
            finish_s: stage.measure.finished[index].since(Moment(0)).as_secs_f64(),
            by_minute: minutes.iter().map(|minute| minute.delivered).collect(),
        }
    };
    stage.script.played().map(report).collect()
}

fn campaigns(stage: &Stage) -> Vec<CampaignReport> {
    let batches = stage.letters.batches.iter();
    batches
        .filter_map(|batch| Some((batch, batch.campaign?)))
        .map(|(batch, id)| CampaignReport {
            name: batch.name.clone(),
            recipients: batch.count.into(),
            exposed: stage.letters.offered(batch),
            delivered: stage.letters.of_batch(batch, Fate::Delivered),
            stopped: stage.mind.stopped.campaigns.contains(&id),
        })
        .collect()
}
