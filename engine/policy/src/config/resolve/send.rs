//! Sources, pools, routes, classes and connections.

use std::sync::Arc;
use std::time::Duration;

use mail::Class;

use crate::TlsPolicy;
use crate::config::model::{
    Certificate, ClassPolicy, Classes, Deliver, HostPort, Pool, Route, Share, Source,
};
use crate::config::problems::Complaint;
use crate::config::stated::Block;
use crate::config::value::{StatedHost, StatedShare};
use crate::warmup::Ladder;

use super::Resolver;

/// The name of the source and of the pool that are there when the file has none.
const DEFAULT: &str = "default";

impl Resolver<'_, '_> {
    pub(super) fn sources(&mut self, ladders: &[Arc<Ladder>]) -> Vec<Source> {
        self.check_unique("source", "name");
        let mut sources: Vec<Source> = Vec::new();
        for block in self.blocks("source") {
            let Some(name) = block.get("name") else { continue };
            let warm_up = self.warm_up(block, ladders);
            let (ip, device, ehlo) = (block.get("ip"), block.get("device"), block.get("ehlo"));
            let source = Source { name, ip, device, ehlo, warm_up };
            let same = |other: &&Source| {
                other.ip.is_some() && other.ip == source.ip && other.device == source.device
            };
            if let Some(other) = sources.iter().find(same) {
                let complaint = Complaint::new(
                    format!("the address is that of source `{}` too", other.name),
                    "receivers count by address: limits would hold twice over",
                    "give each source an address of its own, or remove one",
                );
                self.problems.warning(&block.place_of("ip"), complaint);
            }
            sources.push(source);
        }
        if sources.is_empty() {
            sources.push(Source { name: DEFAULT.to_owned(), ..Source::default() });
        }
        sources
    }

    pub(super) fn pools(&mut self, sources: &[Source]) -> Vec<Pool> {
        self.check_unique("pool", "name");
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        let blocks = self.blocks("pool");
        let mut pools: Vec<Pool> = blocks.iter().filter_map(|block| self.pool(block, &names)).collect();
        if !pools.iter().any(|pool| pool.name == DEFAULT) {
            let shares = (0..sources.len()).map(|source| Share { source, weight: 1 }).collect();
            pools.push(Pool { name: DEFAULT.to_owned(), sources: shares, reserve: Vec::new() });
        }
        pools
    }

    fn pool(&mut self, block: &Block, names: &[&str]) -> Option<Pool> {
        let mut sources: Vec<Share> = Vec::new();
        for (StatedShare { source, weight }, place) in block.list("sources") {
            let Some(index) = self.look_up("source", &source, names, &place) else { continue };
            if sources.iter().any(|share| share.source == index) {
                let complaint = Complaint::new(
                    format!("the source `{source}` stands here twice"),
                    "a share is written as a weight, not by repetition",
                    format!("write {{ source = \"{source}\", weight = 2 }} once"),
                );
                self.problems.error(&place, complaint);
            }
            sources.push(Share { source: index, weight });
        }
        if block.states("sources") && block.list::<StatedShare>("sources").is_empty() {
            let complaint = Complaint::new(
                "the pool has no source",
                "its list is empty",
                format!("name some of: {}", names.join(", ")),
            );
            self.problems.error(&block.place_of("sources"), complaint);
        }
        let reserve = block.list::<String>("reserve");
        let reserve =
            reserve.iter().filter_map(|(name, place)| self.look_up("source", name, names, place)).collect();
        Some(Pool { name: block.get("name")?, sources, reserve })
    }

    pub(super) fn routes(&mut self, deliver: Option<&Deliver>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for block in self.blocks("route") {
            let hosts = self.hosts(block, deliver.map(|deliver| deliver.port));
            let Some(domain) = block.get("domain") else { continue };
            if routes.iter().any(|other| other.domain == domain) {
                let complaint = Complaint::new(
                    "this route is never taken",
                    "an earlier [[route]] is for the same domain",
                    "put all hosts into one route, in order of preference",
                );
                self.problems.error(&block.place_of("domain"), complaint);
            }
            let certificate = self.client_certificate(block);
            let tls = block.choice("tls", &TlsPolicy::ALL);
            let access = self.access(block, tls);
            self.check_login_is_safe(block, &hosts, tls, deliver);
            routes.push(Route { domain, hosts, tls, tls_name: block.get("tls_name"), certificate, access });
        }
        routes
    }

    /// The certificate that a route's hosts are shown: both files or neither.
    fn client_certificate(&mut self, block: &Block) -> Option<Certificate> {
        match (self.path(block, "tls_certificate"), self.path(block, "tls_key")) {
            (Some(cert_file), Some(key_file)) => Some(Certificate { cert_file, key_file }),
            (None, None) => None,
            (certificate, _) => {
                let (there, missing) = match certificate {
                    Some(_) => ("tls_certificate", "tls_key"),
                    None => ("tls_key", "tls_certificate"),
                };
                let complaint = Complaint::new(
                    format!("`{missing}` is missing"),
                    "a certificate is of use only with its private key",
                    format!("add `{missing} = \"….pem\"`, or remove `{there}`"),
                );
                self.problems.missing(&block.place_of(there), complaint);
                None
            }
        }
    }

    fn hosts(&mut self, block: &Block, port: Option<u16>) -> Vec<HostPort> {
        let stated = block.list::<StatedHost>("hosts");
        if block.states("hosts") && stated.is_empty() {
            let complaint = Complaint::new(
                "the route leads nowhere",
                "its list of hosts is empty",
                "name a host, or remove the route so that the MX is used",
            );
            self.problems.error(&block.place_of("hosts"), complaint);
        }
        let port = port.unwrap_or(25);
        stated
            .into_iter()
            .map(|(host, _)| HostPort { host: host.host, port: host.port.unwrap_or(port) })
            .collect()
    }

    pub(super) fn classes(&mut self, pools: &[Pool]) -> Option<Classes> {
        let names: Vec<_> = pools.iter().map(|pool| pool.name.as_str()).collect();
        let [critical, transactional, personal, bulk] = Class::ALL.map(|class| {
            let block = self.blocks("class").iter().find(|block| block.name == class.name())?;
            self.class(block, &names)
        });
        let behaviour = self.behaviour();
        Some(Classes { policies: [critical?, transactional?, personal?, bulk?], behaviour: behaviour? })
    }

    fn class(&mut self, block: &Block, pools: &[&str]) -> Option<ClassPolicy> {
        let pool: Option<String> = block.get("pool");
        let pool = pool.and_then(|name| self.look_up("pool", &name, pools, &block.place_of("pool")));
        let retry = self.retry(block).unwrap_or_default();
        let (deadline, expiry): (Option<Duration>, Option<Duration>) =
            (block.get("deadline"), block.get("expiry"));
        if let (Some(deadline), Some(expiry)) = (deadline, expiry)
            && deadline > expiry
        {
            let key = if block.states("deadline") { "deadline" } else { "expiry" };
            let complaint = Complaint::new(
                "the deadline lies behind the expiry",
                "mail is given up before it would be late",
                "write a longer expiry or a shorter deadline",
            );
            self.problems.error(&block.place_of(key), complaint);
        }
        if let (Some(&first), Some(expiry)) = (retry.first(), expiry)
            && first >= expiry
        {
            let key = if block.states("expiry") { "expiry" } else { "retry" };
            let complaint = Complaint::new(
                "mail of this class is never tried again",
                "it expires before the first retry",
                "write a longer expiry or a shorter first retry",
            );
            self.problems.warning(&block.place_of(key), complaint);
        }
        Some(ClassPolicy { pool: pool?, weight: block.get("weight")?, deadline, expiry: expiry?, retry })
    }

    /// The waits between attempts, where the section has them.
    pub(super) fn retry(&mut self, block: &Block) -> Option<Vec<Duration>> {
        let retry: Vec<_> = block.list::<Duration>("retry").into_iter().map(|(wait, _)| wait).collect();
        if block.states("retry") && retry.is_empty() {
            let complaint = Complaint::new(
                "mail would never be tried again",
                "the list of waits is empty",
                "write at least one wait: [\"15m\"]; without the key the default holds",
            );
            self.problems.error(&block.place_of("retry"), complaint);
        }
        (!retry.is_empty()).then_some(retry)
    }

    pub(super) fn deliver(&mut self, ladders: Vec<Arc<Ladder>>) -> Option<Deliver> {
        let block = self.once("deliver")?;
        Some(Deliver {
            port: block.get("port")?,
            tls: block.choice("tls", &TlsPolicy::ALL)?,
            ca_file: self.path(block, "ca_file"),
            dane: block.get("dane")?,
            mta_sts: block.get("mta_sts")?,
            connect_timeout: block.get("connect_timeout")?,
            reply_timeout: block.get("reply_timeout")?,
            idle_timeout: block.get("idle_timeout")?,
            allow_private: self.networks(block, "allow_private"),
            stop_grace: block.get("stop_grace")?,
            learns: self.once("learning")?.get("enabled")?,
            judgement: self.judgement(ladders)?,
        })
    }
}
