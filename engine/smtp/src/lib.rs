//! The SMTP protocol without sockets: a server session and a client, fed with bytes and asked for bytes.
//!
//! This crate refuses to do IO and to read a clock. What a peer sends is a value here, never a panic; what it
//! may make us store has a limit. The shell around it moves bytes between a socket and [`server::Session`] or
//! [`client::Client`], keeps the deadlines that they name, makes TLS handshakes and decides about messages.

pub mod client;
pub mod extensions;
pub mod server;
pub mod wire;

pub use extensions::Capabilities;
