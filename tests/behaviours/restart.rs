//! What survives: everything that was accepted, with its attempts, and nothing twice.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mail::{Disposition, Enhanced, Outcome, Phase, RecipientId, Reply, Route, Timings, UnixMs};
use spool::{Log, Options, Outbox};

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

/// The recipients that wait in a spool of two shards at which no engine works.
fn waiting(house: &House) -> Vec<RecipientId> {
    let options = Options { segment_bytes: 8 << 20, ..Options::default() };
    let ids = |shard| {
        let (log, _) = Log::open(house.folder(), shard, options).expect("a log");
        log.waiting().map(|waiting| waiting.id).collect::<Vec<_>>()
    };
    [0, 1].into_iter().flat_map(ids).collect()
}

fn second_attempt(disposition: Disposition, reply: Reply) -> Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Outcome {
        at: UnixMs(now.as_millis().try_into().expect("a time")),
        attempt: 2,
        disposition,
        next_attempt: None,
        phase: Phase::Body,
        verdict: String::new(),
        reply,
        route: Arc::new(Route { mx: "mx.there.test".to_owned(), ..Route::default() }),
        timings: Timings::default(),
    }
}

#[test]
fn what_a_killed_engine_had_noted_in_an_outbox_is_not_sent_again() {
    let mut house = House::start("[class.transactional]\nretry = [\"1h\"]\n");
    for name in ["later-a", "later-b", "later-c"] {
        house.client().send("ann@sender.test", &[&format!("{name}@there.test")], &message("x"));
    }
    while house.handle().counters().deferrals < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    house.stop();
    let waiting = waiting(&house);
    let mut outbox = Outbox::create(house.folder(), 0).expect("an outbox");
    let taken = second_attempt(Disposition::Delivered, Reply::enhanced(250, Enhanced(2, 0, 0), "taken"));
    let unknown = Reply::enhanced(550, Enhanced(5, 1, 1), "nobody of that name");
    assert!(outbox.note(waiting[0], &taken));
    assert!(outbox.note(waiting[1], &second_attempt(Disposition::Bounced, unknown)));
    drop(outbox);
    for _ in 0..2 {
        house.begin();
        let ledger = house.wait_ledger("the notice is delivered", |ledger| ledger.delivered == 2);
        assert_eq!((ledger.accepted, ledger.bounced, ledger.queued()), (4, 1, 1));
        house.stop();
    }
    let taken = house.sink.taken();
    assert_eq!(taken.len(), 1, "the notice, and nothing twice");
    assert!(taken[0].from.is_empty() && taken[0].body.contains("nobody of that name"), "{}", taken[0].body);
}

#[test]
fn without_an_outbox_mail_of_other_shards_is_delivered_all_the_same() {
    let mut house = House::start("");
    house.stop();
    for shard in ["0", "1"] {
        let outbox = house.folder().join("spool").join(shard).join("outbox");
        std::fs::remove_file(&outbox).expect("an outbox of the life before");
        // What is no file cannot be made one.
        std::fs::create_dir(&outbox).expect("a directory in its place");
    }
    house.begin();
    let mut clients: Vec<_> = (0..8).map(|_| house.client()).collect();
    for n in 0..20 {
        for client in &mut clients {
            client.send("ann@sender.test", &[&format!("r{n}@there.test")], &message("x"));
        }
    }
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 160);
    assert_eq!(house.sink.count(), 160, "each once");
}
