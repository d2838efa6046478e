//! The power fails at any moment, on a disk that may fail as well: what was acknowledged is there afterwards, with its
//! content, and nothing is there that was never sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mail::{Disposition, RecipientId};
use spool::{Durability, Log, Position, SpoolError, Waiting};

use crate::rough::{Call, EIO, RoughDisk};
use crate::support::{Place, content, is_recycled, outcome, recipient, sync_on};

/// SplitMix64: a failure prints its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

/// A sender who remembers what was acknowledged.
struct Sender {
    place: Place,
    disk: Arc<RoughDisk>,
    log: Log,
    /// Sent, not acknowledged: bodies by recipient, with the position that must be durable first.
    open: Vec<(Position, RecipientId, Vec<u8>)>,
    acknowledged: BTreeMap<RecipientId, Vec<u8>>,
    /// Ever sent, also what was refused.
    sent: BTreeMap<RecipientId, Vec<u8>>,
    finished: Vec<RecipientId>,
    /// Final outcomes that are not durable yet, with the position that must be.
    ending: Vec<(Position, RecipientId)>,
    /// Final outcomes that are durable: no power cut brings these recipients back.
    ended: BTreeSet<RecipientId>,
    /// Segments at a power cut that were written over old ones.
    recycled: usize,
    /// Power cuts that found more than one spare segment.
    spared: usize,
}

impl Sender {
    fn new() -> Self {
        let place = Place::volatile(Durability::Disk);
        let disk = Arc::new(RoughDisk::tearing());
        let log = place.open_on(&disk).0;
        let (open, acknowledged, sent) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (finished, ending, ended) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { place, disk, log, open, acknowledged, sent, finished, ending, ended, recycled: 0, spared: 0 }
    }

    fn send(&mut self, body: Vec<u8>) {
        let mut ids = Vec::new();
        let to = [recipient("a@example.test")];
        if self.log.append_message(&content(""), &body, &to, &mut ids).is_ok() {
            self.sent.insert(ids[0], body.clone());
            self.open.push((self.log.appended(), ids[0], body));
        }
    }

    /// As a shell does: 250 when the position is durable; when the log has failed, 4xx to everybody who waits.
    fn answer(&mut self) {
        if self.log.fault().is_some() {
            self.open.clear();
            // It may fail again, and is tried again later.
            let _ = self.log.go_on();
        }
        for (position, id) in std::mem::take(&mut self.ending) {
            match self.log.durable(position) {
                Some(_) => drop(self.ended.insert(id)),
                None => self.ending.push((position, id)),
            }
        }
        for (position, id, body) in std::mem::take(&mut self.open) {
            match self.log.durable(position) {
                Some(token) => {
                    assert!(token.covers(id.0));
                    self.acknowledged.insert(id, body);
                }
                None => self.open.push((position, id, body)),
            }
        }
    }

    fn deliver(&mut self, chance: &mut Chance) {
        let waiting: Vec<_> =
            self.acknowledged.keys().copied().filter(|id| !self.finished.contains(id)).collect();
        if let Some(&id) = waiting.get(chance.below(waiting.len().max(1))) {
            match self.log.append_outcome(id, &outcome(Disposition::Delivered, 1)) {
                Ok(_) => {
                    self.finished.push(id);
                    self.ending.push((self.log.appended(), id));
                }
                Err(error) => {
                    assert!(matches!(error, SpoolError::Closed { .. } | SpoolError::Io { .. }), "{error}")
                }
            }
        }
    }

    fn step(&mut self, chance: &mut Chance) {
        match chance.below(13) {
            0..4 => {
                let byte = u8::try_from(chance.below(256)).unwrap();
                let body = vec![byte; chance.below(3000)];
                self.send(body);
            }
            4 => drop(self.log.flush()),
            5 | 6 => {
                let _ = self.log.flush();
                sync_on(&mut self.log, &self.disk);
            }
            7 => self.deliver(chance),
            8 => (0..4).for_each(|_| drop(self.log.reclaim_step(2000))),
            10.. => self.deliver(chance),
            _ if chance.one_in(4) => {
                let call = Call::ALL[chance.below(Call::ALL.len())];
                self.disk.fail(call, 1 + u32::try_from(chance.below(2)).unwrap(), EIO);
            }
            _ => self.disk.mend(),
        }
        self.answer();
    }

    /// The power fails, and comes back.
    fn power_cut(mut self, chance: &mut Chance) -> Self {
        self.disk.mend();
        let (directory, options) = (self.place.shard_directory(), self.place.options);
        drop(self.log);
        self.recycled += self.place.files().iter().filter(|file| is_recycled(file)).count();
        self.spared += usize::from(self.place.spares().len() > 1);
        self.disk.power_cut(&directory, || chance.one_in(2));
        self.place.options = options;
        let (log, found) = self.place.open_on(&self.disk);
        assert_eq!(found.ledger.queued(), found.waiting);
        self.log = log;
        self.open.clear();
        self.check();
        // What was not durable may be back, and waits again; so do outcomes that were not durable.
        self.finished.clear();
        self.ending.clear();
        let whole: Vec<_> = self.log.waiting().filter(|waiting| self.is_whole(waiting)).collect();
        self.acknowledged =
            whole.iter().map(|waiting| (waiting.id, self.sent[&waiting.id].clone())).collect();
        self
    }

    fn is_whole(&self, waiting: &Waiting) -> bool {
        !waiting.damaged && self.log.reader().content(waiting.content).is_ok()
    }

    fn check(&self) {
        let reader = self.log.reader();
        let waiting: Vec<_> = self.log.waiting().map(|waiting| waiting.id).collect();
        let lost: Vec<_> = self
            .acknowledged
            .keys()
            .filter(|id| !self.finished.contains(id) && !waiting.contains(id))
            .collect();
        assert!(lost.is_empty(), "{} acknowledged messages are lost: {lost:?}", lost.len());
        let back: Vec<_> = waiting.iter().filter(|id| self.ended.contains(id)).collect();
        assert!(back.is_empty(), "durably finished, and they wait again: {back:?}");
        for id in &waiting {
            let Some(body) = self.sent.get(id) else { panic!("{id} was never sent") };
            let content = reader.recipient(*id).map(|recipient| recipient.content()).unwrap();
            match reader.content(content) {
                Ok(found) => assert_eq!(found.body(), body, "{id} has another's content"),
                Err(error) => assert!(!self.acknowledged.contains_key(id), "{id}: {error}"),
            }
        }
    }
}

/// `STAFFETTA_POWER_CUTS` asks for more.
fn lives() -> u64 {
    std::env::var("STAFFETTA_POWER_CUTS").ok().and_then(|lives| lives.parse().ok()).unwrap_or(150)
}

#[test]
fn what_was_acknowledged_survives_every_power_cut() {
    let (mut recycled, mut spared) = (0, 0);
    for seed in 0..lives() {
        let mut chance = Chance(seed);
        let mut sender = Sender::new();
        for _ in 0..4 {
            for _ in 0..chance.below(120) {
                sender.step(&mut chance);
            }
            let run = std::panic::AssertUnwindSafe(|| sender.power_cut(&mut chance));
            sender = match std::panic::catch_unwind(run) {
                Ok(sender) => sender,
                Err(cause) => {
                    eprintln!("seed {seed}");
                    std::panic::resume_unwind(cause)
                }
            };
        }
        recycled += sender.recycled;
        spared += sender.spared;
    }
    assert!(recycled as u64 > lives() / 2, "{recycled} segments were written over old ones");
    assert!(spared as u64 > lives() / 15, "{spared} power cuts found more than one spare segment");
}
