//! Random interleavings of everything that can happen to a log, against a model of a few lines: a list of what was
//! appended, of which a crash keeps a beginning.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;

use mail::{CampaignId, Disposition, Ledger, MessageId, RecipientId, UnixMs};
use proptest::prelude::*;
use spool::inspect::{FileState, Inspection};
use spool::{CampaignPhase, CampaignState, Cursor, Durability, Hold, Log, RecordRef, SpoolError};

use crate::support::{Place, content, outcome, recipient, template};

#[derive(Clone, Debug)]
enum Step {
    Message {
        recipients: usize,
        body_bytes: usize,
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
        8 => (1_usize..4, 0_usize..2500).prop_map(|(recipients, body_bytes)| Step::Message { recipients, body_bytes }),
        1 => Just(Step::Template),
        3 => any::<usize>().prop_map(|campaign| Step::Join { campaign }),
        16 => (any::<usize>(), 0_usize..11, 0_u16..5)
            .prop_map(|(recipient, disposition, attempt)| Step::Outcome { recipient, disposition, attempt }),
        1 => (any::<usize>(), 0_usize..5).prop_map(|(campaign, phase)| Step::Change { campaign, phase }),
        4 => Just(Step::Flush),
        4 => Just(Step::Sync),
        6 => (0_u64..4000).prop_map(|budget| Step::Reclaim { budget }),
        3 => (0_usize..40).prop_map(|records| Step::Read { records }),
        1 => Just(Step::Kill),
        1 => (any::<usize>(), 0_u64..24).prop_map(|(keep, into)| Step::PowerCut { keep, into }),
    ]
}

/// Something that was appended.
#[derive(Clone, Debug)]
enum Event {
    Accepted { content: MessageId, body: Vec<u8>, recipients: Vec<RecipientId> },
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
    log: Log,
    /// What was appended, with the position behind it.
    events: Vec<(u64, Event)>,
    bodies: BTreeMap<MessageId, Vec<u8>>,
    hold: Hold,
    cursor: Cursor,
    /// Positions behind the outcomes that the reader was told of.
    told: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let place = Place::volatile(Durability::Disk);
        let log = place.log();
        let hold = log.reader().hold(Cursor::default());
        let (events, told) = (Vec::new(), Vec::new());
        Self { place, log, events, bodies: BTreeMap::new(), hold, cursor: Cursor::default(), told }
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
        match *step {
            Step::Message { recipients, body_bytes } => self.message(recipients, body_bytes),
            Step::Template => {
                let body = format!("{{\"n\":{}}}", self.events.len()).into_bytes();
                let id = self.log.append_content(&template("t"), &body).unwrap();
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
                let id = self.log.append_recipient(&member).unwrap();
                let body = self.bodies[&member.content].clone();
                self.note(Event::Accepted { content: member.content, body, recipients: vec![id] });
            }
            Step::Outcome { recipient, disposition, attempt } => {
                self.outcome(recipient, disposition, attempt)
            }
            Step::Change { campaign, phase } => {
                let Some(state) = self.pick_campaign(campaign) else { return };
                let state = CampaignState { phase: CampaignPhase::ALL[phase], ..state };
                self.log.append_campaign_state(&state).unwrap();
                self.note(Event::Campaign(state));
            }
            Step::Flush => drop(self.log.flush().unwrap()),
            Step::Sync => self.sync(),
            Step::Reclaim { budget } => drop(self.log.reclaim_step(budget).unwrap()),
            Step::Read { records } => self.read(records),
            Step::Kill => {
                let flushed = self.log.flushed().offset();
                self.restart(flushed, |_| {});
            }
            Step::PowerCut { keep, into } => self.power_cut(keep, into),
        }
        assert_eq!(self.log.ledger(), self.state().ledger);
    }

    fn message(&mut self, recipients: usize, body_bytes: usize) {
        let body = vec![u8::try_from(self.events.len() % 256).unwrap(); body_bytes];
        let to: Vec<_> = (0..recipients).map(|n| recipient(&format!("r{n}@example.test"))).collect();
        let mut ids = Vec::new();
        let content = self.log.append_message(&content("acme"), &body, &to, &mut ids).unwrap();
        self.note(Event::Accepted { content, body, recipients: ids });
    }

    fn outcome(&mut self, index: usize, disposition: usize, attempt: u16) {
        // Final ones are more frequent, or nothing would ever be reclaimed.
        let disposition = Disposition::ALL.get(disposition).copied().unwrap_or(Disposition::Delivered);
        let waiting: Vec<_> = self.state().waiting.into_keys().collect();
        let Some(index) = index.checked_rem(waiting.len()) else { return };
        let id = waiting[index];
        let outcome = outcome(disposition, attempt);
        self.log.append_outcome(id, &outcome).unwrap();
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

    fn sync(&mut self) {
        if let Some(target) = self.log.sync_target() {
            self.log.synced(target);
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
                    self.told.push(tail.cursor().0);
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
        let (synced, flushed) = (self.log.synced_position().offset(), self.log.flushed().offset());
        let ends = self.events.iter().map(|(end, _)| *end).filter(|end| (synced..=flushed).contains(end));
        let points: Vec<_> = [synced].into_iter().chain(ends).collect();
        let point = (points[keep % points.len()] + into).min(flushed);
        self.restart(point, |place| {
            for path in place.segments() {
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
        self.events.retain(|(end, _)| *end <= kept);
        let options = self.place.options;
        let elsewhere = Place::volatile(Durability::Memory);
        let old = std::mem::replace(&mut self.log, elsewhere.log());
        drop(old);
        spoil(&self.place);
        let (log, found) = Log::open(self.place.path(), 0, options).unwrap();
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
        self.log.commit().unwrap();
        self.compare();
        self.read(usize::MAX);
        let outcomes = self.events.iter().filter(|(_, event)| matches!(event, Event::Outcome { .. }));
        assert_eq!(self.told, outcomes.map(|(end, _)| *end).collect::<Vec<_>>());
        let kept = self.log.flushed().offset();
        self.restart(kept, |_| {});
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
