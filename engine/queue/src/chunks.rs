//! Chunks of one kind in blocks that are never copied: taken and given back one by one, the last one given is the next one taken. It
//! refuses to know what is in them.

use crate::slab::NONE;

/// Blocks that are kept when no chunk is taken, so that a queue which runs empty all the time does not make them anew.
const BLOCKS_KEPT: usize = 4;

/// What a chunk must offer.
pub(crate) trait Chunk: Copy {
    /// One with nothing in it, whose link is `next`.
    fn empty(next: u32) -> Self;

    /// The link: the next one of the free chunks, or of whatever list has taken it.
    fn next(&self) -> u32;

    fn set_next(&mut self, next: u32);
}

/// Chunks, `BLOCK` of them to a block.
#[derive(Debug)]
pub(crate) struct Chunks<C, const BLOCK: usize> {
    blocks: Vec<Box<[C]>>,
    /// The first free one.
    free: u32,
    /// Those that are not free.
    taken: usize,
}

impl<C: Chunk, const BLOCK: usize> Chunks<C, BLOCK> {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), free: NONE, taken: 0 }
    }

    pub(crate) fn get(&self, number: u32) -> &C {
        &self.blocks[number as usize / BLOCK][number as usize % BLOCK]
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> &mut C {
        &mut self.blocks[number as usize / BLOCK][number as usize % BLOCK]
    }

    /// Takes one; what is in it is what its last owner left.
    pub(crate) fn take(&mut self) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let number = self.free;
        self.free = self.get(number).next();
        self.taken += 1;
        number
    }

    /// Takes one back. Whether all of them were let go, because none is taken any more and there were many.
    pub(crate) fn give(&mut self, number: u32) -> bool {
        self.taken -= 1;
        if self.taken == 0 && self.blocks.len() > BLOCKS_KEPT {
            *self = Self::new();
            return true;
        }
        let free = std::mem::replace(&mut self.free, number);
        self.get_mut(number).set_next(free);
        false
    }

    fn grow(&mut self) {
        let first = self.count();
        let last = first + BLOCK as u32 - 1;
        let next = |number: u32| if number == last { self.free } else { number + 1 };
        let block = (first..=last).map(|number| C::empty(next(number))).collect();
        self.blocks.push(block);
        self.free = first;
    }

    /// How many there are, free or not.
    pub(crate) const fn count(&self) -> u32 {
        (self.blocks.len() * BLOCK) as u32
    }

    /// How many are not free.
    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<C>() + self.blocks.capacity() * size_of::<Box<[C]>>()
    }
}
