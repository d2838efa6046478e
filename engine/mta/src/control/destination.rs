//! Where the mail of a domain goes: its hosts in order, its provider, and how connections to it are protected.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mail::{Enhanced, Reply, UnixMs};
use policy::TlsPolicy;
use policy::config::{Access, Config, Route};
use policy::provider::ProviderIndex;
use policy::verdict::Fault;

use crate::resolve::{self, FaultKind, MailHosts, ResolveFault, Resolver};

/// How long a destination made of addresses alone, without DNS, is believed: it changes with the configuration only.
const LITERAL_TTL: Duration = Duration::from_secs(24 * 3600);

/// One destination. Domains with equal hosts share a site, so they share paths and connections.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Names the set of hosts.
    pub(crate) site: u64,
    /// In the order in which they are to be tried.
    pub(crate) hosts: Vec<Host>,
    pub(crate) provider: ProviderIndex,
    pub(crate) tls: TlsPolicy,
    /// How the hosts are spoken to: by the word of a route.
    pub(crate) access: Access,
    /// Not to be believed after this moment.
    pub(crate) expires: UnixMs,
}

/// One host of a destination.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The mail of a domain cannot be sent anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Unroutable {
    pub(crate) fault: Fault,
    /// Whether asking again later may help.
    pub(crate) temporary: bool,
    /// Our own words, with an enhanced code (RFC 3463, RFC 7505).
    pub(crate) reply: Reply,
}

impl Unroutable {
    /// The look-up itself has failed: it is made again later.
    pub(crate) fn failed() -> Self {
        let reply = Reply::enhanced(0, Enhanced(4, 4, 3), "the look-up of the domain failed in the engine");
        Self { fault: Fault::DnsFailure, temporary: true, reply }
    }
}

impl Destination {
    /// Whether its provider is only a name for sites that have nothing in common: then limits hold for each site by itself.
    pub(crate) const fn is_alone(&self) -> bool {
        matches!(self.provider, ProviderIndex::DEFAULT | ProviderIndex::ROUTED)
    }

    /// All hosts, for people.
    pub(crate) fn site_name(&self) -> String {
        self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// Finds destinations. Lives on the control runtime; shards keep what it found.
pub(crate) struct Destinations {
    config: Arc<Config>,
    resolver: Resolver,
}

impl Destinations {
    pub(crate) fn new(config: Arc<Config>) -> std::io::Result<Self> {
        let resolver = Resolver::new(&config.dns.servers)?;
        Ok(Self { config, resolver })
    }

    /// Where the mail of `domain` goes, by route or by DNS.
    pub(crate) async fn find(&self, domain: &str, now: UnixMs) -> Result<Destination, Unroutable> {
        match self.config.route(domain) {
            Some(route) => self.by_route(domain, route, now).await,
            None => self.by_dns(domain, now).await,
        }
    }

    async fn by_route(&self, domain: &str, route: &Route, now: UnixMs) -> Result<Destination, Unroutable> {
        if let Some(known) = by_addresses(&self.config, domain, now) {
            return Ok(known);
        }
        let mut hosts = Vec::with_capacity(route.hosts.len());
        let mut ttl = LITERAL_TTL;
        let mut fault = None;
        for stated in &route.hosts {
            match self.resolver.host(&stated.host).await {
                Ok(found) => {
                    ttl = ttl.min(found.expires_in);
                    let ips = found.hosts.into_iter().flat_map(|host| host.addresses).collect();
                    hosts.push(Host { name: stated.host.clone(), addresses: with_port(ips, stated.port) });
                }
                Err(error) => fault = Some(error),
            }
        }
        match fault {
            Some(error) if hosts.is_empty() => Err(Unroutable { temporary: true, ..unroutable(&error) }),
            _ => Ok(finished(&self.config, domain, Some(route), hosts, now + ttl)),
        }
    }

    async fn by_dns(&self, domain: &str, now: UnixMs) -> Result<Destination, Unroutable> {
        let found = self.resolver.mail_hosts(domain).await.map_err(|error| unroutable(&error))?;
        let expires = now + found.expires_in;
        let hosts = self.dialable(&found, now);
        if hosts.iter().all(|host| host.addresses.is_empty()) {
            let text = format!("the DNS names only addresses for {domain} that are private or not usable");
            return Err(Unroutable {
                fault: Fault::ForbiddenAddress,
                temporary: false,
                reply: Reply::enhanced(0, Enhanced(5, 4, 4), text),
            });
        }
        Ok(finished(&self.config, domain, None, hosts, expires))
    }

    /// Drops the addresses that DNS must not make the engine dial.
    fn dialable(&self, found: &MailHosts, now: UnixMs) -> Vec<Host> {
        let deliver = &self.config.deliver;
        let allowed = |ip: &IpAddr| resolve::dialable(*ip, &deliver.allow_private);
        found
            .in_order(now.0)
            .into_iter()
            .map(|host| {
                let ips = host.addresses.iter().copied().filter(allowed).collect();
                Host { name: host.name.clone(), addresses: with_port(ips, deliver.port) }
            })
            .collect()
    }
}

/// The destination of a domain whose route names addresses only: no DNS is needed.
pub(crate) fn by_addresses(config: &Config, domain: &str, now: UnixMs) -> Option<Destination> {
    let route = config.route(domain)?;
    let literal = |stated: &policy::config::HostPort| {
        let ip: IpAddr = stated.host.parse().ok()?;
        Some(Host { name: stated.host.clone(), addresses: vec![SocketAddr::new(ip, stated.port)] })
    };
    let hosts = route.hosts.iter().map(literal).collect::<Option<Vec<_>>>()?;
    Some(finished(config, domain, Some(route), hosts, now + LITERAL_TTL))
}

fn with_port(ips: Vec<IpAddr>, port: u16) -> Vec<SocketAddr> {
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn finished(
    config: &Config,
    domain: &str,
    route: Option<&Route>,
    hosts: Vec<Host>,
    expires: UnixMs,
) -> Destination {
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let ips: Vec<IpAddr> = hosts.iter().flat_map(|host| host.addresses.iter().map(SocketAddr::ip)).collect();
    let provider = match route {
        Some(_) => config.providers.identify_routed(domain, &names, &ips),
        None => config.providers.identify(domain, &names, &ips),
    };
    let tls = config.tls(route, provider);
    let access = route.map(|route| route.access.clone()).unwrap_or_default();
    Destination { site: site_of(&hosts, tls, &access), hosts, provider, tls, access, expires }
}

/// Equal for equal hosts, ports, TLS policy, protocol and login, in whatever order DNS gave the addresses.
fn site_of(hosts: &[Host], tls: TlsPolicy, access: &Access) -> u64 {
    let mut names: Vec<(&str, u16)> = hosts
        .iter()
        .map(|host| (host.name.as_str(), host.addresses.first().map_or(0, SocketAddr::port)))
        .collect();
    names.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (names, tls).hash(&mut hasher);
    if access != &Access::default() {
        access.hash(&mut hasher);
    }
    hasher.finish()
}

fn unroutable(fault: &ResolveFault) -> Unroutable {
    let kind = match fault.kind {
        FaultKind::NotADomain | FaultKind::NoDomain => Fault::DnsNotFound,
        FaultKind::NullMx => Fault::NullMx,
        FaultKind::NoRecords | FaultKind::NoAddress => Fault::DnsNoHost,
        FaultKind::ServerFailure => Fault::DnsFailure,
        FaultKind::NoAnswer => Fault::DnsTimeout,
    };
    // Nobody has replied: the sentence is ours.
    let reply = Reply { code: 0, ..fault.reply() };
    Unroutable { fault: kind, temporary: !fault.is_permanent(), reply }
}
