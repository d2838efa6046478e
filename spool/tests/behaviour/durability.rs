//! 250 needs a token, and only a sync that succeeded mints one.

use mail::Disposition;
use spool::{Durability, SpoolError, SpoolLock};

use crate::support::{Place, content, finish, outcome, recipient, send};

#[test]
fn a_token_is_minted_only_by_a_sync_that_succeeded() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let ids = send(&mut log, b"hello", 2);
    let end = log.appended();
    assert!(log.durable(end).is_none(), "flushed is not durable");
    let target = log.sync_target().unwrap();
    assert!(log.sync_target().is_none(), "one target at a time");
    assert!(log.durable(end).is_none(), "a target is not durable");
    let late = send(&mut log, b"later", 1);
    for file in target.files() {
        file.sync_data().unwrap();
    }
    log.synced(target);
    let token = log.durable(end).unwrap();
    assert!(ids.iter().all(|id| token.covers(id.0)));
    assert!(!token.covers(late[0].0), "what was flushed behind the target is not covered by it");
    assert!(log.durable(log.appended()).is_none());
    assert!(log.sync_target().is_some(), "there is more to sync");
}

#[test]
fn a_record_that_begins_where_the_sync_ended_is_not_durable() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let token = log.commit().unwrap();
    let mut ids = Vec::new();
    let id = log.append_message(&content(""), b"", &[recipient("a@x.test")], &mut ids).unwrap();
    assert_eq!(id.0.position(), token.upto().offset());
    assert!(!token.covers(id.0));
    assert!(log.durable(log.appended()).is_none());
}

#[test]
fn a_target_covers_the_segments_filled_since_the_last_sync() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let first = log.sync_target();
    assert!(first.is_none(), "opening is durable");
    while place.segments().len() < 4 {
        send(&mut log, &[b'x'; 3000], 1);
    }
    let target = log.sync_target().unwrap();
    assert_eq!(target.files().len(), 4, "three full ones and the one being written");
    // While it is out, one more segment fills: its bytes may not be covered by the sync under way.
    while place.segments().len() < 5 {
        send(&mut log, &[b'x'; 3000], 1);
    }
    log.synced(target);
    let next = log.sync_target().unwrap();
    assert_eq!(next.files().len(), 2);
    assert_eq!(next.upto(), log.flushed());
    log.synced(next);
    assert!(log.durable(log.flushed()).is_some());
}

#[test]
fn in_memory_mode_flushed_is_durable() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let mut ids = Vec::new();
    log.append_message(&content(""), b"x", &[recipient("a@x.test")], &mut ids).unwrap();
    assert!(log.durable(log.appended()).is_none());
    log.flush().unwrap();
    assert!(log.durable(log.appended()).is_some());
    assert!(log.sync_target().is_none());
}

#[test]
fn a_second_log_on_the_same_directory_is_refused() {
    let place = Place::new(Durability::Disk);
    let _lock = SpoolLock::acquire(place.path()).unwrap();
    let log = place.log();
    let error = spool::Log::open(place.path(), 0, place.options).unwrap_err();
    assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
    drop(log);
    place.log();
}

#[test]
fn an_outcome_counts_once() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let ids = send(&mut log, b"x", 1);
    finish(&mut log, ids[0]);
    let error = log.append_outcome(ids[0], &outcome(Disposition::Bounced, 2)).unwrap_err();
    assert!(matches!(error, SpoolError::NotWaiting(id) if id == ids[0]), "{error}");
    let ledger = log.ledger();
    assert_eq!((ledger.accepted, ledger.delivered, ledger.bounced, ledger.queued()), (1, 1, 0, 0));
}

#[test]
fn a_message_that_fits_into_no_segment_is_refused_and_leaves_nothing() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let before = log.appended();
    let mut ids = Vec::new();
    let body = vec![b'x'; usize::try_from(place.options.segment_bytes).unwrap()];
    let error = log.append_message(&content(""), &body, &[recipient("a@x.test")], &mut ids).unwrap_err();
    assert!(matches!(error, SpoolError::TooLarge { .. }), "{error}");
    let many: Vec<_> = (0..500).map(|n| recipient(&format!("r{n}@x.test"))).collect();
    let error = log.append_message(&content(""), b"x", &many, &mut ids).unwrap_err();
    assert!(matches!(error, SpoolError::TooLarge { .. }), "{error}");
    assert_eq!((log.appended(), ids.len(), log.ledger().accepted), (before, 0, 0));
    let fits = vec![b'x'; usize::try_from(log.message_bytes_max()).unwrap()];
    log.append_message(&content(""), &fits, &[recipient("a@x.test")], &mut ids).unwrap();
}
