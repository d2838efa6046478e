//! One segment file and the place where segments are made: created preallocated, opened, sealed, removed. It refuses to
//! write what is in it; the log does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rkyv::util::AlignedVec;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::disk::{Disk, zero};
use crate::encode::Encoder;
use crate::error::SpoolError;
use crate::layout::{FORMAT_VERSION, FirstPage, Kind, RECORDS_START, SEGMENT_BYTES_MIN, SegmentHeader};
use crate::mmap::Image;
use crate::planted::{self, Bug};
use crate::spare::Spares;
use crate::stored::{StoredCut, StoredTotals};

/// Name of the directory for bytes that recovery could not believe, beside the segments.
pub(crate) const QUARANTINE: &str = "quarantine";
/// Name of the file that keeps space for a start on a full disk.
const RESERVE: &str = "reserve";
/// Its size: room for the outcomes of some thousand recipients.
const RESERVE_BYTES: u64 = 1 << 20;
/// How much is written or read at once where a whole file is gone through.
const CHUNK_BYTES: usize = 1 << 20;
/// What a disk can or cannot give at once.
const PAGE_BYTES: usize = 4096;

/// A segment for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    header: SegmentHeader,
    image: Image,
    path: PathBuf,
    /// Records from this position on count for nothing, though they are there: a write or sync failed before they were
    /// durable, and the log went on elsewhere.
    void_from: AtomicU64,
    /// It was made by this log, so nobody else can have mapped it.
    is_own: bool,
}

/// How long ago a segment was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Its pages are in memory, once they have been there.
    Recent,
    /// The kernel may have let go of its pages.
    Old,
}

/// Where segments are made.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    /// Whether what is changed must be made durable.
    pub(crate) on_disk: bool,
    /// Old segments that the next ones may be written over.
    pub(crate) spares: Arc<Spares>,
}

/// A segment with its file, open for writing.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<File>,
}

/// What a file in the spool's directory is.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A segment, mapped; nothing of it is visible yet.
    Segment(Segment),
    /// Created, but nothing of it reached the disk before a crash.
    Blank,
    /// Neither copy of its header is whole.
    Unreadable,
}

impl Segment {
    fn new(header: SegmentHeader, image: Image, path: PathBuf) -> Self {
        Self { header, image, path, void_from: AtomicU64::new(u64::MAX), is_own: false }
    }

    /// One that was made just now.
    pub(crate) fn made(header: SegmentHeader, image: Image, path: PathBuf) -> Self {
        image.publish(RECORDS_START);
        Self { is_own: true, ..Self::new(header, image, path) }
    }

    /// Opens and maps an existing file of the log of `shard`.
    pub(crate) fn open(path: &Path, shard: u8) -> Result<Opened, SpoolError> {
        let file = File::open(path).map_err(|error| SpoolError::io("open", path, error))?;
        let page = first_page(&file).map_err(|error| SpoolError::io("read", path, error))?;
        let header = match SegmentHeader::from_page(&page) {
            FirstPage::Segment(header) => header,
            FirstPage::Newer(found) => {
                return Err(SpoolError::Newer { path: path.to_owned(), found, known: FORMAT_VERSION });
            }
            FirstPage::Blank => return Ok(Opened::Blank),
            FirstPage::Unreadable => return Ok(Opened::Unreadable),
        };
        if header.shard != shard {
            return Err(SpoolError::WrongShard { path: path.to_owned(), found: header.shard, shard });
        }
        let image = Image::map(&file).map_err(|error| SpoolError::io("map", path, error))?;
        Ok(Opened::Segment(Self::new(header, image, path.to_owned())))
    }

    /// Reads a file into memory instead of mapping it: neither a sick disk nor a change under way can hurt the
    /// reader. Stretches that cannot be read appear as zeros.
    pub(crate) fn copy(path: &Path) -> Result<(FirstPage, Option<Self>), SpoolError> {
        let file = File::open(path).map_err(|error| SpoolError::io("open", path, error))?;
        let bytes = read_whole(&file).map_err(|error| SpoolError::io("read", path, error))?;
        let page = SegmentHeader::from_page(&bytes[..bytes.len().min(RECORDS_START)]);
        let FirstPage::Segment(header) = page else { return Ok((page, None)) };
        Ok((page, Some(Self::new(header, Image::copied(bytes), path.to_owned()))))
    }

    /// A segment that is no file.
    pub(crate) fn in_memory(header: SegmentHeader, bytes: AlignedVec<16>) -> Self {
        Self::new(header, Image::copied(bytes), PathBuf::new())
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// What is left of it when nobody reads it any more.
    pub(crate) fn into_image(self) -> Image {
        self.image
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Position behind the last visible byte that counts.
    pub(crate) fn published(&self) -> u64 {
        (self.header.base + self.image.published() as u64).min(self.void_from())
    }

    /// Records from `position` on do not count.
    pub(crate) fn make_void(&self, position: u64) {
        self.void_from.fetch_min(position, Ordering::AcqRel);
    }

    /// Whether another segment may be written over it: it is this log's own, nothing of it failed, and all of its space is still
    /// there.
    pub(crate) fn may_be_written_over(&self) -> bool {
        self.is_own && self.void_from() == u64::MAX
    }

    /// The position from which on records do not count; the largest number when all do.
    pub(crate) fn void_from(&self) -> u64 {
        self.void_from.load(Ordering::Acquire)
    }

    /// Whether the bytes of `range` can be read: false when the disk does not give them, so that looking there through
    /// the map would end the process.
    pub(crate) fn can_read(&self, range: Range<usize>, age: Age) -> bool {
        match age {
            Age::Old => self.image.populate(range),
            Age::Recent => self.image.populate_once(range),
        }
    }

    /// The visible bytes that count.
    pub(crate) fn bytes(&self) -> &[u8] {
        let bytes = self.image.bytes();
        let counting = self.void_from().saturating_sub(self.header.base);
        &bytes[..bytes.len().min(usize::try_from(counting).unwrap_or(usize::MAX))]
    }

    /// Offset in this segment of a position in the log.
    pub(crate) fn offset(&self, position: u64) -> Option<usize> {
        let inside = (self.header.base..self.header.end()).contains(&position);
        if inside { usize::try_from(position - self.header.base).ok() } else { None }
    }

    /// The part of the mapping that can hold anything: behind the last written byte there are only zeros, which
    /// need not be looked at.
    pub(crate) fn written_bytes(&self) -> Result<usize, SpoolError> {
        let file = File::open(&self.path).map_err(|error| SpoolError::io("read", &self.path, error))?;
        Ok(data_end(&file, self.image.len()))
    }

    /// Ends a segment that a crash left open: writes an End record at `offset`, gives the space behind it back, and
    /// makes it and everything before it durable. Must not be called while `offset` is visible.
    pub(crate) fn seal(&self, offset: usize, place: &Place) -> Result<(), SpoolError> {
        let failed = |error| SpoolError::io("seal", &self.path, error);
        let file = OpenOptions::new().read(true).write(true).open(&self.path).map_err(failed)?;
        let mut encoder = Encoder::new(self.header.base + offset as u64, self.header.identity);
        let end = encoder.end_record()?;
        let behind = offset as u64 + end.span;
        if behind > self.header.capacity {
            return Ok(());
        }
        place.disk.write(&file, encoder.bytes(), offset as u64).map_err(failed)?;
        let length = (self.image.len() as u64).saturating_sub(behind);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if length > 0 && fallocate(&file, hole, behind, length).is_err() {
            // A file system without holes: what lies behind must still not look like records.
            zero(place.disk.as_ref(), &file, behind, length).map_err(failed)?;
        }
        if place.on_disk { place.disk.sync(&file).map_err(failed) } else { Ok(()) }
    }
}

impl Place {
    /// Makes a segment: over a spare one, if one is free, else a new file.
    pub(crate) fn create(&self, header: SegmentHeader) -> Result<Made, SpoolError> {
        self.recycle(header).map_or_else(|| self.create_file(header), Ok)
    }

    /// Creates a segment with all its space, writes its header and makes its name durable. A file that could not be
    /// given its space is removed again.
    fn create_file(&self, header: SegmentHeader) -> Result<Made, SpoolError> {
        let path = self.path_of(header.sequence);
        let file = self.disk.create(&path).map_err(|error| SpoolError::io("create", &path, error))?;
        let prepared = self.prepare(&file, &header);
        match prepared.and_then(|()| Image::map(&file)) {
            Ok(image) => {
                let segment = Arc::new(Segment::made(header, image, path));
                Ok(Made { segment, file: Arc::new(file) })
            }
            Err(error) => {
                // Best effort: recovery also removes a segment without records.
                let _ = self.disk.remove(&path);
                Err(SpoolError::io("preallocate", &path, error))
            }
        }
    }

    /// The same, if at least `min_free` bytes of the disk stay free. A spare one takes up no room that it has not already.
    pub(crate) fn create_with_room(&self, header: SegmentHeader, min_free: u64) -> Result<Made, SpoolError> {
        if let Some(made) = self.recycle(header) {
            return Ok(made);
        }
        let free = self.disk.free(&self.directory);
        let free = free.map_err(|error| SpoolError::io("measure", &self.directory, error))?;
        if min_free > 0 && free < min_free.saturating_add(header.capacity) {
            return Err(SpoolError::NoRoom { free, segment: header.capacity, min_free });
        }
        self.create_file(header)
    }

    /// The same; when the disk is full a smaller one, as long as it has room for `needed` bytes: outcomes of mail that
    /// leaves can then still be recorded, and reclaim can work.
    pub(crate) fn create_or_smaller(
        &self,
        mut header: SegmentHeader,
        needed: u64,
    ) -> Result<Made, SpoolError> {
        loop {
            let error = match self.create(header) {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            let page = RECORDS_START as u64;
            header.capacity = header.capacity / 4 / page * page;
            if !error.is_disk_full() || header.capacity < needed.max(SEGMENT_BYTES_MIN) {
                return Err(error);
            }
        }
    }

    /// Keeps some space of its own on the disk, so that an engine can start when there is no other: best effort.
    pub(crate) fn keep_reserve(&self, capacity: u64) {
        let path = self.directory.join(RESERVE);
        let Ok(file) = self.disk.create(&path) else { return };
        if self.disk.reserve(&file, capacity.min(RESERVE_BYTES)).is_err() {
            let _ = self.disk.remove(&path);
        }
    }

    /// Gives that space back; false when there was none.
    pub(crate) fn use_reserve(&self) -> bool {
        self.disk.remove(&self.directory.join(RESERVE)).is_ok()
    }

    /// Whether something stands at the place of a segment.
    pub(crate) fn is_taken(&self, sequence: u64) -> bool {
        self.path_of(sequence).exists()
    }

    /// Removes the file of a segment; readers that still map it keep their view.
    pub(crate) fn remove(&self, segment: &Segment) -> Result<(), SpoolError> {
        self.disk.remove(&segment.path).map_err(|error| SpoolError::io("remove", &segment.path, error))
    }

    /// Makes creations and removals durable, if anything is.
    pub(crate) fn sync_directory(&self) -> Result<(), SpoolError> {
        self.sync_names(&self.directory)
    }

    /// The same for another directory.
    pub(crate) fn sync_names(&self, directory: &Path) -> Result<(), SpoolError> {
        if !self.on_disk || planted::is(Bug::NoDirectorySync) {
            return Ok(());
        }
        self.disk.sync_directory(directory).map_err(|error| SpoolError::io("sync", directory, error))
    }

    pub(crate) fn path_of(&self, sequence: u64) -> PathBuf {
        self.directory.join(format!("{sequence:010}.seg"))
    }

    fn prepare(&self, file: &File, header: &SegmentHeader) -> io::Result<()> {
        self.disk.reserve(file, header.capacity)?;
        self.disk.write(file, &header.to_page(), 0)?;
        if !self.on_disk || planted::is(Bug::NoDirectorySync) {
            return Ok(());
        }
        self.disk.sync_directory(&self.directory)
    }
}

impl Encoder {
    /// Appends the record that ends a segment.
    pub(crate) fn end_record(&mut self) -> Result<crate::encode::Placed, SpoolError> {
        self.record(Kind::End, &(), &[])
    }

    /// Appends the totals, with which a segment begins.
    pub(crate) fn totals(
        &mut self,
        ledger: &mail::Ledger,
        opening: bool,
    ) -> Result<crate::encode::Placed, SpoolError> {
        self.record(Kind::Totals, &StoredTotals::of(ledger, opening), &[])
    }

    /// Appends the record that makes everything between `from` and this segment count for nothing.
    pub(crate) fn cut_record(&mut self, from: u64) -> Result<crate::encode::Placed, SpoolError> {
        self.record(Kind::Cut, &StoredCut { from }, &[])
    }
}

/// The segment files in `directory` with their sequence numbers, in order.
pub(crate) fn list(directory: &Path) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    let failed = |error| SpoolError::io("list", directory, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(sequence) = sequence_of(&path) {
            found.push((sequence, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn sequence_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    if name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse().ok() } else { None }
}

fn first_page(file: &File) -> io::Result<Vec<u8>> {
    let mut page = vec![0; RECORDS_START];
    let mut filled = 0;
    while filled < page.len() {
        match file.read_at(&mut page[filled..], filled as u64)? {
            0 => break,
            bytes => filled += bytes,
        }
    }
    page.truncate(filled);
    Ok(page)
}

/// Where the last stretch of written bytes ends; `length` where the file system cannot tell.
fn data_end(file: &File, length: usize) -> usize {
    let mut end = 0;
    loop {
        let data = match seek(file, SeekFrom::Data(end)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return usize::try_from(end).unwrap_or(usize::MAX).min(length),
            Err(_) => return length,
        };
        match seek(file, SeekFrom::Hole(data)) {
            Ok(hole) if hole > end => end = hole,
            _ => return length,
        }
    }
}

/// Reads `bytes` at `at` page by page, as far as a page cannot be read, which is left as it is. Yields how far it came.
fn read_pages(file: &File, bytes: &mut [u8], at: usize) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        let page = PAGE_BYTES.min(bytes.len() - done);
        let read = file.read_exact_at(&mut bytes[done..done + page], (at + done) as u64);
        done += page;
        if read.is_err() {
            break;
        }
    }
    done
}

/// Everything up to the last written byte.
fn read_whole(file: &File) -> io::Result<AlignedVec<16>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let length = data_end(file, length);
    let mut whole = AlignedVec::new();
    whole.resize(length, 0);
    let mut at = 0;
    while at < length {
        let until = length.min(at + CHUNK_BYTES);
        match file.read_at(&mut whole.as_mut_slice()[at..until], at as u64) {
            Ok(0) => break,
            Ok(bytes) => at += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A sick stretch of the disk: leave zeros, which no checksum fits, and go on behind its page.
            Err(_) if until - at <= PAGE_BYTES => at = until,
            Err(_) => at += read_pages(file, &mut whole.as_mut_slice()[at..until], at),
        }
    }
    Ok(whole)
}
