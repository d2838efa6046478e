//! What each command does, and when it may come (RFC 5321 section 4.1.4).

use mail::{Envelope, Recipient};

use super::command::{Command, CommandError, Refusal, parse};
use super::session::{Chunk, State, Transaction};
use super::{AuthPolicy, Session, Step, auth, envelope};
use crate::extensions::Announcement;
use crate::wire;

pub(super) const SENDER_OK: &str = "250 2.1.0 Sender OK";
pub(super) const RECIPIENT_OK: &str = "250 2.1.5 Recipient OK";
const NO_RECIPIENTS: Refusal = "554 5.5.1 No valid recipients";
const NO_TRANSACTION: Refusal = "503 5.5.1 Say MAIL first";

impl Session {
    /// Obeys one command line. `waiting`: more input stands behind it.
    pub(super) fn obey(&mut self, line: &[u8], waiting: bool) -> Option<Step> {
        match parse(line) {
            Ok(command) => return self.run(command, waiting),
            Err(CommandError::Refused(refusal)) => self.fail(refusal),
            Err(CommandError::Fatal(refusal)) => self.hang_up(refusal),
        }
        None
    }

    fn run(&mut self, command: Command<'_>, waiting: bool) -> Option<Step> {
        if self.client.turned_away && command != Command::Quit {
            self.fail("503 5.5.1 Not greeted; say QUIT");
            return None;
        }
        match command {
            Command::Ehlo(name) => self.greet(name, true),
            Command::Helo(name) => self.greet(name, false),
            Command::Mail(arguments) => self.mail(arguments),
            Command::Rcpt(arguments) => self.rcpt(arguments),
            Command::Data => self.data(waiting),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => {
                self.reset();
                self.say("250 2.0.0 OK");
            }
            Command::Noop => self.say("250 2.0.0 OK"),
            // RFC 5321 section 3.5.3: neither yes nor no, so that addresses cannot be harvested.
            Command::Vrfy => self.say("252 2.5.0 Send a message and see"),
            Command::Help => {
                self.say("214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS AUTH QUIT")
            }
            Command::Quit => self.hang_up("221 2.0.0 Bye"),
            Command::StartTls => return self.start_tls(waiting),
            Command::Auth(arguments) => return self.auth(arguments),
        }
        None
    }

    /// EHLO and HELO (RFC 5321 section 4.1.1.1); both forget a transaction under way.
    fn greet(&mut self, name: &str, extended: bool) {
        if !is_client_name(name) {
            return self.fail("501 5.5.4 Give a host name or an address literal");
        }
        self.reset();
        self.client.helo = Some(name.to_owned());
        self.client.extended = extended;
        let config = self.config.clone();
        if !extended {
            return wire::put_line(&mut self.output, &["250 ", &config.hostname]);
        }
        let announcement = Announcement {
            hostname: &config.hostname,
            message_bytes_max: config.limits.message_bytes,
            recipients_max: config.limits.recipients,
            starttls: self.offers_starttls(),
            auth: self.offers_auth(),
            require_tls: self.client.tls,
        };
        announcement.write(&mut self.output);
    }

    fn mail(&mut self, arguments: &str) {
        if self.client.helo.is_none() {
            return self.fail("503 5.5.1 Say EHLO or HELO first");
        }
        if self.transaction.is_some() {
            return self.fail("503 5.5.1 A message is under way already");
        }
        // RFC 4954 section 6.
        if self.config.auth == AuthPolicy::Required && !self.may_relay() {
            return self.fail("530 5.7.0 Authentication required");
        }
        if let Some(reply) = &self.mail_gate {
            return wire::write_reply(reply, &mut self.output);
        }
        match envelope::mail(arguments, &self.terms()) {
            Ok((envelope, promised_bytes)) => {
                self.transaction = Some(Transaction { envelope, promised_bytes, chunked: false });
                if self.verdicts.mail {
                    self.state = State::AwaitMailVerdict;
                } else {
                    self.say(SENDER_OK);
                }
            }
            Err(refusal) => self.fail(refusal),
        }
    }

    fn rcpt(&mut self, arguments: &str) {
        let Some(Transaction { envelope: Envelope { recipients, smtputf8, .. }, chunked: false, .. }) =
            &self.transaction
        else {
            return self.fail(NO_TRANSACTION);
        };
        let full = recipients.len() >= self.config.limits.recipients;
        let recipient = match envelope::rcpt(arguments, *smtputf8, &self.terms()) {
            Ok(recipient) => recipient,
            Err(refusal) => return self.fail(refusal),
        };
        if !self.may_relay() {
            return self.fail("550 5.7.1 Relaying denied");
        }
        // RFC 5321 section 4.5.3.1.10: the rest comes with the next message, so this is no error.
        if full {
            return self.say("452 4.5.3 Too many recipients");
        }
        if self.verdicts.recipient {
            self.state = State::AwaitRecipientVerdict(Box::new(recipient));
        } else {
            self.take_recipient(recipient);
            self.say(RECIPIENT_OK);
        }
    }

    pub(super) fn take_recipient(&mut self, recipient: Recipient) {
        if let Some(transaction) = &mut self.transaction {
            transaction.envelope.recipients.push(recipient);
        }
    }

    /// RFC 5321 section 4.1.1.4.
    fn data(&mut self, waiting: bool) {
        let refusal = match &self.transaction {
            None => NO_TRANSACTION,
            Some(transaction) if transaction.chunked => "503 5.5.1 BDAT has begun",
            Some(transaction) if transaction.envelope.recipients.is_empty() => NO_RECIPIENTS,
            Some(transaction) => {
                let promised_bytes = transaction.promised_bytes.unwrap_or(0);
                self.fresh_body();
                self.body.promise(promised_bytes, &self.config.limits);
                self.state = State::AwaitText { ended: false };
                return self.say("354 End with <CR><LF>.<CR><LF>");
            }
        };
        // RFC 2920 section 3.1: DATA is the last of its group. What stands behind it nevertheless is the message of a
        // client that does not read replies, and its lines must not be taken for commands.
        if waiting {
            self.hang_up("521 5.5.1 DATA was refused and text came without waiting; closing");
        } else {
            self.fail(refusal);
        }
    }

    /// RFC 3030 section 2: the chunk follows whether it is wanted or not.
    fn bdat(&mut self, bytes: u64, last: bool) {
        let refusal = match &mut self.transaction {
            None => Some(NO_TRANSACTION),
            Some(transaction) if transaction.envelope.recipients.is_empty() => {
                self.transaction = None;
                Some(NO_RECIPIENTS)
            }
            Some(transaction) => {
                if !std::mem::replace(&mut transaction.chunked, true) {
                    self.fresh_body();
                }
                self.body.promise(bytes, &self.config.limits);
                None
            }
        };
        self.state = State::AwaitChunk(Chunk { bytes, bytes_left: bytes, last, refusal });
    }

    /// RFC 3207.
    fn start_tls(&mut self, waiting: bool) -> Option<Step> {
        if self.client.tls {
            self.fail("503 5.5.1 TLS is active already");
        } else if !self.config.starttls {
            self.fail("502 5.5.1 STARTTLS is not offered");
        } else if waiting {
            // Section 4.2: nothing may stand behind STARTTLS; it would be taken for what the client says under TLS.
            self.hang_up("521 5.5.1 Input came behind STARTTLS; closing");
        } else {
            self.reset();
            self.say("220 2.0.0 Go ahead");
            self.state = State::AwaitTls;
            return Some(Step::StartTls);
        }
        None
    }

    /// RFC 4954 section 4.
    fn auth(&mut self, arguments: &str) -> Option<Step> {
        let refusal = if self.config.auth == AuthPolicy::Off {
            "502 5.5.1 AUTH is not offered"
        } else if !self.client.extended {
            "503 5.5.1 Say EHLO first"
        } else if self.client.account.is_some() {
            "503 5.5.1 Authenticated already"
        } else if self.transaction.is_some() {
            "503 5.5.1 Not while a message is under way"
        } else if !self.offers_auth() {
            "538 5.7.11 Encryption required: say STARTTLS first"
        } else {
            return self.progress(auth::begin(arguments));
        };
        self.fail(refusal);
        None
    }

    fn may_relay(&self) -> bool {
        self.peer.trusted || self.client.account.is_some()
    }

    fn terms(&self) -> envelope::Terms<'_> {
        envelope::Terms {
            extended: self.client.extended,
            auth: self.offers_auth(),
            tls: self.client.tls,
            message_bytes_max: self.config.limits.message_bytes,
            hostname: &self.config.hostname,
        }
    }
}

/// A host name or an address literal, loosely: it is written into Received headers, so it holds no blanks, brackets of
/// comments or bytes beyond ASCII, but many hosts have names that no registry would take.
fn is_client_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}
