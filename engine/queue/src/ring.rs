//! Rings of those who take equal turns, and who owes turns to the others. They refuse to know what a turn is for.

use crate::slab::{NONE, Slab};

/// Members that have left and still owe turns, remembered per ring, at most: those who owe most.
const DEBTORS_MAX: usize = 32;
/// One round of a ring, in the units of its clock.
const ROUND: u64 = 1 << 20;

/// The neighbours of a member in its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Links {
    next: u32,
    previous: u32,
    /// Turns that it has had ahead of time.
    debt: u32,
}

impl Links {
    /// In no ring.
    pub(crate) const OUTSIDE: Self = Self { next: NONE, previous: NONE, debt: 0 };

    pub(crate) const fn is_outside(self) -> bool {
        self.next == NONE
    }
}

/// Can stand in a ring.
pub(crate) trait Member {
    /// By what its ring knows it when it comes again.
    fn name(&self) -> u64;
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// Somebody who has left a ring before the others had as many turns.
#[derive(Clone, Copy, Debug)]
struct Debtor {
    name: u64,
    /// What the clock of the ring shows when it owes nothing any more.
    even_at: u64,
}

/// Members that take turns, each one recipient long.
#[derive(Debug)]
pub(crate) struct Ring {
    front: u32,
    count: u32,
    /// How often the turn has gone around, in parts of [`ROUND`].
    clock: u64,
    debtors: Debtors,
}

impl Ring {
    pub(crate) const EMPTY: Self = Self { front: NONE, count: 0, clock: 0, debtors: Debtors(None) };

    pub(crate) const fn is_empty(&self) -> bool {
        self.front == NONE
    }

    /// How many take turns.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Whose turn it is.
    pub(crate) const fn front(&self) -> Option<u32> {
        if self.front == NONE { None } else { Some(self.front) }
    }

    /// Whose turn it is; the turn is over with it. Those who have had turns ahead of time are passed over for as many,
    /// so that all of this is paid for by what was served.
    pub(crate) fn take_turn<M: Member>(&mut self, members: &mut Slab<M>) -> Option<u32> {
        loop {
            let index = self.front()?;
            let links = members[index].links_mut();
            self.front = links.next;
            self.clock += ROUND / u64::from(self.count);
            let is_alone = links.next == index;
            if links.debt == 0 || is_alone {
                links.debt = 0;
                return Some(index);
            }
            links.debt -= 1;
        }
    }

    /// Counts a turn that a member has had beyond its own.
    pub(crate) fn owe<M: Member>(members: &mut Slab<M>, index: u32) {
        let links = members[index].links_mut();
        if !links.is_outside() {
            links.debt = links.debt.saturating_add(1);
        }
    }

    /// Takes back a turn that was counted so. `index` is the member, if it is there at all.
    pub(crate) fn forgive<M: Member>(&mut self, members: &mut Slab<M>, index: Option<u32>, name: u64) {
        let member = index.map(|index| members[index].links_mut()).filter(|links| !links.is_outside());
        if let Some(links) = member {
            links.debt = links.debt.saturating_sub(1);
            return;
        }
        self.debtors.forgive(name);
    }

    /// Lets a member in that is in no ring; it waits for one turn of all others, and for as many as it owes from before.
    pub(crate) fn push_back<M: Member>(&mut self, members: &mut Slab<M>, index: u32) {
        debug_assert!(members[index].links().is_outside(), "a member is in one ring at most");
        self.count += 1;
        if self.front == NONE {
            *members[index].links_mut() = Links { next: index, previous: index, debt: 0 };
            self.front = index;
            return;
        }
        let debt = self.debtors.take(self.clock, members[index].name());
        let last = members[self.front].links().previous;
        *members[index].links_mut() = Links { next: self.front, previous: last, debt };
        members[last].links_mut().next = index;
        members[self.front].links_mut().previous = index;
    }

    /// Lets a member of this ring out. While others stay, it owes them what it has had ahead of time.
    pub(crate) fn remove<M: Member>(&mut self, members: &mut Slab<M>, index: u32) {
        let links = std::mem::replace(members[index].links_mut(), Links::OUTSIDE);
        debug_assert!(!links.is_outside(), "only a member can leave");
        self.count -= 1;
        if links.next == index {
            self.front = NONE;
            // Nobody waits for anybody: all are even.
            self.debtors = Debtors(None);
            return;
        }
        members[links.previous].links_mut().next = links.next;
        members[links.next].links_mut().previous = links.previous;
        if self.front == index {
            self.front = links.next;
        }
        if links.debt > 0 {
            self.debtors.add(self.clock, members[index].name(), links.debt);
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.debtors.bytes()
    }
}

/// Those who have left a ring in debt. Few rings have any, so there is a list only once it is needed.
#[derive(Debug)]
struct Debtors(Option<Box<List>>);

#[derive(Debug, Default)]
struct List {
    debtors: Vec<Debtor>,
}

impl Debtors {
    fn add(&mut self, clock: u64, name: u64, debt: u32) {
        let debtors = &mut self.0.get_or_insert_default().debtors;
        debtors.retain(|debtor| debtor.even_at > clock && debtor.name != name);
        debtors.push(Debtor { name, even_at: clock + ROUND * u64::from(debt) });
        if debtors.len() > DEBTORS_MAX {
            let least = (0..debtors.len()).min_by_key(|&slot| debtors[slot].even_at);
            debtors.swap_remove(least.expect("there are debtors"));
        }
    }

    /// What somebody owes from before; forgotten with the answer.
    fn take(&mut self, clock: u64, name: u64) -> u32 {
        let Some(list) = self.0.as_mut() else { return 0 };
        let Some(slot) = list.debtors.iter().position(|debtor| debtor.name == name) else { return 0 };
        let left = list.debtors.swap_remove(slot).even_at.saturating_sub(clock);
        u32::try_from(left.div_ceil(ROUND)).unwrap_or(u32::MAX)
    }

    fn forgive(&mut self, name: u64) {
        let debtors = self.0.iter_mut().flat_map(|list| &mut list.debtors);
        for debtor in debtors.filter(|debtor| debtor.name == name) {
            debtor.even_at = debtor.even_at.saturating_sub(ROUND);
        }
    }

    fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |list| size_of::<List>() + list.debtors.capacity() * size_of::<Debtor>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Someone(Links, u64);

    impl Member for Someone {
        fn name(&self) -> u64 {
            self.1
        }

        fn links(&self) -> Links {
            self.0
        }

        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn turns(ring: &mut Ring, members: &mut Slab<Someone>, count: usize) -> Vec<u32> {
        (0..count).filter_map(|_| ring.take_turn(members)).collect()
    }

    #[test]
    fn members_take_turns_while_others_come_and_go() {
        let mut members = Slab::new();
        let mut ring = Ring::EMPTY;
        for name in 0..3 {
            let index = members.insert(Someone(Links::OUTSIDE, name));
            ring.push_back(&mut members, index);
        }
        assert_eq!(turns(&mut ring, &mut members, 4), [0, 1, 2, 0]);
        ring.remove(&mut members, 1);
        assert_eq!(turns(&mut ring, &mut members, 3), [2, 0, 2]);
        ring.push_back(&mut members, 1);
        assert_eq!(turns(&mut ring, &mut members, 4), [0, 2, 1, 0]);
        for index in 0..3 {
            ring.remove(&mut members, index);
        }
        assert!(ring.is_empty() && turns(&mut ring, &mut members, 2).is_empty());
    }

    #[test]
    fn whoever_took_more_than_his_turn_waits_until_the_others_had_as_much() {
        let mut members = Slab::new();
        let mut ring = Ring::EMPTY;
        for name in 0..2 {
            let index = members.insert(Someone(Links::OUTSIDE, name));
            ring.push_back(&mut members, index);
        }
        assert_eq!(turns(&mut ring, &mut members, 1), [0]);
        (0..3).for_each(|_| Ring::owe(&mut members, 0));
        assert_eq!(turns(&mut ring, &mut members, 6), [1, 1, 1, 1, 0, 1]);
        Ring::owe(&mut members, 0);
        ring.remove(&mut members, 1);
        assert_eq!(turns(&mut ring, &mut members, 2), [0, 0], "nobody waits for it");
    }

    #[test]
    fn who_leaves_in_debt_comes_back_with_what_the_others_have_not_made_up() {
        let mut members = Slab::new();
        let mut ring = Ring::EMPTY;
        for name in 0..3 {
            let index = members.insert(Someone(Links::OUTSIDE, name));
            ring.push_back(&mut members, index);
        }
        assert_eq!(turns(&mut ring, &mut members, 1), [0]);
        (0..5).for_each(|_| Ring::owe(&mut members, 0));
        ring.remove(&mut members, 0);
        assert_eq!(turns(&mut ring, &mut members, 4), [1, 2, 1, 2], "two rounds are made up");
        ring.forgive(&mut members, Some(0), 0);
        ring.push_back(&mut members, 0);
        assert_eq!(turns(&mut ring, &mut members, 8), [1, 2, 1, 2, 1, 2, 0, 1]);
        (0..5).for_each(|_| Ring::owe(&mut members, 0));
        (0..3).for_each(|index| ring.remove(&mut members, index));
        (0..3).for_each(|index| ring.push_back(&mut members, index));
        assert_eq!(turns(&mut ring, &mut members, 3), [0, 1, 2], "a ring that was empty owes nothing");
    }
}
