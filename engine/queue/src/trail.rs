//! How far a line has come: enough to say, about, how many stand before somebody in it. It refuses to know tickets.

use std::collections::VecDeque;

use crate::store::Tick;

/// Every so many who join leave a mark.
const STRIDE: u32 = 64;

/// The somebody with this number joined at this tick.
#[derive(Clone, Copy, Debug)]
struct Mark {
    when: Tick,
    number: u32,
}

/// Marks, which only long lines have.
#[derive(Debug, Default)]
struct Marks {
    rows: VecDeque<Mark>,
}

/// Who has joined a line and who has left its front, in numbers; a quarter of a byte for each that waits.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    joined: u32,
    left: u32,
    /// Of those who still wait, in the order in which they came.
    marks: Option<Box<Marks>>,
}

impl Trail {
    /// Counts one who joins at the end. Ticks never decrease.
    pub(crate) fn join(&mut self, when: Tick) {
        self.joined = self.joined.wrapping_add(1);
        if self.joined.is_multiple_of(STRIDE) {
            self.marks.get_or_insert_default().rows.push_back(Mark { when, number: self.joined });
        }
    }

    /// Counts one who comes back to the front.
    pub(crate) const fn rejoin(&mut self) {
        self.left = self.left.wrapping_sub(1);
    }

    /// Counts one who leaves the front.
    pub(crate) fn leave(&mut self) {
        self.left = self.left.wrapping_add(1);
        let Some(Marks { rows: marks }) = self.marks.as_deref_mut() else { return };
        while marks.front().is_some_and(|mark| self.left.wrapping_sub(mark.number) < u32::MAX / 2) {
            marks.pop_front();
        }
    }

    /// How many stand before one who joined at `when`: in the middle of what the marks on both sides allow. So it is wrong
    /// by no more than a stride and half of those who joined at the same tick.
    pub(crate) fn ahead(&self, when: Tick) -> u32 {
        let marks = self.marks.as_deref().map(|marks| &marks.rows);
        let before = marks.map_or(0, |marks| marks.partition_point(|mark| mark.when < when));
        let after = marks.map_or(0, |marks| marks.partition_point(|mark| mark.when <= when));
        let number = |slot: usize| marks.and_then(|marks| marks.get(slot)).map(|mark| mark.number);
        let least = before.checked_sub(1).and_then(number).unwrap_or(self.left).wrapping_sub(self.left);
        let most = number(after).unwrap_or(self.joined).wrapping_sub(self.left).saturating_sub(1);
        least.midpoint(most.max(least))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.marks.as_ref().map_or(0, |marks| size_of::<Marks>() + marks.rows.capacity() * size_of::<Mark>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_long_line_is_known_to_within_a_stride_and_a_tick() {
        let mut trail = Trail::default();
        // Ten come in each tick; the first three thousand leave.
        (0..100_000_u32).for_each(|number| trail.join(Tick::from(number / 10)));
        (0..3000).for_each(|_| trail.leave());
        (0..5).for_each(|_| trail.rejoin());
        for number in (3000..100_000_u32).step_by(17) {
            let (exact, about) = (number - 2995, trail.ahead(Tick::from(number / 10)));
            assert!(exact.abs_diff(about) <= STRIDE, "{about} for {exact}");
        }
        assert!(trail.bytes() < 100_000 / 2, "{}", trail.bytes());
        (0..97_005).for_each(|_| trail.leave());
        assert_eq!(trail.ahead(10_000), 0);
        assert!(trail.marks.is_some_and(|marks| marks.rows.is_empty()));
    }

    #[test]
    fn numbers_that_wrap_around_are_no_harm() {
        let mut trail = Trail { joined: u32::MAX - 500, left: u32::MAX - 500, marks: None };
        (0..2000).for_each(|number| trail.join(number));
        (0..1000).for_each(|_| trail.leave());
        assert!(trail.ahead(1500).abs_diff(500) <= STRIDE);
    }
}
