//! The sending side: one [`Client`] per connection turns messages into commands and replies into events.
//!
//! The fastest way that the server offers is taken: with PIPELINING and CHUNKING a whole message is one flight and
//! several messages may be under way; with PIPELINING alone the envelope is one flight and the next one follows the
//! body; otherwise each command waits for its reply.
//!
//! Replies belong to commands by their order alone, so a server that gives one reply too many would have each later
//! reply taken for the wrong thing. What shows that replies are out of step ends the session, and what is open is tried
//! again on another connection: a reply that nothing asked for, or to a command that was not sent yet; a yes to a
//! message that was not sent wholly; anything but 3yz to DATA as a yes; anything but a yes to RSET. A success that was
//! not told yet when such a sign of a refusal came is taken back as unknown. What cannot be found out: a surplus yes
//! that arrives while the next message is on its way by BDAT and is followed by nothing but yeses. Its message would be
//! reported by the reply to its last RCPT, and the true reply, a yes too, ends the session as surplus. A refusal in that
//! place is found out unless it comes so much later that the success has been told.

mod awaited;
mod flow;
mod login;
mod replies;
mod scram;
mod session;
mod transaction;

use mail::{DsnReturn, Notify, Phase, Recipient, Reply};

pub use login::Login;
pub use replies::{ClientFault, ReplyReader};
pub use session::Client;

/// How to talk to a server.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The name to give in EHLO: the host name of the source address.
    pub ehlo: String,
    /// Whether PIPELINING is used when it is offered (RFC 2920).
    pub pipelining: bool,
    /// Whether CHUNKING is used when it is offered (RFC 3030).
    pub chunking: bool,
    /// How many transactions may be under way at once; more than one needs PIPELINING.
    pub pipeline_depth: u16,
    /// Whether STARTTLS is used (RFC 3207).
    pub tls: TlsWanted,
    /// The longest reply that is read; a longer one is a fault of the server.
    pub reply_bytes_max: usize,
    /// What is spoken.
    pub protocol: Protocol,
    /// Who to be at the server; AUTH follows the last EHLO.
    pub login: Option<Login>,
    /// Whether the caller sends large bodies from where they lie: see [`Gap`].
    pub gaps: bool,
}

impl ClientConfig {
    /// Everything that makes sending fast, one transaction at a time, TLS when it is offered.
    #[must_use]
    pub fn new(ehlo: impl Into<String>) -> Self {
        Self {
            ehlo: ehlo.into(),
            pipelining: true,
            chunking: true,
            pipeline_depth: 1,
            tls: TlsWanted::Opportunistic,
            reply_bytes_max: 64 * 1024,
            protocol: Protocol::Smtp,
            login: None,
            gaps: false,
        }
    }
}

/// Where a body belongs that the caller sends by itself, between the bytes of [`Client::transmit`]: the body of the
/// [`Transaction`], exactly. Small ones, and those that do not go out unchanged or at once, leave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many of the bytes come before it.
    pub at: usize,
    /// How long the body is.
    pub bytes: usize,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 5321.
    #[default]
    Smtp,
    /// RFC 2033: LHLO, and one reply for each recipient to the message.
    Lmtp,
}

/// What to do about STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsWanted {
    /// Never ask for it.
    Off,
    /// Ask when it is offered; go on in clear when it is refused.
    Opportunistic,
    /// End the session when it is not to be had.
    Required,
}

/// One message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The reverse-path without brackets; empty for `<>`.
    pub sender: &'a str,
    /// The forward-paths; at least one.
    pub recipients: &'a [To<'a>],
    /// The complete message in CRLF lines, not dot-stuffed; in pieces of which each but the last ends with a line.
    pub body: &'a [&'a [u8]],
    /// Whether the body holds bytes above 127, which is said to servers with 8BITMIME. For others the caller has put it
    /// into ASCII.
    pub eight_bit: bool,
    /// Whether the message needs SMTPUTF8; an address beyond ASCII needs it anyway.
    pub smtputf8: bool,
    /// `RET=`, for servers with DSN.
    pub dsn_return: DsnReturn,
    /// `ENVID=`, for servers with DSN; plain text, encoded here.
    pub envelope_id: Option<&'a str>,
    /// `REQUIRETLS` (RFC 8689): sent only to a server that offers it under TLS of an authenticated server.
    pub require_tls: bool,
}

/// One recipient of a [`Transaction`].
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The forward-path without brackets.
    pub address: &'a str,
    /// `NOTIFY=`, for servers with DSN; the default is left unsaid.
    pub notify: Notify,
    /// `ORCPT=` as `type;address`, for servers with DSN; plain text, encoded here.
    pub original: Option<&'a str>,
}

impl<'a> From<&'a str> for To<'a> {
    fn from(address: &'a str) -> Self {
        Self { address, notify: Notify::default(), original: None }
    }
}

impl<'a> From<&'a Recipient> for To<'a> {
    fn from(recipient: &'a Recipient) -> Self {
        Self {
            address: recipient.address.as_str(),
            notify: recipient.notify,
            original: recipient.original.as_deref(),
        }
    }
}

/// This server cannot be given this message; nothing was sent. The reply is the one that the server would give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reply}")]
pub struct Unsendable {
    /// What the server would say.
    pub reply: Reply,
    /// What it is that the server cannot be given.
    pub what: Obstacle,
}

/// What a server cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// One of the recipients: the others may go without it.
    Recipient,
    /// The message, whoever receives it.
    Message,
    /// A promise of TLS: another host may keep it (RFC 8689 section 4.2.1).
    Promise,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server awaits the TLS handshake: make it, then call [`Client::tls_established`]. Whatever it sent in clear
    /// behind its 220 has been dropped (RFC 3207 section 4.2).
    StartTls,
    /// The session is open: [`Client::capabilities`] are known and transactions may begin.
    Ready,
    /// The session is over: close the connection. After a 421 in the middle of a transaction its recipients
    /// have had their own events already; those of later transactions are named by [`Client::closed`].
    Refused {
        /// Where in the session it happened; `Mail` when it was idle.
        phase: Phase,
        /// What the server said; code 0 and our own words when it does not offer the TLS that is required (phase
        /// `StartTls`), or no AUTH that will do (phase `Auth`).
        reply: Reply,
    },
    /// What became of one recipient; exactly one for each (or [`ClientEvent::Untried`]), in the order of the server's
    /// replies. A positive reply in phase `Body` means delivered.
    Recipient {
        /// Which transaction, as [`Client::begin`] named it.
        transaction: u64,
        /// Which of its recipients.
        index: usize,
        /// To which command this was the reply.
        phase: Phase,
        /// What the server said.
        reply: Reply,
    },
    /// The server did not judge this recipient: send to it again, soon, and count no attempt. It does not know BDAT
    /// although it offers CHUNKING ([`ClientFault::NoChunking`] follows).
    Untried {
        /// Which transaction, as [`Client::begin`] named it.
        transaction: u64,
        /// Which of its recipients.
        index: usize,
        /// What the server said.
        reply: Reply,
    },
    /// All replies of a transaction are in.
    Done {
        /// Which transaction.
        transaction: u64,
    },
    /// The server broke the protocol: close the connection and ask [`Client::closed`] for what is open.
    Fault(ClientFault),
}

/// A recipient that had no reply when the connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which transaction.
    pub transaction: u64,
    /// Which of its recipients.
    pub index: usize,
    /// Which reply it awaited.
    pub phase: Phase,
    /// Whether the server may have the whole message, so that nobody knows (RFC 1047): its last byte had been handed
    /// out for sending.
    pub unknown: bool,
}
