//! How a log is kept: the operator's choices, checked.

use crate::error::SpoolError;
use crate::layout::{RECORDS_START, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// Whether a record must survive a power cut before it is called durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Durable is what fdatasync has confirmed.
    #[default]
    Disk,
    /// Durable is what the page cache holds: a crash of the process loses nothing, a power cut does.
    Memory,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment, 16 KiB to 2 GiB; a record must fit into one.
    pub segment_bytes: u64,
    /// What durable means.
    pub durability: Durability,
    /// No segment is begun for new mail when less than this would be left of the disk.
    pub min_free_bytes: u64,
    /// As many segments that are done with are kept to write the next ones over them as fit into this; with less than one
    /// segment none.
    pub spare_bytes_max: u64,
}

impl Default for Options {
    /// 128 MiB (a second or two of full load: reclaim is prompt and the files are few), on disk, to its last byte; four
    /// segments are kept.
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            durability: Durability::Disk,
            min_free_bytes: 0,
            spare_bytes_max: 512 << 20,
        }
    }
}

impl Options {
    /// The size to preallocate: whole pages.
    pub(crate) fn capacity(&self) -> Result<u64, SpoolError> {
        let bytes = self.segment_bytes;
        if (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
            return Ok(bytes - bytes % RECORDS_START as u64);
        }
        Err(SpoolError::SegmentSize { bytes, min: SEGMENT_BYTES_MIN, max: SEGMENT_BYTES_MAX })
    }

    pub(crate) fn on_disk(&self) -> bool {
        self.durability == Durability::Disk
    }
}
