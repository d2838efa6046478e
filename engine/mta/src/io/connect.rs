//! Connecting: from a given source address and device, without a port reserved too early, within a time.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::sockopt;
use super::stream::Stream;

/// Where to connect to, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The peer.
    pub address: SocketAddr,
    /// The source address; `None` lets the kernel choose.
    pub bind_ip: Option<IpAddr>,
    /// The network device to leave by; `None` lets the routes decide.
    pub device: Option<String>,
    /// Whether the source address may be missing on this host (IP_FREEBIND), as with floating addresses.
    pub freebind: bool,
}

impl Target {
    /// A target reached as the kernel sees fit.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, bind_ip: None, device: None, freebind: false }
    }
}

/// A fault of our own source (address or device), not of the destination. It is the inner error of the
/// [`io::Error`] that [`connect`] returns; [`SourceFault::is_cause_of`] finds it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct SourceFault {
    what: String,
    cause: io::Error,
}

impl SourceFault {
    fn wrap(what: String, cause: io::Error) -> io::Error {
        io::Error::new(cause.kind(), Self { what, cause })
    }

    /// Whether a source of ours, not the destination, made a connect fail.
    #[must_use]
    pub fn is_cause_of(fault: &io::Error) -> bool {
        fault.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Connects within `timeout`; the result has TCP_NODELAY and belongs to this shard's ring. May be dropped at any time.
///
/// # Errors
/// `TimedOut` after `timeout`; `ConnectionRefused`, `HostUnreachable` and their like as the kernel says; a
/// [`SourceFault`] when the source address or device cannot be used.
///
/// # Panics
/// Outside of a shard's runtime.
pub async fn connect(target: &Target, timeout: Duration) -> io::Result<Stream> {
    let socket = tokio::net::TcpSocket::from_std_stream(TcpStream::from(prepare(target)?));
    let connected = match tokio::time::timeout(timeout, socket.connect(target.address)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let tcp = connected.into_std()?;
    // The ring waits for blocking sockets itself; a non-blocking one would answer EAGAIN.
    tcp.set_nonblocking(false)?;
    tcp.set_nodelay(true)?;
    refuse_self(&tcp)?;
    Ok(Stream::new(tcp))
}

fn prepare(target: &Target) -> io::Result<Socket> {
    let domain = Domain::for_address(target.address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if let Some(device) = &target.device {
        socket
            .bind_device(Some(device.as_bytes()))
            .map_err(|fault| SourceFault::wrap(format!("the device {device} cannot be used"), fault))?;
    }
    if let Some(ip) = target.bind_ip {
        bind(&socket, ip, target)
            .map_err(|fault| SourceFault::wrap(format!("the source address {ip} cannot be used"), fault))?;
    }
    Ok(socket)
}

fn bind(socket: &Socket, ip: IpAddr, target: &Target) -> io::Result<()> {
    if ip.is_ipv4() != target.address.is_ipv4() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("it cannot reach {}, which is of the other IP version", target.address.ip()),
        ));
    }
    if target.freebind && ip.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else if target.freebind {
        socket.set_freebind_v6(true)?;
    }
    sockopt::set_bind_address_no_port(socket.as_fd())?;
    socket.bind(&SocketAddr::new(ip, 0).into())
}

/// TCP can connect a socket to itself when the destination port is a free one of this host's own ephemeral range.
fn refuse_self(tcp: &TcpStream) -> io::Result<()> {
    let both = (tcp.local_addr()?, tcp.peer_addr()?);
    if both.0 == both.1 { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
}
