//! The books balance: whatever is done in whatever order, no ticket is lost and none is handed out twice.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::{CampaignId, Class, RecipientId, UnixMs};
use policy::Rate;
use proptest::prelude::*;
use queue::{FlowKey, PathId, Pull, Queue, Ticket};

use crate::scene::*;

/// Class, tenant, campaign and identity.
type FlowParts = (usize, u32, Option<u64>, u32);

/// One thing that somebody does to the queue.
#[derive(Clone, Debug)]
enum Act {
    Schedule { campaign: Option<u64>, after_ms: u64, expiry_s: u32 },
    Enqueue { path: u64, flow: FlowParts, expiry_s: u32, deadline_s: u32 },
    Hold { campaign: u64, lane: Option<u16>, expiry_s: u32 },
    Due { max: usize },
    Pull { path: u64, more: usize, back: bool, rest_ms: Option<u64> },
    Rest { path: u64, flow: FlowParts, for_ms: u64 },
    Limit { path: u64, connections: u32, rate: Option<u32> },
    Suspend { path: u64, for_ms: u64 },
    Resume { path: u64 },
    Pause { campaign: u64 },
    Unpause { campaign: u64 },
    Cancel { campaign: u64 },
    Forget { campaign: u64 },
    Release { campaign: u64, lane: Option<u16>, max: usize },
    Expire { max: usize },
    Reroute { path: u64, max: usize },
    Open { path: u64 },
    Close { path: u64 },
    DropIdle,
    Pass { ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let campaign = || 1_u64..4;
    let maybe = || proptest::option::of(1_u64..4);
    let path = || 0_u64..6;
    let expiry = || prop_oneof![Just(0_u32), 1_u32..100];
    let lane = || proptest::option::of(0_u16..3);
    let flow = || (0_usize..4, 0_u32..3, maybe(), 0_u32..2);
    prop_oneof![
        6 => (maybe(), 0_u64..100_000, expiry())
            .prop_map(|(campaign, after_ms, expiry_s)| Act::Schedule { campaign, after_ms, expiry_s }),
        12 => (path(), flow(), expiry(), 0_u32..100)
            .prop_map(|(path, flow, expiry_s, deadline_s)| Act::Enqueue { path, flow, expiry_s, deadline_s }),
        2 => (campaign(), lane(), expiry())
            .prop_map(|(campaign, lane, expiry_s)| Act::Hold { campaign, lane, expiry_s }),
        3 => (0_usize..20).prop_map(|max| Act::Due { max }),
        10 => (path(), 0_usize..6, any::<bool>(), proptest::option::of(0_u64..20_000))
            .prop_map(|(path, more, back, rest_ms)| Act::Pull { path, more, back, rest_ms }),
        3 => (path(), flow(), 0_u64..20_000).prop_map(|(path, flow, for_ms)| Act::Rest { path, flow, for_ms }),
        1 => (path(), 1_u32..4, proptest::option::of(1_u32..20))
            .prop_map(|(path, connections, rate)| Act::Limit { path, connections, rate }),
        1 => (path(), 0_u64..20_000).prop_map(|(path, for_ms)| Act::Suspend { path, for_ms }),
        1 => path().prop_map(|path| Act::Resume { path }),
        1 => campaign().prop_map(|campaign| Act::Pause { campaign }),
        1 => campaign().prop_map(|campaign| Act::Unpause { campaign }),
        1 => campaign().prop_map(|campaign| Act::Cancel { campaign }),
        1 => campaign().prop_map(|campaign| Act::Forget { campaign }),
        1 => (campaign(), lane(), 0_usize..9)
            .prop_map(|(campaign, lane, max)| Act::Release { campaign, lane, max }),
        2 => (0_usize..9).prop_map(|max| Act::Expire { max }),
        1 => (path(), 0_usize..9).prop_map(|(path, max)| Act::Reroute { path, max }),
        2 => path().prop_map(|path| Act::Open { path }),
        2 => path().prop_map(|path| Act::Close { path }),
        1 => Just(Act::DropIdle),
        4 => (0_u64..30_000).prop_map(|ms| Act::Pass { ms }),
    ]
}

/// The queue and what a bookkeeper knows of it.
struct Books {
    queue: Queue,
    now: UnixMs,
    next_id: u64,
    /// Who waits, and on which path in which flow.
    waiting: BTreeMap<u64, Option<(u64, FlowKey)>>,
    /// Flows that rest, by path and number.
    rests: BTreeMap<(u64, u64), (FlowKey, UnixMs)>,
}

fn flow_key((class, tenant, campaign, identity): FlowParts) -> FlowKey {
    FlowKey { class: Class::ALL[class], tenant, campaign: campaign.map(CampaignId::from_raw), identity }
}

/// Something by which a map can know a flow.
fn number(key: &FlowKey) -> u64 {
    let campaign = key.campaign.map_or(0, |id| id.raw());
    key.class as u64 + 10 * u64::from(key.tenant) + 100 * campaign + 1000 * u64::from(key.identity)
}

impl Books {
    fn ticket(&mut self, class: Class, expiry_s: u32, deadline_s: u32) -> Ticket {
        self.next_id += 1;
        let seconds = |after: u32| if after == 0 { 0 } else { self.now.seconds() as u32 + after };
        Ticket { expiry: seconds(expiry_s), deadline: seconds(deadline_s), ..ticket(self.next_id, class) }
    }

    fn path(&mut self, path: u64) -> PathId {
        let limits = limits(2, path.is_multiple_of(2).then_some(Rate::per_second(5)));
        match path {
            5 => self.queue.path_alone(key(1, 5), limits),
            _ => self.queue.path(key((path / 3) as u16, path), limits),
        }
    }

    fn took<E>(&mut self, ticket: Ticket, place: Option<(u64, FlowKey)>, result: Result<(), E>) {
        if result.is_ok() {
            assert!(self.waiting.insert(ticket.id.raw(), place).is_none());
        }
    }

    fn waits_in(&self, place: (u64, FlowKey)) -> bool {
        self.waiting.values().any(|other| *other == Some(place))
    }

    fn gave(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            let place = self.waiting.remove(&ticket.id.raw());
            let place = place.unwrap_or_else(|| panic!("{} was handed out twice", ticket.id));
            // With its last ticket a flow is forgotten, and its rest.
            if let Some((path, key)) = place.filter(|place| !self.waits_in(*place)) {
                self.rests.remove(&(path, number(&key)));
            }
        }
    }

    fn add(&mut self, act: &Act) {
        match *act {
            Act::Schedule { campaign, after_ms, expiry_s } => {
                let ticket = self.ticket(Class::Bulk, expiry_s, 0);
                let due = self.now + Duration::from_millis(after_ms);
                let result = self.queue.schedule(ticket, campaign.map(CampaignId::from_raw), due);
                self.took(ticket, None, result);
            }
            Act::Enqueue { path: number, flow, expiry_s, deadline_s } => {
                let key = flow_key(flow);
                let ticket = self.ticket(key.class, expiry_s, deadline_s);
                let path = self.path(number);
                let result = self.queue.enqueue(path, key, ticket, self.now);
                self.took(ticket, Some((number, key)), result);
            }
            Act::Hold { campaign, lane, expiry_s } => {
                let ticket = self.ticket(Class::Bulk, expiry_s, 0);
                let result = self.queue.hold(CampaignId::from_raw(campaign), lane, ticket);
                self.took(ticket, None, result);
            }
            _ => {}
        }
    }

    fn take(&mut self, act: &Act) {
        let mut out = Vec::new();
        match *act {
            Act::Due { max } => self.queue.due(self.now, max, &mut out),
            Act::Pull { path, more, back, rest_ms } => self.pull(path, more, back, rest_ms),
            Act::Cancel { campaign } => out = self.queue.cancel_campaign(CampaignId::from_raw(campaign)),
            Act::Release { campaign, lane, max } => {
                let campaign = CampaignId::from_raw(campaign);
                let held = self.queue.held(campaign, lane);
                let is_left = self.queue.release_some(campaign, lane, max, &mut out);
                assert_eq!((out.len() as u64, is_left), (held.min(max as u64), held > max as u64));
            }
            Act::Expire { max } => {
                self.queue.expired(self.now, max, &mut out);
                assert!(out.iter().all(|ticket| ticket.is_expired(self.now)));
            }
            Act::Reroute { path, max } => {
                let (path, mut pairs) = (self.path(path), Vec::new());
                self.queue.reroute(path, max, &mut pairs);
                out.extend(pairs.into_iter().map(|(ticket, _)| ticket));
            }
            _ => {}
        }
        self.gave(out);
    }

    fn pull(&mut self, place: u64, more: usize, back: bool, rest_ms: Option<u64>) {
        let path = self.path(place);
        let Pull::Ticket(ticket, key) = self.queue.pull(path, self.now) else { return };
        assert!(!ticket.is_expired(self.now));
        let rest = self.rests.get(&(place, number(&key)));
        assert!(rest.is_none_or(|(_, until)| *until <= self.now), "{key:?} rests: {rest:?}");
        let mut tickets = vec![ticket];
        self.queue.pull_with(path, key, more, |next| next.id.raw() % 7 != 0, &mut tickets);
        assert!(tickets.iter().all(|ticket| !ticket.is_expired(self.now) && ticket.class == key.class));
        self.gave(tickets.iter().copied());
        for ticket in tickets.into_iter().filter(|_| back) {
            let result = self.queue.unpull(path, key, ticket);
            self.took(ticket, Some((place, key)), result);
        }
        if let Some(for_ms) = rest_ms {
            self.rest(place, key, for_ms);
        }
    }

    fn rest(&mut self, place: u64, key: FlowKey, for_ms: u64) {
        let (path, until) = (self.path(place), self.now + Duration::from_millis(for_ms));
        self.queue.rest_flow(path, key, until);
        if self.waits_in((place, key)) {
            self.rests.insert((place, number(&key)), (key, until));
        }
    }

    /// What the queue says of everybody is what the books say.
    fn check(&mut self) {
        let totals = self.queue.totals();
        assert_eq!(totals.waiting(), self.waiting.len() as u64);
        let found = (1..=self.next_id).filter(|&id| {
            let place = self.queue.find(RecipientId::from_raw(id));
            assert!(
                place.is_none() || self.waiting.contains_key(&id),
                "{id} is gone and was found: {place:?}"
            );
            place.is_some()
        });
        assert_eq!(found.count() as u64 + totals.expired, totals.waiting());
        let views = self.queue.paths();
        assert_eq!(views.iter().map(|view| u64::from(view.resting)).sum::<u64>(), totals.resting);
        // One that expired before a pull waits to be taken, and its flow may be gone.
        let is_there = |place: (u64, FlowKey)| {
            let mut of_flow = self.waiting.iter().filter(|(_, other)| **other == Some(place));
            of_flow.any(|(&id, _)| self.queue.find(RecipientId::from_raw(id)).is_some())
        };
        self.rests.retain(|(path, _), (key, until)| *until > self.now && is_there((*path, *key)));
        assert!(totals.flows_resting >= self.rests.len(), "{} of {:?}", totals.flows_resting, self.rests);
        let first = self.rests.values().map(|(_, until)| *until).min();
        let next = self.queue.next_due();
        assert!(first.is_none_or(|until| next.is_some_and(|next| next <= until)), "a rest ends unseen");
    }

    fn steer(&mut self, act: &Act) {
        match *act {
            Act::Suspend { path, for_ms } => {
                let path = self.path(path);
                self.queue.suspend(path, self.now + Duration::from_millis(for_ms), "test");
            }
            Act::Rest { path, flow, for_ms } => self.rest(path, flow_key(flow), for_ms),
            Act::Limit { path, connections, rate } => {
                let path = self.path(path);
                self.queue.set_limits(path, limits(connections, rate.map(Rate::per_second)));
                self.queue.demand(path);
            }
            Act::Resume { path } => {
                let path = self.path(path);
                self.queue.resume(path);
            }
            Act::Pause { campaign } => self.queue.pause_campaign(CampaignId::from_raw(campaign)),
            Act::Unpause { campaign } => self.queue.resume_campaign(CampaignId::from_raw(campaign)),
            Act::Forget { campaign } => self.queue.forget_campaign(CampaignId::from_raw(campaign)),
            Act::Open { path } => {
                let path = self.path(path);
                if self.queue.wants_connection(path, self.now) {
                    self.queue.connection_opened(path);
                }
            }
            Act::Close { path } => {
                let path = self.path(path);
                self.queue.connection_closed(path);
            }
            Act::DropIdle => {
                self.queue.drop_idle(self.now, Duration::from_secs(20), 10);
            }
            Act::Pass { ms } => {
                self.now = self.now + Duration::from_millis(ms);
                wanting(&mut self.queue, self.now);
            }
            _ => {}
        }
    }

    /// Lets everything go and takes it.
    fn empty(&mut self) {
        for campaign in 1..4 {
            self.queue.forget_campaign(CampaignId::from_raw(campaign));
            let held = self.queue.release(CampaignId::from_raw(campaign));
            self.gave(held);
        }
        for path in 0..6 {
            let (path, mut pairs) = (self.path(path), Vec::new());
            self.queue.reroute(path, usize::MAX, &mut pairs);
            self.gave(pairs.into_iter().map(|(ticket, _)| ticket));
        }
        self.now = self.now + Duration::from_secs(1000);
        let mut out = Vec::new();
        while self.queue.next_due().is_some_and(|due| due <= self.now) {
            wanting(&mut self.queue, self.now);
            self.queue.due(self.now, 100, &mut out);
        }
        self.queue.expired(self.now, usize::MAX, &mut out);
        self.gave(out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_ticket_is_lost_or_handed_out_twice(acts in prop::collection::vec(act(), 1..400)) {
        let mut books = Books { queue: queue(), now: START, next_id: 0, waiting: BTreeMap::new(), rests: BTreeMap::new() };
        for (act, step) in acts.iter().zip(0_usize..) {
            books.add(act);
            books.take(act);
            books.steer(act);
            prop_assert_eq!(books.queue.totals().waiting(), books.waiting.len() as u64, "after {:?}", act);
            if step.is_multiple_of(16) {
                books.check();
            }
        }
        books.empty();
        prop_assert!(books.waiting.is_empty(), "never handed out: {:?}", books.waiting);
        prop_assert_eq!(books.queue.totals().waiting(), 0);
        prop_assert_eq!((books.queue.totals().flows, books.queue.totals().flows_resting), (0, 0));
    }
}
