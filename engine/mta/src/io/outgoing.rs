//! The sending half of a stream: one send in flight at most, kept when its future is dropped.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::operation::{self, Flight};
use super::parcel::Parcel;
use super::socket::Socket;

/// What one send hands to the kernel: a few socket buffers, so that a large message needs few completions.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct Outgoing {
    flight: Option<Flight<Parcel>>,
    parcel: Parcel,
    sent: usize,
}

impl Outgoing {
    pub(super) fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Puts `parcel` in line and returns the empty one that was there. Call it only after [`Outgoing::finish`].
    pub(super) fn replace(&mut self, parcel: Parcel) -> Parcel {
        debug_assert!(self.flight.is_none() && self.parcel.is_empty(), "what was in line is sent first");
        std::mem::replace(&mut self.parcel, parcel)
    }

    /// Gives back what the empty line holds beyond `bytes_max`.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        if self.flight.is_none() {
            self.parcel.shrink(bytes_max);
        }
    }

    /// The buffer in line, to be filled. Call it only after [`Outgoing::finish`].
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.flight.is_none(), "the kernel holds the buffer during a send");
        self.parcel.bytes()
    }

    /// Sends what is in line. Afterwards the line is empty and keeps its capacity, after an error too.
    ///
    /// If the future is dropped, the send goes on and the next call waits for it: bytes leave once and in order.
    pub(super) async fn finish(&mut self, socket: &Rc<Socket>) -> io::Result<()> {
        let result = self.send_all(socket).await;
        socket.set_writing(false);
        self.parcel.clear();
        self.sent = 0;
        result
    }

    async fn send_all(&mut self, socket: &Rc<Socket>) -> io::Result<()> {
        loop {
            let flight = match &mut self.flight {
                Some(flight) => flight,
                None if self.sent == self.parcel.len() => return Ok(()),
                none => {
                    let piece = next_piece(self.sent, self.parcel.len());
                    socket.set_writing(true);
                    none.insert(operation::send(socket, std::mem::take(&mut self.parcel), piece))
                }
            };
            let (result, parcel) = flight.await;
            self.flight = None;
            self.parcel = parcel;
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
