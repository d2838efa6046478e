//! The spool: one append-only log of checksummed records per shard, the ground state from which everything else is
//! rebuilt. It refuses to decide what happens to mail, to start threads, and to say "durable" before it is.
//!
//! The shard thread owns a [`Log`]: it appends, calls [`Log::flush`] at the end of each batch of events, hands
//! [`Log::sync_target`] to its ring and gives the completion back by [`Log::synced`]. Everybody else reads through
//! clones of a [`Reader`]. The format, its states and what each crash leaves are described in `docs/spool.md`.

mod durable;
mod error;
mod log;
mod record;
mod reader;

pub use durable::{Durable, Position, SyncTarget};
pub use error::{ReadError, SpoolError};
pub use log::*;
pub use reader::*;
pub use record::{CampaignPhase, CampaignState, Content, ContentKind, Recipient};
