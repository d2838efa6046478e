//! The receiving side: one [`Session`] per connection turns bytes into messages and replies.
//!
//! ```
//! use std::sync::Arc;
//! use smtp::server::{Config, Peer, Session, Step};
//!
//! let config = Arc::new(Config { hostname: "mx.example.test".into(), ..Config::default() });
//! let peer = Peer { ip: std::net::Ipv4Addr::LOCALHOST.into(), trusted: true };
//! let mut session = Session::new(config, peer);
//! session.feed(b"EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nBDAT 6 LAST\r\nA: b\r\n");
//! let Step::Message(message) = session.step() else { panic!("a whole message is there") };
//! assert_eq!(message.body, b"A: b\r\n");
//! session.accept("queued");
//! assert!(session.output().ends_with(b"250 2.0.0 queued\r\n"));
//! ```

mod auth;
mod body;
mod command;
mod dispatch;
mod envelope;
mod session;
mod text;
mod verdict;

use std::net::IpAddr;
use std::time::Duration;

use mail::Envelope;

pub use session::Session;
pub use verdict::{Question, Verdicts};

/// How long a server waits for the next bytes of its client before it may hang up (RFC 5321 section 4.5.3.2.7).
pub const INPUT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What all sessions of a listener share.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The name this server gives itself in its greeting and in its reply to EHLO.
    pub hostname: String,
    /// What a client may make the server store.
    pub limits: Limits,
    /// Whether STARTTLS is offered while the connection is in clear.
    pub starttls: bool,
    /// Who has to authenticate.
    pub auth: AuthPolicy,
    /// Whether AUTH is offered without TLS. PLAIN and LOGIN then show the password to the network.
    pub auth_in_clear: bool,
}

/// Bounds on what one session accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a command line with its CRLF. RFC 5321 section 4.5.3.1.4 asks for 512 and extensions add to it.
    pub line_bytes: usize,
    /// Bytes of a line of the message without its CRLF. RFC 5321 section 4.5.3.1.6 allows 998, programs send more.
    pub text_line_bytes: usize,
    /// Bytes of the header block, up to the empty line.
    pub header_bytes: usize,
    /// Bytes of the whole message; announced by SIZE (RFC 1870).
    pub message_bytes: u64,
    /// Recipients of one message; announced by LIMITS RCPTMAX (RFC 9422).
    pub recipients: usize,
    /// Refused commands of one session; the next one is answered with 421.
    pub errors: usize,
}

impl Default for Limits {
    /// 2,048 bytes hold every parameter of our extensions; 1,000,000 bytes a line of unfolded HTML; 256 KiB the
    /// longest chain of Received and authentication headers with room to spare; 50 MiB what large providers take;
    /// 1,000 recipients ten times the least of RFC 5321 section 4.5.3.1.8; 20 errors a day of typing by hand.
    fn default() -> Self {
        Self {
            line_bytes: 2048,
            text_line_bytes: 1_000_000,
            header_bytes: 256 * 1024,
            message_bytes: 50 * 1024 * 1024,
            recipients: 1000,
            errors: 20,
        }
    }
}

/// Whether clients can or must prove who they are (RFC 4954). Peers that are trusted never have to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthPolicy {
    /// AUTH is not offered.
    #[default]
    Off,
    /// AUTH is offered; without it a peer that is not trusted may not relay.
    Optional,
    /// AUTH is offered; without it a peer that is not trusted may not even begin a message.
    Required,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Whether it may relay without authentication.
    pub trusted: bool,
}

/// What the shell has to do next.
#[derive(Debug)]
pub enum Step {
    /// Send [`Session::output`], then [`Session::feed`] what comes.
    NeedInput,
    /// Much output has gathered: send [`Session::output`], then step again.
    Flush,
    /// A whole message: answer with [`Session::accept`] or [`Session::refuse`], then step again.
    Message(Box<ReceivedMessage>),
    /// The message or the credentials in hand still wait for the shell's verdict, or there is a
    /// [`Session::question`] (only in sessions that began with [`Session::with_verdicts`]); later input waits with them.
    AwaitVerdict,
    /// Send [`Session::output`] (it ends with the 220), make the TLS handshake, then call [`Session::tls_established`].
    StartTls,
    /// Check these, then call [`Session::authenticated`] or [`Session::refuse_authentication`].
    Authenticate {
        /// The account's name.
        identity: String,
        /// Its password.
        password: String,
    },
    /// Send [`Session::output`] and close the connection.
    Close,
}

/// A message as it came in, not yet accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// What MAIL and RCPT said.
    pub envelope: Envelope,
    /// The message: every line ends with CRLF, dots are unstuffed.
    pub body: Vec<u8>,
    /// What the client called itself: a host name or an address literal.
    pub helo: String,
    /// The protocol's name for the Received header (RFC 3848, RFC 6531 section 4.3), such as `ESMTPS`.
    pub with: &'static str,
    /// The account that authenticated.
    pub account: Option<String>,
}
