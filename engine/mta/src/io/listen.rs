//! Listening: one socket per shard on the same address (SO_REUSEPORT), so that the kernel deals connections out.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::stream::Stream;

/// How long accepting rests when there are no descriptors or no memory left, instead of asking in a circle.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket. Dropping it stops accepting at once; an accept under way may be dropped at any time.
#[derive(Debug)]
pub struct Listener {
    socket: tokio::net::TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address` (port 0: any) with room for `backlog` connections that nobody has accepted yet. An IPv6
    /// address takes IPv6 connections only.
    ///
    /// # Errors
    /// `AddrInUse` when another program listens there, `PermissionDenied` for low ports, `AddrNotAvailable` for an
    /// address that is not on this host.
    ///
    /// # Panics
    /// Outside of a shard's runtime.
    pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        Ok(Self { socket: tokio::net::TcpListener::from_std(listener)?, address })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next connection and its peer. It has TCP_NODELAY and belongs to this shard's ring.
    ///
    /// # Errors
    /// Out of descriptors or memory: worth a line in the log, then ask again; the pause is made here.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            match self.socket.accept().await {
                Ok((tcp, peer)) => match hand_to_ring(tcp) {
                    Ok(tcp) => return Ok((Stream::new(tcp), peer)),
                    Err(fault) => tracing::debug!(%peer, %fault, "a connection ended at once"),
                },
                Err(fault) if left_again(&fault) => {}
                Err(fault) => {
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    return Err(fault);
                }
            }
        }
    }
}

/// The ring waits for blocking sockets itself; a non-blocking one would answer EAGAIN.
fn hand_to_ring(tcp: tokio::net::TcpStream) -> io::Result<TcpStream> {
    let tcp = tcp.into_std()?;
    tcp.set_nonblocking(false)?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Faults of one connection that ended before it was accepted (accept(2), "Error handling").
fn left_again(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
    )
}
