//! A map that never grows beyond its limit: when it is full, the least recently used of a few entries makes room.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// How many entries are looked at for the one to forget. Eight find one among the oldest eighth in two of three cases, at a
/// cost that does not grow with the table.
const LOOKED_AT: usize = 8;

/// A map of at most `limit` entries. It allocates as it fills, and iterates in an order that depends on its use only.
#[derive(Clone, Debug)]
pub(crate) struct Bounded<K, V> {
    places: FxHashMap<K, usize>,
    entries: Vec<Entry<K, V>>,
    limit: usize,
    uses: u64,
    hand: usize,
}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used: u64,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    /// An empty map for at most `limit` entries, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self { places: FxHashMap::default(), entries: Vec::new(), limit: limit.max(1), uses: 0, hand: 0 }
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.places.get(key).map(|&place| &self.entries[place].value)
    }

    /// The value of `key`, which counts as used.
    pub(crate) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        self.uses += 1;
        let &place = self.places.get(key)?;
        let entry = &mut self.entries[place];
        entry.used = self.uses;
        Some(&mut entry.value)
    }

    /// The value of `key`, made by `new` when there is none.
    pub(crate) fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let place = match self.places.get(&key) {
            Some(&place) => place,
            None => self.add(key, new()),
        };
        self.uses += 1;
        let entry = &mut self.entries[place];
        entry.used = self.uses;
        &mut entry.value
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.find_mut(&key) {
            Some(there) => *there = value,
            None => drop(self.add(key, value)),
        }
    }

    fn add(&mut self, key: K, value: V) -> usize {
        self.uses += 1;
        if self.entries.len() >= self.limit {
            self.make_room();
        }
        self.entries.push(Entry { key, value, used: self.uses });
        self.places.insert(key, self.entries.len() - 1);
        self.entries.len() - 1
    }

    fn make_room(&mut self) {
        let count = self.entries.len();
        let looked_at = (0..LOOKED_AT.min(count)).map(|step| (self.hand + step) % count);
        let oldest = looked_at.min_by_key(|&place| self.entries[place].used);
        self.hand = (self.hand + LOOKED_AT) % count;
        if let Some(place) = oldest {
            let key = self.entries[place].key;
            self.remove(&key);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        let entry = self.entries.swap_remove(place);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.key, place);
        }
        Some(entry.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.value))
    }

    /// The entries from `cursor` on, at most `most` of them, and where the next walk goes on. For work that is spread over ticks.
    pub(crate) fn walk(&mut self, cursor: usize, most: usize) -> (impl Iterator<Item = (&K, &mut V)>, usize) {
        let count = self.entries.len();
        let from = if cursor < count { cursor } else { 0 };
        let to = from.saturating_add(most).min(count);
        let next = if to < count { to } else { 0 };
        (self.entries[from..to].iter_mut().map(|entry| (&entry.key, &mut entry.value)), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut map = Bounded::new(64);
        for key in 0..10_000_u32 {
            map.insert(key, key);
            assert_eq!(map.find_mut(&0).copied(), Some(0), "used each time, so never forgotten");
        }
        assert_eq!(map.count(), 64);
        let recent = map.iter().filter(|&(&key, _)| key > 10_000 - 400).count();
        assert!(recent > 55, "{recent} of 64 are of the last 400");
    }

    #[test]
    fn a_walk_in_parts_sees_everything_once() {
        let mut map = Bounded::new(100);
        (0..57_u32).for_each(|key| map.insert(key, 0));
        let mut cursor = 0;
        for _ in 0..6 {
            let (entries, next) = map.walk(cursor, 10);
            entries.for_each(|(_, seen)| *seen += 1);
            cursor = next;
        }
        assert!(map.iter().all(|(_, &seen)| seen == 1) && cursor == 0);
    }

    proptest! {
        #[test]
        fn it_never_exceeds_its_limit_and_finds_what_it_holds(
            limit in 1_usize..20, steps in proptest::collection::vec((0_u32..50, 0_u8..3), 1..300),
        ) {
            let mut map = Bounded::new(limit);
            for (key, what) in steps {
                match what {
                    0 => map.insert(key, key),
                    1 => drop(map.remove(&key)),
                    _ => *map.entry(key, || key) = key,
                }
                prop_assert!(map.count() <= limit);
                prop_assert_eq!(map.get(&key).is_some(), what != 1);
                for (key, value) in map.iter() {
                    prop_assert_eq!((key, map.get(key)), (value, Some(value)));
                }
            }
        }
    }
}
