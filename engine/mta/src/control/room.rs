//! Watches the free space of the spool's file system and how much mail waits: accept refuses before the disk or a queue is full,
//! and goes on by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::shared::Shared;

/// How often is looked.
const TICK: Duration = Duration::from_secs(1);

/// Looks until the engine stops.
pub(super) async fn watch(shared: Arc<Shared>, spool: PathBuf) {
    let spool_config = &shared.config.spool;
    while !shared.condition.stopping.load(Ordering::Acquire) {
        match spool::free_bytes(&spool) {
            Ok(free) => {
                let why = on_disk(free, spool_config.min_free_bytes);
                shared.condition.no_room.store(why.map(Arc::new));
            }
            Err(error) => tracing::warn!(%error, "free space of the spool is not known"),
        }
        let why = in_queue(shared.ledger().queued(), spool_config.waiting_max);
        shared.condition.full.store(why.map(Arc::new));
        tokio::time::sleep(TICK).await;
    }
}

/// Why the disk is no place for more mail.
fn on_disk(free: u64, min_free: u64) -> Option<String> {
    (free < min_free).then(|| {
        format!(
            "the disk of the spool has {} MiB left, less than spool.min_free ({} MiB)",
            free >> 20,
            min_free >> 20
        )
    })
}

/// Why no more mail may wait.
fn in_queue(waiting: u64, waiting_max: u64) -> Option<String> {
    (waiting >= waiting_max).then(|| {
        format!("{waiting} recipients wait to be delivered, and spool.waiting_max is {waiting_max}: more mail is taken when some have left")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_refused_before_disk_or_queue_is_full() {
        assert_eq!((on_disk(1 << 30, 1 << 30), in_queue(9, 10)), (None, None));
        assert!(on_disk((1 << 30) - 1, 1 << 30).is_some_and(|why| why.contains("1023 MiB")));
        assert!(in_queue(10, 10).is_some_and(|why| why.starts_with("10 recipients wait")));
    }
}
