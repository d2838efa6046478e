//! Whose turn it is: shares of the classes by weight, rings of those who take equal turns. It refuses to move mail.
//!
//! The unit is one recipient, because that is what receivers count; with it a deficit is the number of turns left.

use mail::Class;

use crate::slab::{NONE, Slab};

/// The shares of the three classes below critical on one path: a deficit round robin in which the most urgent class
/// that has something left of its share goes first. So a class neither waits behind a less urgent one for longer
/// than its share allows, nor starves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    /// What each class has left; below zero when one transaction took more recipients than that.
    pub(crate) left: [i32; 4],
}

impl Shares {
    /// The class to serve among those that have something `ready`; critical is not among them.
    pub(crate) fn choose(&mut self, weights: &[u32; 4], ready: &[u32; 4]) -> Option<Class> {
        if let Some(class) = self.most_urgent(ready) {
            return Some(class);
        }
        self.refill(&weights.map(share_of), ready);
        self.most_urgent(ready)
    }

    /// Gives every class its share as often as it takes until one that is ready has something left; nobody saves up.
    fn refill(&mut self, shares: &[i32; 4], ready: &[u32; 4]) {
        let rounds_of = |index: usize| (shares[index] - self.left[index]) / shares[index];
        let Some(rounds) = (1..4).filter(|&index| ready[index] > 0).map(rounds_of).min() else { return };
        for (left, share) in self.left.iter_mut().zip(shares) {
            *left = left.saturating_add(share.saturating_mul(rounds)).min(*share);
        }
    }

    /// Counts one recipient of `class` as served.
    pub(crate) fn charge(&mut self, class: Class) {
        let left = &mut self.left[class.index()];
        *left = left.saturating_sub(1);
    }

    /// Takes back a recipient that was counted.
    pub(crate) fn refund(&mut self, class: Class) {
        let left = &mut self.left[class.index()];
        *left = left.saturating_add(1);
    }

    fn most_urgent(&self, ready: &[u32; 4]) -> Option<Class> {
        let may_go = |class: &Class| ready[class.index()] > 0 && self.left[class.index()] > 0;
        Class::ALL.into_iter().skip(1).find(may_go)
    }
}

/// What a class gets in one round.
fn share_of(weight: u32) -> i32 {
    i32::try_from(weight.max(1)).unwrap_or(i32::MAX)
}

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
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// Members that take turns, each one recipient long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    front: u32,
}

impl Ring {
    pub(crate) const EMPTY: Self = Self { front: NONE };

    pub(crate) const fn is_empty(self) -> bool {
        self.front == NONE
    }

    /// Whose turn it is.
    pub(crate) const fn front(self) -> Option<u32> {
        if self.front == NONE { None } else { Some(self.front) }
    }

    /// Whose turn it is; the turn is over with it. Those who have had turns ahead of time are passed over for as many,
    /// so that all of this is paid for by what was served.
    pub(crate) fn take_turn<M: Member>(&mut self, members: &mut Slab<M>) -> Option<u32> {
        loop {
            let index = self.front()?;
            let links = members[index].links_mut();
            self.front = links.next;
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

    /// Takes back a turn that was counted so.
    pub(crate) fn forgive<M: Member>(members: &mut Slab<M>, index: u32) {
        let links = members[index].links_mut();
        links.debt = links.debt.saturating_sub(1);
    }

    /// Lets a member in that is in no ring; it waits for one turn of all others.
    pub(crate) fn push_back<M: Member>(&mut self, members: &mut Slab<M>, index: u32) {
        debug_assert!(members[index].links().is_outside(), "a member is in one ring at most");
        if self.front == NONE {
            *members[index].links_mut() = Links { next: index, previous: index, debt: 0 };
            self.front = index;
            return;
        }
        let last = members[self.front].links().previous;
        *members[index].links_mut() = Links { next: self.front, previous: last, debt: 0 };
        members[last].links_mut().next = index;
        members[self.front].links_mut().previous = index;
    }

    /// Lets a member of this ring out.
    pub(crate) fn remove<M: Member>(&mut self, members: &mut Slab<M>, index: u32) {
        let links = std::mem::replace(members[index].links_mut(), Links::OUTSIDE);
        debug_assert!(!links.is_outside(), "only a member can leave");
        if links.next == index {
            self.front = NONE;
            return;
        }
        members[links.previous].links_mut().next = links.next;
        members[links.next].links_mut().previous = links.previous;
        if self.front == index {
            self.front = links.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Someone(Links);

    impl Member for Someone {
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
        for _ in 0..3 {
            let index = members.insert(Someone(Links::OUTSIDE));
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
        for _ in 0..2 {
            let index = members.insert(Someone(Links::OUTSIDE));
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
    fn a_class_pays_for_a_transaction_of_many_recipients() {
        let (mut shares, weights, ready) = (Shares::default(), [9, 4, 1, 1], [0, 9, 0, 9]);
        let mut seen = [0_u32; 4];
        for _ in 0..4000 {
            let class = shares.choose(&weights, &ready).expect("something is ready");
            let recipients = if class == Class::Bulk { 50 } else { 1 };
            (0..recipients).for_each(|_| shares.charge(class));
            seen[class.index()] += recipients;
        }
        let ratio = f64::from(seen[1]) / f64::from(seen[3]);
        assert!((3.5..=4.5).contains(&ratio), "{seen:?}");
    }

    #[test]
    fn shares_follow_the_weights_and_the_urgent_go_first() {
        let mut shares = Shares::default();
        let mut seen = String::new();
        for _ in 0..14 {
            let class = shares.choose(&[9, 4, 2, 1], &[0, 99, 99, 99]).expect("something is ready");
            shares.charge(class);
            seen.push_str(&class.name()[..1]);
        }
        assert_eq!(seen, "ttttppbttttppb");
    }

    #[test]
    fn a_class_that_comes_late_still_has_its_share() {
        let mut shares = Shares::default();
        for _ in 0..3 {
            assert_eq!(shares.choose(&[1, 4, 2, 9], &[0, 0, 0, 50]), Some(Class::Bulk));
            shares.charge(Class::Bulk);
        }
        assert_eq!(shares.choose(&[1, 4, 2, 9], &[0, 1, 0, 50]), Some(Class::Transactional));
        assert_eq!(shares.choose(&[0; 4], &[7, 0, 0, 0]), None);
    }
}
