//! One segment file: created preallocated, opened, sealed, removed. It refuses to write what is in it; the log does.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rkyv::util::AlignedVec;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::encode::Encoder;
use crate::error::SpoolError;
use crate::layout::{FORMAT_VERSION, FirstPage, Kind, RECORDS_START, SegmentHeader};
use crate::mmap::Image;
use crate::planted::{self, Bug};
use crate::stored::StoredTotals;

/// Name of the directory for bytes that recovery could not believe, beside the segments.
pub(crate) const QUARANTINE: &str = "quarantine";
/// How much is written or read at once where a whole file is gone through.
const CHUNK_BYTES: usize = 1 << 20;

/// A segment for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    header: SegmentHeader,
    image: Image,
    path: PathBuf,
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
    /// Creates the file with all its space, writes its header and makes its name durable when `sync` says so. A
    /// file that could not be given its space is removed again.
    pub(crate) fn create(
        directory: &Path,
        header: SegmentHeader,
        sync: bool,
    ) -> Result<(Self, File), SpoolError> {
        let mut header = header;
        (header.identity, header.created_ms) = (random(header.sequence), now_ms());
        let path = directory.join(file_name(header.sequence));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| SpoolError::io("create", &path, error))?;
        let made = prepare(&file, &header).and_then(|()| Image::map(&file));
        let named =
            made.and_then(|image| if sync { sync_directory(directory).map(|()| image) } else { Ok(image) });
        match named {
            Ok(image) => {
                image.publish(RECORDS_START);
                Ok((Self { header, image, path }, file))
            }
            Err(error) => {
                // Best effort: recovery also removes a segment without records.
                let _ = fs::remove_file(&path);
                Err(SpoolError::io("preallocate", &path, error))
            }
        }
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
        Ok(Opened::Segment(Self { header, image, path: path.to_owned() }))
    }

    /// Reads a file into memory instead of mapping it: neither a sick disk nor a change under way can hurt the
    /// reader. Stretches that cannot be read appear as zeros.
    pub(crate) fn copy(path: &Path) -> Result<(FirstPage, Option<Self>), SpoolError> {
        let file = File::open(path).map_err(|error| SpoolError::io("open", path, error))?;
        let bytes = read_whole(&file).map_err(|error| SpoolError::io("read", path, error))?;
        let page = SegmentHeader::from_page(&bytes[..bytes.len().min(RECORDS_START)]);
        let FirstPage::Segment(header) = page else { return Ok((page, None)) };
        Ok((page, Some(Self { header, image: Image::copied(bytes), path: path.to_owned() })))
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Position behind the last visible byte.
    pub(crate) fn published(&self) -> u64 {
        self.header.base + self.image.published() as u64
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
    /// makes it and everything before it durable when `sync` says so. Must not be called while `offset` is visible.
    pub(crate) fn seal(&self, offset: usize, sync: bool) -> Result<(), SpoolError> {
        let failed = |error| SpoolError::io("seal", &self.path, error);
        let file = OpenOptions::new().write(true).open(&self.path).map_err(failed)?;
        let mut encoder = Encoder::new(self.header.base + offset as u64, self.header.identity);
        let end = encoder.end_record()?;
        let behind = offset as u64 + end.span;
        if behind > self.header.capacity {
            return Ok(());
        }
        file.write_all_at(encoder.bytes(), offset as u64).map_err(failed)?;
        let length = (self.image.len() as u64).saturating_sub(behind);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if length > 0 && fallocate(&file, hole, behind, length).is_err() {
            // A file system without holes: what lies behind must still not look like records.
            zero(&file, behind, length).map_err(failed)?;
        }
        if sync { file.sync_data().map_err(failed) } else { Ok(()) }
    }

    /// Removes the file; readers that still map it keep their view.
    pub(crate) fn remove(&self) -> Result<(), SpoolError> {
        fs::remove_file(&self.path).map_err(|error| SpoolError::io("remove", &self.path, error))
    }
}

impl Encoder {
    /// Appends the record that ends a segment.
    pub(crate) fn end_record(&mut self) -> Result<crate::encode::Placed, SpoolError> {
        self.record(Kind::End, &(), &[])
    }

    /// Appends the record that begins a segment.
    pub(crate) fn totals(
        &mut self,
        ledger: &mail::Ledger,
        opening: bool,
    ) -> Result<crate::encode::Placed, SpoolError> {
        self.record(Kind::Totals, &StoredTotals::of(ledger, opening), &[])
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

/// Makes creations and removals in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    if planted::is(Bug::NoDirectorySync) {
        return Ok(());
    }
    File::open(directory)?.sync_all()
}

fn sequence_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    if name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse().ok() } else { None }
}

fn file_name(sequence: u64) -> String {
    format!("{sequence:010}.seg")
}

fn prepare(file: &File, header: &SegmentHeader) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, header.capacity) {
        Ok(()) => {}
        // A file system without preallocation: write the space, so that it is really there.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => zero(file, 0, header.capacity)?,
        Err(error) => return Err(error.into()),
    }
    file.write_all_at(&header.to_page(), 0)
}

fn zero(file: &File, from: u64, length: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < from + length {
        let bytes = usize::try_from(from + length - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        file.write_all_at(&zeros[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
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
            // A sick stretch of the disk: leave zeros, which no checksum fits, and go on behind it.
            Err(_) => at = until,
        }
    }
    Ok(whole)
}

/// A number that nobody can guess and that no two segments share: the standard library's hasher is seeded by the
/// system's random source.
fn random(sequence: u64) -> u64 {
    RandomState::new().hash_one((sequence, now_ms()))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
