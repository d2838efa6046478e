//! Virtual time: what happens next, in order. It refuses to know what the things mean that happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use mail::UnixMs;

/// Microseconds since the beginning: replies of a fast server come within less than a millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }

    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn minute(self) -> usize {
        (self.0 / 60_000_000) as usize
    }
}

/// The moment of the world's calendar at which every rehearsal begins: midnight (UTC), 17 November 2025, a Monday.
pub(crate) const START: UnixMs = UnixMs(1_763_337_600_000);

/// What lies ahead, earliest first; of equals, what was noted first.
#[derive(Debug)]
pub(crate) struct Clock<E> {
    now: Moment,
    noted: u64,
    ahead: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Moment,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<E> Clock<E> {
    pub(crate) const fn new() -> Self {
        Self { now: Moment(0), noted: 0, ahead: BinaryHeap::new() }
    }

    pub(crate) const fn moment(&self) -> Moment {
        self.now
    }

    /// The present, as queue and policy want it.
    pub(crate) fn now(&self) -> UnixMs {
        UnixMs(START.0 + self.now.0 / 1000)
    }

    /// How far the rehearsal is.
    pub(crate) const fn elapsed(&self) -> Duration {
        Duration::from_micros(self.now.0)
    }

    pub(crate) fn after(&mut self, wait: Duration, event: E) {
        self.at(self.now.after(wait), event);
    }

    /// Notes that `event` happens at `at`; what is past happens now.
    pub(crate) fn at(&mut self, at: Moment, event: E) {
        self.noted += 1;
        self.ahead.push(Reverse(Entry { at: at.max(self.now), order: self.noted, event }));
    }

    /// Notes that `event` happens at a moment of the calendar.
    pub(crate) fn at_time(&mut self, at: UnixMs, event: E) {
        self.at(Moment(at.0.saturating_sub(START.0).saturating_mul(1000)), event);
    }

    /// Goes on to the next thing that happens.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(entry) = self.ahead.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order_and_equals_as_they_were_noted() {
        let mut clock = Clock::new();
        clock.after(Duration::from_millis(5), 'c');
        clock.after(Duration::from_micros(300), 'a');
        clock.after(Duration::from_micros(300), 'b');
        assert_eq!((clock.next(), clock.next()), (Some('a'), Some('b')));
        assert_eq!(clock.elapsed(), Duration::from_micros(300));
        clock.at(Moment(0), 'd');
        assert_eq!((clock.next(), clock.elapsed()), (Some('d'), Duration::from_micros(300)), "never back");
        assert_eq!((clock.next(), clock.now(), clock.next()), (Some('c'), UnixMs(START.0 + 5), None));
    }
}
