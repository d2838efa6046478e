//! Giving the spool's space back, in steps between which others have their turn. It decides when; what is freed and how is
//! the log's.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use spool::{ReclaimWait, Reclaimed};

use super::Shard;

/// How often old segments are looked at.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How often while there is something to be freed.
const BUSY_TICK: Duration = Duration::from_millis(100);
/// Bytes of live records that are carried forward before others get their turn: a millisecond or two.
const CARRIED_BYTES: u64 = 4 << 20;
/// Steps of one look.
const STEPS: usize = 16;
/// How long it is watched whether a segment empties by itself.
const WATCHED: Duration = Duration::from_secs(2);

/// What is watched of the oldest segment: in a queue that is being worked off what is needed of it today is not needed in a
/// second, and carrying it forward would be work for nothing.
#[derive(Clone, Copy, Debug)]
struct Watch {
    /// The segment's place in the log.
    base: u64,
    /// Bytes of it that were needed when the watch began.
    live_bytes: u64,
    since: Instant,
    /// It did not empty by itself in the time before.
    is_still: bool,
}

/// The watch over the oldest segment of a shard's log, if there was one to be watched.
#[derive(Debug, Default)]
pub(super) struct Watcher(Cell<Option<Watch>>);

impl Watcher {
    /// Whether the oldest segment, which begins at `base` and of which `live_bytes` are needed, is best left alone for now.
    fn is_emptying(&self, base: u64, live_bytes: u64, now: Instant) -> bool {
        let fresh = Watch { base, live_bytes, since: now, is_still: false };
        let mut watch = self.0.get().filter(|watch| watch.base == base).unwrap_or(fresh);
        if now.duration_since(watch.since) >= WATCHED {
            // Less than a quarter of it has gone in all that time.
            watch = Watch { is_still: live_bytes > watch.live_bytes / 4 * 3, ..fresh };
        }
        self.0.set(Some(watch));
        live_bytes > 0 && !watch.is_still
    }
}

impl Shard {
    /// Frees finished segments while that is allowed; says when to look again.
    pub(super) async fn free_segments(&self) -> Duration {
        if !self.shared.condition.reclaiming.load(Ordering::Acquire) {
            return TICK;
        }
        if self.reclaim().await { BUSY_TICK } else { TICK }
    }

    /// Says whether it is worth looking again soon.
    async fn reclaim(&self) -> bool {
        let low = self.shared.condition.no_room.load().is_some();
        self.journal.with_log(|log| log.set_disk_low(low));
        self.let_go();
        let mut has_freed = false;
        for _ in 0..STEPS {
            let (base, live_bytes) = self.journal.with_log(|log| log.oldest());
            if !low && self.mind.oldest.is_emptying(base, live_bytes, Instant::now()) {
                return has_freed;
            }
            let reclaimed = self.journal.append(|log| log.reclaim_step(CARRIED_BYTES));
            self.let_go();
            match reclaimed {
                Ok(Reclaimed { waits_for: None | Some(ReclaimWait::Budget), .. }) => has_freed = true,
                Ok(Reclaimed { waits_for, .. }) => return has_freed || waits_for == Some(ReclaimWait::Sync),
                Err(fault) => {
                    if self.journal.fault().is_none() {
                        tracing::warn!(shard = self.index, %fault, "old segments could not be freed");
                    }
                    return false;
                }
            }
            tokio::task::yield_now().await;
        }
        true
    }

    /// Lets go of dropped segments on another thread.
    fn let_go(&self) {
        if let Some(dropped) = self.journal.with_log(|log| log.dropped()) {
            self.shared.control.spawn_blocking(move || drop(dropped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_empties_by_itself_is_left_alone_until_it_stands_still() {
        let watcher = Watcher::default();
        let began = Instant::now();
        let mut looks = Vec::new();
        // Seconds, base, bytes that are needed, whether it is left alone.
        for (second, base, live_bytes, expected) in [
            (0, 0, 1000, true),
            (1, 0, 1000, true),
            (2, 0, 700, true),
            (3, 0, 700, true),
            (4, 0, 600, false),
            (5, 0, 300, false),
            (6, 0, 200, true),
            (6, 0, 0, false),
            // The next one is watched anew; of an empty one there is nothing to be carried.
            (7, 64, 0, false),
            (7, 128, 1000, true),
            (9, 128, 1000, false),
        ] {
            let now = began + Duration::from_secs(second);
            looks.push((second, base, watcher.is_emptying(base, live_bytes, now), expected));
        }
        assert!(looks.iter().all(|(.., is, expected)| is == expected), "{looks:?}");
    }
}
