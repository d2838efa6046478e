//! Which name servers are asked, and whose word on signatures is taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::{Hosts, NameServerPool, PoolContext, TlsConfig};
use policy::config::{Dns, Dnssec};

/// How often a question without an answer is repeated (RFC 1123 section 6.1.3.3).
const REPEATS: usize = 2;
/// Iterations of NSEC3 beyond which a zone counts as unsigned, and as forged (RFC 9276 section 3.2).
const NSEC3_SOFT_MAX: u16 = 100;
const NSEC3_HARD_MAX: u16 = 500;

type Pool = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

/// The name servers, and how an answer of theirs comes to count as signed.
pub(super) enum Servers {
    /// Never.
    Plain(Pool),
    /// When they say so by the AD bit.
    TrustAd(Pool),
    /// When its signatures are good.
    Validating(DnssecDnsHandle<Pool>),
}

impl Servers {
    /// Those that `dns` names, or those of the system if it names none, with the hosts file that goes with these.
    pub(super) fn new(dns: &Dns, server_timeout: Duration) -> io::Result<(Self, Hosts)> {
        let (config, mut options) = match dns.servers.is_empty() {
            true => of_system(),
            false => (named(&dns.servers), ResolverOpts::default()),
        };
        let hosts = match dns.servers.is_empty() {
            true => Hosts::from_system().unwrap_or_default(),
            false => Hosts::default(),
        };
        options.timeout = server_timeout;
        let (_, _, servers) = config.into_parts();
        let dnssec = settled(dns.dnssec, &servers);
        if (dns.dnssec, dnssec) == (Dnssec::Auto, Dnssec::TrustAd) {
            tracing::info!(
                "the resolver on this host is believed when it says that an answer is signed (AD), which DANE stands on; \
                 if it passes on the word of others, write dns.dnssec = \"validate\" or \"off\""
            );
        }
        let tls = TlsConfig::new().map_err(io::Error::other)?;
        let context = Arc::new(PoolContext::new(options, tls));
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        let pool = RetryDnsHandle::new(pool, REPEATS);
        let servers = match dnssec {
            Dnssec::Validate => Self::Validating(validating(pool, dns.trust_anchor_file.as_deref())?),
            Dnssec::TrustAd => Self::TrustAd(pool),
            Dnssec::Auto | Dnssec::Off => Self::Plain(pool),
        };
        Ok((servers, hosts))
    }

    /// Whether any answer can count as signed.
    pub(super) const fn know_signatures(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// Asks one question.
    pub(super) async fn ask(&self, query: Query) -> Result<DnsResponse, NetError> {
        let mut options = DnsRequestOptions::default();
        let response = match self {
            Self::Plain(pool) => pool.lookup(query, options).first_answer().await,
            Self::TrustAd(pool) => {
                let mut request = DnsRequest::from_query(query, options);
                // "Tell me": without it the bit would not be set in the answer (RFC 6840 section 5.7).
                request.metadata.authentic_data = true;
                pool.send(request).first_answer().await
            }
            Self::Validating(validator) => {
                options.edns_set_dnssec_ok = true;
                validator.lookup(query, options).first_answer().await
            }
        };
        Ok(DnsError::from_response(response?)?)
    }
}

fn settled(stated: Dnssec, servers: &[NameServerConfig]) -> Dnssec {
    let is_here = servers.iter().all(|server| server.ip.is_loopback());
    match stated {
        Dnssec::Auto if is_here => Dnssec::TrustAd,
        Dnssec::Auto => Dnssec::Off,
        other => other,
    }
}

fn validating(pool: Pool, anchors: Option<&Path>) -> io::Result<DnssecDnsHandle<Pool>> {
    let anchors = match anchors {
        None => TrustAnchors::default(),
        Some(path) => TrustAnchors::from_file(path).map_err(|fault| {
            let path = path.display();
            io::Error::other(format!("the trust anchors of {path} cannot be read as DNSKEY records: {fault}"))
        })?,
    };
    let validator = DnssecDnsHandle::with_trust_anchor(pool, Arc::new(anchors));
    Ok(validator.nsec3_iteration_limits(Some(NSEC3_SOFT_MAX), Some(NSEC3_HARD_MAX)))
}

fn named(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = address.port());
        NameServerConfig::new(address.ip(), true, connections)
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

/// The servers of /etc/resolv.conf; without any, the one on this host, as the C library does.
fn of_system() -> (ResolverConfig, ResolverOpts) {
    let mut options = ResolverOpts::default();
    options.use_hosts_file = ResolveHosts::Always;
    match hickory_resolver::system_conf::read_system_conf() {
        Ok((config, _)) => (config, options),
        Err(fault) => {
            tracing::warn!(%fault, "no name server in /etc/resolv.conf; 127.0.0.1 is asked");
            (named(&[SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53)]), options)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_resolver_on_this_host_is_believed_unasked() {
        let servers = |list: &[&str]| {
            let addresses: Vec<SocketAddr> =
                list.iter().map(|text| text.parse().expect("an address")).collect();
            named(&addresses).into_parts().2
        };
        let (here, mixed) =
            (servers(&["127.0.0.53:53", "[::1]:53"]), servers(&["127.0.0.1:53", "192.0.2.1:53"]));
        assert_eq!(settled(Dnssec::Auto, &here), Dnssec::TrustAd);
        assert_eq!(settled(Dnssec::Auto, &mixed), Dnssec::Off);
        assert_eq!(settled(Dnssec::TrustAd, &mixed), Dnssec::TrustAd);
        assert_eq!(settled(Dnssec::Off, &here), Dnssec::Off);
    }

    #[test]
    fn trust_anchors_that_cannot_be_read_are_named() {
        let dns = |path: &Path| Dns {
            servers: vec![SocketAddr::from(([127, 0, 0, 1], 53))],
            dnssec: Dnssec::Validate,
            trust_anchor_file: Some(path.into()),
        };
        let fault = |path: &Path| {
            let made = Servers::new(&dns(path), Duration::from_secs(1));
            made.err().expect("it cannot be read").to_string()
        };
        assert!(fault(Path::new("/none.key")).contains("/none.key"));
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "no record").expect("it is written");
        assert!(fault(file.path()).contains("cannot be read as DNSKEY records"));
    }
}
