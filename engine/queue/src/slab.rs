//! A table whose rows keep their index while they live and leave it to later rows. It refuses to search.

use std::ops::{Index, IndexMut};

use rustc_hash::FxHashMap;

/// Rows that an empty table keeps.
const ROWS_KEPT: usize = 1024;

/// Entries for which an empty map keeps its room.
const ENTRIES_KEPT: usize = 1024;

/// Gives the room of a map back that has become empty after it was large.
pub(crate) fn tidy<K, V>(map: &mut FxHashMap<K, V>) {
    if map.is_empty() && map.capacity() > 2 * ENTRIES_KEPT {
        *map = FxHashMap::default();
    }
}

/// No row.
pub(crate) const NONE: u32 = u32::MAX;

/// Rows by index; indexing a row that is not there is a fault of ours and panics.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    rows: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { rows: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, row: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.rows[index as usize] = Some(row);
            return index;
        }
        let index = u32::try_from(self.rows.len()).expect("fewer than 2^32 rows exist");
        self.rows.push(Some(row));
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> T {
        let row = self.rows[index as usize].take().expect("a removed row was there");
        self.free.push(index);
        if self.free.len() == self.rows.len() && self.rows.len() > ROWS_KEPT {
            self.rows = Vec::new();
            self.free = Vec::new();
        }
        row
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.rows.get(index as usize)?.as_ref()
    }

    /// Rows that live.
    pub(crate) fn count(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Rows that live or have lived: indices are below it.
    pub(crate) fn bound(&self) -> u32 {
        self.rows.len() as u32
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.rows.iter().zip(0_u32..).filter_map(|(row, index)| Some((index, row.as_ref()?)))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Option<T>>() + self.free.capacity() * size_of::<u32>()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.rows[index as usize].as_ref().expect("an index names a row that lives")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.rows[index as usize].as_mut().expect("an index names a row that lives")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_used_again_and_an_empty_table_owns_little() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), 'a');
        assert_eq!((slab.get(a), slab.get(b)), (None, Some(&'b')));
        assert_eq!(slab.insert('c'), a);
        assert_eq!(slab.iter().map(|(_, &c)| c).collect::<String>(), "cb");
        slab.remove(a);
        slab.remove(b);
        (0..5000).for_each(|_| _ = slab.insert('d'));
        assert!(slab.bytes() > 5000 * size_of::<char>());
        (0..5000).for_each(|index| _ = slab.remove(index));
        assert_eq!((slab.count(), slab.bytes()), (0, 0));
    }
}
