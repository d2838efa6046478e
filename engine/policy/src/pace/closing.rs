//! When a limit is closed to us: from the first refusal until a message is taken again. It knows how long to rest, and what
//! was let pass between two such events; it refuses to know the rate.

use std::time::Duration;

use mail::UnixMs;

use super::span::Span;

/// How long nothing goes after a refusal; longer with each one that follows.
const REST: Span = Span { least: Duration::from_secs(1), messages: 2.0, most: Duration::from_secs(600) };
const REST_MAX: Duration = Duration::from_secs(2 * 3600);
/// Refusals in a row that double the rest; each one beyond them triples it.
const DOUBLED: u8 = 4;
/// Rests that are as long end when limits commonly open, this much behind it.
const ALIGNED: Duration = Duration::from_secs(60);
const BEHIND: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);
/// For so many hours a limit that counts by the hour is hoped for, then one that counts by the day.
const HOURS: u32 = 3;
/// A limit that was closed for so long, with so many single messages refused, counts over a long time.
const LONG: Span = Span { least: Duration::from_secs(60), messages: 20.0, most: Duration::from_secs(600) };
const LONG_FAILS: u8 = 3;
/// So often in a row, with nothing accepted in between, a receiver is in trouble before we rest; single messages fail often.
const TROUBLES: u8 = 3;
/// The rest then: at first, and at most.
const TROUBLE_REST: Duration = Duration::from_secs(1);
const TROUBLE_REST_MAX: Duration = Duration::from_secs(60);

/// A moment, and what had come to pass by then. The counts are the low bits of larger ones: only differences are of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: UnixMs,
    /// Messages accepted.
    pub(super) accepted: u32,
    /// For how long mail has waited for the rate, or for the end of a rest.
    pub(super) busy_ms: u32,
}

impl Mark {
    /// Accepted a second between `self` and `later`, in the time in which more could have been sent.
    pub(super) fn per_second_to(&self, later: &Self) -> f64 {
        let accepted = later.accepted.wrapping_sub(self.accepted);
        let busy_ms = later.busy_ms.wrapping_sub(self.busy_ms).max(1000);
        // The one that was refused would have been the next.
        (f64::from(accepted) + 1.0) * 1000.0 / f64::from(busy_ms)
    }
}

/// The last time that a limit closed, and the rest that followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    /// Nothing goes before.
    pub(super) rests_until: UnixMs,
    /// When the limit closed last; at 0 before it has.
    pub(super) closed: Mark,
    /// When it opened again; 0 before it has.
    pub(super) opened_at: UnixMs,
    /// When it opened last after it had been closed for long; the beginning before it has.
    pub(super) opened_long: Mark,
    /// Closings that came soon upon each other.
    pub(super) streak: u8,
    /// Single messages that were refused since the limit closed.
    fails: u8,
    /// Whether a message was accepted since the rest is over.
    has_passed: bool,
    /// How often in a row the receiver was in trouble of its own, and what had been accepted by then.
    troubles: u8,
    trouble_accepted: u32,
}

impl Closing {
    pub(super) fn new(now: UnixMs) -> Self {
        Self {
            rests_until: UnixMs(0),
            closed: Mark::default(),
            opened_at: UnixMs(0),
            opened_long: Mark { at: now, ..Mark::default() },
            streak: 0,
            fails: 0,
            has_passed: false,
            troubles: 0,
            trouble_accepted: 0,
        }
    }

    /// A message was accepted.
    pub(super) fn took(&mut self, now: UnixMs) {
        self.has_passed |= now >= self.rests_until;
    }

    /// Whether a message was taken after the rest.
    pub(super) fn is_over(&self, now: UnixMs) -> bool {
        self.has_passed && now >= self.rests_until
    }

    /// The limit closes; `rate` is what was chosen for afterwards, and the rest is at least `least`.
    pub(super) fn close(&mut self, closed: Mark, rate: f64, least: Duration) {
        (self.closed, self.fails, self.has_passed) = (closed, 0, false);
        self.rest(rate, least, closed.at);
    }

    /// The one message that was to show whether the limit is open was refused.
    pub(super) fn fail(&mut self, rate: f64, least: Duration, now: UnixMs) {
        (self.fails, self.has_passed) = (self.fails.saturating_add(1), false);
        self.rest(rate, least, now);
    }

    /// The limit is open again. Whether it had been closed for long.
    pub(super) fn open(&mut self, rate: f64, now: UnixMs) -> bool {
        self.opened_at = now;
        self.fails >= LONG_FAILS && now.since(self.closed.at) >= LONG.at(rate)
    }

    /// The receiver is in trouble of its own: a rest, doubled as long as nothing is taken. Whether there is one.
    pub(super) fn trouble(&mut self, accepted: u32, now: UnixMs) -> bool {
        let is_again = self.troubles > 0 && self.trouble_accepted == accepted;
        self.troubles = if is_again { self.troubles.saturating_add(1) } else { 1 };
        self.trouble_accepted = accepted;
        if self.troubles < TROUBLES {
            return false;
        }
        let rest = TROUBLE_REST.saturating_mul(1 << (self.troubles - TROUBLES).min(10));
        self.rests_until = self.rests_until.max(now + rest.min(TROUBLE_REST_MAX));
        true
    }

    fn rest(&mut self, rate: f64, least: Duration, now: UnixMs) {
        // That of a slow rate grows with the streak by itself.
        let rest = longer(REST.least.max(least), self.streak.saturating_add(self.fails));
        let rest = rest.max(longer(REST.at(rate), self.fails)).min(REST_MAX);
        self.rests_until = if rest < ALIGNED { now + rest } else { self.aligned(now, rest) };
    }

    /// The end of a long rest that begins now. Limits that count over long times open at a full hour or at midnight (UTC),
    /// or whole hours or days after they opened before, so a rest does not go on beyond such a moment.
    fn aligned(&self, now: UnixMs, rest: Duration) -> UnixMs {
        let is_of_hours = now.since(self.closed.at) < HOURS * HOUR;
        let period = if is_of_hours { HOUR } else { 24 * HOUR };
        let period_ms = period.as_millis() as u64;
        let begins = [UnixMs(0), self.opened_long.at, self.opened_at];
        let left_ms = begins.map(|began| period_ms - now.0.saturating_sub(began.0) % period_ms);
        let near_ms = left_ms.into_iter().min().unwrap_or(period_ms);
        (now + rest).min(UnixMs(now.0.saturating_add(near_ms)) + BEHIND)
    }
}

/// `rest` after so many refusals in a row.
fn longer(rest: Duration, refusals: u8) -> Duration {
    let tripled = 3_u32.pow(u32::from(refusals.saturating_sub(DOUBLED)).min(12));
    rest.saturating_mul(1 << refusals.min(DOUBLED)).saturating_mul(tripled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    #[test]
    fn rests_grow_from_a_second_to_hours_and_end_when_limits_open() {
        let mut closing = Closing::new(NOW);
        closing.close(Mark { at: NOW, ..Mark::default() }, 100.0, Duration::ZERO);
        let mut rests = Vec::new();
        let mut now = NOW;
        for _ in 0..12 {
            rests.push(closing.rests_until.since(now).as_secs());
            now = closing.rests_until;
            closing.fail(100.0, Duration::ZERO, now);
        }
        // It is 22:13:20: the rest after 432 s ends behind 23:00, the next an hour after the limit began to count.
        assert_eq!(rests, [1, 2, 4, 8, 16, 48, 144, 432, 1296, 851, 800, 2800]);
        assert_eq!(now.0 % 3_600_000, 2_000);
    }

    #[test]
    fn what_was_let_pass_is_measured_over_the_time_in_which_mail_waited() {
        let from = Mark { at: NOW, accepted: u32::MAX - 9, busy_ms: u32::MAX - 999 };
        let to = Mark { at: NOW + HOUR, accepted: 89, busy_ms: 9_000 };
        assert!((from.per_second_to(&to) - 10.0).abs() < 0.001, "{}", from.per_second_to(&to));
    }
}
