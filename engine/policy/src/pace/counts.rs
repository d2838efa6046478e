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
    /// For how long it was the bottleneck.
    used_ms: u32,
    /// How long it is kept after a refusal.
    hold_s: u32,
    /// When it was refused last, in seconds after the epoch; 0 when it never was.
    refused_s: u32,
    /// How often it has grown in a row.
    steps: u8,
}

impl Count {
    pub(super) const fn new(count: u32) -> Self {
        Self { now: count, used_ms: 0, hold_s: 0, refused_s: 0, steps: 0 }
    }

    pub(super) const fn now(&self) -> u32 {
        self.now
    }

    /// More than `count` was refused. Whether that changes anything.
    pub(super) fn refused(&mut self, count: u32, pace: Pace, at: UnixMs) -> bool {
        let before = self.now;
        let at_s = u32::try_from(at.seconds()).unwrap_or(u32::MAX);
        let since = Duration::from_secs(at_s.saturating_sub(self.refused_s).into());
        let was_refused = self.refused_s > 0;
        let is_same_event = was_refused && since < ONE_EVENT;
        self.now = count.clamp(1, before);
        (self.used_ms, self.refused_s) = (0, if is_same_event { self.refused_s } else { at_s.max(1) });
        if !is_same_event {
            if was_refused && since < SOON {
                self.now = self.now.min(before - before / 4).max(1);
            }
            let is_near = was_refused && self.steps <= 1;
            let hold = if is_near { 2 * Duration::from_secs(self.hold_s.into()) } else { pace.hold };
            self.hold_s = u32::try_from(hold.clamp(pace.hold, pace.hold_max).as_secs()).unwrap_or(u32::MAX);
            self.steps = 0;
        }
        self.now != before
    }

    /// The count was the bottleneck for `passed`; whether it has grown.
    pub(super) fn used(&mut self, passed: Duration, most: u32, pace: Pace) -> bool {
        self.used_ms = self.used_ms.saturating_add(u32::try_from(passed.as_millis()).unwrap_or(u32::MAX));
        let is_held = self.refused_s > 0 && self.steps == 0;
        let needed = if is_held { Duration::from_secs(self.hold_s.into()) } else { pace.step };
        if Duration::from_millis(self.used_ms.into()) < needed || self.now >= most {
            return false;
        }
        // A count that was found grows by one first, and faster with every step that stays clean.
        let more = match (self.refused_s > 0, self.steps) {
            (true, 0) => 1,
            (true, 1) => self.now / 10,
            _ => self.now / 4,
        };
        (self.used_ms, self.steps) = (0, self.steps.saturating_add(1));
        self.now = self.now.saturating_add(more.max(1)).min(most);
        true
    }

    pub(super) fn keep_within(&mut self, most: u32) {
        self.now = self.now.clamp(1, most.max(1));
    }
}
