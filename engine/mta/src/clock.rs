//! The engine's one clock: wall time that never runs backwards and never stands still. No other file of this crate
//! reads the time of day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mail::UnixMs;

/// Reads the time of day. When the host's clock is set back, time goes on from where it was, ahead of the host until the
/// next start: timers and budgets neither see it run backwards nor wait for the lost hour.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// The time of day at `started`, by the latest reading of the host's clock that was ahead of all before.
    base_ms: AtomicU64,
    /// When the host's clock was looked at last, in milliseconds after `started`.
    looked_ms: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now(), base_ms: AtomicU64::new(0), looked_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Clock {
    /// The present moment.
    #[must_use]
    pub(crate) fn now(&self) -> UnixMs {
        let elapsed_ms = whole_ms(self.started.elapsed());
        // Within a millisecond the host's clock has nothing new to say, and a message asks many times.
        if self.looked_ms.load(Ordering::Acquire) == elapsed_ms {
            return UnixMs(self.base_ms.load(Ordering::Relaxed) + elapsed_ms);
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = self.moment(whole_ms(since_epoch), elapsed_ms);
        // Behind the new base: who sees this sees that.
        self.looked_ms.store(elapsed_ms, Ordering::Release);
        now
    }

    /// The moment when the host's clock says `host_ms`, `elapsed_ms` after the start.
    fn moment(&self, host_ms: u64, elapsed_ms: u64) -> UnixMs {
        let base_ms = host_ms.saturating_sub(elapsed_ms);
        let mut latest_ms = self.base_ms.load(Ordering::Relaxed);
        if base_ms > latest_ms {
            latest_ms = self.base_ms.fetch_max(base_ms, Ordering::Relaxed).max(base_ms);
        }
        UnixMs(latest_ms + elapsed_ms)
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_goes_on() {
        let clock = Clock::default();
        let hour = 3_600_000;
        for (host_ms, elapsed_ms, expected) in [
            (hour, 0, hour),
            (hour + 10, 10, hour + 10),
            (10, 20, hour + 20),
            (500, 510, hour + 510),
            (2 * hour, 520, 2 * hour),
            (2 * hour + 5, 525, 2 * hour + 5),
        ] {
            assert_eq!(clock.moment(host_ms, elapsed_ms), UnixMs(expected));
        }
    }
}
