//! What can go wrong in the spool, by whose fault: the operator's (disk, directory, a second engine) or the caller's.

use std::io;
use std::path::{Path, PathBuf};

use mail::{RecipientId, RecordId};

/// Why the spool could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// An operation on a file or directory failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "create".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A write or sync failed earlier: nothing more is appended to this log until the engine is started again.
    #[error("the spool of shard {shard} takes nothing more since a write failed: {reason}")]
    Closed {
        /// Whose log.
        shard: u8,
        /// The first failure, in words.
        reason: String,
    },
    /// Another segment would leave less of the disk than is to stay free. Nothing was changed.
    #[error(
        "the disk of the spool has {} MiB left: another segment of {} MiB would leave less than spool.min_free ({} MiB)",
        free >> 20, segment >> 20, min_free >> 20
    )]
    NoRoom {
        /// Free bytes.
        free: u64,
        /// Bytes of the segment.
        segment: u64,
        /// Bytes that are to stay free.
        min_free: u64,
    },
    /// The record does not fit into one segment.
    #[error(
        "a record of {bytes} bytes does not fit: a segment of this spool takes at most {bytes_max}; raise spool.segment"
    )]
    TooLarge {
        /// Size of the record on disk.
        bytes: u64,
        /// The largest size that fits.
        bytes_max: u64,
    },
    /// `Options::segment_bytes` is out of bounds.
    #[error("a segment of {bytes} bytes is not possible: use {min} to {max}")]
    SegmentSize {
        /// What was asked.
        bytes: u64,
        /// The smallest possible.
        min: u64,
        /// The largest possible.
        max: u64,
    },
    /// Another engine works on the same directory.
    #[error("{} is in use by another engine ({owner}); two engines cannot share one data_dir", path.display())]
    InUse {
        /// The locked file or directory.
        path: PathBuf,
        /// Who holds it, as in "process 4711".
        owner: String,
    },
    /// The files were written by a newer version of the program. Nothing was touched.
    #[error("{} was written by a newer version (format {found}, this program knows {known}); nothing was changed", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u16,
        /// The newest format version this program knows.
        known: u16,
    },
    /// A segment of another shard lies in this shard's directory.
    #[error("{} belongs to shard {found}, not to shard {shard}; nothing was changed", path.display())]
    WrongShard {
        /// The file.
        path: PathBuf,
        /// The shard its header names.
        found: u8,
        /// The shard whose directory it lies in.
        shard: u8,
    },
    /// A recipient names a content that this log does not hold.
    #[error("content {0} is not in this log")]
    UnknownContent(RecordId),
    /// An outcome for a recipient that does not wait any more, or never did.
    #[error("recipient {0} is not waiting")]
    NotWaiting(RecipientId),
    /// A record could not be turned into bytes: a text or list is longer than the format allows.
    #[error("the record cannot be encoded: {0}")]
    Encode(String),
}

impl SpoolError {
    /// An [`SpoolError::Io`] of `action` on `path`.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether the disk is full: the caller may try again when space has been made.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::NoRoom { .. } => true,
            _ => false,
        }
    }
}

/// Why a record could not be read by its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No segment holds it: it was finished and reclaimed, belongs to another shard, or is not written yet.
    #[error("record {0} is not in the spool")]
    Gone(RecordId),
    /// Its bytes do not match their checksum, or are not a record at all.
    #[error("record {0} is damaged")]
    Damaged(RecordId),
    /// The disk does not give its bytes at the moment: ask again later.
    #[error("the disk cannot read record {0} at the moment")]
    Unreadable(RecordId),
    /// There is a whole record, of another kind.
    #[error("record {0} is of another kind")]
    OtherKind(RecordId),
}
