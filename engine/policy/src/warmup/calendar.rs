//! A warm-up day by day, before it begins.

use mail::UnixMs;

use super::{DAY, Ladder};

/// One day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// 1 is the first.
    pub number: u32,
    /// When it begins.
    pub begins: UnixMs,
    /// Messages that may go; `None`: the source is warm.
    pub allowed: Option<u64>,
    /// Messages of any hour of it; `None` with `allowed`.
    pub hourly: Option<u64>,
    /// Messages that go of those that are wanted.
    pub goes: u64,
    /// Messages that are wanted and must leave from other sources, or wait.
    pub over: u64,
}

/// The days from `start` until `wanted` messages a day go, if every day is clean; the last entry is the first such day. A
/// day of which less than half is used would not count: that is so only once `wanted` fits, which ends the calendar.
#[must_use]
pub fn calendar(ladder: &Ladder, start: UnixMs, wanted: u64) -> Vec<Day> {
    let mut days = Vec::new();
    let mut begins = start;
    for (step, number) in (0..=ladder.steps()).zip(1..) {
        let allowed = ladder.per_day(step);
        let goes = allowed.map_or(wanted, |allowed| allowed.min(wanted));
        days.push(Day { number, begins, allowed, hourly: ladder.per_hour(step), goes, over: wanted - goes });
        if goes == wanted {
            break;
        }
        begins = begins + DAY;
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_ends_with_the_first_day_that_takes_all() {
        let ladder = Ladder::by_name("generic").expect("built in");
        let start = UnixMs::from_seconds(1_800_000_000);
        let days = calendar(&ladder, start, 1_200);
        let goes: Vec<u64> = days.iter().map(|day| day.goes).collect();
        assert_eq!(goes, [50, 100, 250, 500, 1000, 1200]);
        assert_eq!(days[5].begins, start + DAY * 5);
        assert_eq!((days[0].over, days[5].over), (1150, 0));
        let all = calendar(&ladder, start, 10_000_000);
        assert_eq!(
            (all.len(), all[16].allowed, all[16].goes),
            (17, None, 10_000_000),
            "behind the last step"
        );
    }
}
