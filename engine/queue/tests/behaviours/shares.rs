//! Fair shares over any minute of a busy path: nobody who has enough to send gets less than nine tenths of what the weights
//! of the classes and equal turns of tenants and campaigns promise, whatever the others do.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::{CampaignId, Class, UnixMs};
use policy::Rate;
use queue::{FlowKey, PathId, Pull, Queue, Ticket};

use crate::scene::*;

const RATE: u32 = 100;
const MINUTE_MS: u64 = 60_000;
const MINUTES: u64 = 5;
/// The weights that [`queue`] gives to the classes below critical.
const WEIGHTS: [(Class, f64); 3] = [(Class::Transactional, 8.0), (Class::Personal, 4.0), (Class::Bulk, 1.0)];

/// Somebody who sends.
#[derive(Clone, Copy, Debug)]
struct Sender {
    key: FlowKey,
    /// Recipients that go in one transaction, when so many wait.
    together: usize,
    /// How many come, every so many milliseconds.
    comes: (u64, u64),
}

/// A sender with something to send at all times: it is never less than a minute of the whole path behind.
const fn busy(key: FlowKey, together: usize) -> Sender {
    Sender { key, together, comes: (RATE as u64 * 60, MINUTE_MS / 2) }
}

const fn of(class: Class, tenant: u32, campaign: u64) -> FlowKey {
    let campaign = if campaign == 0 { None } else { Some(CampaignId::from_raw(campaign)) };
    FlowKey { class, tenant, campaign, identity: tenant }
}

/// A path in use, and what each sender got in the minute that runs.
struct Street {
    queue: Queue,
    path: PathId,
    senders: Vec<Sender>,
    next_id: u64,
    next_pull: UnixMs,
    got: BTreeMap<usize, u64>,
}

impl Street {
    fn new(senders: &[Sender]) -> Self {
        let mut queue = queue();
        let path = queue.path(key(1, 1), limits(10, Some(Rate::per_second(RATE))));
        queue.connection_opened(path);
        Self { queue, path, senders: senders.to_vec(), next_id: 0, next_pull: START, got: BTreeMap::new() }
    }

    fn step(&mut self, now: UnixMs) {
        for sender in self.senders.clone() {
            if now.since(START).as_millis().is_multiple_of(u128::from(sender.comes.1)) {
                let ids = self.next_id..self.next_id + sender.comes.0;
                self.next_id = ids.end;
                fill(&mut self.queue, self.path, sender.key, ids, now);
            }
        }
        self.queue.poll_wanting(now, &mut Vec::new());
        while self.next_pull <= now {
            match self.queue.pull(self.path, now) {
                Pull::Ticket(ticket, key) => self.took(ticket, key),
                Pull::Wait(until) => self.next_pull = until,
                Pull::Empty => return,
                other => panic!("{other:?}"),
            }
        }
    }

    fn took(&mut self, ticket: Ticket, key: FlowKey) {
        let sender = self.senders.iter().position(|sender| sender.key == key).expect("a sender is known");
        let mut tickets = vec![ticket];
        self.queue.pull_with(self.path, key, self.senders[sender].together - 1, |_| true, &mut tickets);
        *self.got.entry(sender).or_default() += tickets.len() as u64;
    }

    /// The part of the path that is a sender's own, if all of `senders` have enough to send.
    fn share(&self, sender: usize, senders: &[usize]) -> f64 {
        let key = self.senders[sender].key;
        let keys: Vec<FlowKey> = senders.iter().map(|&index| self.senders[index].key).collect();
        let has_class = |class| keys.iter().any(|key| key.class == class);
        let weights = WEIGHTS.into_iter().filter(|(class, _)| has_class(*class));
        let all: f64 = weights.clone().map(|(_, weight)| weight).sum();
        let own =
            weights.into_iter().find(|(class, _)| *class == key.class).map_or(0.0, |(_, weight)| weight);
        let of_class = keys.iter().filter(|other| other.class == key.class);
        let mut tenants: Vec<u32> = of_class.clone().map(|other| other.tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let flows = of_class.filter(|other| other.tenant == key.tenant).count();
        own / all / tenants.len() as f64 / flows as f64
    }

    /// Lets a minute pass; in it each of `fair` must get nine tenths of its share, or of what it sends if that is less.
    fn minute(&mut self, minute: u64, fair: &[usize], mut act: impl FnMut(&mut Self, UnixMs, u64)) {
        self.got.clear();
        for ms in 0..MINUTE_MS {
            let now = at(minute * MINUTE_MS + ms);
            act(self, now, ms);
            self.step(now);
        }
        let all: u64 = self.got.values().sum();
        assert!(all as f64 >= 0.95 * f64::from(RATE) * 60.0, "the path is busy: {all} in minute {minute}");
        let senders: Vec<usize> = (0..self.senders.len()).collect();
        for &sender in fair {
            let (count, every_ms) = self.senders[sender].comes;
            let sends = (count * MINUTE_MS / every_ms) as f64;
            let promised = (self.share(sender, &senders) * all as f64).min(sends);
            let got = self.got.get(&sender).copied().unwrap_or_default() as f64;
            let name = self.senders[sender];
            // A transaction is not divided: who sends fifty at once may have his fifty just after the minute.
            let undivided = self.senders[sender].together as f64 - 1.0;
            assert!(got >= 0.9 * promised - undivided, "{got} of {promised} in minute {minute} for {name:?}");
        }
    }
}

#[test]
fn classes_tenants_and_campaigns_have_their_share_whatever_goes_in_one_transaction() {
    let mut senders = Vec::new();
    for (class, _) in WEIGHTS {
        for tenant in 1..4 {
            let together = [1, 7, 50][tenant as usize % 3];
            senders
                .extend((0..tenant).map(|campaign| busy(of(class, tenant, u64::from(campaign)), together)));
        }
    }
    let mut street = Street::new(&senders);
    let all: Vec<usize> = (0..senders.len()).collect();
    // The first minute begins with nothing owed and the burst.
    (0..MINUTES).for_each(|minute| street.minute(minute, &all, |_, _, _| {}));
}

#[test]
fn who_sends_in_batches_and_is_done_with_each_takes_no_more_than_his_turns() {
    let batches = Sender { together: 50, comes: (50, 700), ..busy(of(Class::Bulk, 1, 0), 50) };
    for other in [of(Class::Bulk, 2, 0), of(Class::Bulk, 1, 7)] {
        let mut street = Street::new(&[batches, busy(other, 1)]);
        (0..MINUTES).for_each(|minute| street.minute(minute, &[1], |_, _, _| {}));
    }
}

#[test]
fn who_sends_little_is_served_at_once_and_in_full() {
    let little = Sender { comes: (1, 400), ..busy(of(Class::Bulk, 99, 0), 1) };
    let mut senders = vec![little];
    senders.extend((0..20).map(|tenant| busy(of(Class::Bulk, tenant, 0), [1, 50][tenant as usize % 2])));
    let mut street = Street::new(&senders);
    let all: Vec<usize> = (0..senders.len()).collect();
    (0..MINUTES).for_each(|minute| street.minute(minute, &all, |_, _, _| {}));
}

#[test]
fn flows_that_rest_take_nothing_from_the_others_and_are_owed_nothing() {
    let senders =
        [busy(of(Class::Bulk, 1, 0), 50), busy(of(Class::Bulk, 2, 0), 1), busy(of(Class::Bulk, 3, 0), 7)];
    let mut street = Street::new(&senders);
    for minute in 0..MINUTES {
        street.minute(minute, &[1, 2], |street, now, ms| {
            if ms.is_multiple_of(1000) {
                street.queue.rest_flow(street.path, senders[0].key, now + Duration::from_millis(300));
            }
        });
        let third: u64 = street.got.values().sum::<u64>() / 3;
        assert!(street.got[&0] <= third + third / 20, "{:?}", street.got);
    }
}

#[test]
fn a_campaign_that_was_paused_comes_back_as_one_of_many() {
    let senders =
        [busy(of(Class::Bulk, 1, 1), 1), busy(of(Class::Bulk, 1, 2), 1), busy(of(Class::Bulk, 2, 3), 5)];
    let mut street = Street::new(&senders);
    let paused = CampaignId::from_raw(1);
    for minute in 0..MINUTES {
        let is_paused = minute % 2 == 0;
        if is_paused {
            street.queue.pause_campaign(paused);
        } else {
            street.queue.resume_campaign(paused);
        }
        street.minute(minute, if is_paused { &[1, 2] } else { &[0, 1, 2] }, |_, _, _| {});
        assert_eq!(street.got.contains_key(&0), !is_paused);
    }
}

#[test]
fn critical_mail_goes_at_once_past_a_million_and_costs_the_others_no_more_than_itself() {
    let bulk = Sender { comes: (1_000_000, MINUTE_MS * MINUTES), ..busy(of(Class::Bulk, 1, 1), 1) };
    let critical = Sender { comes: (3, 1000), ..busy(of(Class::Critical, 2, 0), 1) };
    let mut street = Street::new(&[bulk, critical]);
    for minute in 0..2 {
        street.minute(minute, &[], |street, now, ms| {
            // A burst holds ten tokens; then one comes every ten milliseconds.
            let waiting = street.queue.path_view(street.path).expect("the path is there").ready[0];
            assert!(waiting == 0 || ms % 1000 <= 50, "{waiting} critical wait at {now}");
        });
        assert_eq!(street.got[&1], 180);
        assert!(street.got[&0] + 180 >= 5_950, "{:?}", street.got);
    }
}
