//! One world, played by the engine's policy and by a static configuration.

use serde_json::{Value, json};
use simulator::{Mode, Options, Report, rehearse};

/// The part of what can be delivered by which speed is measured: the last tenth is greylists and full mailboxes.
const MEASURED: f64 = 0.9;

/// Decisions that are shown.
const DECISIONS_SHOWN: usize = 40;

/// Plays `text` both ways.
pub(crate) fn play(text: &str, seed: Option<u64>, shrink: u64) -> anyhow::Result<Value> {
    let options = |mode| Options { seed, mode, shrink, ..Options::default() };
    let brain = rehearse(text, &options(Mode::Brain))?;
    let fixed = rehearse(text, &options(Mode::Static))?;
    let per_hour = delivered_per_hour(&brain, &fixed);
    let bad = brain.campaigns.iter().filter(|campaign| campaign.stopped);
    let exposed = bad.map(|campaign| campaign.exposed as f64 / campaign.recipients.max(1) as f64);
    Ok(json!({
        "name": brain.name,
        "hidden_limits": brain.hidden_limits,
        "recipients": brain.books.accepted,
        "delivered_ratio": round(per_hour.0 / per_hour.1.max(1e-9)),
        "delivered_per_hour": { "brain": per_hour.0.round(), "static": per_hour.1.round() },
        "rate_limit_reply_share": round(brain.attempts.rate_limit_reply_share),
        "limits": brain.limits,
        "fairness": brain.fairness,
        "stopped_campaign_exposure": exposed.map(round).collect::<Vec<_>>(),
        "lost": brain.books.lost + fixed.books.lost,
        "balanced": brain.books.balanced && fixed.books.balanced,
        "brain": summary(&brain),
        "static": summary(&fixed),
    }))
}

fn summary(report: &Report) -> Value {
    json!({
        "books": report.books,
        "attempts": report.attempts,
        "speed": report.speed,
        "classes": report.classes,
        "campaigns": report.campaigns,
        "providers": report.providers.iter().map(|provider| json!({
            "name": provider.name,
            "delivered": provider.delivered,
            "attempts": provider.attempts,
            "rate_limited": provider.rate_limited,
            "blocked": provider.blocked,
            "finish_s": provider.finish_s,
            "by_minute": provider.by_minute,
        })).collect::<Vec<_>>(),
        "decisions": report.decisions.iter().take(DECISIONS_SHOWN).collect::<Vec<_>>(),
    })
}

/// Recipients an hour, of both: counted over the campaigns that neither of them stopped, to the
/// moment when nine tenths of what the better one delivers had been delivered, or to the end where that never was.
fn delivered_per_hour(brain: &Report, fixed: &Report) -> (f64, f64) {
    let counted: Vec<bool> = brain
        .campaigns
        .iter()
        .zip(&fixed.campaigns)
        .map(|(one, other)| !(one.stopped || other.stopped))
        .collect();
    // Streams flow as they are written, whoever sends them; where there is nothing else, they are what counts.
    let has_campaigns = counted.contains(&true);
    let counts =
        |report: &Report| report.curve(|batch| counted.get(batch).copied().unwrap_or(!has_campaigns));
    let (ours, theirs) = (counts(brain), counts(fixed));
    let goal = (ours.total().max(theirs.total()) as f64 * MEASURED).ceil() as u64;
    (ours.per_hour(goal), theirs.per_hour(goal))
}

/// Four digits behind the point: what the figures are good for.
pub(crate) fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
