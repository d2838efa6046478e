//! The books balance: whatever is done in whatever order, no ticket is lost and none is handed out twice.

use std::collections::BTreeSet;
use std::time::Duration;

use mail::{CampaignId, Class, UnixMs};
use policy::Rate;
use proptest::prelude::*;
use queue::{FlowKey, PathId, Pull, Queue, Ticket};

use crate::scene::*;

/// One thing that somebody does to the queue.
#[derive(Clone, Debug)]
enum Act {
    Schedule { campaign: Option<u64>, after_ms: u64, expiry_s: u32 },
    Enqueue { path: u64, flow: (usize, u32, Option<u64>), expiry_s: u32, deadline_s: u32 },
    Hold { campaign: u64, expiry_s: u32 },
    Due { max: usize },
    Pull { path: u64, more: usize, back: bool },
    Suspend { path: u64, for_ms: u64 },
    Resume { path: u64 },
    Pause { campaign: u64 },
    Unpause { campaign: u64 },
    Cancel { campaign: u64 },
    Forget { campaign: u64 },
    Release { campaign: u64, max: usize },
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
    let flow = (0_usize..4, 0_u32..3, maybe());
    prop_oneof![
        6 => (maybe(), 0_u64..100_000, expiry())
            .prop_map(|(campaign, after_ms, expiry_s)| Act::Schedule { campaign, after_ms, expiry_s }),
        12 => (path(), flow, expiry(), 0_u32..100)
            .prop_map(|(path, flow, expiry_s, deadline_s)| Act::Enqueue { path, flow, expiry_s, deadline_s }),
        2 => (campaign(), expiry()).prop_map(|(campaign, expiry_s)| Act::Hold { campaign, expiry_s }),
        3 => (0_usize..20).prop_map(|max| Act::Due { max }),
        10 => (path(), 0_usize..6, any::<bool>()).prop_map(|(path, more, back)| Act::Pull { path, more, back }),
        1 => (path(), 0_u64..20_000).prop_map(|(path, for_ms)| Act::Suspend { path, for_ms }),
        1 => path().prop_map(|path| Act::Resume { path }),
        1 => campaign().prop_map(|campaign| Act::Pause { campaign }),
        1 => campaign().prop_map(|campaign| Act::Unpause { campaign }),
        1 => campaign().prop_map(|campaign| Act::Cancel { campaign }),
        1 => campaign().prop_map(|campaign| Act::Forget { campaign }),
        1 => (campaign(), 0_usize..9).prop_map(|(campaign, max)| Act::Release { campaign, max }),
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
    waiting: BTreeSet<u64>,
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

    fn took<E>(&mut self, ticket: Ticket, result: Result<(), E>) {
        if result.is_ok() {
            assert!(self.waiting.insert(ticket.id.raw()));
        }
    }

    fn gave(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            assert!(self.waiting.remove(&ticket.id.raw()), "{} was handed out twice", ticket.id);
        }
    }

    fn add(&mut self, act: &Act) {
        match *act {
            Act::Schedule { campaign, after_ms, expiry_s } => {
                let ticket = self.ticket(Class::Bulk, expiry_s, 0);
                let due = self.now + Duration::from_millis(after_ms);
                let result = self.queue.schedule(ticket, campaign.map(CampaignId::from_raw), due);
                self.took(ticket, result);
            }
            Act::Enqueue { path, flow: (class, tenant, campaign), expiry_s, deadline_s } => {
                let class = Class::ALL[class];
                let ticket = self.ticket(class, expiry_s, deadline_s);
                let key =
                    FlowKey { class, tenant, campaign: campaign.map(CampaignId::from_raw), identity: 0 };
                let path = self.path(path);
                let result = self.queue.enqueue(path, key, ticket, self.now);
                self.took(ticket, result);
            }
            Act::Hold { campaign, expiry_s } => {
                let ticket = self.ticket(Class::Bulk, expiry_s, 0);
                let result = self.queue.hold(CampaignId::from_raw(campaign), None, ticket);
                self.took(ticket, result);
            }
            _ => {}
        }
    }

    fn take(&mut self, act: &Act) {
        let mut out = Vec::new();
        match *act {
            Act::Due { max } => self.queue.due(self.now, max, &mut out),
            Act::Pull { path, more, back } => self.pull(path, more, back),
            Act::Cancel { campaign } => out = self.queue.cancel_campaign(CampaignId::from_raw(campaign)),
            Act::Release { campaign, max } => {
                self.queue.release_some(CampaignId::from_raw(campaign), None, max, &mut out);
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

    fn pull(&mut self, path: u64, more: usize, back: bool) {
        let path = self.path(path);
        let Pull::Ticket(ticket, key) = self.queue.pull(path, self.now) else { return };
        assert!(!ticket.is_expired(self.now));
        let mut tickets = vec![ticket];
        self.queue.pull_with(path, key, more, |next| next.id.raw() % 7 != 0, &mut tickets);
        assert!(tickets.iter().all(|ticket| !ticket.is_expired(self.now) && ticket.class == key.class));
        self.gave(tickets.iter().copied());
        for ticket in tickets.into_iter().filter(|_| back) {
            let result = self.queue.unpull(path, key, ticket);
            self.took(ticket, result);
        }
    }

    fn steer(&mut self, act: &Act) {
        match *act {
            Act::Suspend { path, for_ms } => {
                let path = self.path(path);
                self.queue.suspend(path, self.now + Duration::from_millis(for_ms), "test");
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
        let mut books = Books { queue: queue(), now: START, next_id: 0, waiting: BTreeSet::new() };
        for act in &acts {
            books.add(act);
            books.take(act);
            books.steer(act);
            prop_assert_eq!(books.queue.totals().waiting(), books.waiting.len() as u64, "after {:?}", act);
        }
        books.empty();
        prop_assert!(books.waiting.is_empty(), "never handed out: {:?}", books.waiting);
        prop_assert_eq!(books.queue.totals().waiting(), 0);
        prop_assert_eq!(books.queue.totals().flows, 0);
    }
}
