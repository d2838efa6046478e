//! The choice among sources that stand well or badly, may send little or much, or are refused.
//!
//! Every sender has an order of the pool's sources that is its own (weighted rendezvous hashing) and uses the first that may
//! be used. So its mail keeps to one source, overflows to one and the same other, and comes back.

use std::time::Duration;

use mail::{Class, UnixMs};

use super::{Candidate, key_of, score_of};
use crate::provider::ProviderIndex;
use crate::standing::{Standing, Standings};

/// A message, or a line of them, that wants a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// What receivers know the sender by: the domain of its address.
    pub identity: &'a str,
    /// The kind of mail.
    pub class: Class,
    /// Index of the provider in the configuration.
    pub provider: u16,
    /// Its name, which the choice is hashed from, since an index is another after a reload.
    pub provider_name: &'a str,
    /// The source that it has to keep, since the receiver wants to see it again (greylisting).
    pub keep: Option<u16>,
    /// Whether the sender has a good name. One that has not uses no source but its own: it may burn that one, and waits
    /// until it is healed.
    pub is_good: bool,
}

/// The sources that may be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidates<'a> {
    /// Those of the pool.
    pub main: &'a [Candidate],
    /// Those that take over for good senders whose own is burnt when no other of the pool may send.
    pub reserve: &'a [Candidate],
}

/// Where a message leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// From this source.
    Source {
        /// Its index in the configuration's sources.
        source: u16,
        /// Why this one.
        ground: SourceGround,
    },
    /// From none for now.
    Wait {
        /// When to ask again.
        until: UnixMs,
        /// Why, as a sentence without its end.
        reason: &'static str,
    },
}

/// Why a source was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceGround {
    /// The sender's mail of this class to this provider always leaves from it.
    Affinity,
    /// The receiver wants to see it again.
    Kept,
    /// The sender's own has no allowance left, is burnt, or has a long queue; this is the next one.
    Overflow,
    /// The sender's own is burnt, and none of the pool may send; this one is of the reserve.
    Reserve,
    /// There is no other.
    Only,
}

impl SourceGround {
    /// The name that people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::Kept => "kept",
            Self::Overflow => "overflow",
            Self::Reserve => "reserve",
            Self::Only => "only",
        }
    }
}

/// How long mail waits for an allowance, which grows all the time; bulk mail, which may be a million, asks seldom.
const ALLOWANCE_WAIT: Duration = Duration::from_secs(60);
const ALLOWANCE_WAIT_BULK: Duration = Duration::from_secs(600);
/// A queue that goes within this time is no reason to leave a sender's own source.
const CROWDED: Duration = Duration::from_secs(20);
/// The steps into which a reputation of 0 to 100 is put: few, so that a score that drifts moves few senders, and those not
/// back and forth.
const SCORE_STEPS: u32 = 4;

/// Chooses the source of a message, and takes one of its allowance where it has one; whoever does not send it gives that
/// back ([`Standings::give_back`]).
///
/// In this order: the source that a greylisting receiver has seen, unless it is burnt (the allowance was asked for at the
/// first try); the first in the sender's own order of the pool's sources that is not burnt and has allowance left; for good
/// senders whose own is burnt, the reserve. A sender without a good name uses only the first of its order by the configured
/// weights alone, so that a reputation which it spoils does not lead it to the next source.
///
/// A source whose queue at the provider is long is passed over like one without allowance; when all have long queues, the
/// shortest is taken.
#[must_use]
pub fn choose_among(wish: &Wish<'_>, pool: &Candidates<'_>, standings: &Standings, now: UnixMs) -> Choice {
    let choice = chosen(wish, pool, standings, now);
    // Where the provider is only a name, the queue of one site says nothing of the others'.
    if let Choice::Source { source, .. } = choice
        && wish.provider > ProviderIndex::ROUTED.0
    {
        standings.enter(source, wish.provider);
    }
    choice
}

fn chosen(wish: &Wish<'_>, pool: &Candidates<'_>, standings: &Standings, now: UnixMs) -> Choice {
    let choosing =
        Choosing { wish, standings, now, key: key_of(wish.identity, wish.class, wish.provider_name) };
    let is_of_pool = |source| pool.main.iter().chain(pool.reserve).any(|one| one.source == source);
    if let Some(source) = wish.keep.filter(|&source| is_of_pool(source) && !choosing.is_burnt(source)) {
        // If nothing is left it goes all the same: once the receiver has seen it, it takes one message more.
        let _ = standings.take(source, wish.provider);
        return Choice::Source { source, ground: SourceGround::Kept };
    }
    if !wish.is_good {
        return choosing.own_only(pool.main);
    }
    let Some(own) = choosing.next(pool.main, None) else {
        return Choice::Wait { until: now + choosing.allowance_wait(), reason: "the pool has no source" };
    };
    if let Some(source) = choosing.first_of(pool.main) {
        let ground = match source == own.source {
            true if pool.main.len() == 1 && pool.reserve.is_empty() => SourceGround::Only,
            true => SourceGround::Affinity,
            false => SourceGround::Overflow,
        };
        return Choice::Source { source, ground };
    }
    if !choosing.is_burnt(own.source) {
        return choosing.wait(pool.main, "the allowance of the sources of the pool is used up for now");
    }
    match choosing.first_of(pool.reserve) {
        Some(source) => Choice::Source { source, ground: SourceGround::Reserve },
        None if pool.reserve.is_empty() => {
            choosing.wait(pool.main, "the provider refuses the source, and no other of the pool may send")
        }
        None => choosing
            .wait(pool.main, "the provider refuses the source, and no other of the pool or reserve may send"),
    }
}

/// A candidate with its place in the sender's order: the larger score first, of equals the larger index.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Placed {
    score: f64,
    source: u16,
}

struct Choosing<'a> {
    wish: &'a Wish<'a>,
    standings: &'a Standings,
    now: UnixMs,
    key: u64,
}

impl Choosing<'_> {
    fn at(&self, source: u16) -> Standing {
        self.standings.at(source, self.wish.provider)
    }

    const fn allowance_wait(&self) -> Duration {
        match self.wish.class {
            Class::Bulk => ALLOWANCE_WAIT_BULK,
            _ => ALLOWANCE_WAIT,
        }
    }

    fn is_burnt(&self, source: u16) -> bool {
        self.at(source).is_burnt(self.now)
    }

    /// The candidate behind `before` in the sender's order; the first for `None`.
    fn next(&self, candidates: &[Candidate], before: Option<Placed>) -> Option<Placed> {
        let placed = candidates.iter().filter(|candidate| candidate.weight > 0).map(|candidate| {
            let step = if self.wish.is_good { step_of(self.at(candidate.source).score) } else { 1 };
            let weight = candidate.weight.saturating_mul(step);
            Placed { score: score_of(self.key, Candidate { weight, ..*candidate }), source: candidate.source }
        });
        let is_behind = |one: &Placed| before.is_none_or(|before| *one < before);
        placed.filter(is_behind).fold(None, |best: Option<Placed>, one| match best {
            Some(best) if best > one => Some(best),
            _ => Some(one),
        })
    }

    /// The first of the sender's order that may send and has no long queue, or else the one with the shortest; one of its
    /// allowance is taken.
    fn first_of(&self, candidates: &[Candidate]) -> Option<u16> {
        let mut place = self.next(candidates, None);
        while let Some(placed) = place {
            if self.at(placed.source).drains_in < CROWDED && self.takes(placed.source) {
                return Some(placed.source);
            }
            place = self.next(candidates, Some(placed));
        }
        self.least_crowded(candidates)
    }

    /// The source with the shortest queue that may send.
    fn least_crowded(&self, candidates: &[Candidate]) -> Option<u16> {
        let used = candidates.iter().filter(|candidate| candidate.weight > 0);
        let mut queues: Vec<_> = used.map(|one| (self.at(one.source).drains_in, one.source)).collect();
        queues.sort_unstable();
        queues.into_iter().map(|(_, source)| source).find(|&source| self.takes(source))
    }

    /// Takes one of the source's allowance, if it may send.
    fn takes(&self, source: u16) -> bool {
        if self.is_burnt(source) {
            return false;
        }
        // A warm-up counts critical mail, and does not hold it up.
        self.standings.take(source, self.wish.provider) || self.wish.class == Class::Critical
    }

    /// The sender's own source, or none.
    fn own_only(&self, candidates: &[Candidate]) -> Choice {
        let Some(Placed { source, .. }) = self.next(candidates, None) else {
            return Choice::Wait {
                until: self.now + self.allowance_wait(),
                reason: "the pool has no source",
            };
        };
        let standing = self.at(source);
        if standing.is_burnt(self.now) {
            let reason =
                "the provider refuses the source, and the sender has no name good enough for another";
            return Choice::Wait { until: standing.burnt_until, reason };
        }
        if !self.standings.take(source, self.wish.provider) {
            let reason =
                "the allowance of the source is used up, and the sender has no name good enough for another";
            return Choice::Wait { until: self.now + self.allowance_wait(), reason };
        }
        let ground = if candidates.len() == 1 { SourceGround::Only } else { SourceGround::Affinity };
        Choice::Source { source, ground }
    }

    /// Until one of them is healed, or may have an allowance again.
    fn wait(&self, candidates: &[Candidate], reason: &'static str) -> Choice {
        let moment = |candidate: &Candidate| match self.at(candidate.source) {
            standing if standing.is_burnt(self.now) => standing.burnt_until,
            _ => self.now + self.allowance_wait(),
        };
        let used = candidates.iter().filter(|candidate| candidate.weight > 0);
        let until = used.map(moment).min().unwrap_or(self.now + self.allowance_wait());
        Choice::Wait { until, reason }
    }
}

/// The step of a reputation, 1 to [`SCORE_STEPS`].
fn step_of(score: u8) -> u32 {
    (u32::from(score.min(100)) * SCORE_STEPS).div_ceil(100).max(1)
}

#[cfg(test)]
mod tests;
