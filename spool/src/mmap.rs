//! Mapped files: the bytes of one segment, read in place, and small files whose bytes outlive the process. The only file of this
//! crate with `unsafe`. It hands out nothing beyond what the log has published, and it never writes to a segment.
//!
//! Everything here rests on one fact: **published bytes of a segment never change while anybody can see them.** The log
//! writes each byte of a segment once, before publishing it; no file is ever truncated (space is given back by
//! punching holes beyond the published bytes, and by unlinking, which leaves mapped pages alone); a file is written over for
//! another segment only after its image was taken by value (`spare.rs`, [`Image::hidden`]): then the old segment is gone, so
//! nothing borrows from it, no other image shows bytes of the file, and this one shows none until they are written and
//! published anew; and the lock on the log's directory keeps other engines out. Whoever edits a segment file of a running
//! engine by hand, or puts it on a disk that changes its mind, breaks it, as with any memory-mapped file.
#![allow(unsafe_code, reason = "reading a mapped file in place; each block is argued")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, compiler_fence};
use std::time::Duration;

use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
use rkyv::Portable;
use rkyv::api::low::LowValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::util::AlignedVec;
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::segment::Segment;

/// The kernel gives memory by pages of this size; where they are larger, the advice is refused and nothing is checked.
const PAGE: usize = 4096;

/// The processor fetches memory by lines of this size.
const LINE: usize = 64;

/// So much is read into memory at a time: six messages of 10 KiB, and no more than a disk reads ahead anyway.
const WINDOW: usize = 64 << 10;
/// So many windows are looked at by one call, which costs little more than one window does.
const AHEAD: usize = 8;
/// How long a window counts as just read.
const FRESH: Duration = Duration::from_secs(1);
/// What the kernel never says of a page.
const UNTOLD: u8 = 0xFE;
/// No [`moment`].
const NEVER: u32 = 0;

/// The bytes of a segment, of which only a prefix that grows is visible.
#[derive(Debug)]
pub(crate) struct Image {
    backing: Backing,
    /// How many bytes are visible: at most the length of the backing; only grows while anybody else can see the image.
    published: AtomicUsize,
    /// For each window the [`moment`] at which it was in memory; [`NEVER`] before the first.
    seen: Box<[AtomicU32]>,
}

#[derive(Debug)]
enum Backing {
    /// The page cache's own pages.
    Mapped(MmapRaw),
    /// A copy in memory, for inspection and tests.
    Copied(AlignedVec<16>),
}

impl Image {
    /// Maps the whole of `file` and shows nothing of it yet.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let map = MmapOptions::new().map_raw_read_only(file)?;
        let seen = (0..map.len().div_ceil(WINDOW)).map(|_| AtomicU32::new(NEVER)).collect();
        Ok(Self { backing: Backing::Mapped(map), published: AtomicUsize::new(0), seen })
    }

    /// Shows a copy in memory, all of it.
    pub(crate) fn copied(bytes: AlignedVec<16>) -> Self {
        let published = AtomicUsize::new(bytes.len());
        Self { backing: Backing::Copied(bytes), published, seen: Box::default() }
    }

    /// The same bytes, of which nothing is shown any more, for another segment to be written over them. Whoever has the image to
    /// give away knows that nobody else sees it.
    pub(crate) fn hidden(self) -> Self {
        Self { published: AtomicUsize::new(0), ..self }
    }

    /// Whether it is a copy in memory.
    pub(crate) fn is_copy(&self) -> bool {
        matches!(self.backing, Backing::Copied(_))
    }

    /// Reads the bytes in `range` into memory, and those around them in the same windows. False when the disk cannot give
    /// some of `range`: looking there would end the process.
    ///
    /// A window that was read a moment ago is taken to be there still: records are looked at one after the other and more
    /// than once, and asking the kernel each time would cost more than all else that is done with them here.
    pub(crate) fn populate(&self, range: Range<usize>) -> bool {
        let now = moment();
        let is_fresh = |seen| seen == now;
        let ask = |map: &_, windows: Range<usize>| {
            self.note_those_in_memory(map, windows.start, now);
            self.are_all(windows.clone(), is_fresh) || advise(map, bytes_of(map, windows))
        };
        self.populate_unless(range, is_fresh, ask)
    }

    /// The same, but of windows that were in memory once it is taken for granted that they still are: so for what was
    /// written lately, which then costs next to nothing to ask for. Pages are read ahead of what is written, as zeros that
    /// the writer fills: they need not be asked for then. A window that is being written is never in memory as a whole.
    pub(crate) fn populate_once(&self, range: Range<usize>) -> bool {
        let ask = |map: &_, windows| advise(map, bytes_of(map, windows));
        self.populate_unless(range, |seen| seen != NEVER, ask)
    }

    /// Notes which windows from `first` on are in memory as a whole.
    fn note_those_in_memory(&self, map: &MmapRaw, first: usize, now: u32) {
        let windows = first..(first + AHEAD).min(self.seen.len());
        let mut pages = [0_u8; AHEAD * WINDOW / PAGE];
        if let Some(pages) = pages_in_memory(map, bytes_of(map, windows.clone()), &mut pages) {
            for (seen, pages) in self.seen[windows].iter().zip(pages.chunks(WINDOW / PAGE)) {
                if pages.iter().all(|page| page & 1 == 1) {
                    seen.store(now, Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether `is_there` is content with the moments at which these windows were in memory.
    fn are_all(&self, windows: Range<usize>, is_there: impl Fn(u32) -> bool) -> bool {
        // Relaxed: a stamp says nothing about bytes, only that the kernel need not be asked.
        self.seen[windows].iter().all(|window| is_there(window.load(Ordering::Relaxed)))
    }

    /// Has `ask` read the windows of `range` into memory, unless `is_there` is content with the moments at which all of them were.
    fn populate_unless(
        &self,
        range: Range<usize>,
        is_there: impl Fn(u32) -> bool,
        ask: impl Fn(&MmapRaw, Range<usize>) -> bool,
    ) -> bool {
        let Backing::Mapped(map) = &self.backing else { return true };
        let end = range.end.min(map.len());
        if range.start >= end {
            return true;
        }
        let windows = range.start / WINDOW..end.div_ceil(WINDOW);
        if self.are_all(windows.clone(), is_there) {
            return true;
        }
        if !ask(map, windows.clone()) {
            // What is sick may lie beside what is asked for.
            return advise(map, range.start / PAGE * PAGE..end);
        }
        let now = moment();
        self.seen[windows].iter().for_each(|window| window.store(now, Ordering::Relaxed));
        true
    }

    /// Bytes that could be shown at most.
    pub(crate) fn len(&self) -> usize {
        match &self.backing {
            Backing::Mapped(map) => map.len(),
            Backing::Copied(bytes) => bytes.len(),
        }
    }

    /// Shows the first `bytes` bytes, which from now on do not change. Never shows less than before.
    pub(crate) fn publish(&self, bytes: usize) {
        // Release: who sees the new length sees the bytes that were written before.
        self.published.fetch_max(bytes.min(self.len()), Ordering::Release);
    }

    /// How many bytes are visible.
    pub(crate) fn published(&self) -> usize {
        self.published.load(Ordering::Acquire)
    }

    /// The visible bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        let published = self.published();
        match &self.backing {
            // SAFETY: `publish` keeps `published` within the length of the mapping, which lives as long as `self`,
            // is readable, and holds initialised bytes (a mapping of a file is). These bytes are not written as long
            // as the slice borrows from `self` (the fact at the top of this file), so they may be shared; later bytes, which
            // the kernel may be writing now, are not part of the slice. Holes read as zeros, so a full disk raises no signal.
            Backing::Mapped(map) => unsafe { slice::from_raw_parts(map.as_ptr(), published) },
            Backing::Copied(bytes) => &bytes[..published],
        }
    }

    /// Has the processor fetch the visible bytes of `range` into its caches, and goes on meanwhile.
    pub(crate) fn fetch(&self, range: Range<usize>) {
        let bytes = self.bytes();
        let end = range.end.min(bytes.len());
        bytes.get(range.start..end).unwrap_or_default().chunks(LINE).for_each(fetch_line);
    }
}

/// Has the processor fetch the line that `bytes` begin in.
#[cfg(target_arch = "x86_64")]
fn fetch_line(bytes: &[u8]) {
    // SAFETY: a hint, which changes nothing that can be seen and never faults, not even where nothing is mapped.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().cast()) };
}

/// Other processors are left to guess.
#[cfg(not(target_arch = "x86_64"))]
fn fetch_line(_: &[u8]) {}

/// Asks for the pages of `range`, which begins at one. False when the disk cannot give some of them.
fn advise(map: &MmapRaw, range: Range<usize>) -> bool {
    !is_sick(&map.advise_range(Advice::PopulateRead, range.start, range.len()))
}

/// The bytes of these windows.
fn bytes_of(map: &MmapRaw, windows: Range<usize>) -> Range<usize> {
    windows.start * WINDOW..(windows.end * WINDOW).min(map.len())
}

/// For each page of `range`, which begins at one, whether the lowest bit is set: then it is in memory as the disk or the
/// writer has given it. Of pages that were looked at before, this costs a tenth of asking for them again. To whom the file may
/// not belong, all seems to be there: it is the engine, which writes it, that must not end by a sick disk. `None` when the
/// kernel does not tell, or of larger pages.
fn pages_in_memory<'a>(map: &MmapRaw, range: Range<usize>, pages: &'a mut [u8]) -> Option<&'a [u8]> {
    assert!(range.end <= map.len(), "these bytes lie in the mapping");
    let pages = &mut pages[..range.len().div_ceil(PAGE)];
    pages.fill(UNTOLD);
    // SAFETY: `range` lies within the mapping. The kernel writes one byte for each page that the range begins, into `pages`,
    // which has as many (where pages are larger it writes fewer), and touches nothing else; a range that is not mapped
    // is an error.
    let answer =
        unsafe { libc::mincore(map.as_mut_ptr().add(range.start).cast(), range.len(), pages.as_mut_ptr()) };
    (answer == 0 && pages.last() != Some(&UNTOLD)).then_some(pages)
}

/// Whether the disk cannot give pages that were asked for.
fn is_sick(asked: &io::Result<()>) -> bool {
    // Any other error is that of a kernel before 5.14, which does not know the advice.
    asked.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::FAULT.raw_os_error()))
}

/// The present in steps of [`FRESH`]. The coarse clock is some milliseconds behind, and costs a fifth of the fine one.
fn moment() -> u32 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    let steps = Duration::try_from(now).unwrap_or_default().as_secs() / FRESH.as_secs();
    // The highest bit tells it from `NEVER`; without that one it comes back to the same number after 68 years.
    steps as u32 | 1 << 31
}

/// Bytes that outlive the process: a file that is mapped for writing.
#[derive(Debug)]
pub(crate) struct Slate {
    map: MmapMut,
    /// The window that was asked for last, and the [`moment`] of it.
    asked: (Range<usize>, u32),
}

impl Slate {
    /// Maps the whole of `file`, all of which must have its place on the disk.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        Ok(Self { map: map_for_writing(file)?, asked: (0..0, NEVER) })
    }

    /// Writes `bytes` at `offset`: the file has them as soon as this returns, also when the process dies then. False when the
    /// disk does not give their place.
    ///
    /// # Panics
    /// When they would reach beyond the end of the file.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let range = offset..offset + bytes.len();
        if !self.is_there(&range) {
            return false;
        }
        self.map[range].copy_from_slice(bytes);
        // What follows may not be done before: it rests on the bytes being there.
        compiler_fence(Ordering::SeqCst);
        true
    }

    /// Whether `range` may be written without ending the process.
    fn is_there(&mut self, range: &Range<usize>) -> bool {
        let ((asked, at), now) = (&self.asked, moment());
        if *at == now && asked.start <= range.start && range.end <= asked.end {
            return true;
        }
        let end = range.end.next_multiple_of(WINDOW).min(self.map.len());
        let window = range.start / WINDOW * WINDOW..end;
        let asked = self.map.advise_range(Advice::PopulateWrite, window.start, window.len());
        self.asked = (window, now);
        !is_sick(&asked)
    }
}

/// Maps the whole of `file`, one that no other process is to touch.
fn map_for_writing(file: &File) -> io::Result<MmapMut> {
    // SAFETY: nobody else maps the file or changes its size: it belongs to the log whose directory is locked. `Slate` and
    // `Mark` only write to the map and never read it, so nobody could see bytes change.
    unsafe { MmapMut::map_mut(file) }
}

/// A number that outlives the process: the first eight bytes of a file that is mapped for writing.
#[derive(Debug)]
pub(crate) struct Mark(MmapMut);

impl Mark {
    /// Maps `file`, which must be at least eight bytes long.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let map = map_for_writing(file)?;
        if map.len() < size_of::<u64>() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self(map))
    }

    /// Sets the number: the file has it as soon as this returns, also when the process dies at once.
    pub(crate) fn set(&mut self, value: u64) {
        let place: *mut [u8; 8] = self.0.as_mut_ptr().cast();
        // SAFETY: `map` made sure of eight bytes, a mapping begins at a page, and `self` is borrowed mutably. The write
        // is volatile so that it is done here and now: what follows may end the process.
        unsafe { place.write_volatile(value.to_le_bytes()) };
    }
}

/// The head of a record: an archive that lies in a segment, was checked once, and keeps its segment alive.
pub(crate) struct Head<T> {
    segment: Arc<Segment>,
    range: Range<usize>,
    archived: PhantomData<fn() -> T>,
}

impl<T> Head<T>
where
    T: Portable + for<'a> CheckBytes<LowValidator<'a, Failure>>,
{
    /// The archive in `range` of `segment`; `None` when the bytes there are not a valid archive of a `T`.
    pub(crate) fn check(segment: &Arc<Segment>, range: Range<usize>) -> Option<Self> {
        let bytes = segment.image().bytes().get(range.clone())?;
        rkyv::api::low::access::<T, Failure>(bytes).ok()?;
        Some(Self { segment: Arc::clone(segment), range, archived: PhantomData })
    }

    /// The archive, in place.
    pub(crate) fn archived(&self) -> &T {
        let bytes = &self.segment.image().bytes()[self.range.clone()];
        // SAFETY: `check` is the only constructor and validated an archive of a `T` in exactly these bytes of this
        // segment. They lie at the same address since (`self` keeps the segment, which keeps its image: nobody can take
        // that by value meanwhile) and are published, hence unchanged (the fact at the top of this file).
        unsafe { rkyv::access_unchecked::<T>(bytes) }
    }
}

impl<T> Head<T> {
    /// The bytes of the segment that it is.
    pub(crate) fn range(&self) -> &Range<usize> {
        &self.range
    }

    /// The segment that holds it.
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl<T> Clone for Head<T> {
    fn clone(&self) -> Self {
        Self { segment: Arc::clone(&self.segment), range: self.range.clone(), archived: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn only_published_bytes_are_visible() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&[7; 8192]).expect("room for 8 KiB");
        let image = Image::map(&file).expect("a mapping");
        assert_eq!((image.len(), image.bytes().len()), (8192, 0));
        image.publish(4096);
        image.publish(100);
        assert_eq!(image.bytes(), [7; 4096]);
        image.publish(usize::MAX);
        assert_eq!(image.bytes().len(), 8192);
        let image = image.hidden();
        assert_eq!((image.len(), image.bytes().len()), (8192, 0));
        file.rewind().expect("a file");
        file.write_all(&[9; 4096]).expect("room for 4 KiB");
        image.publish(4096);
        assert_eq!(image.bytes(), [9; 4096]);
    }

    #[test]
    fn what_was_written_is_in_memory_and_a_hole_is_not() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.set_len(400 << 10).expect("a hole");
        file.write_all(&[7; 300 << 10]).expect("room for 300 KiB");
        let map = MmapOptions::new().map_raw_read_only(&file).expect("a mapping");
        let mut pages = [0; 100];
        let pages = pages_in_memory(&map, 0..400 << 10, &mut pages).expect("the kernel tells");
        assert_eq!(pages.iter().position(|page| page & 1 == 0), Some(75));
        let image = Image::map(&file).expect("a mapping");
        image.note_those_in_memory(&map, 1, 7);
        let seen: Vec<u32> = image.seen.iter().map(|seen| seen.load(Ordering::Relaxed)).collect();
        assert_eq!(seen, [NEVER, 7, 7, 7, NEVER, NEVER, NEVER]);
        assert!(advise(&map, 0..400 << 10));
    }
}
