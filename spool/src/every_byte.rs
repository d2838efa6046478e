//! A log of thousands of records of every kind, harmed at every byte, in memory: each record that was not hit is
//! found at its place with its bytes, nothing else is ever found, and nothing panics.
//!
//! `cargo test -p spool` takes a sample of a few seconds. Every byte (cut, zeroed and overwritten by stale bytes from
//! there on; every bit of it flipped), with the number of states a minute:
//!
//! ```text
//! STAFFETTA_EVERY_BYTE=all cargo test --release -p spool every_byte -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mail::{Disposition, Enhanced, MessageId, Outcome, Phase, RecipientId, Reply, Route, Timings, UnixMs};
use tempfile::TempDir;

use crate::encode::Encoder;
use crate::inspect::{Inspection, What, segment_files};
use crate::layout::{
    FirstPage, Kind, RECORD_HEADER_BYTES, RECORDS_START, RecordHeader, SegmentHeader, padded, stamp,
};
use crate::scan::{Ending, Found, Scanner, Verify};
use crate::{
    CampaignPhase, CampaignState, Content, ContentKind, Durability, Log, Options, Recipient, RecordRef,
};

/// Small, so that a log has many and a scan of one is short.
const SEGMENT_BYTES: u64 = 16 << 10;
/// Messages of the log.
const ROUNDS: u64 = 900;
/// Rounds between two failures of the disk.
const FAULT_EVERY: u64 = 36;
/// The sample: one byte in so many, so that no field of a record is always passed over.
const SAMPLE_STRIDE: usize = 179;
/// States of which the sample rebuilds the books as well.
const SAMPLE_BOOKS: u64 = 80;
/// The same when every byte is asked for.
const ALL_BOOKS: u64 = 8_000;

/// What is done to a segment.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// The file ends here.
    Shorter(usize),
    /// Zeros from here on: a write that a crash cut short in a preallocated file.
    Zeros(usize),
    /// From here on the records of another segment that once stood at the very same positions.
    Stale(usize),
    /// These bits of this byte are wrong.
    Flip(usize, u8),
}

impl Harm {
    fn at(self) -> usize {
        match self {
            Self::Shorter(at) | Self::Zeros(at) | Self::Stale(at) | Self::Flip(at, _) => at,
        }
    }

    /// Whether it leaves every byte of `range` alone.
    fn spares(self, range: Range<usize>) -> bool {
        match self {
            Self::Shorter(cut) | Self::Zeros(cut) | Self::Stale(cut) => range.end <= cut,
            Self::Flip(at, _) => !range.contains(&at),
        }
    }

    fn apply(self, specimen: &Specimen) -> Vec<u8> {
        let mut bytes = specimen.bytes.clone();
        match self {
            Self::Shorter(cut) => bytes.truncate(cut),
            Self::Zeros(cut) => bytes[cut..].fill(0),
            Self::Stale(cut) => bytes[cut..].copy_from_slice(&specimen.stale[cut..]),
            Self::Flip(at, bits) => bytes[at] ^= bits,
        }
        bytes
    }
}

/// A record that is known to stand in a segment.
#[derive(Clone, Debug)]
struct Whole {
    kind: u8,
    /// The record with its padding.
    place: Range<usize>,
    head: Range<usize>,
    body: Range<usize>,
}

impl Whole {
    /// Whether header, head and body stand in `bytes` as they were written.
    fn stands_in(&self, bytes: &[u8], written: &[u8]) -> bool {
        let header = self.place.start..self.place.start + RECORD_HEADER_BYTES;
        [header, self.head.clone(), self.body.clone()]
            .into_iter()
            .all(|range| bytes.get(range.clone()) == written.get(range))
    }
}

/// A segment as it was written, and what is known to be in it.
struct Specimen {
    name: String,
    header: SegmentHeader,
    /// The file; behind its last record stand stale bytes.
    bytes: Vec<u8>,
    /// What stands at the same positions of the twin: the same calls, another identity.
    stale: Vec<u8>,
    records: Vec<Whole>,
    /// Where its End record stands.
    end: Option<usize>,
}

impl Specimen {
    fn new(name: &str, mut bytes: Vec<u8>, twin: &[u8]) -> Self {
        let FirstPage::Segment(header) = SegmentHeader::from_page(&bytes[..RECORDS_START]) else {
            panic!("{name} has no header")
        };
        let (records, end) = walk(&header, &bytes);
        let last = records.last().map_or(RECORDS_START, |record| record.place.end);
        let behind = end.map_or(last, |end| end + RECORD_HEADER_BYTES);
        let mut stale = twin.to_vec();
        stale.resize(bytes.len(), 0xa5);
        bytes[behind..].copy_from_slice(&stale[behind..]);
        Self { name: name.to_owned(), header, bytes, stale, records, end }
    }
}

/// The simple form of the scanner: it believes every byte of a record that was written for its place.
fn walk(header: &SegmentHeader, bytes: &[u8]) -> (Vec<Whole>, Option<usize>) {
    let own = |at: usize| stamp(header.identity, header.base + at as u64).to_le_bytes();
    let size = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (mut records, mut at) = (Vec::new(), RECORDS_START);
    while bytes.get(at + 24..at + RECORD_HEADER_BYTES) == Some(&own(at)) {
        let kind = bytes[at + 20];
        if kind == Kind::End as u8 {
            return (records, Some(at));
        }
        let head = at + 32..at + 32 + size(at + 12);
        let body_at = at + 32 + padded(head.len());
        let body = body_at..body_at + size(at + 16);
        let place = at..body_at + padded(body.len());
        at = place.end;
        records.push(Whole { kind, place, head, body });
    }
    (records, None)
}

/// Compares what a scan of `bytes` yields with what stands in them.
fn check(specimen: &Specimen, bytes: &[u8], harm: Harm) {
    let context = || format!("{} harmed by {harm:?}", specimen.name);
    if harm.at() < RECORDS_START && !check_header(specimen, bytes, harm) {
        return;
    }
    let mut scanner = Scanner::new(&specimen.header, bytes, RECORDS_START, Verify::All);
    let mut expected = specimen.records.iter();
    for found in scanner.by_ref() {
        let Found::Record(raw) = found else { continue };
        let passed = expected.find(|record| {
            let here = record.place.start == raw.offset;
            assert!(here || !harm.spares(record.place.clone()), "{} lost {record:?}", context());
            here
        });
        let record = passed.unwrap_or_else(|| panic!("{} made up {raw:?}", context()));
        let same = (raw.kind as u8, &raw.head, &raw.body) == (record.kind, &record.head, &record.body);
        assert!(same, "{} gave {raw:?} for {record:?}", context());
        assert!(record.stands_in(bytes, &specimen.bytes), "{} believed wrong bytes of {raw:?}", context());
    }
    let lost = expected.find(|record| harm.spares(record.place.clone()));
    assert!(lost.is_none(), "{} lost {lost:?}", context());
    check_ending(specimen, scanner.ending(), bytes, harm);
}

/// The header is read as it was written, or not at all; a flip leaves one copy. Says whether it was read.
fn check_header(specimen: &Specimen, bytes: &[u8], harm: Harm) -> bool {
    match SegmentHeader::from_page(&bytes[..bytes.len().min(RECORDS_START)]) {
        FirstPage::Segment(header) => {
            assert_eq!(header, specimen.header, "{} harmed by {harm:?}", specimen.name);
            true
        }
        FirstPage::Newer(version) => panic!("{harm:?} made format {version} of {}", specimen.name),
        FirstPage::Blank | FirstPage::Unreadable => {
            assert!(!matches!(harm, Harm::Flip(..)), "{} unreadable by {harm:?}", specimen.name);
            false
        }
    }
}

fn check_ending(specimen: &Specimen, ending: Ending, bytes: &[u8], harm: Harm) {
    let Some(end) = specimen.end else {
        assert!(!matches!(ending, Ending::Sealed(_)), "{} ended by {harm:?}", specimen.name);
        return;
    };
    let range = end..end + RECORD_HEADER_BYTES;
    if harm.spares(range.clone()) {
        assert_eq!(ending, Ending::Sealed(end), "{} harmed by {harm:?}", specimen.name);
    } else if let Ending::Sealed(at) = ending {
        let whole = at == end && bytes.get(range.clone()) == specimen.bytes.get(range);
        assert!(whole, "{} ended at {at} by {harm:?}", specimen.name);
    }
}

/// How much of a log is harmed.
#[derive(Clone, Copy)]
enum Extent {
    /// One byte in [`SAMPLE_STRIDE`], one bit of it.
    Sample,
    /// Every bit.
    All,
}

impl Extent {
    fn from_environment() -> Self {
        match std::env::var("STAFFETTA_EVERY_BYTE").as_deref() {
            Ok("all") => Self::All,
            Ok(other) => panic!("STAFFETTA_EVERY_BYTE is `all` or not there, not {other:?}"),
            Err(_) => Self::Sample,
        }
    }

    /// The bytes of the segment `number` to harm, from the last to the first.
    fn places(self, number: usize, bytes: usize) -> impl Iterator<Item = usize> {
        let (first, stride) = match self {
            Self::Sample => (number % SAMPLE_STRIDE, SAMPLE_STRIDE),
            Self::All => (0, 1),
        };
        (first..bytes).rev().filter(move |at| (at - first).is_multiple_of(stride))
    }

    fn bits(self, at: usize) -> impl Iterator<Item = u8> {
        let wanted = match self {
            Self::Sample => 1 << (at * 5 % 8),
            Self::All => 0xff,
        };
        (0..8).map(|bit| 1 << bit).filter(move |bit| wanted & bit != 0)
    }
}

/// Harms one segment in every way that `extent` asks for. Returns the number of states.
fn harm_all(specimen: &Specimen, number: usize, extent: Extent) -> u64 {
    let length = specimen.bytes.len();
    let mut states = 0;
    let mut look = |bytes: &[u8], harm| {
        check(specimen, bytes, harm);
        states += 1;
    };
    let mut bytes = specimen.bytes.clone();
    for at in extent.places(number, length) {
        look(&bytes[..at], Harm::Shorter(at));
        for bit in extent.bits(at) {
            bytes[at] ^= bit;
            look(&bytes, Harm::Flip(at, bit));
            bytes[at] ^= bit;
        }
    }
    let (mut zeroed, mut overwritten, mut before) = (bytes.clone(), bytes, length);
    for at in extent.places(number, length) {
        zeroed[at..before].fill(0);
        look(&zeroed, Harm::Zeros(at));
        if at >= RECORDS_START {
            overwritten[at..before].copy_from_slice(&specimen.stale[at..before]);
            look(&overwritten, Harm::Stale(at));
        }
        before = at;
    }
    states
}

/// A log under construction.
struct Scribe {
    directory: TempDir,
    log: Log,
    /// Raw identifiers of recipients without a final outcome.
    waiting: Vec<RecipientId>,
    /// Where the API said that records of a kind stand.
    told: Vec<(u64, Kind)>,
    /// Every segment there ever was, by sequence number.
    kept: BTreeMap<String, Vec<u8>>,
}

impl Scribe {
    fn new() -> Self {
        let directory = directory();
        let (log, _) = Log::open(directory.path(), 0, options()).unwrap();
        Self { directory, log, waiting: Vec::new(), told: Vec::new(), kept: BTreeMap::new() }
    }

    /// Writes the whole log; the same calls each time.
    fn write(mut self) -> Self {
        let mut random = 7_u64;
        for round in 0..ROUNDS {
            let body = self.body(round);
            if round % 9 == 4 {
                self.campaign(round, &body)
            } else {
                self.message(round, &body)
            }
            while self.waiting.len() > 60 {
                random = crate::layout::mix(random);
                let chosen = usize::try_from(random % self.waiting.len() as u64).unwrap();
                self.outcome(chosen, random >> 40);
            }
            self.log.flush().unwrap();
            if round % 3 == 0 {
                self.reclaim();
            }
            if round % FAULT_EVERY == 0 {
                // Everything is flushed, so nothing is lost by it: another segment begins with a cut.
                self.log.fail("a disk that fails in a test".to_owned());
                self.log.go_on().unwrap();
            }
        }
        self.keep();
        self
    }

    /// Plain text, records of the oldest segment as they stand there, or records made for the place where this body
    /// will lie, with an identity that is wrong by one bit.
    fn body(&self, round: u64) -> Vec<u8> {
        match round % 5 {
            0 => self.kept.values().next_back().map_or(Vec::new(), |old| old[RECORDS_START..6000].to_vec()),
            1 => {
                let header = self.log.active.segment.header();
                // The head of a message of this test takes 112 bytes.
                let begin = self.log.appended().offset() + 32 + 112;
                let mut imitation = Encoder::new(begin, header.identity ^ 1);
                imitation.totals(&self.log.ledger(), true).unwrap();
                imitation.end_record().unwrap();
                imitation.bytes().to_vec()
            }
            _ => format!("Subject: {round}\r\n\r\n{}", "text ".repeat(usize::try_from(round % 60).unwrap()))
                .into_bytes(),
        }
    }

    fn message(&mut self, round: u64, body: &[u8]) {
        let content = Content { sender: "news@example.test".to_owned(), ..content(round) };
        let to: Vec<_> = (0..1 + round % 4).map(|number| recipient(number, MessageId::default())).collect();
        let before = self.waiting.len();
        let id = self.log.append_message(&content, body, &to, &mut self.waiting).unwrap();
        self.told.push((id.0.position(), Kind::Content));
        self.told.extend(self.waiting[before..].iter().map(|id| (id.0.position(), Kind::Recipient)));
    }

    fn campaign(&mut self, round: u64, body: &[u8]) {
        let template = Content { kind: ContentKind::Template, name: "autumn".to_owned(), ..content(round) };
        let id = self.log.append_content(&template, body).unwrap();
        self.told.push((id.0.position(), Kind::Content));
        for number in 0..3 {
            let member = self.log.append_recipient(&recipient(number, id)).unwrap();
            self.told.push((member.0.position(), Kind::Recipient));
            self.waiting.push(member);
        }
        for phase in [CampaignPhase::Running, CampaignPhase::Finished] {
            let state = CampaignState { campaign: mail::CampaignId(id.0), phase, at: UnixMs(round) };
            self.log.append_campaign_state(&state).unwrap();
        }
    }

    fn outcome(&mut self, chosen: usize, random: u64) {
        let disposition = match random % 4 {
            0 => Disposition::Deferred,
            1 => Disposition::Bounced,
            _ => Disposition::Delivered,
        };
        let [source, provider, mx, address, tls] =
            ["a", "gmail", "mx1.example.test", "192.0.2.1:25", "TLSv1.3"].map(str::to_owned);
        let outcome = Outcome {
            at: UnixMs(random),
            attempt: 1,
            disposition,
            next_attempt: (!disposition.is_final()).then_some(UnixMs(60_000)),
            phase: Phase::Body,
            verdict: "mailbox.full".to_owned(),
            reply: Reply::enhanced(452, Enhanced(4, 2, 2), "mailbox full, try later"),
            route: Route { source, provider, mx, address, tls }.into(),
            timings: Timings { connect_ms: 12, transaction_ms: 345 },
        };
        self.log.append_outcome(self.waiting[chosen], &outcome).unwrap();
        if disposition.is_final() {
            self.waiting.swap_remove(chosen);
        }
    }

    /// Carries records forward, so that there are moved ones.
    fn reclaim(&mut self) {
        self.keep();
        self.log.reclaim_step(4096).unwrap();
        self.log.flush().unwrap();
    }

    /// Takes a copy of every segment of which there is none yet, and of the one being written.
    fn keep(&mut self) {
        let files = segment_files(self.directory.path()).unwrap();
        // The last ones may have grown: one that was filled since, the one being written, and one that stands ready.
        let newest = files.len().saturating_sub(4);
        for (number, path) in files.iter().enumerate() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if number >= newest || !self.kept.contains_key(&name) {
                self.kept.insert(name, fs::read(path).unwrap());
            }
        }
    }
}

/// In memory, if there is such a place.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    directory.unwrap()
}

fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, durability: Durability::Memory, ..Options::default() }
}

fn content(round: u64) -> Content {
    Content { accepted_at: UnixMs(round), tenant: "acme".to_owned(), ..Content::default() }
}

fn recipient(number: u64, content: MessageId) -> Recipient {
    let address = format!("member{number}@example.test");
    Recipient { content, address, values: vec!["Ann".to_owned(); 2], ..Recipient::default() }
}

/// The log, and each segment there ever was.
fn specimens() -> (Scribe, Vec<Specimen>) {
    let (scribe, twin) = (Scribe::new().write(), Scribe::new().write());
    let specimens: Vec<_> = scribe
        .kept
        .iter()
        .map(|(name, bytes)| {
            Specimen::new(name, bytes.clone(), twin.kept.get(name).map_or(&[], Vec::as_slice))
        })
        .collect();
    (scribe, specimens)
}

#[test]
fn the_log_holds_thousands_of_records_of_every_kind() {
    let (scribe, specimens) = specimens();
    let mut kinds = BTreeMap::<u8, u64>::new();
    let mut places = BTreeSet::new();
    for specimen in &specimens {
        *kinds.entry(Kind::End as u8).or_default() += u64::from(specimen.end.is_some());
        for record in &specimen.records {
            *kinds.entry(record.kind).or_default() += 1;
            places.insert((specimen.header.base + record.place.start as u64, record.kind));
        }
    }
    assert!(kinds.values().sum::<u64>() > 3_000, "{kinds:?}");
    for kind in Kind::ALL {
        assert!(kinds.get(&(kind as u8)).is_some_and(|count| *count >= 20), "{kind:?} in {kinds:?}");
    }
    let imitations = specimens.iter().flat_map(|one| one.records.iter().map(move |record| (one, record)));
    let imitations = imitations.filter(|(one, record)| {
        let (header, begin) = (&one.header, record.body.start);
        RecordHeader::read(&one.bytes[begin..], stamp(header.identity ^ 1, header.base + begin as u64))
            .is_some()
    });
    assert!(imitations.count() > 100, "bodies imitate records of their very place");
    for (position, kind) in &scribe.told {
        assert!(places.contains(&(*position, *kind as u8)), "{kind:?} at {position}");
    }
}

#[test]
fn a_log_harmed_at_any_byte_yields_what_was_not_hit_and_nothing_else() {
    let extent = Extent::from_environment();
    let (_, specimens) = specimens();
    let (next, begin) = (AtomicUsize::new(0), Instant::now());
    let work = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        let mine = numbers.map_while(|number| Some((number, specimens.get(number)?)));
        mine.map(|(number, specimen)| harm_all(specimen, number, extent)).sum::<u64>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let states: u64 = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().map(|thread| thread.join().expect("every state is as it should be")).sum()
    });
    let (records, seconds) =
        (specimens.iter().map(|one| one.records.len()).sum::<usize>(), begin.elapsed().as_secs_f64());
    println!(
        "{} segments, {records} records: {states} states in {seconds:.2} s on {threads} threads, {:.1} million a minute",
        specimens.len(),
        states as f64 / seconds * 60.0 / 1e6
    );
}

/// What a record says of a recipient.
enum Says {
    Waits(RecipientId),
    Ended(RecipientId),
}

/// What the records of the file at `path` say, by offset.
fn sayings(path: &Path, header: &SegmentHeader) -> Vec<(usize, Says)> {
    let inspection = Inspection::open(path).unwrap();
    let said = inspection.entries().filter_map(|entry| {
        let says = match entry.what {
            What::Record(_, RecordRef::Recipient(recipient)) => Says::Waits(recipient.id()),
            What::Record(Kind::MovedRecipient, RecordRef::Moved(id)) => Says::Waits(RecipientId(id)),
            What::Record(_, RecordRef::Outcome(outcome)) if outcome.disposition().is_final() => {
                Says::Ended(outcome.recipient())
            }
            _ => return None,
        };
        Some((usize::try_from(entry.id.position() - header.base).unwrap(), says))
    });
    said.collect()
}

#[test]
fn the_books_of_a_harmed_log_say_who_waits() {
    let samples = match Extent::from_environment() {
        Extent::Sample => SAMPLE_BOOKS,
        Extent::All => ALL_BOOKS,
    };
    let (scribe, specimens) = specimens();
    let files = segment_files(scribe.directory.path()).unwrap();
    let there = &specimens[specimens.len() - files.len()..];
    let all: Vec<_> =
        files.iter().zip(there).map(|(path, specimen)| sayings(path, &specimen.header)).collect();
    let whole = Harm::Shorter(usize::MAX);
    let who = waiting_after(there, &all, 0, whole);
    assert_eq!(who, scribe.waiting.iter().copied().collect(), "the model is right about the whole log");
    let begin = Instant::now();
    let mut states = 0;
    for random in (0..samples).map(crate::layout::mix) {
        let hurt = usize::try_from(random % there.len() as u64).unwrap();
        let length = there[hurt].bytes.len() as u64;
        let at = usize::try_from((random >> 8) % length).unwrap();
        let harm = match random >> 61 {
            0 => Harm::Shorter(at),
            1 => Harm::Zeros(at),
            2 => Harm::Stale(at.max(RECORDS_START)),
            _ => Harm::Flip(at, 1 << (random >> 32 & 7)),
        };
        // Padding belongs to its record, but nothing is lost with it: either answer is right.
        let padding = there[hurt].records.iter().any(|record| {
            !harm.spares(record.place.clone())
                && record.stands_in(&harm.apply(&there[hurt]), &there[hurt].bytes)
        });
        if !padding {
            reopen(there, &all, hurt, harm);
            states += 1;
        }
    }
    println!("{states} harmed logs opened in {:.2} s", begin.elapsed().as_secs_f64());
}

/// Who waits behind the harm; simple, because a recipient is never carried forward behind its final outcome.
fn waiting_after(
    there: &[Specimen],
    all: &[Vec<(usize, Says)>],
    hurt: usize,
    harm: Harm,
) -> BTreeSet<RecipientId> {
    let mut who = BTreeSet::new();
    // A cut within the first copy of the header takes the whole file along.
    let headless = !matches!(harm, Harm::Flip(..)) && harm.at() < RECORDS_START;
    for (number, (specimen, all)) in there.iter().zip(all).enumerate() {
        let stands = |offset: usize| {
            let record = specimen.records.iter().find(|record| record.place.start == offset);
            let place = record.map_or(0..0, |record| record.place.clone());
            number != hurt || (harm.spares(place) && !headless)
        };
        for (_, says) in all.iter().filter(|(offset, _)| stands(*offset)) {
            match says {
                Says::Waits(id) => drop(who.insert(*id)),
                Says::Ended(id) => drop(who.remove(id)),
            }
        }
    }
    who
}

/// Writes the log with one segment harmed, opens it, and asks who waits.
fn reopen(there: &[Specimen], all: &[Vec<(usize, Says)>], hurt: usize, harm: Harm) {
    let context = format!("{} harmed by {harm:?}", there[hurt].name);
    let directory = directory();
    let shard = directory.path().join("spool/0");
    fs::create_dir_all(&shard).unwrap();
    for (number, specimen) in there.iter().enumerate() {
        let bytes = if number == hurt { harm.apply(specimen) } else { specimen.bytes.clone() };
        fs::write(shard.join(&specimen.name), bytes).unwrap();
    }
    let (log, found) = Log::open(directory.path(), 0, options()).expect(&context);
    let who: BTreeSet<_> = log.waiting().map(|waiting| waiting.id).collect();
    assert_eq!(who, waiting_after(there, all, hurt, harm), "{context}");
    assert_eq!((found.waiting, log.ledger().queued()), (who.len() as u64, who.len() as u64), "{context}");
}
