//! One shard: a pinned thread with its own ring, log, queue and connections. Shards share nothing but rings and
//! read-only maps; everything here is touched by one thread only.

mod book;
mod campaign;
mod choice;
mod due;
mod identities;
mod journal;
mod life;
mod mailboxes;
mod outlook;
mod pacers;
mod post;
mod receipts;
mod reclaim;
mod recording;
mod route;
mod submit;
mod telling;
mod view;
mod why;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use mail::{CampaignId, UnixMs};
use policy::mailbox::Mailboxes;
use queue::{FlowKey, Queue, Ticket};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::Refusal;
use crate::campaigns::Campaign;
use crate::control::destination::Destination;
use crate::counters::ShardCounters;
use crate::deliver::Pools;
use crate::io::Deadlines;
use crate::io::tls::ClientTls;
use crate::shared::Shared;

pub(crate) use book::{Conclusion, LedgerBook, without_attempt};
use choice::KeptSources;
pub(crate) use due::{
    FULL_PAUSE, READ_PAUSE, RECORDING_TICK, cancelled, domain_of, identity_number, tenant_number,
};
use identities::Leases;
pub(crate) use journal::Journal;
pub(crate) use life::{Birth, end_for, run};
pub(crate) use outlook::{CampaignOutlook, Outlook, Outlooks, Prospect, Strand, Way};
pub(crate) use pacers::Budget;
use pacers::Pacers;
use receipts::Homeward;
pub(crate) use receipts::{Receipt, Written};
pub(crate) use recording::{Recording, Recordings};
use route::Routes;
use telling::Telling;

/// What other threads tell a shard.
pub(crate) enum ToShard {
    /// A recipient that is due on one of this shard's paths.
    Ready(Ready),
    /// What became of a recipient whose record this shard keeps.
    Concluded {
        /// The shard that delivered.
        from: u8,
        conclusion: Box<Conclusion>,
        /// That shard waits until it is written.
        is_awaited: bool,
    },
    /// Outcomes that this shard has sent home, and waits for, are written there.
    Written,
    /// A recipient of this shard's log that is to be routed again.
    Again(Ticket),
    /// Control asks for something.
    Call(Call),
}

/// Something to be done on a shard.
pub(crate) type Call = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// A recipient with the path that it is to take.
pub(crate) struct Ready {
    pub(crate) ticket: Ticket,
    pub(crate) flow: FlowKey,
    pub(crate) source: u16,
    pub(crate) destination: Arc<Destination>,
}

/// The state of one shard.
pub(crate) struct Shard {
    pub(crate) index: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: Journal,
    pub(crate) queue: RefCell<Queue>,
    pub(crate) routes: Routes,
    pub(crate) pools: Pools,
    pub(crate) deadlines: Deadlines,
    pub(crate) counters: Arc<ShardCounters>,
    pub(crate) book: Arc<LedgerBook>,
    pub(crate) bells: Bells,
    pub(crate) client_tls: ClientTls,
    mind: Mind,
    outcomes: Outcomes,
    campaigns: Met,
    numbers: Numbers,
}

/// What a shard has learned of receivers and of its log, and what it has still to tell.
#[derive(Default)]
struct Mind {
    pacers: Pacers,
    telling: Telling,
    mailboxes: RefCell<Mailboxes>,
    kept_sources: KeptSources,
    leases: RefCell<Leases>,
    /// Whether the oldest segment of the log empties by itself.
    oldest: reclaim::Watcher,
}

/// Outcomes that are not written yet where they belong.
struct Outcomes {
    /// Those for which the log has no room.
    unwritten: RefCell<VecDeque<book::Unwritten>>,
    homeward: Homeward,
}

/// Numbers of a shard.
struct Numbers {
    /// Whether something was posted to each shard since its bell was rung.
    posted: Vec<Cell<bool>>,
    /// The last number given by [`Shard::unique`].
    last_unique: Cell<u64>,
}

/// Campaigns that a shard has met.
#[derive(Default)]
struct Met {
    /// So that it need not look into the shared map again.
    by_id: RefCell<FxHashMap<CampaignId, Arc<Campaign>>>,
    /// Changes come one after the other, so that every shard sees the same last one.
    changing: tokio::sync::Mutex<()>,
}

/// What the loops of a shard sleep on.
#[derive(Default)]
pub(crate) struct Bells {
    /// Something was scheduled earlier than the due loop sleeps until.
    pub(crate) earlier: Notify,
    /// Something waits on a path or is held.
    pub(crate) waiting: Notify,
    /// A budget is in use, or something was counted.
    pub(crate) stirred: Notify,
    /// An outcome could not be written.
    pub(crate) unwritten: Notify,
    /// Something was posted to another shard.
    pub(crate) posted: Notify,
    /// Something was posted to another shard, where nobody waits for it.
    pub(crate) posted_idly: Notify,
    /// Outcomes that were sent home, and are waited for, are written there.
    pub(crate) written: Notify,
    /// The engine stops: wakes whoever waits for a peer.
    pub(crate) stopping: Notify,
    /// The last of a shard: everything is concluded.
    pub(crate) end: Notify,
}

impl Shard {
    pub(crate) fn now(&self) -> UnixMs {
        self.shared.clock.now()
    }

    /// Whether this shard may take a submission now.
    pub(crate) fn gate(&self) -> Result<(), Refusal> {
        self.shared.gate()?;
        if self.queue.borrow().is_nearly_full() {
            return Err(Refusal::Full(
                "the queue has hardly any place left: more mail is taken when some has left".to_owned(),
            ));
        }
        self.journal.gate()
    }

    pub(crate) fn campaign(&self, id: CampaignId) -> Option<Arc<Campaign>> {
        if let Some(known) = self.campaigns.by_id.borrow().get(&id) {
            return Some(Arc::clone(known));
        }
        let found = self.shared.campaigns.get(id)?;
        self.campaigns.by_id.borrow_mut().insert(id, Arc::clone(&found));
        Some(found)
    }

    /// A number that the engine gives only once: the shard, the moment, and a count within it.
    pub(crate) fn unique(&self) -> u64 {
        let moment = self.now().0 << 12;
        let next = moment.max(self.numbers.last_unique.get() + 1);
        self.numbers.last_unique.set(next);
        (u64::from(self.index) << 56) | next
    }

    /// Routes a recipient again, on the shard whose log holds it.
    pub(crate) async fn schedule_home(self: &Rc<Self>, ticket: Ticket) {
        let home = ticket.id.0.shard();
        if home == self.index {
            self.again(ticket);
        } else {
            self.post(usize::from(home), ToShard::Again(ticket)).await;
        }
    }
}
