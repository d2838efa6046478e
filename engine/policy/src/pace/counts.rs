//! Learned limits that are counts: connections at the same time, and messages on one connection. A refusal tells such a
//! limit exactly, so it is kept, and tried again one step higher now and then.

use std::time::Duration;

use mail::UnixMs;

/// A refusal within this time of the last one means that the limit is far lower than it seems.
const SOON: Duration = Duration::from_secs(30);
/// Refusals in this time are one event.
const ONE_EVENT: Duration = Duration::from_secs(2);

/// How a count is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// How long a count must be in use before it grows, while nothing was refused and while steps stay clean.
    pub(super) step: Duration,
    /// How long a refused count is kept, first and at most.
    pub(super) hold: Duration,
    pub(super) hold_max: Duration,
}

/// A learned count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Count {
    now: u32,
    /// How much it has grown in a row.
    steps: u8,
    was_refused: bool,
    used: Duration,
    hold: Duration,
    refused_at: UnixMs,
}

impl Count {
    pub(super) const fn new(count: u32) -> Self {
        Self {
            now: count,
            steps: 0,
            was_refused: false,
            used: Duration::ZERO,
            hold: Duration::ZERO,
            refused_at: UnixMs(0),
        }
    }

    pub(super) const fn now(&self) -> u32 {
        self.now
    }

    /// The count above `count` was refused. Whether that changes anything.
    pub(super) fn refused(&mut self, count: u32, pace: Pace, at: UnixMs) -> bool {
        let before = self.now;
        let since = at.since(self.refused_at);
        let is_again = self.was_refused && since < SOON;
        let is_same_event = self.was_refused && since < ONE_EVENT;
        self.now = count.clamp(1, before);
        if is_again && !is_same_event {
            self.now = self.now.min(before - before / 4).max(1);
        }
        if !is_same_event {
            let is_near = self.steps <= 1;
            self.hold = if self.was_refused && is_near { self.hold * 2 } else { pace.hold };
            self.hold = self.hold.clamp(pace.hold, pace.hold_max);
            self.refused_at = at;
        }
        (self.was_refused, self.used, self.steps) = (true, Duration::ZERO, 0);
        self.now != before
    }

    /// The count was the bottleneck for `passed`; whether it has grown.
    pub(super) fn used(&mut self, passed: Duration, most: u32, pace: Pace) -> bool {
        self.used += passed;
        let needed = if self.was_refused && self.steps == 0 { self.hold } else { pace.step };
        if self.used < needed || self.now >= most {
            return false;
        }
        // A count that was found grows by one first, and faster with every step that stays clean.
        let more = match (self.was_refused, self.steps) {
            (true, 0) => 1,
            (true, 1) => self.now / 10,
            _ => self.now / 4,
        };
        self.steps = self.steps.saturating_add(1);
        self.used = Duration::ZERO;
        self.now = self.now.saturating_add(more.max(1)).min(most);
        true
    }

    pub(super) fn keep_within(&mut self, most: u32) {
        self.now = self.now.clamp(1, most.max(1));
    }
}
