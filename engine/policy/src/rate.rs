//! How often something may happen, and the bucket that holds it to that.

use std::fmt;
use std::time::Duration;

use mail::UnixMs;

/// The longest time that a rate counts by: a thousand days.
const PER_MAX: Duration = Duration::from_secs(86_400_000);

fn is_period(per: Duration) -> bool {
    !per.is_zero() && per <= PER_MAX
}

/// So many per so long, such as `100/s` or `5000/h`. Both parts are above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// The rate; `None` when a part is zero or `per` is above a thousand days.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        (count > 0 && is_period(per)).then_some(Self { count, per })
    }

    /// So many each second; zero counts as one.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self { count: if count == 0 { 1 } else { count }, per: Duration::from_secs(1) }
    }

    /// So many each hour; zero counts as one.
    #[must_use]
    pub const fn per_hour(count: u32) -> Self {
        Self { count: if count == 0 { 1 } else { count }, per: Duration::from_secs(3600) }
    }

    /// The rate of so many a second, in the unit that keeps its digits: a second from 10,000 on, else a minute from 100
    /// on, else an hour, and a day below 10 an hour. What is no number, or less than one a day, is one a day.
    #[must_use]
    pub fn from_per_second(per_second: f64) -> Self {
        let seconds: u32 = match per_second {
            fast if fast >= 10_000.0 => 1,
            fast if fast >= 100.0 => 60,
            slow if slow >= 10.0 / 3600.0 => 3600,
            _ => 86_400,
        };
        // Rounded down, so that a ceiling is kept; a little is forgiven to what was computed. `as` stops at the largest
        // number, and takes what is no number for zero.
        let count = (per_second * f64::from(seconds) + 1e-6).floor() as u32;
        Self { count: count.max(1), per: Duration::from_secs(seconds.into()) }
    }

    /// How many a second.
    #[must_use]
    pub fn as_per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }

    /// The faster of two.
    pub(crate) fn faster(self, other: Self) -> Self {
        if self.interval_ns() <= other.interval_ns() { self } else { other }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// In which time.
    #[must_use]
    pub const fn per(self) -> Duration {
        self.per
    }

    /// The time from one to the next, in nanoseconds; at least 1.
    pub(crate) fn interval_ns(self) -> u64 {
        let ns = self.per.as_nanos() / u128::from(self.count);
        u64::try_from(ns).unwrap_or(u64::MAX).max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, Unit(self.per))
    }
}

/// So many bytes per so long, such as `5MB/s`. Both parts are above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRate {
    bytes: u64,
    per: Duration,
}

impl ByteRate {
    /// The rate; `None` when a part is zero or `per` is above a thousand days.
    #[must_use]
    pub fn new(bytes: u64, per: Duration) -> Option<Self> {
        (bytes > 0 && is_period(per)).then_some(Self { bytes, per })
    }

    /// How long that many bytes take.
    #[must_use]
    pub fn time_of(self, bytes: u64) -> Duration {
        let ns = self.per.as_nanos().saturating_mul(bytes.into()) / u128::from(self.bytes);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1_000_000_000, "GB"),
            (1 << 30, "GiB"),
            (1_000_000, "MB"),
            (1 << 20, "MiB"),
            (1_000, "kB"),
            (1 << 10, "KiB"),
        ];
        let fits = units.into_iter().find(|&(unit, _)| self.bytes.is_multiple_of(unit));
        let (count, unit) = fits.map_or((self.bytes, "B"), |(unit, name)| (self.bytes / unit, name));
        write!(f, "{count}{unit}/{}", Unit(self.per))
    }
}

/// The time of a rate as it is written behind the stroke.
struct Unit(Duration);

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            1 => f.write_str("s"),
            60 => f.write_str("min"),
            3_600 => f.write_str("h"),
            86_400 => f.write_str("d"),
            _ => write!(f, "{}s", self.0.as_secs_f64()),
        }
    }
}

/// What may be taken at once after a pause: what the rate gives in this time, and never less than one.
/// Short, so that the first second after a pause holds hardly more than any other.
const BURST_NS: u64 = 100_000_000;

/// A token bucket for one rate in 24 bytes, kept as the moment at which it will be full again (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    interval_ns: u64,
    burst_ns: u64,
    full_at_ns: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let interval_ns = rate.interval_ns();
        Self { interval_ns, burst_ns: BURST_NS.max(interval_ns), full_at_ns: 0 }
    }

    /// Changes the rate and keeps what is in the bucket.
    pub fn set_rate(&mut self, rate: Rate) {
        *self = Self { full_at_ns: self.full_at_ns, ..Self::new(rate) };
    }

    /// Takes one token.
    ///
    /// # Errors
    /// The bucket is empty: the moment at which there will be one.
    pub fn take(&mut self, now: UnixMs) -> Result<(), UnixMs> {
        if let Some(moment) = self.wait_until(now) {
            return Err(moment);
        }
        self.full_at_ns = self.full_at_ns.max(nanoseconds(now)).saturating_add(self.interval_ns);
        Ok(())
    }

    /// Takes one token, if need be one that comes within `ahead`: what comes later waits the longer, so the rate holds.
    pub fn take_ahead(&mut self, now: UnixMs, ahead: Duration) -> bool {
        let may_go = self.wait_until(now + ahead).is_none();
        if may_go {
            self.full_at_ns = self.full_at_ns.max(nanoseconds(now)).saturating_add(self.interval_ns);
        }
        may_go
    }

    /// Puts back a token that was taken and not used.
    pub fn give_back(&mut self) {
        self.full_at_ns = self.full_at_ns.saturating_sub(self.interval_ns);
    }

    /// `None` when a token can be taken now, else the moment at which there will be one.
    #[must_use]
    pub fn wait_until(&self, now: UnixMs) -> Option<UnixMs> {
        let now_ns = nanoseconds(now);
        let full_at_ns = self.full_at_ns.max(now_ns).saturating_add(self.interval_ns);
        let allowed_from_ns = full_at_ns.saturating_sub(self.burst_ns);
        (allowed_from_ns > now_ns).then(|| UnixMs(allowed_from_ns.div_ceil(1_000_000)))
    }
}

fn nanoseconds(moment: UnixMs) -> u64 {
    moment.0.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes as fast as the bucket allows from `start` for `length_ms`; the moments at which it did.
    fn drain(rate: Rate, start: u64, length_ms: u64) -> Vec<u64> {
        let mut bucket = Bucket::new(rate);
        let mut now = start;
        let mut taken = Vec::new();
        while now < start + length_ms {
            match bucket.take(UnixMs(now)) {
                Ok(()) => taken.push(now),
                Err(until) => {
                    assert!(until.0 > now, "the wait ends after now");
                    now = until.0;
                }
            }
        }
        taken
    }

    #[test]
    fn a_hundred_a_second_is_a_hundred_and_ten_in_the_first_second() {
        let start = 1_700_000_000_000;
        let taken = drain(Rate::per_second(100), start, 10_000);
        // The burst holds the token of the first moment, so the sums are one less.
        assert_eq!(taken.iter().filter(|&&at| at < start + 1000).count(), 109);
        assert_eq!(taken.len(), 1009);
    }

    #[test]
    fn a_slow_rate_has_no_burst() {
        let rate = Rate::new(5000, Duration::from_secs(3600)).expect("above zero");
        assert_eq!(drain(rate, 1_700_000_000_000, 3_600_000).len(), 5000);
    }

    #[test]
    fn a_rate_of_bytes_says_how_long_they_take() {
        let rate = ByteRate::new(5_000_000, Duration::from_secs(1)).expect("above zero");
        assert_eq!(rate.time_of(50_000_000), Duration::from_secs(10));
        assert_eq!(rate.time_of(u64::MAX).as_nanos(), u128::from(u64::MAX));
        for (bytes, seconds, shown) in [
            (5_000_000, 1, "5MB/s"),
            (1 << 20, 60, "1MiB/min"),
            (1_500, 86_400, "1500B/d"),
            (2_000, 10, "2kB/10s"),
        ] {
            let rate = ByteRate::new(bytes, Duration::from_secs(seconds)).expect("above zero");
            assert_eq!(rate.to_string(), shown);
        }
        assert_eq!(ByteRate::new(0, Duration::from_secs(1)), None);
    }

    #[test]
    fn a_token_given_back_can_be_taken_again() {
        let mut bucket = Bucket::new(Rate::per_second(1));
        let now = UnixMs(1_700_000_000_000);
        assert_eq!(bucket.take(now), Ok(()));
        assert_eq!(bucket.take(now), Err(now + Duration::from_secs(1)));
        bucket.give_back();
        assert_eq!(bucket.take(now), Ok(()));
    }

    #[test]
    fn tokens_taken_ahead_are_paid_for_by_waiting() {
        let mut bucket = Bucket::new(Rate::per_second(100));
        let now = UnixMs(1_700_000_000_000);
        let taken = (0..1000).take_while(|_| bucket.take_ahead(now, Duration::from_millis(500))).count();
        assert_eq!(taken, 60, "a burst of 10 and half a second");
        assert_eq!(bucket.take(now), Err(now + Duration::from_millis(510)));
    }

    #[test]
    fn a_clock_that_steps_back_costs_no_panic_and_no_burst() {
        let mut bucket = Bucket::new(Rate::per_second(10));
        assert_eq!(bucket.take(UnixMs(10_000)), Ok(()));
        assert!(bucket.take(UnixMs(0)).is_err());
        assert!(bucket.wait_until(UnixMs::NEVER).is_none());
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_rate_and_one_burst(count in 1_u32..20_000, seconds in 1_u64..100) {
            let rate = Rate::new(count, Duration::from_secs(seconds)).expect("above zero");
            let taken = drain(rate, 1_700_000_000_000, 3000);
            let per_second = f64::from(count) / seconds as f64;
            let burst = (per_second * 0.1).max(1.0);
            for (index, &from) in taken.iter().enumerate().step_by(17) {
                let in_window = taken[index..].iter().take_while(|&&at| at < from + 1000).count();
                prop_assert!(in_window as f64 <= per_second + burst + 1.0, "{in_window} in a second of {rate}");
            }
        }
    }
}
