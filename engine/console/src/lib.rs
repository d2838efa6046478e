//! The HTTP API of the engine: submissions, campaigns, what became of them, and what the queue does.
//!
//! It translates between HTTP and the engine's handle and refuses to decide anything about mail itself. The same router
//! answers on TCP and on the control socket; who calls is decided by `caller`.

mod accounts;
mod app;
mod body;
mod caller;
mod campaigns;
mod decisions;
mod error;
mod feed;
mod feedback;
mod idempotency;
pub mod list;
mod listen;
mod messages;
mod path_id;
mod queue;
mod request;
mod sources;
mod status;
mod stories;
mod tls_reports;
mod upload;

pub use app::{Console, ConsoleError};
pub use caller::{Caller, Peer};
pub use error::{ApiError, UploadDone};
pub use listen::{ListenError, Listeners, serve};
