//! Looking into a spool changes nothing and works whatever its state.

use std::fs;
use std::os::unix::fs::FileExt;

use spool::inspect::{FileState, Inspection, What, segment_files};
use spool::{Durability, Kind};

use crate::support::{Place, finish, send};

#[test]
fn a_running_spool_can_be_looked_into() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    while place.segments().len() < 3 {
        let ids = send(&mut log, &[b'y'; 2000], 1);
        finish(&mut log, ids[0]);
    }
    log.flush().unwrap();
    for directory in [place.path().to_owned(), place.path().join("spool"), place.shard_directory()] {
        assert_eq!(segment_files(&directory).unwrap(), place.segments());
    }
    let mut kinds = Vec::new();
    let mut bodies = 0;
    for file in segment_files(place.path()).unwrap() {
        let inspection = Inspection::open(&file).unwrap();
        assert!(matches!(inspection.state(), FileState::Segment { shard: 0, .. }));
        for entry in inspection.entries() {
            match entry.what {
                What::Record(kind, _) => kinds.push(kind),
                What::End => kinds.push(Kind::End),
                What::Damaged(why) | What::Torn(why) => panic!("{why}"),
            }
            bodies += usize::from(entry.content.is_some_and(|content| content.body() == [b'y'; 2000]));
        }
    }
    let count = |kind| kinds.iter().filter(|there| **there == kind).count();
    assert_eq!((count(Kind::Totals), count(Kind::End)), (3, 2));
    assert_eq!(count(Kind::Content), bodies);
    assert_eq!(count(Kind::Outcome) as u64, log.ledger().delivered);
}

#[test]
fn a_damaged_spool_can_be_looked_into() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let hurt = send(&mut log, b"x", 1)[0];
    send(&mut log, b"x", 1);
    drop(log);
    let file = place.segments()[0].clone();
    let before = fs::read(&file).unwrap();
    let end = before.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let writer = fs::OpenOptions::new().write(true).open(&file).unwrap();
    writer.write_all_at(&[0x55], hurt.0.position() + 33).unwrap();
    writer.write_all_at(&[0x55; 100], end + 40).unwrap();
    let inspection = Inspection::open(&file).unwrap();
    let entries: Vec<_> = inspection.entries().collect();
    let damaged: Vec<_> = entries.iter().filter(|entry| matches!(entry.what, What::Damaged(_))).collect();
    assert_eq!((damaged.len(), damaged[0].id), (1, hurt.0));
    assert!(matches!(&entries.last().unwrap().what, What::Torn(why) if why.contains("header")));

    let summary = inspection.summary();
    assert_eq!((summary.records[&Kind::Content], summary.records[&Kind::Recipient]), (2, 1));
    assert_eq!((summary.damaged.len(), summary.complete), (1, false));
    assert!(summary.torn.is_some());

    fs::write(&file, vec![9; 5000]).unwrap();
    assert_eq!(Inspection::open(&file).unwrap().state(), FileState::Unreadable);
    fs::write(&file, b"").unwrap();
    assert_eq!(Inspection::open(&file).unwrap().state(), FileState::Blank);
    assert_eq!(Inspection::open(&file).unwrap().entries().count(), 0);
}
