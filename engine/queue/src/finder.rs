//! Which node holds which recipient: a hash table that has nothing but the numbers of the nodes. It refuses to know nodes.
//!
//! Four bytes an entry and a fifth to a quarter of that in gaps; four bits of an entry are of its hash, so that a search looks at
//! few of the nodes that it passes. The table is many small pages, so that growing is never the work of more than one of
//! them: a page that is full is stretched (its entries keep their order, gaps come between them, nobody asks for their
//! hashes), and every so many entries the next page in turn is split in two (linear hashing). Neighbours in the spool
//! share a page. An entry lies at the first free place from its home on; `reach` says how far from home a page has
//! anybody, so that what is not there is not looked for further. Nothing is moved when an entry goes.

use std::hint::black_box;

use crate::slab::NONE;

/// Entries of a page, on average over all, at most; a page that waits to be split has twice as many, and some have several times
/// as many, because neighbours are not parted.
const PAGE_ENTRIES: usize = 512;
/// Places of a page when it gets its first entry.
const PLACES_MIN: usize = 16;
/// Entries that are added or taken out together: about as many as a processor fetches at the same time.
const BATCH: usize = 16;

/// Numbers of nodes are below this; the bits above are of the hash.
pub(crate) const NODES_MAX: u32 = 1 << NODE_BITS;
const NODE_BITS: u32 = 28;

/// Bits of an identifier, which is a place in the spool in bytes, that do not choose the page: a mebibyte of it, so of the recipients
/// that came after each other a few hundred to a few thousand. They are added one after the other and mostly leave so,
/// and meanwhile their page is in the processor's cache.
const NEIGHBOUR_BITS: u32 = 20;

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash {
    /// Says which page: the same for neighbours.
    neighbours: u32,
    /// Says which place.
    own: u64,
}

impl Hash {
    /// Identifiers count up in steps, so every bit of them is spread over all others.
    pub(crate) const fn of(id: u64) -> Self {
        Self { neighbours: mixed(id >> NEIGHBOUR_BITS) as u32, own: mixed(id) }
    }

    /// What the table writes down for a node with this hash: bits of the hash that say nothing of page and home, and the node.
    const fn entry(self, node: u32) -> u32 {
        (self.own as u32 & !(NODES_MAX - 1)) | node
    }

    /// The page among `count`.
    const fn page(self, count: usize) -> usize {
        let all = count.next_power_of_two();
        let page = self.neighbours as usize & (all - 1);
        if page < count { page } else { page - all / 2 }
    }

    /// The place at which it belongs among `count`: the order of places is the order of the upper halves of hashes.
    const fn home(self, count: usize) -> usize {
        (((self.own >> 32) * count as u64) >> 32) as usize
    }
}

const fn mixed(id: u64) -> u64 {
    let mixed = (id ^ (id >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 32)
}

const fn node_of(entry: u32) -> u32 {
    entry & (NODES_MAX - 1)
}

/// A part of the table.
#[derive(Debug, Default)]
struct Page {
    /// What [`Hash::entry`] makes of nodes, and [`NONE`] where a place is free; after the last place comes the first.
    places: Box<[u32]>,
    entries: u32,
    /// How far behind its home an entry lies, at most.
    reach: u32,
}

impl Page {
    fn with_room_for(entries: usize) -> Self {
        let places = vec![NONE; (entries + entries / 4).max(PLACES_MIN)].into_boxed_slice();
        Self { places, entries: 0, reach: 0 }
    }

    /// The first place from the home of `hash` on, up to `reach` behind it, that has what is wanted; and how far
    /// behind it is.
    fn seek(
        &self,
        hash: Hash,
        reach: usize,
        mut is_wanted: impl FnMut(u32) -> bool,
    ) -> Option<(usize, usize)> {
        let count = self.places.len();
        let mut place = if count == 0 { 0 } else { hash.home(count) };
        for distance in 0..count.min(reach + 1) {
            if is_wanted(self.places[place]) {
                return Some((place, distance));
            }
            place = if place + 1 == count { 0 } else { place + 1 };
        }
        None
    }

    fn insert(&mut self, hash: Hash, node: u32) {
        if self.entries as usize * 8 >= self.places.len() * 7 {
            self.stretch();
        }
        let free = self.seek(hash, self.places.len(), |entry| entry == NONE);
        let (place, distance) = free.expect("a page has free places");
        self.places[place] = hash.entry(node);
        self.entries += 1;
        self.reach = self.reach.max(distance as u32);
    }

    /// Makes room for an eighth more. With the table the home of every entry moves; it is now at `old × more / count`,
    /// rounded down, for some `old` in the unit that began at its old home. An entry that lay there or behind
    /// still does when it moves to the last place to which its own unit leads.
    fn stretch(&mut self) {
        let count = self.places.len();
        let more = (count + count / 8).max(PLACES_MIN);
        let mut places = vec![NONE; more].into_boxed_slice();
        for (place, &entry) in self.places.iter().enumerate() {
            places[((place + 1) * more).div_ceil(count) - 1] = entry;
        }
        self.places = places;
        self.reach = (self.reach as usize + 1).saturating_mul(more).div_ceil(count.max(1)).min(more) as u32;
    }

    fn remove(&mut self, hash: Hash, node: u32) {
        let entry = hash.entry(node);
        let place = self.seek(hash, self.reach as usize, |other| other == entry);
        let (place, _) = place.expect("a node that is taken is in the finder");
        self.places[place] = NONE;
        self.entries -= 1;
    }

    /// Whether it is large and most of its room is left from neighbours that have gone.
    const fn is_sparse(&self) -> bool {
        self.places.len() > 2 * PAGE_ENTRIES && (self.entries as usize) * 5 < self.places.len() * 2
    }

    /// The same in less room, but enough for an ordinary page. More have gone since it was as large than must be asked for
    /// their hashes.
    fn shrunk(&self, hash_of: impl Fn(u32) -> Hash) -> Self {
        let mut page = Self::with_room_for(PAGE_ENTRIES.max(self.entries as usize));
        for node in self.nodes() {
            page.insert(hash_of(node), node);
        }
        page
    }

    fn nodes(&self) -> impl Iterator<Item = u32> {
        self.places.iter().filter(|&&entry| entry != NONE).map(|&entry| node_of(entry))
    }

    fn find(&self, hash: Hash, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let is_it = |entry| entry != NONE && entry == hash.entry(node_of(entry)) && is_it(node_of(entry));
        self.seek(hash, self.reach as usize, is_it).map(|(place, _)| node_of(self.places[place]))
    }
}

/// Entries on their way into the table or out of it.
#[derive(Debug)]
struct Batch {
    nodes: [u32; BATCH],
    hashes: [Hash; BATCH],
    count: usize,
}

impl Batch {
    const EMPTY: Self =
        Self { nodes: [NONE; BATCH], hashes: [Hash { neighbours: 0, own: 0 }; BATCH], count: 0 };

    const fn is_full(&self) -> bool {
        self.count == BATCH
    }

    const fn push(&mut self, hash: Hash, node: u32) {
        self.nodes[self.count] = node;
        self.hashes[self.count] = hash;
        self.count += 1;
    }

    /// Takes a node out; false when it is not there.
    fn remove(&mut self, node: u32) -> bool {
        let slot = self.nodes[..self.count].iter().position(|&other| other == node);
        let Some(slot) = slot else { return false };
        self.count -= 1;
        self.nodes[slot] = self.nodes[self.count];
        self.hashes[slot] = self.hashes[self.count];
        true
    }

    fn holds(&self, hash: Hash, node: u32) -> bool {
        self.entries().any(|(other, going)| going == node && other == hash)
    }

    fn entries(&self) -> impl Iterator<Item = (Hash, u32)> {
        self.hashes.iter().copied().zip(self.nodes.iter().copied()).take(self.count)
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Finder {
    pages: Vec<Page>,
    /// Places of all pages.
    places: usize,
    entries: usize,
    /// What is to be added. Table and batches change in bursts, so that the memory of many entries is fetched at the same
    /// time: one by one, each would wait for its own.
    coming: Batch,
    /// What is to be taken out, before anything is added: its node may be among what comes.
    going: Batch,
}

impl Finder {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), places: 0, entries: 0, coming: Batch::EMPTY, going: Batch::EMPTY }
    }

    /// Adds a node. `hash_of` is asked for the hashes of a thousand or two nodes when a page is split.
    pub(crate) fn insert(&mut self, hash: Hash, node: u32, hash_of: impl Fn(u32) -> Hash) {
        if self.coming.is_full() {
            self.take_out();
            self.add(hash_of);
        }
        self.coming.push(hash, node);
    }

    /// Takes out a node that was added with this hash.
    pub(crate) fn remove(&mut self, hash: Hash, node: u32) {
        if self.coming.remove(node) {
            return;
        }
        if self.going.is_full() {
            self.take_out();
        }
        self.going.push(hash, node);
    }

    /// A node with this hash of which `is_it` says so; it is asked of others too.
    pub(crate) fn find(&self, hash: Hash, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let coming = self.coming.entries().map(|(_, node)| node).find(|&node| is_it(node));
        let is_it = |node| !self.going.holds(hash, node) && is_it(node);
        coming.or_else(|| self.pages.get(hash.page(self.pages.len()))?.find(hash, is_it))
    }

    fn take_out(&mut self) {
        self.touch(&self.going);
        for (hash, node) in self.going.entries() {
            let page = hash.page(self.pages.len());
            self.pages[page].remove(hash, node);
        }
        self.entries -= self.going.count;
        self.going.count = 0;
    }

    fn add(&mut self, hash_of: impl Fn(u32) -> Hash) {
        if self.entries + BATCH > self.pages.len() * PAGE_ENTRIES {
            self.split(&hash_of);
        }
        self.touch(&self.coming);
        for (hash, node) in self.coming.entries() {
            let page = hash.page(self.pages.len());
            let page = &mut self.pages[page];
            let before = page.places.len();
            if page.is_sparse() {
                *page = page.shrunk(&hash_of);
            }
            page.insert(hash, node);
            self.places = self.places + page.places.len() - before;
        }
        self.entries += self.coming.count;
        self.coming.count = 0;
    }

    /// Brings the homes of all entries into the processor's cache: no look waits for the one before it.
    fn touch(&self, batch: &Batch) {
        for (hash, _) in batch.entries() {
            if let Some(page) = self.pages.get(hash.page(self.pages.len())) {
                black_box(page.places.get(hash.home(page.places.len())).copied());
            }
        }
    }

    /// Makes one more page of the one whose turn it is.
    fn split(&mut self, hash_of: impl Fn(u32) -> Hash) {
        let count = self.pages.len();
        if count == 0 {
            return self.pages.push(Page::default());
        }
        let old = std::mem::take(&mut self.pages[count - (count + 1).next_power_of_two() / 2]);
        let hashed: Vec<(Hash, u32)> = old.nodes().map(|node| (hash_of(node), node)).collect();
        let moves = |(hash, _): &&(Hash, u32)| hash.page(count + 1) == count;
        let moving = hashed.iter().filter(moves).count();
        let [mut stays, mut goes] = [hashed.len() - moving, moving].map(Page::with_room_for);
        for entry in &hashed {
            let page = if moves(&entry) { &mut goes } else { &mut stays };
            page.insert(entry.0, entry.1);
        }
        self.places = self.places + stays.places.len() + goes.places.len() - old.places.len();
        self.pages[count - (count + 1).next_power_of_two() / 2] = stays;
        self.pages.push(goes);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.places * size_of::<u32>() + self.pages.capacity() * size_of::<Page>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn hash_of(node: u32) -> Hash {
        Hash::of(u64::from(node) * 4096)
    }

    fn insert(finder: &mut Finder, node: u32) {
        finder.insert(hash_of(node), node, hash_of);
    }

    fn holds(finder: &Finder, node: u32) -> bool {
        finder.find(hash_of(node), |other| other == node).is_some()
    }

    #[test]
    fn many_entries_are_found_in_five_bytes_each() {
        let mut finder = Finder::new();
        for node in 0..200_000 {
            insert(&mut finder, node);
            if node > 10_000 && node % 1000 == 0 {
                let each = finder.bytes() as f64 / f64::from(node);
                assert!(each <= 5.3, "{each} bytes each of {node}");
            }
        }
        assert!((0..200_000).all(|node| holds(&finder, node)));
        assert!((200_000..300_000).all(|node| !holds(&finder, node)));
        let reach = finder.pages.iter().map(|page| page.reach).max();
        assert!(reach <= Some(2500), "{reach:?}");
        assert!(finder.pages.iter().all(|page| page.entries < 6 * PAGE_ENTRIES as u32));
    }

    #[test]
    fn coming_and_going_neither_fills_it_nor_spoils_it() {
        let mut finder = Finder::new();
        (0..100_000).for_each(|node| insert(&mut finder, node));
        let bytes = finder.bytes();
        for node in 0..200_000 {
            finder.remove(hash_of(node), node);
            insert(&mut finder, node + 100_000);
        }
        assert!(finder.bytes() <= 2 * bytes, "{} after {bytes}", finder.bytes());
        assert!((200_000..300_000).all(|node| holds(&finder, node)));
        (200_000..300_000).for_each(|node| finder.remove(hash_of(node), node));
        assert_eq!(finder.entries + finder.coming.count, finder.going.count);
    }

    #[test]
    fn a_pair_with_one_hash_is_told_apart() {
        let mut finder = Finder::new();
        for node in [7, 8] {
            finder.insert(Hash::of(1), node, |_| Hash::of(1));
        }
        finder.remove(Hash::of(1), 7);
        assert_eq!(finder.find(Hash::of(1), |_| true), Some(8));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_a_map_holds(acts in prop::collection::vec((any::<bool>(), 0_u32..5000), 1..8000)) {
            let (mut finder, mut map) = (Finder::new(), HashMap::new());
            for (comes, node) in acts {
                match (comes, map.contains_key(&node)) {
                    (true, false) => {
                        insert(&mut finder, node);
                        map.insert(node, ());
                    }
                    (false, true) => {
                        finder.remove(hash_of(node), node);
                        map.remove(&node);
                    }
                    _ => {}
                }
            }
            for node in 0..5000 {
                prop_assert_eq!(holds(&finder, node), map.contains_key(&node));
            }
        }
    }
}
