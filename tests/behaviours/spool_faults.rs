//! A disk that takes nothing more: what is delivered is still recorded once, and nothing is delivered unrecorded.

use std::time::Duration;

use mail::Class;
use mta::{PathFilter, Submission, SubmissionMeta};

use crate::house::{House, message, to};

fn submit(house: &House, bytes: usize, recipients: usize) -> bool {
    let sender = Some("ann@sender.test".parse().expect("an address"));
    let body = format!("{}{}\r\n", message("x"), "x".repeat(bytes));
    let submission = Submission {
        meta: SubmissionMeta::new(sender, Class::Transactional),
        body: body.into_bytes(),
        recipients: (0..recipients).map(|n| to(&format!("r{n}@there.test"))).collect(),
    };
    house.wait(house.handle().submit(submission)).is_ok()
}

#[test]
fn outcomes_wait_for_room_and_nothing_is_delivered_twice() {
    let house = House::start("");
    let handle = house.handle();
    submit(&house, 0, 1);
    house.wait_ledger("a path", |ledger| ledger.delivered == 1);
    let until = handle.now() + Duration::from_secs(3600);
    house.wait(handle.suspend(PathFilter::default(), until, "a test".to_owned()));
    (0..2).for_each(|_| assert!(submit(&house, 0, 150)));
    // Without its directory the spool cannot begin another segment: as a full disk.
    let spools = [0, 1].map(|shard| house.folder().join(format!("spool/{shard}")));
    let away = |spool: &std::path::Path| spool.with_extension("away");
    spools.iter().for_each(|spool| std::fs::rename(spool, away(spool)).expect("renamed"));
    for bytes in [2_000_000, 200_000, 20_000, 2_000, 0] {
        while submit(&house, bytes, 1) || submit(&house, bytes, 1) {}
    }
    let accepted = handle.ledger().accepted;
    house.wait(handle.resume(PathFilter::default()));
    std::thread::sleep(Duration::from_secs(1));
    let sent = house.sink.count() as u64;
    assert!(sent < accepted, "{sent} of {accepted} were sent though no outcome could be recorded");
    spools.iter().for_each(|spool| std::fs::rename(away(spool), spool).expect("renamed"));
    let ledger = house.wait_ledger("all delivered", |ledger| ledger.delivered == accepted);
    assert_eq!((ledger.queued(), house.sink.count() as u64), (0, accepted));
}
