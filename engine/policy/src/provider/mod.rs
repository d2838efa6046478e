//! Who receives a domain's mail: the provider behind it, known by domain, by the names or by the addresses of its MX hosts.

mod table;

use std::net::IpAddr;
use std::ops::Index;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::pace::Caps;
use crate::{ByteRate, Limits, Network, Rate, TlsPolicy};

pub(crate) use table::Partial;

/// One provider, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name in configuration, reports and reply rules.
    pub name: String,
    /// MX hosts: `.google.com` is every host below it, a name without the dot that host alone.
    pub mx: Vec<String>,
    /// Recipient domains that are its own, whatever their MX.
    pub domains: Vec<String>,
    /// Address blocks of its MX hosts, for providers whose customers give those hosts names of their own.
    pub networks: Vec<Network>,
    /// What it is burdened with, for each source: where learning begins.
    pub limits: Limits,
    /// What learning may go up to.
    pub ceiling: Limits,
    /// What the learned rate does not fall below.
    pub rate_min: Rate,
    /// Bytes of messages per time, for each source; `None` is unlimited. Nothing is learned of it.
    pub rate_bytes: Option<ByteRate>,
    /// How connections to it are protected; `None`: as `[deliver]` says.
    pub tls: Option<TlsPolicy>,
    /// Its own waits between attempts; `None`: those of the class.
    pub retry: Option<Vec<Duration>>,
}

impl Provider {
    /// Between which limits its budgets are learned, or what is in force for ever where nothing is.
    #[must_use]
    pub const fn caps(&self, learns: bool) -> Caps {
        Caps { start: self.limits, most: self.ceiling, least: self.rate_min, learns }
    }
}

/// The position of a provider in [`Providers`]. It holds for one loaded configuration; across a reload go by the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderIndex(pub u16);

impl ProviderIndex {
    /// The provider `default`: receivers that nothing is known about.
    pub const DEFAULT: Self = Self(0);
    /// The provider `routed`: hosts that a `[[route]]` names and that are no other provider's.
    pub const ROUTED: Self = Self(1);
}

/// All providers of a configuration, and the way to find one.
#[derive(Clone, Debug, PartialEq)]
pub struct Providers {
    list: Vec<Provider>,
    domains: FxHashMap<String, ProviderIndex>,
    mx: FxHashMap<String, ProviderIndex>,
    networks: Vec<(Network, ProviderIndex)>,
}

impl Providers {
    /// The providers of the built-in table.
    #[must_use]
    pub fn builtin() -> Self {
        table::builtin()
    }

    /// Who receives the mail of `domain`, whose MX hosts are `mx_hosts` with the addresses `mx_ips` (names in lower case,
    /// without the final dot).
    ///
    /// The domain decides if some provider lists it; else the hosts if all of them are one provider's; else the addresses
    /// if all of them are; else it is [`ProviderIndex::DEFAULT`].
    #[must_use]
    pub fn identify(&self, domain: &str, mx_hosts: &[&str], mx_ips: &[IpAddr]) -> ProviderIndex {
        self.known(domain, mx_hosts, mx_ips).unwrap_or(ProviderIndex::DEFAULT)
    }

    /// The same for a domain that a `[[route]]` sends to `hosts`: [`ProviderIndex::ROUTED`] when no other provider fits.
    #[must_use]
    pub fn identify_routed(&self, domain: &str, hosts: &[&str], ips: &[IpAddr]) -> ProviderIndex {
        self.known(domain, hosts, ips).unwrap_or(ProviderIndex::ROUTED)
    }

    fn known(&self, domain: &str, mx_hosts: &[&str], mx_ips: &[IpAddr]) -> Option<ProviderIndex> {
        self.domains
            .get(domain)
            .copied()
            .or_else(|| agreed(mx_hosts.iter().map(|host| self.by_host(host))))
            .or_else(|| agreed(mx_ips.iter().map(|&ip| self.by_ip(ip))))
    }

    /// The provider with the longest pattern that fits `host`.
    fn by_host(&self, host: &str) -> Option<ProviderIndex> {
        let dots = host.match_indices('.').map(|(at, _)| &host[at..]);
        std::iter::once(host).chain(dots).find_map(|pattern| self.mx.get(pattern).copied())
    }

    /// The provider with the smallest block around `ip`.
    fn by_ip(&self, ip: IpAddr) -> Option<ProviderIndex> {
        let around = self.networks.iter().filter(|(network, _)| network.contains(ip));
        around.max_by_key(|(network, _)| network.prefix()).map(|&(_, index)| index)
    }

    /// The provider at `index`, if there is one.
    #[must_use]
    pub fn get(&self, index: ProviderIndex) -> Option<&Provider> {
        self.list.get(usize::from(index.0))
    }

    /// The provider called `name`.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<ProviderIndex> {
        let position = self.list.iter().position(|provider| provider.name == name)?;
        u16::try_from(position).ok().map(ProviderIndex)
    }

    /// All of them with their indices, `default` and `routed` first.
    pub fn iter(&self) -> impl Iterator<Item = (ProviderIndex, &Provider)> {
        (0..).map(ProviderIndex).zip(&self.list)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

/// What all say; `None` when they differ, one knows nothing, or there are none.
fn agreed(mut votes: impl Iterator<Item = Option<ProviderIndex>>) -> Option<ProviderIndex> {
    let first = votes.next()??;
    votes.all(|vote| vote == Some(first)).then_some(first)
}

impl Index<ProviderIndex> for Providers {
    type Output = Provider;

    /// The provider at `index`; `default` for an index of another configuration that is too large for this one.
    fn index(&self, index: ProviderIndex) -> &Provider {
        self.get(index).unwrap_or(&self.list[0])
    }
}

#[cfg(test)]
mod tests;
