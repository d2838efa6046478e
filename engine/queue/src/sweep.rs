//! The walk over everything that waits, a portion at a time, in search of tickets whose time has run out.

use mail::UnixMs;

use crate::Ticket;
use crate::campaign::Campaigns;
use crate::ready::Ready;
use crate::store::{State, Store};

/// Places looked at in one call, at most: a few microseconds.
const PLACES_MAX: u32 = 4096;

/// Where the walk goes on.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    cursor: u32,
}

impl Sweep {
    /// Takes up to `max` expired tickets out of flows and out of what campaigns hold back. Those in the wheel come
    /// out of it when they expire.
    pub(crate) fn expired(
        &mut self,
        (ready, store, campaigns): (&mut Ready, &mut Store, &mut Campaigns),
        now: UnixMs,
        max: usize,
        out: &mut Vec<Ticket>,
    ) {
        let (now_s, mut room) = (now.seconds(), max);
        for _ in 0..PLACES_MAX.min(store.places()) {
            if room == 0 || store.places() == 0 {
                return;
            }
            self.cursor = store.after(self.cursor);
            let node = &store[self.cursor];
            let state = node.state();
            if !node.is_expired(now_s) || !matches!(state, State::Ready | State::Held) {
                continue;
            }
            out.push(store.ticket(self.cursor));
            room -= 1;
            if state == State::Ready {
                ready.kill(store, campaigns, self.cursor);
            } else {
                campaigns.kill_held(store, self.cursor);
            }
        }
    }
}
