//! The rests of single mailboxes that are full or are sent too much: while nothing has changed, no attempt is made.
//!
//! However many messages wait for one mailbox, the end of a rest lets exactly one of them try; the others wait for what becomes
//! of it. It keeps no message and refuses to wake anybody: whoever asks again learns what has changed.

use std::time::Duration;

use mail::UnixMs;

use crate::brain::Bounded;
pub use crate::reaction::MailboxTrouble;

/// Mailboxes remembered at the same time: at 40 bytes each the table stays below 16 MB. The least recently troubled is forgotten,
/// which costs it one attempt more.
pub const MAILBOXES_MAX: usize = 200_000;
/// How long the fate of a probe is awaited before another may go: longer than a receiver takes to answer for a message.
const PROBE_MAX: Duration = Duration::from_secs(600);
/// How soon those who wait for a probe ask again: they leave at most this long after it succeeded.
const PROBE_WAIT: Duration = Duration::from_secs(5);
/// How long a trouble is remembered after its rest has ended and nobody has tried: the next one then begins anew.
const MEMORY: Duration = Duration::from_secs(3 * 86_400);

/// The rests after the first, second, ... time in a row; the last repeats. People empty a full mailbox within hours or days;
/// one that gets too much at once is free again within minutes.
const fn rests_of(trouble: MailboxTrouble) -> [Duration; 4] {
    const fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }
    match trouble {
        MailboxTrouble::Full => [minutes(60), minutes(4 * 60), minutes(12 * 60), minutes(24 * 60)],
        MailboxTrouble::Rate => [minutes(2), minutes(5), minutes(15), minutes(60)],
    }
}

/// The reason code of a trouble, for `why` and the story.
#[must_use]
pub const fn reason(trouble: MailboxTrouble) -> &'static str {
    match trouble {
        MailboxTrouble::Full => "mailbox.full",
        MailboxTrouble::Rate => "mailbox.rate",
    }
}

/// One mailbox that rests.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: UnixMs,
    /// The probe that is under way is given up at this moment; zero: there is none.
    probe_until: UnixMs,
    trouble: MailboxTrouble,
    times: u8,
}

/// The mailboxes of one shard that rest. A mailbox is named by a hash of its address in lower case.
#[derive(Debug)]
pub struct Mailboxes {
    resting: Bounded<u64, Rest>,
}

impl Default for Mailboxes {
    fn default() -> Self {
        Self::with_limit(MAILBOXES_MAX)
    }
}

impl Mailboxes {
    /// A table of at most `limit` mailboxes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { resting: Bounded::new(limit) }
    }

    /// Until when nothing may be tried at `mailbox`; `None`: now. Asked right before an attempt: the first who is let through
    /// after a rest is its probe, and must be followed by [`Self::trouble`], [`Self::works`] or [`Self::undecided`].
    pub fn rests(&mut self, mailbox: u64, now: UnixMs) -> Option<UnixMs> {
        let rest = self.resting.find_mut(&mailbox)?;
        if now < rest.until {
            return Some(rest.until);
        }
        if now < rest.probe_until {
            return Some(now + PROBE_WAIT);
        }
        rest.probe_until = now + PROBE_MAX;
        None
    }

    /// The same without becoming the probe: for `why`. The trouble stands beside the moment, which is past when a probe is due.
    #[must_use]
    pub fn resting(&self, mailbox: u64) -> Option<(MailboxTrouble, UnixMs)> {
        self.resting.get(&mailbox).map(|rest| (rest.trouble, rest.until))
    }

    /// `mailbox` refused a message for its own state: the moment at which it may be tried again.
    ///
    /// Messages that were under way when the rest began do not prolong it.
    pub fn trouble(&mut self, mailbox: u64, trouble: MailboxTrouble, now: UnixMs) -> UnixMs {
        let before = self.resting.find_mut(&mailbox).copied();
        if let Some(rest) = before.filter(|rest| now < rest.until && rest.trouble == trouble) {
            return rest.until;
        }
        let same = before.filter(|rest| rest.trouble == trouble && now < rest.until + MEMORY);
        let times = same.map_or(0, |rest| rest.times.saturating_add(1));
        let rests = rests_of(trouble);
        let until = now + rests[usize::from(times).min(rests.len() - 1)];
        self.resting.insert(mailbox, Rest { until, probe_until: UnixMs(0), trouble, times });
        until
    }

    /// `mailbox` took a message: everything for it may go. Whether it had been resting.
    pub fn works(&mut self, mailbox: u64) -> bool {
        !self.resting.is_empty() && self.resting.remove(&mailbox).is_some()
    }

    /// A probe came back without a word on the mailbox (no connection, greylisting, another fault): the next one may go.
    pub fn undecided(&mut self, mailbox: u64) {
        if let Some(rest) = self.resting.find_mut(&mailbox) {
            rest.probe_until = UnixMs(0);
        }
    }

    /// How many mailboxes rest or await their probe.
    #[must_use]
    pub fn count(&self) -> usize {
        self.resting.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: UnixMs = UnixMs(1_700_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_full_mailbox_costs_one_attempt_per_rest_however_many_wait() {
        let mut mailboxes = Mailboxes::default();
        assert_eq!(mailboxes.trouble(7, MailboxTrouble::Full, START), START + HOUR);
        let mut attempts = Vec::new();
        for second in 1..3 * 86_400 {
            let now = START + Duration::from_secs(second);
            // Hundreds of messages ask, each second.
            for _ in 0..300 {
                if mailboxes.rests(7, now).is_none() {
                    attempts.push(second / 3600);
                }
            }
            if attempts.last() == Some(&(second / 3600)) && second % 3600 == 2 {
                mailboxes.trouble(7, MailboxTrouble::Full, now);
            }
        }
        assert_eq!(attempts, [1, 5, 17, 41, 65], "after 1, 4, 12, 24 and 24 hours");
    }

    #[test]
    fn when_the_probe_succeeds_all_go_at_once() {
        let mut mailboxes = Mailboxes::default();
        let until = mailboxes.trouble(7, MailboxTrouble::Full, START);
        assert_eq!(mailboxes.rests(7, until), None, "the probe");
        assert_eq!(mailboxes.rests(7, until), Some(until + PROBE_WAIT), "the others wait for it");
        assert!(mailboxes.works(7));
        assert_eq!(mailboxes.rests(7, until), None);
        assert!(!mailboxes.works(7));
        assert_eq!(mailboxes.count(), 0);
    }

    #[test]
    fn a_probe_that_says_nothing_or_never_returns_is_followed_by_another() {
        let mut mailboxes = Mailboxes::default();
        let until = mailboxes.trouble(7, MailboxTrouble::Rate, START);
        assert_eq!(until, START + Duration::from_secs(120));
        assert_eq!(mailboxes.rests(7, until), None);
        mailboxes.undecided(7);
        assert_eq!(mailboxes.rests(7, until), None);
        assert!(mailboxes.rests(7, until + PROBE_WAIT).is_some());
        assert_eq!(mailboxes.rests(7, until + PROBE_MAX), None);
    }

    #[test]
    fn refusals_of_what_was_under_way_do_not_prolong_the_rest() {
        let mut mailboxes = Mailboxes::default();
        let until = mailboxes.trouble(7, MailboxTrouble::Full, START);
        for ms in 1..100 {
            let again = mailboxes.trouble(7, MailboxTrouble::Full, START + Duration::from_millis(ms));
            assert_eq!(again, until);
        }
    }

    #[test]
    fn a_trouble_of_last_week_is_forgotten() {
        let mut mailboxes = Mailboxes::default();
        let until = mailboxes.trouble(7, MailboxTrouble::Full, START);
        let later = until + MEMORY;
        assert_eq!(mailboxes.trouble(7, MailboxTrouble::Full, later), later + HOUR);
    }

    proptest! {
        #[test]
        fn the_table_stays_bounded_and_lets_one_probe_through(
            steps in proptest::collection::vec((0_u64..40, 0_u8..4, 0_u64..7_200_000), 1..400),
        ) {
            let mut mailboxes = Mailboxes::with_limit(16);
            let mut now = START;
            for (mailbox, what, wait_ms) in steps {
                now = now + Duration::from_millis(wait_ms);
                match what {
                    0 => prop_assert!(mailboxes.trouble(mailbox, MailboxTrouble::Full, now) > now),
                    1 => prop_assert!(mailboxes.trouble(mailbox, MailboxTrouble::Rate, now) > now),
                    2 => drop(mailboxes.works(mailbox)),
                    _ => {
                        let known = mailboxes.resting(mailbox).is_some();
                        let first = mailboxes.rests(mailbox, now);
                        prop_assert!(first.is_none_or(|until| until > now));
                        if known && first.is_none() {
                            prop_assert!(mailboxes.rests(mailbox, now).is_some(), "one probe at a time");
                        }
                    }
                }
                prop_assert!(mailboxes.count() <= 16);
            }
        }
    }
}
