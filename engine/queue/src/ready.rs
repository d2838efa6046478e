//! What may leave now: paths, their flows, and the limits they share. It refuses to look into the future.

use std::collections::BTreeSet;

use mail::{Class, UnixMs};
use rustc_hash::FxHashMap;

use crate::campaign::{CampaignState, Campaigns};
use crate::flow::{Flows, Standing, name_of};
use crate::limits::{Group, GroupKey};
use crate::path::{Path, Paths};
use crate::rest::Rests;
use crate::ring::{Member as _, Ring};
use crate::slab::{NONE, Slab, tidy};
use crate::store::{State, Stay, Store};
use crate::{FlowKey, Limits, PathId, PathKey, Ticket};

/// Hints for which there is always room.
const HINTS_KEPT: usize = 1024;
/// Paths told of one place that has become free, at most.
const CLAIMS_HINTED_MAX: usize = 16;

/// A ticket on its way into a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) path: u32,
    pub(crate) key: FlowKey,
    pub(crate) ticket: Ticket,
    /// Taken before and not tried: it goes to the front.
    pub(crate) comes_back: bool,
}

/// Paths, flows and groups.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) paths: Paths,
    pub(crate) flows: Flows,
    pub(crate) groups: Slab<Group>,
    group_by_key: FxHashMap<GroupKey, u32>,
    /// Suspended paths by the end of their rest.
    suspended: BTreeSet<(UnixMs, u32)>,
    pub(crate) rests: Rests,
    /// Paths that the shell should look at.
    hints: Vec<PathId>,
    pub(crate) weights: [u32; 4],
    critical_share: f32,
    /// Claims made so far: orders them by age.
    claims: u64,
    /// Where the search for idle paths goes on.
    idle_cursor: u32,
}

impl Ready {
    pub(crate) fn new(weights: [u32; 4], critical_share: f32) -> Self {
        Self {
            paths: Paths::new(),
            flows: Flows::new(),
            groups: Slab::new(),
            group_by_key: FxHashMap::default(),
            suspended: BTreeSet::new(),
            rests: Rests::default(),
            hints: Vec::new(),
            weights,
            critical_share,
            claims: 0,
            idle_cursor: 0,
        }
    }

    /// The path of `key`; with limits of its own when it is `alone`. `limits` count only for the first path that shares them.
    pub(crate) fn path(&mut self, key: PathKey, limits: Limits, alone: bool, now: UnixMs) -> PathId {
        let index = match self.paths.find_key(key) {
            Some(index) => index,
            None => self.make_path(key, limits, alone, now),
        };
        self.paths.rows[index].used = now;
        self.paths.id(index)
    }

    fn make_path(&mut self, key: PathKey, limits: Limits, alone: bool, now: UnixMs) -> u32 {
        let site = alone.then_some(key.site);
        let group_key = GroupKey { source: key.source, provider: key.provider, site };
        let (groups, share) = (&mut self.groups, self.critical_share);
        let make = || groups.insert(Group::new(group_key, limits, share));
        let group = *self.group_by_key.entry(group_key).or_insert_with(make);
        self.groups[group].paths += 1;
        self.paths.insert(key, group, now)
    }

    pub(crate) fn set_limits(&mut self, path: u32, limits: Limits) {
        let group = self.paths.rows[path].group;
        if self.groups[group].limits() != limits {
            self.groups[group].set_limits(limits);
            self.hint(path);
            self.hint_claims(group);
            self.hint_idle(group);
        }
    }

    // Tickets

    pub(crate) fn push(
        &mut self,
        store: &mut Store,
        campaigns: &mut Campaigns,
        arrival: Arrival,
        now: UnixMs,
    ) {
        let Arrival { path, key, ticket, comes_back } = arrival;
        let flow = match self.flows.find(path, key) {
            Some(flow) => flow,
            None => self.make_flow(campaigns, path, key),
        };
        let when = store.tick(now);
        let stay = Stay { state: State::Ready, place: flow, when };
        let row = &mut self.paths.rows[path];
        row.used = row.used.max(now);
        row.waiting += 1;
        let arrival = row.turns.arrival(comes_back);
        self.flows.rows[flow].push(store, (ticket, stay), arrival, comes_back);
        self.list(flow);
        self.add(flow, 1);
    }

    fn make_flow(&mut self, campaigns: &mut Campaigns, path: u32, key: FlowKey) -> u32 {
        let index = self.flows.insert(path, key);
        let listed = &mut self.paths.rows[path].flows;
        self.flows.rows[index].path_slot = listed.len() as u32;
        listed.push(index);
        if let Some(id) = key.campaign {
            let campaign = campaigns.intern(id);
            let row = &mut campaigns[campaign];
            let flow = &mut self.flows.rows[index];
            flow.campaign = campaign;
            flow.campaign_slot = row.flows.len() as u32;
            flow.paused = row.state == CampaignState::Paused;
            row.flows.push(index);
        }
        index
    }

    /// Takes the next ticket of a class that has one ready.
    pub(crate) fn pop(
        &mut self,
        store: &mut Store,
        campaigns: &mut Campaigns,
        path: u32,
        class: Class,
    ) -> (Ticket, FlowKey) {
        let flow = self.next_flow(path, class).expect("a class with ready tickets lists a flow");
        self.pop_from(store, campaigns, flow)
    }

    /// Takes the next ticket of a flow that has one.
    pub(crate) fn pop_from(
        &mut self,
        store: &mut Store,
        campaigns: &mut Campaigns,
        flow: u32,
    ) -> (Ticket, FlowKey) {
        let ticket = self.flows.rows[flow].pop(store).expect("a flow has a ticket while it exists");
        let key = self.flows.rows[flow].key;
        self.after_removal(campaigns, flow, 1);
        (ticket, key)
    }

    /// The flow whose turn it is; the turn is over with it.
    fn next_flow(&mut self, path: u32, class: Class) -> Option<u32> {
        let turns = &mut self.paths.rows[path].turns;
        let Some(ring) = turns.ring(class) else {
            return turns.critical.first().map(|(_, flow)| *flow);
        };
        let tenant = ring.take_turn(&mut self.flows.tenants)?;
        self.flows.tenants[tenant].ring.take_turn(&mut self.flows.rows)
    }

    /// Takes the next ticket of `flow` ahead of its turn, if `fits` says that it may go with what was taken before. Of
    /// critical mail it must be the most urgent one.
    pub(crate) fn pop_with(
        &mut self,
        store: &mut Store,
        campaigns: &mut Campaigns,
        flow: u32,
        fits: &mut dyn FnMut(&Ticket) -> bool,
    ) -> Option<Ticket> {
        let row = &self.flows.rows[flow];
        let (path, class, tenant) = (row.path, row.key.class, row.tenant);
        let critical = &self.paths.rows[path].turns.critical;
        let is_first = class != Class::Critical || critical.first().is_some_and(|(_, first)| *first == flow);
        if !is_first || !row.may_be_served() || !fits(&row.peek(store)?) {
            return None;
        }
        let ticket = self.flows.rows[flow].pop(store)?;
        Ring::owe(&mut self.flows.rows, flow);
        Ring::owe(&mut self.flows.tenants, tenant);
        self.paths.rows[path].turns.charge(class);
        self.after_removal(campaigns, flow, 1);
        Some(ticket)
    }

    /// Undoes what [`Ready::pop_with`] has charged for one ticket.
    pub(crate) fn forgive(&mut self, path: u32, key: FlowKey) {
        let turns = &mut self.paths.rows[path].turns;
        turns.refund(key.class);
        let Some(ring) = turns.ring(key.class) else { return };
        let (flow, tenant) = (self.flows.find(path, key), self.flows.find_tenant(path, key));
        ring.forgive(&mut self.flows.tenants, tenant, u64::from(key.tenant));
        // Without the tenant there is nobody to whom the flow could owe.
        let Some(tenant) = tenant else { return };
        self.flows.tenants[tenant].ring.forgive(&mut self.flows.rows, flow, name_of(&key));
    }

    /// Takes a ticket out of the middle of its flow.
    pub(crate) fn kill(&mut self, store: &mut Store, campaigns: &mut Campaigns, node: u32) {
        let flow = store[node].place;
        self.flows.rows[flow].kill(store, node);
        self.after_removal(campaigns, flow, 1);
    }

    /// Takes all tickets out of a flow and removes it.
    pub(crate) fn drain(
        &mut self,
        store: &mut Store,
        campaigns: &mut Campaigns,
        flow: u32,
        out: &mut Vec<Ticket>,
    ) {
        let count = self.flows.rows[flow].live;
        out.extend(std::iter::from_fn(|| self.flows.rows[flow].pop(store)));
        self.after_removal(campaigns, flow, count);
    }

    /// Books `count` tickets that have left a flow, and removes the flow when they were its last.
    fn after_removal(&mut self, campaigns: &mut Campaigns, flow: u32, count: u32) {
        let row = &self.flows.rows[flow];
        let (path, is_done) = (row.path, row.live == 0);
        self.paths.rows[path].waiting -= count;
        self.list(flow);
        self.subtract(flow, count);
        if is_done {
            self.rests.forget(flow, self.flows.rows[flow].rests_until);
            let flow = self.flows.remove(flow);
            self.leave_path(path, flow.path_slot);
            self.leave_campaign(campaigns, flow.campaign, flow.campaign_slot);
        }
    }

    fn leave_path(&mut self, path: u32, slot: u32) {
        let flows = &mut self.paths.rows[path].flows;
        flows.swap_remove(slot as usize);
        if let Some(&moved) = flows.get(slot as usize) {
            self.flows.rows[moved].path_slot = slot;
        }
    }

    fn leave_campaign(&mut self, campaigns: &mut Campaigns, campaign: u32, slot: u32) {
        if campaign == NONE {
            return;
        }
        let flows = &mut campaigns[campaign].flows;
        flows.swap_remove(slot as usize);
        if let Some(&moved) = flows.get(slot as usize) {
            self.flows.rows[moved].campaign_slot = slot;
        }
        campaigns.settle(campaign);
    }

    /// Brings the listing of a flow in the order of service in line with what it holds.
    pub(crate) fn list(&mut self, index: u32) {
        let flow = &mut self.flows.rows[index];
        let may_be_served = flow.may_be_served();
        let turns = &mut self.paths.rows[flow.path].turns;
        let Some(class_ring) = turns.ring(flow.key.class) else {
            let urgency = flow.urgency().filter(|_| may_be_served);
            if flow.listed != urgency {
                flow.listed.map(|listed| turns.critical.remove(&(listed, index)));
                urgency.map(|urgency| turns.critical.insert((urgency, index)));
                flow.listed = urgency;
            }
            return;
        };
        let is_listed = !flow.links().is_outside();
        if is_listed == may_be_served {
            return;
        }
        let tenant = flow.tenant;
        let ring = &mut self.flows.tenants[tenant].ring;
        let was_empty = ring.is_empty();
        if may_be_served {
            ring.push_back(&mut self.flows.rows, index);
        } else {
            ring.remove(&mut self.flows.rows, index);
        }
        let is_empty = ring.is_empty();
        match (was_empty, is_empty) {
            (true, false) => class_ring.push_back(&mut self.flows.tenants, tenant),
            (false, true) => class_ring.remove(&mut self.flows.tenants, tenant),
            _ => {}
        }
    }

    // Counts, claims and hints

    /// Counts tickets of a flow where it stands.
    pub(crate) fn add(&mut self, flow: u32, count: u32) {
        let flow = &self.flows.rows[flow];
        let (path, class) = (flow.path, flow.key.class);
        let row = &mut self.paths.rows[path];
        match flow.standing() {
            Standing::Paused => return,
            Standing::Resting => return row.resting += count,
            Standing::Ready => row.ready[class.index()] += count,
        }
        if row.suspension.is_none() {
            self.groups[row.group].add_ready(class, u64::from(count));
        }
        self.settle(path);
        self.hint(path);
    }

    /// Takes tickets of a flow out of the count where it stands.
    pub(crate) fn subtract(&mut self, flow: u32, count: u32) {
        let flow = &self.flows.rows[flow];
        let (path, class) = (flow.path, flow.key.class);
        let row = &mut self.paths.rows[path];
        match flow.standing() {
            Standing::Paused => return,
            Standing::Resting => return row.resting -= count,
            Standing::Ready => row.ready[class.index()] -= count,
        }
        if row.suspension.is_none() {
            self.groups[row.group].subtract_ready(class, u64::from(count));
        }
        self.settle(path);
    }

    /// Tells the group of a path what has changed there: what its connections are for, and whether it has a claim.
    fn settle(&mut self, path: u32) {
        let row = &mut self.paths.rows[path];
        let is_critical = row.has_critical() && row.suspension.is_none();
        let connections_critical = if is_critical { row.connections } else { 0 };
        let group = &mut self.groups[row.group];
        group.count_critical(row.connections_critical, connections_critical);
        row.connections_critical = connections_critical;
        let has_new_place = group.has_new_place();
        let index = row.group;
        self.claim(path);
        if has_new_place {
            self.hint_claims(index);
        }
    }

    /// Brings the claim of a path in line with whether it has work and no connection.
    fn claim(&mut self, path: u32) {
        let row = &mut self.paths.rows[path];
        let group = &mut self.groups[row.group];
        let has_claim = row.connections == 0 && row.suspension.is_none() && row.ready_total() > 0;
        let other = !row.has_critical();
        if has_claim == row.claim.is_some() && row.claim.is_none_or(|claim| claim.other == other) {
            return;
        }
        if let Some(claim) = row.claim.take() {
            group.remove_claim(claim);
        }
        if !has_claim {
            return;
        }
        self.claims += 1;
        let claim = crate::limits::Claim { other, since: self.claims, path };
        group.add_claim(claim);
        row.claim = Some(claim);
        let index = row.group;
        self.hint_idle(index);
    }

    /// Asks the shell to look at a path.
    pub(crate) fn hint(&mut self, path: u32) {
        let id = self.paths.id(path);
        let row = &mut self.paths.rows[path];
        if !row.notes.is_hinted && row.suspension.is_none() {
            row.notes.is_hinted = true;
            self.hints.push(id);
        }
    }

    /// Asks the shell to look at a path with an idle connection, if that is to close.
    fn hint_idle(&mut self, group: u32) {
        while self.groups[group].wants_idle_closed()
            && let Some(idle) = self.groups[group].take_idle()
        {
            let row = &mut self.paths.rows[idle];
            row.notes.is_idle = false;
            if row.connections > 0 && row.ready_total() == 0 {
                self.hint(idle);
                return;
            }
        }
    }

    /// Asks the shell to look at the paths with the best claims to the places that are free.
    fn hint_claims(&mut self, group: u32) {
        let row = &self.groups[group];
        let count = CLAIMS_HINTED_MAX.min(row.free() as usize);
        let first = row.first_claims(count);
        first.into_iter().for_each(|path| self.hint(path));
    }

    /// Moves the hints out, and those of paths and flows whose rest is over.
    pub(crate) fn take_hints(&mut self, now: UnixMs, out: &mut Vec<PathId>) {
        while let Some(&(until, path)) = self.suspended.first()
            && until <= now
        {
            self.resume(path);
        }
        self.wake(now);
        for id in self.hints.drain(..) {
            if let Some(path) = self.paths.find(id) {
                self.paths.rows[path].notes.is_hinted = false;
                out.push(id);
            }
        }
        self.hints.shrink_to(HINTS_KEPT);
    }

    // Connections and suspensions

    pub(crate) fn wants_connection(&self, path: u32, now: UnixMs) -> bool {
        let row = &self.paths.rows[path];
        let has_work = row.suspended_until(now).is_none() && row.ready_total() > row.connections;
        has_work && self.groups[row.group].has_place(row.has_critical(), row.connections > 0)
    }

    pub(crate) fn connection_opened(&mut self, path: u32, now: UnixMs) {
        let row = &mut self.paths.rows[path];
        row.connections += 1;
        row.used = row.used.max(now);
        self.groups[row.group].opened();
        self.settle(path);
    }

    pub(crate) fn connection_closed(&mut self, path: u32, now: UnixMs) {
        let row = &mut self.paths.rows[path];
        if row.connections == 0 {
            return;
        }
        row.connections -= 1;
        row.used = row.used.max(now);
        let (group, has_work) = (row.group, row.ready_total() > 0);
        self.groups[group].closed();
        self.settle(path);
        if has_work {
            self.hint(path);
        } else {
            // Its other connections may be idle too.
            self.is_idle(path);
        }
        self.hint_claims(group);
        self.hint_idle(group);
    }

    pub(crate) fn suspend(&mut self, path: u32, until: UnixMs, reason: &str) {
        self.resume(path);
        let row = &mut self.paths.rows[path];
        row.suspension = Some(Box::new(crate::path::Suspension::new(until, reason)));
        let group = &mut self.groups[row.group];
        Class::ALL.iter().for_each(|&class| group.subtract_ready(class, u64::from(row.ready[class.index()])));
        self.suspended.insert((until, path));
        self.settle(path);
    }

    pub(crate) fn resume(&mut self, path: u32) {
        let row = &mut self.paths.rows[path];
        let Some(suspension) = row.suspension.take() else { return };
        let group = &mut self.groups[row.group];
        Class::ALL.iter().for_each(|&class| group.add_ready(class, u64::from(row.ready[class.index()])));
        self.suspended.remove(&(suspension.until, path));
        self.settle(path);
        self.hint(path);
    }

    /// When the next rest of a path or a flow ends.
    pub(crate) fn next_resume(&self) -> Option<UnixMs> {
        let suspended = self.suspended.first().map(|(until, _)| *until);
        suspended.into_iter().chain(self.rests.next()).min()
    }

    pub(crate) fn suspended_count(&self) -> usize {
        self.suspended.len()
    }

    /// Remembers that a path has a connection and nothing for it.
    pub(crate) fn is_idle(&mut self, path: u32) {
        let row = &mut self.paths.rows[path];
        if !row.notes.is_idle && row.connections > 0 {
            row.notes.is_idle = self.groups[row.group].remember_idle(path);
        }
    }

    // Removal

    /// Looks at up to `max` paths and removes those that nobody has used since `before`.
    pub(crate) fn drop_idle(&mut self, now: UnixMs, idle_for: std::time::Duration, max: usize) -> usize {
        let mut dropped = 0;
        let bound = self.paths.rows.bound();
        for _ in 0..max.min(bound as usize) {
            self.idle_cursor = if self.idle_cursor + 1 >= bound { 0 } else { self.idle_cursor + 1 };
            let Some(path) = self.paths.rows.get(self.idle_cursor) else { continue };
            let idle_for = idle_for.max(self.groups[path.group].memory());
            if may_be_dropped(path) && path.used + idle_for <= now {
                self.drop_path(self.idle_cursor);
                dropped += 1;
            }
        }
        dropped
    }

    fn drop_path(&mut self, index: u32) {
        let path = self.paths.remove(index);
        let group = &mut self.groups[path.group];
        group.paths -= 1;
        if path.notes.is_idle {
            group.forget_idle(index);
        }
        if group.paths == 0 {
            let key = self.groups.remove(path.group).key;
            self.group_by_key.remove(&key);
            tidy(&mut self.group_by_key);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.paths.bytes()
            + self.flows.bytes()
            + self.groups.bytes()
            + crate::view::map_bytes(&self.group_by_key)
            + self.hints.capacity() * size_of::<PathId>()
    }
}

fn may_be_dropped(path: &Path) -> bool {
    path.waiting == 0 && path.connections == 0 && path.suspension.is_none()
}
