//! Directories and files that the measurements work in: on a disk, preallocated, and forgotten by the page cache
//! when that is asked for.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate, statfs};
use tempfile::TempDir;

/// What statfs calls a file system in memory.
const TMPFS: i64 = 0x0102_1994;

/// A directory in `data`, removed at its end.
pub(crate) fn directory(data: &Path) -> Result<TempDir> {
    let kind = statfs(data).with_context(|| format!("cannot look at {}", data.display()))?.f_type;
    ensure!(kind as i64 != TMPFS, "{} is not on a disk: give --data", data.display());
    Ok(tempfile::Builder::new().prefix("spool-bench-").tempdir_in(data)?)
}

/// Removes what a round has left, and waits until the file system is done with that.
pub(crate) fn clear(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(File::open(directory)?.sync_all()?)
}

/// A new file with all its space reserved and its name durable, as a segment of the spool begins.
pub(crate) fn preallocated(path: &Path, bytes: u64, flags: OFlags) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

/// The segments of the log of `shard`, oldest first.
pub(crate) fn segments(data: &Path, shard: u8) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data.join("spool").join(shard.to_string()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "seg") {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes the segments of a log to the disk.
pub(crate) fn sync(data: &Path, shard: u8) -> Result<()> {
    segments(data, shard)?.iter().try_for_each(|path| Ok(File::open(path)?.sync_all()?))
}

/// Lets the page cache forget the segments of a log.
pub(crate) fn evict(data: &Path, shard: u8) -> Result<()> {
    segments(data, shard)?.iter().try_for_each(|path| evict_file(path))
}

/// Lets the page cache forget a file, as far as nobody maps it.
pub(crate) fn evict_file(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}
