//! What the spool asks of a file system, so that tests can put a disk under it that fails or loses power. All mail is
//! written through these calls; only what is beside the log is not: the outbox, and what a start leaves, its note, the
//! quarantine, and holes behind ends.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};
use rustix::io::Errno;

/// How much is written at once where a stretch of zeros is.
const CHUNK_BYTES: usize = 1 << 20;

/// The numbers of btrfs, ZFS and bcachefs, which copy on write.
const COPYING: [i128; 3] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e];

/// A file system. Every call is as its name in POSIX says; an error means that nobody knows what happened.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates `path`, which must not be there, for reading and writing.
    ///
    /// # Errors
    /// What the system answered.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Opens `path`, which must be there, for reading and writing.
    ///
    /// # Errors
    /// What the system answered.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Gives `file` its first `bytes` bytes for certain: writing there cannot run out of space.
    ///
    /// # Errors
    /// What the system answered; part of the space may have been taken.
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system answered; any part may have been written.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written to `file` durable (fdatasync).
    ///
    /// # Errors
    /// What the system answered; nobody knows what is on the disk, and asking again does not tell.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Makes the names in `directory` durable.
    ///
    /// # Errors
    /// What the system answered.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Bytes that this user may still take up on the file system of `directory`.
    ///
    /// # Errors
    /// What the system answered.
    fn free(&self, directory: &Path) -> io::Result<u64>;

    /// Whether what is written over in `directory` stays where it is. A file system that copies on write needs new room for
    /// it instead, which nobody has reserved.
    fn writes_in_place(&self, directory: &Path) -> bool;

    /// Removes the name `path`.
    ///
    /// # Errors
    /// What the system answered.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives what is named `from` the name `to` instead, which nothing may have (renameat2, RENAME_NOREPLACE).
    ///
    /// # Errors
    /// What the system answered.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The file systems of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // A file system without preallocation: write the space, so that it is really there.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => zero(self, file, 0, bytes),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn free(&self, directory: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(directory)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn writes_in_place(&self, directory: &Path) -> bool {
        rustix::fs::statfs(directory).is_ok_and(|found| !COPYING.contains(&i128::from(found.f_type)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }
}

/// Writes `length` zeros at `from`.
pub(crate) fn zero(disk: &dyn Disk, file: &File, from: u64, length: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < from + length {
        let bytes = usize::try_from(from + length - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        disk.write(file, &zeros[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
}
