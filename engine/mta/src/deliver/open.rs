//! Opens a connection of a path: hosts in their order, each address once, greeting, EHLO and STARTTLS.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail::{Phase, Reply, UnixMs};
use policy::TlsPolicy;
use policy::config::Source;
use policy::verdict::{Action, Fault};
use smtp::client::{Client, ClientConfig, ClientEvent, TlsWanted};

use super::pool::Pool;
use crate::control::destination::{Destination, Host};
use crate::io::{self, SourceFault, Stream, Target, Watch};
use crate::shard::Shard;

/// A long message has this much more time for each second that it would take at such a rate: RFC 5321 section 4.5.3.2.5
/// gives each piece three minutes, and a message that is cut off every time would never arrive.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 << 10;

/// A connection that takes transactions.
pub(super) struct Connected {
    pub(super) stream: Stream,
    pub(super) client: Client,
    pub(super) watch: Watch,
    pub(super) host: String,
    pub(super) address: SocketAddr,
    pub(super) connect_ms: u32,
}

/// Why no connection could be opened.
pub(super) enum OpenFault {
    /// The server answered, but not as hoped.
    Refused(Phase, Reply),
    /// There was no answer to judge.
    Failed(Fault, String),
}

/// Tries the hosts in order until one takes transactions; those that lately did not come last.
pub(super) async fn open(shard: &Rc<Shard>, pool: &Rc<Pool>) -> Result<Connected, OpenFault> {
    let destination = pool.destination();
    let source = shard.shared.sources.get(pool.key.source);
    let provider = &shard.shared.config.providers[destination.provider];
    let mut fault = OpenFault::Failed(
        Fault::SourceUnusable,
        format!("source {} has no address of the family of any host of the site", source.name),
    );
    for (host, address) in in_order(pool, &destination, source, shard.now()) {
        let failed = match attempt(shard, pool, host, address).await {
            Ok(connected) => {
                pool.avoided.remove(address);
                return Ok(connected);
            }
            Err(failed) => failed,
        };
        if let OpenFault::Refused(phase, reply) = &failed
            && !matches!(
                shard.shared.config.replies.judge(*phase, reply, &provider.name).action,
                Action::NextMx | Action::Defer | Action::Reconnect
            )
        {
            // A refusal that concerns us rather than the host is not to be evaded by trying the next one.
            return Err(failed);
        }
        pool.avoided.add(address, shard.now());
        fault = failed;
    }
    Err(fault)
}

fn in_order<'a>(
    pool: &Pool,
    destination: &'a Destination,
    source: &Source,
    now: UnixMs,
) -> Vec<(&'a Host, SocketAddr)> {
    let all =
        destination.hosts.iter().flat_map(|host| host.addresses.iter().map(move |&address| (host, address)));
    let usable = all.filter(|(_, address)| fits(source, address.ip()));
    let (mut order, last): (Vec<_>, Vec<_>) =
        usable.partition(|(_, address)| !pool.avoided.holds(*address, now));
    order.extend(last);
    order
}

/// Whether the site has a host that has not lately refused to take mail.
pub(super) fn has_another_host(shard: &Shard, pool: &Pool) -> bool {
    let destination = pool.destination();
    let source = shard.shared.sources.get(pool.key.source);
    let addresses = destination.hosts.iter().flat_map(|host| &host.addresses);
    addresses
        .filter(|address| fits(source, address.ip()))
        .any(|&address| !pool.avoided.holds(address, shard.now()))
}

fn fits(source: &Source, address: IpAddr) -> bool {
    source.ip.is_none_or(|ip| ip.is_ipv4() == address.is_ipv4())
}

/// One address; once more in clear when its TLS turns out to be broken and the policy allows it.
async fn attempt(
    shard: &Rc<Shard>,
    pool: &Rc<Pool>,
    host: &Host,
    address: SocketAddr,
) -> Result<Connected, OpenFault> {
    let wanted = tls_wanted(shard, pool);
    let first = connect(shard, pool, host, address, wanted).await;
    match first {
        Err(OpenFault::Failed(Fault::TlsHandshake, why)) if wanted == TlsWanted::Opportunistic => {
            tracing::info!(host = host.name, why, "TLS is broken there: speaking in clear");
            pool.tls_is_broken(shard.now());
            connect(shard, pool, host, address, TlsWanted::Off).await
        }
        other => other,
    }
}

fn tls_wanted(shard: &Shard, pool: &Pool) -> TlsWanted {
    match pool.destination().tls {
        TlsPolicy::Off => TlsWanted::Off,
        TlsPolicy::Required => TlsWanted::Required,
        TlsPolicy::Opportunistic if pool.needs_tls() => TlsWanted::Required,
        TlsPolicy::Opportunistic if pool.speaks_clear(shard.now()) => TlsWanted::Off,
        TlsPolicy::Opportunistic => TlsWanted::Opportunistic,
    }
}

async fn connect(
    shard: &Rc<Shard>,
    pool: &Rc<Pool>,
    host: &Host,
    address: SocketAddr,
    tls: TlsWanted,
) -> Result<Connected, OpenFault> {
    let began = Instant::now();
    let source = shard.shared.sources.get(pool.key.source);
    let target = Target { address, bind_ip: source.ip, device: source.device.clone(), freebind: false };
    let stream = io::connect(&target, shard.shared.config.deliver.connect_timeout)
        .await
        .map_err(|error| OpenFault::Failed(connect_fault(&error), format!("{address}: {error}")))?;
    let config = ClientConfig {
        pipeline_depth: shard.shared.config.providers[pool.destination().provider].limits.pipeline_depth,
        tls,
        ..ClientConfig::new(shard.shared.sources.ehlo(pool.key.source))
    };
    let client = Client::new(config);
    let watch = shard.deadlines.watch(&stream, began + client.timeout());
    let host = host.name.clone();
    let mut connected = Connected { stream, client, watch, host, address, connect_ms: 0 };
    let verified = pool.destination().tls == TlsPolicy::Required;
    let tls_config = if verified { &shard.client_tls.verified } else { &shard.client_tls.opportunistic };
    connected.greet(tls_config).await?;
    connected.connect_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    Ok(connected)
}

fn connect_fault(error: &std::io::Error) -> Fault {
    use std::io::ErrorKind;
    if SourceFault::is_cause_of(error) {
        return Fault::SourceUnusable;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => Fault::ConnectRefused,
        ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::ConnectUnreachable,
    }
}

impl Connected {
    /// Speaks until the server takes transactions.
    async fn greet(&mut self, tls: &Arc<rustls::ClientConfig>) -> Result<(), OpenFault> {
        let mut buffer = Vec::new();
        loop {
            while let Some(event) = self.client.poll() {
                match event {
                    ClientEvent::Ready => return Ok(()),
                    ClientEvent::StartTls => self.start_tls(tls).await?,
                    // Our own words: the server does not offer what is required.
                    ClientEvent::Refused { reply, .. } if reply.code == 0 => {
                        return Err(OpenFault::Failed(Fault::TlsMissing, reply.text));
                    }
                    ClientEvent::Refused { phase, reply } => return Err(OpenFault::Refused(phase, reply)),
                    ClientEvent::Fault(fault) => {
                        return Err(OpenFault::Failed(Fault::Protocol, fault.to_string()));
                    }
                    ClientEvent::Recipient { .. } | ClientEvent::Done { .. } => {}
                }
            }
            self.exchange(&mut buffer).await.map_err(|(fault, why)| OpenFault::Failed(fault, why))?;
        }
    }

    async fn start_tls(&mut self, tls: &Arc<rustls::ClientConfig>) -> Result<(), OpenFault> {
        self.watch.extend(self.client.timeout());
        let host = self.host.as_str();
        let shaken = self.stream.start_tls_client(Arc::clone(tls), host).await;
        shaken.map_err(|error| {
            OpenFault::Failed(Fault::TlsHandshake, format!("{}: TLS handshake: {error}", self.address))
        })?;
        self.client.tls_established();
        Ok(())
    }

    /// Sends what is to be sent and reads what comes; an error when the connection has ended.
    pub(super) async fn exchange(&mut self, buffer: &mut Vec<u8>) -> Result<(), (Fault, String)> {
        buffer.clear();
        let sent = self.send().await;
        self.watch.extend(self.client.timeout());
        match (self.stream.read(buffer).await, sent) {
            // A server that has heard enough says why before it closes.
            (Ok(1..), _) => self.client.receive(buffer),
            (_, Err(error)) | (Err(error), Ok(())) => return Err(self.broken(&error)),
            (Ok(_), Ok(())) => {
                return Err((Fault::ConnectionLost, format!("{} closed the connection", self.address)));
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> std::io::Result<()> {
        let bytes = self.client.transmit().len();
        if bytes == 0 {
            return Ok(());
        }
        let at_least = Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND);
        self.watch.extend(self.client.timeout() + at_least);
        self.stream.write_all(self.client.transmit()).await
    }

    fn broken(&self, error: &std::io::Error) -> (Fault, String) {
        let fault = match error.kind() {
            std::io::ErrorKind::TimedOut => Fault::ReplyTimeout,
            _ => Fault::ConnectionLost,
        };
        (fault, format!("{}: {error}", self.address))
    }
}
