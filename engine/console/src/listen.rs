//! The doors of the API: a TCP address and the control socket, with limits on connections and on slow clients.

use std::fs::{File, Permissions};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use policy::config::Config;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::app::Console;
use crate::caller::Peer;

/// Connections that are served at once, over both doors; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long the header of a request may take to arrive, also the first on an idle connection.
const HEADER_PATIENCE: Duration = Duration::from_secs(75);
/// What is read of a connection at a time, in bytes; also the largest header of a request.
const READ_BYTES_MAX: usize = 256 * 1024;
/// How long requests under way may still take when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long is rested when the system gives no more connections (too many open files, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 256;

/// A door that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TCP address.
    #[error("cannot listen on http.address {address}: {cause}")]
    Http {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The control socket.
    #[error("cannot listen on the control socket {}: {cause}", path.display())]
    Control {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another engine answers on the control socket.
    #[error("the control socket {} is in use by another engine; give this one another node.control", path.display())]
    ControlInUse {
        /// Its file.
        path: PathBuf,
    },
}

/// Open doors.
#[derive(Debug)]
pub struct Listeners {
    http: Option<(TcpListener, SocketAddr)>,
    control: (UnixListener, PathBuf),
}

impl Listeners {
    /// Opens what the configuration names. Call it inside of the runtime that will serve.
    ///
    /// # Errors
    /// One sentence per door that cannot be opened.
    pub async fn bind(config: &Config) -> Result<Self, ListenError> {
        let http = match &config.http {
            Some(http) => Some(bind_http(http.address).await?),
            None => None,
        };
        let path = config.node.control.clone();
        let control = bind_control(&path)?;
        Ok(Self { http, control: (control, path) })
    }

    /// Where HTTP is taken over TCP, with the port that was chosen for port 0.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(_, address)| *address)
    }

    /// The file of the control socket.
    #[must_use]
    pub fn control_path(&self) -> &Path {
        &self.control.1
    }
}

async fn bind_http(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let wrong = |cause| ListenError::Http { address, cause };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
}

/// The file gets its mode before it gets its name: at no moment can another user open it.
fn bind_control(path: &Path) -> Result<UnixListener, ListenError> {
    remove_stale(path)?;
    let bind = || -> io::Result<UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let file = File::from(OwnedFd::from(socket));
        file.set_permissions(Permissions::from_mode(0o600))?;
        let socket = Socket::from(OwnedFd::from(file));
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(std::os::unix::net::UnixListener::from(OwnedFd::from(socket)))
    };
    bind().map_err(|cause| ListenError::Control { path: path.to_owned(), cause })
}

/// Removes the socket of an engine that is gone.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ListenError::ControlInUse { path: path.to_owned() });
    }
    std::fs::remove_file(path).map_err(|cause| ListenError::Control { path: path.to_owned(), cause })
}

/// Serves the API until `stop` is ready, then lets requests under way finish, for at most ten seconds.
pub async fn serve(console: Console, listeners: Listeners, stop: impl Future<Output = ()>) {
    let Listeners { http, control: (control, control_path) } = listeners;
    let serving = Serving {
        router: console.router(),
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        graceful: GracefulShutdown::new(),
    };
    let accept_http = async {
        match &http {
            Some((listener, _)) => serving.accept_tcp(listener).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = accept_http => {}
        () = serving.accept_control(&control) => {}
        () = stop => {}
    }
    drop((http, control));
    // Another engine could not have opened it while we had it.
    let _ = std::fs::remove_file(&control_path);
    console.stopping.send_replace(true);
    if tokio::time::timeout(STOP_PATIENCE, serving.graceful.shutdown()).await.is_err() {
        tracing::warn!(
            "HTTP requests were cut off because they took longer than {} s",
            STOP_PATIENCE.as_secs()
        );
    }
}

struct Serving {
    router: Router,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
}

impl Serving {
    async fn accept_tcp(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    // Answers are written whole; waiting for more would only delay them.
                    let _ = stream.set_nodelay(true);
                    self.serve(stream, Peer::Network(address)).await;
                }
                Err(error) => rest(&error).await,
            }
        }
    }

    async fn accept_control(&self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, Peer::Control).await,
                Err(error) => rest(&error).await,
            }
        }
    }

    /// Serves a connection in a task of its own, when there is a place for it.
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
        let router = self.router.clone();
        let service = tower::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            tower::ServiceExt::oneshot(router.clone(), request)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .max_buf_size(READ_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("an HTTP connection ended: {error}");
            }
            drop(place);
        });
    }
}

async fn rest(error: &io::Error) {
    tracing::warn!("cannot accept an HTTP connection: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_control_socket_is_for_its_owner_and_replaces_a_stale_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control.sock");
        let first = bind_control(&path).expect("bound");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(bind_control(&path), Err(ListenError::ControlInUse { .. })));
        drop(first);
        bind_control(&path).expect("the stale one is replaced");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control.sock");
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(bind_control(&path), Err(ListenError::Control { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "precious");
    }

    #[tokio::test]
    async fn a_busy_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = taken.local_addr().expect("an address");
        let error = bind_http(address).await.expect_err("refused");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
