//! The spool: one append-only log of checksummed records per shard, the ground state from which everything else is
//! rebuilt. It refuses to decide what happens to mail, to start threads, and to say "durable" before it is.
//!
//! The shard's thread owns a [`Log`]: it appends, calls [`Log::flush`] at the end of each batch of events, hands the
//! files of [`Log::sync_target`] to its ring and gives the completion back by [`Log::synced`]; then
//! [`Log::durable`] mints the proof that 250 needs. Everybody else reads through clones of a [`Reader`]. The format,
//! its states and what each crash leaves are described in `docs/spool.md`.

mod append;
mod books;
mod course;
mod disk;
mod durable;
mod encode;
mod error;
#[cfg(test)]
mod every_byte;
mod fault;
pub mod inspect;
mod layout;
mod lock;
mod log;
mod mmap;
mod next;
mod options;
mod outbox;
mod planted;
mod poison;
#[cfg(feature = "raw-records")]
pub mod raw;
mod reader;
mod reclaim;
mod record;
mod recovery;
mod salvage;
mod scan;
mod segment;
mod space;
mod spare;
mod stored;
mod tail;
mod view;
mod waiting;

pub use course::Course;
pub use disk::{Disk, LocalDisk};
pub use durable::{Durable, Position, SyncTarget};
pub use error::{ReadError, SpoolError};
pub use fault::{Rescue, Rescued};
pub use layout::Kind;
pub use lock::SpoolLock;
pub use log::Log;
pub use next::{MadeNext, NextSegment};
pub use options::{Durability, Options};
pub use outbox::Outbox;
pub use reader::{Hold, Reader};
pub use reclaim::{Dropped, ReclaimWait, Reclaimed};
pub use record::{CampaignPhase, CampaignState, Content, ContentKind, Ground, Needs, Recipient};
pub use recovery::{Damage, DamageKind, Recovered};
pub use space::free_bytes;
pub use tail::{Cursor, Tail};
pub use view::{ContentHead, ContentRef, OutcomeRef, RecipientRef, RecordRef};
pub use waiting::Waiting;
