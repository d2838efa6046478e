//! The way in: listeners, SMTP sessions, and the checks between a message's last byte and the spool.

mod message;
mod session;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use policy::config::{Auth, Config, Listener as Stated, ListenerTls};
use smtp::server::{AuthPolicy, Limits};

use crate::io::{self, Listener};
use crate::shard::Shard;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: u32 = 4096;

/// What a listener is to be: the same on every shard.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    stated: Arc<Stated>,
    protocol: Arc<smtp::server::Config>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Connections that this shard's part of the listener may have open.
    connections_max: u32,
}

/// A listener that stands.
pub(crate) struct Listening {
    listener: Listener,
    door: Rc<Door>,
    open: Rc<Cell<u32>>,
}

impl Listening {
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }
}

/// The doors of a configuration, each to be opened on every shard.
///
/// # Errors
/// One sentence when a certificate cannot be used.
pub(crate) fn doors(config: &Config, host_name: &str, shards: usize) -> Result<Vec<Door>, String> {
    config.listeners.iter().map(|stated| door(stated, host_name, shards)).collect()
}

fn door(stated: &Stated, host_name: &str, shards: usize) -> Result<Door, String> {
    if stated.auth != Auth::Off {
        return Err(format!(
            "the listener on {} asks for auth: submission with AUTH is not available yet; set auth = \"off\" and name your networks in `trusted`",
            stated.address
        ));
    }
    let tls = match &stated.certificate {
        Some(certificate) if stated.tls != ListenerTls::Off => Some(
            io::tls::server_config(&certificate.cert_file, &certificate.key_file)
                .map_err(|error| error.to_string())?,
        ),
        _ => None,
    };
    let protocol = smtp::server::Config {
        hostname: host_name.to_owned(),
        limits: Limits { message_bytes: stated.message_bytes_max, ..Limits::default() },
        starttls: stated.tls == ListenerTls::StartTls,
        auth: AuthPolicy::Off,
        auth_in_clear: false,
    };
    let shards = u32::try_from(shards).unwrap_or(u32::MAX);
    Ok(Door {
        address: stated.address,
        stated: Arc::new(stated.clone()),
        protocol: Arc::new(protocol),
        tls,
        connections_max: stated.connections_max.div_ceil(shards),
    })
}

impl Door {
    /// The same door at the address that the first shard was given: for port 0.
    pub(crate) fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }
}

/// Opens a door on this shard.
///
/// # Errors
/// One sentence naming the address.
pub(crate) fn open(door: Door) -> Result<Listening, String> {
    let listener =
        Listener::bind(door.address, BACKLOG).map_err(|error| cannot_listen(door.address, &error))?;
    Ok(Listening { listener, door: Rc::new(door), open: Rc::default() })
}

/// Whether nobody else listens on `address`: sockets that share a port would not notice.
///
/// # Errors
/// One sentence naming the address.
pub(crate) fn check_free(address: SocketAddr) -> Result<(), String> {
    std::net::TcpListener::bind(address).map(drop).map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> String {
    let cure = match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program listens there",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        std::io::ErrorKind::AddrNotAvailable => "the address is not on this host",
        _ => return format!("cannot listen on {address}: {error}"),
    };
    format!("cannot listen on {address}: {cure}")
}

/// The place that a session takes, given back however it ends.
struct Seat {
    shard: Rc<Shard>,
    open: Rc<Cell<u32>>,
}

impl Seat {
    fn take(shard: &Rc<Shard>, open: &Rc<Cell<u32>>) -> Self {
        open.set(open.get() + 1);
        shard.counters.inbound_connections.add(1);
        shard.counters.inbound_open.add(1);
        Self { shard: Rc::clone(shard), open: Rc::clone(open) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        self.shard.counters.inbound_open.sub(1);
    }
}

/// Takes connections until the engine stops.
pub(crate) async fn serve(shard: Rc<Shard>, listening: Listening) {
    while !shard.is_stopping() {
        let accepted = tokio::select! {
            accepted = listening.listener.accept() => accepted,
            () = shard.bells.stopping.notified() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                continue;
            }
        };
        let session = session::live(Rc::clone(&shard), Rc::clone(&listening.door), stream, peer);
        let crowded = listening.open.get() >= listening.door.connections_max;
        let seat = Seat::take(&shard, &listening.open);
        io::spawn(async move {
            session.run(crowded).await;
            drop(seat);
        });
    }
}
