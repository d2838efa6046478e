//! Flows that are passed over: because their campaign is paused, or for a while. It refuses to move tickets.

use std::collections::BTreeSet;

use mail::UnixMs;

use crate::FlowKey;
use crate::flow::Standing;
use crate::ready::Ready;

/// Flows that are woken in one call, at most.
const WAKES_MAX: usize = 256;

/// Flows that rest, by the end of their rest.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    by_end: BTreeSet<(UnixMs, u32)>,
}

impl Rests {
    /// When the next rest ends.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        self.by_end.first().map(|(until, _)| *until)
    }

    /// Forgets the rest of a flow that is no more.
    pub(crate) fn forget(&mut self, flow: u32, until: Option<UnixMs>) {
        if let Some(until) = until {
            self.by_end.remove(&(until, flow));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.by_end.len()
    }
}

impl Ready {
    /// Passes a flow over until a moment, if it has tickets.
    pub(crate) fn rest(&mut self, path: u32, key: FlowKey, until: UnixMs) {
        if let Some(flow) = self.flows.find(path, key) {
            self.set_rest(flow, Some(until));
        }
    }

    /// Lets the flows go on whose rest is over, the first of them first.
    pub(crate) fn wake(&mut self, now: UnixMs) {
        for _ in 0..WAKES_MAX {
            let Some(&(_, flow)) = self.rests.by_end.first().filter(|(until, _)| *until <= now) else {
                return;
            };
            self.set_rest(flow, None);
        }
    }

    fn set_rest(&mut self, flow: u32, until: Option<UnixMs>) {
        self.rests.forget(flow, self.flows.rows[flow].rests_until);
        if let Some(until) = until {
            self.rests.by_end.insert((until, flow));
        }
        self.change(flow, self.flows.rows[flow].paused, until);
    }

    /// Stops or lets go all flows of a campaign.
    pub(crate) fn set_paused(&mut self, flows: &[u32], paused: bool) {
        for &flow in flows {
            self.change(flow, paused, self.flows.rows[flow].rests_until);
        }
    }

    /// Changes where a flow stands, and counts and lists it there.
    fn change(&mut self, flow: u32, paused: bool, rests_until: Option<UnixMs>) {
        let row = &mut self.flows.rows[flow];
        let live = row.live;
        if Standing::of(paused, rests_until) == row.standing() {
            (row.paused, row.rests_until) = (paused, rests_until);
            return;
        }
        self.subtract(flow, live);
        let row = &mut self.flows.rows[flow];
        (row.paused, row.rests_until) = (paused, rests_until);
        self.list(flow);
        self.add(flow, live);
    }

    /// The flows of a path that rest and could leave otherwise.
    pub(crate) fn resting(&self, path: u32) -> Vec<u32> {
        let row = &self.paths.rows[path];
        if row.resting == 0 {
            return Vec::new();
        }
        let rests = |flow: &u32| self.flows.rows[*flow].standing() == Standing::Resting;
        row.flows.iter().copied().filter(rests).collect()
    }
}
