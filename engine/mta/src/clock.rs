//! The engine's one clock: wall time that never runs backwards. No other file of this crate reads the time of day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mail::UnixMs;

/// Reads the time of day; when the host's clock is set back, the last moment is repeated until it is reached again,
/// so that timers and budgets never see time run backwards.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    latest: AtomicU64,
}

impl Clock {
    /// The present moment.
    #[must_use]
    pub(crate) fn now(&self) -> UnixMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let before = self.latest.load(Ordering::Relaxed);
        if ms > before {
            // Another thread may have seen a later moment meanwhile.
            return UnixMs(ms.max(self.latest.fetch_max(ms, Ordering::Relaxed)));
        }
        UnixMs(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards() {
        let clock = Clock::default();
        clock.latest.store(u64::MAX / 2, Ordering::Relaxed);
        assert_eq!(clock.now(), UnixMs(u64::MAX / 2));
    }
}
