//! The shell of the engine: shards, rings, sockets, resolution of names. It decides nothing that `policy` decides.

mod accept;
mod campaigns;
mod clock;
mod control;
mod counters;
mod deliver;
mod holds;
pub mod io;
mod logins;
mod notice;
mod refusal;
pub mod resolve;
mod shard;
mod shared;
mod signing;
mod sources;
mod submission;
mod views;

pub use campaigns::Campaign;
pub use control::{BATCH_MAX, Engine, Handle, StartError};
pub use counters::Counters;
pub use refusal::Refusal;
pub use submission::{Accepted, NewCampaign, NewRecipient, Submission, SubmissionMeta};
pub use views::{HoldView, PathFilter, PathView, WaitingView, Why};
