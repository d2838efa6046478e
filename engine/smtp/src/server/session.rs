//! One connection from its greeting to its end, as a state machine over bytes.

use std::sync::Arc;

use mail::Reply;

use super::{Config, Peer, Step};

/// The server's side of one connection.
#[derive(Debug)]
pub struct Session {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Session {
    /// A session whose greeting waits in [`Session::output`].
    #[must_use]
    pub fn new(_config: Arc<Config>, _peer: Peer) -> Self {
        unimplemented!()
    }

    /// The bytes to be sent: take or drain them.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The buffer to read into: append what the client sent behind what is there, and do nothing else with it.
    /// Handing the buffer itself to the socket spares a copy: take it, read behind its end, put it back.
    pub fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// Appends `bytes` to [`Session::input`].
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input().extend_from_slice(bytes);
    }

    /// Whether the shell should read on. False while enough waits for a verdict, and when the session is over.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        unimplemented!()
    }

    /// Works on the input until the shell has something to do.
    pub fn step(&mut self) -> Step {
        unimplemented!()
    }

    /// Accepts the message in hand with `250 2.0.0 text`.
    pub fn accept(&mut self, _text: &str) {
        unimplemented!()
    }

    /// Refuses the message in hand.
    pub fn refuse(&mut self, _reply: &Reply) {
        unimplemented!()
    }

    /// The TLS handshake is done; the client has to begin again with EHLO (RFC 3207 section 4.2).
    /// On a listener with implicit TLS: call it before the first step.
    pub fn tls_established(&mut self) {
        unimplemented!()
    }

    /// The verdict on [`Step::Authenticate`]: the account's name, or `None` for wrong credentials (535 5.7.8).
    pub fn authenticated(&mut self, _account: Option<String>) {
        unimplemented!()
    }

    /// Refuses [`Step::Authenticate`] for another reason, such as 454 4.7.0.
    pub fn refuse_authentication(&mut self, _reply: &Reply) {
        unimplemented!()
    }

    /// From now on MAIL is answered with this reply, or is free again.
    pub fn set_mail_gate(&mut self, _gate: Option<Reply>) {
        unimplemented!()
    }

    /// Says `reply` (a 421: time is up, the server stops) and ends the session.
    pub fn close(&mut self, _reply: &Reply) {
        unimplemented!()
    }

    /// Gives back the buffer of a message that is stored, to be used for the next.
    pub fn recycle(&mut self, _body: Vec<u8>) {
        unimplemented!()
    }
}
