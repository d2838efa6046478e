//! What of the internet is this engine itself: mail that DNS sends to it would come back, and a service on this host may
//! trust whoever is on this host.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use policy::config::Config;

use crate::io::addresses::{foreign_may_be_bound, is_on_host};
use crate::resolve;

/// The names and addresses of this engine.
#[derive(Debug, Default)]
pub(crate) struct Ourselves {
    /// In lower case.
    names: HashSet<String>,
    /// Listeners at the port that mail is delivered to. Without any, nothing that is sent comes back.
    doors: Vec<SocketAddr>,
    /// Addresses that the configuration names.
    stated: HashSet<IpAddr>,
    /// Whether this host's addresses can be told from others.
    knows_host: bool,
}

impl Ourselves {
    pub(super) fn new(config: &Config, host_name: &str) -> Self {
        let ehlo = config.sources.iter().filter_map(|source| source.ehlo.as_deref());
        let listeners = config.listeners.iter().map(|listener| listener.address);
        let sources = config.sources.iter().filter_map(|source| source.ip);
        Self {
            names: ehlo.chain([host_name]).map(str::to_ascii_lowercase).collect(),
            doors: listeners.clone().filter(|door| door.port() == config.deliver.port).collect(),
            stated: listeners.map(|door| door.ip()).chain(sources).collect(),
            knows_host: !foreign_may_be_bound(),
        }
    }

    /// Whether `ip` is an address of this host, or leads to one through a translator.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        let is_here = |ip: IpAddr| self.stated.contains(&ip) || (self.knows_host && is_on_host(ip));
        is_here(ip) || resolve::carried(ip).is_some_and(|ip| is_here(IpAddr::V4(ip)))
    }

    /// The hosts, in their order, without this engine and those of its preference and behind it: to them it would have
    /// to be sent by itself, round and round (RFC 5321 section 5.1).
    pub(super) fn without<'a>(&self, hosts: Vec<&'a resolve::Host>) -> Vec<&'a resolve::Host> {
        let ours = hosts.iter().filter(|host| self.answers_as(host)).map(|host| host.preference).min();
        let Some(ours) = ours else { return hosts };
        hosts.into_iter().filter(|host| host.preference < ours).collect()
    }

    fn answers_as(&self, host: &resolve::Host) -> bool {
        let is_door = |ip: &IpAddr| {
            let mut doors = self.doors.iter().map(SocketAddr::ip);
            doors.any(|door| door == *ip || (door.is_unspecified() && self.has(*ip)))
        };
        !self.doors.is_empty() && (self.names.contains(&host.name) || host.addresses.iter().any(is_door))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ourselves(listener: &str) -> Ourselves {
        let text = format!(
            "[node]\nname = \"Out.example.test\"\ndata_dir = \"d\"\n[[smtp_listener]]\naddress = \"{listener}\"\n\
             [[source]]\nname = \"a\"\nip = \"203.0.113.9\"\nehlo = \"a.example.test\"\n"
        );
        let config = policy::config::check("f.toml", &text).config.expect("a configuration");
        Ourselves::new(&config, config.node.name.as_deref().expect("named"))
    }

    fn host(name: &str, preference: u16, ip: &str) -> resolve::Host {
        let addresses = vec![ip.parse().expect("an address")];
        resolve::Host { name: name.to_owned(), preference, addresses, signed_names: Vec::new() }
    }

    fn left(ourselves: &Ourselves, hosts: &[resolve::Host]) -> Vec<String> {
        ourselves.without(hosts.iter().collect()).into_iter().map(|host| host.name.clone()).collect()
    }

    #[test]
    fn mail_does_not_come_back_by_an_mx_that_is_this_engine() {
        let at_door = ourselves("203.0.113.9:25");
        for (name, ip) in
            [("out.example.test", "198.51.100.1"), ("a.example.test", "198.51.100.1"), ("x", "203.0.113.9")]
        {
            let hosts = [
                host("first", 5, "192.0.2.1"),
                host(name, 10, ip),
                host("equal", 10, "192.0.2.2"),
                host("last", 20, "192.0.2.3"),
            ];
            assert_eq!(left(&at_door, &hosts), ["first"], "{name} {ip}");
            assert!(left(&at_door, &hosts[1..]).is_empty());
        }
        let hosts = [host("first", 5, "192.0.2.1"), host("other", 10, "192.0.2.9")];
        assert_eq!(left(&at_door, &hosts).len(), 2);
        let everywhere = ourselves("0.0.0.0:25");
        assert!(left(&everywhere, &[host("x", 1, "127.0.0.3")]).is_empty());
    }

    #[test]
    fn an_engine_that_takes_no_mail_from_others_is_no_loop() {
        let inside = ourselves("127.0.0.1:2525");
        let hosts = [host("out.example.test", 10, "203.0.113.9"), host("x", 20, "127.0.0.1")];
        assert_eq!(left(&inside, &hosts).len(), 2);
    }

    #[test]
    fn addresses_of_this_host_are_known() {
        let ourselves = ourselves("198.51.100.7:25");
        for (ip, ours) in [
            ("203.0.113.9", true),
            ("198.51.100.7", true),
            ("127.0.0.1", true),
            ("203.0.113.10", false),
            ("64:ff9b::203.0.113.9", true),
            ("2002:cb00:7109::1", true),
            ("64:ff9b::203.0.113.10", false),
            ("2001:db8::cb00:7109", false),
        ] {
            assert_eq!(ourselves.has(ip.parse().expect("an address")), ours, "{ip}");
        }
    }
}
