//! How much was accepted lately. It counts, and judges nothing.

use std::time::Duration;

use mail::UnixMs;

/// Samples that are kept: with one a second, the rate of the last five seconds.
const SAMPLES: usize = 5;
/// The least time, and the least number of messages, between two samples: a slow rate is measured over a longer time.
const SAMPLE_MS: u32 = 1_000;
const SAMPLE_ACCEPTED: u32 = 3;
/// The longest time between two samples.
const SAMPLE_MS_MAX: u32 = 300_000;
/// Without a tick for so long nothing was under way.
const IDLE: Duration = Duration::from_secs(5);
/// The least time that a rate is measured over.
const MEASURED_MS_MIN: u32 = 1_000;

/// A count of what was accepted, and what it was at a few moments before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meter {
    accepted: u64,
    ticked_at: UnixMs,
    /// The low 32 bits of moment and count, which are enough for differences; the oldest at `oldest`.
    samples: [(u32, u32); SAMPLES],
    newest: u8,
    count: u8,
}

impl Meter {
    pub(super) fn new(now: UnixMs) -> Self {
        let mut meter = Self { accepted: 0, ticked_at: now, samples: [(0, 0); SAMPLES], newest: 0, count: 0 };
        meter.restart(now);
        meter
    }

    /// One more was accepted.
    pub(super) const fn took(&mut self) {
        self.accepted = self.accepted.wrapping_add(1);
    }

    /// All that was accepted.
    pub(super) const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The low bits of that, which are enough for differences.
    pub(super) const fn low(&self) -> u32 {
        low(self.accepted)
    }

    pub(super) const fn ticked_at(&self) -> UnixMs {
        self.ticked_at
    }

    /// Looks at the clock: how long since the last look, no longer than the time after which nothing was under way.
    pub(super) fn tick(&mut self, now: UnixMs) -> Duration {
        let passed = now.since(self.ticked_at);
        if passed > IDLE || now < self.ticked_at {
            self.restart(now);
        }
        self.ticked_at = now;
        let (at, accepted) = self.samples[usize::from(self.newest)];
        let (passed_ms, more) = (low(now.0).wrapping_sub(at), low(self.accepted).wrapping_sub(accepted));
        if (passed_ms >= SAMPLE_MS && more >= SAMPLE_ACCEPTED) || passed_ms >= SAMPLE_MS_MAX {
            self.push(now);
        }
        passed.min(IDLE)
    }

    /// Nothing waits: if nothing was accepted either, the time does not count.
    pub(super) fn idle(&mut self, now: UnixMs) {
        if self.samples[usize::from(self.newest)].1 == self.low() {
            self.restart(now);
        }
    }

    /// Forgets what was measured: from `now` on it is another rate.
    pub(super) fn restart(&mut self, now: UnixMs) {
        self.count = 0;
        self.push(now);
    }

    /// Accepted a second, lately.
    pub(super) fn per_second(&self, now: UnixMs) -> f64 {
        let oldest = (usize::from(self.newest) + SAMPLES + 1 - usize::from(self.count)) % SAMPLES;
        let (at, accepted) = self.samples[oldest];
        let is_first_after_idleness = now.since(self.ticked_at) > IDLE;
        let passed_ms = match is_first_after_idleness {
            true => MEASURED_MS_MIN,
            false => low(now.0).wrapping_sub(at).clamp(MEASURED_MS_MIN, SAMPLE_MS_MAX * SAMPLES as u32),
        };
        // On average half of the next one is done.
        (f64::from(self.low().wrapping_sub(accepted)) + 0.5) * 1000.0 / f64::from(passed_ms)
    }

    fn push(&mut self, now: UnixMs) {
        self.newest = (self.newest + 1) % SAMPLES as u8;
        self.samples[usize::from(self.newest)] = (low(now.0), low(self.accepted));
        self.count = (self.count + 1).min(SAMPLES as u8);
    }
}

/// The low bits of a number.
pub(super) const fn low(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks once a second for `seconds`, with `per_second` accepted in each; the moment behind.
    fn run(meter: &mut Meter, from: UnixMs, seconds: u64, per_second: u32) -> UnixMs {
        for second in 1..=seconds {
            (0..per_second).for_each(|_| meter.took());
            meter.tick(UnixMs(from.0 + second * 1000));
        }
        UnixMs(from.0 + seconds * 1000)
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut meter = Meter::new(UnixMs(1_700_000_000_000));
        let now = run(&mut meter, UnixMs(1_700_000_000_000), 60, 10);
        let now = run(&mut meter, now, 5, 50);
        assert!((meter.per_second(now) - 50.0).abs() < 0.2, "{}", meter.per_second(now));
    }

    #[test]
    fn a_slow_rate_is_measured_over_a_longer_time() {
        let start = UnixMs(1_700_000_000_000);
        let mut meter = Meter::new(start);
        let mut now = start;
        for _ in 0..100 {
            now = run(&mut meter, now, 1, 1);
            now = run(&mut meter, now, 1, 0);
        }
        assert!((meter.per_second(now) - 0.5).abs() < 0.06, "{}", meter.per_second(now));
    }

    #[test]
    fn idleness_and_steps_of_the_clock_begin_a_new_measure() {
        let start = UnixMs(1_700_000_000_000);
        let mut meter = Meter::new(start);
        let now = run(&mut meter, start, 10, 10) + Duration::from_secs(600);
        assert!(meter.per_second(now) < 42.0, "at most what the last samples hold, in one second");
        assert_eq!(meter.tick(now), IDLE);
        assert_eq!(meter.tick(start), Duration::ZERO, "a step back");
        assert!(meter.per_second(start) < 1.0);
    }
}
