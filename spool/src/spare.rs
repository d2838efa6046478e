//! The spare segments: files of segments that are done with, kept with their maps to write the next ones over them. Space that
//! was written before costs less to write again: the file system has nothing to note down in a sync but the bytes, and the
//! pages are there already, also in the map. It refuses a file that anybody still reads.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::SpoolError;
use crate::layout::SegmentHeader;
use crate::mmap::Image;
use crate::segment::{Made, Place, Segment};

/// How the names of the files end, beside the segments.
const SPARE: &str = "spare";
/// All of them together take at most this part of what the disk has free: others may need it, and do not tell.
const FREE_SHARE: u64 = 8;

/// The spare segments of a log.
#[derive(Debug)]
pub(crate) struct Spares {
    /// In the order in which they were retired: of the last one most is still in the caches.
    offered: Mutex<Vec<Spare>>,
    /// The size of all of them.
    capacity: u64,
    /// How many are kept.
    count_max: usize,
}

/// A segment that is not in the log any more, whose file has a name of its own.
#[derive(Debug)]
pub(crate) struct Spare {
    /// Readers may have it too.
    segment: Arc<Segment>,
    path: PathBuf,
}

impl Spares {
    /// None yet, and never more of `capacity` bytes each than fit into `bytes_max`.
    pub(crate) fn new(capacity: u64, bytes_max: u64) -> Self {
        let count_max = usize::try_from(bytes_max / capacity).unwrap_or(usize::MAX);
        Self { offered: Mutex::default(), capacity, count_max }
    }

    /// Whether `segment` may become one.
    fn takes(&self, segment: &Segment) -> bool {
        self.count_max > 0 && segment.may_be_written_over() && segment.header().capacity == self.capacity
    }

    /// The one that was retired last of those that nobody reads any more, with the name of its file.
    fn take(&self) -> Option<(Segment, PathBuf)> {
        let mut offered = self.offered();
        let free = offered.iter().rposition(|spare| Arc::strong_count(&spare.segment) == 1)?;
        let Spare { segment, path } = offered.remove(free);
        // It was the only one, so nobody can have made another of it meanwhile. And what the last reader did comes before
        // what is done now: the count alone would not say so.
        Some((Arc::into_inner(segment)?, path))
    }

    fn offered(&self) -> MutexGuard<'_, Vec<Spare>> {
        // Nothing that is done under the lock leaves it half done.
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes the file of `segment` out of the log: it becomes a spare one if `may_be_spared`, else it is removed. Readers keep
    /// their view. A spare one is for [`Place::offer`] when the change of names is durable.
    pub(crate) fn retire(
        &self,
        segment: &Arc<Segment>,
        may_be_spared: bool,
    ) -> Result<Option<Spare>, SpoolError> {
        if may_be_spared && self.spares.takes(segment) && self.disk.writes_in_place(&self.directory) {
            let path = self.directory.join(new_name());
            if self.disk.rename(segment.path(), &path).is_ok() {
                return Ok(Some(Spare { segment: Arc::clone(segment), path }));
            }
        }
        self.remove(segment).map(|()| None)
    }

    /// What was retired may be written over as soon as nobody reads it any more. Yields as [`Place::spare_fewer`].
    pub(crate) fn offer(&self, spare: Spare) -> Vec<Arc<Segment>> {
        self.spares.offered().push(spare);
        self.spare_fewer()
    }

    /// Removes those that were retired first when there are too many, or the disk has little free. Yields what is still mapped
    /// of them.
    pub(crate) fn spare_fewer(&self) -> Vec<Arc<Segment>> {
        if self.spares.offered().is_empty() {
            return Vec::new();
        }
        let free = self.disk.free(&self.directory).unwrap_or(0);
        let room = usize::try_from(free / FREE_SHARE / self.spares.capacity).unwrap_or(usize::MAX);
        let mut offered = self.spares.offered();
        let too_many = offered.len().saturating_sub(self.spares.count_max.min(room));
        let gone: Vec<_> = offered.drain(..too_many).collect();
        drop(offered);
        gone.into_iter().map(|spare| self.discard(spare)).collect()
    }

    /// Removes a spare segment, and yields what is still mapped of it.
    pub(crate) fn discard(&self, spare: Spare) -> Arc<Segment> {
        // Best effort: it is in nobody's way, and the next start removes it.
        let _ = self.disk.remove(&spare.path);
        spare.segment
    }

    /// Removes the spare segments because their space is needed, unless they are being written over. Yields what is still
    /// mapped of them.
    pub(crate) fn spare_no_more(&self) -> Vec<Arc<Segment>> {
        let spares = std::mem::take(&mut *self.spares.offered());
        spares.into_iter().map(|spare| self.discard(spare)).collect()
    }

    /// Removes what logs before this one have left. Nobody needs a spare segment.
    pub(crate) fn remove_spares(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let paths = entries.flatten().map(|entry| entry.path());
        for path in paths.filter(|path| path.extension().is_some_and(|ending| ending == SPARE)) {
            // Best effort, as above.
            let _ = self.disk.remove(&path);
        }
    }

    /// Makes a segment of a spare one; `None` when there is none that is free and of its size, or the disk will not.
    pub(crate) fn recycle(&self, header: SegmentHeader) -> Option<Made> {
        if header.capacity != self.spares.capacity {
            return None;
        }
        let (segment, spare) = self.spares.take()?;
        let made = self.write_over(&spare, segment.into_image().hidden(), header.over_an_old_one());
        if made.is_err() {
            // Best effort, as above.
            let _ = self.disk.remove(&spare);
        }
        made.ok()
    }

    /// Makes the file named `spare`, of which `image` is the map, the segment with `header`.
    fn write_over(&self, spare: &Path, image: Image, header: SegmentHeader) -> io::Result<Made> {
        let path = self.path_of(header.sequence);
        let file = self.disk.open(spare)?;
        if file.metadata()?.len() != header.capacity {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // All of its space is there already; this makes sure of it.
        self.disk.reserve(&file, header.capacity)?;
        let page = header.to_page();
        self.disk.write(&file, &page, 0)?;
        // Before it has the name of a segment, or a power cut could bring the old one back under that name.
        if self.on_disk {
            self.disk.sync(&file)?;
        }
        // A write to part of a page that is not in memory would have to read it first.
        if !image.populate(0..image.len()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let segment = Arc::new(Segment::made(header, image, path));
        // Its identity is random: so the map is of this very file, and not of one that somebody has put in its place.
        if segment.bytes() != page {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.disk.rename(spare, segment.path())?;
        if let Err(error) = self.sync_directory() {
            // Best effort: recovery also removes a segment without records.
            let _ = self.remove(&segment);
            return Err(io::Error::other(error));
        }
        Ok(Made { segment, file: Arc::new(file) })
    }
}

/// A name that no other file has, nor one of another log: what an earlier one has begun in this process may still go on.
fn new_name() -> String {
    format!("{:016x}.{SPARE}", RandomState::new().hash_one(SPARE))
}
