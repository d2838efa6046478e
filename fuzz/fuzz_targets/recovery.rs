//! A log of one to three segments is opened, read, worked on, reclaimed and opened again.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mail::{Disposition, Outcome, Phase, RecipientId, Reply, Timings, UnixMs};
use spool::{Content, Cursor, Durability, Log, Options, Recipient, ReclaimWait, RecordRef, SpoolError};
use staffetta_fuzz::input::Input;
use staffetta_fuzz::reading::{head, recipient, record};
use staffetta_fuzz::script::{SEGMENT_BYTES, Script};

/// More steps than any script's segments need.
const STEPS_MAX: usize = 500;

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().expect("room");
    let mut input = Input::new(bytes);
    let marks = input.u8();
    let is_sound = write(place.path(), &mut input);
    let durability = if marks & 1 == 0 { Durability::Memory } else { Durability::Disk };
    let options = Options { segment_bytes: SEGMENT_BYTES, durability, ..Options::default() };
    let Some(mut log) = open(place.path(), options) else { return };
    read(&log);
    append(&mut log);
    if marks & 2 != 0 {
        finish_some(&mut log, is_sound);
    }
    log.set_disk_low(marks & 4 != 0);
    reclaim(&mut log, u64::from(marks) << 4, is_sound);
    log.commit().expect("room");
    let (before, ledger) = (waiting(&log), log.ledger());
    drop(log);
    let log = open(place.path(), options).expect("what was opened once opens again");
    // A log that never was may say of one recipient that it waits and that it is finished, so reclaim makes a
    // difference there; of one that could have been, it must not.
    if is_sound {
        assert_eq!(waiting(&log), before);
        assert_eq!(log.ledger(), ledger);
    }
});

/// Writes the segments. Says whether a log could have.
fn write(place: &Path, input: &mut Input<'_>) -> bool {
    let directory = place.join("spool/0");
    fs::create_dir_all(&directory).expect("room");
    let script = Script::run(input);
    for written in script.segments {
        let path = directory.join(format!("{:010}.seg", written.sequence));
        fs::write(path, written.bytes).expect("room");
    }
    script.is_sound
}

/// Opens the log and balances its books. `None` when the files were refused.
fn open(place: &Path, options: Options) -> Option<Log> {
    let (log, found) = match Log::open(place, 0, options) {
        Ok(opened) => opened,
        Err(SpoolError::Newer { .. } | SpoolError::WrongShard { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(found.waiting, log.waiting().count() as u64);
    assert_eq!(found.waiting, log.waiting_count());
    assert_eq!(found.ledger, log.ledger());
    assert_eq!(log.ledger().queued(), found.waiting);
    Some(log)
}

fn waiting(log: &Log) -> Vec<RecipientId> {
    let mut all: Vec<_> = log.waiting().map(|waiting| waiting.id).collect();
    all.sort_unstable();
    all
}

/// Reads whatever can be found, by order and by identifier.
fn read(log: &Log) {
    let reader = log.reader();
    for (id, found) in reader.tail(Cursor::default()).take(10_000) {
        record(&found);
        if let RecordRef::Recipient(found) = &found {
            let again = reader.recipient(found.id()).expect("a record that was just read");
            assert_eq!((again.id().0, again.content()), (id, found.content()));
        }
    }
    for waiting in log.waiting() {
        assert!(waiting.damaged || reader.content_head(waiting.content).is_ok());
        reader.recipient(waiting.id).iter().for_each(recipient);
        if let Ok(content) = reader.content(waiting.content) {
            head(&content);
        }
    }
}

fn append(log: &mut Log) {
    let (before, mut ids) = (log.waiting_count(), Vec::new());
    let to = Recipient { address: "a@example.test".to_owned(), ..Recipient::default() };
    log.append_message(&Content::default(), b"a body", &[to.clone(), to], &mut ids).expect("room");
    log.append_outcome(ids[0], &outcome(Disposition::Delivered)).expect("it waits");
    log.append_outcome(ids[1], &outcome(Disposition::Deferred)).expect("it waits");
    log.commit().expect("room");
    assert_eq!(log.waiting_count(), before + 1);
    assert_eq!(log.ledger().queued(), before + 1);
    log.reader().recipient(ids[1]).expect("it is flushed");
}

/// Finishes every other recipient that waits. A log that never was may hold one of another shard.
fn finish_some(log: &mut Log, is_sound: bool) {
    for id in waiting(log).into_iter().step_by(2) {
        let before = log.waiting_count();
        match log.append_outcome(id, &outcome(Disposition::Bounced)) {
            Ok(_) => assert_eq!(log.waiting_count(), before - 1),
            Err(error) => assert!(!is_sound, "{error}"),
        }
    }
}

/// Reclaims until nothing more can be. A log that never was may have no end: two records of one identifier, say.
fn reclaim(log: &mut Log, budget_bytes: u64, is_sound: bool) {
    let before = waiting(log);
    for _ in 0..STEPS_MAX {
        let done = log.reclaim_step(budget_bytes).expect("room");
        log.commit().expect("room");
        match done.waits_for {
            None | Some(ReclaimWait::Budget | ReclaimWait::Sync) => {}
            Some(
                ReclaimWait::Damaged(_)
                | ReclaimWait::Live
                | ReclaimWait::NothingElse
                | ReclaimWait::Unreadable,
            ) => {
                assert!(!is_sound || waiting(log) == before, "reclaim changes who waits");
                return;
            }
            Some(ReclaimWait::Readers) => panic!("nobody holds anything"),
        }
    }
    assert!(!is_sound, "reclaim comes to no end");
}

fn outcome(disposition: Disposition) -> Outcome {
    Outcome {
        at: UnixMs(1),
        attempt: 1,
        disposition,
        next_attempt: (!disposition.is_final()).then_some(UnixMs(60_000)),
        phase: Phase::Body,
        verdict: String::new(),
        reply: Reply::new(250, "ok"),
        route: Arc::default(),
        timings: Timings::default(),
    }
}
