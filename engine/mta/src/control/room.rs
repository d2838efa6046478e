//! Watches the free space of the spool's file system: accept refuses before the disk is full, and goes on by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::shared::Shared;

/// How often free space is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Looks until the engine stops.
pub(super) async fn watch(shared: Arc<Shared>, spool: PathBuf) {
    let min_free = shared.config.spool.min_free_bytes;
    while !shared.condition.stopping.load(Ordering::Acquire) {
        match spool::free_bytes(&spool) {
            Ok(free) if free >= min_free => shared.condition.no_room.store(None),
            Ok(free) => shared.condition.no_room.store(Some(Arc::new(format!(
                "the disk of the spool has {} MiB left, less than spool.min_free ({} MiB)",
                free >> 20,
                min_free >> 20
            )))),
            Err(error) => tracing::warn!(%error, "free space of the spool is not known"),
        }
        tokio::time::sleep(TICK).await;
    }
}
