//! The decisions of the engine: configuration, provider, verdict and reaction, retry, rate and pace, source and class.
//!
//! Everything here is a function of its arguments: this crate refuses to do IO, to read a clock and to start a thread.

pub mod brain;
pub mod breaker;
pub mod canary;
pub mod classify;
pub mod config;
mod fields;
pub mod forecast;
pub mod lease;
mod limits;
pub mod mailbox;
pub mod mta_sts;
mod network;
pub mod pace;
pub mod provider;
pub mod rate;
pub mod reaction;
pub mod reputation;
pub mod retry;
pub mod source;
pub mod standing;
pub mod tally;
pub mod tls_report;
pub mod verdict;
pub mod warmup;

pub use limits::{Limits, TlsPolicy};
pub use network::{Network, NetworkError};
pub use pace::Demand;
pub use rate::{Bucket, ByteRate, Rate};
