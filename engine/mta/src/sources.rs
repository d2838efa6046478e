//! The source addresses that mail leaves from, and the candidates of each class's pool and its reserve.

use mail::Class;
use policy::config::{Config, Source};
use policy::source::{Candidate, Candidates, choose};

/// Every source with the candidates of each class. Without `[[source]]` there is one, whose address the kernel picks.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Vec<Source>,
    /// By class index.
    pools: [Pool; 4],
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

    /// The place of the source called `name`.
    pub(crate) fn index_of(&self, name: &str) -> Option<u16> {
        let place = self.all.iter().position(|source| source.name == name)?;
        u16::try_from(place).ok()
    }

    /// All sources with their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Source)> {
        (0..).zip(&self.all)
    }

    /// The sources that mail of `class` may leave from.
    pub(crate) fn of_class(&self, class: Class) -> Candidates<'_> {
        let pool = &self.pools[class.index()];
        Candidates { main: &pool.main, reserve: &pool.reserve }
    }

    /// The source for mail of `class` from `identity` to `provider` as long as nothing stands in its way.
    pub(crate) fn usual(&self, identity: &str, class: Class, provider: &str) -> u16 {
        choose(identity, class, provider, &self.pools[class.index()].main).unwrap_or(0)
    }
}

/// The candidates of one class.
#[derive(Debug)]
struct Pool {
    main: Vec<Candidate>,
    /// Those that take over when all of them are refused.
    reserve: Vec<Candidate>,
}

fn candidates(config: &Config, class: Class) -> Pool {
    let Some(pool) = config.pools.get(config.class(class).pool) else {
        return Pool { main: Vec::new(), reserve: Vec::new() };
    };
    let candidate =
        |source: usize, weight: u32| Some(Candidate { source: u16::try_from(source).ok()?, weight });
    Pool {
        main: pool.sources.iter().filter_map(|share| candidate(share.source, share.weight)).collect(),
        reserve: pool.reserve.iter().filter_map(|&source| candidate(source, 1)).collect(),
    }
}
