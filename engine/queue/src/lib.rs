//! The queue: who waits for what, and whose turn it is.
//!
//! Three kinds of waiting, one node of 24 bytes each in one `Store`: *scheduled* in a timing wheel, *ready* in the flows of
//! a path, *held* back by a campaign. Order of service on a path: critical mail by earliest deadline; then deficit round
//! robin over classes by weight, tenants within a class, campaigns within a tenant. Paths of one (source, provider)
//! share connections and rate, of which a part is kept for critical mail.
//!
//! This crate refuses to do IO, to read a clock, and to know addresses, messages or hosts. Every call costs the same
//! however much waits, except those that say otherwise.

mod campaign;
mod chunks;
mod drr;
mod finder;
mod flow;
mod limits;
mod path;
mod pull;
mod ready;
mod refs;
mod rest;
mod ring;
mod slab;
mod store;
mod sweep;
mod ticket;
mod trail;
mod view;
mod wheel;

use std::time::Duration;

use mail::{CampaignId, RecipientId, UnixMs};

pub use campaign::CampaignState;
pub use policy::{Demand, Limits};
pub use ticket::{FlowKey, PathId, PathKey, Pull, Refused, Ticket};
pub use view::{Ahead, CampaignLine, CampaignWaits, PathView, Place, Totals};

use campaign::Campaigns;
use ready::{Arrival, Ready};
use slab::NONE;
use store::{State, Stay, Store};
use sweep::Sweep;
use wheel::Wheel;

/// The part of connections and rate that an engine keeps for critical mail while some waits: a fifth lets it flow at once,
/// and costs bulk little because it is lent out otherwise.
pub const CRITICAL_SHARE: f32 = 0.2;
/// Nodes that are brought into the processor's cache together, while as many before them are taken out.
const TOUCHED: usize = 16;
/// Expired tickets for which there is always room.
const EXPIRED_KEPT: usize = 1024;

/// The queue of one shard. It owns a ticket from the call that takes it to the call that hands it out.
#[derive(Debug)]
pub struct Queue {
    store: Store,
    wheel: Wheel,
    ready: Ready,
    campaigns: Campaigns,
    sweep: Sweep,
    /// Room for the nodes that are due, empty between calls.
    due: Vec<u32>,
    /// Expired tickets that pulls have come upon.
    expired: Vec<Ticket>,
    scheduled: u64,
    /// The latest moment anybody has named.
    now: UnixMs,
}

impl Queue {
    /// An empty queue. `weights` are the shares of the classes in the order of [`mail::Class::ALL`]; critical needs none, because
    /// it goes first. `critical_share`, from 0 to 1, is the part of connections and rate that is kept for critical
    /// mail while some waits. `now` is the first moment the queue can name; it can name 34 years from there.
    #[must_use]
    pub fn new(weights: [u32; 4], critical_share: f32, now: UnixMs) -> Self {
        Self {
            store: Store::new(now),
            wheel: Wheel::new(),
            ready: Ready::new(weights, critical_share.clamp(0.0, 1.0)),
            campaigns: Campaigns::new(),
            sweep: Sweep::default(),
            due: Vec::new(),
            expired: Vec::new(),
            scheduled: 0,
            now,
        }
    }

    fn saw(&mut self, now: UnixMs) {
        self.now = self.now.max(now);
    }

    // Scheduled

    /// Lets a ticket wait until `due`, or until it expires if that is sooner. `campaign` is the one it is part of.
    ///
    /// # Errors
    /// Gives it back when its campaign was cancelled.
    pub fn schedule(
        &mut self,
        ticket: Ticket,
        campaign: Option<CampaignId>,
        due: UnixMs,
    ) -> Result<(), Refused> {
        let campaign = self.admit(ticket, campaign)?;
        let due = match ticket.expiry {
            0 => due,
            expiry => due.min(UnixMs::from_seconds(u64::from(expiry))),
        };
        if campaign != NONE {
            let campaign = &mut self.campaigns[campaign];
            campaign.scheduled += 1;
            campaign.latest = campaign.latest.max(due);
        }
        let when = self.store.tick(due);
        let node = self.store.insert(ticket, Stay { state: State::Scheduled, place: campaign, when });
        self.wheel.insert(node, when);
        self.scheduled += 1;
        Ok(())
    }

    /// Hands out up to `max` tickets that are due. They may have expired: see [`Ticket::is_expired`].
    pub fn due(&mut self, now: UnixMs, max: usize, out: &mut Vec<Ticket>) {
        self.saw(now);
        let mut nodes = std::mem::take(&mut self.due);
        self.wheel.due(&self.store, now, max, &mut nodes);
        self.store.touch(&nodes[..TOUCHED.min(nodes.len())]);
        for (count, &node) in nodes.iter().enumerate() {
            if count % TOUCHED == 0 {
                let rest = nodes.get(count + TOUCHED..).unwrap_or_default();
                self.store.touch(&rest[..TOUCHED.min(rest.len())]);
            }
            let stay = self.store[node].stay();
            let ticket = self.store.remove(node);
            if stay.state == State::Scheduled {
                out.push(ticket);
                self.unschedule(stay.place);
            }
        }
        nodes.clear();
        self.due = nodes;
    }

    fn unschedule(&mut self, campaign: u32) {
        self.scheduled -= 1;
        if campaign != NONE {
            self.campaigns[campaign].scheduled -= 1;
            self.campaigns.settle(campaign);
        }
    }

    /// When to call [`Queue::due`] and [`Queue::poll_wanting`] next, if nothing else happens: a ticket is due, tickets
    /// must be moved in the wheel ahead of it, or the rest of a path or a flow ends.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMs> {
        let due = self.wheel.next_due(&self.store);
        due.into_iter().chain(self.ready.next_resume()).min()
    }

    // Paths

    /// The path of `key`, made if need be. `limits` hold for all paths of its source and provider together. They count
    /// only when this is the first of them: see [`Queue::set_limits`].
    pub fn path(&mut self, key: PathKey, limits: Limits) -> PathId {
        self.ready.path(key, limits, false, self.now)
    }

    /// As [`Queue::path`], but `limits` hold for this path alone: for providers that are only a name for sites which
    /// have nothing in common. What a path was made as, it stays.
    pub fn path_alone(&mut self, key: PathKey, limits: Limits) -> PathId {
        self.ready.path(key, limits, true, self.now)
    }

    /// Replaces the limits that a path shares with others. They are forgotten with the last of these paths.
    pub fn set_limits(&mut self, path: PathId, limits: Limits) {
        if let Some(path) = self.ready.paths.find(path) {
            self.ready.set_limits(path, limits);
        }
    }

    /// Limits the bytes per time of all paths that share limits with this one; `None` does not.
    pub fn set_rate_bytes(&mut self, path: PathId, rate: Option<policy::ByteRate>) {
        if let Some(path) = self.ready.paths.find(path) {
            let group = self.ready.paths.rows[path].group;
            self.ready.groups[group].set_rate_bytes(rate);
        }
    }

    /// Counts the bytes of a message that is being sent on a path: mail that is not critical waits until they have had
    /// their time.
    pub fn charge(&mut self, path: PathId, message_bytes: u64, now: UnixMs) {
        if let Some(path) = self.ready.paths.find(path) {
            let group = self.ready.paths.rows[path].group;
            self.ready.groups[group].charge(message_bytes, now);
        }
    }

    /// Until when mail that is not critical waits on a path for the limit of bytes, if it does.
    #[must_use]
    pub fn bytes_owed_until(&self, path: PathId, now: UnixMs) -> Option<UnixMs> {
        let group = self.ready.paths.rows[self.ready.paths.find(path)?].group;
        self.ready.groups[group].bytes_owed_until(now)
    }

    /// What there is to do for all paths that share limits with this one. Says once that the rate held something up: the
    /// next call says so only if it has done it again.
    pub fn demand(&mut self, path: PathId) -> Demand {
        let Some(path) = self.ready.paths.find(path) else { return Demand::default() };
        let group = self.ready.paths.rows[path].group;
        self.ready.groups[group].demand()
    }

    /// The paths of a source and a provider, in no order. Costs as much as they are.
    #[must_use]
    pub fn paths_of(&self, source: u16, provider: u16) -> Vec<PathId> {
        self.ready.paths.of(source, provider).iter().map(|&path| self.ready.paths.id(path)).collect()
    }

    /// Lets a ticket wait for its turn on a path.
    ///
    /// # Errors
    /// Gives it back when its campaign was cancelled, the path is no more or the queue is nearly full.
    pub fn enqueue(
        &mut self,
        path: PathId,
        key: FlowKey,
        ticket: Ticket,
        now: UnixMs,
    ) -> Result<(), Refused> {
        self.saw(now);
        self.push(path, key, ticket, false)
    }

    /// Takes back a ticket that was pulled but not tried: it goes to the front of its line, and its token back to
    /// the rate.
    ///
    /// # Errors
    /// As [`Queue::enqueue`].
    pub fn unpull(&mut self, path: PathId, key: FlowKey, ticket: Ticket) -> Result<(), Refused> {
        self.unused(path);
        self.push(path, key, ticket, true)
    }

    /// Takes one of the turns back that the account of `key` has had ahead of time: the ticket that it was for comes back
    /// untried.
    pub fn forgive(&mut self, path: PathId, key: FlowKey) {
        if let Some(path) = self.ready.paths.find(path) {
            self.ready.forgive(path, key);
        }
    }

    /// Gives the token of a ticket that was pulled and not tried back to the rate.
    pub fn unused(&mut self, path: PathId) {
        if let Some(path) = self.ready.paths.find(path) {
            let group = self.ready.paths.rows[path].group;
            self.ready.groups[group].give_back();
        }
    }

    fn push(&mut self, path: PathId, key: FlowKey, ticket: Ticket, comes_back: bool) -> Result<(), Refused> {
        let is_cancelled =
            key.campaign.is_some_and(|id| self.campaigns.state(id) == CampaignState::Cancelled);
        if is_cancelled {
            return Err(Refused::Cancelled(ticket));
        }
        let path = self.ready.paths.find(path).ok_or(Refused::NoPath(ticket))?;
        if self.is_nearly_full() {
            return Err(Refused::Full(ticket));
        }
        let arrival = Arrival { path, key, ticket, comes_back };
        self.ready.push(&mut self.store, &mut self.campaigns, arrival, self.now);
        Ok(())
    }

    /// What a connection of the path is to do next. Takes a token of the rate when it hands out a ticket.
    pub fn pull(&mut self, path: PathId, now: UnixMs) -> Pull {
        self.saw(now);
        let Some(path) = self.ready.paths.find(path) else { return Pull::Empty };
        let Self { ready, store, campaigns, expired, .. } = self;
        pull::pull(ready, store, campaigns, expired, (path, now))
    }

    /// Hands out up to `max` more tickets of the line that the last pull was served from, as long as `fits` says of the
    /// next one that it may go in the same transaction. Takes a token for each; they count as turns of their account.
    pub fn pull_with(
        &mut self,
        path: PathId,
        key: FlowKey,
        max: usize,
        mut fits: impl FnMut(&Ticket) -> bool,
        out: &mut Vec<Ticket>,
    ) {
        let Some(path) = self.ready.paths.find(path) else { return };
        let Self { ready, store, campaigns, now, .. } = self;
        let next = || pull::pull_with(ready, store, campaigns, (path, key, *now), &mut fits);
        out.extend(std::iter::from_fn(next).take(max));
    }

    /// Takes up to `max` tickets off a path, in the order of service, whatever its limits and suspension: to route
    /// them again. Those of flows that rest come last; those of paused campaigns stay.
    pub fn reroute(&mut self, path: PathId, max: usize, out: &mut Vec<(Ticket, FlowKey)>) {
        let Some(path) = self.ready.paths.find(path) else { return };
        let end = out.len().saturating_add(max);
        while out.len() < end {
            let row = &mut self.ready.paths.rows[path];
            let Some(class) = row.turns.choose(&self.ready.weights, &row.ready) else { break };
            row.turns.charge(class);
            out.push(self.ready.pop(&mut self.store, &mut self.campaigns, path, class));
        }
        for flow in self.ready.resting(path) {
            let count = (end - out.len()).min(self.ready.flows.rows[flow].live as usize);
            let next = || self.ready.pop_from(&mut self.store, &mut self.campaigns, flow);
            out.extend(std::iter::repeat_with(next).take(count));
        }
    }

    /// Passes a flow over until a moment, as if it were not there, and then lets it take turns again: for a limit that
    /// holds for its tickets and not for those beside them. Its tickets stay and expire. A ticket that was pulled
    /// comes back first ([`Queue::unpull`]): without tickets a flow is not remembered, and the first that comes is
    /// pulled and judged anew. A later call replaces an earlier one; [`Queue::next_due`] may come sooner after it.
    pub fn rest_flow(&mut self, path: PathId, key: FlowKey, until: UnixMs) {
        if let Some(path) = self.ready.paths.find(path) {
            self.ready.rest(path, key, until);
        }
    }

    // Connections

    /// The paths to look at since the last call, each once: work has come, a suspension has ended, or a place has
    /// become free. For each: let an idle connection pull (it may be told to yield), else open one while
    /// [`Queue::wants_connection`] says so.
    pub fn poll_wanting(&mut self, now: UnixMs, out: &mut Vec<PathId>) {
        self.saw(now);
        self.ready.take_hints(now, out);
    }

    /// Whether to open one more connection: there is more ready work than connections, and the limits that the path
    /// shares leave a place for it.
    #[must_use]
    pub fn wants_connection(&self, path: PathId, now: UnixMs) -> bool {
        self.ready.paths.find(path).is_some_and(|path| self.ready.wants_connection(path, now))
    }

    /// Counts a connection, from the moment one begins to connect.
    pub fn connection_opened(&mut self, path: PathId) {
        if let Some(path) = self.ready.paths.find(path) {
            self.ready.connection_opened(path, self.now);
        }
    }

    /// Counts a connection as gone, also when it was never established.
    pub fn connection_closed(&mut self, path: PathId) {
        if let Some(path) = self.ready.paths.find(path) {
            self.ready.connection_closed(path, self.now);
        }
    }

    /// Lets a path rest until a moment. Its tickets stay and expire; see [`Queue::reroute`].
    pub fn suspend(&mut self, path: PathId, until: UnixMs, reason: &str) {
        if let Some(path) = self.ready.paths.find(path) {
            self.ready.suspend(path, until, reason);
        }
    }

    /// Ends the rest of a path.
    pub fn resume(&mut self, path: PathId) {
        if let Some(path) = self.ready.paths.find(path) {
            self.ready.resume(path);
        }
    }

    /// Looks at up to `max` paths, going on where the last call ended, and removes those without tickets and connections
    /// that have not been used for `idle_for`. Returns how many it removed. Their [`PathId`]s mean no path then.
    pub fn drop_idle(&mut self, now: UnixMs, idle_for: Duration, max: usize) -> usize {
        self.saw(now);
        self.ready.drop_idle(now, idle_for, max)
    }

    // Campaigns

    /// What is known of a campaign.
    #[must_use]
    pub fn campaign_state(&self, id: CampaignId) -> CampaignState {
        self.campaigns.state(id)
    }

    /// Lets the tickets of a campaign wait on their paths until it is resumed. Costs as much as it has flows.
    pub fn pause_campaign(&mut self, id: CampaignId) {
        self.set_paused(id, true);
    }

    /// Lets the tickets of a paused campaign leave again. Costs as much as it has flows.
    pub fn resume_campaign(&mut self, id: CampaignId) {
        self.set_paused(id, false);
    }

    fn set_paused(&mut self, id: CampaignId, paused: bool) {
        let index = self.campaigns.intern(id);
        let campaign = &mut self.campaigns[index];
        if campaign.state != CampaignState::Cancelled {
            campaign.state = if paused { CampaignState::Paused } else { CampaignState::Running };
            self.ready.set_paused(&campaign.flows, paused);
        }
        self.campaigns.settle(index);
    }

    /// Takes out everything that waits of a campaign, wherever it waits, and refuses what comes later of it, until
    /// [`Queue::forget_campaign`]. Costs as much as it has tickets, and a walk over the store when some are scheduled.
    pub fn cancel_campaign(&mut self, id: CampaignId) -> Vec<Ticket> {
        let index = self.campaigns.intern(id);
        self.campaigns[index].state = CampaignState::Cancelled;
        let mut out = Vec::new();
        while let Some(&flow) = self.campaigns[index].flows.last() {
            self.ready.drain(&mut self.store, &mut self.campaigns, flow, &mut out);
        }
        out.extend(std::iter::from_fn(|| self.campaigns.pop_held(&mut self.store, index, None)));
        self.cancel_scheduled(index, &mut out);
        out
    }

    fn cancel_scheduled(&mut self, campaign: u32, out: &mut Vec<Ticket>) {
        let mut index = 0;
        for _ in 0..self.store.places() {
            if self.campaigns[campaign].scheduled == 0 {
                return;
            }
            index = self.store.after(index);
            let node = &mut self.store[index];
            if node.state() == State::Scheduled && node.place == campaign {
                node.set_state(State::Dead);
                out.push(self.store.ticket(index));
                self.unschedule(campaign);
            }
        }
    }

    /// Forgets that a campaign was cancelled or paused: when it is finished.
    pub fn forget_campaign(&mut self, id: CampaignId) {
        let Some(index) = self.campaigns.find(id) else { return };
        if self.campaigns[index].state == CampaignState::Cancelled {
            self.campaigns[index].state = CampaignState::Running;
        }
        self.set_paused(id, false);
    }

    /// Keeps a ticket until its campaign is released. `lane` is the provider for which it is held, by its index, when others of
    /// the campaign may go; `None` holds it with the whole campaign.
    ///
    /// # Errors
    /// Gives it back when the campaign was cancelled or the queue is nearly full.
    pub fn hold(&mut self, campaign: CampaignId, lane: Option<u16>, ticket: Ticket) -> Result<(), Refused> {
        if self.is_nearly_full() {
            return Err(Refused::Full(ticket));
        }
        let index = self.admit(ticket, Some(campaign))?;
        let when = self.store.tick(self.now);
        self.campaigns.hold(&mut self.store, index, lane, (ticket, when));
        Ok(())
    }

    /// Hands out everything that a campaign holds back, in whatever lane. Costs as much as that is.
    pub fn release(&mut self, campaign: CampaignId) -> Vec<Ticket> {
        let mut out = Vec::new();
        self.release_some(campaign, None, usize::MAX, &mut out);
        out
    }

    /// Hands out up to `max` tickets that a campaign holds back for a provider, first come first; from all its lanes,
    /// one after the other, when `lane` is `None`. False when none are left there.
    pub fn release_some(
        &mut self,
        campaign: CampaignId,
        lane: Option<u16>,
        max: usize,
        out: &mut Vec<Ticket>,
    ) -> bool {
        let Some(index) = self.campaigns.find(campaign) else { return false };
        let held = std::iter::from_fn(|| self.campaigns.pop_held(&mut self.store, index, lane));
        out.extend(held.take(max));
        let is_left = self.campaigns.held_by(index, lane) > 0;
        self.campaigns.settle(index);
        is_left
    }

    /// How many tickets a campaign holds back for a provider; in all its lanes when `lane` is `None`.
    #[must_use]
    pub fn held(&self, campaign: CampaignId, lane: Option<u16>) -> u64 {
        self.campaigns.find(campaign).map_or(0, |index| self.campaigns.held_by(index, lane))
    }

    /// The index of the campaign, or [`NONE`].
    fn admit(&mut self, ticket: Ticket, campaign: Option<CampaignId>) -> Result<u32, Refused> {
        let Some(id) = campaign else { return Ok(NONE) };
        match self.campaigns.state(id) {
            CampaignState::Cancelled => Err(Refused::Cancelled(ticket)),
            _ => Ok(self.campaigns.intern(id)),
        }
    }

    // Expiry

    /// Takes out up to `max` tickets that wait on a path or are held back and whose time has run out. Each call looks at
    /// a few thousand of those that wait, going on where the last one ended; call it some ten times a second. Those who move
    /// up in a line out of which many have gone may have to wait for the next round.
    pub fn expired(&mut self, now: UnixMs, max: usize, out: &mut Vec<Ticket>) {
        self.saw(now);
        let first = max.min(self.expired.len());
        out.extend(self.expired.drain(..first));
        self.expired.shrink_to(EXPIRED_KEPT);
        let rooms = (&mut self.ready, &mut self.store, &mut self.campaigns);
        self.sweep.expired(rooms, now, max - first, out);
    }

    // Views

    /// All paths, in the order of their keys. Costs as much as there are paths and flows.
    #[must_use]
    pub fn paths(&self) -> Vec<PathView> {
        view::paths(&self.ready, &self.store)
    }

    /// The paths that have something to send now. Costs as much as there are paths and flows.
    #[must_use]
    pub fn ready_paths(&self) -> Vec<PathView> {
        let mut paths = self.paths();
        paths.retain(|path| path.ready != [0; 4] && path.suspended.is_none());
        paths
    }

    /// One path; `None` when it is no more. Costs as much as it has flows.
    #[must_use]
    pub fn path_view(&self, path: PathId) -> Option<PathView> {
        let index = self.ready.paths.find(path)?;
        Some(view::path(&self.ready, &self.store, index))
    }

    /// The path of a key, if it exists.
    #[must_use]
    pub fn find_path(&self, key: PathKey) -> Option<PathId> {
        self.ready.paths.find_key(key).map(|index| self.ready.paths.id(index))
    }

    /// Everything that waits, in numbers. Costs as much as there are paths and campaigns.
    #[must_use]
    pub fn totals(&self) -> Totals {
        view::totals(&self.ready, &self.campaigns, self.scheduled, self.expired.len() as u64)
    }

    /// Where a recipient waits; `None` when it is not in the queue. The cost does not depend on how much waits.
    #[must_use]
    pub fn find(&self, id: RecipientId) -> Option<Place> {
        view::find(&self.ready, &self.campaigns, &self.store, id)
    }

    /// Whether only the places are left that are kept for [`Queue::schedule`]: nobody should bring new tickets. Lines take whole
    /// chunks, so this comes with fewer tickets the more lines there are: at 157 million in a few long ones.
    #[must_use]
    pub const fn is_nearly_full(&self) -> bool {
        self.store.is_nearly_full()
    }

    /// Where the tickets of a campaign wait, in numbers. Costs as much as it has flows.
    #[must_use]
    pub fn campaign_waits(&self, id: CampaignId) -> CampaignWaits {
        view::campaign(&self.ready, &self.campaigns, id)
    }

    /// What the queue owns of memory, in bytes. Costs as much as there are flows and campaigns.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.store.bytes()
            + self.wheel.bytes()
            + self.ready.bytes()
            + self.campaigns.bytes()
            + self.expired.capacity() * size_of::<Ticket>()
    }
}

#[cfg(test)]
mod tests {
    use mail::Class;

    use super::*;

    /// Chunks that the queue of these tests has for lines.
    const CHUNKS: usize = 8;
    const START: UnixMs = UnixMs(1_000_000);

    fn ticket(id: u64) -> Ticket {
        Ticket { id: RecipientId::from_raw(id), expiry: 0, deadline: 0, attempts: 0, class: Class::Bulk }
    }

    #[test]
    fn a_queue_that_is_nearly_full_gives_lines_back_and_schedules_still() {
        let mut queue = Queue::new([8, 4, 4, 1], CRITICAL_SHARE, START);
        queue.store.narrow(CHUNKS);
        let limits = Limits {
            connections: 1,
            rate: None,
            messages_per_connection: 100,
            recipients_per_message: 1,
            pipeline_depth: 1,
        };
        let flow = FlowKey { class: Class::Bulk, tenant: 0, campaign: None, identity: 0 };
        let path = |queue: &mut Queue, site| queue.path(PathKey { source: 0, provider: 0, site }, limits);
        // Each line has a chunk of its own, so a ticket of a line of its own costs as much as ten.
        for site in 0..CHUNKS as u64 {
            let path = path(&mut queue, site);
            queue.enqueue(path, flow, ticket(site), START).expect("there is room");
        }
        assert!(queue.is_nearly_full());
        let first = path(&mut queue, 0);
        let refused = [
            queue.enqueue(first, flow, ticket(100), START),
            queue.unpull(first, flow, ticket(100)),
            queue.hold(CampaignId::default(), None, ticket(100)),
        ];
        assert_eq!(refused, [Err(Refused::Full(ticket(100))); 3]);
        for id in 100..1_000 {
            queue.schedule(ticket(id), None, START).expect("there is always room");
        }
        let mut due = Vec::new();
        queue.due(START, usize::MAX, &mut due);
        queue.connection_opened(first);
        assert_eq!((due.len(), queue.pull(first, START)), (900, Pull::Ticket(ticket(0), flow)));
        assert!(!queue.is_nearly_full(), "its chunk is free again");
        queue.enqueue(first, flow, ticket(100), START).expect("there is room again");
    }
}
