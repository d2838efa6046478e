//! What a brain is made from: who there is, what is configured, and the tables that it writes for the shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mail::UnixMs;

use crate::breaker::BreakerSettings;
use crate::canary::{FirstStep, Gates};
use crate::config::Config;
use crate::lease::Budgets;
use crate::source::mixed;
use crate::standing::Standings;
use crate::warmup::Ladder;

/// What is switched on. All of it; the simulator switches single ones off to see what each is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// Limits are learned from replies (the pacers).
    pub learning: bool,
    /// Sources are chosen by affinity and standing.
    pub source_choice: bool,
    /// Mail that waits for a burnt source goes to another one.
    pub reroute: bool,
    /// Sources and senders are warmed up.
    pub warm_up: bool,
    /// Campaigns begin with a few.
    pub canary: bool,
    /// Bad campaigns and tenants are paused.
    pub breaker: bool,
    /// Full mailboxes rest.
    pub mailbox: bool,
    /// Senders that a provider wants less of are slowed there.
    pub identity: bool,
    /// A share of each path is kept for critical mail.
    pub reserve: bool,
}

impl Default for Mechanisms {
    fn default() -> Self {
        Self {
            learning: true,
            source_choice: true,
            reroute: true,
            warm_up: true,
            canary: true,
            breaker: true,
            mailbox: true,
            identity: true,
            reserve: true,
        }
    }
}

/// `[canary]`: how campaigns begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanarySettings {
    /// Whether there are canaries.
    pub enabled: bool,
    /// Recipients of the first step at one provider.
    pub size: u32,
    /// Recipients of the first step at all providers, in millionths of the list.
    pub share_ppm: u32,
    /// Recipients of the first step at least.
    pub least: u32,
    /// How many times larger each step is than the one before.
    pub growth: u32,
    /// How long complaints about the first step of a large list are awaited.
    pub wait: Duration,
    /// The longest that a step waits for its outcomes.
    pub time_limit: Duration,
}

impl Default for CanarySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            size: 300,
            share_ppm: 5_000,
            least: 50,
            growth: 4,
            wait: Duration::from_secs(60),
            time_limit: Duration::from_secs(600),
        }
    }
}

/// How a source or a sender's domain is warmed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUpPlan {
    /// The ladder.
    pub ladder: Arc<Ladder>,
    /// When it begins; `None`: with the first start of the engine. In the past: a step for each day since then.
    pub start: Option<UnixMs>,
    /// The day of the ladder that it begins with, 1 is the first.
    pub day: u32,
}

/// A source as the brain sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSetup {
    /// Its name.
    pub name: String,
    /// How it is warmed up; `None`: it is warm.
    pub warm_up: Option<WarmUpPlan>,
}

/// Everything that a brain is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setup {
    /// The sources, by their index.
    pub sources: Vec<SourceSetup>,
    /// The names of the providers, by their index.
    pub providers: Vec<String>,
    /// Providers by index that are the operator's own hosts and need no warm-up.
    pub trusted: Vec<u16>,
    /// The sources of each pool, by index, that are used for what they are there for: without the reserve. Pools of the same
    /// sources stand here once, since what waits for these is evened out once.
    pub pools: Vec<Vec<u16>>,
    /// Senders' domains that are warmed up, by their hash.
    pub identities: BTreeMap<u32, WarmUpPlan>,
    /// How campaigns begin.
    pub canary: CanarySettings,
    /// What pauses them.
    pub breaker: BreakerSettings,
    /// What is switched on.
    pub mechanisms: Mechanisms,
}

impl Setup {
    /// The setup that a configuration describes.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let source = |source: &crate::config::Source| SourceSetup {
            name: source.name.clone(),
            warm_up: source.warm_up.clone(),
        };
        let warmed = config.domains.iter().filter_map(|domain| {
            let plan = domain.warm_up.clone()?;
            Some((identity_of(&domain.name), plan))
        });
        Self {
            sources: config.sources.iter().map(source).collect(),
            providers: config.providers.iter().map(|(_, provider)| provider.name.clone()).collect(),
            trusted: vec![crate::provider::ProviderIndex::ROUTED.0],
            pools: config.pools.iter().map(sources_of).collect::<BTreeSet<_>>().into_iter().collect(),
            identities: warmed.collect(),
            canary: config.deliver.judgement.canary,
            breaker: config.deliver.judgement.breaker,
            mechanisms: Mechanisms { learning: config.deliver.learns, ..Mechanisms::default() },
        }
    }

    pub(crate) fn has_canary(&self) -> bool {
        self.mechanisms.canary && self.canary.enabled
    }

    pub(crate) fn has_breaker(&self) -> bool {
        self.mechanisms.breaker && self.breaker.enabled
    }

    /// How many sources there are in the largest pool of `source`, itself included.
    pub(crate) fn beside(&self, source: u16) -> usize {
        let its = self.pools.iter().filter(|pool| pool.contains(&source));
        its.map(Vec::len).max().unwrap_or(1)
    }

    pub(crate) fn source(&self, source: u16) -> &str {
        self.sources.get(usize::from(source)).map_or("unknown", |source| &source.name)
    }

    pub(crate) fn provider(&self, provider: u16) -> &str {
        self.providers.get(usize::from(provider)).map_or("unknown", |name| name)
    }
}

/// In their order, so that those of equal pools are equal.
fn sources_of(pool: &crate::config::Pool) -> Vec<u16> {
    let sources: BTreeSet<_> =
        pool.sources.iter().filter_map(|share| u16::try_from(share.source).ok()).collect();
    sources.into_iter().collect()
}

/// The tables that the brain writes and the shards read.
#[derive(Clone, Debug)]
pub struct Tables {
    /// How each source stands with each provider.
    pub standings: Arc<Standings>,
    /// What may go of each campaign to each provider.
    pub gates: Arc<Gates>,
    /// What may go of each sender to each provider.
    pub budgets: Arc<Budgets>,
}

impl Tables {
    /// Tables of the right size, in which nothing is limited yet but the first steps of campaigns.
    #[must_use]
    pub fn of(setup: &Setup) -> Self {
        let canary = setup.canary;
        let first = FirstStep {
            enabled: setup.has_canary(),
            size: canary.size.into(),
            share: f64::from(canary.share_ppm) / 1e6,
            least: canary.least.into(),
        };
        Self {
            standings: Arc::new(Standings::new(setup.sources.len(), setup.providers.len())),
            gates: Arc::new(Gates::new(first, setup.providers.len())),
            budgets: Arc::new(Budgets::new()),
        }
    }
}

/// The number that a sender's domain goes by; the case of its letters does not matter.
#[must_use]
pub fn identity_of(domain: &str) -> u32 {
    let lower = domain.bytes().map(|byte| byte.to_ascii_lowercase());
    let hash = lower.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (mixed(hash) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_go_by_their_domain_in_any_case() {
        assert_eq!(identity_of("Example.TEST"), identity_of("example.test"));
        assert_ne!(identity_of("example.test"), identity_of("example.tst"));
    }

    #[test]
    fn pools_of_the_same_sources_are_one() {
        let text = "[node]\ndata_dir = \"d\"\n[http]\n\
                    [[source]]\nname = \"a\"\nip = \"127.0.0.2\"\n[[source]]\nname = \"b\"\nip = \"127.0.0.3\"\n\
                    [[pool]]\nname = \"main\"\nsources = [\"b\", \"a\"]\n\
                    [[pool]]\nname = \"small\"\nsources = [\"b\"]\n";
        let checked = crate::config::check("f", text);
        let config = checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems));
        assert!(config.pools.len() > 2, "the one that nobody has written is there too");
        assert_eq!(Setup::of(&config).pools, [vec![0, 1], vec![1]]);
    }
}
