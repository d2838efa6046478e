//! Reading ahead, from memory into the processor: who goes through a log in its order, as a queue that drains does, has
//! each message fetched while the one before is sent. Waiting for memory is most of what reading costs otherwise.

use std::cell::Cell;

use crate::view::{ContentHead, RecipientRef};

/// A longer message would push others out of the processor's caches, itself among them.
const FETCHED_BYTES_MAX: usize = 64 << 10;

/// How one reader goes through one log.
#[derive(Debug, Default)]
pub struct Course {
    /// The position behind the message that was read last.
    behind: Cell<u64>,
}

impl Course {
    /// Tells that the message of `content` and `recipient`, the first who is to have it, is being read. When it stands behind the one before,
    /// it is taken that the one behind it comes next, and that it is as long.
    pub fn reads(&self, content: &ContentHead, recipient: &RecipientRef) {
        let segment = recipient.segment();
        let (start, end) = (content.offset(), recipient.end());
        let position = content.segment().header().base + start as u64;
        let goes_on = self.goes_on(position, segment.header().base + end as u64);
        let length = end.saturating_sub(start);
        if goes_on && length <= FETCHED_BYTES_MAX {
            segment.image().fetch(end..end + length);
        }
    }

    /// Whether a message that begins at `position` stands behind the last one; it ends at `behind`.
    fn goes_on(&self, position: u64, behind: u64) -> bool {
        self.behind.replace(behind) == position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_behind_the_last_message_goes_on() {
        let course = Course::default();
        let read = [
            (4096, 5000),
            (5000, 6000),
            (6000, 7000),
            (9000, 9500),
            (9500, 9600),
            (5000, 6000),
            (9600, 9700),
        ];
        let goes_on = read.map(|(position, behind)| course.goes_on(position, behind));
        assert_eq!(goes_on, [false, true, true, false, true, false, false]);
    }
}
