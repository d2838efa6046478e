//! The shard's side of the spool: appends at once, writes at the end of each batch of events, syncs on the ring, and
//! hands out `Durable` to everybody who waits. When the disk fails, whoever waits is refused, and the log is led to another
//! segment. Refuses to answer for anything that is not on the disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spool::{Durable, Log, NextSegment, Position, SpoolError};
use tokio::sync::{Notify, oneshot};

use crate::Refusal;
use crate::counters::ShardCounters;
use crate::io;
use crate::shared::Shared;

/// How long an outcome that nobody waits for may stay unsynced: many share one sync, and a power cut in
/// between can only repeat a delivery.
const LAZY_SYNC: Duration = Duration::from_millis(50);

/// How long somebody waits who cannot go on before the log is sound.
const RESCUE_PATIENCE: Duration = Duration::from_secs(10);

/// How often the end of a shard looks whether the sync under way is done.
const SYNC_TICK: Duration = Duration::from_millis(1);

/// How long is waited before the next segment is tried again, when there is no room for it.
const NEXT_PAUSE: Duration = Duration::from_secs(1);

/// How long is waited before another segment is tried, after one could not be made durable.
const RESCUE_PAUSE: Duration = Duration::from_secs(5);

/// The log of one shard and those who wait for it.
pub(crate) struct Journal {
    log: RefCell<Log>,
    waiters: RefCell<VecDeque<Waiter>>,
    /// Something was appended since the last write.
    appended: Notify,
    /// Something was written since the last sync, or somebody has begun to wait.
    written: Notify,
    /// The log has failed.
    failed: Notify,
    /// It is being led to another segment.
    rescuing: Cell<bool>,
    /// A segment is to be made before it is needed.
    ordered: Notify,
    /// Why the last one could not be made.
    stuck: RefCell<Option<Refusal>>,
    syncing: Cell<bool>,
    shared: Arc<Shared>,
    counters: Arc<ShardCounters>,
}

struct Waiter {
    position: Position,
    answer: oneshot::Sender<Result<Durable, Refusal>>,
}

impl Journal {
    pub(crate) fn new(log: Log, shared: Arc<Shared>, counters: Arc<ShardCounters>) -> Self {
        Self {
            log: RefCell::new(log),
            waiters: RefCell::default(),
            appended: Notify::new(),
            written: Notify::new(),
            failed: Notify::new(),
            rescuing: Cell::new(false),
            ordered: Notify::new(),
            stuck: RefCell::default(),
            syncing: Cell::new(false),
            shared,
            counters,
        }
    }

    /// Appends whatever `records` appends, as one group: it is written by one write and becomes durable together.
    pub(crate) fn append<R>(
        &self,
        records: impl FnOnce(&mut Log) -> Result<R, SpoolError>,
    ) -> Result<R, SpoolError> {
        let result = records(&mut self.log.borrow_mut());
        // Also after an error: records before it may have been appended.
        self.appended.notify_one();
        self.look_for_fault();
        result
    }

    /// Looks at the log.
    pub(crate) fn with_log<R>(&self, look: impl FnOnce(&mut Log) -> R) -> R {
        look(&mut self.log.borrow_mut())
    }

    /// Whether anything new can be accepted.
    pub(crate) fn gate(&self) -> Result<(), Refusal> {
        let log = self.log.borrow();
        match &*self.stuck.borrow() {
            _ if log.fault().is_some() => Err(failed()),
            Some(stuck) if log.needs_next() => Err(stuck.clone()),
            _ => Ok(()),
        }
    }

    /// Why nothing can be written, while that is so.
    pub(crate) fn fault(&self) -> Option<String> {
        self.log.borrow().fault().map(str::to_owned)
    }

    /// Waits until everything appended so far is durable.
    pub(crate) async fn durable(&self) -> Result<Durable, Refusal> {
        if self.fault().is_some() {
            return Err(failed());
        }
        let (answer, waiting) = oneshot::channel();
        let position = self.log.borrow().appended();
        self.waiters.borrow_mut().push_back(Waiter { position, answer });
        self.appended.notify_one();
        waiting.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Writes what was appended, once per batch of events, until the shard ends.
    pub(crate) async fn write_loop(&self) {
        loop {
            self.appended.notified().await;
            // Let every session that is ready append first: one write serves them all.
            tokio::task::yield_now().await;
            self.write();
        }
    }

    /// Writes what was appended now.
    pub(crate) fn write(&self) {
        let written = self.log.borrow_mut().flush();
        if written.is_ok() {
            self.written.notify_one();
            self.order_next();
        }
        self.look_for_fault();
        if self.stuck.borrow().is_some() {
            self.show_room();
        }
    }

    fn order_next(&self) {
        if self.log.borrow().wants_next() {
            self.ordered.notify_one();
        }
    }

    /// Has segments made before they are needed, on a thread that may wait for the disk, until the shard ends.
    pub(crate) async fn next_loop(&self) {
        loop {
            self.ordered.notified().await;
            while let Some(order) = self.wanted() {
                // The control runtime ends after the shards.
                let Ok(made) = self.shared.control.spawn_blocking(|| order.make()).await else { return };
                let made = self.log.borrow_mut().next_made(made);
                if !self.is_going_on(made) {
                    tokio::time::sleep(NEXT_PAUSE).await;
                }
            }
        }
    }

    fn wanted(&self) -> Option<NextSegment> {
        self.log.borrow_mut().next_segment()
    }

    /// Notes whether the next segment could be made.
    fn is_going_on(&self, made: Result<(), SpoolError>) -> bool {
        let shard = self.log.borrow().shard();
        let is_made = match made {
            Ok(()) => {
                if self.stuck.take().is_some() {
                    tracing::info!(shard, "the spool has room again");
                }
                true
            }
            Err(error) => {
                let why = error.to_string();
                if self.stuck.replace(Some(Refusal::from(error))).is_none() {
                    tracing::warn!(shard, why, "the next segment of the spool cannot be made");
                }
                false
            }
        };
        self.show_room();
        is_made
    }

    /// Tells the others whether this shard has room for anything new.
    fn show_room(&self) {
        let log = self.log.borrow();
        let stuck = self.stuck.borrow().as_ref().filter(|_| log.needs_next()).map(ToString::to_string);
        self.shared.recordings.set_no_room(log.shard(), stuck.as_deref());
    }

    /// Makes what was written durable, one sync at a time, until the shard ends.
    pub(crate) async fn sync_loop(&self) {
        loop {
            self.written.notified().await;
            // That the time is over is as good as that somebody waits.
            let _ = tokio::time::timeout(LAZY_SYNC, self.somebody_waits()).await;
            self.sync().await;
        }
    }

    /// Returns when somebody waits for a sync. Whatever else is written meanwhile wakes nobody for good.
    async fn somebody_waits(&self) {
        while self.waiters.borrow().is_empty() {
            self.written.notified().await;
        }
    }

    /// One group commit: everything written before it is durable after it.
    pub(crate) async fn sync(&self) {
        if self.syncing.replace(true) {
            return;
        }
        let target = self.log.borrow_mut().sync_target();
        if let Some(target) = target {
            let mut result = Ok(());
            for file in target.files() {
                if result.is_ok() {
                    result = io::fdatasync(file).await;
                }
            }
            match result {
                Ok(()) => {
                    self.log.borrow_mut().synced(target);
                    self.counters.commits.add(1);
                }
                Err(error) => self.log.borrow_mut().sync_failed(target, &error),
            }
        }
        self.syncing.set(false);
        self.look_for_fault();
        self.answer_waiters();
    }

    /// Waits until the log is sound, for a while; false when it is not.
    pub(crate) async fn is_rescued(&self) -> bool {
        let began = Instant::now();
        while self.fault().is_some() && began.elapsed() < RESCUE_PATIENCE {
            tokio::time::sleep(SYNC_TICK).await;
        }
        self.fault().is_none()
    }

    /// Makes everything durable that was appended: the last of a shard.
    pub(crate) async fn finish(&self) {
        self.write();
        while self.syncing.get() {
            tokio::time::sleep(SYNC_TICK).await;
        }
        self.sync().await;
        if !self.is_rescued().await {
            tracing::error!("outcomes could not be written: those deliveries may be repeated");
        }
        self.write();
        self.sync().await;
    }

    fn answer_waiters(&self) {
        let log = self.log.borrow();
        let mut waiters = self.waiters.borrow_mut();
        while let Some(first) = waiters.front() {
            let Some(durable) = log.durable(first.position) else { return };
            let Some(waiter) = waiters.pop_front() else { return };
            self.counters.commit_waiters.add(1);
            // A session that has gone does not need its answer.
            let _ = waiter.answer.send(Ok(durable));
        }
    }

    /// When the log has failed: refuses whoever waits, and has it led on.
    fn look_for_fault(&self) {
        let Some(why) = self.fault() else { return };
        for waiter in self.waiters.borrow_mut().drain(..) {
            // A session that has gone does not need its answer.
            let _ = waiter.answer.send(Err(failed()));
        }
        let shard = self.log.borrow().shard();
        if !self.rescuing.replace(true) {
            self.shared.recordings.set_fault(shard, Some(&why));
            tracing::error!(shard, why, "the spool accepts nothing until another segment can be written");
            self.failed.notify_one();
        }
    }

    /// Leads the log to another segment when it has failed, until the shard ends.
    pub(crate) async fn rescue_loop(&self) {
        loop {
            self.failed.notified().await;
            let shard = self.log.borrow().shard();
            while let Err(error) = self.try_rescue().await {
                tracing::error!(shard, %error, "the spool still accepts nothing");
                self.shared.recordings.set_fault(shard, Some(&error.to_string()));
                tokio::time::sleep(RESCUE_PAUSE).await;
            }
            self.rescuing.set(false);
            self.shared.recordings.set_fault(shard, None);
            tracing::warn!(shard, "the spool goes on in another segment");
            // What was appended meanwhile.
            self.write();
        }
    }

    async fn try_rescue(&self) -> Result<(), SpoolError> {
        let Some(rescue) = self.log.borrow_mut().rescue() else { return Ok(()) };
        let rescued = self.shared.control.spawn_blocking(|| rescue.run()).await;
        let rescued = rescued.expect("the control runtime outlives the shards, and a rescue does not panic");
        self.log.borrow_mut().rescued(rescued)
    }
}

/// What clients are told when the disk has failed; the log and `/healthz` say more.
fn failed() -> Refusal {
    Refusal::Spool("its disk has failed".to_owned())
}
