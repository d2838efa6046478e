//! The nouns of mail: address, class, envelope, identifiers, ledger, outcome, reply, secret, time.
//!
//! This crate refuses to do IO, to read a clock and to decide anything: every other room of the house
//! speaks in these words.

mod address;
mod class;
mod envelope;
mod id;
mod ledger;
mod outcome;
mod reply;
mod secret;
mod time;

pub use address::{Address, AddressError, ReversePath};
pub use class::{Class, UnknownClass};
pub use envelope::{BodyType, DsnReturn, Envelope, Notify, Recipient, TlsWish};
pub use id::{CampaignId, IdError, MessageId, RecipientId, RecordId};
pub use ledger::Ledger;
pub use outcome::{Disposition, Outcome, Phase, Route, Timings};
pub use reply::{Enhanced, Reply};
pub use secret::Secret;
pub use time::UnixMs;
