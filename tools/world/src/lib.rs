//! A pretend internet: mailbox providers that answer mail as real ones do, each with its limits, its moods and its words.
//!
//! A world is a state machine: whoever uses it says what arrives and when, and is told the reply, how long it takes,
//! and whether the connection ends. So it serves real SMTP and simulations in virtual time alike, and gives the same
//! answers for the same seed and the same questions. It refuses to do IO and to read a clock.

mod chance;
mod connection;
mod file;
mod line;
mod provider;
mod units;
mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mail::{Reply, UnixMs};

pub use connection::Connection;
pub use file::WorldError;
pub use line::{Latency, Line};
pub use provider::Counters;
pub use words::{Cause, Manner};

use provider::Provider;

const BUILTIN: &str = include_str!("../data/builtin.toml");
/// The domain of whoever has all that nobody else has.
const CATCH_ALL: &str = "*";

/// Names a provider of one world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderIndex(u16);

/// What a provider answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its words.
    pub reply: Reply,
    /// How long it takes to say them.
    pub delay: Duration,
    /// Whether it closes the connection after them.
    pub close: bool,
    /// Why it did not take the mail; `None` when it did.
    pub cause: Option<Cause>,
}

/// Pretend providers and what they remember.
#[derive(Debug)]
pub struct World {
    pub(crate) providers: Vec<Provider>,
    by_domain: BTreeMap<String, ProviderIndex>,
    /// The first moment it heard of: outages count from there.
    start: Option<UnixMs>,
}

impl World {
    /// Five providers, in the manner of Gmail, Outlook, Yahoo, Libero, and of a small server that has all other domains.
    #[must_use]
    pub fn builtin(seed: u64) -> Self {
        Self::from_toml(BUILTIN, seed).expect("the world in the binary is right: a test reads it")
    }

    /// The world of a file; a seed in the file goes before `seed`. `data/builtin.toml` in the sources is one.
    ///
    /// # Errors
    /// Says what is wrong, and in which line.
    pub fn from_toml(text: &str, seed: u64) -> Result<Self, WorldError> {
        let file = file::read(text)?;
        let seed = file.seed.unwrap_or(seed);
        let mut by_domain = BTreeMap::new();
        for (provider, index) in file.provider.iter().zip(0..) {
            let domains = provider.domains.iter().cloned();
            by_domain.extend(domains.map(|domain| (domain, ProviderIndex(index))));
        }
        let providers = file.provider.into_iter().map(|settings| Provider::new(settings, seed)).collect();
        Ok(Self { providers, by_domain, start: None })
    }

    /// All providers.
    pub fn providers(&self) -> impl Iterator<Item = ProviderIndex> + use<> {
        (0..self.providers.len() as u16).map(ProviderIndex)
    }

    /// The provider that has `domain`, in lower case.
    #[must_use]
    pub fn provider_for(&self, domain: &str) -> Option<ProviderIndex> {
        self.by_domain.get(domain).or_else(|| self.by_domain.get(CATCH_ALL)).copied()
    }

    /// The provider of this name.
    #[must_use]
    pub fn provider_named(&self, name: &str) -> Option<ProviderIndex> {
        self.providers().find(|&provider| self.name(provider) == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self, provider: ProviderIndex) -> &str {
        &self.provider(provider).settings.name
    }

    /// The name of its mail server.
    #[must_use]
    pub fn host(&self, provider: ProviderIndex) -> &str {
        self.provider(provider).host()
    }

    /// Its domains; `*` stands for all that no other has.
    #[must_use]
    pub fn domains(&self, provider: ProviderIndex) -> &[String] {
        &self.provider(provider).settings.domains
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self, provider: ProviderIndex) -> Counters {
        self.provider(provider).counters
    }

    fn provider(&self, provider: ProviderIndex) -> &Provider {
        &self.providers[usize::from(provider.0)]
    }

    pub(crate) fn provider_mut(&mut self, provider: ProviderIndex) -> &mut Provider {
        &mut self.providers[usize::from(provider.0)]
    }

    /// How old the world is at `now`.
    pub(crate) fn age(&mut self, now: UnixMs) -> Duration {
        now.since(*self.start.get_or_insert(now))
    }

    /// A connection from `ip` to an address behind which all providers stand: the recipients decide whose mail it is.
    pub fn connect(&mut self, ip: IpAddr, now: UnixMs) -> (Connection, Answer) {
        connection::connect(self, None, ip, now)
    }

    /// A connection from `ip` to the mail server of one provider.
    pub fn connect_to(&mut self, provider: ProviderIndex, ip: IpAddr, now: UnixMs) -> (Connection, Answer) {
        connection::connect(self, Some(provider), ip, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_world_has_five_providers_and_all_domains() {
        let world = World::builtin(1);
        let names: Vec<_> = world.providers().map(|provider| world.name(provider)).collect();
        assert_eq!(names, ["gmail", "outlook", "yahoo", "libero", "small-server"]);
        for (domain, name) in
            [("gmail.com", "gmail"), ("virgilio.test", "libero"), ("x.example", "small-server")]
        {
            assert_eq!(world.provider_for(domain).map(|provider| world.name(provider)), Some(name));
        }
        assert!(world.provider_named("nobody").is_none());
    }
}
