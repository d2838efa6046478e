//! When each message is to be begun: at once, or at its place in an even stream. It keeps those that are too early.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The stream's beginning and speed; the same for all threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    start: Instant,
    start_us: u64,
    /// Between two messages; none when each is begun as soon as it can be.
    interval: Option<Duration>,
}

impl Pace {
    /// A stream of `rate` messages a second that begins now; 0 is as fast as it goes.
    pub(crate) fn new(rate: f64) -> Self {
        let start_us =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let interval = (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate));
        Self { start: Instant::now(), start_us, interval }
    }

    /// When message `number` is to be begun; a late one is measured from here too, so that a server that stops
    /// for a moment is charged for everything that should have been sent meanwhile.
    pub(crate) fn due(&self, number: u64) -> Instant {
        match self.interval {
            Some(interval) => self.start + interval.mul_f64(number as f64),
            None => Instant::now(),
        }
    }

    /// Microseconds since 1970 at `instant`.
    pub(crate) fn time_us(&self, instant: Instant) -> u64 {
        self.start_us + instant.saturating_duration_since(self.start).as_micros() as u64
    }
}

/// Connections that have a message which is not yet due, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Parked(VecDeque<(Instant, u64, usize)>);

impl Parked {
    /// Keeps the connection at `place` until message `number` is due. Numbers rise, so times do.
    pub(crate) fn park(&mut self, due: Instant, number: u64, place: usize) {
        self.0.push_back((due, number, place));
    }

    /// The next one that is due by now: when it was to begin, its number, its connection.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Instant, u64, usize)> {
        let (due, ..) = *self.0.front()?;
        if due <= now { self.0.pop_front() } else { None }
    }

    /// How long until one is due.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.0.front().map(|(due, ..)| due.saturating_duration_since(now))
    }

    /// The connection at `place` is gone, and its message with it.
    pub(crate) fn forget(&mut self, place: usize) {
        self.0.retain(|(.., parked)| *parked != place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_even_and_late_messages_keep_their_time() {
        let pace = Pace::new(1000.0);
        assert_eq!(pace.due(250) - pace.due(0), Duration::from_millis(250));
        assert_eq!(pace.time_us(pace.due(3)) - pace.start_us, 3000);
        let mut parked = Parked::default();
        parked.park(pace.due(1), 1, 7);
        parked.park(pace.due(2), 2, 8);
        assert_eq!(parked.take_due(pace.due(0)), None);
        assert_eq!(parked.wait(pace.due(0)), Some(Duration::from_millis(1)));
        assert_eq!(parked.take_due(pace.due(5)), Some((pace.due(1), 1, 7)));
        parked.forget(8);
        assert_eq!(parked.take_due(pace.due(5)), None);
    }
}
