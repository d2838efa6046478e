//! Looking into a spool from outside: read-only, also into a damaged one, also beside a running engine. It takes no
//! lock, copies segments into memory instead of mapping them, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mail::{RecordId, UnixMs};

use crate::error::SpoolError;
use crate::layout::{FirstPage, Kind, RECORDS_START, span};
use crate::scan::{Ending, Found, Scanner, Verify};
use crate::segment::{Segment, list};
use crate::view::{self, ContentRef, RecordRef};

/// The segment files of a spool in order: shard by shard, oldest first. `directory` is a data directory, its `spool`
/// directory, or the directory of one shard.
///
/// # Errors
/// [`SpoolError::Io`] when a directory cannot be read.
pub fn segment_files(directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let below = directory.join("spool");
    let root = if below.is_dir() { below } else { directory.to_owned() };
    let failed = |error| SpoolError::io("list", &root, error);
    let mut shards = Vec::new();
    for entry in fs::read_dir(&root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let shard = path.file_name().and_then(|name| name.to_str()?.parse::<u8>().ok());
        if let Some(shard) = shard.filter(|_| path.is_dir()) {
            shards.push((shard, path));
        }
    }
    shards.sort_unstable();
    let mut files = Vec::new();
    for directory in shards.iter().map(|(_, path)| path.as_path()).chain([root.as_path()]) {
        files.extend(list(directory)?.into_iter().map(|(_, path)| path));
    }
    Ok(files)
}

/// What a segment file is by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// A segment of this format or an older one.
    Segment {
        /// Whose log it belongs to.
        shard: u8,
        /// Its place in the log.
        sequence: u64,
        /// The position of its first byte.
        base: u64,
        /// How many positions it takes up.
        capacity: u64,
        /// When it was created.
        created: UnixMs,
    },
    /// Of a newer format.
    Newer(u16),
    /// Created, but nothing was written before a crash.
    Blank,
    /// Its header is damaged.
    Unreadable,
}

/// A copy of one segment, to be looked through.
#[derive(Debug)]
pub struct Inspection {
    state: FileState,
    segment: Option<Arc<Segment>>,
}

impl Inspection {
    /// Reads the file at `path` into memory.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when it cannot be read at all; damage is no error.
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        let (page, segment) = Segment::copy(path)?;
        let state = match page {
            FirstPage::Segment(header) => FileState::Segment {
                shard: header.shard,
                sequence: header.sequence,
                base: header.base,
                capacity: header.capacity,
                created: UnixMs(header.created_ms),
            },
            FirstPage::Newer(version) => FileState::Newer(version),
            FirstPage::Blank => FileState::Blank,
            FirstPage::Unreadable => FileState::Unreadable,
        };
        Ok(Self { state, segment: segment.map(Arc::new) })
    }

    /// What the header says.
    #[must_use]
    pub fn state(&self) -> FileState {
        self.state
    }

    /// Everything in the segment in order, whole or not; both checksums of each record are verified. Empty when the
    /// header cannot be read.
    pub fn entries(&self) -> Entries<'_> {
        let scanner = self.segment.as_ref().map(|segment| {
            let bytes = segment.image().bytes();
            (segment, Scanner::new(segment.header(), bytes, RECORDS_START, Verify::All))
        });
        Entries { scanner }
    }

    /// Counts what is in the segment.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for entry in self.entries() {
            match entry.what {
                What::Record(kind, _) => {
                    *summary.records.entry(kind).or_default() += 1;
                    summary.bytes += entry.bytes;
                }
                What::Damaged(why) => summary.damaged.push((entry.id, entry.bytes, why)),
                What::Torn(why) => summary.torn = Some((entry.id, entry.bytes, why)),
                What::End => summary.complete = true,
            }
        }
        summary
    }
}

/// What a segment holds, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whole records of each kind.
    pub records: BTreeMap<Kind, u64>,
    /// Their bytes.
    pub bytes: u64,
    /// Where damage is, how many bytes, and what is wrong.
    pub damaged: Vec<(RecordId, u64, String)>,
    /// The same for the end, when it is no record: torn by a crash, or being written now.
    pub torn: Option<(RecordId, u64, String)>,
    /// The segment was filled or closed: nothing will follow in it.
    pub complete: bool,
}

/// The entries of one segment, in order.
#[derive(Debug)]
pub struct Entries<'a> {
    /// `None` when there is nothing more.
    scanner: Option<(&'a Arc<Segment>, Scanner<'a>)>,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (segment, scanner) = self.scanner.as_mut()?;
        if let Some(found) = scanner.next() {
            return Some(entry(segment, found));
        }
        let ending = scanner.ending();
        let id = RecordId::new(segment.header().shard, segment.header().base + ending.offset() as u64);
        self.scanner = None;
        match ending {
            Ending::Sealed(_) => Some(Entry { id, bytes: span(0, 0), what: What::End, content: None }),
            Ending::Torn { bytes, flaw, .. } => {
                let what = What::Torn(flaw.describe());
                Some(Entry { id, bytes: bytes as u64, what, content: None })
            }
            Ending::Open(_) => None,
        }
    }
}

/// Something in a segment.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it stands: shard and position.
    pub id: RecordId,
    /// How many bytes it takes.
    pub bytes: u64,
    /// What it is.
    pub what: What,
    /// The content with its body, for contents (also carried ones).
    pub content: Option<ContentRef>,
}

/// What stands at a place of a segment.
#[derive(Clone, Debug)]
pub enum What {
    /// A whole record of a kind.
    Record(Kind, RecordRef),
    /// Bytes that cannot be believed, with records behind them; and why.
    Damaged(String),
    /// Bytes at the end that are no record: a write that a crash cut short, or one under way.
    Torn(String),
    /// The segment is complete.
    End,
}

fn entry(segment: &Arc<Segment>, found: Found) -> Entry {
    let header = segment.header();
    let at = |offset: usize| RecordId::new(header.shard, header.base + offset as u64);
    match found {
        Found::Damaged { offset, bytes, flaw } => {
            Entry { id: at(offset), bytes: bytes as u64, what: What::Damaged(flaw.describe()), content: None }
        }
        Found::Record(raw) => {
            let content = match raw.kind {
                Kind::Content | Kind::MovedContent => view::content(segment, &raw).map(view::with_body),
                _ => None,
            };
            let what = match view::record(segment, &raw) {
                Some(record) => What::Record(raw.kind, record),
                None => What::Damaged(format!("the head of this {} record is not one", raw.kind.name())),
            };
            Entry { id: at(raw.offset), bytes: raw.span, what, content }
        }
    }
}
