//! The thin layer between the engine and the kernel: rings, sockets, timeouts, mailboxes between threads.
//!
//! It speaks neither SMTP nor DNS and decides nothing. Everything that names `tokio-uring` or `io-uring` is in
//! here (`runtime` and `operation`), so that the runtime can be replaced. One noun or operation per file:
//!
//! - [`run_shard`], [`block_on`], [`check_kernel`]: a pinned thread with its own ring;
//! - [`Stream`]: a TCP connection with optional TLS; reads and writes may be abandoned and taken up again;
//! - [`Deadlines`]: timeouts without a timer per operation;
//! - [`connect`], [`Listener`]: how connections come to be;
//! - [`fdatasync`]: durability without a blocked thread;
//! - [`mod@mailbox`]: bounded rings between threads;
//! - [`tls`], [`addresses`]: configuration of TLS and checks at start.

pub mod addresses;
mod buffer;
mod connect;
mod deadline;
mod incoming;
mod listen;
pub mod mailbox;
mod operation;
mod outgoing;
mod parcel;
mod runtime;
mod secure;
mod socket;
mod sockopt;
mod stream;
mod sync;
pub mod tls;

pub(crate) use buffer::{borrow_line, return_line};
pub use connect::{SourceFault, Target, connect};
pub use deadline::{Deadlines, Watch};
pub use listen::Listener;
pub use mailbox::{Receiver, Sender, mailbox};
pub(crate) use parcel::{Body, Parcel};
pub use runtime::{RuntimeFault, ShardThread, block_on, check_kernel, run_shard, spawn};
pub use stream::Stream;
pub use sync::fdatasync;

#[cfg(test)]
mod tests;
