//! One line of tickets: those of a (class, tenant, campaign) on a path. It refuses to know when its turn comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::ring::{Links, Member, Ring};
use crate::slab::{NONE, Slab, tidy};
use crate::store::{List, State, Stay, Store};
use crate::trail::Trail;
use crate::{FlowKey, Ticket};

/// Tickets of a line that are looked at to find the place of one, at most.
const WALK_MAX: u32 = 1024;
/// Dead nodes that a line may hold beyond its live ones before it is cleaned.
const DEAD_MAX: u32 = 64;

/// How urgent a critical ticket is: by deadline, then by arrival on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Urgency {
    pub(crate) deadline: u32,
    pub(crate) arrival: u32,
}

/// How tickets of a flow follow each other.
#[derive(Debug)]
enum Line {
    /// As they came.
    Arrival(List, Trail),
    /// By urgency: critical mail.
    Urgency(BinaryHeap<Reverse<(Urgency, u32)>>),
}

/// What the tickets of a flow wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Their turn.
    Ready,
    /// Their campaign to be resumed.
    Paused,
    /// The end of the flow's rest.
    Resting,
}

impl Standing {
    /// A pause outlasts a rest: only the user ends it.
    pub(crate) const fn of(paused: bool, rests_until: Option<mail::UnixMs>) -> Self {
        match (paused, rests_until) {
            (true, _) => Self::Paused,
            (false, Some(_)) => Self::Resting,
            (false, None) => Self::Ready,
        }
    }
}

/// A line of tickets.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) key: FlowKey,
    pub(crate) path: u32,
    pub(crate) tenant: u32,
    /// Its campaign, or [`NONE`].
    pub(crate) campaign: u32,
    /// Where the campaign lists it.
    pub(crate) campaign_slot: u32,
    /// Under which urgency the path lists it; only critical flows that may be served are listed.
    pub(crate) listed: Option<Urgency>,
    /// Where its path lists it.
    pub(crate) path_slot: u32,
    pub(crate) paused: bool,
    /// Until when it is passed over.
    pub(crate) rests_until: Option<mail::UnixMs>,
    /// Tickets that wait.
    pub(crate) live: u32,
    dead: u32,
    links: Links,
    line: Line,
}

impl Flow {
    pub(crate) fn new(key: FlowKey, path: u32, tenant: u32) -> Self {
        let line = match key.class {
            mail::Class::Critical => Line::Urgency(BinaryHeap::new()),
            _ => Line::Arrival(List::EMPTY, Trail::default()),
        };
        Self {
            key,
            path,
            tenant,
            campaign: NONE,
            campaign_slot: NONE,
            listed: None,
            path_slot: NONE,
            paused: false,
            rests_until: None,
            live: 0,
            dead: 0,
            links: Links::OUTSIDE,
            line,
        }
    }

    /// Adds a ticket at the end, or at the front when it comes back untried; `stay` is its stay in this flow.
    pub(crate) fn push(
        &mut self,
        store: &mut Store,
        (ticket, mut stay): (Ticket, Stay),
        arrival: u32,
        comes_back: bool,
    ) -> u32 {
        self.live += 1;
        match &mut self.line {
            Line::Arrival(list, trail) if comes_back => {
                // It stood before the one that is first now.
                if let Some(first) = list.front() {
                    stay.when = stay.when.min(store[first].when());
                }
                trail.rejoin();
                list.push_front(store, ticket, stay)
            }
            Line::Arrival(list, trail) => {
                trail.join(stay.when);
                list.push_back(store, ticket, stay)
            }
            Line::Urgency(heap) => {
                let deadline = match ticket.deadline {
                    0 => u32::MAX,
                    deadline => deadline,
                };
                let node = store.insert(ticket, stay);
                heap.push(Reverse((Urgency { deadline, arrival }, node)));
                node
            }
        }
    }

    fn front(&self) -> Option<u32> {
        match &self.line {
            Line::Arrival(list, _) => list.front(),
            Line::Urgency(heap) => heap.peek().map(|Reverse((_, node))| *node),
        }
    }

    fn pop_any(&mut self, store: &mut Store) -> Option<Ticket> {
        match &mut self.line {
            Line::Arrival(list, trail) => {
                trail.leave();
                list.pop_front(store)
            }
            Line::Urgency(heap) => heap.pop().map(|Reverse((_, node))| store.remove(node)),
        }
    }

    /// Frees the dead nodes at the front.
    fn trim(&mut self, store: &mut Store) {
        while self.dead > 0
            && let Some(node) = self.front()
            && store[node].state() == State::Dead
        {
            self.pop_any(store);
            self.dead -= 1;
        }
    }

    /// The first ticket.
    pub(crate) fn peek(&self, store: &Store) -> Option<Ticket> {
        // The front is alive: whatever removes a ticket trims the line.
        self.front().map(|node| store.ticket(node))
    }

    /// Takes the first ticket.
    pub(crate) fn pop(&mut self, store: &mut Store) -> Option<Ticket> {
        self.trim(store);
        let ticket = self.pop_any(store)?;
        self.live -= 1;
        self.trim(store);
        Some(ticket)
    }

    /// Takes a ticket out of the middle: its node stays in the line, dead, until it is at the front or they are many.
    pub(crate) fn kill(&mut self, store: &mut Store, node: u32) {
        store[node].set_state(State::Dead);
        self.live -= 1;
        self.dead += 1;
        self.trim(store);
        if self.dead > self.live + DEAD_MAX {
            self.clean(store);
        }
    }

    /// Frees all dead nodes.
    fn clean(&mut self, store: &mut Store) {
        match &mut self.line {
            Line::Arrival(list, trail) => {
                // Those who stay close up: the dead would hold on to the chunks that they share with them.
                let mut old = std::mem::replace(list, List::EMPTY);
                *trail = Trail::default();
                while let Some(node) = old.front() {
                    let stay = store[node].stay();
                    let Some(ticket) = old.pop_front(store).filter(|_| stay.state != State::Dead) else {
                        continue;
                    };
                    list.push_back(store, ticket, stay);
                    trail.join(stay.when);
                }
            }
            Line::Urgency(heap) => heap.retain(|Reverse((_, node))| {
                let dead = store[*node].state() == State::Dead;
                if dead {
                    store.remove(*node);
                }
                !dead
            }),
        }
        self.dead = 0;
    }

    /// How urgent the first ticket is; `None` for lines that are not ordered so, and for empty ones.
    pub(crate) fn urgency(&self) -> Option<Urgency> {
        match &self.line {
            Line::Arrival(..) => None,
            Line::Urgency(heap) => heap.peek().map(|Reverse((urgency, _))| *urgency),
        }
    }

    /// Since when the one that waits longest has waited: the first of a line by arrival, any of a line by urgency.
    pub(crate) fn oldest(&self, store: &Store) -> Option<mail::UnixMs> {
        let tick = match &self.line {
            Line::Arrival(list, _) => list.front().map(|node| store[node].when()),
            Line::Urgency(heap) => heap.iter().map(|Reverse((_, node))| store[*node].when()).min(),
        };
        tick.map(|tick| store.moment(tick))
    }

    /// How many tickets go before one of this line: exactly when it is short, else about.
    pub(crate) fn ahead(&self, store: &Store, node: u32) -> u32 {
        let about = match &self.line {
            Line::Arrival(list, trail) => {
                let walked = std::iter::successors(list.front(), |&before| list.after(store, before));
                let mut walked = walked.take((self.live + self.dead).min(WALK_MAX) as usize).enumerate();
                let found = walked.find(|(_, other)| *other == node);
                found.map_or_else(|| trail.ahead(store[node].when()), |(count, _)| count as u32)
            }
            Line::Urgency(heap) => more_urgent(heap, store, node),
        };
        about.min(self.live.saturating_sub(1))
    }

    /// What its tickets wait for.
    pub(crate) const fn standing(&self) -> Standing {
        Standing::of(self.paused, self.rests_until)
    }

    /// Whether its turn may come.
    pub(crate) const fn may_be_served(&self) -> bool {
        self.live > 0 && matches!(self.standing(), Standing::Ready)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.line {
            Line::Arrival(_, trail) => trail.bytes(),
            Line::Urgency(heap) => heap.capacity() * size_of::<Reverse<(Urgency, u32)>>(),
        }
    }
}

/// By what the ring of a tenant knows a flow.
pub(crate) fn name_of(key: &FlowKey) -> u64 {
    FxBuildHasher.hash_one((key.campaign, key.identity))
}

/// How many go before a node by urgency: as many of all as of a thousand.
fn more_urgent(heap: &BinaryHeap<Reverse<(Urgency, u32)>>, store: &Store, node: u32) -> u32 {
    // Odd, so that neither left nor right children are left out.
    let step = heap.len().div_ceil(WALK_MAX as usize) | 1;
    let sample = || heap.iter().step_by(step).map(|Reverse(entry)| *entry);
    let deadline = match store.ticket(node).deadline {
        0 => u32::MAX,
        deadline => deadline,
    };
    // Among those with the same deadline it stands in the middle, unless its own arrival is among the sample.
    let own = sample().find(|(_, other)| *other == node);
    let urgency = own.map_or(Urgency { deadline, arrival: u32::MAX / 2 }, |(urgency, _)| urgency);
    let goes_before = |entry: &(Urgency, u32)| entry.0 < urgency && store[entry.1].state() != State::Dead;
    (sample().filter(goes_before).count() * step) as u32
}

impl Member for Flow {
    fn name(&self) -> u64 {
        name_of(&self.key)
    }

    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// The flows of one tenant in one class of a path, taking turns.
#[derive(Debug)]
pub(crate) struct Tenant {
    key: (u32, mail::Class, u32),
    pub(crate) ring: Ring,
    flows: u32,
    links: Links,
}

impl Member for Tenant {
    fn name(&self) -> u64 {
        u64::from(self.key.2)
    }

    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// All flows and tenants, by index and by key.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) rows: Slab<Flow>,
    pub(crate) tenants: Slab<Tenant>,
    /// By path and key, which the rows have.
    by_key: HashTable<u32>,
    tenant_by_key: FxHashMap<(u32, mail::Class, u32), u32>,
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self {
            rows: Slab::new(),
            tenants: Slab::new(),
            by_key: HashTable::new(),
            tenant_by_key: FxHashMap::default(),
        }
    }

    /// The tenant of a key, if it has any flow on the path.
    pub(crate) fn find_tenant(&self, path: u32, key: FlowKey) -> Option<u32> {
        self.tenant_by_key.get(&(path, key.class, key.tenant)).copied()
    }

    pub(crate) fn find(&self, path: u32, key: FlowKey) -> Option<u32> {
        let is_it = |&flow: &u32| self.rows[flow].path == path && self.rows[flow].key == key;
        self.by_key.find(hash_of(path, &key), is_it).copied()
    }

    /// Makes the flow of `key`, which does not exist yet.
    pub(crate) fn insert(&mut self, path: u32, key: FlowKey) -> u32 {
        let tenant_key = (path, key.class, key.tenant);
        let tenants = &mut self.tenants;
        let tenant = *self.tenant_by_key.entry(tenant_key).or_insert_with(|| {
            tenants.insert(Tenant { key: tenant_key, ring: Ring::EMPTY, flows: 0, links: Links::OUTSIDE })
        });
        self.tenants[tenant].flows += 1;
        let flow = self.rows.insert(Flow::new(key, path, tenant));
        let rows = &self.rows;
        let hash_of_other = |&other: &u32| hash_of(rows[other].path, &rows[other].key);
        self.by_key.insert_unique(hash_of(path, &key), flow, hash_of_other);
        flow
    }

    /// Removes a flow without tickets that is in no ring, and its tenant if that was its last.
    pub(crate) fn remove(&mut self, index: u32) -> Flow {
        let flow = self.rows.remove(index);
        debug_assert!(flow.live == 0 && flow.dead == 0 && flow.links.is_outside(), "the flow is done");
        if let Ok(entry) = self.by_key.find_entry(hash_of(flow.path, &flow.key), |&other| other == index) {
            entry.remove();
        }
        if self.by_key.is_empty() && self.rows.bytes() == 0 {
            self.by_key = HashTable::new();
        }
        let tenant = &mut self.tenants[flow.tenant];
        tenant.flows -= 1;
        if tenant.flows == 0 {
            let key = tenant.key;
            self.tenants.remove(flow.tenant);
            self.tenant_by_key.remove(&key);
            tidy(&mut self.tenant_by_key);
        }
        flow
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.bytes()
            + self.tenants.bytes()
            + self.by_key.allocation_size()
            + crate::view::map_bytes(&self.tenant_by_key)
            + self.rows.iter().map(|(_, flow)| flow.heap_bytes()).sum::<usize>()
            + self.tenants.iter().map(|(_, tenant)| tenant.ring.heap_bytes()).sum::<usize>()
    }
}

fn hash_of(path: u32, key: &FlowKey) -> u64 {
    FxBuildHasher.hash_one((path, key))
}

#[cfg(test)]
mod tests {
    use mail::{Class, RecipientId, UnixMs};

    use super::*;

    fn filled(class: Class, deadlines: &[u32]) -> (Flow, Store) {
        let mut store = Store::new(UnixMs(0));
        let mut flow = Flow::new(FlowKey { class, tenant: 0, campaign: None, identity: 0 }, 0, 0);
        for (id, &deadline) in (0..).zip(deadlines) {
            let ticket = Ticket { id: RecipientId::from_raw(id), expiry: 0, deadline, attempts: 0, class };
            let stay = Stay { state: State::Ready, place: 0, when: id + 100 };
            flow.push(&mut store, (ticket, stay), id as u32, false);
        }
        (flow, store)
    }

    fn drain(flow: &mut Flow, store: &mut Store) -> Vec<u64> {
        std::iter::from_fn(|| flow.pop(store)).map(|ticket| ticket.id.raw()).collect()
    }

    #[test]
    fn critical_mail_goes_by_deadline_and_other_mail_as_it_came() {
        let deadlines = [0, 30, 10, 30, 20];
        let (mut flow, mut store) = filled(Class::Critical, &deadlines);
        assert_eq!(drain(&mut flow, &mut store), [2, 4, 1, 3, 0]);
        let (mut flow, mut store) = filled(Class::Bulk, &deadlines);
        assert_eq!(flow.oldest(&store), Some(UnixMs(100)));
        assert_eq!(drain(&mut flow, &mut store), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_dead_are_skipped_and_never_pile_up() {
        for class in [Class::Critical, Class::Bulk] {
            let (mut flow, mut store) = filled(class, &[5; 1000]);
            for index in (0..1000).filter(|index| index % 5 != 1) {
                let node = store.find(RecipientId::from_raw(index)).expect("it waits");
                flow.kill(&mut store, node);
                assert!(flow.dead <= flow.live + DEAD_MAX, "at {index}");
            }
            assert_eq!(drain(&mut flow, &mut store), (0..200).map(|n| 5 * n + 1).collect::<Vec<_>>());
            assert_eq!((flow.live, flow.dead, store.taken()), (0, 0, 0));
        }
    }
}
