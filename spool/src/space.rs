//! How much room the disk has: what `spool.min_free` is compared with.

use std::path::Path;

use crate::disk::{Disk, LocalDisk};
use crate::error::SpoolError;

/// Free bytes for this user on the file system that holds `path`.
///
/// # Errors
/// [`SpoolError::Io`] when the system does not tell.
pub fn free_bytes(path: &Path) -> Result<u64, SpoolError> {
    LocalDisk.free(path).map_err(|error| SpoolError::io("measure", path, error))
}
