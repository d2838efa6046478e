//! How each source stands with each provider: written by the brain, read by every shard without a lock. It refuses to
//! judge.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mail::UnixMs;

/// How a source stands with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its reputation there, 0 to 100.
    pub score: u8,
    /// It is refused there until this moment; in the past when it is not.
    pub burnt_until: UnixMs,
    /// What is left of its allowance; `None` is unlimited.
    pub left: Option<u32>,
    /// How long what waits for it there takes to go, at the pace of now.
    pub drains_in: Duration,
}

impl Standing {
    /// Whether it is refused there at `now`.
    #[must_use]
    pub fn is_burnt(&self, now: UnixMs) -> bool {
        self.burnt_until > now
    }
}

impl Cell {
    fn drains_in(&self) -> Duration {
        let (waiting, pace) = (self.waiting.load(Ordering::Relaxed), self.pace.load(Ordering::Relaxed));
        Duration::from_millis(u64::from(waiting) * 1_000_000 / u64::from(pace.max(1)))
    }

    fn may_take(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }
}

/// All sources at all providers. Indices beyond those that it was made for stand well and have no limit.
#[derive(Debug)]
pub struct Standings {
    providers: usize,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    burnt_until: AtomicU64,
    /// The allowance, or [`UNLIMITED`].
    left: AtomicU64,
    score: AtomicU8,
    /// Recipients that wait, as last told, and those that came since.
    waiting: AtomicU32,
    /// Thousandths of a recipient that go in a second: slow ones must not look faster than they are.
    pace: AtomicU32,
}

/// Recipients that are to leave one source for others, because they would wait longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Where they wait.
    pub source: u16,
    /// For whom.
    pub provider: u16,
    /// How many.
    pub recipients: u32,
}

/// Where nothing is known, a source is taken to let so many thousandths of a recipient through in a second.
const PACE_UNKNOWN: u32 = 50_000;
/// How much of the average the last second is.
const PACE_WEIGHT: f64 = 0.3;
/// Queues shorter than this are left alone.
const SPREAD_MIN: Duration = Duration::from_secs(30);
/// At most as many are moved at a time as the others send within this.
const SPREAD_AHEAD_S: u64 = 10;

const UNLIMITED: u64 = u64::MAX;
/// Where nothing is known, nothing speaks against a source.
const SCORE_UNKNOWN: u8 = 100;

impl Standings {
    /// Every source stands well everywhere.
    #[must_use]
    pub fn new(sources: usize, providers: usize) -> Self {
        let cell = || Cell {
            burnt_until: AtomicU64::new(0),
            left: AtomicU64::new(UNLIMITED),
            score: AtomicU8::new(SCORE_UNKNOWN),
            waiting: AtomicU32::new(0),
            pace: AtomicU32::new(PACE_UNKNOWN),
        };
        Self { providers, cells: std::iter::repeat_with(cell).take(sources * providers).collect() }
    }

    fn cell(&self, source: u16, provider: u16) -> Option<&Cell> {
        let (source, provider) = (usize::from(source), usize::from(provider));
        (provider < self.providers).then(|| self.cells.get(source * self.providers + provider))?
    }

    /// How `source` stands with `provider`.
    #[must_use]
    pub fn at(&self, source: u16, provider: u16) -> Standing {
        let unknown =
            Standing { score: SCORE_UNKNOWN, burnt_until: UnixMs(0), left: None, drains_in: Duration::ZERO };
        self.cell(source, provider).map_or(unknown, |cell| Standing {
            score: cell.score.load(Ordering::Relaxed),
            burnt_until: UnixMs(cell.burnt_until.load(Ordering::Acquire)),
            left: u32::try_from(cell.left.load(Ordering::Relaxed)).ok(),
            drains_in: cell.drains_in(),
        })
    }

    /// Tells how many wait for the source there, and how many a second go; of that the last few calls are averaged. To be
    /// called about once a second while some wait, and once when none do any more.
    pub fn set_load(&self, source: u16, provider: u16, waiting: u64, per_second: f64) {
        if let Some(cell) = self.cell(source, provider) {
            cell.waiting.store(u32::try_from(waiting).unwrap_or(u32::MAX), Ordering::Relaxed);
            let before = f64::from(cell.pace.load(Ordering::Relaxed));
            let pace = before + (1000.0 * per_second - before) * PACE_WEIGHT;
            cell.pace.store(pace.clamp(1.0, 4e9).round() as u32, Ordering::Relaxed);
        }
    }

    /// One more waits there.
    pub(crate) fn enter(&self, source: u16, provider: u16) {
        if let Some(cell) = self.cell(source, provider) {
            // The count orders nothing else, and is told anew each second.
            cell.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Who is to be moved among `sources`, for one provider: from the one where they would wait longest, when others stand idle
    /// soon. They do not count as waiting there any more: a source may be of several pools.
    #[must_use]
    pub fn spread(&self, provider: u16, sources: &[u16], now: UnixMs) -> Option<Spread> {
        let cells = sources.iter().filter_map(|&source| Some((source, self.cell(source, provider)?)));
        let open: Vec<_> =
            cells.filter(|(_, cell)| cell.burnt_until.load(Ordering::Relaxed) <= now.0).collect();
        let (source, fullest) = open.iter().max_by_key(|(_, cell)| cell.drains_in())?;
        let wait = fullest.drains_in();
        if wait < SPREAD_MIN {
            return None;
        }
        let idle = open.iter().filter(|(_, cell)| cell.drains_in() * 2 < wait && cell.may_take());
        let free: u64 =
            idle.map(|(_, cell)| u64::from(cell.pace.load(Ordering::Relaxed)) * SPREAD_AHEAD_S / 1000).sum();
        let recipients =
            u32::try_from(free).unwrap_or(u32::MAX).min(fullest.waiting.load(Ordering::Relaxed) / 2);
        let fewer = |waiting: u32| Some(waiting.saturating_sub(recipients));
        // The count is told anew each second.
        let _ = fullest.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        (recipients > 0).then_some(Spread { source: *source, provider, recipients })
    }

    /// Sets the reputation, 0 to 100.
    pub fn set_score(&self, source: u16, provider: u16, score: u8) {
        if let Some(cell) = self.cell(source, provider) {
            cell.score.store(score.min(100), Ordering::Relaxed);
        }
    }

    /// The source is refused there until then; a rest that is already longer stays.
    pub fn burn(&self, source: u16, provider: u16, until: UnixMs) {
        if let Some(cell) = self.cell(source, provider) {
            cell.burnt_until.fetch_max(until.0, Ordering::Release);
        }
    }

    /// The source is not refused there any more.
    pub fn heal(&self, source: u16, provider: u16) {
        if let Some(cell) = self.cell(source, provider) {
            cell.burnt_until.store(0, Ordering::Release);
        }
    }

    /// What may still be sent there; `None` is unlimited.
    pub fn set_allowance(&self, source: u16, provider: u16, left: Option<u32>) {
        if let Some(cell) = self.cell(source, provider) {
            cell.left.store(left.map_or(UNLIMITED, u64::from), Ordering::Relaxed);
        }
    }

    /// Takes one of the allowance; `false` when it is used up.
    #[must_use]
    pub fn take(&self, source: u16, provider: u16) -> bool {
        let Some(cell) = self.cell(source, provider) else { return true };
        let less = |left: u64| if left == UNLIMITED { Some(left) } else { left.checked_sub(1) };
        // The count orders nothing else.
        cell.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Puts one back that was taken and not used.
    pub fn give_back(&self, source: u16, provider: u16) {
        let Some(cell) = self.cell(source, provider) else { return };
        let more = |left: u64| (left < u64::from(u32::MAX)).then(|| left + 1);
        // Unlimited, or as much as there can be: nothing to put back.
        let _ = cell.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_not_known_stands_well() {
        let standings = Standings::new(2, 3);
        let well = Standing { score: 100, burnt_until: UnixMs(0), left: None, drains_in: Duration::ZERO };
        for (source, provider) in [(0, 0), (1, 2), (2, 0), (0, 3), (u16::MAX, u16::MAX)] {
            assert_eq!(standings.at(source, provider), well);
            assert!(standings.take(source, provider));
            standings.give_back(source, provider);
            assert_eq!(standings.at(source, provider), well, "nothing is put back where there is no end");
        }
        // What lies outside is nobody's.
        standings.set_allowance(0, 3, Some(0));
        standings.burn(2, 0, UnixMs::NEVER);
        assert_eq!((standings.at(1, 0), standings.at(2, 0)), (well, well));
    }

    #[test]
    fn each_source_and_provider_has_a_place_of_its_own() {
        let standings = Standings::new(3, 4);
        for (source, provider) in (0..3).flat_map(|source| (0..4).map(move |provider| (source, provider))) {
            let number = source * 4 + provider;
            standings.set_score(source, provider, number as u8);
            standings.set_allowance(source, provider, Some(number.into()));
        }
        for (source, provider) in (0..3).flat_map(|source| (0..4).map(move |provider| (source, provider))) {
            let number = source * 4 + provider;
            let standing = standings.at(source, provider);
            assert_eq!((standing.score, standing.left), (number as u8, Some(number.into())));
        }
        standings.set_score(0, 0, 255);
        assert_eq!(standings.at(0, 0).score, 100);
    }

    #[test]
    fn the_longer_rest_stays_until_it_is_healed() {
        let standings = Standings::new(1, 1);
        let now = UnixMs(1_700_000_000_000);
        standings.burn(0, 0, now + Duration::from_secs(600));
        standings.burn(0, 0, now + Duration::from_secs(60));
        assert!(standings.at(0, 0).is_burnt(now + Duration::from_secs(599)));
        assert!(!standings.at(0, 0).is_burnt(now + Duration::from_secs(600)));
        standings.heal(0, 0);
        assert!(!standings.at(0, 0).is_burnt(now));
    }

    #[test]
    fn who_is_moved_for_one_pool_is_not_moved_again_for_another() {
        let (standings, now) = (Standings::new(2, 1), UnixMs(1_700_000_000_000));
        (0..100).for_each(|_| standings.set_load(0, 0, 600, 6.0));
        let before = standings.at(0, 0).drains_in.as_secs();
        let moved = standings.spread(0, &[0, 1], now).map(|spread| spread.recipients);
        assert_eq!(moved, Some(300));
        (0..300).for_each(|_| standings.enter(1, 0));
        assert_eq!(standings.at(0, 0).drains_in.as_secs(), before / 2);
        // Half of the half, as the other source seems to be so much faster: not all of it.
        assert_eq!(standings.spread(0, &[0, 1], now).map(|spread| spread.recipients), Some(150));
    }

    #[test]
    fn shards_together_take_no_more_than_the_allowance() {
        let standings = Standings::new(1, 1);
        standings.set_allowance(0, 0, Some(10_000));
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..4_000).filter(|_| standings.take(0, 0)).count();
            let shards = [scope.spawn(take), scope.spawn(take), scope.spawn(take)];
            shards.into_iter().map(|shard| shard.join().expect("it takes")).sum()
        });
        assert_eq!((taken, standings.at(0, 0).left), (10_000, Some(0)));
        assert!(!standings.take(0, 0));
        standings.give_back(0, 0);
        assert!(standings.take(0, 0) && !standings.take(0, 0));
    }
}
