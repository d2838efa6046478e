//! The next segment is written over one that is done with: what was in the file before is never taken for part of it.

use std::fs;
use std::path::{Path, PathBuf};

use mail::RecipientId;
use spool::{Damage, DamageKind, Durability, Log};

use crate::reclaim::{churn, reclaim};
use crate::support::{Place, finish, is_recycled, send, waiting, waiting_ids};

/// A log that has a spare segment.
fn log_with_spare(place: &Place) -> Log {
    let mut log = place.log();
    churn(place, &mut log, 4);
    reclaim(&mut log);
    assert_eq!(place.spares().len(), 1);
    log
}

/// Where a segment begins, and how many positions it takes up: its header says so.
fn extent(file: &Path) -> (u64, u64) {
    let bytes = fs::read(file).unwrap();
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    (number(16), number(24))
}

/// Sends until the segment being written is one that was written over; its file, and who waits there.
fn fill_into_recycled(place: &Place, log: &mut Log) -> (PathBuf, Vec<RecipientId>) {
    for _ in 0..100 {
        let ids = send(log, &[b'y'; 1500], 2);
        log.commit().unwrap();
        let holds = |file: &PathBuf| {
            let (base, capacity) = extent(file);
            (base..base + capacity).contains(&ids[0].0.position())
        };
        let file = place.files().into_iter().find(holds).expect("it was written");
        if is_recycled(&file) {
            return (file, ids);
        }
        ids.into_iter().for_each(|id| finish(log, id));
        log.commit().unwrap();
        reclaim(log);
    }
    panic!("no segment was written over");
}

/// Flips `bit` of the byte `at` of the last record in a segment that was written over, whose recipient is lost with it, and opens the
/// log again: the one damage that is found.
fn with_damaged_end(at: usize, bit: u8) -> Damage {
    let place = Place::new(Durability::Disk);
    let mut log = log_with_spare(&place);
    let (file, ids) = fill_into_recycled(&place, &mut log);
    drop(log);
    let mut bytes = fs::read(&file).unwrap();
    let last = ids[1].0.position();
    bytes[usize::try_from(last - extent(&file).0).unwrap() + at] ^= bit;
    fs::write(&file, &bytes).unwrap();
    let (log, mut found) = place.open();
    assert_eq!(waiting_ids(&log), ids[..1]);
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    let damage = found.damage.remove(0);
    assert_eq!((damage.kind, damage.id.position()), (DamageKind::TornTail, last));
    assert!(damage.kept_in.is_some());
    damage
}

#[test]
fn a_segment_written_over_an_old_one_ends_where_its_own_records_end() {
    let place = Place::new(Durability::Disk);
    let mut log = log_with_spare(&place);
    let (file, _) = fill_into_recycled(&place, &mut log);
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.iter().rev().take(4096).any(|&byte| byte != 0), "old records lie behind");
    let (before, ledger) = (waiting(&log), log.ledger());
    assert!(!before.is_empty());
    drop(log);
    let (log, found) = place.open();
    assert_eq!((waiting(&log), log.ledger(), found.corrected), (before, ledger, 0));
    assert!(found.damage.is_empty(), "{:?}", found.damage);
}

#[test]
fn a_write_cut_short_is_kept_aside_without_what_lies_behind() {
    // A bit of its head: the header is whole, and says how long it is.
    let damage = with_damaged_end(40, 1);
    assert!(damage.bytes < 1000, "{} bytes", damage.bytes);
}

#[test]
fn a_damaged_header_at_the_end_is_reported() {
    // A bit of the size of its head: the stamp still tells that it was written there.
    with_damaged_end(12, 4);
    // A bit of the stamp: the checksum still does.
    with_damaged_end(24, 1);
}

#[test]
fn a_file_that_is_read_is_not_written_over() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let id = send(&mut log, &[b'A'; 3000], 1)[0];
    let held = log.reader().content(log.reader().recipient(id).unwrap().content()).unwrap();
    finish(&mut log, id);
    churn(&place, &mut log, 4);
    reclaim(&mut log);
    churn(&place, &mut log, 4);
    assert_eq!(held.body(), [b'A'; 3000]);
    let recycled = || place.files().iter().filter(|file| is_recycled(file)).count();
    assert_eq!((recycled(), place.spares().len()), (0, 1), "it waits for its reader");
    drop(held);
    churn(&place, &mut log, 6);
    assert_eq!(recycled(), 1);
}

#[test]
fn what_an_earlier_log_has_read_is_not_written_over() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let id = send(&mut log, &[b'A'; 3000], 1)[0];
    log.commit().unwrap();
    let held = log.reader().content(log.reader().recipient(id).unwrap().content()).unwrap();
    drop(log);
    let mut log = place.log();
    finish(&mut log, id);
    for _ in 0..3 {
        churn(&place, &mut log, 4);
        reclaim(&mut log);
    }
    assert_eq!(held.body(), [b'A'; 3000]);
}

#[test]
fn a_disk_that_is_nearly_full_keeps_no_spare_segment() {
    let place = Place::new(Durability::Disk);
    let mut log = log_with_spare(&place);
    log.set_disk_low(true);
    assert!(place.spares().is_empty());
    churn(&place, &mut log, 4);
    reclaim(&mut log);
    assert!(place.spares().is_empty());
}

#[test]
fn a_start_leaves_no_spare_segment_behind() {
    let place = Place::new(Durability::Disk);
    drop(log_with_spare(&place));
    let (log, found) = place.open();
    assert_eq!((log.ledger().queued(), found.damage.len()), (0, 0));
    assert!(place.spares().is_empty());
}
