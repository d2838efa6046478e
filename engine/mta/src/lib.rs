//! The shell of the engine: shards, rings, sockets, resolution of names. It decides nothing that `policy` decides.

mod accept;
mod brain;
mod campaigns;
mod classification;
mod clock;
mod control;
mod counters;
mod decisions;
mod deliver;
mod feedback;
mod holds;
pub mod https;
pub mod io;
mod logins;
mod mta_sts;
mod notice;
mod quotas;
mod refusal;
mod replace;
pub mod resolve;
mod shard;
mod shared;
mod signing;
mod sources;
mod submission;
mod tls_report;
mod views;

pub use campaigns::Campaign;
pub use classification::{Classifier, Incoming};
pub use control::{BATCH_MAX, Engine, Handle, StartError};
pub use counters::Counters;
pub use decisions::{About, Decision};
pub use feedback::{Feedback, FeedbackKind};
pub use refusal::Refusal;
pub use submission::{Accepted, NewCampaign, NewRecipient, Submission, SubmissionMeta};
pub use tls_report::{TlsCounters, TlsReports};
pub use views::{
    AccountHaltView, AccountView, BudgetView, CanaryView, Found, HoldView, PartsView, PathFilter, PathView,
    QuotaView, ReputationView, SourceView, StandingView, Step, WaitingView, WarmUpBegun, WarmUpOrder,
    WarmUpView, Why,
};
