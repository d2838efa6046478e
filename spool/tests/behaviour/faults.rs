//! A disk that fails: what was not acknowledged is given up, what the engine itself has to tell is kept, and the log goes
//! on in another segment once one can be made durable.

use std::sync::Arc;

use mail::{Disposition, RecipientId};
use spool::{Content, Cursor, Durability, Log, Reader, RecordRef, SpoolError};

use crate::rough::{Call, EIO, ENOSPC, RoughDisk};
use crate::support::{Place, content, finish, outcome, recipient, send, sync_on, template, waiting_ids};

fn house() -> (Place, Arc<RoughDisk>, Log) {
    let place = Place::volatile(Durability::Disk);
    let disk = Arc::new(RoughDisk::tearing());
    let log = place.open_on(&disk).0;
    (place, disk, log)
}

fn append(log: &mut Log, content: &Content, body: &[u8]) -> Result<RecipientId, SpoolError> {
    let mut ids = Vec::new();
    log.append_message(content, body, &[recipient("a@example.test")], &mut ids).map(|_| ids[0])
}

/// Recipients of the outcomes that a reader of durable records is told of.
fn told(reader: &Reader) -> Vec<RecipientId> {
    let outcomes = reader.tail(Cursor::default()).durable().filter_map(|(_, record)| match record {
        RecordRef::Outcome(outcome) => Some(outcome.recipient()),
        RecordRef::Damaged { what, .. } => panic!("{what}"),
        _ => None,
    });
    outcomes.collect()
}

#[test]
fn after_a_failed_write_the_log_goes_on_in_another_segment() {
    let (place, disk, mut log) = house();
    let kept = send(&mut log, b"kept", 2);
    log.commit().unwrap();
    finish(&mut log, kept[0]);
    let lost = append(&mut log, &content("acme"), b"lost").unwrap();
    let lost_at = log.appended();
    disk.fail(Call::Write, 1, EIO);
    assert!(matches!(log.flush(), Err(SpoolError::Io { action: "write", .. })));
    assert!(log.fault().unwrap().contains("cannot write"));
    let refused = append(&mut log, &content("acme"), b"more").unwrap_err();
    assert!(matches!(refused, SpoolError::Closed { shard: 0, .. }), "{refused}");
    assert!(log.sync_target().is_none() && log.flush().is_err() && log.reclaim_step(1).is_err());
    finish(&mut log, kept[1]);
    log.go_on().unwrap();
    assert_eq!(log.fault(), None);
    assert!(log.durable(lost_at).is_none(), "what was given up is never durable");
    assert!(log.reader().recipient(lost).is_err());
    let more = append(&mut log, &content("acme"), b"more").unwrap();
    log.commit().unwrap();
    assert_eq!(told(&log.reader()), kept, "outcomes are told once, in their order");
    let ledger = log.ledger();
    assert_eq!((ledger.accepted, ledger.delivered, log.waiting_count()), (3, 2, 1));
    drop(log);
    let (log, found) = place.open_on(&disk);
    assert_eq!((waiting_ids(&log), found.ledger, found.corrected), (vec![more], ledger, 0));
    assert_eq!(told(&log.reader()), kept);
}

#[test]
fn after_a_failed_sync_nothing_of_it_is_acknowledged() {
    let (place, disk, mut log) = house();
    let kept = send(&mut log, b"kept", 1);
    sync_on(&mut log, &disk);
    let durable = log.flushed();
    let mut lost = Vec::new();
    // More than one segment is filled before the sync that fails.
    while place.segments().len() < 4 {
        lost.extend(send(&mut log, &[b'x'; 3000], 1));
    }
    finish(&mut log, kept[0]);
    let flushed = log.flush().unwrap();
    disk.fail(Call::Sync, 1, EIO);
    sync_on(&mut log, &disk);
    assert!(log.fault().unwrap().contains("cannot sync"));
    assert!(log.durable(durable).is_some() && log.durable(flushed).is_none());
    log.go_on().unwrap();
    sync_on(&mut log, &disk);
    assert!(log.durable(flushed).is_none(), "also when later positions are durable");
    assert!(lost.iter().all(|id| log.reader().recipient(*id).is_err()));
    assert_eq!((waiting_ids(&log), told(&log.reader())), (vec![], kept.clone()));
    drop(log);
    let (log, found) = place.open_on(&disk);
    assert_eq!((waiting_ids(&log), found.ledger.accepted, found.ledger.delivered), (vec![], 1, 1));
    assert_eq!((told(&log.reader()), found.damage), (kept, vec![]));
}

#[test]
fn a_sync_from_before_the_failure_says_nothing() {
    let (_place, disk, mut log) = house();
    let lost = send(&mut log, b"lost", 1);
    let before = log.flushed();
    let target = log.sync_target().unwrap();
    append(&mut log, &content(""), b"x").unwrap();
    disk.fail(Call::Write, 1, EIO);
    assert!(log.flush().is_err());
    log.synced(target);
    assert!(log.durable(before).is_none());
    log.go_on().unwrap();
    assert!(log.reader().recipient(lost[0]).is_err());
    let kept = send(&mut log, b"kept", 1);
    let target = log.sync_target().unwrap();
    log.synced(target);
    assert!(log.durable(log.flushed()).unwrap().covers(kept[0].0));
}

#[test]
fn while_no_segment_can_be_made_outcomes_are_kept_in_memory() {
    for call in [Call::Create, Call::Reserve, Call::Write, Call::Sync, Call::SyncDirectory] {
        let (place, disk, mut log) = house();
        let ids = send(&mut log, b"kept", 5);
        log.commit().unwrap();
        append(&mut log, &content(""), b"lost").unwrap();
        disk.fail(Call::Write, 1, EIO);
        assert!(log.flush().is_err());
        for &id in &ids[..3] {
            finish(&mut log, id);
            disk.fail(call, 1, EIO);
            // What could not be made may not be removable either.
            disk.fail(Call::Remove, u32::from(id == ids[1]), EIO);
            let failed = log.go_on().unwrap_err();
            assert!(log.fault().is_some(), "{call:?}: {failed}");
            disk.mend();
        }
        finish(&mut log, ids[3]);
        log.go_on().unwrap();
        assert_eq!((log.fault(), waiting_ids(&log)), (None, vec![ids[4]]), "{call:?}");
        assert_eq!(told(&log.reader()), ids[..4], "{call:?}");
        let after = send(&mut log, b"after", 1);
        log.commit().unwrap();
        drop(log);
        let (log, found) = place.open_on(&disk);
        assert_eq!(waiting_ids(&log), [ids[4], after[0]], "{call:?}");
        assert_eq!((found.ledger.accepted, found.ledger.delivered), (6, 4), "{call:?}");
    }
}

#[test]
fn what_is_kept_in_memory_has_a_limit() {
    let (_place, disk, mut log) = house();
    let ids: Vec<_> = (0..6).flat_map(|_| send(&mut log, b"kept", 40)).collect();
    log.commit().unwrap();
    append(&mut log, &content(""), b"lost").unwrap();
    disk.fail(Call::Write, 1, EIO);
    assert!(log.flush().is_err());
    let taken = ids.iter().take_while(|id| {
        log.append_outcome(**id, &outcome(Disposition::Delivered, 1))
            .inspect_err(|error| assert!(matches!(error, SpoolError::Closed { .. }), "{error}"))
            .is_ok()
    });
    let taken = taken.count();
    assert!((20..ids.len()).contains(&taken), "{taken}");
    log.go_on().unwrap();
    ids[taken..].iter().for_each(|id| finish(&mut log, *id));
    log.commit().unwrap();
    assert_eq!(told(&log.reader()), ids);
}

#[test]
fn a_notice_outlives_the_failure_with_its_identifier() {
    let (place, disk, mut log) = house();
    let notice = Content { notice: true, ..content("") };
    let first = append(&mut log, &notice, b"could not be delivered").unwrap();
    let lost = append(&mut log, &content(""), b"lost").unwrap();
    disk.fail(Call::Write, 1, EIO);
    assert!(log.flush().is_err());
    let second = append(&mut log, &notice, b"nor could this").unwrap();
    disk.fail(Call::Sync, 1, EIO);
    assert!(log.go_on().is_err());
    log.append_outcome(first, &outcome(Disposition::Deferred, 3)).unwrap();
    log.go_on().unwrap();
    let check = |log: &Log| {
        let waiting: Vec<_> = log.waiting().map(|waiting| (waiting.id, waiting.attempts)).collect();
        assert_eq!(waiting, [(first, 3), (second, 0)]);
        let reader = log.reader();
        let body = |id| reader.content(reader.recipient(id).unwrap().content()).unwrap().body().to_vec();
        assert_eq!(
            (body(first), body(second)),
            (b"could not be delivered".to_vec(), b"nor could this".to_vec())
        );
        assert!(reader.recipient(lost).is_err());
    };
    check(&log);
    let ledger = log.ledger();
    assert_eq!((ledger.accepted, ledger.queued()), (2, 2));
    drop(log);
    let (mut log, found) = place.open_on(&disk);
    check(&log);
    assert_eq!((found.ledger, found.corrected), (ledger, 0));
    [first, second].iter().for_each(|id| finish(&mut log, *id));
    log.commit().unwrap();
    assert_eq!(log.ledger().queued(), 0);
}

#[test]
fn campaigns_and_what_reclaim_carried_outlive_the_failure() {
    let (place, disk, mut log) = house();
    let campaign = log.append_content(&template("t"), b"{}").unwrap();
    let old = send(&mut log, &[b'o'; 500], 1);
    log.commit().unwrap();
    while place.segments().len() < 8 {
        let done = send(&mut log, &[b'x'; 3000], 1);
        finish(&mut log, done[0]);
    }
    log.commit().unwrap();
    let carried = log.reclaim_step(u64::MAX).unwrap().carried;
    assert!(carried >= 2, "{carried} carried: the template and what waits");
    let mut given_up = recipient("member@example.test");
    given_up.content = campaign;
    log.append_recipient(&given_up).unwrap();
    let lost_template = log.append_content(&template("lost"), b"{}").unwrap();
    disk.fail(Call::Write, 1, EIO);
    assert!(log.flush().is_err());
    log.go_on().unwrap();
    assert_eq!(log.campaigns().len(), 1);
    assert!(log.reader().content(lost_template).is_err());
    while log.reclaim_step(u64::MAX).unwrap().dropped_segments > 0 {
        log.commit().unwrap();
    }
    log.append_recipient(&given_up).unwrap();
    log.commit().unwrap();
    drop(log);
    let (log, found) = place.open_on(&disk);
    assert!(waiting_ids(&log).contains(&old[0]) && found.waiting == 2);
    assert_eq!(log.reader().content(campaign).unwrap().body(), b"{}");
    let body = log.reader().content(log.reader().recipient(old[0]).unwrap().content()).unwrap();
    assert_eq!(body.body(), [b'o'; 500]);
}

#[test]
fn the_last_quarter_is_for_outcomes_while_no_next_segment_stands() {
    let (place, disk, mut log) = house();
    disk.fail(Call::Reserve, u32::MAX, ENOSPC);
    let mut ids = Vec::new();
    let refused = loop {
        match append(&mut log, &content(""), &[b'x'; 700]) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert!(refused.is_disk_full(), "{refused}");
    assert_eq!((log.fault(), place.segments().len()), (None, 1), "nothing of what could not be made is left");
    while let Ok(id) = append(&mut log, &content(""), b"small") {
        ids.push(id);
    }
    let position = log.appended();
    assert!(append(&mut log, &content(""), b"small").unwrap_err().is_disk_full());
    assert_eq!(log.appended(), position);
    ids.iter().for_each(|id| finish(&mut log, *id));
    log.commit().unwrap();
    disk.mend();
    append(&mut log, &content(""), b"there is room again").unwrap();
    log.commit().unwrap();
    assert_eq!((log.ledger().delivered, log.waiting_count()), (ids.len() as u64, 1));
}

#[test]
fn the_next_segment_can_be_made_elsewhere() {
    let (place, disk, mut log) = house();
    assert!(log.next_segment().is_none(), "not while the first is nearly empty");
    (0..2).for_each(|_| drop(send(&mut log, &[b'x'; 2500], 1)));
    let order = log.next_segment().unwrap();
    assert!(log.next_segment().is_none(), "one at a time");
    log.next_made(order.make()).unwrap();
    assert_eq!(place.files().len(), 2);
    disk.fail(Call::Create, 1, EIO);
    (0..2).for_each(|_| drop(send(&mut log, &[b'x'; 2500], 1)));
    disk.mend();
    (0..2).for_each(|_| drop(send(&mut log, &[b'x'; 2500], 1)));
    // The one that is ordered comes too late.
    let order = log.next_segment().unwrap();
    (0..3).for_each(|_| drop(send(&mut log, &[b'x'; 2500], 1)));
    log.next_made(order.make()).unwrap();
    log.commit().unwrap();
    let waiting = waiting_ids(&log);
    drop(log);
    assert_eq!(waiting_ids(&place.open_on(&disk).0), waiting);
}

#[test]
fn what_was_given_up_stays_so_after_every_start() {
    let (place, disk, mut log) = house();
    send(&mut log, b"lost", 1);
    disk.fail(Call::Sync, 1, EIO);
    sync_on(&mut log, &disk);
    log.go_on().unwrap();
    drop(log);
    for start in 0..3 {
        let (log, found) = place.open_on(&disk);
        assert_eq!((found.ledger.accepted, waiting_ids(&log)), (0, vec![]), "start {start}");
    }
}

#[test]
fn new_mail_leaves_min_free_of_the_disk_and_outcomes_may_take_it() {
    let (mut place, disk) = (Place::volatile(Durability::Disk), Arc::new(RoughDisk::tearing()));
    place.options.min_free_bytes = 1 << 20;
    disk.set_free((1 << 20) + 15_000);
    let mut log = place.open_on(&disk).0;
    let mut ids = Vec::new();
    let refused = loop {
        match append(&mut log, &content(""), &[b'x'; 700]) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SpoolError::NoRoom { .. }) && refused.is_disk_full(), "{refused}");
    assert!(log.wants_next() && !log.needs_next());
    assert!(log.next_segment().map(|order| log.next_made(order.make())).unwrap().is_err());
    for id in ids.iter().cycle().take(100 * ids.len()) {
        log.append_outcome(*id, &outcome(Disposition::Deferred, 1)).unwrap();
    }
    assert!(place.segments().len() > 2, "outcomes go on in segments of their own");
    disk.set_free(2 << 20);
    append(&mut log, &content(""), b"there is room again").unwrap();
}

#[test]
fn a_start_finds_room_on_a_full_disk() {
    let (place, disk, mut log) = house();
    let ids = send(&mut log, b"kept", 1);
    log.commit().unwrap();
    drop(log);
    disk.fail(Call::Reserve, 1, ENOSPC);
    let mut log = place.open_on(&disk).0;
    finish(&mut log, ids[0]);
    log.commit().unwrap();
    assert!(place.shard_directory().join("reserve").exists(), "what a start has used is put back");
}

#[test]
fn whoever_reads_an_outcome_after_a_failure_finds_its_recipient() {
    let (place, disk, mut log) = house();
    let old = send(&mut log, &[b'o'; 500], 1)[0];
    // Carried once, durably; its first segment goes.
    for carried in 0..2 {
        while place.segments().len() < 8 {
            let done = send(&mut log, &[b'x'; 3000], 1);
            finish(&mut log, done[0]);
        }
        log.commit().unwrap();
        while log.reclaim_step(u64::MAX).unwrap().carried == 0 {}
        if carried == 0 {
            log.commit().unwrap();
            while log.reclaim_step(u64::MAX).unwrap().dropped_segments > 0 {
                log.commit().unwrap();
            }
        }
    }
    // Carried once more, and finished, when the write fails.
    finish(&mut log, old);
    disk.fail(Call::Write, 1, EIO);
    assert!(log.flush().is_err());
    log.go_on().unwrap();
    assert!(told(&log.reader()).contains(&old));
    assert_eq!(log.reader().recipient(old).unwrap().address(), "r0@example.test");
    let ledger = log.ledger();
    drop(log);
    let (log, found) = place.open_on(&disk);
    assert_eq!((found.ledger, waiting_ids(&log)), (ledger, vec![]));
}
