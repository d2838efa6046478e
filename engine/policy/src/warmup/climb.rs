//! One source or sender's domain on its ladder at one provider.

use std::time::Duration;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

use crate::brain::surely_above;
use crate::tally::{Counts, Happening};

use super::{DAY, IDLE_MAX, Ladder};

/// A day counts when at least this share of it was used: what a receiver has not seen it cannot have got used to.
const ENOUGH: f64 = 0.5;
/// A day is clean when at least this share of what was decided was delivered (published: SparkPost).
const DELIVERED_LEAST: f64 = 0.9;
/// With more than this share blocked or taken for spam the source steps back: filters are about to close.
const REFUSED_MOST: f64 = 0.05;
/// With more complaints than this share of what was delivered it steps back (published: the limit of Google and Yahoo).
const COMPLAINTS_MOST: f64 = 0.003;
/// With more answers than this share that there is too much of it, the step is held: the receiver wants no more yet.
const RATE_LIMITED_MOST: f64 = 0.1;
/// Steps lost for a block of the source.
const BURNT_STEPS: u16 = 2;
const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Where a source, or a sender's domain, is on its ladder at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUp {
    step: u16,
    day_began: UnixMs,
    /// Messages of this day, and those of it before this hour.
    used: u64,
    used_before_hour: u64,
    hour: u8,
    last_used: UnixMs,
    /// It has fallen today: nothing better comes of this day.
    has_fallen: bool,
    #[serde(default)]
    day: Day,
}

/// What became of the messages of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    delivered: u32,
    refused: u32,
    bounced: u32,
    complaints: u32,
    rate_limited: u32,
}

impl Day {
    fn decided(&self) -> f64 {
        f64::from(self.delivered) + f64::from(self.refused) + f64::from(self.bounced)
    }

    fn is_bad(&self) -> bool {
        surely_above(f64::from(self.refused), self.decided(), REFUSED_MOST)
            || surely_above(f64::from(self.complaints), f64::from(self.delivered), COMPLAINTS_MOST)
    }
}

fn top(ladder: &Ladder) -> u16 {
    u16::try_from(ladder.steps()).unwrap_or(u16::MAX)
}

/// What the end of a day, or a block within it, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turned {
    /// The day was clean: the next step.
    Advanced,
    /// Behind the last step.
    Warm,
    /// The same step again: too little of it was used.
    HeldForVolume,
    /// The same step again: the receiver was not at ease.
    HeldForTrouble,
    /// One step or more back.
    SteppedBack,
    /// It was idle for too long, and begins anew.
    Forgotten,
}

/// A change of the step, with the figures that brought it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// What happened.
    pub what: Turned,
    /// The step that holds now, 0 is the first.
    pub step: u16,
    /// Messages of the day that ended.
    pub used: u64,
    /// The share of them that was delivered.
    pub delivered: f64,
    /// The share that was blocked or taken for spam.
    pub refused: f64,
}

impl WarmUp {
    /// On day `day` (1 is the first) of its ladder, which begins at `now`.
    #[must_use]
    pub fn new(day: u32, now: UnixMs) -> Self {
        let step = u16::try_from(day.saturating_sub(1)).unwrap_or(u16::MAX);
        Self {
            step,
            day_began: now,
            used: 0,
            used_before_hour: 0,
            hour: 0,
            last_used: now,
            has_fallen: false,
            day: Day::default(),
        }
    }

    /// Messages that may have gone by `now` since the day began; `None`: no limit.
    ///
    /// A day's messages become free evenly, an hour's share ahead, so that mail which comes late in the day still finds room.
    /// What was not used can be caught up on, up to the most that an hour may hold.
    #[must_use]
    pub fn allowance(&self, ladder: &Ladder, now: UnixMs) -> Option<u64> {
        let (day, hour) = (ladder.per_day(self.step.into())?, ladder.per_hour(self.step.into())?);
        Some(self.free(day, now).min(self.used_before_hour.saturating_add(hour)))
    }

    /// The same as a rate, messages a second: what is free is spread over an hour, so that the rate falls as it runs out.
    #[must_use]
    pub fn per_second(&self, ladder: &Ladder, now: UnixMs) -> Option<f64> {
        let (day, hour) = (ladder.per_day(self.step.into())?, ladder.per_hour(self.step.into())?);
        let left = self.free(day, now).saturating_sub(self.used).min(hour);
        Some(left as f64 / 3600.0)
    }

    /// Of the messages of a day those that are free by now.
    fn free(&self, day: u64, now: UnixMs) -> u64 {
        if now < self.day_began {
            return 0;
        }
        let elapsed_ms = now.0.saturating_sub(self.day_began.0).min(DAY_MS);
        let free_ms = (elapsed_ms + HOUR_MS).min(DAY_MS);
        let free = u128::from(day) * u128::from(free_ms) / u128::from(DAY_MS);
        u64::try_from(free).unwrap_or(u64::MAX).max(1)
    }

    /// When more than now will be free, for those that wait; `now` when there is no limit.
    #[must_use]
    pub fn next_at(&self, ladder: &Ladder, now: UnixMs) -> UnixMs {
        let step = usize::from(self.step);
        let (Some(day), Some(hour)) = (ladder.per_day(step), ladder.per_hour(step)) else { return now };
        if now < self.day_began {
            return self.day_began;
        }
        let next_hour = self.day_began + HOUR * (u32::from(self.hour) + 1);
        let next_day = self.day_began + DAY;
        let soon = now + Duration::from_millis(DAY_MS / day.max(1));
        match self.used {
            used if used >= day => next_day,
            used if used >= self.used_before_hour.saturating_add(hour) => next_hour.max(soon).min(next_day),
            _ => soon.min(next_day),
        }
    }

    /// So many messages have gone.
    pub fn went(&mut self, count: u64, now: UnixMs) {
        self.see_hour(now);
        self.used = self.used.saturating_add(count);
        if count > 0 {
            self.last_used = self.last_used.max(now);
        }
    }

    /// So many messages were counted as gone and have come back unsent.
    pub fn came_back(&mut self, count: u64) {
        self.used = self.used.saturating_sub(count);
        self.used_before_hour = self.used_before_hour.min(self.used);
    }

    /// What became of messages.
    pub fn heard(&mut self, counts: &Counts) {
        let day = &mut self.day;
        day.delivered = day.delivered.saturating_add(counts[Happening::Delivered]);
        day.refused = day.refused.saturating_add(counts[Happening::Blocked]);
        day.refused = day.refused.saturating_add(counts[Happening::SpamRefused]);
        day.bounced = day.bounced.saturating_add(counts[Happening::UnknownUser]);
        day.bounced = day.bounced.saturating_add(counts[Happening::OtherBounce]);
        day.complaints = day.complaints.saturating_add(counts[Happening::Complaint]);
        day.rate_limited = day.rate_limited.saturating_add(counts[Happening::RateLimited]);
    }

    /// The provider refuses the source: it steps back now, once a day.
    pub fn burnt(&mut self, ladder: &Ladder) -> Option<Turn> {
        self.fall(ladder, BURNT_STEPS)
    }

    fn fall(&mut self, ladder: &Ladder, steps: u16) -> Option<Turn> {
        if self.has_fallen {
            return None;
        }
        self.has_fallen = true;
        self.step = self.step.min(top(ladder)).saturating_sub(steps);
        Some(self.turn_of(Turned::SteppedBack))
    }

    /// Ends the day when it is over, and steps back within it when it has gone badly already. What that came to, if anything
    /// worth telling.
    pub fn turn(&mut self, ladder: &Ladder, now: UnixMs) -> Option<Turn> {
        self.see_hour(now);
        let days = now.since(self.day_began).as_secs() / DAY.as_secs();
        if days == 0 {
            return self.day.is_bad().then(|| self.fall(ladder, 1)).flatten();
        }
        let what = self.judged(ladder, now);
        self.step = match what {
            Turned::Advanced | Turned::Warm => self.step.saturating_add(1).min(top(ladder)),
            Turned::SteppedBack => self.step.min(top(ladder)).saturating_sub(1),
            Turned::Forgotten => 0,
            Turned::HeldForVolume | Turned::HeldForTrouble => self.step.min(top(ladder)),
        };
        let turn = self.turn_of(what);
        self.day_began = self.day_began + DAY * u32::try_from(days).unwrap_or(u32::MAX);
        if what == Turned::Forgotten {
            self.last_used = now;
        }
        (self.used, self.used_before_hour, self.hour) = (0, 0, 0);
        (self.has_fallen, self.day) = (false, Day::default());
        self.see_hour(now);
        (what != Turned::HeldForVolume).then_some(turn)
    }

    fn judged(&self, ladder: &Ladder, now: UnixMs) -> Turned {
        let day = &self.day;
        if now.since(self.last_used) >= IDLE_MAX && self.step > 0 {
            return Turned::Forgotten;
        }
        if self.has_fallen {
            return Turned::HeldForTrouble;
        }
        if day.is_bad() {
            return Turned::SteppedBack;
        }
        let (decided, limited) = (day.decided(), f64::from(day.rate_limited));
        if surely_above(limited, decided + limited, RATE_LIMITED_MOST)
            || f64::from(day.delivered) < decided * DELIVERED_LEAST
        {
            return Turned::HeldForTrouble;
        }
        match ladder.per_day(self.step.into()) {
            Some(per_day) if decided >= per_day as f64 * ENOUGH => {
                if self.step + 1 >= top(ladder) {
                    Turned::Warm
                } else {
                    Turned::Advanced
                }
            }
            _ => Turned::HeldForVolume,
        }
    }

    fn turn_of(&self, what: Turned) -> Turn {
        let decided = self.day.decided();
        let share = |count: u32| if decided == 0.0 { 0.0 } else { f64::from(count) / decided };
        let (delivered, refused) = (share(self.day.delivered), share(self.day.refused));
        Turn { what, step: self.step, used: self.used, delivered, refused }
    }

    /// The step, 0 is the first; as many as the ladder has: warm.
    #[must_use]
    pub const fn step(&self) -> u16 {
        self.step
    }

    /// Messages of this day.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Messages of this day that have had an outcome.
    #[must_use]
    pub fn decided(&self) -> u64 {
        self.day.decided() as u64
    }

    /// Whether it is behind the last step.
    #[must_use]
    pub fn is_warm(&self, ladder: &Ladder) -> bool {
        usize::from(self.step) >= ladder.steps()
    }

    fn see_hour(&mut self, now: UnixMs) {
        let hour = now.0.saturating_sub(self.day_began.0) / HOUR_MS;
        let hour = u8::try_from(hour).unwrap_or(u8::MAX);
        if hour > self.hour {
            (self.hour, self.used_before_hour) = (hour, self.used);
        }
    }
}
