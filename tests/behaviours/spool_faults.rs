//! A disk that takes nothing more: what is delivered is still recorded once, and nothing is delivered unrecorded.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mail::Class;
use mta::{Handle, PathFilter, Submission, SubmissionMeta};

use crate::house::{House, message, to};

fn submit(house: &House, bytes: usize, recipients: usize) -> bool {
    submit_by(house, &house.handle(), bytes, recipients)
}

fn submit_by(house: &House, handle: &Handle, bytes: usize, recipients: usize) -> bool {
    let sender = Some("ann@sender.test".parse().expect("an address"));
    let body = format!("{}{}\r\n", message("x"), "x".repeat(bytes));
    let submission = Submission {
        meta: SubmissionMeta::new(sender, Class::Transactional),
        body: body.into_bytes(),
        recipients: (0..recipients).map(|n| to(&format!("r{n}@there.test"))).collect(),
    };
    house.wait(handle.submit(submission)).is_ok()
}

/// Fills the spool while everything waits on a path that rests, with the directories of its segments away: as a full
/// disk. Yields what was accepted.
fn fill(house: &House, messages: usize) -> u64 {
    let handle = house.handle();
    submit(house, 0, 1);
    house.wait_ledger("a path", |ledger| ledger.delivered == 1);
    let until = handle.now() + Duration::from_secs(3600);
    house.wait(handle.suspend(PathFilter::default(), until, "a test".to_owned()));
    (0..messages).for_each(|_| assert!(submit_by(house, &handle, 0, 150)));
    spools(house).iter().for_each(|spool| std::fs::rename(spool, away(spool)).expect("renamed"));
    for bytes in [2_000_000, 200_000, 20_000, 2_000, 0] {
        // The shards take turns.
        while submit_by(house, &handle, bytes, 1) || submit_by(house, &handle, bytes, 1) {}
    }
    handle.ledger().accepted
}

fn spools(house: &House) -> [PathBuf; 2] {
    [0, 1].map(|shard| house.folder().join(format!("spool/{shard}")))
}

fn away(spool: &Path) -> PathBuf {
    spool.with_extension("away")
}

#[test]
fn on_a_full_disk_delivery_goes_on_in_the_room_kept_for_outcomes() {
    let house = House::start("");
    let accepted = fill(&house, 2);
    house.wait(house.handle().resume(PathFilter::default()));
    let ledger = house.wait_ledger("all delivered", |ledger| ledger.delivered == accepted);
    assert_eq!((ledger.queued(), house.sink.count() as u64), (0, accepted));
    let handle = house.handle();
    assert!((0..4).all(|_| !submit_by(&house, &handle, 0, 1)), "and nothing is accepted");
    spools(&house).iter().for_each(|spool| std::fs::rename(away(spool), spool).expect("renamed"));
    let began = Instant::now();
    while !submit(&house, 0, 1) {
        assert!(began.elapsed() < Duration::from_secs(10), "until there is room again");
        std::thread::sleep(Duration::from_millis(100));
    }
    house.wait_ledger("one more", |ledger| ledger.delivered == accepted + 1);
}

#[test]
fn outcomes_wait_for_room_and_nothing_is_delivered_twice() {
    // The room kept for outcomes in a segment of this size is for some seventy.
    let house = House::of_segments("64KiB");
    let accepted = fill(&house, 8);
    house.wait(house.handle().resume(PathFilter::default()));
    std::thread::sleep(Duration::from_secs(1));
    let sent = house.sink.count() as u64;
    assert!(sent < accepted, "{sent} of {accepted} were sent though no outcome could be recorded");
    spools(&house).iter().for_each(|spool| std::fs::rename(away(spool), spool).expect("renamed"));
    let ledger = house.wait_ledger("all delivered", |ledger| ledger.delivered == accepted);
    assert_eq!((ledger.queued(), house.sink.count() as u64), (0, accepted));
}

#[test]
fn a_restored_spool_sends_nothing_until_it_is_released() {
    let mut house = House::start("");
    let until = house.handle().now() + Duration::from_secs(3600);
    submit(&house, 0, 1);
    house.wait_ledger("a path", |ledger| ledger.delivered == 1);
    house.wait(house.handle().suspend(PathFilter::default(), until, "a test".to_owned()));
    assert!(submit(&house, 0, 5));
    house.stop();
    house.begin_restored();
    assert!(house.handle().is_holding());
    assert!(submit(&house, 0, 2), "mail is accepted");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(house.sink.count(), 1);
    let waits = house.wait(house.handle().waiting());
    assert_eq!((waits.scheduled, waits.ready), (7, 0));
    assert!(house.handle().release() && !house.handle().release());
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 8);
    assert_eq!(house.sink.count(), 8);
}
