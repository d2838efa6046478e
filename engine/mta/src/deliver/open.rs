//! Opens a connection of a path: hosts in their order, each address once, greeting, EHLO and STARTTLS.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail::{Phase, Reply, Route, UnixMs};
use policy::config::Source;
use policy::tls_report::ResultType;
use policy::verdict::Fault;
use smtp::client::{Client, ClientConfig, ClientEvent, Login, Protocol, TlsWanted};

use rustc_hash::FxBuildHasher;

use super::current;
use super::pool::Pool;
use super::protection::{Protection, Wanted};
use super::refusal;
use super::told::{self, TlsFailure};
use crate::control::destination::{Destination, Host};
use crate::io::{self, Body, Parcel, SourceFault, Stream, Target, Watch};
use crate::shard::Shard;

/// A long message has this much more time for each second that it would take at such a rate: RFC 5321 section 4.5.3.2.5
/// gives each piece three minutes, and a message that is cut off every time would never arrive.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 << 10;

/// A connection that takes transactions.
pub(super) struct Connected {
    pub(super) stream: Stream,
    pub(super) client: Client,
    pub(super) watch: Watch,
    pub(super) address: SocketAddr,
    /// What every outcome says of the connection.
    pub(super) route: Arc<Route>,
    pub(super) connect_ms: u32,
    /// No reply is awaited for longer.
    reply_timeout: Duration,
    /// Replies heard when the deadline was set last.
    heard: u64,
    pub(super) protection: Protection,
    /// What is sent next: the client's bytes, and the bodies for the gaps that it leaves between them.
    parcel: Parcel,
}

/// Why no connection could be opened.
pub(super) enum OpenFault {
    /// The server answered, but not as hoped.
    Refused(Phase, Reply),
    /// The server knows us not, or offers no AUTH that will do.
    NoLogin(Reply),
    /// There was no answer to judge.
    Failed(Fault, String),
}

/// Whom a connection is made to.
#[derive(Clone, Copy)]
struct Peer<'a> {
    destination: &'a Destination,
    host: &'a Host,
    address: SocketAddr,
}

/// Tries the hosts in order until one takes transactions; those that lately did not come last.
pub(super) async fn open(shard: &Rc<Shard>, pool: &Rc<Pool>) -> Result<Connected, OpenFault> {
    let destination = current::destination(shard, pool).await?;
    let source = shard.shared.sources.get(pool.key.source);
    let provider = &shard.shared.config.providers[destination.provider];
    let mut fault = None;
    for (host, address) in in_order(pool, &destination, source, shard.now()) {
        let failed = match attempt(shard, pool, Peer { destination: &destination, host, address }).await {
            Ok(connected) => {
                pool.connected_ms(connected.connect_ms);
                pool.avoided.remove(address);
                return Ok(connected);
            }
            Err(failed) => failed,
        };
        let verdict = match &failed {
            OpenFault::Refused(phase, reply) => {
                Some(shard.shared.config.replies.judge(*phase, reply, &provider.name))
            }
            _ => None,
        };
        if verdict.is_some_and(|verdict| !refusal::may_go_on(verdict)) {
            return Err(failed);
        }
        pool.avoided.add(address, shard.now());
        // That the site takes no mail at all counts only when each of its hosts says so.
        if fault.is_none() || !verdict.is_some_and(refusal::is_of_site) {
            fault = Some(failed);
        }
    }
    Err(fault.unwrap_or_else(|| {
        let why = format!("source {} has no address of the family of any host of the site", source.name);
        OpenFault::Failed(Fault::SourceUnusable, why)
    }))
}

fn in_order<'a>(
    pool: &Pool,
    destination: &'a Destination,
    source: &Source,
    now: UnixMs,
) -> Vec<(&'a Host, SocketAddr)> {
    let all =
        destination.hosts.iter().flat_map(|host| host.addresses.iter().map(move |&address| (host, address)));
    let mut order: Vec<_> = all.filter(|(_, address)| fits(source, address.ip())).collect();
    // Connections take turns at equals, so that these share the load (RFC 5321 section 5.1).
    let turn = pool.next_turn();
    order.sort_by_cached_key(|(host, address)| {
        (pool.avoided.holds(*address, now), host.preference, FxBuildHasher.hash_one((turn, address)))
    });
    order
}

/// Whether the site has a host that has not lately refused to take mail.
pub(super) fn has_another_host(shard: &Shard, pool: &Pool) -> bool {
    has_host(shard, pool, |address| !pool.avoided.holds(address, shard.now()))
}

/// Whether the site has a host of this kind that the path's source can reach.
pub(super) fn has_host(shard: &Shard, pool: &Pool, is_meant: impl Fn(SocketAddr) -> bool) -> bool {
    let destination = pool.destination();
    let source = shard.shared.sources.get(pool.key.source);
    let mut addresses = destination.hosts.iter().flat_map(|host| &host.addresses);
    addresses.any(|&address| fits(source, address.ip()) && is_meant(address))
}

fn fits(source: &Source, address: IpAddr) -> bool {
    source.ip.is_none_or(|ip| ip.is_ipv4() == address.is_ipv4())
}

/// One address; once more in clear when its TLS turns out to be broken and the policy allows it.
async fn attempt(shard: &Rc<Shard>, pool: &Rc<Pool>, peer: Peer<'_>) -> Result<Connected, OpenFault> {
    let Peer { destination, host, address } = peer;
    // Once more, at the last moment: whatever brought the address here, DNS must not make the engine dial it.
    if destination.domain.is_some() && !shard.shared.destinations.may_dial(address.ip()) {
        let why = format!("{address} is no address that DNS may name");
        return Err(OpenFault::Failed(Fault::ForbiddenAddress, why));
    }
    let is_broken = pool.abilities.broken_tls.holds(address, shard.now());
    let wanted = Wanted::of(pool, destination, host, is_broken);
    let first = connect(shard, pool, peer, &wanted).await;
    let last = match first {
        Err(Unopened {
            fault: OpenFault::Failed(Fault::TlsHandshake | Fault::TlsCertificate, why), ..
        }) if wanted.tls == TlsWanted::Opportunistic => {
            tracing::info!(host = host.name, why, "TLS is broken there: speaking in clear");
            pool.abilities.broken_tls.add(address, shard.now());
            connect(shard, pool, peer, &Wanted::in_clear()).await
        }
        other => other,
    };
    match last {
        Ok(connected) => {
            let is_broken = pool.abilities.broken_tls.holds(address, shard.now());
            told::opened(shard, pool, host, &connected, is_broken);
            Ok(connected)
        }
        Err(Unopened { fault, tls }) => {
            if let Some(failure) = tls {
                told::failed(shard, pool, host, address, &failure);
            }
            Err(fault)
        }
    }
}

/// Why a connection could not be opened, and whether TLS was at fault.
struct Unopened {
    fault: OpenFault,
    tls: Option<TlsFailure>,
}

impl Unopened {
    /// The session ended between STARTTLS and the handshake.
    fn tls_is_broken(why: String) -> Self {
        let failure = TlsFailure { result: ResultType::ValidationFailure, why: why.clone() };
        Self { fault: OpenFault::Failed(Fault::TlsHandshake, format!("STARTTLS: {why}")), tls: Some(failure) }
    }
}

impl From<OpenFault> for Unopened {
    fn from(fault: OpenFault) -> Self {
        Self { fault, tls: None }
    }
}

async fn connect(
    shard: &Rc<Shard>,
    pool: &Rc<Pool>,
    peer: Peer<'_>,
    wanted: &Wanted,
) -> Result<Connected, Unopened> {
    let Peer { destination, host, address } = peer;
    let began = Instant::now();
    let source = shard.shared.sources.get(pool.key.source);
    let target = Target { address, bind_ip: source.ip, device: source.device.clone(), freebind: false };
    let stream = io::connect(&target, shard.shared.config.deliver.connect_timeout)
        .await
        .map_err(|error| OpenFault::Failed(connect_fault(&error), format!("{address}: {error}")))?;
    let access = &destination.access;
    let config = ClientConfig {
        protocol: match access.protocol {
            policy::config::Protocol::Smtp => Protocol::Smtp,
            policy::config::Protocol::Lmtp => Protocol::Lmtp,
        },
        login: access.login.as_deref().map(|login| login_at(login, address)),
        chunking: !pool.abilities.without_chunking.holds(address, shard.now()),
        pipelining: !pool.abilities.without_pipelining.holds(address, shard.now()),
        pipeline_depth: pool.budget.limits().pipeline_depth,
        tls: wanted.tls,
        gaps: true,
        ..ClientConfig::new(shard.shared.sources.ehlo(pool.key.source))
    };
    let client = Client::new(config);
    let reply_timeout = shard.shared.config.deliver.reply_timeout;
    let watch = shard.deadlines.watch(&stream, began + client.timeout().min(reply_timeout));
    let mut connected = Connected {
        stream,
        client,
        watch,
        address,
        route: Arc::default(),
        connect_ms: 0,
        reply_timeout,
        heard: 0,
        protection: Protection::default(),
        parcel: Parcel::default(),
    };
    let config = shard.client_tls.config(&wanted.trust, destination.identity);
    let handshake = Handshake { config, host, wanted };
    connected.greet(&handshake).await?;
    connected.stream.label_tls(connected.protection.label());
    let tls = connected.stream.tls_description().unwrap_or_default();
    connected.route = Arc::new(Route {
        source: source.name.clone(),
        provider: shard.shared.config.providers[destination.provider].name.clone(),
        mx: host.name.clone(),
        address: address.to_string(),
        tls,
    });
    connected.connect_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    Ok(connected)
}

/// Whom TLS is to believe, and for whom.
struct Handshake<'a> {
    config: Arc<rustls::ClientConfig>,
    host: &'a Host,
    wanted: &'a Wanted,
}

/// The route's login as it may be told to `address`: what goes over loopback nobody else hears.
fn login_at(login: &policy::config::Login, address: SocketAddr) -> Login {
    Login {
        username: login.username.clone(),
        password: login.password.clone(),
        in_clear: login.in_clear || address.ip().is_loopback(),
        nonce: io::tls::nonce(),
    }
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
    async fn greet(&mut self, tls: &Handshake<'_>) -> Result<(), Unopened> {
        let mut buffer = Vec::new();
        let (mut awaits_tls, mut is_ready) = (false, false);
        loop {
            while let Some(event) = self.client.poll() {
                match event {
                    // What has come behind it may be the end of the session already.
                    ClientEvent::Ready => is_ready = true,
                    ClientEvent::StartTls => self.start_tls(tls).await?,
                    // A login that fails is a fault of our configuration: no recipient is to suffer for it.
                    ClientEvent::Refused { phase: Phase::Auth, reply } => {
                        return Err(OpenFault::NoLogin(reply).into());
                    }
                    // Our own words: the server does not offer what is required.
                    ClientEvent::Refused { reply, .. } if reply.code == 0 => {
                        let fault = OpenFault::Failed(Fault::TlsMissing, reply.text);
                        return Err(Unopened { fault, tls: Some(TlsFailure::not_offered()) });
                    }
                    ClientEvent::Refused { phase: Phase::StartTls, reply } => {
                        return Err(Unopened::tls_is_broken(reply.to_string()));
                    }
                    ClientEvent::Refused { phase, reply } => {
                        return Err(OpenFault::Refused(phase, reply).into());
                    }
                    ClientEvent::Fault(fault) if awaits_tls => {
                        return Err(Unopened::tls_is_broken(fault.to_string()));
                    }
                    ClientEvent::Fault(fault) => {
                        return Err(OpenFault::Failed(Fault::Protocol, fault.to_string()).into());
                    }
                    ClientEvent::Recipient { .. }
                    | ClientEvent::Untried { .. }
                    | ClientEvent::Done { .. } => {}
                }
            }
            if is_ready {
                return Ok(());
            }
            awaits_tls = self.client.awaits() == Some(Phase::StartTls);
            match self.exchange(&mut buffer).await {
                Ok(()) => {}
                // Whatever ends the session at STARTTLS: the server offers what it cannot do.
                Err((_, why)) if awaits_tls => return Err(Unopened::tls_is_broken(why)),
                Err((fault, why)) => return Err(OpenFault::Failed(fault, why).into()),
            }
        }
    }

    async fn start_tls(&mut self, tls: &Handshake<'_>) -> Result<(), Unopened> {
        self.watch.extend(self.patience());
        let name = tls.host.certificate_name();
        let shaken = self.stream.start_tls_client(Arc::clone(&tls.config), name).await;
        shaken.map_err(|error| {
            let (fault, failure) = TlsFailure::of_handshake(&error, tls.host);
            let fault = OpenFault::Failed(fault, format!("{}: TLS handshake: {error}", self.address));
            Unopened { fault, tls: Some(failure) }
        })?;
        self.client.tls_established();
        // At once: a login shows its password only to the right server.
        self.protection = tls.wanted.got(&self.stream);
        self.client.set_tls_authenticated(self.protection.authenticated.is_some());
        Ok(())
    }

    /// How long what is awaited now may take.
    fn patience(&self) -> Duration {
        self.client.timeout().min(self.reply_timeout)
    }

    /// Sends what is to be sent and reads what comes; an error when the connection has ended.
    pub(super) async fn exchange(&mut self, buffer: &mut Vec<u8>) -> Result<(), (Fault, String)> {
        buffer.clear();
        let has_sent = !self.client.transmit().is_empty();
        let sent = self.send().await;
        // Only whole replies count: one that comes byte by byte has the time of one.
        let heard = self.client.heard();
        if has_sent || heard != std::mem::replace(&mut self.heard, heard) {
            self.watch.extend(self.patience());
        }
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

    /// Takes the body of the transaction that was begun last, if it has left a gap for it.
    pub(super) fn fill_gap(&mut self, body: impl FnOnce() -> Body) {
        if let Some(gap) = self.client.gaps().get(self.parcel.bodies()) {
            self.parcel.insert(gap.at, body());
        }
    }

    async fn send(&mut self) -> std::io::Result<()> {
        // Taken together: what has left the client counts as sent.
        std::mem::swap(self.parcel.bytes(), self.client.transmit());
        self.client.gaps().clear();
        if self.parcel.is_empty() {
            return Ok(());
        }
        let at_least = Duration::from_secs(self.parcel.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        self.watch.extend(self.patience() + at_least);
        let sent = self.stream.write_parcel(&mut self.parcel).await;
        io::return_line(std::mem::take(self.parcel.bytes()));
        sent
    }

    /// Gives back what the buffers hold beyond `bytes_max` each, while nothing is under way.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.client.shrink(bytes_max);
        self.parcel.shrink(bytes_max);
        self.stream.shrink(bytes_max);
    }

    fn broken(&self, error: &std::io::Error) -> (Fault, String) {
        let fault = match error.kind() {
            std::io::ErrorKind::TimedOut => Fault::ReplyTimeout,
            _ => Fault::ConnectionLost,
        };
        (fault, format!("{}: {error}", self.address))
    }
}
