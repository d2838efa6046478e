//! Whole files: what the defaults come to, and the line, key and cure of each thing that can be wrong.

mod judgement;
mod rules;
mod wrong_words;

use std::path::Path;
use std::time::Duration;

use mail::Class;

use super::*;
use crate::{Rate, TlsPolicy};

const MINIMAL: &str = r#"
[node]
data_dir = "data"

[[smtp_listener]]
address = "127.0.0.1:2525"

[[route]]
domain = "*"
hosts = ["127.0.0.1:2526"]
"#;

fn good(text: &str) -> Config {
    let checked = check("/etc/staffetta/staffetta.toml", text);
    assert_eq!(checked.problems, []);
    checked.config.expect("no problems")
}

/// `line key: cure` of each problem, in order.
fn complaints(text: &str) -> Vec<String> {
    let checked = check("f.toml", text);
    let errors = checked.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(
        checked.config.is_none(),
        errors,
        "a configuration is there exactly when there is no error: {text}"
    );
    checked.problems.iter().map(|p| format!("{} {}: {}", p.line, p.key, p.cure)).collect()
}

#[test]
fn a_file_with_data_dir_listener_and_route_is_enough() {
    let config = good(MINIMAL);
    assert_eq!(config.node.data_dir, Path::new("/etc/staffetta/data"));
    assert_eq!(config.node.control, Path::new("/etc/staffetta/data/control.sock"));
    assert_eq!((config.node.shards, config.node.name.as_deref()), (0, None));
    assert_eq!(config.spool.durability, Durability::Disk);
    assert_eq!((config.spool.segment_bytes, config.spool.min_free_bytes), (128 << 20, 1 << 30));
    assert_eq!(config.spool.spare_bytes_max, 512 << 20);
    let listener = &config.listeners[0];
    assert!(
        listener.trusted.iter().any(|network| network.contains("127.0.0.1".parse().expect("an address")))
    );
    assert_eq!(
        (listener.tls, listener.auth, listener.message_bytes_max),
        (ListenerTls::Off, Auth::Off, 50 << 20)
    );
    assert_eq!(config.sources, [Source { name: "default".to_owned(), ..Source::default() }]);
    assert_eq!(config.pools[0].sources, [Share { source: 0, weight: 1 }]);
    assert_eq!(config.route("any.test").map(|route| route.hosts[0].port), Some(2526));
    assert_eq!(config.deliver.tls, TlsPolicy::Opportunistic);
    assert_eq!(config.deliver.port, 25);
    assert_eq!(config.class(Class::Critical).deadline, Some(Duration::from_secs(600)));
    assert_eq!(config.class(Class::Bulk).expiry, Duration::from_secs(3 * 86_400));
    assert!(config.http.is_none() && config.accounts.is_empty());
}

#[test]
fn more_urgent_classes_are_tried_again_sooner_and_weigh_more() {
    let classes = good(MINIMAL).classes.policies;
    for pair in classes.windows(2) {
        assert!(pair[0].retry[0] < pair[1].retry[0] && pair[0].weight > pair[1].weight);
    }
    assert!(classes.iter().all(|class| class.retry.is_sorted() && class.retry[0] < class.expiry));
}

const FULL: &str = r#"
[node]
name = "Mail.Example.TEST"
data_dir = "/var/lib/staffetta"
shards = 4
control = "/run/staffetta.sock"

[spool]
durability = "memory"
segment = "64MiB"
min_free = "0B"
spare = "0B"

[[smtp_listener]]
address = "0.0.0.0:25"
trusted = ["10.0.0.0/8", "fd00::/8"]
tls = "starttls"
cert_file = "cert.pem"
key_file = "key.pem"
auth = "optional"
max_message = "20MiB"
max_connections = 50

[[smtp_listener]]
address = "[::1]:587"
trusted = []
auth = "required"

[http]
address = "127.0.0.1:8080"

[dns]
servers = ["127.0.0.1:5353", "::1"]
dnssec = "validate"
trust_anchor_file = "anchors.key"

[[account]]
name = "shop"
password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA"
token_hash = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
class = "transactional"
pool = "warm"
senders = ["@Example.test", "ann@example.test"]
quota = "5000/h"

[[domain]]
name = "example.test"
return_path = "bounces.example.test"
[[domain.dkim]]
selector = "s1"
key_file = "s1.pem"
[[domain.dkim]]
selector = "e1"
key_file = "e1.pem"
algorithm = "ed25519-sha256"

[[source]]
name = "a"
ip = "127.0.0.2"
device = "lo"
ehlo = "a.example.test"
[[source]]
name = "b"
ip = "127.0.0.3"

[[pool]]
name = "warm"
sources = [{ source = "b", weight = 3 }, "a"]
reserve = ["a"]

[[route]]
domain = "*.corp.test"
hosts = ["relay.corp.test", "[::1]:2525"]
tls = "required"
tls_name = "Gate.corp.test"
tls_certificate = "client.pem"
tls_key = "client.key"
[[route]]
domain = "vip.corp.test"
hosts = ["10.0.0.1"]

[class.critical]
pool = "warm"
weight = 20
deadline = "2m"
expiry = "1h"
retry = ["5s", "10s"]

[provider.google]
connections = 2
retry = ["10m"]
domains = ["workspace.test"]

[provider.default]
rate = "50/s"

[provider.own]
mx = [".own.test"]
tls = "off"
rate = "unlimited"

[deliver]
port = 2525
tls = "verified"
ca_file = "authorities.pem"
dane = false
mta_sts = false
connect_timeout = "5s"
idle_timeout = "1m30s"
allow_private = ["127.0.0.0/8"]
stop_grace = "1s"

[tls_report]
from = "tls@Mail.Example.test"
organization = "Example"
contact = "postmaster@example.test"
"#;

#[test]
fn every_key_of_the_contract_is_taken() {
    let config = good(FULL);
    assert_eq!(config.node.name.as_deref(), Some("mail.example.test"));
    assert_eq!(config.node.control, Path::new("/run/staffetta.sock"));
    assert_eq!(config.spool.durability, Durability::Memory);
    let listener = &config.listeners[0];
    let certificate = listener.certificate.as_ref().expect("starttls");
    assert_eq!(certificate.cert_file, Path::new("/etc/staffetta/cert.pem"));
    assert_eq!((listener.message_bytes_max, listener.connections_max), (20 << 20, 50));
    assert_eq!(config.listeners[1].auth, Auth::Required);
    assert_eq!(config.http.as_ref().map(|http| http.message_bytes_max), Some(32 << 20));
    assert_eq!(config.dns.servers[1].to_string(), "[::1]:53");
    let account = config.account("shop").expect("an account");
    assert_eq!((account.class, account.pool), (Some(Class::Transactional), Some(0)));
    assert_eq!(account.senders, ["@example.test", "ann@example.test"]);
    assert_eq!(account.quota, Rate::new(5000, Duration::from_secs(3600)));
    assert!(matches!(account.token_hash, Some(SecretHash::Sha256(_))));
    assert_eq!(config.domain("news.example.test").map(|domain| domain.dkim.len()), Some(2));
    assert_eq!(config.domain("other-example.test"), None);
    assert_eq!(config.domains[0].dkim[1].algorithm, DkimAlgorithm::Ed25519Sha256);
    assert_eq!(config.sources[0].device.as_deref(), Some("lo"));
    let [warm, default] = config.pools.as_slice() else { panic!("the default pool is added") };
    assert_eq!(warm.sources, [Share { source: 1, weight: 3 }, Share { source: 0, weight: 1 }]);
    assert_eq!((warm.reserve.as_slice(), default.sources.len()), ([0].as_slice(), 2));
    assert_eq!(config.class(Class::Critical).retry.len(), 2);
    assert_eq!((config.class(Class::Critical).pool, config.class(Class::Bulk).pool), (0, 1));
    assert_eq!(config.deliver.idle_timeout, Duration::from_secs(90));
    assert_eq!(config.deliver.ca_file.as_deref(), Some(Path::new("/etc/staffetta/authorities.pem")));
    assert!(!config.deliver.dane && !config.deliver.mta_sts);
    let report = &config.tls_report;
    assert_eq!(report.from.as_ref().map(mail::Address::domain), Some("mail.example.test"));
    assert_eq!(
        (report.organization.as_deref(), report.contact.as_deref()),
        (Some("Example"), Some("postmaster@example.test"))
    );
    assert_eq!((config.dns.dnssec, config.dns.trust_anchor_file.is_some()), (Dnssec::Validate, true));
    let route = config.route("x.corp.test").expect("a route");
    assert_eq!(route.tls_name.as_deref(), Some("gate.corp.test"));
    let certificate = route.certificate.as_ref().expect("a certificate");
    assert_eq!(certificate.key_file, Path::new("/etc/staffetta/client.key"));
}

#[test]
fn the_most_specific_route_decides_and_its_hosts_have_ports() {
    let config = good(FULL);
    let hosts = |domain| config.route(domain).map(|route| route.hosts.clone()).unwrap_or_default();
    assert_eq!(hosts("vip.corp.test"), [HostPort { host: "10.0.0.1".to_owned(), port: 2525 }]);
    assert_eq!(hosts("x.corp.test")[1], HostPort { host: "::1".to_owned(), port: 2525 });
    assert_eq!(hosts("corp.test"), []);
    assert_eq!(hosts("xcorp.test"), []);
}

#[test]
fn a_route_says_how_its_hosts_are_spoken_to_and_tells_no_password() {
    let lines = "[[route]]\ndomain = \"store.test\"\nhosts = [\"a:24\"]\nprotocol = \"lmtp\"\n\
        [[route]]\ndomain = \"relay.test\"\nhosts = [\"b\"]\nusername = \"me\"\npassword = \"hunter2\"\ntls = \"off\"\n\
        [[route]]\ndomain = \"file.test\"\nhosts = [\"b\"]\nusername = \"me\"\npassword_file = \"b.password\"\ntls = \"verified\"\n\
        [[route]]\ndomain = \"here.test\"\nhosts = [\"127.0.0.1\", \"[::1]:2525\"]\nusername = \"me\"\npassword = \"hunter2\"\n";
    let config = good(&format!("{MINIMAL}{lines}"));
    let access = |domain| &config.route(domain).expect("a route").access;
    assert_eq!(access("any.test"), &Access::default());
    assert_eq!((access("store.test").protocol, &access("store.test").login), (Protocol::Lmtp, &None));
    let login = access("relay.test").login.as_ref().expect("a login");
    assert_eq!((login.username.as_str(), login.password.reveal(), login.in_clear), ("me", "hunter2", true));
    let login = access("file.test").login.as_ref().expect("a login");
    let file = login.password_file.as_deref();
    assert_eq!((file, login.in_clear), (Some(Path::new("/etc/staffetta/b.password")), false));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn route_provider_and_deliver_say_in_this_order_how_to_protect() {
    let config = good(FULL);
    let own = config.providers.by_name("own").expect("new");
    let google = config.providers.by_name("google").expect("built in");
    assert_eq!(config.tls(config.route("a.corp.test"), own), TlsPolicy::Required);
    assert_eq!(config.tls(None, own), TlsPolicy::Off);
    assert_eq!(config.tls(None, google), TlsPolicy::Verified);
    assert_eq!(config.retry(Class::Bulk, google), [Duration::from_secs(600)]);
    assert_eq!(config.retry(Class::Critical, google).len(), 2);
    assert_eq!(config.retry(Class::Bulk, own).len(), 5);
}

/// What is added to the minimal file, and the complaint that is expected.
type Case = (&'static str, &'static str);

const SENDING: &[Case] = &[
    (
        "[[source]]\nname = \"a\"\n[[source]]\nname = \"b\"\n[[pool]]\nname = \"p\"\nsources = [\"a\", \"c\"]",
        "16 pool.sources: did you mean `a`?",
    ),
    (
        "[[source]]\nname = \"a\"\n[[source]]\nname = \"b\"\n[[pool]]\nname = \"p\"\nsources = [\"a\", \"a\"]",
        "16 pool.sources: write { source = \"a\", weight = 2 } once",
    ),
    (
        "[[source]]\nname = \"a\"\n[[source]]\nname = \"b\"\n[[pool]]\nname = \"p\"\nsources = []",
        "16 pool.sources: name some of: a, b",
    ),
    (
        "[[source]]\nname = \"a\"\n[[source]]\nname = \"b\"\n[[source]]\nname = \"a\"",
        "15 source.name: choose another, or merge the two sections",
    ),
    ("[class.bulk]\npool = \"defualt\"", "11 class.bulk.pool: did you mean `default`?"),
    (
        "[class.bulk]\npool = \"slow\"",
        "11 class.bulk.pool: add a [[pool]] of this name, or use one of: default",
    ),
    (
        "[class.bulk]\nretry = []",
        "11 class.bulk.retry: write at least one wait: [\"15m\"]; without the key the default holds",
    ),
    (
        "[class.bulk]\nexpiry = \"10m\"",
        "11 class.bulk.expiry: write a longer expiry or a shorter first retry",
    ),
    (
        "[class.critical]\nexpiry = \"5m\"",
        "11 class.critical.expiry: write a longer expiry or a shorter deadline",
    ),
    (
        "[[route]]\ndomain = \"x.test\"\nhosts = []",
        "12 route.hosts: name a host, or remove the route so that the MX is used",
    ),
    (
        "[[route]]\ndomain = \"x.test\"\nhosts = [\"a:24\", \"b\"]\nprotocol = \"lmtp\"",
        "12 route.hosts: write the port of the mail store: \"b:24\"",
    ),
    (
        "[[route]]\ndomain = \"x.test\"\nhosts = [\"a\"]\nprotocol = \"uucp\"",
        "13 route.protocol: use one of: smtp, lmtp",
    ),
    (
        "[[route]]\ndomain = \"x.test\"\nhosts = [\"a\"]\nusername = \"u\"",
        "13 route.username: write password_file = \"relay.password\", a file with the password in its first line",
    ),
    (
        "[[route]]\ndomain = \"x.test\"\nhosts = [\"a\"]\npassword = \"p\"",
        "13 route.password: write the username too, or remove the password",
    ),
    (
        "[[route]]\ndomain = \"x.test\"\nhosts = [\"a\"]\nusername = \"u\"\npassword = \"p\"\npassword_file = \"f\"",
        "14 route.password: keep one; the file is better, since others may read the configuration",
    ),
    (
        "[[route]]\ndomain = \"x.test\"\nhosts = [\"a\"]\nusername = \"u\"\npassword = \"p\\n\"",
        "14 route.password: write it like \"password\"",
    ),
    (
        "[[route]]\ndomain = \"*\"\nhosts = [\"x\"]",
        "11 route.domain: put all hosts into one route, in order of preference",
    ),
    (
        "[provider.a]\nmx = [\".x.test\"]\n[provider.b]\nmx = [\".x.test\"]",
        "13 provider.b.mx: leave it in one of the two sections",
    ),
    (
        "[provider.a]\nretry = []\nmx = [\"a\"]",
        "11 provider.a.retry: write at least one wait: [\"15m\"]; without the key the default holds",
    ),
];

const RECEIVING: &[Case] = &[
    (
        "[[smtp_listener]]\naddress = \"0.0.0.0:2525\"",
        "11 smtp_listener.address: choose another port, or remove one of the two",
    ),
    (
        "[http]\naddress = \"127.0.0.1:2525\"",
        "11 http.address: choose another port, or remove one of the two",
    ),
    (
        "[http]\naddress = \"0.0.0.0:8025\"",
        "11 http.address: add an [[account]] with name and token_hash, or listen on 127.0.0.1",
    ),
    (
        "[[smtp_listener]]\naddress = \"127.0.0.1:25\"\ntls = \"implicit\"\ncert_file = \"c\"",
        "12 smtp_listener.tls: add `key_file = \"….pem\"`, or write tls = \"off\"",
    ),
    (
        "[[smtp_listener]]\naddress = \"127.0.0.1:25\"\ncert_file = \"c\"",
        "12 smtp_listener.cert_file: write tls = \"starttls\", or remove the key",
    ),
    (
        "[[smtp_listener]]\naddress = \"127.0.0.1:25\"\nauth = \"required\"",
        "12 smtp_listener.auth: add an [[account]] with name and password_hash, or write auth = \"off\"",
    ),
    (
        "[[smtp_listener]]\naddress = \"10.0.0.1:25\"\nauth = \"required\"",
        "12 smtp_listener.auth: write tls = \"starttls\" with cert_file and key_file",
    ),
    (
        "[[smtp_listener]]\naddress = \"10.0.0.1:25\"\ntrusted = [\"0.0.0.0/0\"]",
        "12 smtp_listener.trusted: name only the networks of your own programs, and let others log in (auth)",
    ),
    (
        "[[smtp_listener]]\naddress = \"10.0.0.1:25\"\ntrusted = []",
        "12 smtp_listener.trusted: trust a network, or write auth = \"required\"",
    ),
    (
        "[[smtp_listener]]\naddress = \"10.0.0.1:25\"\nmax_message = \"1GiB\"",
        "12 smtp_listener.max_message: write spool.segment = \"2GiB\" or more, or max_message = \"64MiB\" or less",
    ),
    ("[[account]]\nname = \"a\"", "10 account: add one of them"),
    (
        "[[domain]]\nname = \"a.test\"",
        "10 domain: `staffetta init` writes a key and prints the DNS record to publish",
    ),
];

#[test]
fn sections_are_checked_against_each_other() {
    for (lines, expected) in SENDING.iter().chain(RECEIVING) {
        let found = complaints(&format!("{}{lines}\n", MINIMAL.trim_start()));
        assert!(found.iter().any(|one| one == expected), "{lines}\nexpected {expected}\nfound {found:#?}");
    }
}

#[test]
fn missing_keys_and_sections_are_named_at_their_section() {
    assert_eq!(
        complaints(""),
        [
            "1 node.data_dir: add `data_dir = …` (path)",
            "1 smtp_listener: add [[smtp_listener]] with address = \"127.0.0.1:2525\"",
        ]
    );
    assert_eq!(
        complaints("[node]\nshards = 1\n\n[[smtp_listener]]\n[[route]]\n"),
        [
            "1 node.data_dir: add `data_dir = …` (path)",
            "4 smtp_listener.address: add `address = …` (IP address and port such as \"127.0.0.1:2525\")",
            "5 route.domain: add `domain = …` (domain, `*.domain` or `*`)",
            "5 route.hosts: add `hosts = …` (list of: host, with a port if it is not that of `[deliver]`)",
        ]
    );
}

#[test]
fn all_problems_are_found_at_once_also_beside_lines_that_are_not_toml() {
    let text = "[node]\ndata_dir = \"d\"\nshards = = 1\n\n[[smtp_listener]]\naddress = \"127.0.0.1:25\"\nauht = \"off\"\n\n[deliver]\nport = 25\nport = 26\nstop_grace = 5\n";
    let lines: Vec<_> = check("f.toml", text).problems.iter().map(|p| (p.line, p.key.clone())).collect();
    let expected = [(3, ""), (7, "smtp_listener.auht"), (11, ""), (12, "deliver.stop_grace")];
    assert_eq!(lines, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn a_broken_heading_spoils_its_own_section_only() {
    let text = "[node]\ndata_dir = \"d\"\n[spool\ndurability = \"disc\"\n[[smtp_listener]]\naddress = \"127.0.0.1:25\"\n\
                [[smtp_listener]]\nadress = \"127.0.0.1:26\"\n[[route]\ndomain = 5\n[node]\nshards = 1\n";
    let lines: Vec<_> = check("f.toml", text).problems.iter().map(|p| (p.line, p.key.clone())).collect();
    let expected = [(3, ""), (8, "smtp_listener.adress"), (9, ""), (11, "")];
    assert_eq!(lines, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn a_problem_prints_as_one_block() {
    let checked = check("dir/f.toml", "[node]\ndata_dir = \"d\"\nshrads = 2\n\n[http]\n");
    assert_eq!(
        checked.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "error: dir/f.toml:3: node.shrads: there is no key `shrads` in [node]\n  cause: a misspelt name\n  cure:  did you mean `shards`?"
        ]
    );
}

#[test]
fn small_segments_make_small_messages_the_default() {
    let config = good(&format!("{MINIMAL}[spool]\nsegment = \"1MiB\"\n"));
    assert_eq!(config.listeners[0].message_bytes_max, 512 << 10);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_check_panic(text in "(\\[{1,2}[a-z_.]{0,12}\\]{1,2}|[a-z_.]{1,10} = [\\[\\]{}\",0-9a-z/. =]{0,20}|\\PC{0,20})(\n(\\[{1,2}[a-z_.]{0,12}\\]{1,2}|[a-z_]{1,10} = [\\[\\]{}\",0-9a-z/. =]{0,20})){0,8}") {
        let checked = check("f", &text);
        proptest::prop_assert!(checked.config.is_some() || !checked.problems.is_empty());
    }
}
