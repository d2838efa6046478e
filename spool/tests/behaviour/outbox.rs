//! The outbox: what was noted is found by the next life, and nothing else.

use std::fs;
use std::path::PathBuf;

use mail::{Disposition, Outcome, RecipientId, RecordId};
use spool::{Durability, Outbox, SpoolError};

use crate::support::{Place, finish, outcome, send};

fn id(number: u64) -> RecipientId {
    RecipientId(RecordId::new(1, 4096 + number * 16))
}

fn file(place: &Place) -> PathBuf {
    place.shard_directory().join("outbox")
}

fn left(place: &Place) -> Vec<(RecipientId, Outcome)> {
    Outbox::left(place.path()).unwrap()
}

/// An outbox of shard 0 in a spool with a log.
fn made() -> (Place, Outbox) {
    let place = Place::new(Durability::Memory);
    drop(place.open());
    let outbox = Outbox::create(place.path(), 0).unwrap();
    (place, outbox)
}

#[test]
fn what_was_noted_is_found_by_the_next_life() {
    let (place, mut outbox) = made();
    let noted: Vec<_> = (1..=20).map(|number| (id(number), outcome(Disposition::Deferred, 3))).collect();
    for (id, outcome) in &noted {
        assert!(outbox.note(*id, outcome));
    }
    assert_eq!(left(&place), noted, "beside the running engine");
    drop(outbox);
    assert_eq!(left(&place), noted, "and after it");
    drop(Outbox::create(place.path(), 0).unwrap());
    assert_eq!(left(&place), [], "a new one holds nothing");
}

#[test]
fn the_halves_take_turns() {
    let (place, mut outbox) = made();
    let outcome = outcome(Disposition::Delivered, 1);
    let fill = |outbox: &mut Outbox, from: u64| {
        (from..).take_while(|number| outbox.note(id(*number), &outcome)).last().unwrap()
    };
    let first = fill(&mut outbox, 1);
    assert!(first > 1_000, "{first} in the first half");
    outbox.turn();
    let second = fill(&mut outbox, first + 1);
    let numbers = |place: &Place| -> Vec<u64> {
        left(place).iter().map(|(id, _)| (id.0.position() - 4096) / 16).collect()
    };
    assert_eq!(numbers(&place), (1..=second).collect::<Vec<_>>());
    outbox.turn();
    for number in 1..=3 {
        assert!(outbox.note(id(second + number), &outcome));
    }
    let found = numbers(&place);
    assert_eq!(found[..3], [second + 1, second + 2, second + 3]);
    assert!((first + 1..=second).all(|number| found.contains(&number)), "the other half is as it was");
}

#[test]
fn a_note_that_was_cut_short_is_none() {
    let (place, mut outbox) = made();
    for number in 1..=3 {
        assert!(outbox.note(id(number), &outcome(Disposition::Delivered, 1)));
    }
    drop(outbox);
    let whole = fs::read(file(&place)).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for cut in [end, end - 40, end - 90] {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        fs::write(file(&place), bytes).unwrap();
        assert_eq!(left(&place).len(), 2, "cut at {cut}");
    }
    for bytes in [&whole[..0], &whole[..100], &whole[..4096], &vec![0; 1 << 20], &vec![0xff; 1 << 20]] {
        fs::write(file(&place), bytes).unwrap();
        assert_eq!(left(&place), []);
    }
}

#[test]
fn one_of_a_newer_format_is_refused() {
    let (place, outbox) = made();
    drop(outbox);
    let mut bytes = fs::read(file(&place)).unwrap();
    for copy in [0, 2048] {
        bytes[copy + 48] = 9;
    }
    fs::write(file(&place), bytes).unwrap();
    assert!(matches!(Outbox::left(place.path()), Err(SpoolError::Newer { found: 9, .. })));
}

#[test]
fn a_log_lacks_only_what_it_does_not_know() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let [waits, done] = send(&mut log, b"body", 2)[..] else { panic!("two recipients") };
    let deferred = |attempt| outcome(Disposition::Deferred, attempt);
    let delivered = outcome(Disposition::Delivered, 2);
    assert!(log.lacks(waits, &deferred(1)) && log.lacks(waits, &delivered));
    log.append_outcome(waits, &deferred(1)).unwrap();
    assert!(!log.lacks(waits, &deferred(1)), "it was written");
    assert!(log.lacks(waits, &deferred(2)) && log.lacks(waits, &delivered));
    finish(&mut log, done);
    assert!(!log.lacks(done, &delivered) && !log.lacks(done, &deferred(3)), "it is finished");
    let elsewhere = RecipientId(RecordId::new(1, waits.0.position()));
    assert!(!log.lacks(elsewhere, &delivered), "a recipient of another shard");
}
