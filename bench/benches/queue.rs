//! queue: one recipient in and out, while few and while many others wait. The cost should be flat but for what the
//! processor's caches make of it.

use std::hint::black_box;
use std::time::Duration;

use bench::{Chance, only};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use mail::{Class, RecipientId, UnixMs};
use queue::{FlowKey, Limits, PathId, PathKey, Pull, Queue, Ticket};

const START: UnixMs = UnixMs(1_700_000_000_000);
/// Retries lie within this span.
const SPAN_MS: u64 = 4 * 3600 * 1000;
const PATHS: u16 = 100;
const TENANTS: u64 = 8;
const WAITING: [u64; 4] = [1000, 100_000, 1_000_000, 10_000_000];
/// How many the engine takes off the wheel at once, at most.
const DUE_MAX: usize = 256;
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

    /// Lets time pass until so many were due, in steps as large as the engine's when it is busy.
    fn pop(&mut self, count: u64) {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        while left > 0 {
            self.due.clear();
            self.queue.due(self.now, left.min(DUE_MAX), &mut self.due);
            left -= self.due.len();
            if self.due.is_empty() {
                let step = SPAN_MS * left.min(DUE_MAX) as u64 / self.waiting;
                self.now = UnixMs(self.now.0 + step.max(1));
            }
        }
    }

    /// A person asks where some of them wait.
    fn find(&mut self, count: u64) {
        for _ in 0..count {
            let id = RecipientId::from_raw(self.next_id - self.chance.below(self.waiting / 2));
            black_box(self.queue.find(id));
        }
    }
}

fn scheduled(criterion: &mut Criterion) {
    for waiting in WAITING {
        let mut scene = Scheduled::new(waiting);
        let mut group = group(criterion, "queue/timing wheel");
        group.bench_function(BenchmarkId::new("schedule", name(waiting)), |bencher| {
            bencher
                .iter_custom(|count| only(&mut scene, count, waiting, Scheduled::schedule, Scheduled::pop));
        });
        group.bench_function(BenchmarkId::new("due", name(waiting)), |bencher| {
            bencher
                .iter_custom(|count| only(&mut scene, count, waiting, Scheduled::pop, Scheduled::schedule));
        });
        group.bench_function(BenchmarkId::new("find", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, waiting, Scheduled::find, |_, _| {}));
        });
        group.finish();
    }
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
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

impl Ready {
    /// One in, one out, as when mail is sent as fast as it comes.
    fn pass(&mut self, count: u64) {
        for _ in 0..count {
            self.enqueue(1);
            self.pull(1);
        }
    }
}

fn ready(criterion: &mut Criterion) {
    for waiting in WAITING {
        let mut scene = Ready::new(waiting);
        let mut group = group(criterion, "queue/100 paths");
        group.bench_function(BenchmarkId::new("enqueue", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, waiting, Ready::enqueue, Ready::pull));
        });
        group.bench_function(BenchmarkId::new("pull", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, waiting, Ready::pull, Ready::enqueue));
        });
        group.bench_function(BenchmarkId::new("enqueue and pull", name(waiting)), |bencher| {
            bencher.iter_custom(|count| only(&mut scene, count, waiting, Ready::pass, |_, _| {}));
        });
        group.finish();
    }
}

fn ticket(id: u64, class: Class) -> Ticket {
    // Without expiry: the wheel's clock runs for years, and what has expired is due at once.
    Ticket { id: RecipientId::from_raw(id), expiry: 0, deadline: 0, attempts: 0, class }
}
