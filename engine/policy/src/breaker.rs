//! The breaker: from which share of complaints, unknown users, spam refusals and blocks on mail is stopped, whoever sent it.
//!
//! Shares are judged by what their observations say at least, so a few unlucky ones stop nobody. It refuses to look at who it is:
//! campaigns, streams and canaries are measured alike.

use serde::{Deserialize, Serialize};

use crate::brain::surely_above;
use crate::reputation::Decayed;
use crate::tally::{Counts, Happening};

/// Millionths: the unit that shares are configured in.
const MILLION: f64 = 1_000_000.0;

/// `[breaker]`: the shares, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Whether anything is paused.
    pub enabled: bool,
    /// Complaints, of what was delivered.
    pub complaints_ppm: u32,
    /// Unknown users, of what was decided.
    pub unknown_users_ppm: u32,
    /// Spam refusals, of what was decided.
    pub spam_ppm: u32,
    /// Blocks of source or sender, of what was decided.
    pub blocks_ppm: u32,
    /// So many campaigns of one tenant paused within a day pause the tenant.
    pub campaigns: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            complaints_ppm: 3_000,
            unknown_users_ppm: 100_000,
            spam_ppm: 50_000,
            blocks_ppm: 300_000,
            campaigns: 3,
        }
    }
}

/// What has been seen of somebody's mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Accepted.
    pub delivered: f64,
    /// Called spam by the reader.
    pub complaints: f64,
    /// To mailboxes that are not there.
    pub unknown_users: f64,
    /// Of those, the ones that were told at the first attempt.
    pub unknown_at_once: f64,
    /// Taken for spam.
    pub spam: f64,
    /// Refused for the name of source or sender.
    pub blocks: f64,
    /// Refused for good for another reason.
    pub others: f64,
    /// Attempts that were put off.
    pub deferred: f64,
}

impl Evidence {
    /// Recipients with an outcome.
    #[must_use]
    pub fn decided(&self) -> f64 {
        self.delivered + self.unknown_users + self.spam + self.blocks + self.others
    }

    /// Recipients that receivers have said something about.
    #[must_use]
    pub fn asked(&self) -> f64 {
        self.decided() + self.deferred
    }

    /// The same of so many recipients at most: one that was put off again and again is one.
    #[must_use]
    pub fn within(self, recipients: u64) -> Self {
        let undecided = (recipients as f64 - self.decided()).max(0.0);
        Self { deferred: self.deferred.min(undecided), ..self }
    }

    /// Counts more. `excused`: blocks are not the mail's fault, since its source was refused already.
    pub fn add(&mut self, counts: &Counts, excused: bool) {
        let count = |happening| f64::from(counts[happening]);
        self.delivered += count(Happening::Delivered);
        self.complaints += count(Happening::Complaint);
        self.unknown_users += count(Happening::UnknownUser);
        self.unknown_at_once += count(Happening::UnknownAtOnce);
        self.spam += count(Happening::SpamRefused);
        self.others += count(Happening::OtherBounce);
        self.deferred += count(Happening::Deferred);
        if !excused {
            self.blocks += count(Happening::Blocked);
        }
    }

    /// The same with so many fewer of each fault.
    #[must_use]
    pub fn less(self, faults: f64) -> Self {
        let fewer = |count: f64| (count - faults).max(0.0);
        Self {
            complaints: fewer(self.complaints),
            unknown_users: fewer(self.unknown_users),
            unknown_at_once: fewer(self.unknown_at_once),
            spam: fewer(self.spam),
            blocks: fewer(self.blocks),
            ..self
        }
    }

    /// The evidence of decayed counts.
    pub(crate) fn of(counts: &Decayed) -> Self {
        Self {
            delivered: counts.get(Happening::Delivered),
            complaints: counts.get(Happening::Complaint),
            unknown_users: counts.get(Happening::UnknownUser),
            unknown_at_once: counts.get(Happening::UnknownAtOnce),
            spam: counts.get(Happening::SpamRefused),
            blocks: counts.get(Happening::Blocked),
            others: counts.get(Happening::OtherBounce),
            deferred: counts.get(Happening::Deferred),
        }
    }
}

/// Which share was too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TooMany {
    /// Complaints.
    Complaints,
    /// Unknown users.
    UnknownUsers,
    /// Spam refusals.
    Spam,
    /// Blocks.
    Blocks,
}

impl TooMany {
    /// The words of a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Complaints => "complaints",
            Self::UnknownUsers => "unknown users",
            Self::Spam => "spam refusals",
            Self::Blocks => "blocks",
        }
    }
}

/// Why mail is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// Which share.
    pub what: TooMany,
    /// How many.
    pub count: f64,
    /// Of how many: delivered ones for complaints; for unknown users that are told at once all that were asked for; decided ones
    /// for the rest.
    pub of: f64,
    /// The share that is the limit.
    pub limit: f64,
}

impl std::fmt::Display for Trip {
    /// As a sentence without its end: `52 unknown users of 300 (17.3 %, the limit is 10 %)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = if self.of > 0.0 { 100.0 * self.count / self.of } else { 100.0 };
        let (what, limit) = (self.what.words(), 100.0 * self.limit);
        let precision = if share < 1.0 { 2 } else { 1 };
        write!(
            f,
            "{:.0} {what} of {:.0} ({share:.precision$} %, the limit is {limit} %)",
            self.count, self.of
        )
    }
}

impl BreakerSettings {
    /// The first share that is surely too large; `None` when none is.
    #[must_use]
    pub fn trips(&self, evidence: &Evidence) -> Option<Trip> {
        let decided = evidence.decided();
        // Whoever is told at once is measured by all who were asked for, whoever is told later by those who are decided: a
        // receiver that greylists shows one kind long before it takes anybody.
        let at_once = evidence.unknown_at_once.min(evidence.unknown_users);
        let later = evidence.unknown_users - at_once;
        let shares = [
            // Complaints may be about mail of before; then they are their own measure.
            (
                TooMany::Complaints,
                evidence.complaints,
                evidence.delivered.max(evidence.complaints),
                self.complaints_ppm,
            ),
            (TooMany::UnknownUsers, at_once, evidence.asked(), self.unknown_users_ppm),
            (TooMany::UnknownUsers, later, decided - at_once, self.unknown_users_ppm),
            (TooMany::Spam, evidence.spam, decided, self.spam_ppm),
            (TooMany::Blocks, evidence.blocks, decided, self.blocks_ppm),
        ];
        shares.into_iter().find_map(|(what, count, of, limit_ppm)| {
            let limit = f64::from(limit_ppm) / MILLION;
            (surely_above(count, of, limit)).then_some(Trip { what, count, of, limit })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(delivered: u32, complaints: u32, unknown: u32, spam: u32, blocks: u32) -> Evidence {
        let mut counts = Counts::default();
        counts.add(Happening::Delivered, delivered);
        counts.add(Happening::Complaint, complaints);
        counts.add(Happening::UnknownUser, unknown);
        counts.add(Happening::SpamRefused, spam);
        counts.add(Happening::Blocked, blocks);
        let mut evidence = Evidence::default();
        evidence.add(&counts, false);
        evidence
    }

    #[test]
    fn what_trips_and_what_does_not() {
        let settings = BreakerSettings::default();
        let cases = [
            ("nothing", evidence(0, 0, 0, 0, 0), None),
            ("ten messages never condemn by unknown users", evidence(7, 0, 3, 0, 0), None),
            ("a usual list", evidence(9_700, 5, 250, 20, 0), None),
            ("one complaint of ten", evidence(10, 1, 0, 0, 0), None),
            ("an old list", evidence(240, 0, 60, 0, 0), Some(TooMany::UnknownUsers)),
            ("spam", evidence(270, 0, 0, 30, 0), Some(TooMany::Spam)),
            ("nobody wants it", evidence(10_000, 60, 0, 0, 0), Some(TooMany::Complaints)),
            ("blocked", evidence(20, 0, 0, 0, 40), Some(TooMany::Blocks)),
        ];
        for (who, evidence, expected) in cases {
            assert_eq!(settings.trips(&evidence).map(|trip| trip.what), expected, "{who}");
        }
    }

    #[test]
    fn unknown_users_of_a_receiver_that_greylists_the_rest_are_no_large_share() {
        let (mut evidence, mut counts) = (evidence(0, 0, 32, 0, 0), Counts::default());
        counts.add(Happening::UnknownAtOnce, 32);
        counts.add(Happening::Deferred, 3_000);
        evidence.add(&counts, false);
        let settings = BreakerSettings::default();
        assert_eq!(settings.trips(&evidence), None);
        let told_later = Evidence { unknown_at_once: 0.0, ..evidence };
        assert!(settings.trips(&told_later).is_some(), "they came a second time, like everybody");
        let of_few = evidence.within(100);
        assert_eq!(of_few.asked(), 100.0, "each was put off many times");
        assert_eq!(settings.trips(&of_few).map(|trip| (trip.count, trip.of)), Some((32.0, 100.0)));
    }

    #[test]
    fn it_says_why_with_figures() {
        let trip = BreakerSettings::default().trips(&evidence(248, 0, 52, 0, 0)).expect("17 %");
        assert_eq!(trip.to_string(), "52 unknown users of 300 (17.3 %, the limit is 10 %)");
        let trip = BreakerSettings::default().trips(&evidence(10_000, 60, 0, 0, 0)).expect("0.6 %");
        assert_eq!(trip.to_string(), "60 complaints of 10000 (0.60 %, the limit is 0.3 %)");
    }

    #[test]
    fn blocks_of_a_source_that_was_refused_before_are_excused() {
        let mut evidence = Evidence::default();
        let mut counts = Counts::default();
        counts.add(Happening::Blocked, 1000);
        evidence.add(&counts, true);
        assert_eq!(evidence.decided(), 0.0);
    }
}
