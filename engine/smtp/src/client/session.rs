//! One connection from the server's greeting to QUIT, as a state machine over replies.

use std::collections::VecDeque;
use std::time::Duration;

use mail::{Phase, Reply};

use super::awaited::{Awaited, BLOCK_TIMEOUT, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT};
use super::replies::{RawReply, ReplyReader};
use super::transaction::{Flight, check};
use super::{ClientConfig, ClientEvent, ClientFault, Lost, TlsWanted, Transaction, Unsendable};
use crate::Capabilities;
use crate::wire;

/// The client's side of one connection.
#[derive(Debug)]
pub struct Client {
    replies: ReplyReader,
    session: ClientSession,
}

impl Client {
    /// A client that awaits the server's greeting.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self { replies: ReplyReader::default(), session: ClientSession::new(config) }
    }

    /// Takes what the server sent, cut anyhow; then [`Client::poll`] until it is empty.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.session.listens() {
            return;
        }
        self.replies.push(bytes);
        loop {
            match self.replies.next(self.session.config.reply_bytes_max) {
                Ok(Some(reply)) => self.session.on_reply(reply),
                Ok(None) => break,
                Err(fault) => self.session.fault(fault),
            }
            if !self.session.listens() {
                // RFC 3207 section 4.2: what stands behind the 220 in clear was put there by somebody on the way.
                self.replies.clear();
                break;
            }
        }
    }

    /// The bytes to be sent: take or drain them, never add to them. What has left this buffer counts as sent when the
    /// connection breaks, so take it before writing it.
    pub fn transmit(&mut self) -> &mut Vec<u8> {
        &mut self.session.outgoing.bytes
    }

    /// The next event; `None` until more is received.
    pub fn poll(&mut self) -> Option<ClientEvent> {
        self.session.events.pop_front()
    }

    /// Whether [`Client::begin`] may be called now.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.session.ready()
    }

    /// Begins a transaction and returns its number, counted from 0.
    ///
    /// # Errors
    /// The server has said that it cannot take such a message; nothing is sent.
    ///
    /// # Panics
    /// When the client is not [`ready`](Client::ready) or there is no recipient: a fault of the caller.
    pub fn begin(&mut self, transaction: Transaction<'_>) -> Result<u64, Unsendable> {
        assert!(self.ready(), "a transaction begins only when the client is ready");
        assert!(!transaction.recipients.is_empty(), "a transaction has a recipient");
        check(&transaction, &self.session.capabilities)?;
        Ok(self.session.begin(&transaction))
    }

    /// What the server offers.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.session.capabilities
    }

    /// The TLS handshake is done: nothing that was said before counts, EHLO is sent again (RFC 3207 section 4.2).
    pub fn tls_established(&mut self) {
        if matches!(self.session.state, State::AwaitHandshake) {
            self.session.tls = true;
            self.session.capabilities = Capabilities::default();
            self.session.state = State::Opening;
            self.session.say_ehlo();
        }
    }

    /// How long to wait for what is awaited now (RFC 5321 section 4.5.3.2).
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.session.timeout()
    }

    /// Which reply is awaited now; `None` when idle.
    #[must_use]
    pub fn awaits(&self) -> Option<Phase> {
        match self.session.state {
            State::AwaitHandshake => Some(Phase::StartTls),
            _ => self.session.awaited.front().map(|awaited| awaited.phase()),
        }
    }

    /// Transactions that are not done.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.session.flights.len()
    }

    /// Whether the server's limit of transactions is reached (RFC 9422 MAILMAX): [`Client::quit`] and connect anew.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.session.is_spent()
    }

    /// Whether the session has ended: close the connection.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.session.state, State::Over { .. })
    }

    /// The connection broke or is given up: names the recipients without a reply and ends the session. Events that
    /// happened before stay to be polled.
    pub fn closed(&mut self) -> Vec<Lost> {
        self.session.closed()
    }

    /// Sends QUIT once the transactions under way are done; no new one begins. [`Client::is_over`] tells when the
    /// server has answered.
    pub fn quit(&mut self) {
        self.session.quitting = true;
        self.session.quit_when_idle();
    }
}

/// What the session as a whole awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The greeting and the replies to EHLO, HELO and STARTTLS.
    Opening,
    /// The shell's TLS handshake; what comes in clear is dropped.
    AwaitHandshake,
    /// Transactions and their replies.
    Open,
    /// The reply to QUIT.
    AwaitBye,
    /// Nothing. `nothing_pending`: the server said 421 and answers nothing behind that, so it has taken nothing behind it.
    Over { nothing_pending: bool },
}

/// Bytes to be sent, and the count of all that ever were.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    pub(super) appended: u64,
}

impl Outgoing {
    pub(super) fn append<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        self.appended += (self.bytes.len() - before) as u64;
        result
    }

    /// How much has been taken for sending.
    pub(super) fn handed_out(&self) -> u64 {
        self.appended.saturating_sub(self.bytes.len() as u64)
    }
}

/// Everything but the splitting of replies: the session's opening and end here, its transactions in `flow`. The reply
/// at hand always belongs to the first of `flights`, because replies come in the order of commands (RFC 2920 section 3.2).
#[derive(Debug)]
pub(super) struct ClientSession {
    pub(super) config: ClientConfig,
    pub(super) state: State,
    pub(super) tls: bool,
    pub(super) capabilities: Capabilities,
    pub(super) awaited: VecDeque<Awaited>,
    pub(super) flights: VecDeque<Flight>,
    pub(super) outgoing: Outgoing,
    pub(super) events: VecDeque<ClientEvent>,
    pub(super) begun: u64,
    /// The server may still hold a failed transaction: RSET comes before the next (RFC 3030 section 2).
    pub(super) needs_rset: bool,
    pub(super) quitting: bool,
    pub(super) spare: Vec<Flight>,
}

impl ClientSession {
    fn new(config: ClientConfig) -> Self {
        Self {
            config,
            state: State::Opening,
            tls: false,
            capabilities: Capabilities::default(),
            awaited: VecDeque::from([Awaited::Greeting]),
            flights: VecDeque::new(),
            outgoing: Outgoing::default(),
            events: VecDeque::new(),
            begun: 0,
            needs_rset: false,
            quitting: false,
            spare: Vec::new(),
        }
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self.state, State::Opening | State::Open | State::AwaitBye)
    }

    /// A reply has come: every legal pair of what was awaited and the code's first digit is here.
    fn on_reply(&mut self, raw: RawReply<'_>) {
        let Some(awaited) = self.awaited.pop_front() else { return self.on_unasked(raw) };
        if awaited == Awaited::Quit {
            self.state = State::Over { nothing_pending: true };
            return;
        }
        // RFC 5321 section 4.2.1: 421 may be the reply to any command, and the server closes behind it.
        if raw.code == 421 {
            return self.on_hang_up(awaited, raw);
        }
        match (awaited, raw.code / 100) {
            (Awaited::Greeting, 2) => self.say_ehlo(),
            (Awaited::Ehlo, 2) => self.on_ehlo(raw),
            // RFC 5321 section 4.1.1.1: an old server; over TLS or without need of it HELO will do.
            (Awaited::Ehlo, 5) if self.tls || self.config.tls != TlsWanted::Required => {
                self.send_command("HELO ", Awaited::Helo);
            }
            (Awaited::Helo, 2) => self.open(),
            (Awaited::StartTls, 2) => self.await_handshake(),
            // RFC 3207 section 4: 454 or 501, and the session goes on in clear.
            (Awaited::StartTls, 4 | 5) if self.config.tls != TlsWanted::Required => self.open(),
            (Awaited::Greeting | Awaited::Ehlo | Awaited::Helo | Awaited::StartTls, 4 | 5) => {
                self.refuse(awaited.phase(), raw.to_reply());
            }
            // A refused RSET shows in the reply to MAIL, if it matters.
            (Awaited::Rset, 2 | 4 | 5) => self.proceed(),
            (Awaited::Mail, 2) => self.on_mail_accepted(),
            (Awaited::Mail, 4 | 5) => {
                self.answer_all(Phase::Mail, raw);
                self.proceed();
            }
            (Awaited::Rcpt(_), 2) => self.proceed(),
            (Awaited::Rcpt(index), 4 | 5) => self.on_rcpt_refused(index, raw),
            (Awaited::Data, 3) => self.on_go_ahead(),
            (Awaited::Data, 4 | 5) => {
                self.answer_all(Phase::Data, raw);
                self.finish(false);
            }
            (Awaited::Body, 2 | 4 | 5) => self.on_body(raw),
            _ => self.unexpected(awaited, raw),
        }
    }

    /// A reply whose code cannot follow the command; what is lost by it was waiting for just this reply.
    pub(super) fn unexpected(&mut self, awaited: Awaited, raw: RawReply<'_>) {
        self.awaited.push_front(awaited);
        self.fault(ClientFault::Unexpected { phase: awaited.phase(), reply: raw.to_reply() });
    }

    /// A reply that nothing asked for: an idle server says why it closes.
    fn on_unasked(&mut self, raw: RawReply<'_>) {
        let reply = raw.to_reply();
        if reply.is_transient() || reply.is_permanent() {
            self.refuse(Phase::Mail, reply);
        } else {
            self.fault(ClientFault::Unexpected { phase: Phase::Mail, reply });
        }
    }

    fn on_hang_up(&mut self, awaited: Awaited, raw: RawReply<'_>) {
        self.answer_all(awaited.phase(), raw);
        if let Some(flight) = self.flights.pop_front() {
            self.events.push_back(ClientEvent::Done { transaction: flight.number });
        }
        self.refuse(awaited.phase(), raw.to_reply());
    }

    fn say_ehlo(&mut self) {
        self.send_command("EHLO ", Awaited::Ehlo);
    }

    fn send_command(&mut self, verb: &str, awaited: Awaited) {
        let name = &self.config.ehlo;
        self.outgoing.append(|out| wire::put_line(out, &[verb, name]));
        self.awaited.push_back(awaited);
    }

    fn on_ehlo(&mut self, raw: RawReply<'_>) {
        self.capabilities = Capabilities::parse(raw.lines());
        match self.config.tls {
            _ if self.tls => self.open(),
            TlsWanted::Opportunistic | TlsWanted::Required if self.capabilities.starttls => {
                self.outgoing.append(|out| out.extend_from_slice(b"STARTTLS\r\n"));
                self.awaited.push_back(Awaited::StartTls);
            }
            TlsWanted::Required => {
                let text = "the server does not offer STARTTLS, which is required here";
                self.refuse(Phase::StartTls, Reply::new(0, text));
            }
            TlsWanted::Off | TlsWanted::Opportunistic => self.open(),
        }
    }

    fn await_handshake(&mut self) {
        self.state = State::AwaitHandshake;
        self.events.push_back(ClientEvent::StartTls);
    }

    pub(super) fn open(&mut self) {
        self.state = State::Open;
        self.events.push_back(ClientEvent::Ready);
        self.quit_when_idle();
    }

    pub(super) fn refuse(&mut self, phase: Phase, reply: Reply) {
        self.events.push_back(ClientEvent::Refused { phase, reply });
        self.awaited.clear();
        self.state = State::Over { nothing_pending: true };
    }

    pub(super) fn fault(&mut self, fault: ClientFault) {
        self.events.push_back(ClientEvent::Fault(fault));
        self.state = State::Over { nothing_pending: false };
    }

    pub(super) fn timeout(&self) -> Duration {
        match self.awaited.front() {
            _ if self.state == State::AwaitHandshake => HANDSHAKE_TIMEOUT,
            None => IDLE_TIMEOUT,
            // The connection does not take the text: the wait for its reply has not begun.
            Some(Awaited::Body) if !self.outgoing.bytes.is_empty() => BLOCK_TIMEOUT,
            Some(awaited) => awaited.timeout(),
        }
    }
}
