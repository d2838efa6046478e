//! Where tickets lie while they wait: 28 bytes each (32 in blocks where one has a deadline), threaded into lists by index,
//! and found by their identifiers for five bytes more. It refuses to know why they wait.

use std::ops::{Index, IndexMut};

use mail::{Class, RecipientId, UnixMs};

use crate::Ticket;
use crate::finder::{Finder, Hash};
use crate::slab::NONE;

/// Nodes of one block: 112 KiB, so that growth never copies and never asks for much at once.
const BLOCK_NODES: usize = 4096;
/// Blocks that an empty store keeps, so that a queue which runs empty all the time does not make them anew: below 2 MiB.
const BLOCKS_KEPT: usize = 16;

/// Milliseconds since the queue was made. Five bytes hold 34 years of them.
pub(crate) type Tick = u64;

/// The last tick a node can hold.
pub(crate) const TICK_MAX: Tick = (1 << 40) - 1;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// In no list; `next` leads through the free ones.
    Free = 0,
    /// In the timing wheel until `when`; `place` is its campaign.
    Scheduled = 1,
    /// In a flow since `when`; `place` is the flow.
    Ready = 2,
    /// Held back by its campaign since `when`; `place` is the lane.
    Held = 3,
    /// Taken out, but still in a list, whose owner will free it.
    Dead = 4,
}

impl State {
    const ALL: [Self; 5] = [Self::Free, Self::Scheduled, Self::Ready, Self::Held, Self::Dead];
}

/// One waiting ticket, or a free place for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// In halves, because a u64 would round the node up to 32 bytes.
    id: [u32; 2],
    expiry: u32,
    /// The next node of the list it is in.
    pub(crate) next: u32,
    /// What `state` says.
    pub(crate) place: u32,
    when_low: u32,
    attempts: u16,
    when_high: u8,
    /// Class in the lower four bits, state in the upper.
    tag: u8,
}

const _: () = assert!(size_of::<Node>() == 28, "a node is exactly 28 bytes");

impl Node {
    fn new(ticket: Ticket, state: State, place: u32, when: Tick) -> Self {
        let mut node = Self {
            id: [ticket.id.raw() as u32, (ticket.id.raw() >> 32) as u32],
            expiry: ticket.expiry,
            next: NONE,
            place,
            when_low: 0,
            attempts: ticket.attempts,
            when_high: 0,
            tag: ticket.class as u8 | ((state as u8) << 4),
        };
        node.set_when(when);
        node
    }

    pub(crate) fn set_when(&mut self, when: Tick) {
        let when = when.min(TICK_MAX);
        self.when_low = when as u32;
        self.when_high = (when >> 32) as u8;
    }

    pub(crate) fn when(&self) -> Tick {
        u64::from(self.when_low) | (u64::from(self.when_high) << 32)
    }

    pub(crate) fn state(&self) -> State {
        State::ALL[usize::from(self.tag >> 4)]
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.tag = (self.tag & 0x0f) | ((state as u8) << 4);
    }

    pub(crate) fn raw_id(&self) -> u64 {
        u64::from(self.id[0]) | (u64::from(self.id[1]) << 32)
    }

    /// Whether its time has run out at `now_s` seconds since the epoch.
    pub(crate) fn is_expired(&self, now_s: u64) -> bool {
        self.expiry != 0 && u64::from(self.expiry) <= now_s
    }
}

/// Nodes that were made together.
#[derive(Debug)]
struct Block {
    nodes: Box<[Node]>,
    /// Beside `nodes`; made when the first ticket comes that has a deadline, which few have.
    deadlines: Option<Box<[u32]>>,
}

impl Block {
    fn deadline(&self, index: usize) -> u32 {
        self.deadlines.as_ref().map_or(0, |deadlines| deadlines[index])
    }

    fn set_deadline(&mut self, index: usize, deadline: u32) {
        if deadline == 0 && self.deadlines.is_none() {
            return;
        }
        self.deadlines.get_or_insert_with(|| vec![0; BLOCK_NODES].into_boxed_slice())[index] = deadline;
    }
}

/// All nodes, in blocks.
#[derive(Debug)]
pub(crate) struct Store {
    origin: UnixMs,
    blocks: Vec<Block>,
    finder: Finder,
    free: u32,
    used: usize,
}

impl Store {
    /// No nodes. Ticks count from `origin`.
    pub(crate) const fn new(origin: UnixMs) -> Self {
        Self { origin, blocks: Vec::new(), finder: Finder::new(), free: NONE, used: 0 }
    }

    /// The tick of `moment`: that of the origin when it lies before, the last one when it lies beyond.
    pub(crate) fn tick(&self, moment: UnixMs) -> Tick {
        moment.0.saturating_sub(self.origin.0).min(TICK_MAX)
    }

    /// The moment of `tick`.
    pub(crate) fn moment(&self, tick: Tick) -> UnixMs {
        UnixMs(self.origin.0.saturating_add(tick))
    }

    /// Lays a ticket down; the caller threads it into a list.
    pub(crate) fn insert(&mut self, ticket: Ticket, state: State, place: u32, when: Tick) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let node = &mut self[index];
        let next_free = node.next;
        *node = Node::new(ticket, state, place, when);
        let (block, within) = (index as usize / BLOCK_NODES, index as usize % BLOCK_NODES);
        self.blocks[block].set_deadline(within, ticket.deadline);
        let hash_of = |other: u32| Hash::of(node_in(&self.blocks, other).raw_id());
        self.finder.insert(Hash::of(ticket.id.raw()), index, hash_of);
        self.free = next_free;
        self.used += 1;
        index
    }

    /// The ticket that was laid down there.
    pub(crate) fn ticket(&self, index: u32) -> Ticket {
        let (block, within) = (&self.blocks[index as usize / BLOCK_NODES], index as usize % BLOCK_NODES);
        let node = &block.nodes[within];
        let class = Class::from_index(usize::from(node.tag & 0x0f)).expect("a node holds a class");
        Ticket {
            id: RecipientId::from_raw(node.raw_id()),
            expiry: node.expiry,
            deadline: block.deadline(within),
            attempts: node.attempts,
            class,
        }
    }

    /// Frees a node that is in no list any more.
    pub(crate) fn remove(&mut self, index: u32) {
        let free = self.free;
        let node = &mut self[index];
        debug_assert_ne!(node.state(), State::Free, "a node is freed once");
        let hash = Hash::of(node.raw_id());
        node.set_state(State::Free);
        node.next = free;
        self.finder.remove(hash, index);
        self.free = index;
        self.used -= 1;
        if self.used == 0 && self.blocks.len() > BLOCKS_KEPT {
            *self = Self::new(self.origin);
        }
    }

    /// The node of a ticket that has not been taken out.
    pub(crate) fn find(&self, id: RecipientId) -> Option<u32> {
        let is_it = |index: u32| {
            let node = &self[index];
            node.raw_id() == id.raw() && !matches!(node.state(), State::Free | State::Dead)
        };
        self.finder.find(Hash::of(id.raw()), is_it)
    }

    fn grow(&mut self) {
        let first = self.bound();
        let empty =
            Ticket { id: RecipientId::default(), expiry: 0, deadline: 0, attempts: 0, class: Class::Bulk };
        let mut nodes = vec![Node::new(empty, State::Free, NONE, 0); BLOCK_NODES].into_boxed_slice();
        for (node, next) in nodes.iter_mut().zip(first + 1..) {
            node.next = next;
        }
        nodes[BLOCK_NODES - 1].next = self.free;
        self.free = first;
        self.blocks.push(Block { nodes, deadlines: None });
        assert!(self.blocks.len() * BLOCK_NODES < NONE as usize, "a shard holds fewer than 2^32 tickets");
    }

    /// Nodes that exist, free or not: indices are below it.
    pub(crate) fn bound(&self) -> u32 {
        (self.blocks.len() * BLOCK_NODES) as u32
    }

    /// Nodes that are not free.
    #[cfg(test)]
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn bytes(&self) -> usize {
        let with_deadlines = self.blocks.iter().filter(|block| block.deadlines.is_some()).count();
        self.finder.bytes()
            + self.blocks.len() * BLOCK_NODES * size_of::<Node>()
            + with_deadlines * BLOCK_NODES * size_of::<u32>()
            + self.blocks.capacity() * size_of::<Block>()
    }
}

impl Index<u32> for Store {
    type Output = Node;

    fn index(&self, index: u32) -> &Node {
        node_in(&self.blocks, index)
    }
}

fn node_in(blocks: &[Block], index: u32) -> &Node {
    &blocks[index as usize / BLOCK_NODES].nodes[index as usize % BLOCK_NODES]
}

impl IndexMut<u32> for Store {
    fn index_mut(&mut self, index: u32) -> &mut Node {
        &mut self.blocks[index as usize / BLOCK_NODES].nodes[index as usize % BLOCK_NODES]
    }
}

/// A list of nodes, first in, first out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE };

    pub(crate) const fn is_empty(self) -> bool {
        self.head == NONE
    }

    pub(crate) const fn front(self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    pub(crate) fn push_back(&mut self, store: &mut Store, index: u32) {
        store[index].next = NONE;
        if self.is_empty() {
            self.head = index;
        } else {
            store[self.tail].next = index;
        }
        self.tail = index;
    }

    pub(crate) fn push_front(&mut self, store: &mut Store, index: u32) {
        store[index].next = self.head;
        if self.is_empty() {
            self.tail = index;
        }
        self.head = index;
    }

    pub(crate) fn pop_front(&mut self, store: &Store) -> Option<u32> {
        let index = self.front()?;
        self.head = store[index].next;
        if self.is_empty() {
            self.tail = NONE;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(id: u64) -> Ticket {
        Ticket { id: RecipientId::from_raw(id), expiry: 7, deadline: 8, attempts: 9, class: Class::Personal }
    }

    #[test]
    fn a_node_gives_back_what_was_laid_down() {
        let mut store = Store::new(UnixMs(0));
        let index = store.insert(ticket(u64::MAX), State::Held, 5, TICK_MAX);
        let node = &store[index];
        assert_eq!(store.ticket(index), ticket(u64::MAX));
        assert_eq!((node.state(), node.place, node.when()), (State::Held, 5, TICK_MAX));
    }

    #[test]
    fn a_deadline_does_not_outlive_its_ticket() {
        let mut store = Store::new(UnixMs(0));
        let none = Ticket { deadline: 0, ..ticket(1) };
        let kept = store.insert(none, State::Held, 0, 0);
        let bytes = store.bytes();
        let urgent = store.insert(ticket(2), State::Held, 0, 0);
        assert_eq!((store.ticket(kept), store.ticket(urgent)), (none, ticket(2)));
        assert_eq!(store.bytes(), bytes + BLOCK_NODES * 4);
        store.remove(urgent);
        let again = store.insert(none, State::Held, 0, 0);
        assert_eq!((again, store.ticket(again)), (urgent, none));
    }

    #[test]
    fn lists_are_first_in_first_out_and_freed_nodes_are_used_again() {
        let mut store = Store::new(UnixMs(0));
        let mut list = List::EMPTY;
        for id in 0..100_000 {
            let index = store.insert(ticket(id), State::Ready, 0, 0);
            list.push_back(&mut store, index);
        }
        let bound = store.bound();
        for id in 0..100_000 {
            let index = list.pop_front(&store).expect("the list holds it");
            assert_eq!(store[index].raw_id(), id);
            store.remove(index);
            let again = store.insert(ticket(id + 100_000), State::Ready, 0, 0);
            list.push_back(&mut store, again);
        }
        assert_eq!(store.bound(), bound);
        while let Some(index) = list.pop_front(&store) {
            store.remove(index);
        }
        assert_eq!((store.bytes(), list), (0, List::EMPTY));
    }

    #[test]
    fn moments_outside_the_life_of_the_queue_are_drawn_to_its_ends() {
        let store = Store::new(UnixMs(1_700_000_000_001));
        assert_eq!(store.tick(UnixMs(0)), 0);
        assert_eq!(store.tick(UnixMs::NEVER), TICK_MAX);
        assert_eq!(store.moment(store.tick(UnixMs(1_700_000_000_008))), UnixMs(1_700_000_000_008));
    }
}
