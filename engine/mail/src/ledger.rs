//! The books: what was accepted and what became of it.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::Disposition;

/// Counts of recipients since the spool was created. `accepted` = `queued()` + all final ones, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Recipients taken in.
    pub accepted: u64,
    /// Taken by their receiver.
    pub delivered: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Given up when their time ran out.
    pub expired: u64,
    /// Withdrawn by the user.
    pub cancelled: u64,
    /// Not tried because of a suppression list.
    pub suppressed: u64,
    /// Attempts whose end nobody knows; each may have caused one duplicate. Not part of the balance.
    pub unknown_retries: u64,
}

impl Ledger {
    /// Books one outcome.
    pub fn record(&mut self, disposition: Disposition) {
        if let Some(count) = self.count(disposition) {
            *count = count.saturating_add(1);
        }
    }

    /// Takes one outcome back that never happened.
    pub fn take_back(&mut self, disposition: Disposition) {
        if let Some(count) = self.count(disposition) {
            *count = count.saturating_sub(1);
        }
    }

    /// What an outcome is counted in; a deferral is not.
    const fn count(&mut self, disposition: Disposition) -> Option<&mut u64> {
        match disposition {
            Disposition::Delivered => Some(&mut self.delivered),
            Disposition::Bounced => Some(&mut self.bounced),
            Disposition::Expired => Some(&mut self.expired),
            Disposition::Cancelled => Some(&mut self.cancelled),
            Disposition::Suppressed => Some(&mut self.suppressed),
            Disposition::Unknown => Some(&mut self.unknown_retries),
            Disposition::Deferred => None,
        }
    }

    /// Recipients with a final outcome.
    #[must_use]
    pub const fn finished(&self) -> u64 {
        self.delivered
            .saturating_add(self.bounced)
            .saturating_add(self.expired)
            .saturating_add(self.cancelled)
            .saturating_add(self.suppressed)
    }

    /// Recipients that still wait, by the books.
    #[must_use]
    pub const fn queued(&self) -> u64 {
        self.accepted.saturating_sub(self.finished())
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.bounced += other.bounced;
        self.expired += other.expired;
        self.cancelled += other.cancelled;
        self.suppressed += other.suppressed;
        self.unknown_retries += other.unknown_retries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_final_disposition_leaves_the_queue_once() {
        let mut ledger = Ledger { accepted: 7, ..Ledger::default() };
        Disposition::ALL.into_iter().for_each(|disposition| ledger.record(disposition));
        assert_eq!(ledger.finished(), 5);
        assert_eq!(ledger.queued(), 2);
        assert_eq!(ledger.unknown_retries, 1);
        Disposition::ALL.into_iter().for_each(|disposition| ledger.take_back(disposition));
        assert_eq!(ledger, Ledger { accepted: 7, ..Ledger::default() });
    }
}
