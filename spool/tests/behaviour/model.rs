//! Random interleavings of everything that can happen to a log, against a model of a few lines: a list of what was
//! appended, of which a crash keeps a beginning, and a failing disk what was durable and what the engine itself told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use mail::{CampaignId, Disposition, Ledger, MessageId, RecipientId, UnixMs};
use proptest::prelude::*;
use spool::inspect::{FileState, Inspection};
use spool::{CampaignPhase, CampaignState, Cursor, Durability, Hold, Log, RecordRef, SpoolError};

use crate::rough::{Call, EIO, RoughDisk};
use crate::support::{Place, content, outcome, recipient, sync_on, template};

/// Calls that fail here: one at a time, and what could not be made can be removed.
const FAILING: [Call; 5] = [Call::Create, Call::Reserve, Call::Write, Call::Sync, Call::SyncDirectory];

#[derive(Clone, Debug)]
enum Step {
    Message {
        recipients: usize,
        body_bytes: usize,
        notice: bool,
    },
    Template,
    Join {
        campaign: usize,
    },
    Outcome {
        recipient: usize,
        disposition: usize,
        attempt: u16,
    },
    Change {
        campaign: usize,
        phase: usize,
    },
    Flush,
    Sync,
    Reclaim {
        budget: u64,
    },
    Read {
        records: usize,
    },
    /// The next segment is made ahead.
    Ahead,
    /// The next call of a kind fails.
    Fault {
        call: usize,
    },
    /// The log is led to another segment, if it has failed.
    GoOn,
    /// The process dies.
    Kill,
    /// The power fails: what was not synced is lost from some point on, `into` bytes into a record.
    PowerCut {
        keep: usize,
        into: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_usize..4, 0_usize..2500, prop::bool::weighted(0.2)).prop_map(|(recipients, body_bytes, notice)| {
            Step::Message { recipients, body_bytes, notice }
        }),
        1 => Just(Step::Template),
        3 => any::<usize>().prop_map(|campaign| Step::Join { campaign }),
        16 => (any::<usize>(), 0_usize..11, 0_u16..5)
            .prop_map(|(recipient, disposition, attempt)| Step::Outcome { recipient, disposition, attempt }),
        1 => (any::<usize>(), 0_usize..5).prop_map(|(campaign, phase)| Step::Change { campaign, phase }),
        4 => Just(Step::Flush),
        4 => Just(Step::Sync),
        6 => (0_u64..4000).prop_map(|budget| Step::Reclaim { budget }),
        3 => (0_usize..40).prop_map(|records| Step::Read { records }),
        2 => Just(Step::Ahead),
        1 => (0..FAILING.len()).prop_map(|call| Step::Fault { call }),
        3 => Just(Step::GoOn),
        1 => Just(Step::Kill),
        1 => (any::<usize>(), 0_u64..24).prop_map(|(keep, into)| Step::PowerCut { keep, into }),
    ]
}

/// Something that was appended.
#[derive(Clone, Debug)]
enum Event {
    Accepted { content: MessageId, body: Vec<u8>, recipients: Vec<RecipientId>, notice: bool },
    Campaign(CampaignState),
    Outcome { id: RecipientId, disposition: Disposition, attempt: u16, next: Option<UnixMs> },
}

/// Where things stand after a list of events.
#[derive(Default)]
struct State {
    waiting: BTreeMap<RecipientId, (MessageId, u16, Option<UnixMs>)>,
    campaigns: BTreeMap<CampaignId, CampaignState>,
    ledger: Ledger,
}

struct World {
    place: Place,
    disk: Arc<RoughDisk>,
    log: Log,
    /// What was appended, with the position behind it.
    events: Vec<(u64, Event)>,
    /// While the log has failed: the same as before, which a crash brings back.
    before_fault: Option<Vec<(u64, Event)>>,
    /// It could not be led to another segment either.
    failed_again: bool,
    bodies: BTreeMap<MessageId, Vec<u8>>,
    hold: Hold,
    cursor: Cursor,
    /// Outcomes that the reader was told of, by recipient and attempt.
    told: Vec<(RecipientId, u16)>,
}

impl World {
    fn new() -> Self {
        let place = Place::volatile(Durability::Disk);
        let disk = Arc::new(RoughDisk::default());
        let log = place.open_on(&disk).0;
        let hold = log.reader().hold(Cursor::default());
        let (events, told) = (Vec::new(), Vec::new());
        let (bodies, cursor) = (BTreeMap::new(), Cursor::default());
        Self { place, disk, log, events, before_fault: None, failed_again: false, bodies, hold, cursor, told }
    }

    fn state(&self) -> State {
        let mut state = State::default();
        for (_, event) in &self.events {
            match event {
                Event::Accepted { content, recipients, .. } => {
                    state.ledger.accepted += recipients.len() as u64;
                    state.waiting.extend(recipients.iter().map(|id| (*id, (*content, 0, None))));
                }
                Event::Campaign(change) => drop(state.campaigns.insert(change.campaign, *change)),
                Event::Outcome { id, disposition, attempt, next } => {
                    state.ledger.record(*disposition);
                    let waiting = state.waiting.get_mut(id).unwrap();
                    (waiting.1, waiting.2) = (waiting.1.max(*attempt), *next);
                    if disposition.is_final() {
                        state.waiting.remove(id);
                    }
                }
            }
        }
        state
    }

    fn note(&mut self, event: Event) {
        if let Event::Accepted { content, body, .. } = &event {
            self.bodies.insert(*content, body.clone());
        }
        self.events.push((self.log.appended().offset(), event));
    }

    fn pick_campaign(&self, index: usize) -> Option<CampaignState> {
        let open: Vec<_> =
            self.state().campaigns.into_values().filter(|state| state.phase.is_open()).collect();
        open.get(index.checked_rem(open.len())?).copied()
    }

    fn run(&mut self, step: &Step) {
        self.perform(step);
        self.look_for_fault();
        assert_eq!(self.log.ledger(), self.state().ledger, "after {step:?}");
    }

    /// A log that has failed gives up what was new and not durable, and keeps the rest.
    fn look_for_fault(&mut self) {
        if self.log.fault().is_none() {
            self.before_fault = None;
            return;
        }
        let durable = self.log.synced_position().offset();
        if self.before_fault.is_none() || self.failed_again {
            self.before_fault.get_or_insert_with(|| self.events.clone());
            self.give_up(durable);
        }
        self.failed_again = false;
        // What was kept moves with every try.
        let end = self.log.appended().offset();
        self.events.iter_mut().filter(|(at, _)| *at > durable).for_each(|(at, _)| *at = end);
    }

    /// Of a message only the recipients stay that were durable, and of notices those that wait; whose outcomes go with them.
    fn give_up(&mut self, durable: u64) {
        let waiting = self.state().waiting;
        let mut events = std::mem::take(&mut self.events);
        let stays = |id: &RecipientId| id.0.position() < durable || waiting.contains_key(id);
        for (_, event) in &mut events {
            if let Event::Accepted { recipients, notice, .. } = event {
                recipients.retain(|id| id.0.position() < durable || (*notice && waiting.contains_key(id)));
            }
        }
        let mut kept: BTreeSet<RecipientId> = BTreeSet::new();
        events.retain(|(_, event)| match event {
            Event::Accepted { recipients, .. } => {
                kept.extend(recipients.iter());
                !recipients.is_empty()
            }
            Event::Campaign(state) => state.campaign.0.position() < durable,
            Event::Outcome { id, .. } => kept.contains(id) && stays(id),
        });
        self.events = events;
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Message { recipients, body_bytes, notice } => self.message(recipients, body_bytes, notice),
            Step::Template => {
                let body = format!("{{\"n\":{}}}", self.events.len()).into_bytes();
                let Some(id) = taken(self.log.append_content(&template("t"), &body)) else { return };
                let campaign = CampaignId(id.0);
                self.bodies.insert(id, body);
                self.note(Event::Campaign(CampaignState {
                    campaign,
                    phase: CampaignPhase::Created,
                    at: UnixMs(1_000),
                }));
            }
            Step::Join { campaign } => {
                let Some(campaign) = self.pick_campaign(campaign) else { return };
                let mut member = recipient("member@example.test");
                member.content = MessageId(campaign.campaign.0);
                let Some(id) = taken(self.log.append_recipient(&member)) else { return };
                let body = self.bodies[&member.content].clone();
                self.note(Event::Accepted {
                    content: member.content,
                    body,
                    recipients: vec![id],
                    notice: false,
                });
            }
            Step::Outcome { recipient, disposition, attempt } => {
                self.outcome(recipient, disposition, attempt)
            }
            Step::Change { campaign, phase } => {
                let Some(state) = self.pick_campaign(campaign) else { return };
                let state = CampaignState { phase: CampaignPhase::ALL[phase], ..state };
                if taken(self.log.append_campaign_state(&state)).is_some() {
                    self.note(Event::Campaign(state));
                }
            }
            Step::Flush => drop(taken(self.log.flush())),
            Step::Sync => sync_on(&mut self.log, &self.disk),
            Step::Reclaim { budget } => drop(taken(self.log.reclaim_step(budget))),
            Step::Read { records } => self.read(records),
            Step::Ahead => {
                if let Some(order) = self.log.next_segment() {
                    taken(self.log.next_made(order.make()));
                }
            }
            Step::Fault { call } => self.disk.fail(FAILING[call], 1, EIO),
            Step::GoOn => self.failed_again = taken(self.log.go_on()).is_none(),
            Step::Kill => {
                let flushed = self.log.flushed().offset();
                self.restart(flushed, |_| {});
            }
            Step::PowerCut { keep, into } => self.power_cut(keep, into),
        }
    }

    fn message(&mut self, recipients: usize, body_bytes: usize, notice: bool) {
        let body = vec![u8::try_from(self.events.len() % 256).unwrap(); body_bytes];
        let to: Vec<_> = (0..recipients).map(|n| recipient(&format!("r{n}@example.test"))).collect();
        let mut ids = Vec::new();
        let head = spool::Content { notice, ..content("acme") };
        let appended = self.log.append_message(&head, &body, &to, &mut ids);
        let Some(content) = taken(appended) else { return };
        self.note(Event::Accepted { content, body, recipients: ids, notice });
    }

    fn outcome(&mut self, index: usize, disposition: usize, attempt: u16) {
        // Final ones are more frequent, or nothing would ever be reclaimed.
        let disposition = Disposition::ALL.get(disposition).copied().unwrap_or(Disposition::Delivered);
        let waiting: Vec<_> = self.state().waiting.into_keys().collect();
        let Some(index) = index.checked_rem(waiting.len()) else { return };
        let id = waiting[index];
        let outcome = outcome(disposition, attempt);
        if taken(self.log.append_outcome(id, &outcome)).is_none() {
            return;
        }
        self.note(Event::Outcome {
            id,
            disposition,
            attempt,
            next: outcome.next_attempt.filter(|at| at.0 > 0),
        });
        if disposition.is_final() {
            let again = self.log.append_outcome(id, &outcome).unwrap_err();
            assert!(matches!(again, SpoolError::NotWaiting(_)));
        }
    }

    /// Reads on, durable records only, and looks up whatever the outcomes speak of.
    fn read(&mut self, records: usize) {
        let reader = self.log.reader();
        let mut tail = reader.tail(self.cursor).durable();
        for _ in 0..records {
            let Some((_, record)) = tail.next() else { break };
            match record {
                RecordRef::Outcome(outcome) => {
                    let recipient = reader.recipient(outcome.recipient()).unwrap();
                    let content = reader.content(recipient.content()).unwrap();
                    assert_eq!(content.body(), self.bodies[&content.id()]);
                    self.told.push((outcome.recipient(), outcome.attempt()));
                }
                // Of a power cut at an earlier run there may be a torn end, never more.
                RecordRef::Damaged { what, .. } => panic!("{what}"),
                _ => {}
            }
        }
        self.cursor = tail.cursor();
        self.hold.advance(self.cursor);
    }

    fn power_cut(&mut self, keep: usize, into: u64) {
        if let Some(events) = self.before_fault.take() {
            self.events = events;
        }
        let (synced, flushed) = (self.log.synced_position().offset(), self.log.flushed().offset());
        let ends = self.events.iter().map(|(end, _)| *end).filter(|end| (synced..=flushed).contains(end));
        let points: Vec<_> = [synced].into_iter().chain(ends).collect();
        let point = (points[keep % points.len()] + into).min(flushed);
        self.restart(point, |place| {
            for path in place.files() {
                let FileState::Segment { base, capacity, .. } = Inspection::open(&path).unwrap().state()
                else {
                    panic!("{} is not a segment", path.display())
                };
                // A segment of which nothing was synced may be lost with its header.
                let from = if point < base + 4096 { 0 } else { point - base };
                if from < capacity {
                    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                    file.write_all_at(&vec![0; usize::try_from(capacity - from).unwrap()], from).unwrap();
                }
            }
        });
    }

    /// Ends the log without a word, spoils its files, and starts again; everything up to `kept` must be there.
    fn restart(&mut self, kept: u64, spoil: impl Fn(&Place)) {
        if let Some(events) = self.before_fault.take() {
            self.events = events;
        }
        self.events.retain(|(end, _)| *end <= kept);
        self.disk.mend();
        let elsewhere = Place::volatile(Durability::Memory);
        let old = std::mem::replace(&mut self.log, elsewhere.log());
        drop(old);
        spoil(&self.place);
        let (log, found) = self.place.open_on(&self.disk);
        self.log = log;
        self.hold = self.log.reader().hold(self.cursor);
        assert_eq!(found.ledger, self.state().ledger);
        self.compare();
    }

    fn compare(&self) {
        let state = self.state();
        let found: BTreeMap<_, _> = self
            .log
            .waiting()
            .map(|waiting| {
                assert!(!waiting.damaged);
                (waiting.id, (waiting.content, waiting.attempts, waiting.next_attempt))
            })
            .collect();
        assert_eq!(found, state.waiting);
        assert_eq!(self.log.waiting_count(), found.len() as u64);
        let reader = self.log.reader();
        for (id, (content, ..)) in &found {
            assert_eq!(reader.recipient(*id).unwrap().content(), *content);
            assert_eq!(reader.content(*content).unwrap().body(), self.bodies[content]);
        }
        let known: BTreeMap<_, _> =
            self.log.campaigns().into_iter().map(|state| (state.campaign, state)).collect();
        for (id, wanted) in &state.campaigns {
            let awaited = found.values().any(|(content, ..)| content.0 == id.0);
            let needed = wanted.phase.is_open() || awaited;
            assert!(!needed || known.get(id) == Some(wanted), "{wanted:?}, found {:?}", known.get(id));
            assert!(known.get(id).is_none_or(|there| there == wanted));
            assert!(!needed || reader.content(MessageId(id.0)).is_ok());
        }
        assert!(known.keys().all(|id| state.campaigns.contains_key(id)));
    }

    /// Everything is synced and read to the end; nothing was told twice, and nothing was missed.
    fn finish(mut self) {
        self.disk.mend();
        self.log.go_on().unwrap();
        self.look_for_fault();
        self.log.commit().unwrap();
        self.compare();
        self.read(usize::MAX);
        let outcomes = self.events.iter().filter_map(|(_, event)| match event {
            Event::Outcome { id, attempt, .. } => Some((*id, *attempt)),
            _ => None,
        });
        assert_eq!(self.told, outcomes.collect::<Vec<_>>());
        let kept = self.log.flushed().offset();
        self.restart(kept, |_| {});
    }
}

/// What was appended; `None` when the disk did not let it.
fn taken<T>(result: Result<T, SpoolError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(SpoolError::Io { .. } | SpoolError::Closed { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(128), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_log_is_a_list_of_which_a_crash_keeps_a_beginning(steps in prop::collection::vec(step(), 1..160)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.finish();
    }
}
