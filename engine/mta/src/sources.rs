//! The source addresses that mail leaves from, and the candidates of each class's pool.

use mail::Class;
use policy::config::{Config, Source};
use policy::source::{Candidate, choose};

/// Every source with the candidates of each class. Without `[[source]]` there is one, whose address the kernel picks.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Vec<Source>,
    /// By class index.
    pools: [Vec<Candidate>; 4],
    /// The name given in EHLO when the source names none.
    host_name: String,
}

impl Sources {
    pub(crate) fn new(config: &Config, host_name: String) -> Self {
        let pools = Class::ALL.map(|class| candidates(config, class));
        Self { all: config.sources.clone(), pools, host_name }
    }

    pub(crate) fn get(&self, index: u16) -> &Source {
        &self.all[usize::from(index) % self.all.len()]
    }

    pub(crate) fn ehlo(&self, index: u16) -> &str {
        self.get(index).ehlo.as_deref().unwrap_or(&self.host_name)
    }

    /// The source for mail of `class` from `identity` to `provider`: always the same while the pool stays the same.
    pub(crate) fn choose(&self, identity: &str, class: Class, provider: &str) -> u16 {
        choose(identity, class, provider, &self.pools[class.index()]).unwrap_or(0)
    }
}

fn candidates(config: &Config, class: Class) -> Vec<Candidate> {
    let Some(pool) = config.pools.get(config.class(class).pool) else { return Vec::new() };
    let candidate = |share: &policy::config::Share| {
        let source = u16::try_from(share.source).ok()?;
        Some(Candidate { source, weight: share.weight })
    };
    pool.sources.iter().filter_map(candidate).collect()
}
