//! How positions of a log reach its readers: who sees a position flushed or durable finds the bytes before it.
//!
//! A small copy, because the real code is spread over files that map memory. It copies, step by step:
//! `Log::flush` and `Log::settle` (spool/src/log.rs) in [`Shared::flush`], `Image::publish` (mmap.rs) in
//! [`Segment::publish`], `Log::roll` in [`Shared::roll`], `Tail::next` (tail.rs) in [`Shared::tail`] and
//! `Reader::content` (reader.rs) in [`Shared::by_identifier`]. The list of segments is an `ArcSwap` there, a count here.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::explore;

/// Bytes of a record, and of a segment.
const RECORD: usize = 1;

/// The choices that a control gets wrong.
#[derive(Clone, Copy)]
struct Choices {
    publish: Ordering,
    flushed: Ordering,
    /// The position is stored before the bytes are published.
    position_first: bool,
    /// The reader takes its list of segments before it asks how far the log is flushed.
    segments_first: bool,
}

const RIGHT: Choices = Choices {
    publish: Ordering::Release,
    flushed: Ordering::Release,
    position_first: false,
    segments_first: false,
};

struct Segment {
    /// The one record of this segment, written by the kernel on behalf of the log.
    bytes: AtomicUsize,
    published: AtomicUsize,
}

impl Segment {
    fn new() -> Self {
        Self { bytes: AtomicUsize::new(0), published: AtomicUsize::new(0) }
    }

    fn publish(&self, bytes: usize, choices: Choices) {
        self.published.fetch_max(bytes, choices.publish);
    }

    fn bytes(&self) -> Option<usize> {
        (self.published.load(Ordering::Acquire) >= RECORD).then(|| self.bytes.load(Ordering::Relaxed))
    }
}

struct Shared {
    segments: [Segment; 2],
    /// How many segments readers can see.
    count: AtomicUsize,
    flushed: AtomicUsize,
    synced: AtomicUsize,
    choices: Choices,
}

impl Shared {
    fn new(choices: Choices) -> Arc<Self> {
        Arc::new(Self {
            segments: [Segment::new(), Segment::new()],
            count: AtomicUsize::new(1),
            flushed: AtomicUsize::new(0),
            synced: AtomicUsize::new(0),
            choices,
        })
    }

    /// Writes the record of segment `index`, and reports it flushed.
    fn flush(&self, index: usize) {
        let end = (index + 1) * RECORD;
        self.segments[index].bytes.store(1, Ordering::Relaxed);
        if self.choices.position_first {
            self.flushed.store(end, self.choices.flushed);
            self.segments[index].publish(RECORD, self.choices);
        } else {
            self.segments[index].publish(RECORD, self.choices);
            self.flushed.store(end, self.choices.flushed);
        }
    }

    /// The ring has reported that the sync of what is flushed succeeded; the shard's thread learns it.
    fn settle(&self) {
        let upto = self.flushed.load(Ordering::Acquire);
        self.synced.fetch_max(upto, Ordering::AcqRel);
    }

    fn roll(&self) {
        self.count.store(2, Ordering::Release);
    }

    /// Reads the last record before the position that `end` holds.
    fn tail(&self, end: &AtomicUsize) {
        let count_before = self.count.load(Ordering::Acquire);
        let end = end.load(Ordering::Acquire);
        let count =
            if self.choices.segments_first { count_before } else { self.count.load(Ordering::Acquire) };
        let Some(index) = end.checked_sub(RECORD) else { return };
        assert!(index < count, "position {end} lies in no segment");
        assert_eq!(self.segments[index].bytes(), Some(1), "position {end} without its bytes");
    }

    /// Reads the record at the beginning of segment `index`, if it can be seen.
    fn by_identifier(&self, index: usize) {
        if index < self.count.load(Ordering::Acquire) {
            assert_ne!(self.segments[index].bytes(), Some(0), "bytes shown before they are written");
        }
    }
}

/// A log that fills a segment and begins the next, and a reader.
fn scene(choices: Choices, read: fn(&Shared)) {
    explore(move || {
        let shared = Shared::new(choices);
        let log = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.flush(0);
                shared.settle();
                shared.roll();
                shared.flush(1);
            }
        });
        read(&shared);
        log.join().expect("it writes");
        shared.tail(&shared.flushed);
    });
}

#[test]
fn what_is_flushed_can_be_read() {
    scene(RIGHT, |shared| shared.tail(&shared.flushed));
}

#[test]
fn what_is_durable_can_be_read() {
    scene(RIGHT, |shared| shared.tail(&shared.synced));
}

#[test]
fn what_is_durable_is_flushed() {
    scene(RIGHT, |shared| {
        let synced = shared.synced.load(Ordering::Acquire);
        assert!(synced <= shared.flushed.load(Ordering::Acquire));
    });
}

#[test]
fn a_record_is_shown_whole() {
    scene(RIGHT, |shared| {
        shared.by_identifier(1);
        shared.by_identifier(0);
    });
}

#[test]
#[should_panic(expected = "without its bytes")]
fn a_relaxed_position_comes_before_its_bytes() {
    scene(Choices { flushed: Ordering::Relaxed, ..RIGHT }, |shared| shared.tail(&shared.flushed));
}

#[test]
#[should_panic(expected = "without its bytes")]
fn a_position_stored_first_comes_before_its_bytes() {
    scene(Choices { position_first: true, ..RIGHT }, |shared| shared.tail(&shared.flushed));
}

#[test]
#[should_panic(expected = "lies in no segment")]
fn segments_taken_first_do_not_hold_the_position() {
    scene(Choices { segments_first: true, ..RIGHT }, |shared| shared.tail(&shared.flushed));
}

#[test]
#[should_panic(expected = "shown before they are written")]
fn relaxed_publishing_shows_bytes_that_are_not_there() {
    scene(Choices { publish: Ordering::Relaxed, ..RIGHT }, |shared| shared.by_identifier(0));
}
