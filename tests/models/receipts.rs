//! Scenes of the receipts between shards: a shard that sees an outcome counted finds its record written. Counts and
//! receipts are the engine's own `written.rs`; a record is a number that was zero.

use std::task::{Context, Poll};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::doorbell::Doorbell;
use super::mailbox::receive;
use super::written::{Receipt, Written};

const HOME: u8 = 1;
const FROM: u8 = 0;

struct Shards {
    written: Written,
    /// What `write` puts into the page cache.
    records: [AtomicUsize; 2],
    bell: Doorbell,
    told: AtomicBool,
}

impl Shards {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            written: Written::new(2),
            records: [AtomicUsize::new(0), AtomicUsize::new(0)],
            bell: Doorbell::new(),
            told: AtomicBool::new(false),
        })
    }

    /// The home shard writes an outcome: relaxed, so that only the count can carry it over.
    fn write(&self, record: usize) {
        self.records[record].store(1, Ordering::Relaxed);
    }

    fn look(&self, number: u64) {
        let record = usize::try_from(number).expect("a small number") - 1;
        if self.written.covers(Receipt { home: HOME, number }, FROM) {
            let is_written = self.records[record].load(Ordering::Relaxed) == 1;
            assert!(is_written, "receipt {number} is there, its record is not written");
        }
    }
}

/// As `Shard::confirm`, once for each of two outcomes.
pub(super) fn written_before_counted() {
    let shards = Shards::new();
    let home = thread::spawn({
        let shards = Arc::clone(&shards);
        move || {
            for record in 0..2 {
                shards.write(record);
                shards.written.add(HOME, FROM, 1);
            }
        }
    });
    shards.look(2);
    shards.look(1);
    home.join().expect("it writes");
    assert!(shards.written.covers(Receipt { home: HOME, number: 2 }, FROM));
    assert!(!shards.written.covers(Receipt { home: FROM, number: 1 }, HOME), "another pair of shards");
}

/// The mistake: counted first.
pub(super) fn counted_before_written() {
    let shards = Shards::new();
    let home = thread::spawn({
        let shards = Arc::clone(&shards);
        move || {
            shards.written.add(HOME, FROM, 1);
            shards.write(0);
        }
    });
    shards.look(1);
    home.join().expect("it writes");
}

/// The shard that waits for a receipt sleeps until it is told, and then finds it.
pub(super) fn told_after_counted() {
    let shards = Shards::new();
    let home = thread::spawn({
        let shards = Arc::clone(&shards);
        move || {
            shards.write(0);
            shards.written.add(HOME, FROM, 1);
            let push = |()| {
                shards.told.store(true, Ordering::Release);
                Ok(())
            };
            assert_eq!(shards.bell.send((), push, || {}), Ok(()));
        }
    });
    let look = || usize::from(shards.told.load(Ordering::Acquire));
    let poll = |context: &Context<'_>| match look() {
        0 => shards.bell.sleep(context.waker(), look).map(|_| 0),
        _ => Poll::Ready(0),
    };
    receive(poll, || home.join().expect("it writes"));
    assert!(shards.written.covers(Receipt { home: HOME, number: 1 }, FROM), "told, but not counted");
    shards.look(1);
}
