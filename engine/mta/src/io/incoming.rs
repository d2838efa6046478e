//! The receiving half of a stream: one receive in flight at most, kept when its future is dropped.

use std::io;
use std::rc::Rc;

use super::buffer::{Buffer, LARGE_BYTES, SMALL_BYTES};
use super::operation::{self, Flight};
use super::socket::Socket;

/// After so many reads in a row that a small buffer could have held, the large one is given back.
const SMALL_READS_MAX: u8 = 16;

/// Received bytes that nobody has taken yet, and the receive in flight.
#[derive(Default)]
pub(super) struct Incoming {
    flight: Option<Flight<Buffer>>,
    buffer: Buffer,
    start: usize,
    end: usize,
    /// The last read filled its buffer, so there is likely more: receive in bulk.
    bulk: bool,
    small_reads: u8,
}

impl Incoming {
    pub(super) fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer.as_slice()[self.start..self.end]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end, "no more is consumed than was unread");
    }

    /// Waits for the next bytes; returns their number, 0 at the end. Call it only when nothing is unread.
    ///
    /// If the future is dropped, the receive stays in flight and the next call waits for it: no byte is lost.
    pub(super) async fn receive(&mut self, socket: &Rc<Socket>) -> io::Result<usize> {
        debug_assert!(self.unread().is_empty(), "what was received is taken first");
        let flight = match &mut self.flight {
            Some(flight) => flight,
            none => {
                // The buffer goes to the kernel: nothing of it may be looked at until it is back.
                (self.start, self.end) = (0, 0);
                none.insert(operation::receive(socket, choose(&mut self.buffer, self.bulk)))
            }
        };
        let (result, buffer) = flight.await;
        self.flight = None;
        self.buffer = buffer;
        let bytes = socket.explain(result)?;
        self.end = bytes;
        self.learn(bytes);
        Ok(bytes)
    }

    /// The simple form: bulk after a full read, small after any other. But a busy peer that sends 10 KiB at a time
    /// would then cost two receives a message, so a large buffer is kept until the reads stay small, as long as
    /// few are in use.
    fn learn(&mut self, bytes: usize) {
        if bytes == self.buffer.len() {
            self.bulk = true;
            self.small_reads = 0;
        } else if bytes >= SMALL_BYTES && self.buffer.may_be_kept() {
            self.small_reads = 0;
        } else if self.small_reads < SMALL_READS_MAX && self.buffer.may_be_kept() {
            self.small_reads += 1;
        } else {
            self.bulk = false;
        }
    }
}

/// The buffer for the next receive: the one in hand if its size is right.
fn choose(held: &mut Buffer, bulk: bool) -> Buffer {
    let held = std::mem::take(held);
    match (bulk, held.len()) {
        (true, LARGE_BYTES) | (false, SMALL_BYTES) => held,
        (true, _) => Buffer::large().unwrap_or_else(Buffer::small),
        (false, _) => Buffer::small(),
    }
}
