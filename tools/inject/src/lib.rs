//! An SMTP client that does nothing but send as fast as it is answered, and measures how fast that is.
//! It makes no decisions about mail: a reply that is not the expected one is counted, and the connection is made again.

mod letter;
mod pace;
mod run;
mod session;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use run::{Report, run};
pub use usage::cpu;

/// The smallest message that can be asked for: what its header needs.
pub const BYTES_MIN: u32 = 512;
/// The most destinations that messages can go to in turn.
pub const DESTINATIONS_MAX: u32 = 99_999;

/// What is sent, where to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to send.
    pub to: SocketAddr,
    /// Connections at the same time, at least 1.
    pub connections: u16,
    /// Threads that share the connections, at least 1.
    pub threads: u16,
    /// Messages in all.
    pub messages: u64,
    /// What stands in them.
    pub text: Text,
    /// Messages per connection; 0 is no limit.
    pub per_connection: u64,
    /// How commands are sent.
    pub mode: Mode,
    /// Messages per second in all, begun on time whether or not those before are answered; 0 is as fast as answers come.
    pub rate: f64,
    /// Number of the first message.
    pub first: u64,
    /// The recipient of every acknowledged message is appended to this file, one a line.
    pub acknowledged: Option<PathBuf>,
    /// How long connecting is tried, at the start and after a connection broke.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            to: SocketAddr::from(([127, 0, 0, 1], 2525)),
            connections: 20,
            threads: 1,
            messages: 10_000,
            text: Text::default(),
            per_connection: 0,
            mode: Mode::Lockstep,
            rate: 0.0,
            first: 0,
            acknowledged: None,
            patience: Duration::from_secs(5),
        }
    }
}

/// What stands in a message.
#[derive(Clone, Debug)]
pub struct Text {
    /// Bytes of each message, at least [`BYTES_MIN`].
    pub bytes: u32,
    /// Envelope sender.
    pub from: String,
    /// Recipient; `{n}` is the number of the message, `{d}` that of its destination.
    pub rcpt: String,
    /// Destinations that the messages go to in turn: what `{d}` counts; from 1 to [`DESTINATIONS_MAX`].
    pub destinations: u32,
    /// Header lines to add.
    pub header: Vec<String>,
    /// Adds the header X-Inject-Time to each message: microseconds since 1970 when it was (or should have been) begun.
    pub stamp: bool,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: 10_240,
            from: "sender@inject.test".to_owned(),
            rcpt: "user{n}@sink.test".to_owned(),
            destinations: 1,
            header: Vec::new(),
            stamp: false,
        }
    }
}

/// How many replies are awaited before the next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every command waits for its reply: four round trips a message, as smtp-source does.
    Lockstep,
    /// MAIL, RCPT and DATA together, then the body: two round trips.
    Pipelined,
    /// MAIL, RCPT, BDAT and the body together: one round trip.
    Flight,
}
