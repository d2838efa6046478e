//! The sending half of a stream: one send in flight at most, kept when its future is dropped.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::operation::{self, Flight};
use super::socket::Socket;

/// What one send hands to the kernel: a few socket buffers, so that a large message needs few completions.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct Outgoing {
    flight: Option<Flight<Vec<u8>>>,
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    pub(super) fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Puts `bytes` in line and returns the empty buffer that was there. Call it only after [`Outgoing::finish`].
    pub(super) fn replace(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        debug_assert!(self.flight.is_none() && self.bytes.is_empty(), "what was in line is sent first");
        std::mem::replace(&mut self.bytes, bytes)
    }

    /// Gives back what the empty line holds beyond `bytes_max`.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        if self.flight.is_none() {
            self.bytes.shrink_to(bytes_max);
        }
    }

    /// The buffer in line, to be filled. Call it only after [`Outgoing::finish`].
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.flight.is_none(), "the kernel holds the buffer during a send");
        &mut self.bytes
    }

    /// Sends what is in line. Afterwards the line is empty and keeps its capacity, after an error too.
    ///
    /// If the future is dropped, the send goes on and the next call waits for it: bytes leave once and in order.
    pub(super) async fn finish(&mut self, socket: &Rc<Socket>) -> io::Result<()> {
        let result = self.send_all(socket).await;
        socket.set_writing(false);
        self.bytes.clear();
        self.sent = 0;
        result
    }

    async fn send_all(&mut self, socket: &Rc<Socket>) -> io::Result<()> {
        loop {
            let flight = match &mut self.flight {
                Some(flight) => flight,
                None if self.sent == self.bytes.len() => return Ok(()),
                none => {
                    let piece = next_piece(self.sent, self.bytes.len());
                    socket.set_writing(true);
                    none.insert(operation::send(socket, std::mem::take(&mut self.bytes), piece))
                }
            };
            let (result, bytes) = flight.await;
            self.flight = None;
            self.bytes = bytes;
            match socket.explain(result)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                bytes => self.sent += bytes,
            }
        }
    }
}

fn next_piece(sent: usize, length: usize) -> Range<usize> {
    sent..length.min(sent + PIECE_BYTES)
}
