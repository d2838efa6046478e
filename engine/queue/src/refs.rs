//! Lists of nodes and of when their time comes, thirty-one to a chunk: they are filled and emptied in order, so that a node that is
//! moved from list to list need not be looked at. It refuses to know what a moment means.

use crate::chunks::{self, Chunks};
use crate::slab::NONE;

/// Entries of a chunk: four cache lines with its link.
const CHUNK_ENTRIES: usize = 31;
/// Chunks of one block: 32 KiB, so that growth never copies.
const BLOCK_CHUNKS: usize = 128;

/// A node, and the lower half of the tick it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ref {
    pub(crate) node: u32,
    pub(crate) when_low: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Chunk {
    entries: [Ref; CHUNK_ENTRIES],
    /// The next one of its list, or of the free ones.
    next: u32,
    /// Fills the last cache line.
    spare: u32,
}

const _: () = assert!(size_of::<Chunk>() == 256, "a chunk is four cache lines");

impl chunks::Chunk for Chunk {
    fn empty(next: u32) -> Self {
        Self { entries: [Ref::default(); CHUNK_ENTRIES], next, spare: 0 }
    }

    fn next(&self) -> u32 {
        self.next
    }

    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

/// The chunks of all lists.
pub(crate) type Refs = Chunks<Chunk, BLOCK_CHUNKS>;

/// A list, first in, first out. An empty one has no chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefList {
    first: u32,
    last: u32,
    /// Entries of the first chunk that have been taken out.
    start: u32,
    count: u32,
}

impl RefList {
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE, start: 0, count: 0 };

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn push(&mut self, refs: &mut Refs, entry: Ref) {
        let slot = (self.start + self.count) as usize % CHUNK_ENTRIES;
        if self.count == 0 {
            (self.first, self.start) = (refs.take(), 0);
            self.last = self.first;
            refs.get_mut(self.last).entries[0] = entry;
        } else {
            if slot == 0 {
                let chunk = refs.take();
                refs.get_mut(self.last).next = chunk;
                self.last = chunk;
            }
            refs.get_mut(self.last).entries[slot] = entry;
        }
        self.count += 1;
    }

    /// Takes out the first entries of a list that is not empty: those of one chunk, up to `max`. How many.
    pub(crate) fn pop(&mut self, refs: &mut Refs, max: usize, out: &mut Batch) -> usize {
        let start = self.start as usize;
        let count = (CHUNK_ENTRIES - start).min(self.count as usize).min(max);
        let chunk = refs.get(self.first);
        out[..count].copy_from_slice(&chunk.entries[start..start + count]);
        let next = chunk.next;
        self.start += count as u32;
        self.count -= count as u32;
        if self.count == 0 || self.start as usize == CHUNK_ENTRIES {
            refs.give(self.first);
            (self.first, self.start) = (next, 0);
        }
        count
    }
}

/// Room for what one [`RefList::pop`] takes out.
pub(crate) type Batch = [Ref; CHUNK_ENTRIES];

/// Room with nothing in it.
pub(crate) const NO_BATCH: Batch = [Ref { node: NONE, when_low: 0 }; CHUNK_ENTRIES];

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_hold_what_plain_queues_hold(acts in prop::collection::vec((0_usize..3, 0_usize..70), 1..3000)) {
            let mut refs = Refs::new();
            let (mut lists, mut models) = ([RefList::EMPTY; 3], [const { VecDeque::new() }; 3]);
            let mut out = NO_BATCH;
            for (node, (line, act)) in (0_u32..).zip(acts) {
                let entry = Ref { node, when_low: node ^ 7 };
                if act < 66 {
                    lists[line].push(&mut refs, entry);
                    models[line].push_back(entry);
                } else if !lists[line].is_empty() {
                    let count = lists[line].pop(&mut refs, act * 7 - 450, &mut out);
                    prop_assert!(count > 0);
                    prop_assert!(out[..count].iter().copied().eq(models[line].drain(..count)));
                }
                prop_assert_eq!(lists[line].is_empty(), models[line].is_empty());
            }
            for (mut list, mut model) in lists.into_iter().zip(models) {
                while !list.is_empty() {
                    let count = list.pop(&mut refs, usize::MAX, &mut out);
                    prop_assert!(out[..count].iter().copied().eq(model.drain(..count)));
                }
            }
            prop_assert_eq!(refs.taken(), 0);
        }
    }

    #[test]
    fn what_was_large_is_given_back_when_it_is_empty() {
        let (mut refs, mut list) = (Refs::new(), RefList::EMPTY);
        (0..100_000).for_each(|node| list.push(&mut refs, Ref { node, when_low: 0 }));
        assert!(refs.bytes() <= 100_000 * 8 + 60_000, "{}", refs.bytes());
        while !list.is_empty() {
            list.pop(&mut refs, 100, &mut NO_BATCH.clone());
        }
        assert_eq!(refs.bytes(), 0);
    }
}
