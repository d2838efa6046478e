//! Whether those who wait together on a path get their shares: by the minute, class by weight, tenants alike within a
//! class, campaigns alike within a tenant. Who did not wait all of the minute, or was held back, is not counted.

use mail::Class;
use queue::{FlowKey, PathKey};
use rustc_hash::FxHashMap;

/// A share below so many recipients in a minute is too coarse to be judged.
const EXPECTED_MIN: f64 = 100.0;

/// One line of a path in the present minute.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    waiting: i64,
    waiting_min: i64,
    served: u32,
    /// It was there when the minute began.
    was_there: bool,
}

/// All lines, and the worst that was seen.
#[derive(Debug)]
pub(crate) struct Fairness {
    weights: [u32; 4],
    tracks: FxHashMap<(PathKey, FlowKey), Track>,
    /// The least that anybody had of its fair share; 1 when nothing could be judged.
    pub(crate) least: f64,
    pub(crate) judged: u64,
    /// How many had less than nine tenths.
    pub(crate) unfair: u64,
}

impl Fairness {
    pub(crate) fn new(weights: [u32; 4]) -> Self {
        Self { weights, tracks: FxHashMap::default(), least: 1.0, judged: 0, unfair: 0 }
    }

    pub(crate) fn waits(&mut self, key: PathKey, flow: FlowKey) {
        self.tracks.entry((key, flow)).or_default().waiting += 1;
    }

    /// One was taken to be sent, or taken away.
    pub(crate) fn leaves(&mut self, key: PathKey, flow: FlowKey, served: bool) {
        let track = self.tracks.entry((key, flow)).or_default();
        track.waiting -= 1;
        track.waiting_min = track.waiting_min.min(track.waiting);
        track.served += u32::from(served);
    }

    /// One was put back untried.
    pub(crate) fn comes_back(&mut self, key: PathKey, flow: FlowKey) {
        let track = self.tracks.entry((key, flow)).or_default();
        track.waiting += 1;
        track.served = track.served.saturating_sub(1);
    }

    /// It rests for a reason of its own: this minute says nothing about its share.
    pub(crate) fn rests(&mut self, key: PathKey, flow: FlowKey) {
        self.tracks.entry((key, flow)).or_default().waiting_min = 0;
    }

    /// The minute is over: judges it, and begins the next.
    pub(crate) fn minute(&mut self, is_paused: impl Fn(&FlowKey) -> bool) {
        let mut paths: FxHashMap<PathKey, Vec<(FlowKey, u32)>> = FxHashMap::default();
        for ((key, flow), track) in &self.tracks {
            let waited =
                track.was_there && track.waiting_min > 0 && flow.class != Class::Critical && !is_paused(flow);
            if waited {
                paths.entry(*key).or_default().push((*flow, track.served));
            }
        }
        for flows in paths.values() {
            self.judge(flows);
        }
        self.tracks.retain(|_, track| track.waiting > 0);
        for track in self.tracks.values_mut() {
            *track = Track { waiting: track.waiting, waiting_min: track.waiting, served: 0, was_there: true };
        }
    }

    fn judge(&mut self, flows: &[(FlowKey, u32)]) {
        let total: u32 = flows.iter().map(|(_, served)| served).sum();
        let classes = groups(flows, |flow| flow.class as u32);
        let weights: f64 = classes.iter().map(|(class, _)| f64::from(self.weights[*class as usize])).sum();
        for (class, lines) in classes {
            let share = f64::from(self.weights[class as usize]) / weights * f64::from(total);
            self.compare(served(&lines), share);
            let tenants = groups(&lines, |flow| flow.tenant);
            let of_class = served(&lines) / tenants.len() as f64;
            for (_, lines) in tenants {
                self.compare(served(&lines), of_class);
                let of_tenant = served(&lines) / lines.len() as f64;
                lines.iter().for_each(|&(_, served)| self.compare(f64::from(served), of_tenant));
            }
        }
    }

    fn compare(&mut self, had: f64, expected: f64) {
        if expected < EXPECTED_MIN {
            return;
        }
        let share = had / expected;
        self.judged += 1;
        self.unfair += u64::from(share < 0.9);
        self.least = self.least.min(share);
    }
}

fn served(lines: &[(FlowKey, u32)]) -> f64 {
    lines.iter().map(|&(_, served)| f64::from(served)).sum()
}

/// Lines that have something in common.
fn groups(lines: &[(FlowKey, u32)], common: impl Fn(&FlowKey) -> u32) -> Vec<(u32, Vec<(FlowKey, u32)>)> {
    let mut groups: Vec<(u32, Vec<(FlowKey, u32)>)> = Vec::new();
    for line in lines {
        let key = common(&line.0);
        match groups.iter_mut().find(|(of, _)| *of == key) {
            Some((_, lines)) => lines.push(*line),
            None => groups.push((key, vec![*line])),
        }
    }
    groups
}
