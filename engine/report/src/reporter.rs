//! The thread that follows every shard's log and keeps the event store up to date.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mail::UnixMs;
use spool::{Cursor, Hold, Reader};

use crate::batch::Batch;
use crate::live::Live;
use crate::tail::{Campaigns, ShardTail};
use crate::write::Writer;
use crate::{Store, StoreError};

/// The pause between two passes under load: long enough to gather hundreds of events into one transaction, short
/// against what a reader of the feed notices.
const PAUSE: Duration = Duration::from_millis(40);

/// The longest pause of an idle engine: five short looks a second cost nothing that can be measured.
const IDLE_PAUSE_MAX: Duration = Duration::from_millis(200);

/// The pause after the store failed, a full disk mostly.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// After how many events, or how long after the first, they are made durable and the spool's segments let go.
const CHECKPOINT_EVENTS: usize = 32_768;
const CHECKPOINT_AGE: Duration = Duration::from_secs(5);

/// Events of one transaction: so many that its cost vanishes, and of each shard so few that all have their turn and
/// the memory stays small.
const EVENTS_PER_BATCH: usize = 8192;
const EVENTS_PER_SHARD_MIN: usize = 128;

/// How long events and counts per minute are kept, and how often old ones are looked for.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Old events of a shard that are forgotten at a time: more than a minute brings, few enough not to hold up the new ones
/// for longer than a second.
const PRUNED_MAX: u32 = 1_000_000;

/// The running reader. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct Reporter {
    store: Store,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    /// Opens the store in `data_dir` and follows `readers`, of which the first is shard 0's, and so on.
    ///
    /// # Errors
    /// When the store cannot be opened or the thread cannot be started.
    pub fn start(data_dir: &Path, readers: Vec<Reader>) -> Result<Self, StoreError> {
        let live = Arc::new(Live::default());
        let (store, writer) = Store::create(data_dir, Arc::clone(&live))?;
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker::new(writer, readers, live, Arc::clone(&stop))?;
        let thread = std::thread::Builder::new()
            .name("report".to_owned())
            .spawn(move || worker.run())
            .map_err(|source| StoreError::File { path: data_dir.to_owned(), source })?;
        Ok(Self { store, stop, thread: Some(thread) })
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Reads what has been written until now, makes it durable and ends. Call it when the engine has stopped.
    pub fn stop(mut self) {
        self.tell_to_stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the report thread ended by a panic; the event store is read on at the next start"
            );
        }
    }

    fn tell_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

struct Worker {
    writer: Writer,
    shards: Vec<Shard>,
    campaigns: Campaigns,
    batch: Batch,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    /// Events that were committed and not yet made durable, and since when there are any.
    unsaved: usize,
    unsaved_since: Option<Instant>,
    pruned: Instant,
}

struct Shard {
    number: u8,
    reader: Reader,
    tail: ShardTail,
    hold: Hold,
    position: u64,
}

impl Worker {
    fn new(
        mut writer: Writer,
        readers: Vec<Reader>,
        live: Arc<Live>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, StoreError> {
        let mut shards = Vec::with_capacity(readers.len());
        for (number, reader) in readers.into_iter().enumerate() {
            let number =
                u8::try_from(number).map_err(|_| StoreError::Spool("more than 256 shards".to_owned()))?;
            shards.push(Shard::open(number, reader, &mut writer)?);
        }
        let campaigns = Campaigns { started: writer.started()? };
        Ok(Self {
            writer,
            shards,
            campaigns,
            batch: Batch::default(),
            live,
            stop,
            unsaved: 0,
            unsaved_since: None,
            pruned: Instant::now(),
        })
    }

    fn run(mut self) {
        let mut idle = PAUSE;
        loop {
            // Asked before the pass: what was written before the stop is still read.
            let stopping = self.stop.load(Ordering::Acquire);
            let pause = match self.pass() {
                Ok(Pass::Full) => continue,
                _ if stopping => break,
                Ok(Pass::Some) => {
                    idle = PAUSE;
                    PAUSE
                }
                Ok(Pass::Nothing) => {
                    idle = (idle * 2).min(IDLE_PAUSE_MAX);
                    idle
                }
                Err(error) => {
                    tracing::error!("{error}; nothing is lost, the events are read again from the spool");
                    self.start_over();
                    FAULT_PAUSE
                }
            };
            std::thread::park_timeout(pause);
        }
        if let Err(error) = self.save() {
            tracing::warn!("{error}");
        }
    }

    /// Reads one batch from all shards and commits it.
    fn pass(&mut self) -> Result<Pass, StoreError> {
        let now = clock();
        self.batch.clear();
        let events_max = (EVENTS_PER_BATCH / self.shards.len().max(1)).max(EVENTS_PER_SHARD_MIN);
        let (mut records, mut is_end) = (0, true);
        for shard in &mut self.shards {
            let (read, was_all) = shard.tail.read(events_max, &mut self.batch, &mut self.campaigns, now);
            records += read;
            is_end &= was_all;
        }
        if records > 0 {
            self.writer.commit(&mut self.batch)?;
            self.committed();
        }
        let due = self.unsaved_since.is_some_and(|since| since.elapsed() >= CHECKPOINT_AGE);
        if due || self.unsaved >= CHECKPOINT_EVENTS {
            self.save()?;
        }
        if self.pruned.elapsed() >= PRUNE_EVERY {
            self.prune(now)?;
        }
        Ok(match records {
            _ if !is_end => Pass::Full,
            0 => Pass::Nothing,
            _ => Pass::Some,
        })
    }

    fn committed(&mut self) {
        for (number, position) in &self.batch.cursors {
            if let Some(shard) = self.shards.get_mut(usize::from(*number)) {
                shard.position = *position;
            }
        }
        self.unsaved += self.batch.events();
        self.unsaved_since.get_or_insert_with(Instant::now);
        self.live.told(&self.batch);
    }

    /// Makes the store durable; only then may the spool let go of what it was made from.
    fn save(&mut self) -> Result<(), StoreError> {
        if self.unsaved_since.is_none() || !self.writer.checkpoint()? {
            return Ok(());
        }
        self.unsaved = 0;
        self.unsaved_since = None;
        for shard in &self.shards {
            shard.hold.advance(Cursor(shard.position));
        }
        Ok(())
    }

    fn prune(&mut self, now: UnixMs) -> Result<(), StoreError> {
        self.pruned = Instant::now();
        for shard in &self.shards {
            self.writer.prune(shard.number, now - KEPT, PRUNED_MAX)?;
        }
        self.writer.prune_minutes(now - KEPT)?;
        Ok(())
    }

    /// After a failed commit: every shard is read again from what the store has.
    fn start_over(&mut self) {
        for shard in &mut self.shards {
            shard.tail = ShardTail::new(shard.number, shard.reader.clone(), shard.position);
        }
    }
}

enum Pass {
    /// There is more at once.
    Full,
    Some,
    Nothing,
}

impl Shard {
    fn open(number: u8, reader: Reader, writer: &mut Writer) -> Result<Self, StoreError> {
        let mut position = writer.position(number)?;
        let end = reader.flushed().offset();
        if position > end {
            tracing::warn!(
                "the spool of shard {number} ends before what was told of it: it has lost its last records"
            );
            writer.forget_from(number, end)?;
            position = end;
        }
        let hold = reader.hold(Cursor(position));
        let tail = ShardTail::new(number, reader.clone(), position);
        Ok(Self { number, reader, tail, hold, position })
    }
}

fn clock() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use mail::{CampaignId, Class, Disposition, Outcome, Phase, RecipientId, Reply, Route, Timings};
    use spool::{CampaignPhase, CampaignState, Content, ContentKind, Log, Options, Recipient};

    use super::*;
    use crate::{Cursor as Feed, Event};

    struct Bench {
        dir: tempfile::TempDir,
        log: Log,
        reporter: Option<Reporter>,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let (log, _) = Log::open(dir.path(), 0, Options::default()).expect("a log");
            let mut bench = Self { dir, log, reporter: None };
            bench.start();
            bench
        }

        fn start(&mut self) {
            let reporter = Reporter::start(self.dir.path(), vec![self.log.reader()]).expect("started");
            self.reporter = Some(reporter);
        }

        /// Stops the reporter, which reads to the end first, and gives all events there are.
        fn read_to_end(&mut self) -> Vec<Event> {
            self.log.commit().expect("durable");
            let reporter = self.reporter.take().expect("it runs");
            let store = reporter.store();
            reporter.stop();
            store.events_after(&Feed::default(), 1000, None).expect("read").0
        }

        fn submit(&mut self, content: &Content, addresses: &[&str]) -> Vec<RecipientId> {
            let recipients: Vec<Recipient> = addresses
                .iter()
                .map(|&address| Recipient { address: address.to_owned(), ..Recipient::default() })
                .collect();
            let mut ids = Vec::new();
            self.log.append_message(content, b"body", &recipients, &mut ids).expect("appended");
            ids
        }
    }

    fn outcome(disposition: Disposition, at: u64) -> Outcome {
        Outcome {
            at: UnixMs(at),
            attempt: 1,
            disposition,
            next_attempt: None,
            phase: Phase::Body,
            verdict: String::new(),
            reply: Reply::new(250, "queued as 1"),
            route: Arc::new(Route {
                source: "a".to_owned(),
                provider: "p".to_owned(),
                mx: "mx.test".to_owned(),
                address: "192.0.2.1:25".to_owned(),
                tls: "TLSv1.3".to_owned(),
            }),
            timings: Timings::default(),
        }
    }

    #[test]
    fn outcomes_are_told_once_with_all_that_is_known_over_restarts() {
        let mut bench = Bench::new();
        let content = Content {
            accepted_at: UnixMs(1_000),
            sender: "news@s.test".to_owned(),
            tenant: "acme".to_owned(),
            class: Class::Critical,
            tags: vec!["t".to_owned()],
            metadata: "{\"n\":1}".to_owned(),
            ..Content::default()
        };
        let ids = bench.submit(&content, &["a@x.test", "b@x.test"]);
        bench.log.append_outcome(ids[0], &outcome(Disposition::Delivered, 1_250)).expect("appended");
        let events = bench.read_to_end();
        assert_eq!(events.len(), 1);
        let Event { subject, result, .. } = &events[0];
        assert_eq!((subject.recipient, subject.address.as_str()), (ids[0], "a@x.test"));
        assert_eq!((subject.sender.as_str(), subject.origin.tenant.as_str()), ("news@s.test", "acme"));
        assert_eq!((subject.origin.class, subject.origin.tags.len()), (Class::Critical, 1));
        assert_eq!((subject.metadata.as_deref(), result.latency_ms), (Some("{\"n\":1}"), Some(250)));
        bench.log.append_outcome(ids[1], &outcome(Disposition::Bounced, 2_000)).expect("appended");
        bench.start();
        let events = bench.read_to_end();
        assert_eq!(events.len(), 2);
        assert_eq!((events[1].subject.recipient, events[1].result.latency_ms), (ids[1], None));
    }

    #[test]
    fn a_campaign_is_counted_and_its_latency_begins_with_its_start() {
        let mut bench = Bench::new();
        let content =
            Content { kind: ContentKind::Template, accepted_at: UnixMs(1_000), ..Content::default() };
        let template = bench.log.append_content(&content, b"{}").expect("appended");
        let campaign = CampaignId(template.0);
        let mut ids = Vec::new();
        for n in 0..3 {
            let address = format!("r{n}@x.test");
            let recipient = Recipient { content: template, address, ..Recipient::default() };
            ids.push(bench.log.append_recipient(&recipient).expect("appended"));
        }
        let state = CampaignState { campaign, phase: CampaignPhase::Running, at: UnixMs(50_000) };
        bench.log.append_campaign_state(&state).expect("appended");
        bench.read_to_end();
        bench.log.append_outcome(ids[0], &outcome(Disposition::Delivered, 50_100)).expect("appended");
        bench.start();
        let events = bench.read_to_end();
        assert_eq!(
            (events[0].result.latency_ms, events[0].subject.origin.campaign),
            (Some(100), Some(campaign))
        );
        bench.start();
        let store = bench.reporter.as_ref().expect("it runs").store();
        let counts = store.campaign(campaign).expect("read").all;
        assert_eq!((counts.accepted, counts.delivered, counts.queued()), (3, 1, 2));
        assert_eq!(store.started(campaign).expect("read"), Some(UnixMs(50_000)));
    }

    #[test]
    fn a_lost_store_is_filled_again_from_the_spool() {
        let mut bench = Bench::new();
        let ids = bench.submit(&Content::default(), &["a@x.test"]);
        bench.log.append_outcome(ids[0], &outcome(Disposition::Delivered, 5)).expect("appended");
        let before = bench.read_to_end();
        std::fs::write(bench.dir.path().join("events.sqlite"), vec![1; 4096]).expect("damaged");
        bench.start();
        assert_eq!(bench.read_to_end(), before);
    }

    #[test]
    fn events_of_records_that_the_spool_has_lost_are_forgotten() {
        let mut bench = Bench::new();
        let ids = bench.submit(&Content::default(), &["a@x.test"]);
        bench.log.append_outcome(ids[0], &outcome(Disposition::Delivered, 5)).expect("appended");
        assert_eq!(bench.read_to_end().len(), 1);
        drop(bench.log);
        std::fs::remove_dir_all(bench.dir.path().join("spool")).expect("removed");
        let (log, _) = Log::open(bench.dir.path(), 0, Options::default()).expect("a new log");
        bench.log = log;
        bench.start();
        assert_eq!(bench.read_to_end(), []);
        let ids = bench.submit(&Content::default(), &["b@x.test"]);
        bench.log.append_outcome(ids[0], &outcome(Disposition::Delivered, 5)).expect("appended");
        bench.start();
        assert_eq!(bench.read_to_end().len(), 1);
    }
}
