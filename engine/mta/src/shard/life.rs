//! A shard from its birth to its end: recovers its log, opens its listeners, works, and ends without losing anything.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mail::{CampaignId, Class};
use queue::{Queue, Ticket};
use rustc_hash::FxHashMap;
use spool::CampaignPhase;

use super::receipts::{Booked, Homeward};
use super::{Bells, Journal, Numbers, Outcomes, Shard, ToShard, reclaim};
use crate::accept::{self, Door};
use crate::counters::ShardCounters;
use crate::deliver::Pools;
use crate::io::{self, Deadlines, Receiver};
use crate::shard::LedgerBook;
use crate::shard::route::Routes;
use crate::shared::Shared;

/// Messages taken out of the ring at once.
const RING_BATCH: usize = 256;
/// How often paths without work and connections are forgotten.
const TIDY_TICK: Duration = Duration::from_secs(60);
/// Paths looked at each time.
const PATHS_MAX: usize = 10_000;
/// How often a stopping shard looks whether everything is finished.
const STOP_TICK: Duration = Duration::from_millis(5);

/// What a shard is made of.
pub(crate) struct Birth {
    pub(crate) index: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: spool::Log,
    /// Where outcomes are noted that other shards are to write, if anywhere.
    pub(crate) outbox: Option<spool::Outbox>,
    pub(crate) ring: Receiver<ToShard>,
    pub(crate) doors: Vec<Door>,
    /// Told once everything of the log is queued and the listeners stand.
    pub(crate) born: std::sync::mpsc::Sender<Result<Vec<std::net::SocketAddr>, String>>,
}

/// Lives until the engine stops.
pub(crate) async fn run(birth: Birth) {
    let Birth { index, shared, log, outbox, ring, doors, born } = birth;
    let shard = Rc::new(Shard::new(index, shared, log, outbox));
    shard.recover();
    let listeners: Result<Vec<_>, String> = doors.into_iter().map(accept::open).collect();
    let listeners = match listeners {
        Ok(listeners) => listeners,
        Err(why) => return drop(born.send(Err(why))),
    };
    let addresses = listeners.iter().map(accept::Listening::address).collect();
    shard.start_loops(ring);
    for listening in listeners {
        io::spawn(accept::serve(Rc::clone(&shard), listening));
    }
    if born.send(Ok(addresses)).is_err() {
        return;
    }
    shard.bells.end.notified().await;
    shard.ring_posted();
    shard.journal.finish().await;
}

impl Shard {
    fn new(index: u8, shared: Arc<Shared>, log: spool::Log, outbox: Option<spool::Outbox>) -> Self {
        let counters: Arc<ShardCounters> = Arc::clone(&shared.counting.shards[usize::from(index)]);
        let book: Arc<LedgerBook> = Arc::clone(&shared.counting.books[usize::from(index)]);
        let weights = Class::ALL.map(|class| shared.config.class(class).weight);
        Self {
            index,
            journal: Journal::new(log, Arc::clone(&shared), Arc::clone(&counters)),
            queue: Queue::new(weights, queue::CRITICAL_SHARE, shared.clock.now()).into(),
            routes: Routes::default(),
            pools: Pools::new(shared.readers.len()),
            deadlines: Deadlines::new(),
            counters,
            book,
            bells: Bells::default(),
            campaigns: Default::default(),
            outcomes: Outcomes {
                unwritten: RefCell::default(),
                homeward: Homeward::new(outbox, shared.shards.len()),
            },
            client_tls: shared.destinations.client_tls(),
            mind: Default::default(),
            numbers: Numbers {
                posted: shared.shards.iter().map(|_| Cell::new(false)).collect(),
                last_unique: Cell::new(0),
            },
            shared,
        }
    }

    /// Queues what the log holds and nobody has finished.
    fn recover(self: &Rc<Self>) {
        let now = self.now();
        let mut cancelled = Vec::new();
        let mut recipients = FxHashMap::<CampaignId, u64>::default();
        let mut queue = self.queue.borrow_mut();
        for state in self.journal.with_log(|log| log.campaigns()) {
            match state.phase {
                CampaignPhase::Paused => queue.pause_campaign(state.campaign),
                CampaignPhase::Cancelled => drop(queue.cancel_campaign(state.campaign)),
                _ => {}
            }
        }
        self.journal.with_log(|log| {
            for waiting in log.waiting() {
                let ticket = Ticket {
                    id: waiting.id,
                    expiry: waiting.expiry,
                    deadline: waiting.deadline,
                    attempts: waiting.attempts,
                    class: waiting.class,
                };
                // A recipient of a cancelled campaign is given back, and cancelled when it is met again.
                if let Some(campaign) = waiting.campaign {
                    *recipients.entry(campaign).or_default() += 1;
                }
                let due = waiting.next_attempt.unwrap_or_default().max(waiting.not_before).max(now);
                if queue.schedule(ticket, waiting.campaign, due).is_err() {
                    cancelled.push(ticket);
                }
            }
        });
        drop(queue);
        for (id, count) in recipients {
            if let Some(campaign) = self.campaign(id) {
                self.announce(&campaign, count);
            }
        }
        self.cancel_all(cancelled);
        self.publish();
    }

    fn start_loops(self: &Rc<Self>, ring: Receiver<ToShard>) {
        let me = || Rc::clone(self);
        let shard = me();
        vital("write", async move { shard.journal.write_loop().await });
        let shard = me();
        vital("sync", async move { shard.journal.sync_loop().await });
        let shard = me();
        vital("next", async move { shard.journal.next_loop().await });
        let shard = me();
        vital("rescue", async move { shard.journal.rescue_loop().await });
        let shard = me();
        vital("due", async move { shard.due_loop().await });
        let shard = me();
        vital("expiry", async move { shard.expiry_loop().await });
        let shard = me();
        vital("unwritten", async move { shard.unwritten_loop().await });
        let shard = me();
        vital("upkeep", async move { shard.upkeep_loop().await });
        let shard = me();
        vital("desk", async move { shard.pools.desk.work(&shard.shared.signing.threads).await });
        let shard = me();
        vital("post", async move { shard.post_loop().await });
        let shard = me();
        vital("post idly", async move { shard.post_idly_loop().await });
        let shard = me();
        vital("telling", async move { shard.telling_loop().await });
        vital("ring", ring_loop(me(), ring));
    }

    /// Frees finished segments and forgets paths that are not used.
    async fn upkeep_loop(self: &Rc<Self>) {
        let mut tidied = Instant::now();
        let mut pause = reclaim::TICK;
        loop {
            tokio::time::sleep(pause).await;
            pause = self.free_segments().await;
            if tidied.elapsed() > TIDY_TICK {
                tidied = Instant::now();
                self.queue.borrow_mut().drop_idle(self.now(), TIDY_TICK, PATHS_MAX);
                let queue = self.queue.borrow();
                self.pools.retain(|pool| queue.find_path(pool.key) == Some(pool.path));
                self.mind.pacers.tidy();
            }
        }
    }

    /// Whether no new work is to be begun.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.condition.stopping.load(Ordering::Acquire)
    }

    /// Finishes what is under way, as long as the grace lasts: no new session, no new transaction. Other shards may
    /// still send outcomes home afterwards, so the shard itself ends later.
    pub(crate) async fn wind_down(self: &Rc<Self>) {
        let grace = self.shared.config.deliver.stop_grace;
        let began = Instant::now();
        self.bells.stopping.notify_waiters();
        self.pools.wake_all();
        while began.elapsed() < grace && self.is_busy() {
            tokio::time::sleep(STOP_TICK).await;
        }
    }

    fn is_busy(&self) -> bool {
        self.counters.outbound_open.read() + self.counters.inbound_open.read() > 0
    }
}

/// Ends the process because a part has panicked without which the others cannot go on: nobody knows the state of what it left
/// behind, while the spool knows everything that was accepted, and the next start goes on from there.
pub(crate) fn end_for(name: &'static str) -> ! {
    tracing::error!(name, "a vital part of the engine has failed: it ends now, to be started again");
    std::process::abort();
}

/// Runs a loop without which the shard cannot be trusted.
fn vital(name: &'static str, work: impl Future<Output = ()> + 'static) {
    io::spawn(async move {
        if io::spawn(work).await.is_err_and(|error| error.is_panic()) {
            end_for(name);
        }
    });
}

/// Works what other threads send, until the shard ends.
async fn ring_loop(shard: Rc<Shard>, mut ring: Receiver<ToShard>) {
    let mut batch = Vec::with_capacity(RING_BATCH);
    let mut booked = vec![Booked::default(); shard.shared.shards.len()];
    loop {
        ring.recv_batch(&mut batch, RING_BATCH).await;
        for message in batch.drain(..) {
            match message {
                ToShard::Ready(ready) => shard.enqueue(ready),
                ToShard::Concluded { from, conclusion, is_awaited } => {
                    shard.book(*conclusion);
                    booked[usize::from(from)].add(is_awaited);
                }
                ToShard::Written => shard.bells.written.notify_waiters(),
                ToShard::Again(ticket) => shard.again(ticket),
                ToShard::Call(call) => call(&shard),
            }
        }
        shard.confirm(&mut booked);
    }
}
