//! The least that the disk asks for: pwrite and fdatasync into preallocated files, which roll at the size of a
//! segment. The yardstick for the log; it keeps no records.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::OFlags;

use crate::clock::{Clock, Spent};
use crate::files::preallocated;
use crate::scene::noise;

/// Room that a segment keeps for its header.
const HEADER_BYTES: u64 = 4096;

/// The files of one loop, one after the other.
pub(crate) struct Bare {
    /// What is written again and again.
    bytes: Vec<u8>,
    directory: PathBuf,
    segment: u64,
    sequence: u32,
    file: File,
    offset: u64,
    /// Filled and not synced yet.
    full: Vec<File>,
}

impl Bare {
    /// A loop whose groups have `group_bytes` bytes and whose files `segment`.
    pub(crate) fn new(directory: &Path, group_bytes: usize, segment: u64) -> Result<Self> {
        let (bytes, directory, sequence) = (noise(group_bytes), directory.to_owned(), 0);
        let (file, offset) = (begin(&directory, sequence, segment)?, HEADER_BYTES);
        Ok(Self { bytes, directory, segment, sequence, file, offset, full: Vec::new() })
    }

    /// Writes so many groups, each durable before the next.
    pub(crate) fn write(&mut self, groups: u64) -> Result<Spent> {
        let bytes = std::mem::take(&mut self.bytes);
        let clock = Clock::start();
        for _ in 0..groups {
            let mut left = bytes.as_slice();
            while !left.is_empty() {
                left = self.put(left)?;
            }
            self.sync()?;
        }
        let spent = clock.spent();
        self.bytes = bytes;
        Ok(spent)
    }

    /// Writes what still fits; the rest.
    fn put<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        if self.offset == self.segment {
            self.sequence += 1;
            let next = begin(&self.directory, self.sequence, self.segment)?;
            self.full.push(std::mem::replace(&mut self.file, next));
            self.offset = HEADER_BYTES;
        }
        let room = usize::try_from(self.segment - self.offset)?;
        let (now, rest) = bytes.split_at(bytes.len().min(room));
        self.file.write_all_at(now, self.offset)?;
        self.offset += now.len() as u64;
        Ok(rest)
    }

    fn sync(&mut self) -> Result<()> {
        for file in self.full.drain(..) {
            file.sync_data()?;
        }
        Ok(self.file.sync_data()?)
    }
}

fn begin(directory: &Path, sequence: u32, segment: u64) -> Result<File> {
    preallocated(&directory.join(format!("{sequence:010}.bare")), segment, OFlags::empty())
}
