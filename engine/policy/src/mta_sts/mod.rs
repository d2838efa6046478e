//! MTA-STS (RFC 8461): what a domain says about the hosts that may take its mail, and that they must speak TLS.
//!
//! This module reads the TXT record and the policy; it fetches nothing and keeps nothing.

mod document;
mod pattern;
mod record;

pub use document::{DOCUMENT_BYTES_MAX, MAX_AGE_MAX, MX_MAX, Mode, Policy, PolicyError};
pub use pattern::MxPattern;
pub use record::policy_id;

/// The TXT record of a domain stands below this label (RFC 8461 section 3.1).
pub const RECORD_LABEL: &str = "_mta-sts";
/// The policy of a domain is fetched from the host below this label (RFC 8461 section 3.3).
pub const HOST_LABEL: &str = "mta-sts";
/// The path of the policy on that host.
pub const WELL_KNOWN_PATH: &str = "/.well-known/mta-sts.txt";
