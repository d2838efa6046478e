//! The socket under a stream, shared with the operations in flight and the deadlines; it knows why it was cut off.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, TcpStream};

/// A connected socket in blocking mode (the ring waits for it) that the last owner closes.
pub(super) struct Socket {
    tcp: TcpStream,
    overdue: Cell<bool>,
    writing: Cell<bool>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, overdue: Cell::new(false), writing: Cell::new(false) }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Tells whether a send waits for the peer.
    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.set(writing);
    }

    /// The deadline has passed: pending operations complete now, with [`io::ErrorKind::TimedOut`].
    ///
    /// Only the reading side is cut while nothing is being sent, so that a server can still say 421; a second
    /// deadline, or one that passes while the peer takes nothing, cuts both.
    pub(super) fn cut_off(&self) {
        let how = if self.writing.get() || self.overdue.get() { Shutdown::Both } else { Shutdown::Read };
        self.overdue.set(true);
        // Fails only when the peer has reset the connection already: then the operations complete anyway.
        let _ = self.tcp.shutdown(how);
    }

    /// Completes whatever is in flight at once, because its stream is gone.
    pub(super) fn abort(&self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// Says of a result whether the deadline was its cause.
    pub(super) fn explain(&self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Ok(bytes) if bytes > 0 => Ok(bytes),
            _ if self.overdue.get() => Err(io::ErrorKind::TimedOut.into()),
            other => other,
        }
    }
}
