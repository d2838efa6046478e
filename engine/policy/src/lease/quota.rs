//! What an account may hand over: so many recipients per time, counted by all shards in atomic numbers. It refuses to know
//! whose quota it is, and what is answered to whoever is beyond it.
//!
//! A quota is a bucket that holds the whole number; each place comes back after its part of the time. It is kept as the
//! moment at which everything will be back, so that what lies ahead of now is what is used, and what lies further ahead
//! than the whole time is promised to lists.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mail::{Class, UnixMs};
use serde::{Deserialize, Serialize};

use crate::Rate;

/// How far ahead recipients of a list are given their moments; whoever hands in more is told to come again. As long as a
/// campaign may be prepared, so that no list waits longer for its quota than it might for its start.
pub const AHEAD_MAX: Duration = Duration::from_secs(30 * 86_400);

/// One quota.
#[derive(Debug)]
pub struct Quota {
    rate: Rate,
    /// What everybody draws on.
    all: Places,
    /// What critical mail draws on besides: it passes while there is room here, whatever others have used.
    critical: Places,
}

/// What is not let through, and when it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// It would fit then.
    Until(UnixMs),
    /// It is more than the whole quota.
    Never,
}

/// The moments from which the recipients of a part of a list may be sent, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    first_ns: u64,
    interval_ns: u64,
    now: UnixMs,
}

/// How a quota stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// So many per so long.
    pub rate: Rate,
    /// Recipients of it that are used at this moment; at most the number of the rate.
    pub used: u64,
    /// Recipients of lists that have a moment of their own, later than this one.
    pub promised: u64,
    /// Critical recipients that are used at this moment, out of as many again.
    pub critical: u64,
    /// When one may be handed over; `None`: now.
    pub free_at: Option<UnixMs>,
}

/// The same as it is kept over a restart: counts and not moments, so that they are the same when the rate is another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedQuota {
    /// When this was counted.
    pub at: UnixMs,
    /// Recipients that were used, and promised to lists.
    pub used: u64,
    /// Critical recipients that were used.
    #[serde(default)]
    pub critical: u64,
}

impl Quota {
    /// A quota of which nothing is used.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::restored(rate, SavedQuota::default())
    }

    /// A quota as it was kept; what came back meanwhile is back.
    #[must_use]
    pub fn restored(rate: Rate, saved: SavedQuota) -> Self {
        let full_at = |used: u64| {
            let used_ns = used.saturating_mul(rate.interval_ns());
            Places(AtomicU64::new(if used == 0 { 0 } else { nanoseconds(saved.at).saturating_add(used_ns) }))
        };
        Self { rate, all: full_at(saved.used), critical: full_at(saved.critical) }
    }

    /// To be kept.
    #[must_use]
    pub fn saved(&self, now: UnixMs) -> SavedQuota {
        let used = |places: &Places| places.ahead_ns(now).div_ceil(self.rate.interval_ns());
        SavedQuota { at: now, used: used(&self.all), critical: used(&self.critical) }
    }

    /// Takes places for the recipients of one message: for all of them or for none. Critical mail takes them whether there
    /// are any or not, as long as the account has not handed over a whole quota of critical mail alone.
    ///
    /// # Errors
    /// It is beyond the quota; nothing was taken.
    pub fn take(&self, count: u32, class: Class, now: UnixMs) -> Result<(), Exceeded> {
        if count > self.rate.count() {
            return Err(Exceeded::Never);
        }
        if class != Class::Critical {
            return self.all.take(count, self.rate, now).map_err(Exceeded::Until);
        }
        self.critical.take(count, self.rate, now).map_err(Exceeded::Until)?;
        self.all.push(count, self.rate, now);
        Ok(())
    }

    /// Takes places for a part of a list: what is there, and then those that come back next, each at its moment. Critical
    /// lists do not wait.
    ///
    /// # Errors
    /// The last would have to wait for more than [`AHEAD_MAX`]; nothing was taken. Then it would be within that time.
    pub fn appoint(&self, count: u32, class: Class, now: UnixMs) -> Result<Moments, Exceeded> {
        let (interval_ns, whole_ns) = (self.rate.interval_ns(), self.whole_ns());
        if class == Class::Critical {
            self.take(count, class, now)?;
            return Ok(Moments { first_ns: 0, interval_ns: 0, now });
        }
        let ahead_ns = AHEAD_MAX.as_nanos() as u64;
        let reach_ns = whole_ns.saturating_add(ahead_ns);
        let from_ns = self.all.draw(count, interval_ns, reach_ns, now).map_err(Exceeded::Until)?;
        let first_ns = from_ns.saturating_add(interval_ns).saturating_sub(whole_ns);
        Ok(Moments { first_ns, interval_ns, now })
    }

    /// Puts places back that were taken for what was not handed over after all.
    pub fn give_back(&self, count: u32, class: Class) {
        self.all.give_back(count, self.rate);
        if class == Class::Critical {
            self.critical.give_back(count, self.rate);
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self, now: UnixMs) -> QuotaState {
        let SavedQuota { used, critical, .. } = self.saved(now);
        let whole = u64::from(self.rate.count());
        let free_ns = self.all.0.load(Ordering::Relaxed).saturating_add(self.rate.interval_ns());
        let free_at = UnixMs(free_ns.saturating_sub(self.whole_ns()).div_ceil(1_000_000));
        QuotaState {
            rate: self.rate,
            used: used.min(whole),
            promised: used.saturating_sub(whole),
            critical: critical.min(whole),
            free_at: Some(free_at).filter(|at| *at > now),
        }
    }

    fn whole_ns(&self) -> u64 {
        whole_ns(self.rate)
    }
}

impl Moments {
    /// From when the recipient at `place`, counted from 0, may be sent; `None`: at once.
    #[must_use]
    pub fn of(&self, place: u32) -> Option<UnixMs> {
        let at_ns = self.first_ns.saturating_add(self.interval_ns.saturating_mul(place.into()));
        Some(UnixMs(at_ns.div_ceil(1_000_000))).filter(|at| *at > self.now)
    }
}

/// The moment at which all places will be back, in nanoseconds. Relaxed everywhere, because the number is all that is
/// shared.
#[derive(Debug)]
struct Places(AtomicU64);

impl Places {
    fn ahead_ns(&self, now: UnixMs) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(nanoseconds(now))
    }

    /// Takes places that are there; else says when they will be.
    fn take(&self, count: u32, rate: Rate, now: UnixMs) -> Result<(), UnixMs> {
        self.draw(count, rate.interval_ns(), whole_ns(rate), now).map(|_| ())
    }

    /// Takes places as far as `reach_ns` ahead; returns where they begin, or when they could be taken.
    fn draw(&self, count: u32, interval_ns: u64, reach_ns: u64, now: UnixMs) -> Result<u64, UnixMs> {
        let now_ns = nanoseconds(now);
        let cost_ns = u64::from(count).saturating_mul(interval_ns);
        let behind = |full_at_ns: u64| full_at_ns.max(now_ns).saturating_add(cost_ns);
        let limit_ns = now_ns.saturating_add(reach_ns);
        let drawn = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            Some(behind(full_at_ns)).filter(|next_ns| *next_ns <= limit_ns)
        });
        match drawn {
            Ok(full_at_ns) => Ok(full_at_ns.max(now_ns)),
            Err(full_at_ns) => Err(UnixMs(behind(full_at_ns).saturating_sub(reach_ns).div_ceil(1_000_000))),
        }
    }

    /// Takes places whether they are there or not.
    fn push(&self, count: u32, rate: Rate, now: UnixMs) {
        // It cannot be refused: nothing lies beyond the whole of time.
        let _ = self.draw(count, rate.interval_ns(), u64::MAX, now);
    }

    fn give_back(&self, count: u32, rate: Rate) {
        let cost_ns = u64::from(count).saturating_mul(rate.interval_ns());
        // What came back meanwhile by itself is given back twice; then the number lies before now, where it says nothing.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            Some(full_at_ns.saturating_sub(cost_ns))
        });
    }
}

fn whole_ns(rate: Rate) -> u64 {
    rate.interval_ns().saturating_mul(rate.count().into())
}

fn nanoseconds(moment: UnixMs) -> u64 {
    moment.0.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    fn a_hundred_an_hour() -> Quota {
        Quota::new(Rate::per_hour(100))
    }

    #[test]
    fn the_whole_number_may_come_at_once_and_each_place_comes_back_in_its_turn() {
        let quota = a_hundred_an_hour();
        assert_eq!(quota.take(60, Class::Transactional, NOW), Ok(()));
        assert_eq!(quota.take(40, Class::Bulk, NOW), Ok(()));
        assert_eq!(quota.take(1, Class::Bulk, NOW), Err(Exceeded::Until(NOW + Duration::from_secs(36))));
        assert_eq!(quota.take(5, Class::Bulk, NOW), Err(Exceeded::Until(NOW + Duration::from_secs(180))));
        assert_eq!(quota.state(NOW).free_at, Some(NOW + Duration::from_secs(36)));
        assert_eq!(quota.take(1, Class::Bulk, NOW + Duration::from_secs(36)), Ok(()));
        let later = NOW + Duration::from_secs(7200);
        assert_eq!((quota.state(later).used, quota.state(later).free_at), (0, None));
        assert_eq!(quota.take(100, Class::Bulk, later), Ok(()));
    }

    #[test]
    fn a_message_is_taken_whole_or_not_at_all() {
        let quota = a_hundred_an_hour();
        assert_eq!(quota.take(101, Class::Bulk, NOW), Err(Exceeded::Never));
        assert_eq!(quota.take(99, Class::Bulk, NOW), Ok(()));
        assert!(quota.take(2, Class::Bulk, NOW).is_err());
        assert_eq!(quota.state(NOW).used, 99);
        assert_eq!(quota.take(1, Class::Bulk, NOW), Ok(()));
    }

    #[test]
    fn critical_mail_counts_and_passes_until_it_has_a_whole_quota_alone() {
        let quota = a_hundred_an_hour();
        assert_eq!(quota.take(100, Class::Bulk, NOW), Ok(()));
        assert_eq!(quota.take(100, Class::Critical, NOW), Ok(()));
        assert_eq!(quota.take(1, Class::Critical, NOW), Err(Exceeded::Until(NOW + Duration::from_secs(36))));
        let waits = Exceeded::Until(NOW + Duration::from_secs(3636));
        assert_eq!(quota.take(1, Class::Bulk, NOW), Err(waits), "it has used what others waited for");
        quota.give_back(100, Class::Critical);
        assert_eq!(quota.take(100, Class::Critical, NOW), Ok(()));
    }

    #[test]
    fn a_list_takes_what_is_there_and_then_the_places_that_come_back() {
        let quota = a_hundred_an_hour();
        let moments = quota.appoint(103, Class::Bulk, NOW).expect("within thirty days");
        assert_eq!([moments.of(0), moments.of(99)], [None, None]);
        assert_eq!(moments.of(100), Some(NOW + Duration::from_secs(36)));
        assert_eq!(moments.of(102), Some(NOW + Duration::from_secs(108)));
        let state = quota.state(NOW);
        assert_eq!((state.used, state.promised), (100, 3));
        assert_eq!(state.free_at, moments.of(102).map(|last| last + Duration::from_secs(36)));
        let next = quota.appoint(1, Class::Bulk, NOW).expect("within thirty days");
        assert_eq!(next.of(0), Some(NOW + Duration::from_secs(144)));
        assert_eq!(quota.appoint(50, Class::Critical, NOW).expect("critical").of(49), None);
        quota.give_back(54, Class::Bulk);
        assert_eq!(quota.state(NOW).promised, 0);
    }

    #[test]
    fn a_list_that_would_wait_for_more_than_thirty_days_is_refused_whole() {
        let quota = Quota::new(Rate::new(10, Duration::from_secs(86_400)).expect("above zero"));
        assert!(quota.appoint(310, Class::Bulk, NOW).is_ok());
        let again = NOW + Duration::from_secs(8640);
        assert_eq!(quota.appoint(1, Class::Bulk, NOW), Err(Exceeded::Until(again)));
        assert_eq!(quota.state(NOW).promised, 300);
    }

    #[test]
    fn what_was_used_is_kept_as_a_count_and_holds_under_another_rate() {
        let quota = a_hundred_an_hour();
        assert_eq!(quota.take(80, Class::Bulk, NOW), Ok(()));
        assert_eq!(quota.take(10, Class::Critical, NOW), Ok(()));
        let saved = quota.saved(NOW);
        assert_eq!((saved.used, saved.critical), (90, 10));
        let half_an_hour_later = NOW + Duration::from_secs(1800);
        let same = Quota::restored(Rate::per_hour(100), saved).state(half_an_hour_later);
        assert_eq!((same.used, same.critical), (40, 0));
        let ten_fold = Quota::restored(Rate::per_hour(1000), saved).state(NOW);
        assert_eq!((ten_fold.used, ten_fold.free_at), (90, None));
    }

    #[test]
    fn two_threads_take_no_more_than_there_is() {
        let quota = a_hundred_an_hour();
        let taken = std::thread::scope(|scope| {
            let take = || (0..1000).filter(|_| quota.take(1, Class::Transactional, NOW).is_ok()).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).sum::<usize>()
        });
        assert_eq!(taken, 100);
    }

    proptest! {
        /// What passed between any two moments is at most the number, and what came back between them.
        #[test]
        fn no_stretch_holds_more_than_the_number_and_what_came_back(
            count in 1_u32..50, seconds in 1_u64..100,
            steps in proptest::collection::vec((0_u64..5_000, 1_u32..10), 1..200),
        ) {
            let quota = Quota::new(Rate::new(count, Duration::from_secs(seconds)).expect("above zero"));
            let mut now = NOW;
            let mut taken: Vec<(UnixMs, u32)> = Vec::new();
            for (wait_ms, want) in steps {
                now = now + Duration::from_millis(wait_ms);
                if quota.take(want, Class::Bulk, now).is_ok() {
                    taken.push((now, want));
                }
            }
            for (first, &(begins, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for &(at, want) in &taken[first..] {
                    sum += u64::from(want);
                    let back = at.since(begins).as_secs_f64() * f64::from(count) / seconds as f64;
                    prop_assert!(sum as f64 <= f64::from(count) + back + 0.01, "{sum} within {:?}", at.since(begins));
                }
            }
        }
    }
}
