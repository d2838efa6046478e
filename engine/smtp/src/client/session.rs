//! One connection from the server's greeting to QUIT, as a state machine over replies.

use std::time::Duration;

use mail::Phase;

use super::{ClientConfig, ClientEvent, Lost, Transaction, Unsendable};
use crate::Capabilities;

/// The client's side of one connection.
#[derive(Debug)]
pub struct Client {
    transmit: Vec<u8>,
    capabilities: Capabilities,
}

impl Client {
    /// A client that awaits the server's greeting.
    #[must_use]
    pub fn new(_config: ClientConfig) -> Self {
        unimplemented!()
    }

    /// Takes what the server sent, cut anyhow; then [`Client::poll`] until it is empty.
    pub fn receive(&mut self, _bytes: &[u8]) {
        unimplemented!()
    }

    /// The bytes to be sent: take or drain them, never add to them.
    pub fn transmit(&mut self) -> &mut Vec<u8> {
        &mut self.transmit
    }

    /// The next event; `None` until more is received.
    pub fn poll(&mut self) -> Option<ClientEvent> {
        unimplemented!()
    }

    /// Whether [`Client::begin`] may be called now.
    #[must_use]
    pub fn ready(&self) -> bool {
        unimplemented!()
    }

    /// Begins a transaction and returns its number, counted from 0.
    ///
    /// # Errors
    /// The server has said that it cannot take such a message.
    ///
    /// # Panics
    /// When the client is not [`ready`](Client::ready) or there is no recipient: a fault of the caller.
    pub fn begin(&mut self, _transaction: Transaction<'_>) -> Result<u64, Unsendable> {
        unimplemented!()
    }

    /// What the server offers.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The TLS handshake is done: EHLO is sent again.
    pub fn tls_established(&mut self) {
        unimplemented!()
    }

    /// How long to wait for what is awaited now (RFC 5321 section 4.5.3.2).
    #[must_use]
    pub fn timeout(&self) -> Duration {
        unimplemented!()
    }

    /// Which reply is awaited now; `None` when idle.
    #[must_use]
    pub fn awaits(&self) -> Option<Phase> {
        unimplemented!()
    }

    /// Transactions that are not done.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        unimplemented!()
    }

    /// Whether the session has ended: close the connection.
    #[must_use]
    pub fn is_over(&self) -> bool {
        unimplemented!()
    }

    /// The connection broke or is given up: names the recipients without a reply and ends the session.
    pub fn closed(&mut self) -> Vec<Lost> {
        unimplemented!()
    }

    /// Sends QUIT once the transactions under way are done; no new one begins.
    pub fn quit(&mut self) {
        unimplemented!()
    }
}
