//! Single questions to DNS through hickory, with a limit on how many are open, told apart by what came back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::sync::Semaphore;

use super::fault::FaultKind;

/// Questions open at a time: each has a socket of its own.
const OPEN_MAX: usize = 256;
/// How long one name server may take: a little more than the 5 s after which it may itself have asked a second time.
pub(super) const SERVER_TIMEOUT: Duration = Duration::from_secs(6);
/// How often a question without an answer is repeated (RFC 1123 section 6.1.3.3).
const REPEATS: usize = 2;
/// The end of all repeats.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Aliases (CNAME) followed from a name to its records.
const ALIASES_MAX: usize = 24;

/// What came back, and for how long DNS says that it holds.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Records of the type, behind CNAMEs too.
    Records(Vec<RData>, Duration),
    /// The name exists, but has no such record (NODATA), as the zone's SOA record confirms.
    NoRecords(Option<Duration>),
    /// An empty answer, or one about something else. Some servers mean NODATA by it, others lie.
    Nothing,
    /// The name does not exist (NXDOMAIN).
    NoName(Option<Duration>),
    /// There was no usable answer; the text names what there was.
    Failed(FaultKind, String),
}

/// Who asks.
pub(super) struct Questions {
    resolver: TokioResolver,
    open: Semaphore,
}

impl Questions {
    /// Asks `servers`, or those of the system if there are none.
    pub(super) fn new(servers: &[SocketAddr], server_timeout: Duration) -> io::Result<Self> {
        let (config, mut options) =
            if servers.is_empty() { of_system() } else { (named(servers), options(ResolveHosts::Never)) };
        // Our cache stands in front and also keeps what hickory would not.
        options.cache_size = 0;
        options.timeout = server_timeout;
        options.attempts = REPEATS;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(io::Error::other)?;
        Ok(Self { resolver, open: Semaphore::new(OPEN_MAX) })
    }

    /// Asks for the records of one type. `name` is absolute: search lists are for people at terminals.
    pub(super) async fn ask(&self, name: &str, record: RecordType) -> Outcome {
        let Ok(mut name) = Name::from_ascii(name) else {
            return Outcome::NoName(None);
        };
        name.set_fqdn(true);
        let _permit = self.open.acquire().await.expect("the semaphore is never closed");
        match tokio::time::timeout(QUESTION_TIMEOUT, self.resolver.lookup(name.clone(), record)).await {
            Ok(Ok(lookup)) => of_answers(name, record, lookup.answers()),
            Ok(Err(fault)) => of_fault(&fault),
            Err(_) => Outcome::Failed(FaultKind::NoAnswer, "no answer in time".to_owned()),
        }
    }
}

/// Follows the aliases from `name` to its records. What belongs to other names is not believed: over TCP, hickory does
/// not compare the question that comes back with the one that was asked.
fn of_answers(name: Name, record: RecordType, answers: &[Record]) -> Outcome {
    let (mut owner, mut seconds) = (name, u32::MAX);
    for _ in 0..=ALIASES_MAX {
        let mut records = Vec::new();
        let mut alias = None;
        for answer in answers.iter().filter(|answer| answer.name == owner) {
            match &answer.data {
                data if data.record_type() == record => records.push(data.clone()),
                RData::CNAME(target) => alias = Some(target.0.clone()),
                _ => continue,
            }
            // The shortest-lived link of the chain decides.
            seconds = seconds.min(answer.ttl);
        }
        match alias {
            _ if !records.is_empty() => {
                return Outcome::Records(records, Duration::from_secs(u64::from(seconds)));
            }
            Some(target) => owner = target,
            None => return Outcome::Nothing,
        }
    }
    Outcome::Failed(FaultKind::ServerFailure, "aliases without an end".to_owned())
}

fn of_fault(fault: &NetError) -> Outcome {
    match fault {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let holds = none.negative_ttl.map(|seconds| Duration::from_secs(u64::from(seconds)));
            match none.response_code {
                ResponseCode::NXDomain => Outcome::NoName(holds),
                ResponseCode::NoError if none.soa.is_some() => Outcome::NoRecords(holds),
                ResponseCode::NoError => Outcome::Nothing,
                other => Outcome::Failed(FaultKind::ServerFailure, mnemonic(other)),
            }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Outcome::Failed(FaultKind::ServerFailure, mnemonic(*code))
        }
        NetError::Timeout => Outcome::Failed(FaultKind::NoAnswer, "no answer in time".to_owned()),
        NetError::NoConnections | NetError::Io(_) | NetError::Busy => {
            Outcome::Failed(FaultKind::NoAnswer, format!("no name server could be reached: {fault}"))
        }
        other => Outcome::Failed(FaultKind::ServerFailure, format!("an unusable answer: {other}")),
    }
}

/// The names that DNS tools print.
fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("code {}, {other}", u16::from(other)),
    }
}

fn options(hosts: ResolveHosts) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.use_hosts_file = hosts;
    options
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
    let (_, _, servers) = match hickory_resolver::system_conf::read_system_conf() {
        Ok((config, _)) => config.into_parts(),
        Err(fault) => {
            tracing::warn!(%fault, "no name server in /etc/resolv.conf; 127.0.0.1 is asked");
            named(&[SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53)]).into_parts()
        }
    };
    (ResolverConfig::from_name_servers(servers), options(ResolveHosts::Always))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{A, CNAME};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect(text)
    }

    fn alias(from: &str, to: &str, ttl: u32) -> Record {
        Record::from_rdata(name(from), ttl, RData::CNAME(CNAME(name(to))))
    }

    fn address(of: &str, ttl: u32) -> Record {
        Record::from_rdata(name(of), ttl, RData::A(A::new(192, 0, 2, 1)))
    }

    fn shown(answers: &[Record]) -> String {
        match of_answers(name("a.test."), RecordType::A, answers) {
            Outcome::Records(records, time) => format!("{} for {}", records.len(), time.as_secs()),
            Outcome::Failed(_, what) => what,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn only_what_belongs_to_the_question_is_believed() {
        let (ab, bc, ca) = (
            alias("a.test.", "b.test.", 30),
            alias("B.test.", "c.test.", 20),
            alias("c.test.", "a.test.", 10),
        );
        assert_eq!(shown(&[address("A.test.", 60), address("a.test.", 50)]), "2 for 50");
        assert_eq!(shown(&[address("c.test.", 60), bc.clone(), ab.clone()]), "1 for 20");
        assert_eq!(shown(&[ab.clone(), bc.clone(), address("evil.test.", 5)]), "Nothing");
        assert_eq!(shown(&[address("evil.test.", 60)]), "Nothing");
        assert_eq!(shown(&[]), "Nothing");
        assert_eq!(shown(&[ab, bc, ca]), "aliases without an end");
    }
}
