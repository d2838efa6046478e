//! Where tickets lie while they wait: 24 bytes each (28 in blocks where one has a deadline), ten to a chunk of four cache lines,
//! and found by their identifiers for five bytes more. A line has chunks of its own and fills them in its order, so that
//! what leaves one after the other lies side by side; what waits for different moments shares chunks. It
//! refuses to know why they wait.

use std::hint::black_box;
use std::ops::{Index, IndexMut};

use mail::{Class, RecipientId, UnixMs};

use crate::Ticket;
use crate::chunks::{self, Chunks};
use crate::finder::{Finder, Hash, NODES_MAX};
use crate::slab::NONE;

/// Nodes of a chunk: four cache lines with what the chunk itself needs.
const CHUNK_NODES: u32 = 10;
/// Bits of an index that are the place within the chunk.
const SLOT_BITS: u32 = 4;
/// Chunks of one block: 512 KiB, so that growth never copies and never asks for much at once, and so that where the blocks of
/// ten million lie fits into the nearest cache.
const BLOCK_CHUNKS: usize = 2048;
/// Chunks that may be taken before lines get no more: ten million places are left for what lies alone.
const TAKEN_MAX: usize = (NODES_MAX >> SLOT_BITS) as usize - (1 << 20);
/// All places of a chunk are free.
const ALL_FREE: u16 = (1 << CHUNK_NODES) - 1;

/// Milliseconds since the queue was made. Five bytes hold 34 years of them.
pub(crate) type Tick = u64;

/// The last tick a node can hold.
pub(crate) const TICK_MAX: Tick = (1 << 40) - 1;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Nobody is there.
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
    /// In halves: its words need no more than theirs.
    id: [u32; 2],
    expiry: u32,
    /// What `state` says.
    pub(crate) place: u32,
    when_low: u32,
    attempts: u16,
    when_high: u8,
    /// Class in the lower four bits, state in the upper.
    tag: u8,
}

const _: () = assert!(size_of::<Node>() == 24, "a node is exactly 24 bytes");

impl Node {
    fn new(ticket: Ticket, stay: Stay) -> Self {
        let when = stay.when.min(TICK_MAX);
        Self {
            id: [ticket.id.raw() as u32, (ticket.id.raw() >> 32) as u32],
            expiry: ticket.expiry,
            place: stay.place,
            when_low: when as u32,
            attempts: ticket.attempts,
            when_high: (when >> 32) as u8,
            tag: ticket.class as u8 | ((stay.state as u8) << 4),
        }
    }

    pub(crate) fn when(&self) -> Tick {
        u64::from(self.when_low) | (u64::from(self.when_high) << 32)
    }

    pub(crate) fn stay(&self) -> Stay {
        Stay { state: self.state(), place: self.place, when: self.when() }
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

/// Nodes side by side. A chunk is free, or belongs to a [`List`], or is shared by nodes that come and go one by one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Chunk {
    nodes: [Node; CHUNK_NODES as usize],
    /// The next one of the list it belongs to, of the shared ones that have room, or of the free ones.
    next: u32,
    /// The one before, among shared ones that have room.
    previous: u32,
    /// Which places of a shared one are free.
    room: u16,
    /// Fills the last cache line.
    spare: [u16; 3],
}

const _: () = assert!(size_of::<Chunk>() == 256, "a chunk is four cache lines");

impl chunks::Chunk for Chunk {
    fn empty(next: u32) -> Self {
        let nobody =
            Ticket { id: RecipientId::default(), expiry: 0, deadline: 0, attempts: 0, class: Class::Bulk };
        let nodes =
            [Node::new(nobody, Stay { state: State::Free, place: NONE, when: 0 }); CHUNK_NODES as usize];
        Self { nodes, next, previous: NONE, room: ALL_FREE, spare: [0; 3] }
    }

    fn next(&self) -> u32 {
        self.next
    }

    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

/// The deadlines of one block of nodes; made when the first ticket comes that has one, which few have.
type Deadlines = Option<Box<[u32]>>;

/// Why and since or until when a ticket waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    pub(crate) state: State,
    /// What `state` says.
    pub(crate) place: u32,
    pub(crate) when: Tick,
}

/// All nodes, in chunks, in blocks.
#[derive(Debug)]
pub(crate) struct Store {
    origin: UnixMs,
    chunks: Chunks<Chunk, BLOCK_CHUNKS>,
    /// Beside the blocks of `chunks`.
    deadlines: Vec<Deadlines>,
    finder: Finder,
    /// The first shared chunk that has room.
    shared: u32,
    /// [`TAKEN_MAX`]; fewer in tests.
    taken_max: usize,
}

impl Store {
    /// No nodes. Ticks count from `origin`.
    pub(crate) const fn new(origin: UnixMs) -> Self {
        Self {
            origin,
            chunks: Chunks::new(),
            deadlines: Vec::new(),
            finder: Finder::new(),
            shared: NONE,
            taken_max: TAKEN_MAX,
        }
    }

    /// The tick of `moment`: that of the origin when it lies before, the last one when it lies beyond.
    pub(crate) fn tick(&self, moment: UnixMs) -> Tick {
        moment.0.saturating_sub(self.origin.0).min(TICK_MAX)
    }

    /// The moment of `tick`.
    pub(crate) fn moment(&self, tick: Tick) -> UnixMs {
        UnixMs(self.origin.0.saturating_add(tick))
    }

    /// Lays down a ticket that belongs to no [`List`]; [`Store::remove`] takes it up.
    pub(crate) fn insert(&mut self, ticket: Ticket, stay: Stay) -> u32 {
        if self.shared == NONE {
            let chunk = self.take_chunk();
            self.chunks.get_mut(chunk).room = ALL_FREE;
            self.share(chunk);
        }
        let number = self.shared;
        let chunk = self.chunks.get_mut(number);
        let slot = chunk.room.trailing_zeros();
        chunk.room &= !(1 << slot);
        if chunk.room == 0 {
            self.unshare(number);
        }
        let index = (number << SLOT_BITS) | slot;
        self.lay(index, ticket, stay);
        index
    }

    /// Takes up a ticket that [`Store::insert`] laid down.
    pub(crate) fn remove(&mut self, index: u32) -> Ticket {
        let ticket = self.lift(index);
        let (number, slot) = (index >> SLOT_BITS, index & ((1 << SLOT_BITS) - 1));
        let chunk = self.chunks.get_mut(number);
        let was_full = chunk.room == 0;
        chunk.room |= 1 << slot;
        let is_empty = chunk.room == ALL_FREE;
        match (was_full, is_empty) {
            (true, _) => self.share(number),
            (false, true) => {
                self.unshare(number);
                self.give_chunk(number);
            }
            (false, false) => {}
        }
        ticket
    }

    /// Puts a chunk before the shared ones that have room.
    fn share(&mut self, number: u32) {
        let next = std::mem::replace(&mut self.shared, number);
        let chunk = self.chunks.get_mut(number);
        (chunk.next, chunk.previous) = (next, NONE);
        if next != NONE {
            self.chunks.get_mut(next).previous = number;
        }
    }

    fn unshare(&mut self, number: u32) {
        let Chunk { next, previous, .. } = *self.chunks.get(number);
        match previous {
            NONE => self.shared = next,
            _ => self.chunks.get_mut(previous).next = next,
        }
        if next != NONE {
            self.chunks.get_mut(next).previous = previous;
        }
    }

    /// Lays a ticket down in a place that is its own.
    fn lay(&mut self, index: u32, ticket: Ticket, stay: Stay) {
        self[index] = Node::new(ticket, stay);
        self.set_deadline(index, ticket.deadline);
        let hash_of = |other: u32| Hash::of(node_in(&self.chunks, other).raw_id());
        self.finder.insert(Hash::of(ticket.id.raw()), index, hash_of);
    }

    /// Takes a ticket up; its place is free.
    fn lift(&mut self, index: u32) -> Ticket {
        let ticket = self.ticket(index);
        let node = &mut self[index];
        debug_assert_ne!(node.state(), State::Free, "a node is freed once");
        node.set_state(State::Free);
        self.finder.remove(Hash::of(ticket.id.raw()), index);
        ticket
    }

    /// The ticket that was laid down there.
    pub(crate) fn ticket(&self, index: u32) -> Ticket {
        let node = &self[index];
        let class = Class::from_index(usize::from(node.tag & 0x0f)).expect("a node holds a class");
        Ticket {
            id: RecipientId::from_raw(node.raw_id()),
            expiry: node.expiry,
            deadline: self.deadline(index),
            attempts: node.attempts,
            class,
        }
    }

    fn deadline(&self, index: u32) -> u32 {
        let (block, node) = place_of(index);
        self.deadlines[block].as_ref().map_or(0, |deadlines| deadlines[node])
    }

    fn set_deadline(&mut self, index: u32, deadline: u32) {
        let (block, node) = place_of(index);
        let deadlines = &mut self.deadlines[block];
        if deadline == 0 && deadlines.is_none() {
            return;
        }
        let none = || vec![0; BLOCK_CHUNKS * CHUNK_NODES as usize].into_boxed_slice();
        deadlines.get_or_insert_with(none)[node] = deadline;
    }

    /// The node of a ticket that has not been taken out.
    pub(crate) fn find(&self, id: RecipientId) -> Option<u32> {
        let is_it = |index: u32| {
            let node = &self[index];
            node.raw_id() == id.raw() && !matches!(node.state(), State::Free | State::Dead)
        };
        self.finder.find(Hash::of(id.raw()), is_it)
    }

    /// Brings nodes that are about to be removed into the processor's cache: no look waits for the one before it.
    pub(crate) fn touch(&self, nodes: &[u32]) {
        for &index in nodes {
            black_box((self[index].tag, self.chunks.get(index >> SLOT_BITS).room));
        }
    }

    fn take_chunk(&mut self) -> u32 {
        let number = self.chunks.take();
        let count = self.chunks.count();
        assert!(
            u64::from(count) << SLOT_BITS < NODES_MAX.into(),
            "a shard holds at most 167 million tickets"
        );
        self.deadlines.resize(count as usize / BLOCK_CHUNKS, None);
        number
    }

    /// Takes back a chunk in which nobody is.
    fn give_chunk(&mut self, number: u32) {
        if self.chunks.give(number) {
            *self = Self { taken_max: self.taken_max, ..Self::new(self.origin) };
        }
    }

    /// The places after `index`, and after the last one the first: for walks over everything.
    pub(crate) fn after(&self, index: u32) -> u32 {
        let next = index + 1;
        let next = if next & ((1 << SLOT_BITS) - 1) == CHUNK_NODES {
            ((next >> SLOT_BITS) + 1) << SLOT_BITS
        } else {
            next
        };
        if next >> SLOT_BITS < self.chunks.count() { next } else { 0 }
    }

    /// Places that exist, free or not.
    pub(crate) fn places(&self) -> u32 {
        self.chunks.count() * CHUNK_NODES
    }

    /// Whether only the places are left that are kept for what lies alone.
    pub(crate) const fn is_nearly_full(&self) -> bool {
        self.chunks.taken() >= self.taken_max
    }

    /// Lets it be nearly full with so many chunks.
    #[cfg(test)]
    pub(crate) fn narrow(&mut self, taken_max: usize) {
        self.taken_max = taken_max;
    }

    /// Chunks that are not free.
    #[cfg(test)]
    pub(crate) const fn taken(&self) -> usize {
        self.chunks.taken()
    }

    pub(crate) fn bytes(&self) -> usize {
        let with_deadlines = self.deadlines.iter().flatten().count();
        self.finder.bytes()
            + self.chunks.bytes()
            + with_deadlines * BLOCK_CHUNKS * CHUNK_NODES as usize * size_of::<u32>()
            + self.deadlines.capacity() * size_of::<Deadlines>()
    }
}

/// The block of a node, and which node of the block it is.
const fn place_of(index: u32) -> (usize, usize) {
    let (chunk, slot) = ((index >> SLOT_BITS) as usize, (index & ((1 << SLOT_BITS) - 1)) as usize);
    (chunk / BLOCK_CHUNKS, chunk % BLOCK_CHUNKS * CHUNK_NODES as usize + slot)
}

fn node_in(chunks: &Chunks<Chunk, BLOCK_CHUNKS>, index: u32) -> &Node {
    &chunks.get(index >> SLOT_BITS).nodes[(index & ((1 << SLOT_BITS) - 1)) as usize]
}

impl Index<u32> for Store {
    type Output = Node;

    fn index(&self, index: u32) -> &Node {
        node_in(&self.chunks, index)
    }
}

impl IndexMut<u32> for Store {
    fn index_mut(&mut self, index: u32) -> &mut Node {
        let slot = (index & ((1 << SLOT_BITS) - 1)) as usize;
        &mut self.chunks.get_mut(index >> SLOT_BITS).nodes[slot]
    }
}

/// A line of tickets, first in, first out, in chunks of its own. An empty one has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List {
    /// The first node.
    head: u32,
    /// The place after the last node; it may lie just behind the last place of a chunk.
    end: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NONE, end: NONE };

    pub(crate) const fn is_empty(self) -> bool {
        self.head == NONE
    }

    pub(crate) const fn front(self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    pub(crate) fn push_back(&mut self, store: &mut Store, ticket: Ticket, stay: Stay) -> u32 {
        let index = if self.is_empty() {
            self.head = store.take_chunk() << SLOT_BITS;
            self.head
        } else if is_chunk_end(self.end) {
            let chunk = store.take_chunk();
            store.chunks.get_mut(self.end >> SLOT_BITS).next = chunk;
            chunk << SLOT_BITS
        } else {
            self.end
        };
        self.end = index + 1;
        store.lay(index, ticket, stay);
        index
    }

    pub(crate) fn push_front(&mut self, store: &mut Store, ticket: Ticket, stay: Stay) -> u32 {
        if self.is_empty() {
            return self.push_back(store, ticket, stay);
        }
        self.head = if self.head & ((1 << SLOT_BITS) - 1) > 0 {
            self.head - 1
        } else {
            let chunk = store.take_chunk();
            store.chunks.get_mut(chunk).next = self.head >> SLOT_BITS;
            (chunk << SLOT_BITS) + CHUNK_NODES - 1
        };
        store.lay(self.head, ticket, stay);
        self.head
    }

    pub(crate) fn pop_front(&mut self, store: &mut Store) -> Option<Ticket> {
        let index = self.front()?;
        let ticket = store.lift(index);
        match self.after(store, index) {
            None => *self = Self::EMPTY,
            Some(next) => self.head = next,
        }
        if self.head >> SLOT_BITS != index >> SLOT_BITS {
            store.give_chunk(index >> SLOT_BITS);
            self.look_ahead(store);
        }
        Some(ticket)
    }

    /// The node that stands behind one of this list.
    pub(crate) fn after(self, store: &Store, index: u32) -> Option<u32> {
        let next = index + 1;
        if next == self.end {
            None
        } else if is_chunk_end(next) {
            Some(store.chunks.get(index >> SLOT_BITS).next << SLOT_BITS)
        } else {
            Some(next)
        }
    }

    /// Brings the chunk behind the first one into the processor's cache before anybody asks for what is in it.
    fn look_ahead(self, store: &Store) {
        if self.is_empty() || self.head >> SLOT_BITS == self.end >> SLOT_BITS {
            return;
        }
        let next = store.chunks.get(store.chunks.get(self.head >> SLOT_BITS).next);
        black_box((next.nodes[0].tag, next.nodes[3].tag, next.nodes[6].tag, next.next));
    }
}

/// Whether a place lies just behind the last one of a chunk.
const fn is_chunk_end(index: u32) -> bool {
    index & ((1 << SLOT_BITS) - 1) == CHUNK_NODES
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const HELD: Stay = Stay { state: State::Held, place: 0, when: 0 };

    fn ticket(id: u64) -> Ticket {
        Ticket { id: RecipientId::from_raw(id), expiry: 7, deadline: 8, attempts: 9, class: Class::Personal }
    }

    #[test]
    fn a_node_gives_back_what_was_laid_down() {
        let mut store = Store::new(UnixMs(0));
        let index = store.insert(ticket(u64::MAX), Stay { state: State::Held, place: 5, when: TICK_MAX });
        let node = &store[index];
        assert_eq!(store.ticket(index), ticket(u64::MAX));
        assert_eq!((node.state(), node.place, node.when()), (State::Held, 5, TICK_MAX));
    }

    #[test]
    fn a_deadline_does_not_outlive_its_ticket() {
        let mut store = Store::new(UnixMs(0));
        let none = Ticket { deadline: 0, ..ticket(1) };
        let kept = store.insert(none, HELD);
        let bytes = store.bytes();
        let urgent = store.insert(ticket(2), HELD);
        assert_eq!((store.ticket(kept), store.ticket(urgent)), (none, ticket(2)));
        assert_eq!(store.bytes(), bytes + BLOCK_CHUNKS * CHUNK_NODES as usize * 4);
        store.remove(urgent);
        let again = store.insert(none, HELD);
        assert_eq!((again, store.ticket(again)), (urgent, none));
    }

    #[test]
    fn lists_are_first_in_first_out_and_freed_chunks_are_used_again() {
        let mut store = Store::new(UnixMs(0));
        let mut list = List::EMPTY;
        for id in 0..100_000 {
            list.push_back(&mut store, ticket(id), HELD);
        }
        let places = store.places();
        for id in 0..100_000 {
            assert_eq!(list.pop_front(&mut store), Some(ticket(id)));
            list.push_back(&mut store, ticket(id + 100_000), HELD);
        }
        assert_eq!(store.places(), places);
        while list.pop_front(&mut store).is_some() {}
        assert_eq!((store.bytes(), list), (0, List::EMPTY));
    }

    #[test]
    fn shared_chunks_in_which_nobody_is_left_serve_lists() {
        let mut store = Store::new(UnixMs(0));
        let nodes: Vec<u32> = (0..50_000).map(|id| store.insert(ticket(id), HELD)).collect();
        let places = store.places();
        let kept = store.insert(ticket(50_000), HELD);
        // Every third first, so that many chunks have room before they are empty.
        for first in 0..3 {
            for &node in nodes.iter().skip(first).step_by(3) {
                store.remove(node);
            }
        }
        assert_eq!(store.taken(), 1);
        let mut list = List::EMPTY;
        for id in 0..50_000 {
            list.push_back(&mut store, ticket(id), HELD);
        }
        assert!(store.places() <= places + CHUNK_NODES * BLOCK_CHUNKS as u32);
        assert_eq!(store.remove(kept), ticket(50_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn lists_and_what_lies_alone_hold_what_plain_queues_hold(
            acts in prop::collection::vec((0_usize..3, 0_u8..8), 1..1000)
        ) {
            let mut store = Store::new(UnixMs(0));
            let (mut lists, mut models) = ([List::EMPTY; 3], [const { VecDeque::new() }; 3]);
            let mut alone = Vec::new();
            for (id, (line, act)) in (0_u64..).zip(acts) {
                let (list, model) = (&mut lists[line], &mut models[line]);
                match act {
                    0..=2 => {
                        let node = list.push_back(&mut store, ticket(id), HELD);
                        model.push_back((node, id));
                    }
                    3 => {
                        let node = list.push_front(&mut store, ticket(id), HELD);
                        model.push_front((node, id));
                    }
                    4 | 5 => {
                        let popped = list.pop_front(&mut store);
                        prop_assert_eq!(popped, model.pop_front().map(|(_, id)| ticket(id)));
                    }
                    6 => alone.push((store.insert(ticket(id), HELD), id)),
                    _ if alone.is_empty() => {}
                    _ => {
                        let (node, id) = alone.swap_remove(line % alone.len());
                        prop_assert_eq!(store.remove(node), ticket(id));
                    }
                }
                if id % 16 > 0 {
                    continue;
                }
                let list = lists[line];
                let walked = std::iter::successors(list.front(), |&node| list.after(&store, node));
                prop_assert!(walked.eq(models[line].iter().map(|(node, _)| *node)));
            }
            for (node, id) in models.into_iter().flatten().chain(alone) {
                prop_assert_eq!(store.find(RecipientId::from_raw(id)), Some(node));
                prop_assert_eq!(store.ticket(node), ticket(id));
            }
            let mut found = 0;
            let mut node = 0;
            for _ in 0..store.places() {
                found += u32::from(store[node].state() == State::Held);
                node = store.after(node);
            }
            prop_assert_eq!(node, 0);
            let waiting = (0..1000).filter(|&id| store.find(RecipientId::from_raw(id)).is_some()).count();
            prop_assert_eq!(found as usize, waiting);
        }
    }

    #[test]
    fn moments_outside_the_life_of_the_queue_are_drawn_to_its_ends() {
        let store = Store::new(UnixMs(1_700_000_000_001));
        assert_eq!(store.tick(UnixMs(0)), 0);
        assert_eq!(store.tick(UnixMs::NEVER), TICK_MAX);
        assert_eq!(store.moment(store.tick(UnixMs(1_700_000_000_008))), UnixMs(1_700_000_000_008));
    }
}
