//! One connection from the server's greeting to QUIT, as a state machine over replies.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use mail::{Phase, Reply};

use super::awaited::{Awaited, BLOCK_TIMEOUT, Due, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT};
use super::login::Exchange;
use super::replies::{RawReply, ReplyReader};
use super::transaction::{Flight, check};
use super::{
    ClientConfig, ClientEvent, ClientFault, Gap, Lost, Protocol, TlsWanted, Transaction, Unsendable,
};
use crate::Capabilities;
use crate::wire;

/// The client's side of one connection.
#[derive(Debug)]
pub struct Client {
    replies: ReplyReader,
    session: ClientSession,
    /// Replies taken so far.
    heard: u64,
}

impl Client {
    /// A client that awaits the server's greeting.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self { replies: ReplyReader::default(), session: ClientSession::new(config), heard: 0 }
    }

    /// Takes what the server sent, cut anyhow; then [`Client::poll`] until it is empty.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.session.listens() {
            return;
        }
        self.replies.push(bytes);
        loop {
            match self.replies.next(self.session.config.reply_bytes_max) {
                Ok(Some(reply)) => {
                    self.heard += 1;
                    self.session.on_reply(reply);
                }
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

    /// The gaps between the bytes of [`Client::transmit`], in their order; to be taken together with all of those. There are
    /// none unless [`ClientConfig::gaps`] says so.
    pub fn gaps(&mut self) -> &mut Vec<Gap> {
        &mut self.session.outgoing.gaps
    }

    /// Gives back what the buffers for messages hold beyond `bytes_max` each; while nothing is under way.
    pub fn shrink(&mut self, bytes_max: usize) {
        self.session.outgoing.bytes.shrink_to(bytes_max);
        self.session.outgoing.gaps.shrink_to_fit();
        for flight in &mut self.session.spare {
            flight.text.shrink_to(bytes_max);
        }
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
        let authenticated = self.session.tls == Tls::Authenticated;
        check(&transaction, &self.session.capabilities, authenticated)?;
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
            self.session.tls = Tls::Encrypted;
            self.session.capabilities = Capabilities::default();
            self.session.state = State::Opening;
            self.session.say_hello();
        }
    }

    /// Whether the TLS of this connection is with the host that was meant: its certificate was checked by PKIX, DANE or
    /// MTA-STS. To be said right after [`Client::tls_established`]; until then messages with
    /// [`require_tls`](Transaction::require_tls) are refused (RFC 8689 section 4.2.1), and no password is shown.
    pub fn set_tls_authenticated(&mut self, authenticated: bool) {
        self.session.tls = match (self.session.tls, authenticated) {
            (Tls::Clear, _) => Tls::Clear,
            (_, true) => Tls::Authenticated,
            (_, false) => Tls::Encrypted,
        };
    }

    /// Whether the server falls silent as one does that offers PIPELINING and reads only the first command of a group:
    /// MAIL was answered, and a command that was sent together with it was not. To be asked when the wait is over,
    /// before [`Client::closed`]; the next connection should be made with [`ClientConfig::pipelining`] off.
    #[must_use]
    pub fn may_lack_pipelining(&self) -> bool {
        let next = self.session.awaited.front().map(|due| due.what);
        self.session.pipelines() && matches!(next, Some(Awaited::Rcpt(_) | Awaited::Data))
    }

    /// How many whole replies have come: the wait for the next one begins with each.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
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
            _ => self.session.awaited.front().map(|due| due.what.phase()),
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

/// What protects the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Clear,
    /// With somebody.
    Encrypted,
    /// With the host that was meant.
    Authenticated,
}

/// Bytes to be sent, the gaps between them, and the count of all bytes that ever were, with those for the gaps.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    pub(super) gaps: Vec<Gap>,
    pub(super) appended: u64,
}

impl fmt::Debug for Outgoing {
    /// Without the bytes: a password may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} of {} bytes)", self.bytes.len(), self.appended)
    }
}

impl Outgoing {
    pub(super) fn append<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        self.appended += (self.bytes.len() - before) as u64;
        result
    }

    /// Leaves a gap for `bytes` that the caller sends.
    pub(super) fn leave_gap(&mut self, bytes: usize) {
        self.gaps.push(Gap { at: self.bytes.len(), bytes });
        self.appended += bytes as u64;
    }

    /// How much has been taken for sending.
    pub(super) fn handed_out(&self) -> u64 {
        let in_gaps: usize = self.gaps.iter().map(|gap| gap.bytes).sum();
        self.appended.saturating_sub((self.bytes.len() + in_gaps) as u64)
    }
}

/// Everything but the splitting of replies: the session's opening and end here, its transactions in `flow`. The reply
/// at hand always belongs to the first of `flights`, because replies come in the order of commands (RFC 2920 section 3.2).
#[derive(Debug)]
pub(super) struct ClientSession {
    pub(super) config: ClientConfig,
    pub(super) state: State,
    pub(super) tls: Tls,
    exchange: Option<Exchange>,
    pub(super) capabilities: Capabilities,
    pub(super) awaited: VecDeque<Due>,
    pub(super) flights: VecDeque<Flight>,
    pub(super) outgoing: Outgoing,
    pub(super) events: VecDeque<ClientEvent>,
    pub(super) begun: u64,
    /// The server may still hold a failed transaction: RSET comes before the next (RFC 3030 section 2).
    pub(super) needs_rset: bool,
    pub(super) quitting: bool,
    pub(super) spare: Vec<Flight>,
    /// Recipients that seemed to be delivered until a stray reply came.
    pub(super) doubtful: Vec<Lost>,
    /// The server has judged a message that went by BDAT.
    pub(super) knows_chunks: bool,
}

impl ClientSession {
    fn new(config: ClientConfig) -> Self {
        Self {
            config,
            state: State::Opening,
            tls: Tls::Clear,
            exchange: None,
            capabilities: Capabilities::default(),
            awaited: VecDeque::from([Due { what: Awaited::Greeting, after: 0 }]),
            flights: VecDeque::new(),
            outgoing: Outgoing::default(),
            events: VecDeque::new(),
            begun: 0,
            needs_rset: false,
            quitting: false,
            spare: Vec::new(),
            doubtful: Vec::new(),
            knows_chunks: false,
        }
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self.state, State::Opening | State::Open | State::AwaitBye)
    }

    /// A reply has come: every legal pair of what was awaited and the code's first digit is here.
    fn on_reply(&mut self, raw: RawReply<'_>) {
        let Some(due) = self.awaited.pop_front() else { return self.on_unasked(raw) };
        let awaited = due.what;
        if awaited == Awaited::Quit {
            self.state = State::Over { nothing_pending: true };
            return;
        }
        let is_early = self.outgoing.handed_out() < due.after;
        // RFC 5321 section 4.2.1: 421 may be the reply to any command, and the server closes behind it.
        if raw.code == 421 {
            return self.on_hang_up(awaited, is_early, raw);
        }
        // The reply to a command that is not sent is the reply to something else.
        if is_early {
            return self.unexpected(due, raw);
        }
        match (awaited, raw.code / 100) {
            (Awaited::Greeting, 2) => self.say_hello(),
            (Awaited::Ehlo, 2) => self.on_ehlo(raw),
            // RFC 5321 section 4.1.1.1: an old server; over TLS or without need of it HELO will do.
            (Awaited::Ehlo, 5) if self.may_say_helo() => self.send_command("HELO ", Awaited::Helo),
            (Awaited::Helo, 2) => self.log_in(),
            (Awaited::StartTls, 2) => self.await_handshake(),
            // RFC 3207 section 4: 454 or 501, and the session goes on in clear.
            (Awaited::StartTls, 4 | 5) if self.config.tls != TlsWanted::Required => self.log_in(),
            (Awaited::Auth, 2) => self.on_logged_in(),
            (Awaited::Auth, 3) => self.on_challenge(raw),
            (Awaited::Auth, 4 | 5) => self.on_login_refused(raw),
            (Awaited::Greeting | Awaited::Ehlo | Awaited::Helo | Awaited::StartTls, 4 | 5) => {
                self.refuse(awaited.phase(), raw.to_reply());
            }
            (Awaited::Rset, 2) => self.proceed(),
            // RSET cannot be refused (RFC 5321 section 4.1.1.5): this is the reply to something before it.
            (Awaited::Rset, 4 | 5) => {
                self.doubt();
                self.unexpected(due, raw);
            }
            (Awaited::Mail, 2) => self.on_mail_accepted(),
            (Awaited::Mail, 4 | 5) => {
                self.answer_all(Phase::Mail, raw);
                self.proceed();
            }
            (Awaited::Rcpt(_), 2) => self.on_rcpt_accepted(),
            (Awaited::Rcpt(index), 4 | 5) => self.on_rcpt_refused(index, raw),
            (Awaited::Data, 3) => self.on_go_ahead(due, raw),
            (Awaited::Data, 4 | 5) => {
                self.answer_all(Phase::Data, raw);
                self.finish(false);
            }
            (Awaited::Body, 2 | 4 | 5) => self.on_body(due, raw),
            _ => self.unexpected(due, raw),
        }
    }

    /// A reply whose code cannot follow the command; what is lost by it was waiting for just this reply.
    pub(super) fn unexpected(&mut self, due: Due, raw: RawReply<'_>) {
        self.awaited.push_front(due);
        self.fault(ClientFault::Unexpected { phase: due.what.phase(), reply: raw.to_reply() });
    }

    /// A reply that nothing asked for: an idle server says why it closes.
    fn on_unasked(&mut self, raw: RawReply<'_>) {
        let reply = raw.to_reply();
        if !reply.is_transient() && !reply.is_permanent() {
            return self.fault(ClientFault::Unexpected { phase: Phase::Mail, reply });
        }
        if raw.code != 421 {
            self.doubt();
        }
        self.refuse(Phase::Mail, reply);
    }

    /// 421. When it came before anything of the transaction was sent it is no answer to it.
    fn on_hang_up(&mut self, awaited: Awaited, is_early: bool, raw: RawReply<'_>) {
        if is_early && !self.flights.is_empty() {
            return self.refuse(Phase::Mail, raw.to_reply());
        }
        self.answer_all(awaited.phase(), raw);
        if let Some(flight) = self.flights.pop_front() {
            self.events.push_back(ClientEvent::Done { transaction: flight.number });
        }
        self.refuse(awaited.phase(), raw.to_reply());
    }

    /// RFC 2033 section 4.1: EHLO and HELO are not of LMTP.
    fn say_hello(&mut self) {
        match self.config.protocol {
            Protocol::Smtp => self.send_command("EHLO ", Awaited::Ehlo),
            Protocol::Lmtp => self.send_command("LHLO ", Awaited::Ehlo),
        }
    }

    fn may_say_helo(&self) -> bool {
        let is_safe = self.tls != Tls::Clear || self.config.tls != TlsWanted::Required;
        is_safe && self.config.protocol == Protocol::Smtp
    }

    fn send_command(&mut self, verb: &str, awaited: Awaited) {
        let name = &self.config.ehlo;
        self.outgoing.append(|out| wire::put_line(out, &[verb, name]));
        self.expect(awaited);
    }

    /// The reply is due once all that was written so far is handed out.
    pub(super) fn expect(&mut self, what: Awaited) {
        self.awaited.push_back(Due { what, after: self.outgoing.appended });
    }

    fn on_ehlo(&mut self, raw: RawReply<'_>) {
        self.capabilities = Capabilities::parse(raw.lines());
        match self.config.tls {
            _ if self.tls != Tls::Clear => self.log_in(),
            TlsWanted::Opportunistic | TlsWanted::Required if self.capabilities.starttls => {
                self.outgoing.append(|out| out.extend_from_slice(b"STARTTLS\r\n"));
                self.expect(Awaited::StartTls);
            }
            TlsWanted::Required => {
                let text = "the server does not offer STARTTLS, which is required here";
                self.refuse(Phase::StartTls, Reply::new(0, text));
            }
            TlsWanted::Off | TlsWanted::Opportunistic => self.log_in(),
        }
    }

    fn await_handshake(&mut self) {
        self.state = State::AwaitHandshake;
        self.events.push_back(ClientEvent::StartTls);
    }

    /// RFC 4954, where the route has a login.
    fn log_in(&mut self) {
        let Some(login) = &self.config.login else { return self.open() };
        match Exchange::begin(login, &self.capabilities.auth, self.tls == Tls::Authenticated) {
            Ok((exchange, line)) => {
                self.exchange = Some(exchange);
                self.say_in_login(&line);
            }
            Err(why) => self.refuse(Phase::Auth, Reply::new(0, why)),
        }
    }

    fn say_in_login(&mut self, line: &str) {
        self.outgoing.append(|out| out.extend_from_slice(line.as_bytes()));
        self.expect(Awaited::Auth);
    }

    fn on_challenge(&mut self, raw: RawReply<'_>) {
        let (Some(exchange), Some(login)) = (&mut self.exchange, &self.config.login) else { return };
        if let Some(why) = exchange.cancelled() {
            // It goes on although we have given up.
            return self.refuse(Phase::Auth, Reply::new(0, why));
        }
        let line = exchange.answer(raw.lines().next().unwrap_or_default(), login);
        self.say_in_login(&line);
    }

    fn on_logged_in(&mut self) {
        match self.exchange.take().and_then(|exchange| exchange.objection()) {
            None => self.open(),
            Some(why) => self.fault(ClientFault::Impostor(why)),
        }
    }

    fn on_login_refused(&mut self, raw: RawReply<'_>) {
        let cancelled = self.exchange.take().and_then(|exchange| exchange.cancelled());
        let reply = cancelled.map_or_else(|| raw.to_reply(), |why| Reply::new(0, why));
        self.refuse(Phase::Auth, reply);
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
        match self.awaited.front().map(|due| due.what) {
            _ if self.state == State::AwaitHandshake => HANDSHAKE_TIMEOUT,
            None => IDLE_TIMEOUT,
            // The connection does not take the text: the wait for its reply has not begun.
            Some(Awaited::Body) if !self.outgoing.bytes.is_empty() => BLOCK_TIMEOUT,
            Some(awaited) => awaited.timeout(),
        }
    }
}
