//! Reads one log from any thread, without locks on the way of a message: records by identifier, records in order,
//! and holds that keep segments from being reclaimed. It refuses to show what is not flushed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use mail::{MessageId, RecipientId, RecordId};

use crate::books::MovedMap;
use crate::durable::Position;
use crate::error::ReadError;
use crate::layout::Kind;
use crate::scan::{Flaw, Raw, Verify, record_at};
use crate::segment::{Age, Segment};
use crate::tail::{Cursor, Tail};
use crate::view::{self, ContentHead, ContentRef, RecipientRef};

/// Segments in order, as one snapshot.
pub(crate) type Segments = Vec<Arc<Segment>>;

/// What the log and its readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) shard: u8,
    pub(crate) segments: ArcSwap<Segments>,
    pub(crate) moved: MovedMap,
    /// Everything before it can be read.
    pub(crate) flushed: AtomicU64,
    /// Everything before it is durable.
    pub(crate) synced: AtomicU64,
    /// One position for each hold.
    holds: Mutex<Vec<Arc<AtomicU64>>>,
}

/// As much of a record is asked for before its head is looked at: nearly all heads are smaller, and what lies behind in
/// the same page comes with it.
pub(crate) const HEAD_BYTES: usize = 4096;
/// So many bytes of a record are fetched that most heads lie within them.
const FETCHED_BYTES: usize = 192;
/// Mark of a hold that was dropped.
const RELEASED: u64 = u64::MAX;

impl Shared {
    pub(crate) fn new(shard: u8, segments: Segments, moved: MovedMap, position: u64) -> Self {
        Self {
            shard,
            segments: ArcSwap::from_pointee(segments),
            moved,
            flushed: AtomicU64::new(position),
            synced: AtomicU64::new(position),
            holds: Mutex::new(Vec::new()),
        }
    }

    /// Everything before `end` can be read, and is durable when `durable` says so.
    pub(crate) fn show(&self, end: u64, durable: bool) {
        self.flushed.store(end, Ordering::Release);
        if durable {
            self.synced.store(end, Ordering::Release);
        }
    }

    /// The position up to which the slowest reader has read; the largest number when nobody holds anything.
    pub(crate) fn held(&self) -> u64 {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.retain(|hold| hold.load(Ordering::Acquire) != RELEASED);
        holds.iter().map(|hold| hold.load(Ordering::Acquire)).min().unwrap_or(RELEASED)
    }
}

/// The segment that holds `position`, and the offset there.
pub(crate) fn segment_at(segments: &[Arc<Segment>], position: u64) -> Option<(&Arc<Segment>, usize)> {
    let behind = segments.partition_point(|segment| segment.header().base <= position);
    let segment = segments.get(behind.checked_sub(1)?)?;
    Some((segment, segment.offset(position)?))
}

/// The recipient whose record lies at `position`.
pub(crate) fn recipient_at(segments: &[Arc<Segment>], position: u64) -> Option<RecipientRef> {
    let (segment, offset) = segment_at(segments, position)?;
    if !segment.can_read(offset..offset + HEAD_BYTES, age(segments, segment)) {
        return None;
    }
    let raw = record_at(segment.header(), segment.bytes(), offset, Verify::Heads).ok()?;
    let fits = matches!(raw.kind, Kind::Recipient | Kind::MovedRecipient);
    if fits { view::recipient(segment, &raw) } else { None }
}

/// Reads one log from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    /// The shard whose log it reads.
    #[must_use]
    pub fn shard(&self) -> u8 {
        self.shared.shard
    }

    /// The content `id` with its body; both checksums are verified.
    ///
    /// # Errors
    /// [`ReadError`] says whether it is gone, damaged, or something else.
    pub fn content(&self, id: MessageId) -> Result<ContentRef, ReadError> {
        self.content_as(id, Verify::All).map(view::with_body)
    }

    /// The same, of a content whose head is at hand already.
    ///
    /// # Errors
    /// [`ReadError::Unreadable`] or [`ReadError::Damaged`].
    pub fn with_body(&self, head: ContentHead) -> Result<ContentRef, ReadError> {
        let (id, segment) = (head.id().0, head.segment());
        let segments = self.shared.segments.load();
        if !segment.can_read(head.body_range(), age(&segments, segment)) {
            return Err(ReadError::Unreadable(id));
        }
        let whole = record_at(segment.header(), segment.bytes(), head.offset(), Verify::All);
        if whole.is_ok() { Ok(view::with_body(head)) } else { Err(ReadError::Damaged(id)) }
    }

    /// The content `id` without touching its body.
    ///
    /// # Errors
    /// [`ReadError`] says whether it is gone, damaged, or something else.
    pub fn content_head(&self, id: MessageId) -> Result<ContentHead, ReadError> {
        self.content_as(id, Verify::Heads)
    }

    /// The recipient `id`.
    ///
    /// # Errors
    /// [`ReadError`] says whether it is gone, damaged, or something else.
    pub fn recipient(&self, id: RecipientId) -> Result<RecipientRef, ReadError> {
        let (segment, raw) = self.find(id.0, Verify::Heads)?;
        if !matches!(raw.kind, Kind::Recipient | Kind::MovedRecipient) {
            return Err(ReadError::OtherKind(id.0));
        }
        let found = view::recipient(&segment, &raw).ok_or(ReadError::Damaged(id.0))?;
        if found.id() == id { Ok(found) } else { Err(ReadError::Gone(id.0)) }
    }

    /// Has the processor fetch the beginnings of these records, all of them at the same time: of records that nobody has
    /// looked at for a while, each would otherwise be waited for when it is read.
    pub fn fetch(&self, ids: impl IntoIterator<Item = RecordId>) {
        let segments = self.shared.segments.load();
        for (segment, offset) in ids.into_iter().filter_map(|id| segment_at(&segments, id.position())) {
            segment.image().fetch(offset..offset + FETCHED_BYTES);
        }
    }

    /// The records from `cursor` on, in order. The iterator yields `None` at the end of what is flushed and goes on
    /// when there is more.
    #[must_use]
    pub fn tail(&self, cursor: Cursor) -> Tail {
        Tail::new(self.clone(), cursor)
    }

    /// Keeps every segment that a reader going on at `cursor` needs: those it has not passed, and those that hold
    /// recipients and contents of the outcomes it has not passed.
    #[must_use]
    pub fn hold(&self, cursor: Cursor) -> Hold {
        let position = Arc::new(AtomicU64::new(cursor.0.min(RELEASED - 1)));
        let mut holds = self.shared.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.push(Arc::clone(&position));
        Hold { position }
    }

    /// Everything before it can be read.
    #[must_use]
    pub fn flushed(&self) -> Position {
        Position(self.shared.flushed.load(Ordering::Acquire))
    }

    /// Everything before it is durable.
    #[must_use]
    pub fn synced(&self) -> Position {
        Position(self.shared.synced.load(Ordering::Acquire))
    }

    fn content_as(&self, id: MessageId, verify: Verify) -> Result<ContentHead, ReadError> {
        let (segment, raw) = self.find(id.0, verify)?;
        if !matches!(raw.kind, Kind::Content | Kind::MovedContent) {
            return Err(ReadError::OtherKind(id.0));
        }
        let found = view::content(&segment, &raw).ok_or(ReadError::Damaged(id.0))?;
        if found.id() == id { Ok(found) } else { Err(ReadError::Gone(id.0)) }
    }

    /// The record `id` where it first was, or, when that segment is gone, where reclaim carried it.
    fn find(&self, id: RecordId, verify: Verify) -> Result<(Arc<Segment>, Raw), ReadError> {
        if id.shard() != self.shared.shard {
            return Err(ReadError::Gone(id));
        }
        let segments = self.shared.segments.load();
        // Behind the end of a segment that a crash cut short nothing stands, though it was given out as a place once.
        if let Some((segment, offset)) = segment_at(&segments, id.position())
            && offset < segment.bytes().len()
        {
            return read(&segments, segment, offset, (id, verify));
        }
        let position = self.shared.moved.position(id.raw()).ok_or(ReadError::Gone(id))?;
        // It may have been carried on since the snapshot was taken.
        let segments = self.shared.segments.load();
        let (segment, offset) = segment_at(&segments, position).ok_or(ReadError::Gone(id))?;
        read(&segments, segment, offset, (id, verify))
    }
}

fn read(
    segments: &[Arc<Segment>],
    segment: &Arc<Segment>,
    offset: usize,
    (id, verify): (RecordId, Verify),
) -> Result<(Arc<Segment>, Raw), ReadError> {
    let bytes = segment.bytes();
    if offset >= bytes.len() {
        return Err(ReadError::Gone(id));
    }
    let age = age(segments, segment);
    if !segment.can_read(offset..offset + HEAD_BYTES, age) {
        return Err(ReadError::Unreadable(id));
    }
    if verify == Verify::All {
        let heads = record_at(segment.header(), bytes, offset, Verify::Heads);
        if heads.is_ok_and(|raw| !segment.can_read(raw.body, age)) {
            return Err(ReadError::Unreadable(id));
        }
    }
    match record_at(segment.header(), bytes, offset, verify) {
        Ok(raw) => Ok((Arc::clone(segment), raw)),
        Err(Flaw::Unknown { .. }) => Err(ReadError::OtherKind(id)),
        Err(_) => Err(ReadError::Damaged(id)),
    }
}

/// The last two segments are recent.
pub(crate) fn age(segments: &[Arc<Segment>], segment: &Segment) -> Age {
    let recent = segments.iter().rev().take(2).any(|recent| recent.header().base == segment.header().base);
    if recent { Age::Recent } else { Age::Old }
}

/// Keeps segments from being reclaimed until it is advanced or dropped.
#[derive(Debug)]
pub struct Hold {
    position: Arc<AtomicU64>,
}

impl Hold {
    /// Everything before `cursor` is not needed any more. Never goes back.
    pub fn advance(&self, cursor: Cursor) {
        self.position.fetch_max(cursor.0.min(RELEASED - 1), Ordering::AcqRel);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.position.store(RELEASED, Ordering::Release);
    }
}
