//! Listeners, HTTP, accounts and domains.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::model::{
    Account, Auth, Certificate, DkimAlgorithm, DkimKey, Domain, Http, Listener, ListenerTls, Pool,
};
use crate::config::problems::{Complaint, Place};
use crate::config::stated::Block;
use crate::config::value::shown;
use crate::network::Network;
use crate::warmup::Ladder;

use super::Resolver;

/// The largest message where the file does not say.
const MESSAGE_BYTES_MAX: u64 = 50 << 20;

impl Resolver<'_, '_> {
    pub(super) fn listeners(&mut self, segment_bytes: Option<u64>) -> Vec<Listener> {
        self.check_addresses();
        let blocks = self.blocks("smtp_listener");
        blocks.iter().filter_map(|block| self.listener(block, segment_bytes)).collect()
    }

    fn listener(&mut self, block: &Block, segment_bytes: Option<u64>) -> Option<Listener> {
        let message_bytes_max = self.message_bytes_max(block, segment_bytes);
        let tls = block.choice("tls", &[ListenerTls::Off, ListenerTls::StartTls, ListenerTls::Implicit]);
        let auth = block.choice("auth", &[Auth::Off, Auth::Optional, Auth::Required]);
        let certificate = self.certificate(block, tls?);
        let trusted = self.networks(block, "trusted");
        let listener = Listener {
            address: block.get("address")?,
            trusted,
            tls: tls?,
            auth: auth?,
            message_bytes_max,
            connections_max: block.get("max_connections")?,
            certificate,
        };
        self.check_trust(block, &listener);
        self.check_auth(block, &listener);
        Some(listener)
    }

    /// A message is one record of a segment, and should leave room for others.
    fn message_bytes_max(&mut self, block: &Block, segment_bytes: Option<u64>) -> u64 {
        let half = segment_bytes.map_or(u64::MAX, |bytes| bytes / 2);
        let Some(stated) = block.get::<u64>("max_message") else { return MESSAGE_BYTES_MAX.min(half) };
        if stated > half {
            let complaint = Complaint::new(
                format!("a message of {} does not fit into half a segment", shown(stated)),
                "a message is kept in one piece in one segment",
                format!(
                    "write spool.segment = \"{}\" or more, or max_message = \"{}\" or less",
                    shown(stated * 2),
                    shown(half)
                ),
            );
            self.problems.error(&block.place_of("max_message"), complaint);
        }
        stated
    }

    fn certificate(&mut self, block: &Block, tls: ListenerTls) -> Option<Certificate> {
        let files = (self.path(block, "cert_file"), self.path(block, "key_file"));
        if tls == ListenerTls::Off {
            for key in ["cert_file", "key_file"].into_iter().filter(|key| block.states(key)) {
                let complaint = Complaint::new(
                    format!("`{key}` is not used"),
                    "tls is \"off\" for this listener",
                    "write tls = \"starttls\", or remove the key",
                );
                self.problems.warning(&block.place_of(key), complaint);
            }
            return None;
        }
        for (key, file) in [("cert_file", &files.0), ("key_file", &files.1)] {
            if file.is_none() {
                let complaint = Complaint::new(
                    format!("`{key}` is missing"),
                    "tls needs a certificate and its private key",
                    format!("add `{key} = \"….pem\"`, or write tls = \"off\""),
                );
                self.problems.missing(&block.place_of("tls"), complaint);
            }
        }
        let (Some(cert_file), Some(key_file)) = files else { return None };
        Some(Certificate { cert_file, key_file })
    }

    pub(super) fn networks(&mut self, block: &Block, key: &str) -> Vec<Network> {
        block.list::<Network>(key).into_iter().map(|(network, _)| network).collect()
    }

    fn check_trust(&mut self, block: &Block, listener: &Listener) {
        let open = |network: &&Network| network.prefix() == 0 && !listener.address.ip().is_loopback();
        if let Some(network) = listener.trusted.iter().find(open) {
            let complaint = Complaint::new(
                "everybody may send through this listener",
                format!("{network} is the whole internet"),
                "name only the networks of your own programs, and let others log in (auth)",
            );
            self.problems.warning(&block.place_of("trusted"), complaint);
        }
        if listener.trusted.is_empty() && listener.auth == Auth::Off {
            let complaint = Complaint::new(
                "nobody may send through this listener",
                "trusted is empty and auth is \"off\"",
                "trust a network, or write auth = \"required\"",
            );
            self.problems.warning(&block.place_of("trusted"), complaint);
        }
    }

    fn check_auth(&mut self, block: &Block, listener: &Listener) {
        if listener.auth == Auth::Off {
            return;
        }
        let place = block.place_of("auth");
        if !self.blocks("account").iter().any(|account| account.states("password_hash")) {
            let complaint = Complaint::new(
                "nobody can log in",
                "no [[account]] has a password_hash",
                "add an [[account]] with name and password_hash, or write auth = \"off\"",
            );
            self.problems.error(&place, complaint);
        }
        if listener.tls == ListenerTls::Off && !listener.address.ip().is_loopback() {
            let complaint = Complaint::new(
                "passwords would cross the network in clear",
                "auth without tls; it is offered under TLS only (RFC 4954 section 4)",
                "write tls = \"starttls\" with cert_file and key_file",
            );
            self.problems.error(&place, complaint);
        }
    }

    /// Two listeners cannot share an address; one on all addresses takes the port of each.
    fn check_addresses(&mut self) {
        let mut seen: HashMap<SocketAddr, Place> = HashMap::new();
        for block in self.blocks("smtp_listener").iter().chain(self.blocks("http")) {
            let Some(address) = block.get::<SocketAddr>("address") else { continue };
            let place = block.place_of("address");
            let clash = seen.iter().find(|(other, _)| overlap(**other, address));
            if let Some((other, first)) = clash {
                let line = self.problems.line_at(first.offset);
                let complaint = Complaint::new(
                    format!("{address} is taken"),
                    format!("line {line} listens on {other}"),
                    "choose another port, or remove one of the two",
                );
                self.problems.error(&place, complaint);
            }
            seen.entry(address).or_insert(place);
        }
    }

    pub(super) fn http(&mut self, segment_bytes: Option<u64>) -> Option<Http> {
        let block = self.once("http")?;
        let address: SocketAddr = block.get("address")?;
        let tokens = self.blocks("account").iter().any(|account| account.states("token_hash"));
        if !address.ip().is_loopback() && !tokens {
            let complaint = Complaint::new(
                "only this host can use the HTTP API",
                "no [[account]] has a token_hash, and without one requests are taken from loopback only",
                "add an [[account]] with name and token_hash, or listen on 127.0.0.1",
            );
            self.problems.warning(&block.place_of("address"), complaint);
        }
        let half = segment_bytes.map_or(u64::MAX, |bytes| bytes / 2);
        Some(Http { address, message_bytes_max: MESSAGE_BYTES_MAX.min(half) })
    }

    pub(super) fn accounts(&mut self, pools: &[Pool]) -> Vec<Account> {
        self.check_unique("account", "name");
        let names: Vec<_> = pools.iter().map(|pool| pool.name.as_str()).collect();
        let mut accounts = Vec::new();
        for block in self.blocks("account") {
            let pool = block.get::<String>("pool");
            let pool = pool.and_then(|name| self.look_up("pool", &name, &names, &block.place_of("pool")));
            if !block.states("password_hash") && !block.states("token_hash") {
                let complaint = Complaint::new(
                    "nobody can use this account",
                    "it has neither a password_hash (SMTP) nor a token_hash (HTTP)",
                    "add one of them",
                );
                self.problems.warning(&block.place, complaint);
            }
            let rules = self.rules(block);
            let Some(name) = block.get("name") else { continue };
            accounts.push(Account {
                name,
                password_hash: block.get("password_hash"),
                token_hash: block.get("token_hash"),
                class: block.get("class"),
                rules,
                pool,
                senders: block.list("senders").into_iter().map(|(sender, _)| sender).collect(),
                quota: block.get("quota").flatten(),
            });
        }
        accounts
    }

    pub(super) fn domains(&mut self, ladders: &[Arc<Ladder>]) -> Vec<Domain> {
        self.check_unique("domain", "name");
        let blocks = self.blocks("domain");
        blocks.iter().filter_map(|block| self.domain(block, ladders)).collect()
    }

    fn domain(&mut self, block: &Block, ladders: &[Arc<Ladder>]) -> Option<Domain> {
        let name: String = block.get("name")?;
        let keys = block.sections("dkim");
        if keys.is_empty() && block.list::<String>("dkim").is_empty() {
            let complaint = Complaint::new(
                format!("mail of {name} is not signed"),
                "the domain has no [[domain.dkim]]; large providers refuse unsigned bulk mail",
                "`staffetta init` writes a key and prints the DNS record to publish",
            );
            self.problems.warning(&block.place, complaint);
        }
        let mut dkim: Vec<DkimKey> = Vec::new();
        for key in keys {
            let Some(key_block) = self.dkim_key(key) else { continue };
            if dkim.iter().any(|other| other.selector == key_block.selector) {
                let complaint = Complaint::new(
                    format!("the selector `{}` is taken", key_block.selector),
                    "two keys of one domain cannot be published under one name",
                    "give each key a selector of its own",
                );
                self.problems.error(&key.place_of("selector"), complaint);
            }
            dkim.push(key_block);
        }
        let warm_up = self.warm_up(block, ladders);
        Some(Domain { name, return_path: block.get("return_path"), dkim, warm_up })
    }

    fn dkim_key(&self, block: &Block) -> Option<DkimKey> {
        let algorithms = [DkimAlgorithm::RsaSha256, DkimAlgorithm::Ed25519Sha256];
        Some(DkimKey {
            selector: block.get("selector")?,
            key_file: self.path(block, "key_file")?,
            algorithm: block.choice("algorithm", &algorithms)?,
        })
    }
}

/// Whether two sockets cannot listen on these at the same time. Port 0 is any free port.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wild =
        |one: SocketAddr, other: SocketAddr| one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || wild(a, b) || wild(b, a))
}
