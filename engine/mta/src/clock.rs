//! The engine's one clock: wall time that never runs backwards and never stands still. No other file of this crate
//! reads the time of day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mail::UnixMs;

/// Reads the time of day. When the host's clock is set back, time goes on from where it was, ahead of the host until the
/// next start: timers and budgets neither see it run backwards nor wait for the lost hour.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// The time of day at `started`, by the latest reading of the host's clock that was ahead of all before.
    base_ms: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now(), base_ms: AtomicU64::new(0) }
    }
}

impl Clock {
    /// The present moment.
    #[must_use]
    pub(crate) fn now(&self) -> UnixMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = |ms: u128| u64::try_from(ms).unwrap_or(u64::MAX);
        self.moment(whole(since_epoch.as_millis()), whole(self.started.elapsed().as_millis()))
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
