//! What has happened since the last look, counted by who was part of it. A shard fills it, and once a second the brain
//! empties it.

use std::ops::{AddAssign, Index};

use mail::{CampaignId, Class};
use rustc_hash::FxHashMap;

/// Who was part of what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TallyKey {
    /// Index of the source in the configuration.
    pub source: u16,
    /// Index of the provider in the configuration.
    pub provider: u16,
    /// The kind of mail.
    pub class: Class,
    /// The sender identity, by its hash.
    pub identity: u32,
    /// The account, by its hash.
    pub tenant: u32,
    /// The campaign, where there is one.
    pub campaign: Option<CampaignId>,
}

/// Something that says how welcome mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Happening {
    /// The receiver took it.
    Delivered,
    /// It is to be tried again, for a reason that says nothing of us.
    Deferred,
    /// It was too much at once.
    RateLimited,
    /// The source or the sender is refused.
    Blocked,
    /// There is no such mailbox.
    UnknownUser,
    /// The message was taken for spam, or for something else that is not wanted.
    SpamRefused,
    /// It was refused for good, for another reason.
    OtherBounce,
    /// The reader has called it spam.
    Complaint,
    /// The reader has opened it.
    Opened,
    /// The reader has followed a link.
    Clicked,
    /// The reader wants no more.
    Unsubscribed,
    /// Of [`UnknownUser`](Self::UnknownUser), those that the receiver told at the first attempt. One that greylists tells either
    /// these at once and takes the rest later, or tells everything later.
    UnknownAtOnce,
}

impl Happening {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Delivered,
        Self::Deferred,
        Self::RateLimited,
        Self::Blocked,
        Self::UnknownUser,
        Self::SpamRefused,
        Self::OtherBounce,
        Self::Complaint,
        Self::Opened,
        Self::Clicked,
        Self::Unsubscribed,
        Self::UnknownAtOnce,
    ];

    /// What else happened when this did, to a recipient that had been tried so often before.
    #[must_use]
    pub fn besides(self, attempts: u16) -> Option<Self> {
        (self == Self::UnknownUser && attempts == 0).then_some(Self::UnknownAtOnce)
    }

    /// The name that people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::RateLimited => "rate-limited",
            Self::Blocked => "blocked",
            Self::UnknownUser => "unknown-user",
            Self::SpamRefused => "spam-refused",
            Self::OtherBounce => "other-bounce",
            Self::Complaint => "complaint",
            Self::Opened => "opened",
            Self::Clicked => "clicked",
            Self::Unsubscribed => "unsubscribed",
            Self::UnknownAtOnce => "unknown-at-once",
        }
    }
}

/// How often each thing has happened. Counts stop at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u32; 12]);

impl Counts {
    /// One thing, once.
    #[must_use]
    pub fn of(happening: Happening) -> Self {
        let mut counts = Self::default();
        counts.add(happening, 1);
        counts
    }

    /// Counts `happening` so many times more.
    pub fn add(&mut self, happening: Happening, count: u32) {
        let place = &mut self.0[happening as usize];
        *place = place.saturating_add(count);
    }

    /// How often it has happened.
    #[must_use]
    pub const fn get(&self, happening: Happening) -> u32 {
        self.0[happening as usize]
    }

    /// Each thing with its count, those that have not happened too.
    pub fn iter(&self) -> impl Iterator<Item = (Happening, u32)> + '_ {
        Happening::ALL.into_iter().zip(self.0)
    }

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }
}

impl Index<Happening> for Counts {
    type Output = u32;

    fn index(&self, happening: Happening) -> &u32 {
        &self.0[happening as usize]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (happening, count) in other.iter() {
            self.add(happening, count);
        }
    }
}

/// Keys that are counted apart at most: what a shard sends in a second, many times over. Beyond that campaigns are not told
/// apart, so that a flood of them costs no memory.
const KEYS_MAX: usize = 65_536;

/// Counts by key since the last [`Tally::drain`].
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: FxHashMap<TallyKey, Counts>,
}

impl Tally {
    /// Counts `happening` once.
    pub fn note(&mut self, key: TallyKey, happening: Happening) {
        if self.counts.len() >= KEYS_MAX && !self.counts.contains_key(&key) {
            return self.note_of_many(key, happening);
        }
        self.counts.entry(key).or_default().add(happening, 1);
    }

    /// There are too many keys: those that most of them have in common are counted, and nothing beyond.
    fn note_of_many(&mut self, key: TallyKey, happening: Happening) {
        let common = TallyKey { identity: 0, tenant: 0, campaign: None, ..key };
        // Sources, providers and classes are few.
        self.counts.entry(common).or_default().add(happening, 1);
    }

    /// Hands out all counts and forgets them; the order is not said.
    pub fn drain(&mut self) -> impl Iterator<Item = (TallyKey, Counts)> + '_ {
        self.counts.drain()
    }

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many keys have counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identity: u32) -> TallyKey {
        TallyKey { source: 0, provider: 2, class: Class::Bulk, identity, tenant: 5, campaign: None }
    }

    #[test]
    fn what_happened_is_handed_out_once_by_key() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            tally.note(key(1), Happening::Delivered);
        }
        tally.note(key(1), Happening::Complaint);
        tally.note(key(2), Happening::Delivered);
        let mut counts: Vec<_> = tally.drain().collect();
        counts.sort_by_key(|(key, _)| key.identity);
        assert_eq!(counts.len(), 2);
        let (first, second) = (counts[0].1, counts[1].1);
        assert_eq!((first[Happening::Delivered], first[Happening::Complaint]), (3, 1));
        assert_eq!(second, Counts::of(Happening::Delivered));
        assert!(tally.is_empty() && !second.is_empty() && Counts::default().is_empty());
    }

    #[test]
    fn counts_add_up_and_stop_at_the_end() {
        let mut counts = Counts::of(Happening::Opened);
        counts.add(Happening::Opened, u32::MAX);
        counts += Counts::of(Happening::Clicked);
        assert_eq!((counts.get(Happening::Opened), counts.get(Happening::Clicked)), (u32::MAX, 1));
        let sum: u64 = counts.iter().map(|(_, count)| u64::from(count)).sum();
        assert_eq!(sum, u64::from(u32::MAX) + 1);
    }

    #[test]
    fn happenings_stand_at_their_index_and_have_names_of_their_own() {
        for (index, happening) in Happening::ALL.into_iter().enumerate() {
            assert_eq!(happening as usize, index);
            assert_eq!(Happening::ALL.iter().filter(|other| other.name() == happening.name()).count(), 1);
        }
    }

    #[test]
    fn a_flood_of_keys_is_counted_together() {
        let mut tally = Tally::default();
        for identity in 1..=KEYS_MAX as u32 + 1_000 {
            tally.note(key(identity), Happening::Delivered);
        }
        assert_eq!(tally.len(), KEYS_MAX + 1);
        let all: u64 = tally.drain().map(|(_, counts)| u64::from(counts[Happening::Delivered])).sum();
        assert_eq!(all, KEYS_MAX as u64 + 1_000);
    }
}
