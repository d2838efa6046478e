//! A shared map of a whole file, written and read in place: the only file of this crate with `unsafe`. It hands out
//! no reference to its bytes, so nobody can hold one while they change.
//!
//! Memory that a map shows can be changed through the file as well. Here nobody does: the experiment's files lie in a
//! directory of its own, and its one thread is inside of [`Map::write`] or [`Map::checksum`] while the bytes are touched.
#![allow(unsafe_code, reason = "copying into and out of a mapped file; each block is argued")]

use std::fs::File;
use std::io;
use std::ptr;
use std::slice;

use memmap2::{MmapOptions, MmapRaw};

/// A map of a file, readable and writable.
#[derive(Debug)]
pub(crate) struct Map(MmapRaw);

impl Map {
    /// Maps all of `file`, which was opened for reading and writing.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self(MmapOptions::new().map_raw(file)?))
    }

    /// Copies `bytes` to `offset`, where they must fit.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        // SAFETY: `check` made sure that the destination lies within the mapping, which is writable and lives as long
        // as `self`. `bytes` does not overlap it: no reference to mapped bytes ever leaves this file.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_mut_ptr().add(offset), bytes.len()) }
    }

    /// Makes what was written there durable.
    pub(crate) fn sync(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.0.flush_range(offset, bytes)
    }

    /// The checksum of the bytes there, each of which is read for it.
    pub(crate) fn checksum(&self, offset: usize, bytes: usize) -> u32 {
        self.check(offset, bytes);
        // SAFETY: `check` made sure that the range lies within the mapping, which is readable, lives as long as
        // `self`, and holds initialised bytes, as a mapping of a file does. The slice ends with this call, in which
        // nobody writes.
        crc32c::crc32c(unsafe { slice::from_raw_parts(self.0.as_ptr().add(offset), bytes) })
    }

    fn check(&self, offset: usize, bytes: usize) {
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= self.0.len());
        assert!(fits, "{bytes} bytes at {offset} are outside of the map");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_the_file() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(8192).expect("room for 8 KiB");
        let mut map = Map::of(&file).expect("a mapping");
        map.write(8000, b"staffetta");
        map.sync(8000, 9).expect("a sound disk");
        assert_eq!(map.checksum(8000, 9), crc32c::crc32c(b"staffetta"));
        let mut read = [0; 9];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 8000).expect("the bytes are there");
        assert_eq!(&read, b"staffetta");
    }

    #[test]
    #[should_panic(expected = "outside of the map")]
    fn nothing_is_written_outside() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(4096).expect("room for 4 KiB");
        Map::of(&file).expect("a mapping").write(4095, b"ab");
    }
}
