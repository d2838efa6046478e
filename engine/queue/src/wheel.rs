//! The timing wheel: who is to be tried when. It refuses to know what happens then.
//!
//! A tick is a millisecond. Level k counts in units of 64^k ticks and has 128 slots, twice what its units need: a slot of level k + 1 can be
//! moved down during the whole unit before it begins. So the work of moving is done ahead, in portions, and a slot
//! with a million tickets delays nobody.

use mail::UnixMs;

use crate::refs::{Batch, NO_BATCH, Ref, RefList, Refs};
use crate::store::{Store, TICK_MAX, Tick};

/// Levels; the highest reaches 64^6 * 128 ticks, beyond [`TICK_MAX`].
const LEVELS: usize = 7;
/// Units of one level in a unit of the next, as a power of two.
const UNIT_BITS: u32 = 6;
/// Slots of a level.
const SLOTS: u64 = 128;
/// Tickets moved between levels in one call, at most.
const MOVES_MAX: usize = 1024;

const _: () =
    assert!(TICK_MAX >> (UNIT_BITS * (LEVELS as u32 - 1)) < SLOTS, "every tick fits into the last level");

/// The slots of one level, and which of them hold something.
#[derive(Debug)]
struct Level {
    slots: [RefList; SLOTS as usize],
    occupied: u128,
}

impl Level {
    fn new() -> Self {
        Self { slots: [RefList::EMPTY; SLOTS as usize], occupied: 0 }
    }

    fn push(&mut self, refs: &mut Refs, position: u64, entry: Ref) {
        let slot = position % SLOTS;
        self.slots[slot as usize].push(refs, entry);
        self.occupied |= 1 << slot;
    }

    fn pop(&mut self, refs: &mut Refs, position: u64, max: usize, out: &mut Batch) -> usize {
        let slot = position % SLOTS;
        if self.occupied & (1 << slot) == 0 {
            return 0;
        }
        let list = &mut self.slots[slot as usize];
        let count = list.pop(refs, max, out);
        if list.is_empty() {
            self.occupied &= !(1 << slot);
        }
        count
    }

    fn is_empty(&self, position: u64) -> bool {
        self.occupied & (1 << (position % SLOTS)) == 0
    }

    /// The first position from `current` on that holds something.
    fn first(&self, current: u64) -> Option<u64> {
        let from_current = self.occupied.rotate_right((current % SLOTS) as u32);
        (from_current != 0).then(|| current + u64::from(from_current.trailing_zeros()))
    }
}

/// A hierarchical timing wheel over the nodes of a [`Store`].
#[derive(Debug)]
pub(crate) struct Wheel {
    levels: Box<[Level]>,
    refs: Refs,
    current: Tick,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { levels: (0..LEVELS).map(|_| Level::new()).collect(), refs: Refs::new(), current: 0 }
    }

    /// Takes a node and its due tick. What is due already comes out at the next call of [`Wheel::due`].
    pub(crate) fn insert(&mut self, node: u32, when: Tick) {
        let due = when.max(self.current);
        let fits = |level: &usize| (due >> shift(*level)) - (self.current >> shift(*level)) < SLOTS;
        let level = (0..LEVELS).find(fits).expect("the last level reaches every tick");
        self.levels[level].push(&mut self.refs, due >> shift(level), Ref { node, when_low: when as u32 });
    }

    /// Takes out up to `max` nodes that are due at `now`, dead ones included, in bounded work.
    pub(crate) fn due(&mut self, store: &Store, now: UnixMs, max: usize, out: &mut Vec<u32>) {
        // Should the clock step back, the wheel stands still and what is inserted behind it comes out at once.
        let until = store.tick(now).max(self.current);
        let mut moves = MOVES_MAX;
        let mut room = max;
        loop {
            if !self.descend(store, &mut moves) {
                return;
            }
            if !self.levels[0].is_empty(self.current) {
                self.take_current(&mut room, out);
            }
            if room == 0 || self.current == until {
                break;
            }
            self.current = self.next_stop().map_or(until, |stop| stop.min(until));
        }
        self.descend_ahead(store, &mut moves);
    }

    /// Takes out what is due at the current tick.
    fn take_current(&mut self, room: &mut usize, out: &mut Vec<u32>) {
        let mut batch = NO_BATCH;
        while *room > 0
            && let count @ 1.. = self.levels[0].pop(&mut self.refs, self.current, *room, &mut batch)
        {
            out.extend(batch[..count].iter().map(|entry| entry.node));
            *room -= count;
        }
    }

    /// Moves down what lies in the units that have begun; false when `moves` did not suffice.
    fn descend(&mut self, store: &Store, moves: &mut usize) -> bool {
        for level in (1..LEVELS).rev() {
            let position = self.current >> shift(level);
            if !self.empty_slot(store, level, position, moves) {
                return false;
            }
        }
        true
    }

    /// Moves down what lies in the units that begin next, as far as `moves` goes.
    fn descend_ahead(&mut self, store: &Store, moves: &mut usize) {
        for level in (1..LEVELS).rev() {
            let position = (self.current >> shift(level)) + 1;
            if !self.empty_slot(store, level, position, moves) {
                return;
            }
        }
    }

    fn empty_slot(&mut self, store: &Store, level: usize, position: u64, moves: &mut usize) -> bool {
        if self.levels[level].is_empty(position) {
            return true;
        }
        let mut batch = NO_BATCH;
        while *moves > 0
            && let count @ 1.. = self.levels[level].pop(&mut self.refs, position, *moves, &mut batch)
        {
            for &entry in &batch[..count] {
                let when = match shift(level) {
                    // The slot knows the rest.
                    bits @ ..=32 => (position << bits) | (u64::from(entry.when_low) & ((1 << bits) - 1)),
                    _ => store[entry.node].when(),
                };
                self.insert(entry.node, when);
            }
            *moves -= count;
        }
        self.levels[level].is_empty(position)
    }

    /// The next tick at which a slot must be looked at; after the current tick, because all before it is done.
    fn next_stop(&self) -> Option<Tick> {
        let stop = |level: usize| {
            let position = self.levels[level].first(self.current >> shift(level))?;
            Some(position << shift(level))
        };
        (0..LEVELS).filter_map(stop).min()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.refs.bytes()
    }

    /// When [`Wheel::due`] should be called next: at the next due moment, or earlier to move tickets ahead of it.
    pub(crate) fn next_due(&self, store: &Store) -> Option<UnixMs> {
        let stop = |level: usize| {
            let position = self.levels[level].first(self.current >> shift(level))?;
            // Portions ahead of a unit can be moved from the beginning of the unit before it.
            let from = if level == 0 { position } else { position.saturating_sub(1) };
            let tick = from << shift(level);
            Some(if level > 0 { tick.max(self.current + 1) } else { tick.max(self.current) })
        };
        (0..LEVELS).filter_map(stop).min().map(|tick| store.moment(tick))
    }
}

/// The number of tick bits below the units of `level`.
const fn shift(level: usize) -> u32 {
    UNIT_BITS * level as u32
}

#[cfg(test)]
mod tests {
    use mail::{Class, RecipientId};
    use proptest::prelude::*;

    use super::*;
    use crate::Ticket;
    use crate::store::{State, Stay};

    const START: u64 = 1_700_000_000_000;

    fn schedule(wheel: &mut Wheel, store: &mut Store, id: u64, due: u64) {
        let ticket =
            Ticket { id: RecipientId::from_raw(id), expiry: 0, deadline: 0, attempts: 0, class: Class::Bulk };
        let when = store.tick(UnixMs(due));
        let node = store.insert(ticket, Stay { state: State::Scheduled, place: 0, when });
        wheel.insert(node, when);
    }

    fn due(wheel: &mut Wheel, store: &mut Store, now: u64, max: usize) -> Vec<u64> {
        let mut nodes = Vec::new();
        wheel.due(store, UnixMs(now), max, &mut nodes);
        nodes.iter().map(|&node| store.remove(node).id.raw()).collect()
    }

    #[test]
    fn what_is_due_comes_out_in_order_and_not_before_its_moment() {
        let (mut wheel, mut store) = (Wheel::new(), Store::new(UnixMs(START)));
        for (id, after) in [(1, 3), (2, 3), (3, 0), (4, 40_000), (5, 86_400_000), (6, 400 * 86_400_000)] {
            schedule(&mut wheel, &mut store, id, START + after);
        }
        for (now, expected) in [
            (0, vec![3]),
            (2, vec![]),
            (3, vec![1, 2]),
            (39_999, vec![]),
            (40_000, vec![4]),
            (86_399_999, vec![]),
            (400 * 86_400_000, vec![5, 6]),
        ] {
            assert_eq!(due(&mut wheel, &mut store, START + now, 10), expected, "at {now}");
        }
        assert_eq!(wheel.next_due(&store), None);
    }

    #[test]
    fn following_next_due_hands_out_everything_at_its_moment_with_few_calls() {
        let (mut wheel, mut store) = (Wheel::new(), Store::new(UnixMs(START)));
        let dues = [1, 63, 64, 65, 127, 128, 8191, 8192, 524_287, 524_288, 33_554_432, 5_000_000_000];
        for (id, after) in (0..).zip(dues) {
            schedule(&mut wheel, &mut store, id, START + after);
        }
        let mut calls = 0;
        let mut seen = Vec::new();
        while let Some(next) = wheel.next_due(&store) {
            calls += 1;
            seen.extend(due(&mut wheel, &mut store, next.0, 10).into_iter().map(|id| (id, next.0 - START)));
        }
        assert_eq!(seen, (0..).zip(dues).collect::<Vec<_>>());
        assert!(calls <= dues.len() * 6, "{calls} calls");
    }

    #[test]
    fn a_crowd_in_one_slot_is_moved_ahead_so_that_nobody_is_late() {
        let (mut wheel, mut store) = (Wheel::new(), Store::new(UnixMs(START)));
        let crowd = 200_000_u64;
        for id in 0..crowd {
            schedule(&mut wheel, &mut store, id, START + 3_600_000 + id / 100);
        }
        let (mut seen, mut late_ms_max) = (0, 0);
        while let Some(next) = wheel.next_due(&store) {
            for id in due(&mut wheel, &mut store, next.0, 512) {
                seen += 1;
                late_ms_max = late_ms_max.max(next.0 - (START + 3_600_000 + id / 100));
            }
        }
        assert_eq!((seen, late_ms_max), (crowd, 0));
    }

    #[test]
    fn work_in_one_call_is_bounded_and_a_late_clock_loses_nothing() {
        let (mut wheel, mut store) = (Wheel::new(), Store::new(UnixMs(START)));
        for id in 0..50_000 {
            schedule(&mut wheel, &mut store, id, START + 600_000 + id);
        }
        let (mut seen, mut calls) = (0, 0);
        while wheel.next_due(&store).is_some() {
            let out = due(&mut wheel, &mut store, START + 10_000_000, 100);
            assert!(out.len() <= 100);
            seen += out.len();
            calls += 1;
        }
        assert_eq!(seen, 50_000);
        assert!(calls < 1000, "{calls} calls");
    }

    #[test]
    fn a_clock_that_steps_back_holds_up_nothing_new() {
        let (mut wheel, mut store) = (Wheel::new(), Store::new(UnixMs(START)));
        assert!(due(&mut wheel, &mut store, START + 10_000, 10).is_empty());
        schedule(&mut wheel, &mut store, 1, START + 5000);
        assert_eq!(due(&mut wheel, &mut store, START + 4000, 10), [1]);
    }

    proptest! {
        #[test]
        fn every_due_is_kept_to_the_millisecond(
            steps in prop::collection::vec((0_u64..100_000_000, 0_u64..3_000_000), 1..100)
        ) {
            let (mut wheel, mut store) = (Wheel::new(), Store::new(UnixMs(START)));
            let mut waiting = std::collections::BTreeMap::new();
            let mut now = START;
            for (id, (after, pause)) in (0..).zip(steps) {
                schedule(&mut wheel, &mut store, id, now + after);
                waiting.insert(id, now + after);
                now += pause;
                for id in due(&mut wheel, &mut store, now, 1000) {
                    let moment = waiting.remove(&id).expect("handed out once");
                    prop_assert!(moment <= now);
                }
                prop_assert!(waiting.values().all(|&moment| moment > now));
                let next = wheel.next_due(&store);
                let earliest = waiting.values().min();
                prop_assert!(earliest.is_none_or(|&moment| next.is_some_and(|next| next.0 <= moment)));
            }
        }
    }
}
