//! Which hosts take the mail of a domain, and at which addresses (RFC 5321 section 5.1).
//!
//! It runs on the control runtime (normal tokio), asks DNS and remembers the answers; it connects to nobody and
//! chooses nothing: order of preference is what DNS says, [`MailHosts::in_order`] spreads equals.

mod cache;
mod dialable;
mod domain;
mod fault;
mod hosts;
mod lanes;
mod query;
#[cfg(feature = "raw-answers")]
pub mod raw;
mod resolver;
mod servers;
mod texts;
mod tlsa;

pub(crate) use dialable::carried;
pub use dialable::dialable;
pub(crate) use domain::a_labels;
pub use domain::as_asked;
pub use fault::{FaultKind, ResolveFault};
pub use hosts::{Host, MailHosts};
pub(crate) use lanes::Lanes;
pub use resolver::Resolver;
pub use tlsa::Tlsa;

#[cfg(test)]
mod tests;
