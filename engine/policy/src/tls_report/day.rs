//! A day of UTC, the period of a report (RFC 8460 section 4.1).

use std::fmt;
use std::time::Duration;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

const SECONDS: u64 = 24 * 3600;
/// 9999-12-31: RFC 3339 has no later one, and it is written for all that are.
const LAST: Day = Day(2_932_896);

/// A day of UTC, counted from 1970-01-01. Written as `2026-11-22`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub u32);

impl Day {
    /// The day that a moment belongs to.
    #[must_use]
    pub const fn of(at: UnixMs) -> Self {
        let days = at.seconds() / SECONDS;
        Self(if days > u32::MAX as u64 { u32::MAX } else { days as u32 })
    }

    /// Its first moment.
    #[must_use]
    pub const fn begin(self) -> UnixMs {
        UnixMs::from_seconds(self.0 as u64 * SECONDS)
    }

    /// The first moment that is no longer of it.
    #[must_use]
    pub fn end(self) -> UnixMs {
        self.begin() + Duration::from_secs(SECONDS)
    }

    /// Reads `2026-11-22`; `None` for what is no day of 1970 to 9999.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            let part = parts.next()?;
            let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| is_number)
        };
        let (year, month, date) = (number(4)?, number(2)?, number(2)?);
        if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) || date == 0 {
            return None;
        }
        let day = Self(days_before(year, month) + date - 1);
        (day.date() == (year, month, date)).then_some(day)
    }

    /// Year, month and day of the month.
    fn date(self) -> (u32, u32, u32) {
        let days = self.0.min(LAST.0);
        // No year is longer than 366 days, so this begins too early, by at most 22 years.
        let mut year = 1970 + days / 366;
        while days_before(year + 1, 1) <= days {
            year += 1;
        }
        let month = (1..=12).rev().find(|&month| days_before(year, month) <= days).unwrap_or(1);
        (year, month, days - days_before(year, month) + 1)
    }

    /// The day as a date-time of RFC 3339, at the given time of day.
    pub(super) fn at(self, time: &str) -> String {
        format!("{self}T{time}Z")
    }
}

/// Days from 1970-01-01 to the first of a month, in the Gregorian calendar.
fn days_before(year: u32, month: u32) -> u32 {
    const BEFORE_MONTH: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let is_leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let leap_days = past / 4 - past / 100 + past / 400 - 477;
    let in_year = BEFORE_MONTH[(month as usize - 1).min(11)] + u32::from(is_leap && month > 2);
    (year - 1970) * 365 + leap_days + in_year
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, date) = self.date();
        write!(f, "{year:04}-{month:02}-{date:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_and_read_by_the_gregorian_calendar() {
        // From `date -u -d DATE +%s`, divided by 86,400.
        for (text, number) in [
            ("1970-01-01", 0),
            ("1970-12-31", 364),
            ("1972-02-29", 789),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2026-11-22", 20_779),
            ("2100-02-28", 47_540),
            ("2100-03-01", 47_541),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(Day(number).to_string(), text);
            assert_eq!(Day::parse(text), Some(Day(number)), "{text}");
        }
        for text in [
            "",
            "2026-11",
            "2026-11-31",
            "2023-02-29",
            "2026-13-01",
            "2026-1-01",
            "1969-12-31",
            "2026-11-22-1",
            "+026-11-22",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_two_centuries_reads_back() {
        for number in 0..73_000 {
            assert_eq!(Day::parse(&Day(number).to_string()), Some(Day(number)));
        }
        let day = Day::of(UnixMs::from_seconds(20_779 * SECONDS + 86_399));
        assert_eq!((day, day.end()), (Day(20_779), Day(20_780).begin()));
        assert_eq!(Day(u32::MAX).to_string(), "9999-12-31");
    }
}
