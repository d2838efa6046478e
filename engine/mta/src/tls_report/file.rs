//! The file that keeps the counts over a restart: JSON, replaced as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use policy::tls_report::{Aggregate, Day, SavedDays};

use crate::replace;

/// Its name in the data directory.
pub(super) const NAME: &str = "tls-reports.json";

/// The counts of the file; none when there is no file.
pub(super) fn read(path: &Path) -> io::Result<BTreeMap<Day, Aggregate>> {
    let Some(bytes) = replace::read(path)? else { return Ok(BTreeMap::new()) };
    let saved: SavedDays = serde_json::from_slice(&bytes)?;
    Ok(saved.into_iter().map(|(day, saved)| (day, Aggregate::restore(saved))).collect())
}

/// Replaces the file.
pub(super) fn write(path: &Path, saved: &SavedDays) -> io::Result<()> {
    replace::write(path, &serde_json::to_vec(saved)?)
}
