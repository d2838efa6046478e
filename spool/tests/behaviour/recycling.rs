//! The next segment is written over one that is done with: what was in the file before is never taken for part of it.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use mail::RecipientId;
use spool::{ContentRef, Cursor, Damage, DamageKind, Durability, Log, RecordRef};

use crate::reclaim::{churn, reclaim};
use crate::rough::RoughDisk;
use crate::support::{Place, SMALL, SPARES, finish, inode, is_recycled, send, waiting, waiting_ids};

/// A log with spare segments, and their inodes in the order in which they are to be written over: of more than are kept the one
/// that was retired last comes first.
fn log_with_spares(place: &Place) -> (Log, Vec<u64>) {
    let mut log = place.log();
    churn(place, &mut log, SPARES + 3);
    let retired: Vec<_> = place.segments().iter().map(|file| inode(file)).rev().skip(1).collect();
    assert_eq!(retired.len(), SPARES + 2);
    reclaim(&mut log);
    assert_eq!(place.spares().len(), SPARES);
    (log, retired[..SPARES].to_vec())
}

/// The inodes of the segments that were written over old ones, in the order of the log.
fn recycled(place: &Place) -> Vec<u64> {
    place.files().iter().filter(|file| is_recycled(file)).map(|file| inode(file)).collect()
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
    let mut log = log_with_spares(&place).0;
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
    let mut log = log_with_spares(&place).0;
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
fn the_segment_that_was_retired_last_is_written_over_first() {
    let place = Place::new(Durability::Disk);
    let (mut log, spares) = log_with_spares(&place);
    churn(&place, &mut log, SPARES + 3);
    assert_eq!(recycled(&place), spares);
    assert!(place.spares().is_empty());
    reclaim(&mut log);
    assert_eq!(place.spares().len(), SPARES, "and so they are again");
}

#[test]
fn a_spare_segment_that_is_read_is_passed_over_until_it_is_let_go_of() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    churn(&place, &mut log, SPARES + 2);
    // In the segment that will be retired last.
    let id = send(&mut log, &[b'A'; 3000], 1)[0];
    let held = log.reader().content(log.reader().recipient(id).unwrap().content()).unwrap();
    finish(&mut log, id);
    let files = place.segments().len();
    churn(&place, &mut log, files + 1);
    let last = inode(&place.segments()[files - 1]);
    reclaim(&mut log);
    let is_spare = || place.spares().iter().any(|file| inode(file) == last);
    assert!(is_spare());
    churn(&place, &mut log, SPARES + 2);
    assert_eq!(recycled(&place).len(), SPARES - 1, "the others were used");
    assert!(is_spare(), "it waits for its reader");
    assert_eq!(held.body(), [b'A'; 3000]);
    drop(held);
    let files = place.segments().len();
    churn(&place, &mut log, files + 1);
    assert_eq!(recycled(&place).last(), Some(&last));
    assert!(!is_spare());
}

fn assert_unchanged((byte, content): &(u8, ContentRef)) {
    assert!(content.body().iter().all(|found| found == byte), "{:?}", content.id());
}

#[test]
fn what_a_reader_holds_never_changes() {
    let mut place = Place::volatile(Durability::Disk);
    place.options.spare_bytes_max = 16 * SMALL;
    let mut log = place.log();
    let (hand, hands) = sync_channel(4);
    let holder = std::thread::spawn(move || {
        let mut held = VecDeque::new();
        for (turn, next) in hands.into_iter().enumerate() {
            held.push_back(next);
            if held.len() > 20 {
                // Every seventh goes back into the queue.
                held.rotate_left(usize::from(turn % 7 == 0));
                assert_unchanged(&held.pop_front().unwrap());
            }
        }
        held.iter().for_each(assert_unchanged);
    });
    let mut written_over = 0;
    for turn in 0..2000_u32 {
        let byte = u8::try_from(turn % 251).unwrap();
        let id = send(&mut log, &[byte; 1500], 1)[0];
        let content = log.reader().content(log.reader().recipient(id).unwrap().content()).unwrap();
        assert_eq!(content.body(), [byte; 1500]);
        hand.send((byte, content)).expect("nothing changed");
        finish(&mut log, id);
        if turn % 16 == 0 {
            log.commit().unwrap();
            written_over += recycled(&place).len();
            reclaim(&mut log);
        }
    }
    drop(hand);
    holder.join().expect("nothing changed");
    assert!(written_over > 50, "{written_over} segments were written over");
}

#[test]
fn records_in_a_kept_map_are_the_new_ones() {
    let place = Place::new(Durability::Disk);
    let (mut log, _) = log_with_spares(&place);
    let from = Cursor(log.appended().offset());
    let mut sent = Vec::new();
    while recycled(&place).len() < SPARES || !place.spares().is_empty() {
        assert!(sent.len() < 1000, "no segment is written over");
        let byte = u8::try_from(sent.len() % 251).unwrap();
        sent.push((send(&mut log, &[byte; 1200], 1)[0], byte));
    }
    log.commit().unwrap();
    let reader = log.reader();
    let mut found = Vec::new();
    for (_, record) in reader.tail(from) {
        match record {
            RecordRef::Recipient(recipient) => found.push(recipient.id()),
            RecordRef::Damaged { what, .. } => panic!("{what}"),
            _ => {}
        }
    }
    assert!(found.iter().eq(sent.iter().map(|(id, _)| id)));
    for (id, byte) in sent {
        let content = reader.content(reader.recipient(id).unwrap().content()).unwrap();
        assert_eq!(content.body(), [byte; 1200]);
    }
}

#[test]
fn a_spare_file_that_was_replaced_is_not_used() {
    let place = Place::new(Durability::Disk);
    let (mut log, _) = log_with_spares(&place);
    for file in place.spares() {
        let copy = file.with_extension("copy");
        fs::copy(&file, &copy).unwrap();
        fs::rename(&copy, &file).unwrap();
    }
    let id = send(&mut log, b"kept", 1)[0];
    churn(&place, &mut log, SPARES + 3);
    assert_eq!((recycled(&place).len(), place.spares().len()), (0, 0));
    assert!(log.reader().recipient(id).is_ok());
}

#[test]
fn no_spare_segment_is_kept_where_none_fits() {
    for bytes in [0, SMALL - 1] {
        let mut place = Place::new(Durability::Disk);
        place.options.spare_bytes_max = bytes;
        let mut log = place.log();
        for _ in 0..2 {
            churn(&place, &mut log, 4);
            reclaim(&mut log);
            assert_eq!((recycled(&place).len(), place.spares().len()), (0, 0));
        }
    }
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
fn a_disk_that_is_nearly_full_keeps_no_spare_segments() {
    let place = Place::new(Durability::Disk);
    let mut log = log_with_spares(&place).0;
    let _ = log.dropped();
    log.set_disk_low(true);
    assert!(place.spares().is_empty());
    assert!(log.dropped().is_some(), "their maps are to be let go of elsewhere");
    churn(&place, &mut log, 4);
    reclaim(&mut log);
    assert!(place.spares().is_empty());
}

#[test]
fn spare_segments_take_an_eighth_of_what_is_free_at_most() {
    let (place, disk) = (Place::new(Durability::Disk), Arc::new(RoughDisk::default()));
    let mut log = place.open_on(&disk).0;
    disk.set_free(8 * 3 * SMALL - 1);
    churn(&place, &mut log, SPARES + 3);
    reclaim(&mut log);
    assert_eq!(place.spares().len(), 2, "as each was retired");
    disk.set_free(8 * SMALL);
    log.set_disk_low(false);
    assert_eq!(place.spares().len(), 1, "and when somebody else has taken room");
    disk.set_free(8 * SMALL - 1);
    log.set_disk_low(false);
    assert!(place.spares().is_empty());
}

#[test]
fn a_start_leaves_no_spare_segments_behind() {
    let place = Place::new(Durability::Disk);
    drop(log_with_spares(&place).0);
    let (log, found) = place.open();
    assert_eq!((log.ledger().queued(), found.damage.len()), (0, 0));
    assert!(place.spares().is_empty());
}
