//! How a new source, or a new sender's domain, becomes known to a provider: a little more each clean day.
//!
//! Ladders are data; a [`WarmUp`] climbs one of them; [`calendar`] shows the climb before it begins. It refuses to trust a
//! calendar: only days that were used and were clean count.

mod calendar;
mod climb;
mod ladder;

pub use calendar::{Day, calendar};
pub use climb::{Turn, Turned, WarmUp};
pub use ladder::{Ladder, LadderUnit};

use std::time::Duration;

/// One day of a warm-up: 24 hours from its start, wherever midnight is.
pub const DAY: Duration = Duration::from_secs(86_400);
/// After so long without mail receivers have forgotten a source, and it begins anew (published: SendGrid re-warms after 30 days).
pub const IDLE_MAX: Duration = Duration::from_secs(30 * 86_400);
