//! TLS-RPT (RFC 8460): how sessions with the hosts of a domain were protected, counted per day and told to the domain.
//!
//! This module counts, and writes what is told; it sends nothing and reads no clock.

mod aggregate;
mod day;
mod destination;
mod report;
mod session;

pub use aggregate::{Aggregate, DETAILS_MAX, POLICIES_MAX, Saved, SavedDays};
pub use day::Day;
pub use destination::{DESTINATIONS_MAX, Destination, destinations};
pub use report::{DateRange, Detail, PolicyReport, Report, Reporter, Summary, file_name, report_id};
pub use session::{AppliedPolicy, Failure, PolicyKind, ResultType, Session};

/// The TXT record of a domain stands below these labels (RFC 8460 section 3).
pub const RECORD_LABELS: &str = "_smtp._tls";
