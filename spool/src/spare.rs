//! The spare segment: the file of one that is done with, kept to write the next one over it. Space that was written before costs
//! less to write again: the file system has nothing to note down in a sync but the bytes, and the pages are there already. It
//! refuses a file that anybody still maps.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::SpoolError;
use crate::layout::SegmentHeader;
use crate::mmap::Image;
use crate::segment::{Made, Place, Segment};

/// How the name of the file ends, beside the segments.
const SPARE: &str = "spare";

/// What is known of the spare segment of a log.
#[derive(Debug)]
pub(crate) struct Spare {
    state: Mutex<State>,
    /// No other log has the same: what an earlier one has begun in this process may still go on.
    name: String,
}

/// Whose the name of the spare segment is.
#[derive(Debug)]
enum State {
    /// There is no such file, or one that nobody needs.
    Absent,
    /// It may be written over once this segment is let go of by all who read it.
    Offered(Weak<Segment>),
    /// It is being written over; until it has its new name no other may become the spare one.
    InWork,
}

impl Default for Spare {
    fn default() -> Self {
        let name = format!("{:016x}.{SPARE}", RandomState::new().hash_one(SPARE));
        Self { state: Mutex::new(State::Absent), name }
    }
}

impl Spare {
    /// Whether there is none.
    fn is_absent(&self) -> bool {
        matches!(*self.state(), State::Absent)
    }

    /// Takes it into work, if nobody reads it any more.
    fn take(&self) -> bool {
        let mut state = self.state();
        let is_free = matches!(&*state, State::Offered(segment) if segment.strong_count() == 0);
        if is_free {
            // What the last reader did comes before what is done now: the count alone does not say so.
            fence(Ordering::Acquire);
            *state = State::InWork;
        }
        is_free
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A state is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes the file of `segment` out of the log: it becomes the spare one if `may_be_spared` and there is none, else it is
    /// removed. Readers that still map it keep their view. Says whether it is to be offered by [`Place::offer`] when the
    /// change of names is durable.
    pub(crate) fn retire(&self, segment: &Segment, may_be_spared: bool) -> Result<bool, SpoolError> {
        if may_be_spared
            && segment.may_be_written_over()
            && self.spare.is_absent()
            && self.disk.writes_in_place(&self.directory)
        {
            // Of one that could not be offered; most often there is none.
            let _ = self.disk.remove(&self.spare_path());
            if self.disk.rename(segment.path(), &self.spare_path()).is_ok() {
                return Ok(true);
            }
        }
        self.remove(segment).map(|()| false)
    }

    /// What was retired may be written over as soon as nobody reads it any more.
    pub(crate) fn offer(&self, retired: &Arc<Segment>) {
        *self.spare.state() = State::Offered(Arc::downgrade(retired));
    }

    /// Removes the spare segment because its space is needed, unless it is being written over.
    pub(crate) fn spare_no_more(&self) {
        let mut state = self.spare.state();
        if !matches!(*state, State::InWork) {
            // Best effort: it is in nobody's way. Most often there is none.
            let _ = self.disk.remove(&self.spare_path());
            *state = State::Absent;
        }
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

    /// Makes a segment of the spare one; `None` when there is none that is free and of its size, or the disk will not.
    pub(crate) fn recycle(&self, header: SegmentHeader) -> Option<Made> {
        if !self.spare.take() {
            return None;
        }
        let made = self.write_over(header.over_an_old_one());
        if made.is_err() {
            // Best effort, as above.
            let _ = self.disk.remove(&self.spare_path());
        }
        *self.spare.state() = State::Absent;
        made.ok()
    }

    fn write_over(&self, header: SegmentHeader) -> io::Result<Made> {
        let (spare, path) = (self.spare_path(), self.path_of(header.sequence));
        let file = self.disk.open(&spare)?;
        if file.metadata()?.len() != header.capacity {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // All of its space is there already; this makes sure of it.
        self.disk.reserve(&file, header.capacity)?;
        self.disk.write(&file, &header.to_page(), 0)?;
        // Before it has the name of a segment, or a power cut could bring the old one back under that name.
        if self.on_disk {
            self.disk.sync(&file)?;
        }
        let image = Image::map(&file)?;
        // A write to part of a page that is not in memory would have to read it first.
        if !image.populate(0..image.len()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.disk.rename(&spare, &path)?;
        let segment = Arc::new(Segment::made(header, image, path));
        if let Err(error) = self.sync_directory() {
            // Best effort: recovery also removes a segment without records.
            let _ = self.remove(&segment);
            return Err(io::Error::other(error));
        }
        Ok(Made { segment, file: Arc::new(file) })
    }

    fn spare_path(&self) -> PathBuf {
        self.directory.join(&self.spare.name)
    }
}
