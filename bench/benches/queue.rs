//! queue: what one recipient costs while few and while ten million others wait. The cost should be flat but for what the
//! processor's caches make of it.
//!
//! An operation is one ticket through one call of a queue in which `waiting` others lie, and which stays at that: 256
//! operations are measured, then as many of their opposite bring the queue back, outside of the clock. Before anything is
//! measured as many tickets as wait have come and gone, so that memory has been used again in the order of
//! departures and not as it was first laid out. The clock is the processor's time for this thread, because
//! what others do on the machine is not the queue's cost; the allocator is that of the engine.
//!
//! - `wheel`: tickets wait for a moment within the next four hours, each drawn by chance. `schedule` puts one in, `due` takes one
//!   out whose moment has come, `find` tells of one of those that wait where it does.
//! - `1 line`, `2,400 lines`, `10,000 lines`: tickets wait for their turn: one flow; a hundred paths of 24 flows each
//!   (three classes, eight tenants); ten thousand paths with one flow each, as many destinations. `enqueue` lets one in on a path
//!   drawn by chance; `pull` takes one off a path drawn apart from that among those where some wait, so that lines
//!   grow and shrink beside each other; `pass` is one in and one out. What a line itself costs is another matter than
//!   how long it is: compare downwards, with the same lines and more who wait.
//! - `beside bodies`: after every sixteen operations, outside the clock, as many bodies of 10 KiB are copied, since no engine does
//!   nothing but queue: what a queue of a thousand keeps near the processor when it is alone, the bodies drive out. `retry` is
//!   `schedule` and `due` of one.

use std::hint::black_box;
use std::time::Duration;

use bench::Chance;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use mail::{Class, RecipientId, UnixMs};
use queue::{FlowKey, Limits, PathId, PathKey, Pull, Queue, Ticket};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START: UnixMs = UnixMs(1_700_000_000_000);
/// Retries lie within this span.
const SPAN_MS: u64 = 4 * 3600 * 1000;
const WAITING: [u64; 5] = [1000, 10_000, 100_000, 1_000_000, 10_000_000];
/// Operations under the clock at a time; the engine takes as many off the wheel at once, at most.
const BATCH: u64 = 256;
/// The same where bodies are copied in between: what an engine takes up at once when some connections are busy.
const BATCH_BESIDE_BODIES: u64 = 16;
const BODY_BYTES: usize = 10 << 10;
/// Bodies come from a log this long, and go to buffers.
const LOG_BYTES: usize = 64 << 20;
/// Records of recipients lie this far apart in the spool, at most: ten kilobytes of message between them.
const RECORD_BYTES_MAX: u64 = 10_800;
/// The records of a campaign's recipients lie this far apart.
const RECORD_BYTES: u64 = 288;
const LIMITS: Limits = Limits {
    connections: 20,
    rate: None,
    messages_per_connection: 1000,
    recipients_per_message: 1,
    pipeline_depth: 8,
};

fn main() {
    let mut criterion = Criterion::default().with_measurement(Cpu).configure_from_args();
    WAITING.into_iter().for_each(|waiting| wheel(&mut criterion, waiting));
    for (lines, spread) in SPREADS {
        WAITING.into_iter().for_each(|waiting| ready(&mut criterion, lines, spread, waiting));
    }
    criterion.final_summary();
}

/// The processor's time for this thread; shown as time is.
struct Cpu;

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

impl Measurement for Cpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, began: Duration) -> Duration {
        cpu_time() - began
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// The time that `count` of `measured` take, `undone` outside the clock after every batch.
fn only<T>(state: &mut T, count: u64, measured: fn(&mut T, u64), undone: fn(&mut T, u64)) -> Duration {
    in_batches(state, count, BATCH, measured, undone)
}

fn in_batches<T>(
    state: &mut T,
    count: u64,
    most: u64,
    measured: fn(&mut T, u64),
    mut undone: impl FnMut(&mut T, u64),
) -> Duration {
    let (mut time, mut left) = (Duration::ZERO, count);
    while left > 0 {
        let batch = left.min(most);
        let began = cpu_time();
        measured(state, batch);
        time += cpu_time() - began;
        undone(state, batch);
        left -= batch;
    }
    time
}

/// The bodies of messages, which pass through the processor's caches while recipients pass through the queue.
struct Bodies {
    log: Vec<u8>,
    position: usize,
    buffer: Vec<u8>,
}

impl Bodies {
    fn new() -> Self {
        Self { log: vec![b'x'; LOG_BYTES], position: 0, buffer: vec![0; BODY_BYTES] }
    }

    fn copy(&mut self, count: u64) {
        for _ in 0..count {
            let body = &self.log[self.position..self.position + BODY_BYTES];
            black_box(&mut self.buffer).copy_from_slice(black_box(body));
            self.position = (self.position + BODY_BYTES) % (LOG_BYTES - BODY_BYTES);
        }
    }
}

/// The time that `count` of `measured` take while bodies are copied in between.
fn beside_bodies<T>(state: &mut T, count: u64, bodies: &mut Bodies, measured: fn(&mut T, u64)) -> Duration {
    in_batches(state, count, BATCH_BESIDE_BODIES, measured, |_, batch| bodies.copy(batch))
}

fn name(waiting: u64) -> String {
    if waiting >= 1_000_000 {
        format!("{}M wait", waiting / 1_000_000)
    } else {
        format!("{}k wait", waiting / 1000)
    }
}

fn group<'a>(criterion: &'a mut Criterion<Cpu>, name: &str) -> BenchmarkGroup<'a, Cpu> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

/// Tickets as the spool numbers them: by where their records lie.
struct Tickets {
    chance: Chance,
    position: u64,
}

impl Tickets {
    const fn new() -> Self {
        Self { chance: Chance(1), position: 0 }
    }

    /// One of a campaign as often as one with a message of its own.
    fn next(&mut self, class: Class) -> Ticket {
        let step = if self.chance.below(2) == 0 { RECORD_BYTES } else { RECORD_BYTES_MAX };
        self.position += (step + self.chance.below(64)) & !15;
        let id = RecipientId::from_raw(self.position);
        // Without expiry: the wheel's clock runs for years, and what has expired is due at once.
        Ticket { id, expiry: 0, deadline: 0, attempts: 0, class }
    }
}

/// Tickets that wait for their time.
struct Wheel {
    queue: Queue,
    waiting: u64,
    now: UnixMs,
    tickets: Tickets,
    /// Some of those that wait, to ask for.
    known: Vec<RecipientId>,
    due: Vec<Ticket>,
}

impl Wheel {
    fn new(waiting: u64) -> Self {
        let queue = Queue::new([16, 8, 4, 1], 0.2, START);
        let (tickets, known, due) = (Tickets::new(), Vec::new(), Vec::new());
        let mut scene = Self { queue, waiting, now: START, tickets, known, due };
        scene.schedule(waiting);
        for _ in 0..waiting.div_ceil(BATCH) {
            scene.pop(BATCH.min(waiting));
            scene.schedule(BATCH.min(waiting));
        }
        scene
    }

    fn schedule(&mut self, count: u64) {
        for _ in 0..count {
            let ticket = self.tickets.next(Class::Bulk);
            let due = UnixMs(self.now.0 + 1 + self.tickets.chance.below(SPAN_MS));
            self.queue.schedule(ticket, None, due).expect("no campaign is cancelled");
        }
    }

    /// Lets time pass until so many were due, in steps as large as the engine's when it is busy.
    fn pop(&mut self, count: u64) {
        let mut left = count as usize;
        while left > 0 {
            self.due.clear();
            self.queue.due(self.now, left, &mut self.due);
            left -= self.due.len();
            if self.due.is_empty() {
                let step = SPAN_MS * left as u64 / self.waiting;
                self.now = UnixMs(self.now.0 + step.max(1));
            }
        }
    }

    /// One in, one out when its time has come.
    fn retry(&mut self, count: u64) {
        self.schedule(count);
        self.pop(count);
    }

    /// Learns who waits, by putting in as many as `find` asks for.
    fn know(&mut self) {
        self.known.clear();
        let queue = &mut self.queue;
        for _ in 0..self.waiting.min(1_000_000) {
            let ticket = self.tickets.next(Class::Bulk);
            let due = UnixMs(self.now.0 + 1 + self.tickets.chance.below(SPAN_MS));
            queue.schedule(ticket, None, due).expect("no campaign is cancelled");
            self.known.push(ticket.id);
        }
    }

    /// A person asks where some of them wait.
    fn find(&mut self, count: u64) {
        for _ in 0..count {
            let asked = self.tickets.chance.below(self.known.len() as u64) as usize;
            assert!(black_box(self.queue.find(self.known[asked])).is_some(), "it waits");
        }
    }
}

fn wheel(criterion: &mut Criterion<Cpu>, waiting: u64) {
    let mut scene = Wheel::new(waiting);
    let mut group = group(criterion, "queue/wheel");
    group.bench_function(BenchmarkId::new("schedule", name(waiting)), |bencher| {
        bencher.iter_custom(|count| only(&mut scene, count, Wheel::schedule, Wheel::pop));
    });
    group.bench_function(BenchmarkId::new("due", name(waiting)), |bencher| {
        bencher.iter_custom(|count| only(&mut scene, count, Wheel::pop, Wheel::schedule));
    });
    let mut bodies = Bodies::new();
    group.bench_function(BenchmarkId::new("retry beside bodies", name(waiting)), |bencher| {
        bencher.iter_custom(|count| beside_bodies(&mut scene, count, &mut bodies, Wheel::retry));
    });
    scene.know();
    group.bench_function(BenchmarkId::new("find", name(waiting)), |bencher| {
        bencher.iter_custom(|count| only(&mut scene, count, Wheel::find, |_, _| {}));
    });
    group.finish();
}

/// How tickets are spread over lines.
#[derive(Clone, Copy)]
struct Spread {
    paths: u64,
    tenants: u64,
    classes: &'static [Class],
}

const SPREADS: [(&str, Spread); 3] = [
    ("1 line", Spread { paths: 1, tenants: 1, classes: &[Class::Bulk] }),
    (
        "2,400 lines",
        Spread { paths: 100, tenants: 8, classes: &[Class::Bulk, Class::Personal, Class::Transactional] },
    ),
    ("10,000 lines", Spread { paths: 10_000, tenants: 1, classes: &[Class::Bulk] }),
];

/// Tickets that wait for their turn.
struct Ready {
    queue: Queue,
    spread: Spread,
    paths: Vec<PathId>,
    /// How many wait on each path.
    depths: Vec<u32>,
    tickets: Tickets,
}

impl Ready {
    fn new(spread: Spread, waiting: u64) -> Self {
        let mut queue = Queue::new([16, 8, 4, 1], 0.2, START);
        let key =
            |index: u64| PathKey { source: (index % 4) as u16, provider: (index % 1000) as u16, site: index };
        let paths: Vec<PathId> = (0..spread.paths).map(|index| queue.path(key(index), LIMITS)).collect();
        paths.iter().for_each(|path| queue.connection_opened(*path));
        let depths = vec![0; paths.len()];
        let mut scene = Self { queue, spread, paths, depths, tickets: Tickets::new() };
        scene.enqueue(waiting);
        for _ in 0..waiting.div_ceil(BATCH) {
            scene.pull(BATCH.min(waiting));
            scene.enqueue(BATCH.min(waiting));
        }
        scene
    }

    fn enqueue(&mut self, count: u64) {
        for _ in 0..count {
            let spread = self.spread;
            let path = self.tickets.chance.below(spread.paths) as usize;
            let class = spread.classes[self.tickets.chance.below(spread.classes.len() as u64) as usize];
            let tenant = self.tickets.chance.below(spread.tenants) as u32;
            let flow = FlowKey { class, tenant, campaign: None, identity: 0 };
            let ticket = self.tickets.next(class);
            self.queue.enqueue(self.paths[path], flow, ticket, START).expect("the path is there");
            self.depths[path] += 1;
        }
    }

    fn pull(&mut self, count: u64) {
        for _ in 0..count {
            let mut path = self.tickets.chance.below(self.spread.paths) as usize;
            while self.depths[path] == 0 {
                path = self.tickets.chance.below(self.spread.paths) as usize;
            }
            let pulled = self.queue.pull(self.paths[path], START);
            assert!(matches!(pulled, Pull::Ticket(..)), "something waits there: {pulled:?}");
            self.depths[path] -= 1;
        }
    }

    /// One in, one out, as when mail is sent as fast as it comes.
    fn pass(&mut self, count: u64) {
        for _ in 0..count {
            self.enqueue(1);
            self.pull(1);
        }
    }
}

fn ready(criterion: &mut Criterion<Cpu>, lines: &str, spread: Spread, waiting: u64) {
    let mut scene = Ready::new(spread, waiting);
    let mut group = group(criterion, &format!("queue/{lines}"));
    group.bench_function(BenchmarkId::new("enqueue", name(waiting)), |bencher| {
        bencher.iter_custom(|count| only(&mut scene, count, Ready::enqueue, Ready::pull));
    });
    group.bench_function(BenchmarkId::new("pull", name(waiting)), |bencher| {
        bencher.iter_custom(|count| only(&mut scene, count, Ready::pull, Ready::enqueue));
    });
    group.bench_function(BenchmarkId::new("pass", name(waiting)), |bencher| {
        bencher.iter_custom(|count| only(&mut scene, count, Ready::pass, |_, _| {}));
    });
    let mut bodies = Bodies::new();
    group.bench_function(BenchmarkId::new("pass beside bodies", name(waiting)), |bencher| {
        bencher.iter_custom(|count| beside_bodies(&mut scene, count, &mut bodies, Ready::pass));
    });
    group.finish();
}
