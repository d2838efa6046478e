//! A change of a budget, on its way from the shard that made it to the feed of decisions.

use std::collections::BTreeMap;

use mail::UnixMs;
use policy::pace::{BudgetKey, Change, Changed as Limit};

use crate::decisions::{About, Decision};
use crate::shard::Shard;
use crate::shared::Shared;

/// What a pacer has changed.
pub(crate) struct Changed {
    at: UnixMs,
    key: BudgetKey,
    /// Hosts of the site, where the provider is only a name.
    site: Option<String>,
    change: Change,
    /// What the receiver said; empty when it said nothing.
    said: String,
}

impl Changed {
    pub(crate) fn new(shard: &Shard, key: BudgetKey, change: Change, said: &str) -> Self {
        let site = (key.site != 0).then(|| shard.site_of(key)).flatten();
        Self { at: shard.now(), key, site, change, said: clipped(said) }
    }

    /// As the feed tells it.
    pub(super) fn decision(self, shared: &Shared) -> Decision {
        let (source, provider) = shared.names(self.key.source, self.key.provider);
        let Self { at, site, change, said, .. } = self;
        let kind = match change.what {
            Limit::Rate => "budget.rate",
            Limit::Connections => "budget.connections",
            Limit::MessagesPerConnection => "budget.messages_per_connection",
        };
        let reason =
            if said.is_empty() { change.reason.to_owned() } else { format!("{}: {said}", change.reason) };
        let about = About { source: Some(source), provider: Some(provider), site, ..About::default() };
        Decision {
            number: 0,
            at,
            kind,
            about,
            from: change.from,
            to: change.to,
            reason,
            figures: BTreeMap::new(),
        }
    }
}

/// A reply may be long, and the feed keeps thousands.
const SAID_CHARACTERS_MAX: usize = 300;

/// The beginning of what a receiver said.
pub(crate) fn clipped(said: &str) -> String {
    said.chars().take(SAID_CHARACTERS_MAX).collect()
}
