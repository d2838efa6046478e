//! After a write or sync that failed: the segment is closed for good, what was not durable in it is made to count for
//! nothing, the engine's own records are kept in memory, and the log goes on in a new segment as soon as one can be made
//! durable. It refuses to try a failed write or sync again, and to accept anything meanwhile.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use mail::RecordId;
use rustc_hash::FxHashSet;

use crate::books::{Books, Campaign};
use crate::durable::Position;
use crate::encode::{Encoder, Placed};
use crate::error::SpoolError;
use crate::layout::{Kind, MOVED_PREFIX_BYTES, MovedPrefix, RECORDS_START, SegmentHeader};
use crate::log::{BUFFER_BYTES_MAX, Log, OVERHEAD_BYTES};
use crate::reader::Segments;
use crate::salvage::{Salvaged, salvage};
use crate::segment::{Made, Place};

/// Stretches that are remembered: nobody asks for a position from before that many failures.
const VOIDS_MAX: usize = 64;

/// Why the log takes nothing new, and where it is to go on.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The last failure, in words.
    pub(crate) why: String,
    /// The segment for which the records in the buffer are encoded.
    pub(crate) header: SegmentHeader,
    /// What was appended from here on before the failure counts for nothing.
    from: u64,
    /// Somebody tries to make the segment.
    tried: bool,
}

/// A new segment to be made and written after a failure: hand it to a thread that may wait for the disk, then give the
/// result to [`Log::rescued`].
#[derive(Debug)]
#[must_use = "the log waits for what becomes of it"]
pub struct Rescue {
    place: Place,
    header: SegmentHeader,
    bytes: Vec<u8>,
}

/// What became of a [`Rescue`].
#[derive(Debug)]
pub struct Rescued {
    bytes: usize,
    result: Result<Made, SpoolError>,
}

impl Rescue {
    /// Makes the segment, writes what the log has kept, and syncs it, blocking.
    #[must_use]
    pub fn run(self) -> Rescued {
        let Self { place, header, bytes } = self;
        let result = begin(&place, header).and_then(|made| {
            let written = place.disk.write(&made.file, &bytes, RECORDS_START as u64);
            let synced =
                written.and_then(|()| if place.on_disk { place.disk.sync(&made.file) } else { Ok(()) });
            synced.map_err(|error| {
                let error = SpoolError::io("begin", made.segment.path(), error);
                // Best effort: what stays behind is in nobody's way.
                let _ = place.remove(&made.segment);
                error
            })?;
            Ok(made)
        });
        Rescued { bytes: bytes.len(), result }
    }
}

/// Makes a segment in which everything fits that may be kept in memory; on a full disk a smaller one, and in the space
/// that is reserved for it.
fn begin(place: &Place, header: SegmentHeader) -> Result<Made, SpoolError> {
    let needed = (OVERHEAD_BYTES + 2 * BUFFER_BYTES_MAX as u64).min(header.capacity);
    match place.create_or_smaller(header, needed) {
        Err(error) if error.is_disk_full() && place.use_reserve() => place.create_or_smaller(header, needed),
        made => made,
    }
}

impl Log {
    /// Why nothing new is taken; `None` while the log is sound.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_ref().map(|fault| fault.why.as_str())
    }

    /// Closes the segment being written for good. Contents and recipients that were not durable are given up (whoever
    /// waits for them must be refused); outcomes, campaign states, notices and what reclaim carried are kept.
    pub(crate) fn fail(&mut self, why: String) {
        let from = self.synced_position().0;
        let void = from..self.encoder.end();
        self.syncing.abandon(void.clone());
        self.discard_next();
        let segments = self.shared.segments.load_full();
        let mut kept = Vec::new();
        for segment in segments.iter().filter(|segment| segment.header().end() > from) {
            salvage(segment, from, &mut kept);
            segment.make_void(from);
        }
        salvage(&self.encoder.as_segment(self.shared.shard), from, &mut kept);
        let header = self.settle_kept(from, &kept);
        // None, unless the disk does not even give back what was just written.
        self.books.withdraw_all(void);
        self.fault = Some(Fault { why, header, from, tried: false });
    }

    /// What to do so that the log can go on; `None` while it is sound, or somebody is at it.
    pub fn rescue(&mut self) -> Option<Rescue> {
        let fault = self.fault.as_mut().filter(|fault| !fault.tried)?;
        fault.tried = true;
        let bytes = self.encoder.bytes().to_vec();
        Some(Rescue { place: self.place.clone(), header: fault.header, bytes })
    }

    /// Takes what became of a rescue. On success the log is sound again, in a new segment.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when no segment could be made durable. Ask for another [`Log::rescue`] after a while: it
    /// will be another file, never another try of the same one.
    pub fn rescued(&mut self, rescued: Rescued) -> Result<(), SpoolError> {
        let Rescued { bytes, result } = rescued;
        let Some(fault) = self.fault.take() else { return Ok(()) };
        let error = match result {
            Ok(made) => {
                self.adopt(made, bytes);
                return Ok(());
            }
            Err(error) => error,
        };
        let mut kept = Vec::new();
        salvage(&self.encoder.as_segment(self.shared.shard), fault.from, &mut kept);
        let header = self.settle_kept(fault.from, &kept);
        self.books.forget(&fault.header);
        self.fault = Some(Fault { why: error.to_string(), header, from: fault.from, tried: false });
        Err(error)
    }

    /// Goes on in a new segment here and now, blocking: for tools and tests.
    ///
    /// # Errors
    /// As [`Log::rescued`].
    pub fn go_on(&mut self) -> Result<(), SpoolError> {
        match self.rescue() {
            Some(rescue) => self.rescued(rescue.run()),
            None => Ok(()),
        }
    }

    /// The log is sound again: `made` holds the first `bytes` of the buffer, durable.
    fn adopt(&mut self, made: Made, bytes: usize) {
        let header = *made.segment.header();
        let end = header.base + (RECORDS_START + bytes) as u64;
        made.segment.image().publish(RECORDS_START + bytes);
        self.encoder.written_to(end);
        let mut segments: Segments = self.shared.segments.load().as_ref().clone();
        segments.push(Arc::clone(&made.segment));
        self.shared.segments.store(Arc::new(segments));
        self.active = made;
        self.books.moved.flush();
        self.shared.show(end, true);
    }

    /// Encodes what is kept for a new segment, whose header it yields, and sets the books right.
    fn settle_kept(&mut self, from: u64, kept: &[Salvaged]) -> SegmentHeader {
        let header = self.issue_header_for(kept.iter().map(Salvaged::span_max).sum());
        self.books.begin(&header);
        self.encoder = Encoder::new(header.base + RECORDS_START as u64, header.identity);
        self.known_content = 0;
        // The cut and the totals are of fixed size: they can always be encoded.
        if let Ok(cut) = self.encoder.cut_record(from) {
            self.books.record(cut.position, cut.span);
        }
        let given_up = GivenUp::of(from, kept, &self.books);
        kept.iter().filter(|record| !given_up.includes(record)).for_each(|record| self.keep(record));
        self.give_up(kept.iter().filter(|record| given_up.includes(record)));
        if let Ok(totals) = self.encoder.totals(&self.books.ledger, false) {
            self.books.record(totals.position, totals.span);
            self.books.totals(totals.position + totals.span);
        }
        self.books.needed_longer(from, self.encoder.end());
        header
    }

    /// Appends one record once more, in the new place.
    fn keep(&mut self, record: &Salvaged) {
        let id = record.id.raw();
        match record.kind {
            Kind::Content | Kind::MovedContent if self.books.locate(id) == Some(record.position) => {
                let placed = self.copy_moved(Kind::MovedContent, MovedPrefix::new(id, 0, 0), record);
                self.books.content(id, placed.position, placed.span, record.template_at);
            }
            Kind::Recipient | Kind::MovedRecipient => self.keep_recipient(record),
            Kind::Outcome => {
                let placed = self.encoder.copy(record.kind, &[], &record.head, &[]);
                self.books.record(placed.position, placed.span);
            }
            Kind::Campaign => {
                let placed = self.encoder.copy(record.kind, &[], &record.head, &[]);
                self.books.record(placed.position, placed.span);
                if let Some(state) = record.campaign {
                    let campaign = Campaign { phase: state.phase, at: state.at, position: placed.position };
                    self.books.campaign(state.campaign.raw(), campaign, placed.position + placed.span);
                }
            }
            _ => {}
        }
    }

    fn keep_recipient(&mut self, record: &Salvaged) {
        let id = record.id.raw();
        let waits = self.books.find(id).filter(|entry| entry.position == record.position);
        if let Some(entry) = waits {
            let prefix = MovedPrefix::new(id, entry.retry.next_s, entry.retry.attempts);
            let placed = self.copy_moved(Kind::MovedRecipient, prefix, record);
            self.books.recipient_moved(id, (placed.position, placed.span), record.content, entry.retry);
        } else if self.books.is_shown_at(id, record.position) {
            // It is finished, but whoever reads its outcome looks it up.
            let placed = self.copy_moved(Kind::MovedRecipient, MovedPrefix::new(id, 0, 0), record);
            self.books.show_at(id, placed.position);
        }
    }

    fn copy_moved(&mut self, kind: Kind, prefix: MovedPrefix, record: &Salvaged) -> Placed {
        let archive = match record.kind {
            Kind::MovedContent | Kind::MovedRecipient => &record.head[MOVED_PREFIX_BYTES..],
            _ => &record.head[..],
        };
        let placed = self.encoder.copy(kind, &prefix.to_bytes(), archive, &record.body);
        self.books.record(placed.position, placed.span);
        placed
    }

    /// Takes records that are given up back from the books.
    fn give_up<'a>(&mut self, records: impl Iterator<Item = &'a Salvaged>) {
        let mut withdrawn = FxHashSet::default();
        for record in records {
            match record.kind {
                Kind::Content | Kind::MovedContent => drop(self.books.campaigns.remove(&record.id.raw())),
                // Reclaim may have carried it on at once.
                Kind::Recipient | Kind::MovedRecipient if withdrawn.insert(record.id) => {
                    self.books.withdraw(record.id.raw(), record.content);
                }
                // Its recipient goes as well, and nobody was told of either.
                Kind::Outcome => self.books.ledger.take_back(record.disposition),
                _ => {}
            }
        }
    }
}

/// What was appended but not durable when the failure came, and that somebody outside waits for: it is not kept.
struct GivenUp {
    from: u64,
    /// Notices of the engine's own that wait, and their recipients: nobody outside waits for those.
    notices: FxHashSet<RecordId>,
}

impl GivenUp {
    fn of(from: u64, kept: &[Salvaged], books: &Books) -> Self {
        let contents: FxHashSet<RecordId> =
            kept.iter().filter(|record| record.is_notice).map(|record| record.id).collect();
        let waiting = kept
            .iter()
            .filter(|record| matches!(record.kind, Kind::Recipient | Kind::MovedRecipient))
            .filter(|record| contents.contains(&RecordId::from_raw(record.content)))
            // One that is finished already leaves nothing behind, as if it had never been.
            .filter(|record| books.find(record.id.raw()).is_some());
        let notices = waiting.flat_map(|record| [record.id, RecordId::from_raw(record.content)]).collect();
        Self { from, notices }
    }

    /// Whether `record` is given up: it, or what it speaks of, was new.
    fn includes(&self, record: &Salvaged) -> bool {
        record.id.position() >= self.from && !self.notices.contains(&record.id)
    }
}

/// Which files are to be synced, and which positions no sync makes durable any more.
#[derive(Debug, Default)]
pub(crate) struct Syncing {
    /// Filled segments that were not synced since.
    pub(crate) full: Vec<Arc<File>>,
    /// A target is out.
    pub(crate) out: bool,
    /// Counts failures: a target from before one means nothing any more.
    pub(crate) epoch: u64,
    /// Stretches of the log that were given up, the last ones.
    voids: Vec<Range<u64>>,
}

impl Syncing {
    /// Nothing in `void` will be durable.
    fn abandon(&mut self, void: Range<u64>) {
        self.full.clear();
        self.out = false;
        self.epoch += 1;
        if self.voids.len() == VOIDS_MAX {
            self.voids.remove(0);
        }
        self.voids.push(void);
    }

    /// Whether `position` lies behind something that was given up.
    pub(crate) fn is_void(&self, position: Position) -> bool {
        self.voids.iter().any(|void| void.start < position.0 && position.0 <= void.end)
    }
}
