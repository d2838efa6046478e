//! What the spool promises, from outside: through its public face and through the bytes of its files.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bytes;
mod durability;
mod faults;
mod inspection;
mod model;
mod outbox;
mod power;
mod reading;
mod reclaim;
mod recovery;
mod recycling;
mod rough;
mod support;
