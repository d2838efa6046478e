//! queue: one recipient in and out, while few and while many others wait. The cost should be flat but for what the
//! processor's caches make of it.

use std::time::Duration;

use bench::{Chance, only};
use criterion::{BenchmarkId, Criterion};
use mail::{Class, RecipientId, UnixMs};
use queue::{FlowKey, Limits, PathId, PathKey, Pull, Queue, Ticket};

const START: UnixMs = UnixMs(1_700_000_000_000);
/// Retries lie within this span.
const SPAN_MS: u64 = 4 * 3600 * 1000;
const PATHS: u16 = 100;
const TENANTS: u64 = 8;
const WAITING: [u64; 2] = [10_000, 1_000_000];
const LIMITS: Limits = Limits {
    connections: 20,
    rate: None,
    messages_per_connection: 1000,
    recipients_per_message: 1,
    pipeline_depth: 8,
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    scheduled(&mut criterion);
    ready(&mut criterion);
    criterion.final_summary();
}

fn name(waiting: u64) -> String {
    if waiting >= 1_000_000 {
        format!("{}M wait", waiting / 1_000_000)
    } else {
        format!("{}k wait", waiting / 1000)
    }
}

/// Tickets that wait for their time, spread evenly over the span to come.
struct Scheduled {
    queue: Queue,
    waiting: u64,
    now: UnixMs,
    chance: Chance,
    next_id: u64,
    due: Vec<Ticket>,
}

impl Scheduled {
    fn new(waiting: u64) -> Self {
        let queue = Queue::new([16, 8, 4, 1], 0.2, START);
        let mut scene = Self { queue, waiting, now: START, chance: Chance(1), next_id: 0, due: Vec::new() };
        scene.schedule(waiting);
        scene
    }

    fn schedule(&mut self, count: u64) {
        for _ in 0..count {
            self.next_id += 1;
            let due = UnixMs(self.now.0 + 1 + self.chance.below(SPAN_MS));
            let ticket = ticket(self.next_id, Class::Bulk);
            self.queue.schedule(ticket, None, due).expect("no campaign is cancelled");
        }
    }

    /// Lets time pass until so many were due, in as large steps as that takes.
    fn pop(&mut self, count: u64) {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        while left > 0 {
            self.due.clear();
            self.queue.due(self.now, left, &mut self.due);
            left -= self.due.len();
            if left > 0 {
                self.now = UnixMs(self.now.0 + (SPAN_MS * left as u64 / self.waiting).max(1));
            }
        }
    }
}

fn scheduled(criterion: &mut Criterion) {
    for waiting in WAITING {
        let mut scene = Scheduled::new(waiting);
        let mut group = criterion.benchmark_group("queue/timing wheel");
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
        group.bench_function(BenchmarkId::new("schedule", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, Scheduled::schedule, Scheduled::pop));
        });
        scene.schedule(4096);
        group.bench_function(BenchmarkId::new("due", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, Scheduled::pop, Scheduled::schedule));
        });
        group.finish();
    }
}

/// Tickets that may leave, on paths with flows of several classes and tenants each.
struct Ready {
    queue: Queue,
    paths: Vec<PathId>,
    chance: Chance,
    next_id: u64,
    turn: usize,
}

impl Ready {
    fn new(waiting: u64) -> Self {
        let mut queue = Queue::new([16, 8, 4, 1], 0.2, START);
        let keys =
            (0..PATHS).map(|index| PathKey { source: index % 4, provider: index, site: u64::from(index) });
        let paths: Vec<PathId> = keys.map(|key| queue.path(key, LIMITS)).collect();
        paths.iter().for_each(|path| queue.connection_opened(*path));
        let mut scene = Self { queue, paths, chance: Chance(2), next_id: 0, turn: 0 };
        scene.enqueue(waiting);
        scene
    }

    fn enqueue(&mut self, count: u64) {
        for _ in 0..count {
            self.next_id += 1;
            let path = self.paths[self.next_id as usize % self.paths.len()];
            let drawn = self.chance.below(4 * TENANTS);
            let class =
                [Class::Bulk, Class::Bulk, Class::Personal, Class::Transactional][(drawn % 4) as usize];
            let flow = FlowKey { class, tenant: (drawn / 4) as u32, campaign: None, identity: 0 };
            let ticket = ticket(self.next_id, class);
            self.queue.enqueue(path, flow, ticket, START).expect("the path is there");
        }
    }

    fn pull(&mut self, count: u64) {
        for _ in 0..count {
            self.turn = (self.turn + 1) % self.paths.len();
            let pulled = self.queue.pull(self.paths[self.turn], START);
            assert!(matches!(pulled, Pull::Ticket(..)), "something waits on every path: {pulled:?}");
        }
    }
}

fn ready(criterion: &mut Criterion) {
    for waiting in WAITING {
        let mut scene = Ready::new(waiting);
        let mut group = criterion.benchmark_group("queue/100 paths");
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
        group.bench_function(BenchmarkId::new("enqueue", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, Ready::enqueue, Ready::pull));
        });
        group.bench_function(BenchmarkId::new("pull", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, Ready::pull, Ready::enqueue));
        });
        group.finish();
    }
}

fn ticket(id: u64, class: Class) -> Ticket {
    // Without expiry: the wheel's clock runs for years, and what has expired is due at once.
    Ticket { id: RecipientId::from_raw(id), expiry: 0, deadline: 0, attempts: 0, class }
}
