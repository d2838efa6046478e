//! A shell that does what the queue says, in turmoil: mail comes and comes back, limits move, flows rest, paths are suspended,
//! connections break. Nothing is lost or sent twice, no limit is exceeded at any time, and nothing is left at the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mail::{CampaignId, Class, UnixMs};
use policy::Rate;
use proptest::prelude::*;
use queue::{FlowKey, PathId, Pull, Queue, Ticket};

use crate::scene::*;

/// Two providers, each with limits of its own for all its sites.
const PROVIDERS: u16 = 2;
const SITES: u64 = 4;
/// What a rate may be exceeded by within any time: a tenth of a second at once, half a second ahead for the recipients of one
/// transaction.
const AHEAD: Duration = Duration::from_millis(600);

/// What happens at one moment.
#[derive(Clone, Debug)]
enum Event {
    Arrive { path: usize, class: usize, tenant: u32, campaign: u64, count: u64 },
    Suspend { path: usize, for_ms: u64 },
    Reroute { path: usize },
    Rest { connection: usize, for_ms: u64 },
    Limit { path: usize, connections: u32, rate: u32 },
    Break { connection: usize },
    Pause { campaign: u64 },
    Resume { campaign: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let path = || 0..usize::from(PROVIDERS) * SITES as usize;
    prop_oneof![
        8 => (path(), 0_usize..4, 0_u32..3, 0_u64..4, 1_u64..60).prop_map(
            |(path, class, tenant, campaign, count)| Event::Arrive { path, class, tenant, campaign, count }
        ),
        1 => (path(), 0_u64..2000).prop_map(|(path, for_ms)| Event::Suspend { path, for_ms }),
        1 => path().prop_map(|path| Event::Reroute { path }),
        4 => (0_usize..9, 0_u64..3000).prop_map(|(connection, for_ms)| Event::Rest { connection, for_ms }),
        2 => (path(), 1_u32..6, 20_u32..300)
            .prop_map(|(path, connections, rate)| Event::Limit { path, connections, rate }),
        1 => (0_usize..9).prop_map(|connection| Event::Break { connection }),
        1 => (1_u64..4).prop_map(|campaign| Event::Pause { campaign }),
        1 => (1_u64..4).prop_map(|campaign| Event::Resume { campaign }),
    ]
}

#[derive(Debug)]
struct Connection {
    path: usize,
    /// Asks again at this moment; `None` when the queue names its path.
    asks_at: Option<UnixMs>,
    /// Takes so many recipients in one transaction.
    together: usize,
    /// What it takes next comes back, and its flow rests for so long.
    refuses_ms: Option<u64>,
}

/// What one provider was sent, and what it allows.
#[derive(Debug)]
struct Provider {
    connections_max: u32,
    /// The highest rate of the last two seconds, as moments at which it was in force.
    rates: VecDeque<(UnixMs, u32)>,
    sent: VecDeque<(UnixMs, usize)>,
}

impl Provider {
    /// No span of the last second may hold more than its highest rate gives, what comes ahead, and the one that begins it.
    fn check(&mut self, now: UnixMs) {
        while self.sent.front().is_some_and(|(when, _)| now.since(*when) > Duration::from_secs(1)) {
            self.sent.pop_front();
        }
        // A rate that has ended before the span has left what was taken ahead of it.
        while self.rates.len() > 1 && now.since(self.rates[1].0) > Duration::from_secs(3) {
            self.rates.pop_front();
        }
        let rate = self.rates.iter().map(|(_, rate)| *rate).max().unwrap_or_default();
        let mut sent = 0;
        for (when, count) in self.sent.iter().rev() {
            sent += count;
            let allowed = f64::from(rate) * (now.since(*when) + AHEAD).as_secs_f64() + 2.0;
            assert!(
                sent as f64 <= allowed,
                "{sent} since {when} at {now}, {allowed} allowed: {:?}",
                self.rates
            );
        }
    }
}

struct Shell {
    queue: Queue,
    paths: Vec<PathId>,
    providers: Vec<Provider>,
    connections: Vec<Connection>,
    waiting: BTreeSet<u64>,
    rests: BTreeMap<(usize, u64, u32, usize), UnixMs>,
    next_id: u64,
}

fn rest_key(path: usize, key: &FlowKey) -> (usize, u64, u32, usize) {
    (path, key.campaign.map_or(0, |id| id.raw()), key.tenant, key.class.index())
}

impl Shell {
    fn new() -> Self {
        let mut queue = queue();
        let first = limits(3, Some(Rate::per_second(100)));
        let keys = (0..PROVIDERS).flat_map(|provider| (0..SITES).map(move |site| key(provider, site)));
        let paths = keys.map(|key| queue.path(key, first)).collect();
        let provider =
            || Provider { connections_max: 3, rates: [(START, 100)].into(), sent: VecDeque::new() };
        Self {
            queue,
            paths,
            providers: (0..PROVIDERS).map(|_| provider()).collect(),
            connections: Vec::new(),
            waiting: BTreeSet::new(),
            rests: BTreeMap::new(),
            next_id: 0,
        }
    }

    fn provider(&mut self, path: usize) -> &mut Provider {
        &mut self.providers[path / SITES as usize]
    }

    fn happens(&mut self, event: &Event, now: UnixMs) {
        match *event {
            Event::Arrive { path, class, tenant, campaign, count } => {
                let campaign = (campaign > 0).then(|| CampaignId::from_raw(campaign));
                let key = FlowKey { class: Class::ALL[class], tenant, campaign, identity: tenant };
                let ids = self.next_id..self.next_id + count;
                self.next_id = ids.end;
                self.waiting.extend(ids.clone());
                fill(&mut self.queue, self.paths[path], key, ids, now);
            }
            Event::Suspend { path, for_ms } => {
                self.queue.suspend(self.paths[path], now + Duration::from_millis(for_ms), "turmoil");
            }
            Event::Reroute { path } => {
                let mut out = Vec::new();
                self.queue.reroute(self.paths[path], 50, &mut out);
                let other = self.paths[(path + 1) % self.paths.len()];
                for (ticket, key) in out {
                    self.queue.enqueue(other, key, ticket, now).expect("the path is there");
                }
                self.rests.retain(|(rests, ..), _| *rests != path);
            }
            Event::Rest { connection, for_ms } => {
                if let Some(connection) = self.connections.get_mut(connection) {
                    connection.refuses_ms = Some(for_ms);
                }
            }
            Event::Limit { path, connections, rate } => {
                let provider = self.provider(path);
                provider.connections_max = connections;
                provider.rates.push_back((now, rate));
                self.queue.set_limits(self.paths[path], limits(connections, Some(Rate::per_second(rate))));
            }
            Event::Break { connection } if connection < self.connections.len() => self.close(connection),
            Event::Pause { campaign } => self.queue.pause_campaign(CampaignId::from_raw(campaign)),
            Event::Resume { campaign } => self.queue.resume_campaign(CampaignId::from_raw(campaign)),
            Event::Break { .. } => {}
        }
    }

    fn close(&mut self, connection: usize) {
        let connection = self.connections.swap_remove(connection);
        self.queue.connection_closed(self.paths[connection.path]);
    }

    /// What the shell does at a moment: looks where it is told to look, and lets its connections ask.
    fn step(&mut self, now: UnixMs) {
        for id in wanting(&mut self.queue, now) {
            let path = self.paths.iter().position(|other| *other == id).expect("a path of ours");
            let mut idle = self.connections.iter_mut().filter(|connection| connection.path == path);
            if let Some(connection) = idle.find(|connection| connection.asks_at.is_none_or(|at| at > now)) {
                connection.asks_at = Some(now);
            }
            self.open(path, now);
        }
        let mut slot = 0;
        while slot < self.connections.len() {
            let asks = self.connections[slot].asks_at.is_some_and(|at| at <= now);
            if asks && !self.ask(slot, now) {
                self.close(slot);
            } else {
                slot += 1;
            }
        }
        self.providers.iter_mut().for_each(|provider| provider.check(now));
    }

    fn open(&mut self, path: usize, now: UnixMs) {
        while self.queue.wants_connection(self.paths[path], now) {
            self.queue.connection_opened(self.paths[path]);
            let together = [1, 5, 30][self.connections.len() % 3];
            self.connections.push(Connection { path, asks_at: Some(now), together, refuses_ms: None });
            let of = |connection: &&Connection| connection.path / SITES as usize == path / SITES as usize;
            let open = self.connections.iter().filter(of).count() as u32;
            let allowed = self.provider(path).connections_max;
            assert!(open <= allowed, "{open} of {allowed} connections at {now}");
        }
    }

    /// One question of a connection; false when it is to close.
    fn ask(&mut self, slot: usize, now: UnixMs) -> bool {
        let path = self.connections[slot].path;
        self.connections[slot].asks_at = match self.queue.pull(self.paths[path], now) {
            Pull::Ticket(ticket, key) => {
                self.took(slot, ticket, key, now);
                Some(now + Duration::from_millis(1))
            }
            Pull::Wait(until) => {
                assert!(until > now, "it waits for nothing");
                Some(until)
            }
            Pull::Empty => None,
            Pull::Suspended(_) | Pull::Yield => return false,
        };
        true
    }

    fn took(&mut self, slot: usize, ticket: Ticket, key: FlowKey, now: UnixMs) {
        let (path, together) = (self.connections[slot].path, self.connections[slot].together);
        let rest = self.rests.get(&rest_key(path, &key));
        assert!(rest.is_none_or(|until| *until <= now), "{key:?} rests until {rest:?} at {now}");
        if let Some(for_ms) = self.connections[slot].refuses_ms.take() {
            let until = now + Duration::from_millis(for_ms);
            self.queue.unpull(self.paths[path], key, ticket).expect("the path is there");
            self.queue.rest_flow(self.paths[path], key, until);
            self.rests.insert(rest_key(path, &key), until);
            return;
        }
        let mut tickets = vec![ticket];
        self.queue.pull_with(self.paths[path], key, together - 1, |_| true, &mut tickets);
        for ticket in &tickets {
            assert!(self.waiting.remove(&ticket.id.raw()), "{} was sent twice", ticket.id);
        }
        self.provider(path).sent.push_back((now, tickets.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_no_limit_exceeded_in_turmoil(
        events in prop::collection::vec((event(), 0_u64..40), 1..300)
    ) {
        let mut shell = Shell::new();
        let mut now = START;
        for (event, pause_ms) in events {
            shell.happens(&event, now);
            for _ in 0..=pause_ms {
                shell.step(now);
                now = now + Duration::from_millis(1);
            }
            prop_assert_eq!(shell.queue.totals().waiting(), shell.waiting.len() as u64);
        }
        (1..4).for_each(|campaign| shell.queue.resume_campaign(CampaignId::from_raw(campaign)));
        shell.connections.iter_mut().for_each(|connection| connection.refuses_ms = None);
        let end = now + Duration::from_secs(2000);
        while !shell.waiting.is_empty() && now < end {
            shell.step(now);
            now = now + Duration::from_millis(1);
        }
        prop_assert!(shell.waiting.is_empty(), "never sent: {:#?}\n{:#?}", shell.queue.paths(), shell.connections);
        while !shell.connections.is_empty() {
            shell.close(0);
        }
        wanting(&mut shell.queue, end);
        shell.queue.drop_idle(end, Duration::ZERO, 100);
        prop_assert_eq!(shell.queue.totals(), queue::Totals::default());
        prop_assert!(shell.queue.bytes() < 750_000, "{} bytes are left", shell.queue.bytes());
    }
}
