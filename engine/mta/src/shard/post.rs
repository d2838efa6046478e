//! What shards hand each other: many items, one ring of the bell.

use std::time::Duration;

use super::{Shard, ToShard};

/// How soon a full ring is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(1);

impl Shard {
    /// Posts to another shard, waiting while its ring is full: whoever calls takes on nothing more meanwhile. The other one is woken
    /// when the tasks of this shard that are ready now have had their turn: waking it for each item would cost more than the item.
    pub(crate) async fn post(&self, shard: usize, mut message: ToShard) {
        let ring = &self.shared.shards[shard];
        while let Err(back) = ring.put(message) {
            if ring.is_closed() {
                // The engine ends; whatever it was is found again in the spool.
                return;
            }
            ring.ring();
            message = back;
            tokio::time::sleep(FULL_PAUSE).await;
        }
        self.numbers.posted[shard].set(true);
        self.bells.posted.notify_one();
    }

    /// Wakes those who were posted something, until the shard ends.
    pub(super) async fn post_loop(&self) {
        loop {
            self.bells.posted.notified().await;
            self.ring_posted();
        }
    }

    /// Wakes those who were posted something.
    pub(super) fn ring_posted(&self) {
        for (posted, ring) in self.numbers.posted.iter().zip(&self.shared.shards) {
            if posted.take() {
                ring.ring();
            }
        }
    }
}
