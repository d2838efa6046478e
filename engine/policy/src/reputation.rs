//! How welcome mail is: decayed counts of what has happened, and the score that they come to.
//!
//! Counts are kept for each source, sender identity, tenant and campaign at each provider and class. It refuses to judge: what
//! follows from a score is decided by the canary, the breaker, the warm-up and the choice of sources.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::{CampaignId, Class, UnixMs};
use serde::{Deserialize, Serialize};

use crate::brain::Bounded;
use crate::tally::{Counts, Happening, TallyKey};

/// Records at the same time: at about 150 bytes each the table stays below 16 MB. The least recently used is forgotten.
pub const RECORDS_MAX: usize = 100_000;
/// The time in which the weight of what has happened halves: a day is what receivers themselves look back most.
pub const HALF_LIFE: Duration = Duration::from_secs(86_400);
/// The same for the alarm: a sudden change shows within minutes.
pub const HALF_LIFE_FAST: Duration = Duration::from_secs(900);
/// Counts are aged no sooner than this after the last time: it moves none by more than half a percent.
const AGED_EVERY: Duration = Duration::from_secs(6);
/// The score of whom nothing is known about.
pub const NEUTRAL: u8 = 80;
/// Observations at which half of what they say is believed: ten messages move a score by a few points at most.
const HALF_BELIEVED: f64 = 100.0;
/// All providers together.
pub(crate) const EVERYWHERE: u16 = u16::MAX;

/// Who a count is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// A source, by its index.
    Source(u16),
    /// A sender's domain, by its hash.
    Identity(u32),
    /// An account, by its hash.
    Tenant(u32),
    /// A campaign.
    Campaign(CampaignId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    component: Component,
    provider: u16,
    class: Class,
}

/// Counts whose weight halves with time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decayed([f32; 12]);

impl Decayed {
    fn age(&mut self, elapsed: Duration, half_life: Duration) {
        if !elapsed.is_zero() {
            let left = (-(elapsed.as_secs_f64() / half_life.as_secs_f64())).exp2() as f32;
            self.0.iter_mut().for_each(|count| *count *= left);
        }
    }

    fn add(&mut self, counts: &Counts) {
        for (happening, count) in counts.iter() {
            self.0[happening as usize] += count as f32;
        }
    }

    fn sum(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(own, more)| *own += more);
        self
    }

    pub(crate) fn get(&self, happening: Happening) -> f64 {
        f64::from(self.0[happening as usize])
    }

    /// Attempts whose recipient got a word: delivered, or refused for a reason that lies with the mail or us.
    pub(crate) fn decided(&self) -> f64 {
        use Happening::{Blocked, Delivered, OtherBounce, SpamRefused, UnknownUser};
        [Delivered, Blocked, UnknownUser, SpamRefused, OtherBounce].map(|one| self.get(one)).iter().sum()
    }

    /// All attempts.
    pub(crate) fn attempts(&self) -> f64 {
        self.decided() + self.get(Happening::Deferred) + self.get(Happening::RateLimited)
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    slow: Decayed,
    fast: Decayed,
    since: UnixMs,
    at: UnixMs,
}

impl Record {
    fn age(&mut self, now: UnixMs) {
        let elapsed = now.since(self.at);
        if elapsed < AGED_EVERY {
            return;
        }
        self.slow.age(elapsed, HALF_LIFE);
        self.fast.age(elapsed, HALF_LIFE_FAST);
        self.at = self.at.max(now);
    }
}

/// A record as it is saved; the provider is [`EVERYWHERE`] or an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) component: Component,
    pub(crate) provider: u16,
    pub(crate) class: Class,
    pub(crate) counts: Decayed,
    pub(crate) at: UnixMs,
}

impl Kept {
    fn of(key: &Key, record: &Record, now: UnixMs) -> Self {
        let mut record = *record;
        record.age(now);
        let Key { component, provider, class } = *key;
        Self { component, provider, class, counts: record.slow, at: record.at }
    }
}

/// A score and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// 0 (nobody wants this) to 100; [`NEUTRAL`] where nothing is known.
    pub value: u8,
    /// The same over the last quarter of an hour or so.
    pub recent: u8,
    /// What it is made of.
    pub parts: Parts,
}

/// The shares that a score is made of. The first seven are of `seen`, the last two of what was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    /// Attempts that count, by their weight now.
    pub seen: f64,
    /// Accepted.
    pub delivered: f64,
    /// Put off, also for too much at once.
    pub deferred: f64,
    /// Refused for the name of the source or the sender.
    pub blocked: f64,
    /// To mailboxes that are not there.
    pub unknown_users: f64,
    /// Taken for spam.
    pub spam_refused: f64,
    /// Called spam by the reader.
    pub complaints: f64,
    /// Opened or clicked, of what was delivered; at most 1.
    pub engaged: f64,
}

/// One row of the overview.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Whose.
    pub component: Component,
    /// At which provider; `None`: at all.
    pub provider: Option<u16>,
    /// For which class.
    pub class: Class,
    /// The score.
    pub score: Score,
}

/// All records.
#[derive(Clone, Debug)]
pub struct Reputation {
    records: Bounded<Key, Record>,
}

impl Default for Reputation {
    fn default() -> Self {
        Self::with_limit(RECORDS_MAX)
    }
}

impl Reputation {
    /// A table of at most `limit` records.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { records: Bounded::new(limit) }
    }

    /// Counts what has happened for all who were part of it.
    ///
    /// A campaign and a tenant are counted over all providers too; for the tenant that is its mail outside of campaigns, since
    /// a bad campaign is to be stopped before its tenant is.
    ///
    /// `excused`: the source was refused before, so blocks are counted for it alone.
    pub fn heard(&mut self, key: &TallyKey, counts: &Counts, excused: bool, now: UnixMs) {
        let TallyKey { source, provider, class, identity, tenant, campaign } = *key;
        self.add(Component::Source(source), provider, class, counts, now);
        let counts = &if excused { without_blocks(counts) } else { *counts };
        self.add(Component::Identity(identity), provider, class, counts, now);
        self.add(Component::Tenant(tenant), provider, class, counts, now);
        match campaign {
            Some(campaign) => {
                self.add(Component::Campaign(campaign), provider, class, counts, now);
                self.add(Component::Campaign(campaign), EVERYWHERE, class, counts, now);
            }
            None => self.add(Component::Tenant(tenant), EVERYWHERE, class, counts, now),
        }
    }

    fn add(&mut self, component: Component, provider: u16, class: Class, counts: &Counts, now: UnixMs) {
        let new = || Record { slow: Decayed::default(), fast: Decayed::default(), since: now, at: now };
        let record = self.records.entry(Key { component, provider, class }, new);
        record.age(now);
        record.slow.add(counts);
        record.fast.add(counts);
    }

    /// The score of `component` at `provider` (`None`: over all, for campaigns and for what a tenant sends outside of them)
    /// for `class` (`None`: for all).
    #[must_use]
    pub fn score(
        &self,
        component: Component,
        provider: Option<u16>,
        class: Option<Class>,
        now: UnixMs,
    ) -> Score {
        let provider = provider.unwrap_or(EVERYWHERE);
        let (slow, fast) = self.sums(component, provider, class, now);
        score_of(&slow, &fast)
    }

    /// The slow and the fast counts.
    pub(crate) fn sums(
        &self,
        component: Component,
        provider: u16,
        class: Option<Class>,
        now: UnixMs,
    ) -> (Decayed, Decayed) {
        let classes = Class::ALL.into_iter().filter(|&one| class.is_none_or(|class| class == one));
        let found = classes.filter_map(|class| self.records.get(&Key { component, provider, class }));
        found.fold((Decayed::default(), Decayed::default()), |(slow, fast), record| {
            let mut record = *record;
            record.age(now);
            (slow.sum(&record.slow), fast.sum(&record.fast))
        })
    }

    /// The slow counts over all providers.
    pub(crate) fn everywhere(&self, component: Component, class: Option<Class>, now: UnixMs) -> Decayed {
        self.sums(component, EVERYWHERE, class, now).0
    }

    /// Attempts a second of late: exact also for who has begun a moment ago.
    pub(crate) fn rate(&self, component: Component, provider: u16, now: UnixMs) -> f64 {
        let records = Class::ALL.map(|class| self.records.get(&Key { component, provider, class }));
        let rate = |record: &Record| {
            let mut record = *record;
            record.age(now);
            let age = now.since(record.since).as_secs_f64().max(1.0);
            let half_life = HALF_LIFE_FAST.as_secs_f64();
            let span = (1.0 - (-age / half_life).exp2()) * half_life / std::f64::consts::LN_2;
            record.fast.attempts() / span
        };
        records.into_iter().flatten().map(rate).sum()
    }

    /// The senders that have sent most to a provider of late, with their fast counts, the largest first.
    pub(crate) fn senders_at(&self, provider: u16, most: usize, now: UnixMs) -> Vec<(u32, Decayed)> {
        let mut senders: BTreeMap<u32, Decayed> = BTreeMap::new();
        for (key, record) in self.records.iter().filter(|(key, _)| key.provider == provider) {
            let Component::Identity(identity) = key.component else { continue };
            let mut record = *record;
            record.age(now);
            let sum = senders.entry(identity).or_default();
            *sum = sum.sum(&record.fast);
        }
        let mut senders: Vec<_> = senders.into_iter().collect();
        senders.sort_by(|a, b| b.1.attempts().total_cmp(&a.1.attempts()).then(a.0.cmp(&b.0)));
        senders.truncate(most);
        senders
    }

    /// The records to be saved: up to `most`, those with the most mail.
    pub(crate) fn saved(&self, most: usize, now: UnixMs) -> Vec<Kept> {
        let mut kept: Vec<Kept> =
            self.records.iter().map(|(key, record)| Kept::of(key, record, now)).collect();
        if kept.len() > most {
            kept.select_nth_unstable_by(most, |a, b| b.counts.attempts().total_cmp(&a.counts.attempts()));
            kept.truncate(most);
        }
        kept
    }

    /// A record that was saved.
    pub(crate) fn restore(&mut self, kept: &Kept) {
        let key = Key { component: kept.component, provider: kept.provider, class: kept.class };
        // The fast counts begin anew: the engine was down, and nothing is known of the last quarter of an hour.
        let record = Record { slow: kept.counts, fast: Decayed::default(), since: kept.at, at: kept.at };
        self.records.insert(key, record);
    }

    /// Forgets what is known of a campaign, which begins anew.
    pub(crate) fn forget(&mut self, component: Component, provider: Option<u16>) {
        for class in Class::ALL {
            self.records.remove(&Key { component, provider: provider.unwrap_or(EVERYWHERE), class });
        }
    }

    /// Up to `most` rows that `wanted` asks for, those with the most mail first.
    #[must_use]
    pub fn standings(&self, wanted: impl Fn(Component) -> bool, most: usize, now: UnixMs) -> Vec<Standing> {
        let rows = self.records.iter().filter(|(key, _)| wanted(key.component)).map(|(key, record)| {
            let mut record = *record;
            record.age(now);
            let provider = (key.provider != EVERYWHERE).then_some(key.provider);
            let score = score_of(&record.slow, &record.fast);
            Standing { component: key.component, provider, class: key.class, score }
        });
        let mut rows: Vec<_> = rows.collect();
        let order = |row: &Standing| (row.component, row.provider, row.class);
        rows.sort_by(|a, b| b.score.parts.seen.total_cmp(&a.score.parts.seen).then(order(a).cmp(&order(b))));
        rows.truncate(most);
        rows
    }

    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.records.count()
    }
}

fn without_blocks(counts: &Counts) -> Counts {
    let mut others = Counts::default();
    let kept = counts.iter().filter(|&(happening, _)| happening != Happening::Blocked);
    kept.for_each(|(happening, count)| others.add(happening, count));
    others
}

fn score_of(slow: &Decayed, fast: &Decayed) -> Score {
    let parts = parts_of(slow);
    Score { value: value_of(&parts), recent: value_of(&parts_of(fast)), parts }
}

fn parts_of(counts: &Decayed) -> Parts {
    use Happening::{
        Blocked, Clicked, Complaint, Deferred, Delivered, Opened, RateLimited, SpamRefused, UnknownUser,
    };
    let (seen, delivered) = (counts.attempts(), counts.get(Delivered));
    let share = |count: f64, of: f64| if of > 0.0 { count / of } else { 0.0 };
    Parts {
        seen,
        delivered: share(delivered, seen),
        deferred: share(counts.get(Deferred) + counts.get(RateLimited), seen),
        blocked: share(counts.get(Blocked), seen),
        unknown_users: share(counts.get(UnknownUser), seen),
        spam_refused: share(counts.get(SpamRefused), seen),
        // Complaints outlive the deliveries that they are about.
        complaints: share(counts.get(Complaint), delivered.max(1.0)).min(1.0),
        engaged: share(counts.get(Opened) + counts.get(Clicked), delivered.max(1.0)).min(1.0),
    }
}

/// What a share costs: so many points at most, and the share at which it costs all of them. The shares are where receivers and
/// senders' services draw their lines: 0.3 % of complaints, 5 % of spam, 10 % of unknown users.
fn cost(parts: &Parts) -> f64 {
    let costs = [
        (parts.blocked, 60.0, 0.1),
        (parts.spam_refused, 50.0, 0.05),
        (parts.complaints, 50.0, 0.003),
        (parts.unknown_users, 30.0, 0.1),
        (parts.deferred, 15.0, 0.5),
    ];
    costs.iter().map(|(share, points, at)| points * (share / at).min(1.0)).sum()
}

/// [`NEUTRAL`], and up to 20 points for what is delivered (15) and read (5), less what the parts cost; each believed as far as
/// there are observations.
fn value_of(parts: &Parts) -> u8 {
    let belief = parts.seen / (parts.seen + HALF_BELIEVED);
    let gain = 15.0 * parts.delivered + 5.0 * (parts.engaged / 0.2).min(1.0);
    let value = f64::from(NEUTRAL) + belief * (gain - cost(parts));
    value.round().clamp(0.0, 100.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);
    const KEY: TallyKey =
        TallyKey { source: 0, provider: 2, class: Class::Bulk, identity: 11, tenant: 21, campaign: None };

    fn counts(list: &[(Happening, u32)]) -> Counts {
        let mut counts = Counts::default();
        list.iter().for_each(|&(happening, count)| counts.add(happening, count));
        counts
    }

    fn score_after(list: &[(Happening, u32)]) -> u8 {
        let mut reputation = Reputation::default();
        reputation.heard(&KEY, &counts(list), false, NOW);
        reputation.score(Component::Source(0), Some(2), None, NOW).value
    }

    #[test]
    fn scores_of_typical_senders() {
        use Happening::*;
        type Case = (&'static str, &'static [(Happening, u32)], std::ops::RangeInclusive<u8>);
        let cases: [Case; 9] = [
            ("nothing", &[], NEUTRAL..=NEUTRAL),
            ("ten blocks condemn nobody", &[(Blocked, 10)], 70..=79),
            ("a hundred blocks do", &[(Blocked, 100)], 40..=55),
            ("clean", &[(Delivered, 10_000)], 94..=96),
            ("clean and read", &[(Delivered, 10_000), (Opened, 2_500)], 98..=100),
            ("a usual list", &[(Delivered, 9_700), (UnknownUser, 100), (Deferred, 200)], 88..=94),
            ("an old list", &[(Delivered, 8_000), (UnknownUser, 2_000)], 55..=65),
            ("spam", &[(Delivered, 9_000), (SpamRefused, 1_000), (Complaint, 100)], 0..=10),
            ("complaints at the limit", &[(Delivered, 10_000), (Complaint, 30)], 40..=50),
        ];
        for (who, list, expected) in cases {
            let score = score_after(list);
            assert!(expected.contains(&score), "{who}: {score}");
        }
    }

    #[test]
    fn what_has_happened_is_forgiven_with_time() {
        let mut reputation = Reputation::default();
        reputation.heard(&KEY, &counts(&[(Happening::Blocked, 1000)]), false, NOW);
        let at = |days| {
            reputation.score(Component::Identity(11), Some(2), Some(Class::Bulk), NOW + HALF_LIFE * days)
        };
        assert!((at(1).parts.seen - 500.0).abs() < 1.0);
        let scores: Vec<u8> = (0..12).map(|days| at(days).value).collect();
        assert!(scores.is_sorted() && scores[0] < 30 && scores[11] == NEUTRAL, "{scores:?}");
        assert!(at(1).recent == NEUTRAL, "the last quarter of an hour was quiet");
    }

    #[test]
    fn the_rate_is_exact_from_the_first_minute() {
        let mut reputation = Reputation::default();
        for second in 0..3_600_u64 {
            let now = NOW + Duration::from_secs(second);
            reputation.heard(&KEY, &counts(&[(Happening::Delivered, 20)]), false, now);
            if [60, 600, 3_599].contains(&second) {
                let rate = reputation.rate(Component::Identity(11), 2, now);
                assert!((19.0..21.0).contains(&rate), "{rate} after {second} s");
            }
        }
    }

    #[test]
    fn campaigns_count_everywhere_and_not_for_the_stream_of_their_tenant() {
        let mut reputation = Reputation::default();
        let campaign = CampaignId::from_raw(5);
        let seen = |reputation: &Reputation, component, provider| {
            reputation.score(component, provider, None, NOW).parts.seen
        };
        for provider in 2..4 {
            let key = TallyKey { provider, campaign: Some(campaign), ..KEY };
            reputation.heard(&key, &counts(&[(Happening::Delivered, 10)]), false, NOW);
        }
        assert_eq!(seen(&reputation, Component::Campaign(campaign), None), 20.0);
        assert_eq!(seen(&reputation, Component::Campaign(campaign), Some(3)), 10.0);
        assert_eq!(seen(&reputation, Component::Tenant(21), None), 0.0);
        assert_eq!(seen(&reputation, Component::Tenant(21), Some(2)), 10.0);
        let rows = reputation.standings(|one| matches!(one, Component::Campaign(_)), 2, NOW);
        assert_eq!((rows.len(), rows[0].provider, rows[1].provider), (2, None, Some(2)));
    }

    proptest! {
        #[test]
        fn scores_stay_in_range_and_the_table_bounded(
            steps in proptest::collection::vec((0_u16..30, 0_u32..40, 0_usize..12, 0_u32..5000), 1..100),
        ) {
            let mut reputation = Reputation::with_limit(50);
            let mut now = NOW;
            for (provider, identity, happening, count) in steps {
                now = now + Duration::from_secs(u64::from(count));
                let key = TallyKey { provider, identity, ..KEY };
                reputation.heard(&key, &counts(&[(Happening::ALL[happening], count)]), false, now);
                let score = reputation.score(Component::Source(0), Some(provider), None, now);
                prop_assert!(score.value <= 100 && score.recent <= 100);
                prop_assert!(reputation.count() <= 50);
            }
        }
    }
}
