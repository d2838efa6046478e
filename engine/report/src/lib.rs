//! Readers of the ledger: they follow the spool's outcome records and keep what users ask about.
//!
//! The event store (SQLite) holds blocks of attempts and counts per minute; it is derived and can be rebuilt from the
//! spool. This crate refuses to slow delivery down: it only reads, and holds segments until it has passed them.

mod batch;
mod cursor;
mod event;
mod forget;
mod live;
mod metrics;
mod migrate;
mod pack;
mod reporter;
mod rows;
mod schema;
mod store;
mod tail;
mod tls_report;
mod write;

pub use cursor::{Cursor, CursorError};
pub use event::{
    Event, Origin, Outcome, Route, Subject, Way, as_optional_text, as_optional_time, as_text, as_time,
    rfc3339,
};
pub use metrics::{METRICS_TYPE, Scrape};
pub use reporter::Reporter;
pub use store::{CampaignCounts, Counts, EVENTS_MAX, Store, StoreError, Story};
pub use tls_report::TlsReportSender;
