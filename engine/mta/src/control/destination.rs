//! Where the mail of a domain goes: its hosts in order, its provider, and how connections to it are protected.

mod guards;
mod ourselves;
mod party;
mod reach;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mail::{Enhanced, Reply, TlsWish, UnixMs};
use policy::TlsPolicy;
use policy::config::{Access, Config, Route};
use policy::provider::ProviderIndex;
use policy::tls_report::Session;
use policy::verdict::Fault;

use crate::https::Https;
use crate::io::tls::{self, ClientTls, Identity};
use crate::mta_sts::MtaSts;
use crate::resolve::{self, FaultKind, MailHosts, ResolveFault, Resolver};
use crate::tls_report::TlsReports;

use guards::Guarded;
pub(crate) use guards::{Guard, Told};
pub(crate) use ourselves::Ourselves;
pub(crate) use party::Party;
pub(crate) use reach::Reach;

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
    /// The place of what its hosts are shown when they ask who we are, among the routes' certificates.
    pub(crate) identity: Option<usize>,
    /// The domain for which DNS has named the hosts; `None` when a route has.
    pub(crate) domain: Option<Box<str>>,
    /// How the hosts are spoken to: by the word of a route.
    pub(crate) access: Access,
    /// Whether what the domain publishes about TLS is heeded. Mail that wants it otherwise has a site of its own.
    pub(crate) wish: TlsWish,
    /// Not to be believed after this moment.
    pub(crate) expires: UnixMs,
}

/// One host of a destination.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// Lower is tried earlier; equals share the load.
    pub(crate) preference: u16,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) guard: Guard,
    /// What reports say of sessions with it; nothing where a route has named it.
    pub(crate) told: Option<Told>,
    /// Whom its certificate must name, if not itself.
    certificate_name: Option<String>,
}

impl Host {
    fn new(name: String, preference: u16, addresses: Vec<SocketAddr>) -> Self {
        Self { name, preference, addresses, guard: Guard::ByPolicy, told: None, certificate_name: None }
    }

    /// Whom its certificate must name; it is told to the server too (SNI).
    pub(crate) fn certificate_name(&self) -> &str {
        match &self.guard {
            // Where the records were found (RFC 7672 section 8.1).
            Guard::Dane(set) => set.names.first().unwrap_or(&self.name),
            _ => self.certificate_name.as_ref().unwrap_or(&self.name),
        }
    }
}

/// The mail of a domain cannot be sent anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Unroutable {
    pub(crate) fault: Fault,
    /// Whether asking again later may help.
    pub(crate) temporary: bool,
    /// Whether what stands in the way is how the domain wants its mail protected: that cannot be kept to, or not learnt.
    pub(crate) by_protection: bool,
    /// Our own words, with an enhanced code (RFC 3463, RFC 7505).
    pub(crate) reply: Reply,
}

impl Unroutable {
    /// The look-up itself has failed: it is made again later.
    pub(crate) fn failed() -> Self {
        Self::unknown("the look-up of the domain failed in the engine")
    }

    /// DNS does not say for now what it would have to say.
    fn unknown(what: &str) -> Self {
        let reply = Reply::enhanced(0, Enhanced(4, 4, 3), what);
        Self { fault: Fault::DnsFailure, temporary: true, by_protection: false, reply }
    }

    /// DNS does not say for now how a host proves itself (RFC 7672 section 2.1.2).
    fn unproven(what: &str) -> Self {
        Self { by_protection: true, ..Self::unknown(what) }
    }

    /// By what the domain has published a host may not be used.
    fn unprotected(why: &str) -> Self {
        let reply = Reply::enhanced(0, Enhanced(4, 7, 5), why);
        Self { fault: Fault::TlsCertificate, temporary: true, by_protection: true, reply }
    }

    /// DNS sends the mail to where it must not go; `detail` is the last number of the code 5.4.x.
    fn forbidden(detail: u16, what: String) -> Self {
        let reply = Reply::enhanced(0, Enhanced(5, 4, detail), what);
        Self { fault: Fault::ForbiddenAddress, temporary: false, by_protection: false, reply }
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
    roots: Arc<rustls::RootCertStore>,
    /// What hosts are shown that ask who we are, in the order of the routes that have a certificate.
    identities: Vec<Identity>,
    reach: Reach,
    https: Https,
    /// Unless the configuration does without.
    mta_sts: Option<MtaSts>,
    reports: TlsReports,
}

impl Destinations {
    /// Reads the certificates that the configuration names.
    ///
    /// # Errors
    /// One sentence that names the file, or says why the resolver cannot be set up.
    pub(crate) fn new(config: Arc<Config>, reports: &TlsReports) -> Result<Self, String> {
        let resolver = Resolver::new(&config.dns).map_err(|error| error.to_string())?;
        let roots = tls::roots(config.deliver.ca_file.as_deref()).map_err(|fault| fault.to_string())?;
        let certificates = config.routes.iter().filter_map(|route| route.certificate.as_ref());
        let identities = certificates
            .map(|files| tls::identity(&files.cert_file, &files.key_file))
            .collect::<Result<_, _>>()
            .map_err(|fault| fault.to_string())?;
        let ourselves = Ourselves::new(&config, &super::start::host_name(&config));
        let reach = Reach::new(ourselves, &config.deliver.allow_private);
        let https = Https::new(resolver.clone(), Arc::clone(&roots), reach.clone());
        let open = || MtaSts::open(&config.node.data_dir, resolver.clone(), https.clone(), reports.clone());
        let mta_sts = config.deliver.mta_sts.then(open);
        Ok(Self { config, resolver, roots, identities, reach, https, mta_sts, reports: reports.clone() })
    }

    /// Who asks DNS.
    pub(crate) const fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Who asks hosts over HTTPS.
    pub(crate) const fn https(&self) -> &Https {
        &self.https
    }

    /// The policies of domains, unless the configuration does without.
    pub(crate) const fn mta_sts(&self) -> Option<&MtaSts> {
        self.mta_sts.as_ref()
    }

    /// The TLS configurations for one shard.
    pub(crate) fn client_tls(&self) -> ClientTls {
        ClientTls::new(&self.roots, &self.identities)
    }

    /// Where the mail of `domain` goes, by route or by DNS. With `TLS-Required: No` what the domain publishes about TLS is
    /// not heeded (RFC 8689 section 3); what the operator says is.
    pub(crate) async fn find(
        &self,
        domain: &str,
        wish: TlsWish,
        now: UnixMs,
    ) -> Result<Destination, Unroutable> {
        let domain = &*resolve::as_asked(domain);
        match self.config.route(domain) {
            Some(route) => self.by_route(domain, route, now).await,
            None => self.by_dns(domain, wish, now).await,
        }
    }

    async fn by_route(&self, domain: &str, route: &Route, now: UnixMs) -> Result<Destination, Unroutable> {
        if let Some(known) = by_addresses(&self.config, domain, now) {
            return Ok(known);
        }
        let mut hosts = Vec::with_capacity(route.hosts.len());
        let mut ttl = LITERAL_TTL;
        let mut fault = None;
        for (place, stated) in (0..).zip(&route.hosts) {
            match self.resolver.host(&stated.host).await {
                Ok(found) => {
                    ttl = ttl.min(found.expires_in);
                    let ips = found.hosts.into_iter().flat_map(|host| host.addresses).collect();
                    hosts.push(routed(route, (place, &stated.host), with_port(ips, stated.port)));
                }
                Err(error) => fault = Some(error),
            }
        }
        match fault {
            Some(error) if hosts.is_empty() => Err(Unroutable { temporary: true, ..unroutable(&error) }),
            _ => Ok(finished(&self.config, domain, route, hosts, now + ttl)),
        }
    }

    async fn by_dns(&self, domain: &str, wish: TlsWish, now: UnixMs) -> Result<Destination, Unroutable> {
        let found = self.resolver.mail_hosts(domain).await.map_err(|error| unroutable(&error))?;
        let hosts = self.reach.ourselves().without(found.in_order(now.0));
        if hosts.is_empty() {
            return Err(Unroutable::forbidden(
                6,
                format!("mail for {domain} would come back: DNS sends it here"),
            ));
        }
        let dialled: Vec<Host> = hosts.iter().map(|host| self.dialled(host)).collect();
        if dialled.iter().all(|host| host.addresses.is_empty()) {
            return Err(match &found.incomplete {
                Some(what) => Unroutable::unknown(what),
                None => Unroutable::forbidden(
                    4,
                    format!("the DNS names only addresses for {domain} that are private or not usable"),
                ),
            });
        }
        let provider = provider_of(&self.config, domain, None, &dialled);
        let tls = self.config.tls(None, provider);
        let mut guarded = Guarded::new(dialled, found.expires_in);
        if tls != TlsPolicy::Off && wish != TlsWish::NotRequired {
            self.heed_published(domain, &found, &hosts, &mut guarded, now).await;
        }
        let Guarded { hosts, expires_in, lost, .. } = guarded;
        if let (Some(lost), true) = (lost, hosts.iter().all(|host| host.addresses.is_empty())) {
            return Err(lost);
        }
        let access = Access::default();
        let site = site_of(&hosts, (tls, wish), None, &access);
        let (domain, expires) = (Some(domain.into()), now + expires_in);
        Ok(Destination { site, hosts, provider, tls, identity: None, access, domain, wish, expires })
    }

    /// A host with those of its addresses that DNS may make the engine dial.
    fn dialled(&self, host: &resolve::Host) -> Host {
        let ips = host.addresses.iter().copied().filter(|&ip| self.may_dial(ip)).collect();
        Host::new(host.name.clone(), host.preference, with_port(ips, self.config.deliver.port))
    }

    /// Whether the engine may connect to an address that DNS has named.
    pub(crate) fn may_dial(&self, ip: IpAddr) -> bool {
        self.reach.may_dial(ip)
    }

    /// Guards the hosts by what their domain has published. `asked` are the hosts as DNS gave them, in the same order.
    async fn heed_published(
        &self,
        domain: &str,
        found: &MailHosts,
        asked: &[&resolve::Host],
        guarded: &mut Guarded,
        now: UnixMs,
    ) {
        let port = self.config.deliver.port;
        if self.config.deliver.dane && found.signed {
            let answers = asked.iter().map(|host| self.resolver.tlsa(host, port));
            guarded.heed_dane(domain, join_all(answers).await);
        }
        if let Some(mta_sts) = &self.mta_sts {
            match mta_sts.find(domain, now).await {
                Ok(policy) => guarded.heed_sts(domain, &policy),
                Err(at_most) => guarded.without_sts(at_most),
            }
        }
        guarded.tell_the_rest(domain);
        for (policy, failure) in guarded.failures.drain(..) {
            self.reports.record(Session { at: now, policy, failure: Some(failure) });
        }
    }
}

/// The destination of a domain whose route names addresses only: no DNS is needed.
pub(crate) fn by_addresses(config: &Config, domain: &str, now: UnixMs) -> Option<Destination> {
    let domain = &*resolve::as_asked(domain);
    let route = config.route(domain)?;
    let literal = |(place, stated): (u16, &policy::config::HostPort)| {
        let ip: IpAddr = stated.host.parse().ok()?;
        Some(routed(route, (place, &stated.host), vec![SocketAddr::new(ip, stated.port)]))
    };
    let hosts = (0..).zip(&route.hosts).map(literal).collect::<Option<Vec<_>>>()?;
    Some(finished(config, domain, route, hosts, now + LITERAL_TTL))
}

/// A host of a route.
fn routed(route: &Route, (preference, name): (u16, &str), addresses: Vec<SocketAddr>) -> Host {
    Host { certificate_name: route.tls_name.clone(), ..Host::new(name.to_owned(), preference, addresses) }
}

/// The place of the route's certificate among those of all routes.
fn identity_of(config: &Config, route: &Route) -> Option<usize> {
    route.certificate.as_ref()?;
    let with_one = config.routes.iter().filter(|route| route.certificate.is_some());
    with_one.enumerate().find(|(_, other)| std::ptr::eq(*other, route)).map(|(place, _)| place)
}

fn with_port(ips: Vec<IpAddr>, port: u16) -> Vec<SocketAddr> {
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn finished(config: &Config, domain: &str, route: &Route, hosts: Vec<Host>, expires: UnixMs) -> Destination {
    let provider = provider_of(config, domain, Some(route), &hosts);
    let tls = config.tls(Some(route), provider);
    let identity = identity_of(config, route);
    let access = route.access.clone();
    // A route is the operator's word, which no mail can wish away.
    let wish = TlsWish::Unstated;
    let site = site_of(&hosts, (tls, wish), identity, &access);
    Destination { site, hosts, provider, tls, identity, access, domain: None, wish, expires }
}

fn provider_of(config: &Config, domain: &str, route: Option<&Route>, hosts: &[Host]) -> ProviderIndex {
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let ips: Vec<IpAddr> = hosts.iter().flat_map(|host| host.addresses.iter().map(SocketAddr::ip)).collect();
    match route {
        Some(_) => config.providers.identify_routed(domain, &names, &ips),
        None => config.providers.identify(domain, &names, &ips),
    }
}

/// Equal for equal hosts and ports that are spoken to in the same way, in whatever order DNS gave the addresses.
fn site_of(
    hosts: &[Host],
    (tls, wish): (TlsPolicy, TlsWish),
    identity: Option<usize>,
    access: &Access,
) -> u64 {
    let of_host = |host: &Host| {
        let mut hasher = DefaultHasher::new();
        let port = host.addresses.first().map_or(0, SocketAddr::port);
        // Not the records of DANE themselves: when they change, the next connection goes by the new ones.
        let guard = std::mem::discriminant(&host.guard);
        (&host.name, port, guard, host.certificate_name()).hash(&mut hasher);
        hasher.finish()
    };
    let mut each: Vec<u64> = hosts.iter().map(of_host).collect();
    each.sort_unstable();
    let mut hasher = DefaultHasher::new();
    // Mail that goes whatever its domain publishes keeps apart: neither is that of others sent as it is, nor reported on.
    let is_regardless = wish == TlsWish::NotRequired;
    (each, tls, is_regardless, identity, access).hash(&mut hasher);
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
    Unroutable { fault: kind, temporary: !fault.is_permanent(), by_protection: false, reply }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_that_goes_regardless_has_a_site_of_its_own() {
        let hosts = [Host::new("mx.a.test".to_owned(), 10, Vec::new())];
        let site = |wish| site_of(&hosts, (TlsPolicy::Opportunistic, wish), None, &Access::default());
        assert_eq!(site(TlsWish::Unstated), site(TlsWish::Required));
        assert_ne!(site(TlsWish::Unstated), site(TlsWish::NotRequired));
    }
}
