//! Opens a connection of a path: hosts in their order, each address once, greeting, EHLO and STARTTLS.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use mail::{Phase, Reply};
use policy::TlsPolicy;
use policy::config::Source;
use policy::verdict::Fault;
use smtp::client::{Client, ClientConfig, ClientEvent, TlsWanted};

use super::pool::Pool;
use crate::control::destination::Host;
use crate::io::{self, SourceFault, Stream, Target, Watch};
use crate::shard::Shard;

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

/// Tries the hosts in order until one takes transactions.
pub(super) async fn open(shard: &Rc<Shard>, pool: &Rc<Pool>) -> Result<Connected, OpenFault> {
    let destination = pool.destination();
    let source = shard.shared.sources.get(pool.key.source);
    let mut fault = OpenFault::Failed(
        Fault::SourceUnusable,
        format!("source {} has no address of the family of any host of the site", source.name),
    );
    for host in &destination.hosts {
        for &address in host.addresses.iter().filter(|address| fits(source, address.ip())) {
            match attempt(shard, pool, host, address).await {
                Ok(connected) => return Ok(connected),
                // A refusal that concerns us rather than the host is not to be evaded by trying the next one.
                Err(refused @ OpenFault::Refused(..)) => return Err(refused),
                Err(failed) => fault = failed,
            }
        }
    }
    Err(fault)
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
    connected.greet(shard).await?;
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
    async fn greet(&mut self, shard: &Rc<Shard>) -> Result<(), OpenFault> {
        let mut buffer = Vec::new();
        loop {
            while let Some(event) = self.client.poll() {
                match event {
                    ClientEvent::Ready => return Ok(()),
                    ClientEvent::StartTls => self.start_tls(shard).await?,
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

    async fn start_tls(&mut self, shard: &Rc<Shard>) -> Result<(), OpenFault> {
        let config = std::sync::Arc::clone(&shard.client_tls.opportunistic);
        self.watch.extend(self.client.timeout());
        let host = self.host.as_str();
        let shaken = self.stream.start_tls_client(config, host).await;
        shaken.map_err(|error| {
            OpenFault::Failed(Fault::TlsHandshake, format!("{}: TLS handshake: {error}", self.address))
        })?;
        self.client.tls_established();
        Ok(())
    }

    /// Sends what is to be sent and reads what comes; an error when the connection has ended.
    pub(super) async fn exchange(&mut self, buffer: &mut Vec<u8>) -> Result<(), (Fault, String)> {
        self.watch.extend(self.client.timeout());
        if !self.client.transmit().is_empty() {
            self.stream.write_all(self.client.transmit()).await.map_err(|error| self.broken(&error))?;
        }
        buffer.clear();
        let read = self.stream.read(buffer).await.map_err(|error| self.broken(&error))?;
        if read == 0 {
            return Err((Fault::ConnectionLost, format!("{} closed the connection", self.address)));
        }
        self.client.receive(buffer);
        Ok(())
    }

    fn broken(&self, error: &std::io::Error) -> (Fault, String) {
        let fault = match error.kind() {
            std::io::ErrorKind::TimedOut => Fault::ReplyTimeout,
            _ => Fault::ConnectionLost,
        };
        (fault, format!("{}: {error}", self.address))
    }
}
