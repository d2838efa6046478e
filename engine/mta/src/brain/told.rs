//! What the brain tells of its own decisions, in the words of the feed: places become names, hashes the names behind them.

use policy::brain::{Event, Subject, identity_of};
use policy::provider::ProviderIndex;

use crate::decisions::{About, Decision};
use crate::shared::Shared;

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
    /// The sender's domain behind a hash, if the configuration names it; else the hash.
    pub(crate) fn identity_name(&self, identity: u32) -> String {
        let domains = self.config.domains.iter().map(|domain| domain.name.as_str());
        let mut named = domains.filter(|name| identity_of(name) == identity);
        named.next().map_or_else(|| format!("#{identity:08x}"), str::to_owned)
    }
}
