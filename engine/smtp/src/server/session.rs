//! One connection from its greeting to its end, as a state machine over bytes.
//!
//! The states and the lines are here; what each command does is in `dispatch`, how messages come in is in `text`.

use std::sync::Arc;

use mail::{Envelope, Recipient, Reply};
use memchr::memchr;

use super::auth::{Exchange, Progress, RESPONSE_LINE_BYTES_MAX, respond};
use super::body::Body;
use super::command::Refusal;
use super::verdict::Verdicts;
use super::{AuthPolicy, Config, Peer, Step};
use crate::wire;

/// Unread input beyond which the shell should not read on.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Unsent output beyond which no further command is answered.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// The server's side of one connection.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Arc<Config>,
    pub(super) peer: Peer,
    pub(super) state: State,
    input: Input,
    pub(super) output: Vec<u8>,
    pub(super) client: Client,
    pub(super) transaction: Option<Transaction>,
    pub(super) body: Body,
    pub(super) mail_gate: Option<Reply>,
    pub(super) verdicts: Verdicts,
    spare: Vec<u8>,
    errors: usize,
}

/// What the session awaits.
#[derive(Debug)]
pub(super) enum State {
    /// A command line.
    AwaitCommand,
    /// The end of a line that is too long already.
    AwaitLineEnd,
    /// Dot-stuffed text up to the end of the data, which may have come.
    AwaitText { ended: bool },
    /// The rest of a BDAT chunk.
    AwaitChunk(Chunk),
    /// The shell's word on a message.
    AwaitVerdict,
    /// The shell's word on the client.
    AwaitGreetingVerdict,
    /// The shell's word on the sender, which is in the transaction.
    AwaitMailVerdict,
    /// The shell's word on this recipient.
    AwaitRecipientVerdict(Box<Recipient>),
    /// A response line of AUTH.
    AwaitResponse(Exchange),
    /// The shell's word on credentials.
    AwaitAuthentication,
    /// The TLS handshake.
    AwaitTls,
    /// Nothing more.
    Closed,
}

/// A BDAT chunk on its way in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) bytes: u64,
    pub(super) bytes_left: u64,
    pub(super) last: bool,
    /// Set when nobody wants it: it is dropped, then this is said.
    pub(super) refusal: Option<Refusal>,
}

/// What is known of the client.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// What it called itself; `None` before EHLO or HELO.
    pub(super) helo: Option<String>,
    /// Whether that was EHLO.
    pub(super) extended: bool,
    pub(super) tls: bool,
    /// Whether it was greeted with a refusal.
    pub(super) turned_away: bool,
    pub(super) account: Option<String>,
}

/// A message between MAIL and its end.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// `SIZE=` of MAIL.
    pub(super) promised_bytes: Option<u64>,
    /// Whether a BDAT chunk has come, after which DATA may not (RFC 3030 section 2).
    pub(super) chunked: bool,
}

/// Bytes received and how many of them are used.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    used: usize,
}

impl Input {
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Moves what is unused to the front: nothing at all, or the start of a line.
    fn compact(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.used);
        self.used = 0;
        &mut self.bytes
    }
}

impl Session {
    /// A session whose greeting waits in [`Session::output`].
    #[must_use]
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        let mut output = Vec::with_capacity(512);
        greeting(&config, &mut output);
        Self {
            config,
            peer,
            state: State::AwaitCommand,
            input: Input::default(),
            output,
            client: Client::default(),
            transaction: None,
            body: Body::default(),
            mail_gate: None,
            verdicts: Verdicts::default(),
            spare: Vec::new(),
            errors: 0,
        }
    }

    /// The bytes to be sent: take or drain them.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Takes what the client sent, cut anyhow; then [`Session::step`]. Text of a message goes straight to where it is
    /// collected, everything else waits.
    pub fn feed(&mut self, bytes: &[u8]) {
        let used = if self.waiting() == 0 { self.collect(bytes) } else { 0 };
        self.input.compact().extend_from_slice(&bytes[used..]);
    }

    /// How many bytes wait that were fed: a line without its end, or what was sent ahead.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.input.rest().len()
    }

    /// Whether the shell should read on. False while enough waits for a verdict, and when the session is over.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !matches!(self.state, State::Closed) && self.waiting() < INPUT_BYTES_MAX
    }

    /// Works on the input until the shell has something to do.
    pub fn step(&mut self) -> Step {
        // Taken out for the while, so that a command can be read in place while it changes the session.
        let mut input = std::mem::take(&mut self.input);
        let step = self.work(&mut input);
        self.input = input;
        step
    }

    /// Accepts the message in hand with `250 2.0.0 text`.
    pub fn accept(&mut self, text: &str) {
        if matches!(self.state, State::AwaitVerdict) {
            self.errors = 0;
            wire::write_answer((250, Some(mail::Enhanced(2, 0, 0))), text, &mut self.output);
            self.state = State::AwaitCommand;
        }
    }

    /// Refuses the message in hand; a 421 ends the session.
    pub fn refuse(&mut self, reply: &Reply) {
        if matches!(self.state, State::AwaitVerdict) {
            wire::write_reply(reply, &mut self.output);
            self.state = if reply.code == 421 { State::Closed } else { State::AwaitCommand };
        }
    }

    /// The TLS handshake is done; the client has to begin again with EHLO and nothing it said before counts
    /// (RFC 3207 section 4.2). On a listener with implicit TLS: call it before the first step.
    pub fn tls_established(&mut self) {
        let in_time = matches!(self.state, State::AwaitTls);
        if in_time && !self.input.rest().is_empty() {
            // Came in clear behind STARTTLS: somebody on the way wants it taken for the client's own.
            self.state = State::Closed;
            return;
        }
        self.client = Client { tls: true, ..Client::default() };
        self.transaction = None;
        if in_time {
            self.state = State::AwaitCommand;
        }
    }

    /// The verdict on [`Step::Authenticate`]: the account's name, or `None` for wrong credentials (535 5.7.8).
    pub fn authenticated(&mut self, account: Option<String>) {
        if !matches!(self.state, State::AwaitAuthentication) {
            return;
        }
        self.state = State::AwaitCommand;
        match account {
            Some(account) => {
                self.client.account = Some(account);
                self.say("235 2.7.0 Authenticated");
            }
            None => self.fail("535 5.7.8 Wrong name or password"),
        }
    }

    /// Refuses [`Step::Authenticate`] for another reason, such as 454 4.7.0.
    pub fn refuse_authentication(&mut self, reply: &Reply) {
        if matches!(self.state, State::AwaitAuthentication) {
            self.state = State::AwaitCommand;
            wire::write_reply(reply, &mut self.output);
        }
    }

    /// From now on MAIL is answered with this reply (the disk is full, the queue is full, the server stops), or is free
    /// again.
    pub fn set_mail_gate(&mut self, gate: Option<Reply>) {
        self.mail_gate = gate;
    }

    /// Says `reply` (a 421: time is up, the server stops) and ends the session.
    pub fn close(&mut self, reply: &Reply) {
        if !matches!(self.state, State::Closed) {
            wire::write_reply(reply, &mut self.output);
            self.state = State::Closed;
        }
    }

    /// Whether a message is under way: MAIL was accepted and the message has no verdict yet.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        match self.state {
            State::AwaitVerdict => true,
            State::AwaitMailVerdict => false,
            _ => self.transaction.is_some(),
        }
    }

    /// Gives back the buffer of a message that is stored, to be used for the next.
    pub fn recycle(&mut self, body: Vec<u8>) {
        if body.capacity() > self.spare.capacity() && body.capacity() <= INPUT_BYTES_MAX {
            self.spare = body;
        }
    }

    fn work(&mut self, input: &mut Input) -> Step {
        loop {
            if self.output.len() >= OUTPUT_BYTES_MAX && !matches!(self.state, State::Closed) {
                return Step::Flush;
            }
            let step = match self.state {
                State::AwaitCommand | State::AwaitResponse(_) => self.read_line(input),
                State::AwaitLineEnd => self.skip_line(input),
                State::AwaitText { ended } => self.read_text(input, ended),
                State::AwaitChunk(chunk) => self.read_chunk(input, chunk),
                State::AwaitVerdict
                | State::AwaitAuthentication
                | State::AwaitGreetingVerdict
                | State::AwaitMailVerdict
                | State::AwaitRecipientVerdict(_) => Some(Step::AwaitVerdict),
                State::AwaitTls => Some(Step::StartTls),
                State::Closed => Some(Step::Close),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn read_line(&mut self, input: &mut Input) -> Option<Step> {
        let line_bytes_max = match self.state {
            State::AwaitResponse(_) => RESPONSE_LINE_BYTES_MAX,
            _ => self.config.limits.line_bytes,
        };
        let rest = input.rest();
        let Some(end) = memchr(b'\n', rest) else {
            if rest.len() < line_bytes_max {
                return Some(Step::NeedInput);
            }
            self.state = State::AwaitLineEnd;
            return None;
        };
        if end == 0 || rest[end - 1] != b'\r' {
            return self.end_at_bare_lf();
        }
        // Behind the line is what the client sent without waiting.
        let start = input.used;
        input.consume(end + 1);
        if end + 1 > line_bytes_max {
            self.refuse_long_line();
            return None;
        }
        let line = &input.bytes[start..start + end - 1];
        let waiting = !input.rest().is_empty();
        match std::mem::replace(&mut self.state, State::AwaitCommand) {
            State::AwaitResponse(exchange) => self.progress(respond(exchange, line)),
            _ => self.obey(line, waiting),
        }
    }

    /// A line that ends with LF alone could hold two commands for us and one for those before us. Whoever sends it is
    /// told and left, for no way of going on is safe (RFC 5321 section 2.3.8).
    fn end_at_bare_lf(&mut self) -> Option<Step> {
        self.hang_up("521 5.5.2 A line ends with a bare LF instead of CRLF; closing");
        None
    }

    /// RFC 5321 section 4.5.3.1.9.
    fn refuse_long_line(&mut self) {
        self.state = State::AwaitCommand;
        self.fail("500 5.5.2 Line too long");
    }

    fn skip_line(&mut self, input: &mut Input) -> Option<Step> {
        let rest = input.rest();
        let Some(end) = memchr(b'\n', rest) else {
            // The last byte stays: it tells whether the LF to come is a bare one.
            let skipped = rest.len().saturating_sub(1);
            input.consume(skipped);
            return Some(Step::NeedInput);
        };
        if end == 0 || rest[end - 1] != b'\r' {
            return self.end_at_bare_lf();
        }
        input.consume(end + 1);
        self.refuse_long_line();
        None
    }

    /// What follows a line of AUTH.
    pub(super) fn progress(&mut self, progress: Progress) -> Option<Step> {
        match progress {
            Progress::Ask(question, exchange) => {
                self.say(question);
                self.state = State::AwaitResponse(exchange);
                None
            }
            Progress::Check { identity, password } => {
                self.state = State::AwaitAuthentication;
                Some(Step::Authenticate { identity, password })
            }
            Progress::Refuse(refusal) => {
                self.fail(refusal);
                None
            }
        }
    }

    /// Whether AUTH is on offer now.
    pub(super) fn offers_auth(&self) -> bool {
        self.config.auth != AuthPolicy::Off && (self.client.tls || self.config.auth_in_clear)
    }

    /// Whether STARTTLS is on offer now.
    pub(super) fn offers_starttls(&self) -> bool {
        self.config.starttls && !self.client.tls
    }

    /// Forgets the transaction.
    pub(super) fn reset(&mut self) {
        self.transaction = None;
        let text = self.body.take();
        self.recycle(text);
    }

    /// An empty body for a new text, in a buffer that was used before if there is one.
    pub(super) fn fresh_body(&mut self) {
        self.body = Body::with_buffer(std::mem::take(&mut self.spare));
    }

    pub(super) fn say(&mut self, line: &str) {
        wire::put_line(&mut self.output, &[line]);
    }

    /// Says that the client did something wrong; too often is the end (RFC 5321 section 4.2.1, 7.8).
    pub(super) fn fail(&mut self, line: &str) {
        self.errors += 1;
        if self.errors > self.config.limits.errors {
            self.hang_up("421 4.7.0 Too many errors; closing");
        } else {
            self.say(line);
        }
    }

    pub(super) fn hang_up(&mut self, line: &str) {
        self.say(line);
        self.state = State::Closed;
    }
}

/// RFC 5321 section 4.2: code, name, and that EHLO is understood.
pub(super) fn greeting(config: &Config, out: &mut Vec<u8>) {
    wire::put_line(out, &["220 ", &config.hostname, " ESMTP Staffetta"]);
}
