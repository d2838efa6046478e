//! spool: a record in, a group made durable, a log opened again, a record read. Commits wait for the disk of the
//! temporary directory (`TMPDIR`): their figures are the disk's as much as ours.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bench::{Chance, delivered};
use criterion::{BenchmarkId, Criterion, Throughput};
use mail::{Outcome, RecipientId, UnixMs};
use spool::{Content, Durability, Log, Options, Recipient};
use tempfile::TempDir;

const NOW: UnixMs = UnixMs(1_731_240_000_000);
const SEGMENT_BYTES: u64 = 64 << 20;
const SIZES: [(&str, usize); 2] = [("300 B", 300), ("10 KiB", 10 * 1024)];
/// Messages made durable together.
const GROUPS: [u64; 7] = [1, 4, 16, 64, 256, 1024, 4096];
/// Messages of the log that is opened and read.
const STORED: u64 = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    appending(&mut criterion);
    opening(&mut criterion);
    reading(&mut criterion);
    criterion.final_summary();
}

/// A log of its own, and what is put into it.
struct Scene {
    log: Log,
    content: Content,
    recipients: [Recipient; 1],
    body: Vec<u8>,
    ids: Vec<RecipientId>,
    outcome: Outcome,
    directory: TempDir,
}

impl Scene {
    fn new(durability: Durability, body_bytes: usize) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let options = Options { segment_bytes: SEGMENT_BYTES, durability, ..Options::default() };
        let (log, _) = Log::open(directory.path(), 0, options).expect("a new log");
        let content = Content {
            accepted_at: NOW,
            sender: "bounce-4711@shop.example".into(),
            identity: "shop.example".into(),
            ..Content::default()
        };
        let recipients = [Recipient {
            address: "ann@mail.example".into(),
            expiry: (NOW.seconds() + 5 * 86_400) as u32,
            ..Recipient::default()
        }];
        let body = vec![b'x'; body_bytes];
        Self { log, content, recipients, body, ids: Vec::new(), outcome: delivered(NOW), directory }
    }

    fn append(&mut self, count: u64) {
        for _ in 0..count {
            let Self { log, content, recipients, body, ids, .. } = self;
            log.append_message(content, body, recipients, ids).expect("there is room");
        }
    }

    /// Delivers everything and gives its room back.
    fn settle(&mut self) {
        for id in self.ids.drain(..) {
            self.log.append_outcome(id, &self.outcome).expect("it waits");
        }
        self.log.commit().expect("the disk works");
        while self.log.reclaim_step(u64::MAX).expect("the disk works").dropped_segments > 0 {}
    }
}

fn appending(criterion: &mut Criterion) {
    for (size, bytes) in SIZES {
        let mut group = criterion.benchmark_group("spool/append and write, per message");
        group.throughput(Throughput::Elements(1));
        let mut scene = Scene::new(Durability::Memory, bytes);
        group.bench_function(BenchmarkId::new(size, "64 a group"), |bencher| {
            bencher.iter_custom(|messages| {
                groups(&mut scene, messages, 64, |scene| {
                    scene.log.flush().expect("there is room");
                })
            });
        });
        group.finish();
    }
    for (size, bytes) in SIZES {
        let mut group = criterion.benchmark_group("spool/append and commit, per message");
        group.throughput(Throughput::Elements(1));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        let mut scene = Scene::new(Durability::Disk, bytes);
        for together in GROUPS {
            group.bench_function(BenchmarkId::new(size, format!("{together} a group")), |bencher| {
                bencher.iter_custom(|messages| {
                    groups(&mut scene, messages, together, |scene| {
                        scene.log.commit().expect("the disk works");
                    })
                });
            });
        }
        group.finish();
    }
}

/// The time for `messages` messages in whole groups, each closed by `close`; what becomes of them is outside the clock.
fn groups(scene: &mut Scene, messages: u64, together: u64, close: impl Fn(&mut Scene)) -> Duration {
    let mut time = Duration::ZERO;
    let rounds = messages.div_ceil(together);
    for round in 1..=rounds {
        let began = Instant::now();
        scene.append(together);
        close(scene);
        time += began.elapsed();
        if round == rounds || scene.ids.len() * scene.body.len() > 16 << 20 || scene.ids.len() >= 10_000 {
            scene.settle();
        }
    }
    // The last group may have been more than was asked for.
    time.mul_f64(messages as f64 / (rounds * together) as f64)
}

fn opening(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spool/recovery");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for (size, bytes) in SIZES {
        let mut scene = Scene::new(Durability::Memory, bytes);
        scene.append(STORED);
        scene.log.commit().expect("there is room");
        let Scene { log, directory, .. } = scene;
        drop(log);
        group.throughput(Throughput::Elements(STORED));
        group.bench_function(format!("10,000 messages of {size}"), |bencher| {
            bencher.iter(|| {
                let options = Options {
                    segment_bytes: SEGMENT_BYTES,
                    durability: Durability::Memory,
                    ..Options::default()
                };
                let (_, recovered) = Log::open(directory.path(), 0, options).expect("a log");
                assert_eq!(recovered.waiting, STORED);
            });
        });
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let mut scene = Scene::new(Durability::Memory, 10 * 1024);
    scene.append(STORED);
    scene.log.commit().expect("there is room");
    let reader = scene.log.reader();
    let mut chance = Chance(3);
    let mut any = || scene.ids[chance.below(STORED) as usize];
    let mut group = criterion.benchmark_group("spool/read");
    group.bench_function("a recipient", |bencher| {
        bencher.iter(|| {
            let recipient = reader.recipient(any()).expect("it is there");
            black_box(recipient.address().len())
        });
    });
    group.bench_function("a recipient and its 10 KiB", |bencher| {
        bencher.iter(|| {
            let recipient = reader.recipient(any()).expect("it is there");
            let content = reader.content(recipient.content()).expect("it is there");
            black_box(content.body().iter().fold(0_u8, |sum, byte| sum ^ byte))
        });
    });
    group.finish();
}
