//! How senders stand with a provider: what makes it better or worse, and what follows from it.
//!
//! Standing is trust times quality. Trust is history: it rises slowly with wanted mail. Quality is what the mail of
//! the last hours was like: one, less the share of each kind of trouble in proportion to what is tolerated of it.

use mail::UnixMs;
use serde::Deserialize;

use crate::units::{Share, Span};

/// Counts are let decay in steps of this part of the half-life.
const STEPS: u64 = 64;
/// What a block leaves of the trouble that led to it when it ends.
const AFTER_BLOCK: f64 = 0.25;
/// What a block leaves of trust.
const TRUST_AFTER_BLOCK: f64 = 0.8;
/// So many mails of one kind of trouble are needed to use up what is tolerated of it, however little mail there was: one complaint,
/// or one trap, says little of a stranger, two say much.
const EVIDENCE: f64 = 2.0;
/// How much milder netblocks are judged.
const NETBLOCK_TOLERANCE: f64 = 3.0;
const NETBLOCK_FEW: f64 = 10.0;
/// What is left each day of a usual volume that is not reached any more.
const USUAL_KEPT: f64 = 0.9;
const DAY_MS: u64 = 86_400_000;
/// A volume that nothing jumps above.
pub(crate) const ANY_VOLUME: u32 = u32::MAX;

/// The rules by which a provider judges senders.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "StatedReputation")]
pub(crate) struct Reputation {
    /// Trust in a stranger.
    pub(crate) start: f64,
    /// Half-life of what is remembered.
    pub(crate) memory: std::time::Duration,
    /// Mails that a judgement rests on: with fewer, each weighs less.
    pub(crate) few: f64,
    /// What trust gains in a day of wanted mail.
    pub(crate) rise: f64,
    /// At these shares of the mail, quality is zero.
    pub(crate) tolerance: Tolerance,
    /// What standings lead to.
    pub(crate) steps: Steps,
    /// Mails a day that are no jump from whomever.
    pub(crate) floor: u32,
    /// How much more than usual in a day is no jump yet.
    pub(crate) growth: f64,
}

/// Shares of trouble at which quality is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tolerance {
    /// Complaints, of mail taken.
    pub(crate) complaints: f64,
    /// Unknown users, of recipients named.
    pub(crate) unknown: f64,
    /// Mail to traps, of mail taken.
    pub(crate) traps: f64,
    /// Attempts against a limit or a block, of all attempts.
    pub(crate) hammering: f64,
    /// Mail beyond the growth allowed for the day, of mail taken.
    pub(crate) jumps: f64,
}

/// What follows from a standing below some marks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Steps {
    /// Limits shrink.
    pub(crate) slow_below: f64,
    /// To this part, where they are deferred.
    pub(crate) least: f64,
    /// The more messages are deferred, the worse it is.
    pub(crate) defer_below: f64,
    /// All is refused.
    pub(crate) block_below: f64,
    /// For so long.
    pub(crate) block: std::time::Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StatedReputation {
    start: Share,
    memory: Span,
    few: u32,
    rise: Share,
    tolerance: StatedTolerance,
    slow_below: Share,
    least: Share,
    defer_below: Share,
    block_below: Share,
    block: Span,
    floor: u32,
    growth: f64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StatedTolerance {
    complaints: Share,
    unknown: Share,
    traps: Share,
    hammering: Share,
    jumps: Share,
}

impl Default for StatedReputation {
    fn default() -> Self {
        Self {
            start: Share(0.6),
            memory: Span(std::time::Duration::from_secs(12 * 3600)),
            few: 300,
            rise: Share(0.1),
            tolerance: StatedTolerance::default(),
            slow_below: Share(0.8),
            least: Share(0.05),
            defer_below: Share(0.3),
            block_below: Share(0.1),
            block: Span(std::time::Duration::from_secs(3600)),
            floor: 500,
            growth: 3.0,
        }
    }
}

impl Default for StatedTolerance {
    /// Large receivers ask for less than 0.1 % of complaints and act at 0.3 %; a list with a tenth of unknown users
    /// was not asked; nobody asks a trap. Hammering alone shrinks limits and blocks nobody who is trusted.
    fn default() -> Self {
        Self {
            complaints: Share(0.006),
            unknown: Share(0.2),
            traps: Share(0.002),
            hammering: Share(0.8),
            jumps: Share(1.0),
        }
    }
}

impl TryFrom<StatedReputation> for Reputation {
    type Error = String;

    fn try_from(stated: StatedReputation) -> Result<Self, String> {
        let marks = [stated.slow_below.0, stated.defer_below.0, stated.block_below.0];
        if marks[0] < marks[1] || marks[1] < marks[2] {
            return Err("slow_below, defer_below and block_below must not rise in this order".to_owned());
        }
        if stated.memory.0.is_zero() || !(1.0..=1e6).contains(&stated.growth) {
            return Err("memory must be above 0s, and growth a number from 1.0".to_owned());
        }
        let tolerance = stated.tolerance;
        // A tolerance of zero stands for one that the first mail exhausts.
        let above_zero = |share: Share| share.0.max(1e-9);
        Ok(Self {
            start: stated.start.0,
            memory: stated.memory.0,
            few: f64::from(stated.few.max(1)),
            rise: stated.rise.0,
            tolerance: Tolerance {
                complaints: above_zero(tolerance.complaints),
                unknown: above_zero(tolerance.unknown),
                traps: above_zero(tolerance.traps),
                hammering: above_zero(tolerance.hammering),
                jumps: above_zero(tolerance.jumps),
            },
            steps: Steps {
                slow_below: marks[0],
                least: stated.least.0.max(0.001),
                defer_below: marks[1],
                block_below: marks[2],
                block: stated.block.0,
            },
            floor: stated.floor,
            growth: stated.growth,
        })
    }
}

impl Reputation {
    /// The rules for netblocks: what one of many addresses does weighs less.
    pub(crate) fn of_netblock(self) -> Self {
        let all = self.tolerance;
        let tolerance = Tolerance {
            complaints: all.complaints * NETBLOCK_TOLERANCE,
            unknown: all.unknown * NETBLOCK_TOLERANCE,
            traps: all.traps * NETBLOCK_TOLERANCE,
            hammering: all.hammering * NETBLOCK_TOLERANCE,
            jumps: all.jumps * NETBLOCK_TOLERANCE,
        };
        Self { few: self.few * NETBLOCK_FEW, tolerance, ..self }
    }
}

impl Steps {
    /// To which part limits shrink at this standing.
    pub(crate) fn factor(&self, standing: f64) -> f64 {
        if standing >= self.slow_below {
            return 1.0;
        }
        let span = self.slow_below - self.defer_below;
        let way = if span > 0.0 { ((standing - self.defer_below) / span).clamp(0.0, 1.0) } else { 0.0 };
        self.least + (1.0 - self.least) * way
    }

    /// Which share of messages is deferred at this standing.
    pub(crate) fn deferred(&self, standing: f64) -> f64 {
        if standing >= self.defer_below {
            return 0.0;
        }
        let span = self.defer_below - self.block_below;
        if span > 0.0 { ((self.defer_below - standing) / span).min(1.0) } else { 1.0 }
    }
}

/// What a sender did that a provider remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Mail was taken; whether it went to a trap.
    Mail {
        trap: bool,
    },
    Complaint,
    UnknownUser,
    /// An attempt against a limit or a block.
    Hammering,
}

/// How one address, netblock or identity stands with a provider.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    trust: f64,
    counts: Counts,
    /// When the counts decayed last.
    as_of_ms: u64,
    blocked_until_ms: u64,
    history: History,
}

/// Decayed counts.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    mail: f64,
    complaints: f64,
    unknown: f64,
    traps: f64,
    hammering: f64,
    jumps: f64,
}

/// Volume by days from the beginning of the world.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    day: u32,
    today: u32,
    usual: u32,
}

impl Standing {
    /// Of somebody who is trusted so much and is known for such a volume.
    pub(crate) fn new(trust: f64, usual: u32, now: UnixMs) -> Self {
        let history = History { usual, ..History::default() };
        Self { trust, as_of_ms: now.0, history, ..Self::default() }
    }

    /// The standing: 0 is the worst, 1 the best.
    pub(crate) fn score(&self, rules: &Reputation) -> f64 {
        self.trust * self.counts.quality(rules)
    }

    /// Mail of the last hours, about.
    pub(crate) const fn mail(&self) -> f64 {
        self.counts.mail
    }

    pub(crate) const fn blocked_until(&self) -> Option<UnixMs> {
        if self.blocked_until_ms == 0 { None } else { Some(UnixMs(self.blocked_until_ms)) }
    }

    /// Lets time pass: counts decay, a block ends, trust moves, days go by.
    pub(crate) fn pass(&mut self, rules: &Reputation, now: UnixMs, age_ms: u64) {
        let memory_ms = rules.memory.as_millis().max(1) as u64;
        let passed_ms = now.0.saturating_sub(self.as_of_ms);
        if passed_ms >= (memory_ms / STEPS).max(1) {
            let days = passed_ms as f64 / DAY_MS as f64;
            self.move_trust(rules, days);
            self.counts.decay((-(passed_ms as f64) / memory_ms as f64).exp2());
            self.as_of_ms = now.0;
        }
        if self.blocked_until_ms != 0 && now.0 >= self.blocked_until_ms {
            self.blocked_until_ms = 0;
            self.counts.forgive();
        }
        let day = (age_ms / DAY_MS) as u32;
        if day != self.history.day {
            self.history.turn(rules, day);
        }
    }

    fn move_trust(&mut self, rules: &Reputation, days: f64) {
        let step = rules.rise * days;
        if self.counts.mail >= rules.few / 2.0 {
            if self.counts.quality(rules) >= rules.steps.slow_below {
                self.trust = (self.trust + step).min(1.0);
            }
        } else if self.trust < rules.start {
            // Nothing is held against the silent for ever.
            self.trust = (self.trust + step).min(rules.start);
        }
    }

    pub(crate) fn note(&mut self, rules: &Reputation, deed: Deed) {
        match deed {
            Deed::Mail { trap } => {
                self.counts.mail += 1.0;
                self.counts.traps += f64::from(u8::from(trap));
                self.counts.jumps += f64::from(u8::from(self.history.mail(rules)));
            }
            Deed::Complaint => self.counts.complaints += 1.0,
            Deed::UnknownUser => self.counts.unknown += 1.0,
            // As much as there was mail, so that a block ends one day for whoever did not notice it.
            Deed::Hammering => {
                self.counts.hammering = (self.counts.hammering + 1.0).min(self.counts.mail + rules.few);
            }
        }
    }

    /// Begins a block if the standing is that bad; true when one began now.
    pub(crate) fn judge(&mut self, rules: &Reputation, now: UnixMs) -> bool {
        if self.blocked_until_ms != 0 || self.score(rules) >= rules.steps.block_below {
            return false;
        }
        if self.counts.quality(rules) < rules.steps.slow_below {
            self.trust *= TRUST_AFTER_BLOCK;
        }
        self.blocked_until_ms = (now + rules.steps.block).0;
        true
    }
}

impl Counts {
    fn quality(&self, rules: &Reputation) -> f64 {
        let tolerance = &rules.tolerance;
        let part = |count: f64, of: f64, tolerated: f64| {
            let few = rules.few.max(EVIDENCE / tolerated);
            count / ((of + few) * tolerated)
        };
        let trouble = part(self.complaints, self.mail, tolerance.complaints)
            + part(self.traps, self.mail, tolerance.traps)
            + part(self.jumps, self.mail, tolerance.jumps)
            + part(self.unknown, self.mail + self.unknown, tolerance.unknown)
            + part(self.hammering, self.mail + self.hammering, tolerance.hammering);
        (1.0 - trouble).max(0.0)
    }

    fn decay(&mut self, kept: f64) {
        for count in [
            &mut self.mail,
            &mut self.complaints,
            &mut self.unknown,
            &mut self.traps,
            &mut self.hammering,
            &mut self.jumps,
        ] {
            *count *= kept;
        }
    }

    fn forgive(&mut self) {
        for count in
            [&mut self.complaints, &mut self.unknown, &mut self.traps, &mut self.hammering, &mut self.jumps]
        {
            *count *= AFTER_BLOCK;
        }
    }
}

impl History {
    /// Counts one mail; whether it is beyond what may be expected of the day.
    fn mail(&mut self, rules: &Reputation) -> bool {
        self.today = self.today.saturating_add(1);
        self.usual != ANY_VOLUME && f64::from(self.today) > self.most(rules)
    }

    /// What may be expected of the day.
    fn most(&self, rules: &Reputation) -> f64 {
        (f64::from(self.usual) * rules.growth).max(f64::from(rules.floor))
    }

    fn turn(&mut self, rules: &Reputation, day: u32) {
        if self.usual != ANY_VOLUME {
            let idle = day.saturating_sub(self.day).saturating_sub(1).min(1000);
            let today = f64::from(self.today);
            let fallen = f64::from(self.usual) * USUAL_KEPT + today * (1.0 - USUAL_KEPT);
            // A jump makes nothing usual.
            let after = if self.today > self.usual { today.min(self.most(rules)) } else { fallen };
            self.usual = (after * USUAL_KEPT.powi(idle as i32)) as u32;
        }
        (self.day, self.today) = (day, 0);
    }
}
