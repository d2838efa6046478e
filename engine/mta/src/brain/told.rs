//! What the brain tells of its own decisions, in the words of the feed: places become names, hashes the names behind them.

use std::sync::{MutexGuard, PoisonError};

use policy::brain::{Event, Subject, identity_of};
use policy::provider::ProviderIndex;
use rustc_hash::FxHashMap;

use crate::decisions::{About, Decision};
use crate::shared::Shared;

/// Senders whose domains are remembered; beyond it they are learned anew.
const SENDERS_MAX: usize = 65_536;

/// As the feed tells it.
pub(super) fn decision(shared: &Shared, event: Event) -> Decision {
    let Event { at, code, subject, figures, sentence } = event;
    let figures = figures.into_iter().map(|(name, value)| (name, rounded(value))).collect();
    let about = about(shared, subject);
    Decision {
        number: 0,
        at,
        kind: code,
        about,
        from: String::new(),
        to: String::new(),
        reason: sentence,
        figures,
    }
}

/// To a thousandth: nobody reads more of it.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn about(shared: &Shared, subject: Subject) -> About {
    let named = |provider: u16| Some(shared.config.providers[ProviderIndex(provider)].name.clone());
    match subject {
        Subject::Source { source, provider } => About {
            source: Some(shared.sources.get(source).name.clone()),
            provider: named(provider),
            ..About::default()
        },
        Subject::Identity { identity, provider } => About {
            identity: Some(shared.identity_name(identity)),
            provider: provider.and_then(named),
            ..About::default()
        },
        Subject::Campaign { campaign, provider } => About {
            campaign: Some(campaign.to_string()),
            provider: provider.and_then(named),
            ..About::default()
        },
        Subject::Tenant { tenant } => {
            About { account: Some(shared.account_name(tenant)), ..About::default() }
        }
    }
}

impl Shared {
    /// The sender's domain behind a hash, if the configuration names it or mail of it has come since the start; else the
    /// hash.
    pub(crate) fn identity_name(&self, identity: u32) -> String {
        let domains = self.config.domains.iter().map(|domain| domain.name.as_str());
        let mut named = domains.filter(|name| identity_of(name) == identity);
        let met = || self.senders().get(&identity).map(|domain| domain.to_string());
        named.next().map(str::to_owned).or_else(met).unwrap_or_else(|| format!("#{identity:08x}"))
    }

    /// Remembers the domain of a sender.
    pub(super) fn met(&self, identity: u32, domain: Box<str>) {
        let mut senders = self.senders();
        if senders.len() >= SENDERS_MAX {
            senders.clear();
        }
        senders.insert(identity, domain);
    }

    fn senders(&self) -> MutexGuard<'_, FxHashMap<u32, Box<str>>> {
        // Nothing panics half-way: a poisoned lock guards a whole table.
        self.brain.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
