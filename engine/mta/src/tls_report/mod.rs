//! TLS-RPT (RFC 8460) as far as it concerns the running engine: every session's end is counted by day, and the counts
//! outlive a restart. Who is told of them, and how, is for the `report` crate.

mod file;
mod recorder;

pub(crate) use recorder::keep;
pub use recorder::{TlsCounters, TlsReports};
