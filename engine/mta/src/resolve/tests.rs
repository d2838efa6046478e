//! The resolver against a small DNS server on loopback.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use policy::config::{Dns, Dnssec};

use super::*;

type Zone = HashMap<(String, RecordType), Vec<(u32, RData)>>;

/// Answers from a table; names that begin with `servfail`, `refused`, `drop` get what they say, others NODATA if the
/// name has any record and NXDOMAIN if not.
struct Server {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        let (questions, log) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let server = Self { address, questions: questions.clone(), log: log.clone() };
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((bytes, peer)) = socket.recv_from(&mut packet) {
                let question = Message::from_vec(&packet[..bytes]).expect("hickory asks in order");
                questions.fetch_add(1, Ordering::SeqCst);
                log.lock().expect("whole").push(question.queries[0].to_string());
                if let Some(answer) = answer(&zone, &question) {
                    socket.send_to(&answer.to_vec().expect("it fits"), peer).expect("loopback");
                }
            }
        });
        server
    }

    fn resolver(&self) -> Resolver {
        self.resolver_with(Dnssec::Off)
    }

    fn resolver_with(&self, dnssec: Dnssec) -> Resolver {
        Resolver::new(&Dns { servers: vec![self.address], dnssec, trust_anchor_file: None })
            .expect("it is set up")
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

fn answer(zone: &Zone, question: &Message) -> Option<Message> {
    let query = question.queries[0].clone();
    let name = query.name().to_ascii().to_ascii_lowercase();
    let mut answer = Message::response(question.id, question.op_code);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    let records = zone.get(&(name.clone(), query.query_type()));
    let alias = zone.get(&(name.clone(), RecordType::CNAME));
    let exists = zone.keys().any(|(known, _)| *known == name);
    answer.metadata.response_code = match () {
        () if name.starts_with("drop") => return None,
        () if name.starts_with("servfail") => ResponseCode::ServFail,
        () if name.starts_with("refused") => ResponseCode::Refused,
        () if exists => ResponseCode::NoError,
        () => ResponseCode::NXDomain,
    };
    for (ttl, data) in records.or(alias).into_iter().flatten() {
        answer.add_answer(Record::from_rdata(query.name().clone(), *ttl, data.clone()));
    }
    if answer.answers.is_empty() {
        let soa = SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, 900);
        answer.add_authority(Record::from_rdata(Name::root(), 900, RData::SOA(soa)));
    }
    answer.add_query(query);
    Some(answer)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect(text)
}

fn mx(preference: u16, exchange: &str) -> RData {
    RData::MX(MX::new(preference, name(exchange)))
}

fn ip(text: &str) -> RData {
    match text.parse().expect(text) {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

/// `(name, TTL, data)` of all records.
fn zone(records: &[(&str, u32, RData)]) -> Zone {
    let mut zone = Zone::new();
    for (name, ttl, data) in records {
        zone.entry(((*name).to_owned(), data.record_type())).or_default().push((*ttl, data.clone()));
    }
    zone
}

fn on_tokio<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn shown(hosts: &MailHosts) -> Vec<String> {
    hosts.hosts.iter().map(|host| format!("{} {} {:?}", host.preference, host.name, host.addresses)).collect()
}

#[test]
fn mx_hosts_come_by_preference_with_all_their_addresses() {
    let server = Server::start(zone(&[
        ("many.test.", 600, mx(20, "c.many.test.")),
        ("many.test.", 600, mx(10, "B.many.test.")),
        ("many.test.", 600, mx(10, "a.many.test.")),
        ("many.test.", 600, mx(30, "a.many.test.")),
        ("many.test.", 600, mx(5, "gone.many.test.")),
        ("a.many.test.", 700, ip("192.0.2.1")),
        ("a.many.test.", 700, ip("192.0.2.2")),
        ("a.many.test.", 700, ip("2001:db8::1")),
        ("b.many.test.", 700, ip("2001:db8::2")),
        ("c.many.test.", 700, ip("192.0.2.3")),
    ]));
    on_tokio(async {
        let hosts = server.resolver().mail_hosts("Many.Test.").await.expect("it has hosts");
        assert_eq!(
            shown(&hosts),
            [
                "5 gone.many.test []",
                "10 a.many.test [192.0.2.1, 192.0.2.2, 2001:db8::1]",
                "10 b.many.test [2001:db8::2]",
                "20 c.many.test [192.0.2.3]",
            ]
        );
        assert!(hosts.expires_in > Duration::from_secs(590) && hosts.expires_in <= Duration::from_secs(600));
    });
}

#[test]
fn a_domain_without_mx_is_its_own_host() {
    let server = Server::start(zone(&[
        ("plain.test.", 600, ip("192.0.2.9")),
        ("alias.test.", 600, RData::CNAME(CNAME(name("plain.test.")))),
        ("xn--bcher-kva.test.", 600, ip("192.0.2.10")),
    ]));
    on_tokio(async {
        let resolver = server.resolver();
        for (domain, expected) in [
            ("plain.test", "0 plain.test [192.0.2.9]"),
            ("alias.test", "0 alias.test [192.0.2.9]"),
            ("bücher.test", "0 xn--bcher-kva.test [192.0.2.10]"),
            ("[192.0.2.77]", "0 [192.0.2.77] [192.0.2.77]"),
            ("[IPv6:2001:db8::7]", "0 [ipv6:2001:db8::7] [2001:db8::7]"),
        ] {
            assert_eq!(shown(&resolver.mail_hosts(domain).await.expect(domain)), [expected]);
        }
        assert_eq!(shown(&resolver.host("plain.test").await.expect("a host")), ["0 plain.test [192.0.2.9]"]);
        assert_eq!(shown(&resolver.host("127.0.0.1").await.expect("a host")), ["0 127.0.0.1 [127.0.0.1]"]);
    });
}

#[test]
fn faults_are_permanent_only_when_dns_says_so() {
    let server = Server::start(zone(&[
        ("null.test.", 600, mx(0, ".")),
        ("txt.test.", 600, RData::CNAME(CNAME(name("empty.test.")))),
        ("empty.test.", 600, RData::MX(MX::new(1, name("nowhere.test.")))),
        ("bad.test.", 600, mx(10, "192.0.2.5.")),
        ("half.test.", 600, mx(10, "servfail.half.test.")),
        ("half.test.", 600, mx(20, "nowhere.test.")),
        ("circle.test.", 600, RData::CNAME(CNAME(name("circle.test.")))),
    ]));
    on_tokio(async {
        let resolver = server.resolver();
        for (domain, kind, permanent, code, words) in [
            ("nothere.test", FaultKind::NoDomain, true, "550 5.1.2", "NXDOMAIN"),
            ("null.test", FaultKind::NullMx, true, "556 5.1.10", "null MX"),
            ("empty.test", FaultKind::NoAddress, true, "550 5.4.4", "nowhere.test"),
            ("bad.test", FaultKind::NoAddress, true, "550 5.4.4", "192.0.2.5"),
            ("servfail.test", FaultKind::ServerFailure, false, "451 4.4.3", "SERVFAIL"),
            ("refused.test", FaultKind::ServerFailure, false, "451 4.4.3", "REFUSED"),
            ("half.test", FaultKind::ServerFailure, false, "451 4.4.3", "servfail.half.test"),
            ("circle.test", FaultKind::ServerFailure, false, "451 4.4.3", "circle.test"),
            ("a..b", FaultKind::NotADomain, true, "553 5.1.2", "neither"),
            ("192.0.2.1", FaultKind::NotADomain, true, "553 5.1.2", "neither"),
        ] {
            let fault = resolver.mail_hosts(domain).await.expect_err(domain);
            assert_eq!((fault.kind, fault.is_permanent()), (kind, permanent), "{fault:?}");
            assert!(
                fault.text.contains(words) && fault.text.contains(domain.trim_start_matches("half.")),
                "{fault:?}"
            );
            assert!(fault.reply().to_string().starts_with(code), "{}", fault.reply());
            let limit = if permanent { Duration::from_secs(300) } else { Duration::from_secs(31) };
            assert!(fault.expires_in > Duration::from_secs(25), "{fault:?}");
            assert!(permanent || fault.expires_in < limit, "{fault:?}");
        }
        let fault = resolver.host("nothere.test").await.expect_err("no host");
        assert_eq!(fault.kind, FaultKind::NoAddress);
    });
}

#[test]
fn a_host_that_fails_does_not_spoil_the_others() {
    let server = Server::start(zone(&[
        ("half.test.", 6000, mx(10, "servfail.half.test.")),
        ("half.test.", 6000, mx(20, "good.half.test.")),
        ("good.half.test.", 6000, ip("192.0.2.4")),
    ]));
    on_tokio(async {
        let hosts = server.resolver().mail_hosts("half.test").await.expect("one is good");
        assert_eq!(shown(&hosts), ["10 servfail.half.test []", "20 good.half.test [192.0.2.4]"]);
        assert!(hosts.expires_in <= Duration::from_secs(30), "the other is asked again soon");
    });
}

#[test]
fn answers_are_shared_and_questions_coalesced() {
    let server = Server::start(zone(&[
        ("one.test.", 0, mx(10, "mx.test.")),
        ("two.test.", 600, mx(10, "mx.test.")),
        ("mx.test.", 0, ip("192.0.2.1")),
    ]));
    on_tokio(async {
        let resolver = server.resolver();
        let all = futures_util::future::join_all((0..100).map(|_| resolver.mail_hosts("one.test"))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(server.questions(), 3, "MX, A, AAAA: {:?}", server.log.lock());
        let hosts = resolver.mail_hosts("one.test").await.expect("from the cache");
        assert!(hosts.expires_in > Duration::from_secs(55), "TTL 0 holds for a minute");
        resolver.mail_hosts("two.test").await.expect("its host is known");
        assert_eq!(server.questions(), 4);
        for _ in 0..3 {
            resolver.mail_hosts("nothere.test").await.expect_err("no such domain");
            resolver.mail_hosts("servfail.test").await.expect_err("a failure");
        }
        let asked = server.questions();
        resolver.mail_hosts("nothere.test").await.expect_err("remembered");
        resolver.mail_hosts("servfail.test").await.expect_err("remembered");
        assert_eq!(server.questions(), asked);
    });
}

fn nobody_answers(address: SocketAddr) -> Resolver {
    let dns = Dns { servers: vec![address], dnssec: Dnssec::Off, trust_anchor_file: None };
    Resolver::with_timeout(&dns, Duration::from_millis(50)).expect("it is set up")
}

#[test]
fn a_server_that_is_not_there_is_a_temporary_fault() {
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    on_tokio(async {
        let resolver = nobody_answers(nobody);
        let fault = resolver.mail_hosts("example.test").await.expect_err("nobody answers");
        assert!(!fault.is_permanent(), "{fault:?}");
    });
}

#[test]
fn a_crowd_of_mx_records_is_cut_to_the_preferred_ones() {
    let records: Vec<_> = (0..40)
        .map(|number| ("crowd.test.", 600, mx(100 - number, &format!("m{number}.crowd.test."))))
        .collect();
    let mut zone = zone(&records);
    for number in 0..40 {
        zone.insert((format!("m{number}.crowd.test."), RecordType::A), vec![(600, ip("192.0.2.1"))]);
    }
    let server = Server::start(zone);
    on_tokio(async {
        let hosts = server.resolver().mail_hosts("crowd.test").await.expect("it has hosts");
        assert_eq!(hosts.hosts.len(), 16);
        assert_eq!(hosts.hosts[0].name, "m39.crowd.test");
    });
}
