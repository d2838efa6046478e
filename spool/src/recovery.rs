//! Opening a log: every segment is checked record by record, the books are rebuilt from what is whole, torn ends are
//! cut, damage is kept aside and reported, and a new segment begins. No bytes make it panic, and nothing is changed
//! before every segment has been found to be of a format this program knows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mail::{Ledger, RecordId};

use crate::books::{Books, Campaign, Retry};
use crate::disk::{Disk, LocalDisk};
use crate::error::SpoolError;
use crate::layout::{FORMAT_VERSION, Kind, RECORDS_START, span};
use crate::lock::try_lock;
use crate::log::{Log, Start};
use crate::options::Options;
use crate::poison::{POISON, Watch};
use crate::reader::{Segments, recipient_at};
use crate::record::{CampaignState, ContentKind};
use crate::scan::{Ending, Flaw, Found, Raw, Scanner, Verify, record_at};
use crate::segment::{Opened, Place, QUARANTINE, Segment, list};
use crate::spare::Spares;
use crate::stored::ArchivedStoredCut;
use crate::view;

/// Bytes of a cut record.
const CUT_BYTES: usize = span(size_of::<ArchivedStoredCut>() as u64, 0) as usize;
/// What is said of bytes that the disk does not give.
const SICK: &str = "the disk cannot read what stands here";
/// What is said of a record that is passed over.
const POISONED: &str = "two starts of the engine ended while they read it";

/// What recovery found and did. The waiting recipients are read by [`Log::waiting`].
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The books of this shard.
    pub ledger: Ledger,
    /// Recipients without a final outcome.
    pub waiting: u64,
    /// Every campaign of which the log still knows, with its last state.
    pub campaigns: Vec<CampaignState>,
    /// Segments read.
    pub segments: usize,
    /// Bytes of whole records.
    pub bytes: u64,
    /// What could not be believed, in order.
    pub damage: Vec<Damage>,
    /// By how many recipients the ledger's accepted ones had to be set right, because records that the books had
    /// counted are lost to damage or to a power cut: negative when fewer can be accounted for than the books said.
    pub corrected: i64,
}

/// What a stretch of damage was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Records with whole ones behind them: rot, or a power cut that wrote pages out of order.
    Record,
    /// The end of a segment that was being written when the engine died: ordinary, and never acknowledged unless the
    /// disk lied.
    TornTail,
    /// A file whose header cannot be read.
    Segment,
    /// Two starts of the engine died at this record, so it was passed over.
    Poison,
}

/// A stretch of a log that recovery did not believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What it was.
    pub kind: DamageKind,
    /// The record by the position at which it stood.
    pub id: RecordId,
    /// How many bytes.
    pub bytes: u64,
    /// What is wrong with them.
    pub what: String,
    /// Where a copy of the bytes was put; `None` when that failed.
    pub kept_in: Option<PathBuf>,
}

impl Log {
    /// Opens the log of `shard` below `data_dir`, creating it if it is not there, recovers it, and begins a new
    /// segment. Readers that keep cursors must take their holds before the first [`Log::reclaim_step`].
    ///
    /// # Errors
    /// [`SpoolError::InUse`] when another log works there, [`SpoolError::Newer`] and [`SpoolError::WrongShard`]
    /// without having changed anything, [`SpoolError::SegmentSize`], [`SpoolError::Io`]. Damaged files are no error.
    pub fn open(data_dir: &Path, shard: u8, options: Options) -> Result<(Self, Recovered), SpoolError> {
        Self::open_on(Arc::new(LocalDisk), data_dir, shard, options)
    }

    /// The same on a disk of the caller's.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        shard: u8,
        options: Options,
    ) -> Result<(Self, Recovered), SpoolError> {
        let spares = Arc::new(Spares::new(options.capacity()?, options.spare_bytes_max));
        let spool = data_dir.join("spool");
        let directory = spool.join(shard.to_string());
        let failed = |error| SpoolError::io("create", &directory, error);
        fs::create_dir_all(&directory).map_err(failed)?;
        let held = File::open(&directory).map_err(failed)?;
        try_lock(&held, &directory)?;
        let place = Place { disk, directory, on_disk: options.on_disk(), spares };
        [data_dir, &spool].into_iter().try_for_each(|parent| place.sync_names(parent))?;
        let mut recovery = Recovery::new(place, shard);
        if let Err(error) = recovery.run() {
            recovery.watch.at(0);
            return Err(error);
        }
        let Recovery { mut found, books, segments, next, unneeded, place, mut watch, .. } = recovery;
        let start = Start { place: place.clone(), held, options, shard, segments, books, next };
        place.remove_spares();
        let log = Self::begin(start).inspect_err(|_| watch.at(0))?;
        for path in unneeded {
            place.disk.remove(&path).map_err(|error| SpoolError::io("remove", &path, error))?;
        }
        watch.end();
        found.campaigns = log.campaigns();
        Ok((log, found))
    }
}

/// The work of opening a log.
struct Recovery {
    place: Place,
    shard: u8,
    watch: Watch,
    found: Recovered,
    books: Books,
    segments: Segments,
    /// Segments without an End record, and where their records end.
    open: Vec<(Arc<Segment>, usize)>,
    /// Files whose header cannot be read.
    unreadable: Vec<PathBuf>,
    /// Files to remove once the new segment is durable.
    unneeded: Vec<PathBuf>,
    /// Sequence number and base of the segment to begin.
    next: (u64, u64),
    /// The ledger is known: a totals record was read.
    counted: bool,
    /// Accepted recipients by the last totals record and the recipients behind it.
    told: u64,
}

impl Recovery {
    fn new(place: Place, shard: u8) -> Self {
        Self {
            watch: Watch::begin(&place.directory),
            place,
            shard,
            found: Recovered::default(),
            books: Books::default(),
            segments: Vec::new(),
            open: Vec::new(),
            unreadable: Vec::new(),
            unneeded: Vec::new(),
            next: (1, 0),
            counted: false,
            told: 0,
        }
    }

    fn run(&mut self) -> Result<(), SpoolError> {
        self.load()?;
        self.scan()?;
        self.settle()
    }

    /// Opens every segment; changes nothing.
    fn load(&mut self) -> Result<(), SpoolError> {
        for (sequence, path) in list(&self.place.directory)? {
            self.next.0 = self.next.0.max(sequence.saturating_add(1));
            match Segment::open(&path, self.shard)? {
                Opened::Segment(segment) => self.segments.push(Arc::new(segment)),
                Opened::Blank => self.unneeded.push(path),
                Opened::Unreadable => self.unreadable.push(path),
            }
        }
        self.segments.sort_by_key(|segment| segment.header().base);
        let mut end = 0;
        let unreadable = &mut self.unreadable;
        self.segments.retain(|segment| {
            // Two files for one stretch of the log: somebody has copied one. The first is as good as the other.
            let apart = segment.header().base >= end;
            if apart {
                end = segment.header().end();
            } else {
                unreadable.push(segment.path().to_owned());
            }
            apart
        });
        // A blank file had positions too, and a reader may have seen them before the power failed.
        for path in &self.unneeded {
            let bytes = fs::metadata(path).map_err(|error| SpoolError::io("measure", path, error))?.len();
            end = end.saturating_add(bytes.next_multiple_of(RECORDS_START as u64));
        }
        self.next.1 = end;
        self.found.segments = self.segments.len();
        self.apply_cuts();
        Ok(())
    }

    /// Where a segment begins with a cut, records before it do not count from there on.
    fn apply_cuts(&mut self) {
        for (index, segment) in self.segments.iter().enumerate() {
            if !segment.image().populate(RECORDS_START..RECORDS_START + CUT_BYTES) {
                continue;
            }
            segment.image().publish(RECORDS_START + CUT_BYTES);
            let first = record_at(segment.header(), segment.bytes(), RECORDS_START, Verify::All);
            let Some(cut) = first.ok().filter(|first| first.kind == Kind::Cut) else { continue };
            let Some(from) = view::cut(segment, &cut) else { continue };
            self.segments[..index].iter().for_each(|before| before.make_void(from));
        }
    }

    /// Reads every record into the books; changes nothing.
    fn scan(&mut self) -> Result<(), SpoolError> {
        let floor = self.segments.first().map_or(0, |segment| segment.header().base);
        let all = std::mem::take(&mut self.segments);
        for segment in all {
            let Some(segment) = readable(&segment)? else {
                self.unplaced(&segment);
                continue;
            };
            self.segments.push(Arc::clone(&segment));
            self.books.begin(segment.header());
            let damage_before = self.found.damage.len();
            let bytes_before = self.found.bytes;
            let ending = self.scan_segment(&segment, floor)?;
            if segment.image().is_copy() {
                self.keep_sick(&segment, ending);
                continue;
            }
            let empty = self.found.bytes == bytes_before && self.found.damage.len() == damage_before;
            if matches!(ending, Ending::Sealed(_)) || segment.void_from() < segment.header().end() {
                continue;
            }
            self.segments.pop();
            let Some(segment) = self.shown(segment, ending.offset())? else { continue };
            if empty {
                // An engine that died before its first record: its totals are taken over, nothing else is there.
                self.books.shelves.pop_back();
                self.unneeded.push(segment.path().to_owned());
                continue;
            }
            self.segments.push(Arc::clone(&segment));
            self.open.push((segment, ending.offset()));
        }
        Ok(())
    }

    /// A segment that the disk does not give whole stays as it is, also on the disk: the error may pass.
    fn keep_sick(&mut self, segment: &Arc<Segment>, ending: Ending) {
        if let Ending::Open(offset) = ending {
            let range = offset..segment.image().len();
            self.damaged(DamageKind::Record, segment, range, SICK.to_owned());
        }
        segment.make_void(segment.header().base + ending.offset() as u64);
    }

    /// A segment of which the disk does not even give the header any more.
    fn unplaced(&mut self, segment: &Segment) {
        let header = segment.header();
        let id = RecordId::new(self.shard, header.base);
        let what = format!("{}: {SICK}", segment.path().display());
        let damage = Damage { kind: DamageKind::Segment, id, bytes: header.capacity, what, kept_in: None };
        self.found.damage.push(damage);
    }

    /// The segment with nothing behind `offset` visible: what lies there will be overwritten, so a map in which it was
    /// visible must go.
    fn shown(&self, segment: Arc<Segment>, offset: usize) -> Result<Option<Arc<Segment>>, SpoolError> {
        let path = segment.path().to_owned();
        drop(segment);
        let Opened::Segment(segment) = Segment::open(&path, self.shard)? else { return Ok(None) };
        segment.image().publish(offset);
        Ok(Some(Arc::new(segment)))
    }

    fn scan_segment(&mut self, segment: &Arc<Segment>, floor: u64) -> Result<Ending, SpoolError> {
        let bytes = segment.bytes();
        let base = segment.header().base;
        let mut scanner = Scanner::new(segment.header(), bytes, RECORDS_START, Verify::All);
        loop {
            let position = base + scanner.offset() as u64;
            if self.watch.is_poisoned(position) && scanner.offset() < bytes.len() {
                let range = scanner.pass();
                self.damaged(DamageKind::Poison, segment, range, POISONED.to_owned());
                continue;
            }
            self.watch.at(position);
            match scanner.next() {
                None => break,
                Some(Found::Record(raw)) => self.replay(segment, &raw, floor),
                Some(Found::Damaged { flaw: Flaw::Unknown { version, .. }, .. }) => {
                    let path = segment.path().to_owned();
                    return Err(SpoolError::Newer { path, found: u16::from(version), known: FORMAT_VERSION });
                }
                Some(Found::Damaged { offset, bytes, flaw }) => {
                    self.damaged(DamageKind::Record, segment, offset..offset + bytes, flaw.describe());
                }
            }
        }
        let ending = scanner.ending();
        if let Ending::Torn { offset, bytes: length, flaw } = ending {
            let range = offset..(offset + length).min(bytes.len());
            self.damaged(DamageKind::TornTail, segment, range, flaw.describe());
        }
        Ok(ending)
    }

    /// Books one whole record.
    fn replay(&mut self, segment: &Arc<Segment>, raw: &Raw, floor: u64) {
        let position = segment.header().base + raw.offset as u64;
        let booked = match raw.kind {
            Kind::Content | Kind::MovedContent => self.replay_content(segment, raw, position),
            Kind::Recipient => view::recipient(segment, raw).map(|recipient| {
                self.told = self.told.saturating_add(1);
                self.books.recipient(position, raw.span, recipient.content().raw());
            }),
            Kind::MovedRecipient => view::recipient(segment, raw).map(|recipient| {
                let (id, content) = (recipient.id().raw(), recipient.content().raw());
                self.books.recipient_moved(id, (position, raw.span), content, recipient.retry());
            }),
            Kind::Outcome => self.replay_outcome(segment, raw, position, floor),
            Kind::Campaign => view::campaign(segment, raw).map(|state| {
                let campaign = Campaign { phase: state.phase, at: state.at, position };
                self.books.campaign(state.campaign.raw(), campaign, position + raw.span);
            }),
            Kind::Totals => view::totals(segment, raw).map(|(ledger, opening)| {
                if opening || !self.counted {
                    self.books.ledger = ledger;
                }
                self.counted = true;
                self.told = ledger.accepted;
            }),
            // It has been applied already.
            Kind::Cut | Kind::End => Some(()),
        };
        if booked.is_none() {
            let range = raw.offset..raw.offset + usize::try_from(raw.span).unwrap_or(0);
            let what = format!("the head of this {} record is not one", raw.kind.name());
            self.damaged(DamageKind::Record, segment, range, what);
            return;
        }
        self.books.record(position, raw.span);
        // A segment with a cut must stay, also when nothing else is in it.
        if raw.kind != Kind::Totals {
            self.found.bytes += raw.span;
        }
    }

    fn replay_content(&mut self, segment: &Arc<Segment>, raw: &Raw, position: u64) -> Option<()> {
        let content = view::content(segment, raw)?;
        let template_at = (content.kind() == ContentKind::Template).then(|| content.accepted_at());
        self.books.content(content.id().raw(), position, raw.span, template_at);
        Some(())
    }

    fn replay_outcome(&mut self, segment: &Arc<Segment>, raw: &Raw, position: u64, floor: u64) -> Option<()> {
        let outcome = view::outcome(segment, raw)?;
        let id = outcome.recipient();
        let disposition = outcome.disposition();
        let before = self.books.find(id.raw()).map_or(0, |entry| entry.retry.attempts);
        let retry = Retry::new(outcome.attempt().max(before), outcome.next_attempt());
        let segments = &self.segments;
        let content_of =
            |position| recipient_at(segments, position).map(|recipient| recipient.content().raw());
        let waited = self.books.outcome(id.raw(), disposition, retry, position + raw.span, &content_of);
        if !waited && id.0.position() < floor {
            // The recipient's own record was finished and reclaimed, or carried forward to behind this outcome; the
            // totals at the beginning still count it as waiting.
            self.books.ledger.record(disposition);
        }
        Some(())
    }

    /// Reports a stretch of a segment and keeps a copy of it.
    fn damaged(&mut self, kind: DamageKind, segment: &Segment, range: std::ops::Range<usize>, what: String) {
        let id = RecordId::new(self.shard, segment.header().base + range.start as u64);
        let bytes = segment.image().bytes().get(range).unwrap_or_default();
        let ending = if kind == DamageKind::Poison { POISON } else { "bin" };
        let kept_in = self.keep_aside(&format!("{id}.{ending}"), bytes);
        self.found.damage.push(Damage { kind, id, bytes: bytes.len() as u64, what, kept_in });
    }

    /// Ends what was left open, puts unreadable files aside, and sets the ledger right.
    fn settle(&mut self) -> Result<(), SpoolError> {
        for (segment, offset) in &self.open {
            let torn = self.found.damage.iter().rev().find(|damage| {
                damage.kind == DamageKind::TornTail
                    && damage.id.position() == segment.header().base + *offset as u64
            });
            // Nothing is overwritten of which no copy could be kept: then the end stays torn, which does no harm.
            if torn.is_none_or(|damage| damage.kept_in.is_some()) {
                segment.seal(*offset, &self.place)?;
            }
        }
        for path in std::mem::take(&mut self.unreadable) {
            self.set_aside(&path)?;
        }
        self.place.sync_directory()?;
        let ledger = &mut self.books.ledger;
        let accounted = ledger.finished().saturating_add(self.books.waiting);
        self.found.corrected = accounted.wrapping_sub(self.told).cast_signed();
        ledger.accepted = accounted;
        self.found.ledger = *ledger;
        self.found.waiting = self.books.waiting;
        Ok(())
    }

    /// Moves a file whose header says nothing into the quarantine. The log goes on behind the positions that it may
    /// have had.
    fn set_aside(&mut self, path: &Path) -> Result<(), SpoolError> {
        let failed = |error| SpoolError::io("set aside", path, error);
        let bytes = fs::metadata(path).map_err(failed)?.len();
        let quarantine = self.place.directory.join(QUARANTINE);
        let kept = quarantine.join(path.file_name().unwrap_or_default());
        fs::create_dir_all(&quarantine).and_then(|()| fs::rename(path, &kept)).map_err(failed)?;
        self.place.sync_names(&quarantine)?;
        let position = self.next.1;
        self.next.1 = position.saturating_add(bytes.next_multiple_of(RECORDS_START as u64));
        self.found.damage.push(Damage {
            kind: DamageKind::Segment,
            id: RecordId::new(self.shard, position),
            bytes,
            what: format!("{} cannot be placed in the log: its header is damaged or a copy", path.display()),
            kept_in: Some(kept),
        });
        Ok(())
    }

    /// Puts a copy of `bytes` into the quarantine; a copy of an earlier opening serves again.
    fn keep_aside(&self, name: &str, bytes: &[u8]) -> Option<PathBuf> {
        let quarantine = self.place.directory.join(QUARANTINE);
        let path = quarantine.join(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Some(path);
        }
        fs::create_dir_all(&quarantine).ok()?;
        fs::write(&path, bytes).ok()?;
        if self.place.on_disk {
            File::open(&path).and_then(|file| file.sync_all()).ok()?;
            self.place.sync_names(&quarantine).ok()?;
        }
        Some(path)
    }
}

/// The segment with all that was ever written to it visible: mapped, or, where the disk cannot give some of it, copied
/// with zeros in its place. Whoever looked at such a place of a map would be killed. `None` when its header is gone.
fn readable(segment: &Arc<Segment>) -> Result<Option<Arc<Segment>>, SpoolError> {
    // A file may be longer than its segment: somebody has appended to it.
    let capacity = usize::try_from(segment.header().capacity).unwrap_or(usize::MAX);
    let bytes = segment.written_bytes()?.min(capacity);
    if segment.image().populate(0..bytes) {
        segment.image().publish(bytes);
        return Ok(Some(Arc::clone(segment)));
    }
    let (_, copy) = Segment::copy(segment.path())?;
    let Some(copy) = copy else { return Ok(None) };
    copy.make_void(segment.void_from().min(segment.header().end()));
    Ok(Some(Arc::new(copy)))
}
