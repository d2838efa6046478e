//! What must hold whatever a world does; each time that it does not is counted. It mends nothing.

use std::collections::VecDeque;

use policy::{Limits, Rate};
use queue::PathView;
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::clock::Moment;

/// Over how long a rate is checked.
const WINDOW_S: u64 = 10;
/// Work that lies on a path that does not rest is tried within this time, or once in two tokens' time if that is longer.
const PATIENCE_S: u64 = 4 * 3600;

/// How often something did not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Invariants {
    /// Recipients sent beyond the rate that was in force.
    pub rate_exceeded: u64,
    /// Connections opened beyond the limit that was in force.
    pub connections_exceeded: u64,
    /// Paths that had work, did not rest, and tried nothing for hours.
    pub starved: u64,
    /// Recipients whose story ended twice.
    pub finished_twice: u64,
}

#[derive(Debug, Default)]
struct Budget {
    begun: VecDeque<Moment>,
    /// The highest rates since the window began, each until it was replaced.
    rates: VecDeque<(Moment, Option<Rate>)>,
    stuck_s: u64,
    was_tried: bool,
}

/// Watches all budgets, by source and provider.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    budgets: FxHashMap<(u16, u16), Budget>,
    pub(crate) broken: Invariants,
}

impl Watch {
    /// A transaction begins under `limits`.
    pub(crate) fn begins(&mut self, key: (u16, u16), limits: Limits, now: Moment) {
        let budget = self.budgets.entry(key).or_default();
        budget.was_tried = true;
        if budget.rates.back().is_none_or(|(_, rate)| *rate != limits.rate) {
            budget.rates.push_back((now, limits.rate));
        }
        let since = Moment(now.0.saturating_sub(WINDOW_S * 1_000_000));
        while budget.rates.len() > 1 && budget.rates[1].0 <= since {
            budget.rates.pop_front();
        }
        while budget.begun.front().is_some_and(|&moment| moment <= since) {
            budget.begun.pop_front();
        }
        budget.begun.push_back(now);
        let rates = budget.rates.iter().map(|(_, rate)| rate.map_or(f64::INFINITY, Rate::as_per_second));
        let fastest = rates.fold(0.0, f64::max);
        // A window holds its tokens, a burst of a tenth of a second, and one of the moment it begins.
        let most = fastest * (WINDOW_S as f64 + 0.1) + 2.0;
        self.broken.rate_exceeded += u64::from(budget.begun.len() as f64 > most);
    }

    /// What was begun was refused for its rate and goes back with its token.
    pub(crate) fn goes_back(&mut self, key: (u16, u16)) {
        self.budgets.entry(key).or_default().begun.pop_back();
    }

    /// A connection is opened; how many there are with it.
    pub(crate) fn opens(&mut self, limits: Limits, connections: u32) {
        self.broken.connections_exceeded += u64::from(connections > limits.connections.max(1));
    }

    /// A second is over.
    pub(crate) fn tick(&mut self, path: &PathView) {
        let budget = self.budgets.entry((path.key.source, path.key.provider)).or_default();
        let may_go = path.ready.iter().any(|&ready| ready > 0) && path.suspended.is_none();
        let was_tried = std::mem::take(&mut budget.was_tried);
        budget.stuck_s = if may_go && !was_tried { budget.stuck_s + 1 } else { 0 };
        let interval_s =
            path.limits.rate.map_or(0, |rate| rate.per().as_secs() / u64::from(rate.count().max(1)));
        self.broken.starved += u64::from(budget.stuck_s == PATIENCE_S.max(2 * interval_s));
    }
}
