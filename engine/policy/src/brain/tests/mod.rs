//! The brain as a whole, in virtual time.

mod campaigns;
mod saved;
mod soundness;
mod sources;
mod warmups;

use std::time::Duration;

use mail::{CampaignId, Class, UnixMs};

use crate::breaker::BreakerSettings;
use crate::source::mixed;
use crate::tally::{Counts, Happening, TallyKey};

use super::*;

pub(super) const START: UnixMs = UnixMs(1_800_000_000_000);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Seeded randomness.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Between 0 and 1.
    pub(super) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(1);
        (mixed(self.0) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between `low` and `high`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.roll() * (high - low)
    }
}

pub(super) fn setup(sources: usize, providers: usize) -> Setup {
    let source = |n: usize| SourceSetup { name: format!("s{n}"), warm_up: None };
    Setup {
        sources: (0..sources).map(source).collect(),
        providers: (0..providers).map(|n| format!("p{n}")).collect(),
        ..Setup::default()
    }
}

pub(super) fn brain_of(setup: Setup) -> Brain {
    let tables = Tables::of(&setup);
    Brain::new(setup, tables, START)
}

pub(super) fn key(source: u16, provider: u16) -> TallyKey {
    TallyKey { source, provider, class: Class::Bulk, identity: 1, tenant: 1, campaign: None }
}

pub(super) fn counts(list: &[(Happening, u32)]) -> Counts {
    let mut counts = Counts::default();
    list.iter().for_each(|&(happening, count)| counts.add(happening, count));
    counts
}

pub(super) fn tick(brain: &mut Brain, now: UnixMs) -> Vec<Order> {
    let mut orders = Vec::new();
    brain.tick(now, &mut orders);
    orders
}

/// The codes of the events.
pub(super) fn codes(orders: &[Order]) -> Vec<&'static str> {
    let code = |order: &Order| match order {
        Order::Tell(event) => Some(event.code),
        _ => None,
    };
    orders.iter().filter_map(code).collect()
}

pub(super) fn sentence(orders: &[Order], code: &str) -> String {
    let event = orders.iter().find_map(|order| match order {
        Order::Tell(event) if event.code == code => Some(event.sentence.clone()),
        _ => None,
    });
    event.unwrap_or_else(|| panic!("no {code} in {orders:?}"))
}
