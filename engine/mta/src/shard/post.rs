//! What shards hand each other: many items, one ring of the bell.

use std::time::Duration;

use super::{Shard, ToShard};

/// How soon a full ring is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// How long something may lie in a ring for which nobody waits: a shard that is woken for each costs more than the work.
const IDLE_PAUSE: Duration = Duration::from_millis(5);

impl Shard {
    /// Posts to another shard, waiting while its ring is full: whoever calls takes on nothing more meanwhile. The other one is woken
    /// when the tasks of this shard that are ready now have had their turn: waking it for each item would cost more than the item.
    pub(crate) async fn post(&self, shard: usize, message: ToShard) {
        self.put(shard, message).await;
        self.bells.posted.notify_one();
    }

    /// The same, of something that nobody waits for: the other one is woken a moment later, for all of it together.
    pub(super) async fn post_idly(&self, shard: usize, message: ToShard) {
        self.put(shard, message).await;
        self.bells.posted_idly.notify_one();
    }

    async fn put(&self, shard: usize, mut message: ToShard) {
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
    }

    /// Wakes those who were posted something, until the shard ends.
    pub(super) async fn post_loop(&self) {
        loop {
            self.bells.posted.notified().await;
            self.ring_posted();
        }
    }

    /// Wakes those who were posted something that nobody waits for, until the shard ends.
    pub(super) async fn post_idly_loop(&self) {
        loop {
            self.bells.posted_idly.notified().await;
            tokio::time::sleep(IDLE_PAUSE).await;
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
