//! How much room the disk has: what `spool.min_free` is compared with.

use std::path::Path;

use crate::error::SpoolError;

/// Free bytes for this user on the file system that holds `path`.
///
/// # Errors
/// [`SpoolError::Io`] when the system does not tell.
pub fn free_bytes(path: &Path) -> Result<u64, SpoolError> {
    let found = rustix::fs::statvfs(path).map_err(|error| SpoolError::io("measure", path, error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
