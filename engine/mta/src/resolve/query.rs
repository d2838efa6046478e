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
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;

use super::fault::FaultKind;

/// Questions open at a time: each has a socket of its own.
const OPEN_MAX: usize = 256;
/// How long one name server may take.
pub(super) const SERVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a question without an answer is repeated (RFC 1123 section 6.1.3.3).
const REPEATS: usize = 2;
/// The end of all repeats.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);

/// What came back, and for how long DNS says that it holds.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Records of the type, behind CNAMEs too.
    Records(Vec<RData>, Duration),
    /// The name exists, but has no such record (NODATA).
    NoRecords(Option<Duration>),
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
        match tokio::time::timeout(QUESTION_TIMEOUT, self.resolver.lookup(name, record)).await {
            Ok(Ok(lookup)) => of_answers(lookup.answers(), record),
            Ok(Err(fault)) => of_fault(&fault),
            Err(_) => Outcome::Failed(FaultKind::NoAnswer, "no answer in time".to_owned()),
        }
    }
}

fn of_answers(answers: &[hickory_resolver::proto::rr::Record], record: RecordType) -> Outcome {
    // The shortest-lived link of a chain of CNAMEs decides.
    let seconds = answers.iter().map(|answer| answer.ttl).min().unwrap_or(0);
    let records: Vec<RData> = answers
        .iter()
        .filter(|answer| answer.record_type() == record)
        .map(|answer| answer.data.clone())
        .collect();
    if records.is_empty() {
        return Outcome::NoRecords(None);
    }
    Outcome::Records(records, Duration::from_secs(u64::from(seconds)))
}

fn of_fault(fault: &NetError) -> Outcome {
    match fault {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let holds = none.negative_ttl.map(|seconds| Duration::from_secs(u64::from(seconds)));
            match none.response_code {
                ResponseCode::NXDomain => Outcome::NoName(holds),
                ResponseCode::NoError => Outcome::NoRecords(holds),
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
