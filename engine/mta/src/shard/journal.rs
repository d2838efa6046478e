//! The shard's side of the spool: appends at once, writes at the end of each batch of events, syncs on the ring, and
//! hands out `Durable` to everybody who waits. Refuses to answer for anything that is not on the disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use spool::{Durable, Log, Position, SpoolError};
use tokio::sync::{Notify, oneshot};

use crate::Refusal;
use crate::counters::ShardCounters;
use crate::io;
use crate::shared::Shared;

/// How long an outcome that nobody waits for may stay unsynced: many share one sync, and a power cut in
/// between can only repeat a delivery.
const LAZY_SYNC: Duration = Duration::from_millis(50);

/// How often the end of a shard looks whether the sync under way is done.
const SYNC_TICK: Duration = Duration::from_millis(1);

/// The log of one shard and those who wait for it.
pub(crate) struct Journal {
    log: RefCell<Log>,
    waiters: RefCell<VecDeque<Waiter>>,
    /// Something was appended since the last write.
    appended: Notify,
    /// Something was written since the last sync, or somebody has begun to wait.
    written: Notify,
    /// Why the log is closed, once it is.
    fault: RefCell<Option<String>>,
    syncing: Cell<bool>,
    shared: Arc<Shared>,
    counters: Arc<ShardCounters>,
}

struct Waiter {
    position: Position,
    answer: oneshot::Sender<Durable>,
}

impl Journal {
    pub(crate) fn new(log: Log, shared: Arc<Shared>, counters: Arc<ShardCounters>) -> Self {
        Self {
            log: RefCell::new(log),
            waiters: RefCell::default(),
            appended: Notify::new(),
            written: Notify::new(),
            fault: RefCell::default(),
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
        let (result, closed) = {
            let mut log = self.log.borrow_mut();
            (records(&mut log), log.closed().map(str::to_owned))
        };
        // Also after an error: records before it may have been appended.
        self.appended.notify_one();
        if let Some(why) = closed {
            self.close(&why);
        }
        result
    }

    /// Looks at the log.
    pub(crate) fn with_log<R>(&self, look: impl FnOnce(&mut Log) -> R) -> R {
        look(&mut self.log.borrow_mut())
    }

    /// Why nothing can be accepted, once the log is closed.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }

    /// Waits until everything appended so far is durable.
    pub(crate) async fn durable(&self) -> Result<Durable, Refusal> {
        if let Some(fault) = self.fault() {
            return Err(Refusal::Spool(fault));
        }
        let (answer, waiting) = oneshot::channel();
        let position = self.log.borrow().appended();
        self.waiters.borrow_mut().push_back(Waiter { position, answer });
        self.appended.notify_one();
        waiting.await.map_err(|_| self.fault().map_or(Refusal::Stopping, Refusal::Spool))
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
        match written {
            Ok(_) => self.written.notify_one(),
            Err(error) => self.close(&error.to_string()),
        }
    }

    /// Makes what was written durable, one sync at a time, until the shard ends.
    pub(crate) async fn sync_loop(&self) {
        loop {
            self.written.notified().await;
            if self.waiters.borrow().is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(LAZY_SYNC) => {}
                    () = self.written.notified() => {}
                }
            }
            self.sync().await;
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
                Err(error) => {
                    self.log.borrow_mut().sync_failed(target, &error);
                    self.close(&format!("the disk did not confirm a write: {error}"));
                }
            }
        }
        self.syncing.set(false);
        self.answer_waiters();
    }

    /// Makes everything durable that was appended: the last of a shard.
    pub(crate) async fn finish(&self) {
        self.write();
        while self.syncing.get() {
            tokio::time::sleep(SYNC_TICK).await;
        }
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
            let _ = waiter.answer.send(durable);
        }
    }

    /// Gives up accepting: whoever waits gets no token.
    fn close(&self, why: &str) {
        if self.fault.borrow().is_none() {
            tracing::error!(why, "the spool accepts nothing more until the engine is started again");
            *self.fault.borrow_mut() = Some(why.to_owned());
            self.shared.recordings.end(self.log.borrow().shard(), why);
        }
        self.waiters.borrow_mut().clear();
    }
}
