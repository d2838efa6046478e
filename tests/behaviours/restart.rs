//! What survives: everything that was accepted, with its attempts, and nothing twice.

use std::time::Duration;

use crate::house::{House, PATIENCE, message};

#[test]
fn queued_mail_is_delivered_after_a_restart() {
    let mut house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"1/h\"\n");
    let mut client = house.client();
    for n in 0..50 {
        client.send("ann@sender.test", &[&format!("r{n}@there.test")], &message("x"));
    }
    house.sink.wait_for(1, PATIENCE);
    house.stop();
    let before = house.sink.count();
    assert!(before < 50);
    house.set_extra("");
    house.begin();
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 50);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(house.sink.count(), 50, "each once");
}

#[test]
fn attempts_survive_a_restart() {
    let mut house = House::start("[class.transactional]\nretry = [\"1s\"]\n");
    house.client().send("ann@sender.test", &["later-bob@there.test"], &message("x"));
    while house.handle().counters().deferrals == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    house.stop();
    house.begin();
    house.sink.wait_for(1, PATIENCE);
    let ledger = house.wait_ledger("delivered", |ledger| ledger.delivered == 1);
    assert_eq!(ledger.accepted, 1);
}

#[test]
fn the_books_survive_restarts() {
    let mut house = House::start("");
    for round in 1..=3 {
        house.client().send("", &["bob@there.test", "refuse-x@there.test"], &message("x"));
        let ledger = house.wait_ledger("booked", |ledger| ledger.finished() == 2 * round);
        assert_eq!((ledger.delivered, ledger.bounced), (round, round));
        house.stop();
        house.begin();
        assert_eq!(house.handle().ledger(), ledger);
    }
}

#[test]
fn the_time_of_the_next_attempt_survives_a_restart() {
    let mut house = House::start("[class.transactional]\nretry = [\"1h\"]\n");
    house.client().send("ann@sender.test", &["later-bob@there.test"], &message("x"));
    while house.handle().counters().deferrals == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    house.stop();
    house.begin();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((house.sink.count(), house.handle().ledger().queued()), (0, 1));
}

#[test]
fn mail_of_a_shard_that_is_not_asked_for_any_more_is_delivered() {
    let mut house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"1/h\"\n");
    let mut clients: Vec<_> = (0..8).map(|_| house.client()).collect();
    for client in &mut clients {
        client.send("ann@sender.test", &["a@there.test", "b@there.test"], &message("x"));
    }
    house.stop();
    house.shards = 1;
    house.set_extra("");
    house.begin();
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 16);
    assert_eq!(house.sink.count(), 16);
}
