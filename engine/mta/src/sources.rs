//! The source addresses that mail leaves from, and whose pool it leaves by: the account's, or else that of its class.

use mail::Class;
use policy::config::{Config, Source};
use policy::source::{Candidate, Candidates, choose};
use rustc_hash::FxHashMap;

use crate::shard::tenant_number;

/// Every source with the candidates of each pool. Without `[[source]]` there is one, whose address the kernel picks.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Vec<Source>,
    pools: Vec<Pool>,
    /// The places of the classes' pools, by class index.
    of_class: [usize; 4],
    /// The places of the pools of accounts that have one of their own, by the account's number.
    of_account: FxHashMap<u32, usize>,
    /// The name given in EHLO when the source names none.
    host_name: String,
}

impl Sources {
    pub(crate) fn new(config: &Config, host_name: String) -> Self {
        let own = |account: &policy::config::Account| Some((tenant_number(&account.name), account.pool?));
        Self {
            all: config.sources.clone(),
            pools: config.pools.iter().map(Pool::of).collect(),
            of_class: Class::ALL.map(|class| config.class(class).pool),
            of_account: config.accounts.iter().filter_map(own).collect(),
            host_name,
        }
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

    /// The place of the pool that an account, by its number, has for itself, if it has one.
    pub(crate) fn own_pool(&self, tenant: u32) -> Option<usize> {
        // Most engines have no such account, and then no map is looked into.
        if self.of_account.is_empty() { None } else { self.of_account.get(&tenant).copied() }
    }

    /// The sources that mail of an account, by its number, and of `class` may leave from.
    pub(crate) fn of(&self, tenant: u32, class: Class) -> Candidates<'_> {
        let place = self.own_pool(tenant).unwrap_or(self.of_class[class.index()]);
        self.pools
            .get(place)
            .map_or_else(Candidates::default, |pool| Candidates { main: &pool.main, reserve: &pool.reserve })
    }

    /// The source for such mail from `identity` to `provider` as long as nothing stands in its way.
    pub(crate) fn usual(&self, identity: &str, tenant: u32, class: Class, provider: &str) -> u16 {
        choose(identity, class, provider, self.of(tenant, class).main).unwrap_or(0)
    }
}

/// The candidates of one pool.
#[derive(Debug)]
struct Pool {
    main: Vec<Candidate>,
    /// Those that take over when all of them are refused.
    reserve: Vec<Candidate>,
}

impl Pool {
    fn of(pool: &policy::config::Pool) -> Self {
        let candidate =
            |source: usize, weight: u32| Some(Candidate { source: u16::try_from(source).ok()?, weight });
        Self {
            main: pool.sources.iter().filter_map(|share| candidate(share.source, share.weight)).collect(),
            reserve: pool.reserve.iter().filter_map(|&source| candidate(source, 1)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_with_a_pool_of_its_own_uses_it_for_every_class_and_others_that_of_the_class() {
        let text = "[node]\ndata_dir = \"/x\"\n[[smtp_listener]]\naddress = \"127.0.0.1:0\"\n[[source]]\nname = \"a\"\nip = \"127.0.0.2\"\n\
                    [[source]]\nname = \"b\"\nip = \"127.0.0.3\"\n\
                    [[pool]]\nname = \"one\"\nsources = [\"a\"]\n\
                    [[pool]]\nname = \"two\"\nsources = [\"b\"]\nreserve = [\"a\"]\n\
                    [class.bulk]\npool = \"one\"\n[class.critical]\npool = \"one\"\n\
                    [[account]]\nname = \"shop\"\npool = \"two\"\n[[account]]\nname = \"other\"\n";
        let config = policy::config::check("test.toml", text).config.expect("a configuration");
        let sources = Sources::new(&config, "mx.test".to_owned());
        let usual = |account: &str, class| sources.usual("s.test", tenant_number(account), class, "google");
        for class in [Class::Critical, Class::Bulk] {
            assert_eq!([usual("shop", class), usual("other", class), usual("", class)], [1, 0, 0]);
        }
        assert_eq!(sources.of(tenant_number("shop"), Class::Bulk).reserve.len(), 1);
    }
}
