//! Receivers that are gone, full of limits, or rude: what the engine does to them, and to the mail for them.

use std::time::{Duration, Instant};

use mta::PathFilter;

use crate::house::{House, PATIENCE, message, to};
use crate::sink::{Manner, Sink};

/// Long enough for what must not happen to happen.
const WHILE: Duration = Duration::from_millis(700);
/// Less than an idle connection is kept.
const AT_ONCE: Duration = Duration::from_secs(5);

fn submit(house: &House, recipients: &[String]) {
    let sender = Some("ann@sender.test".parse().expect("an address"));
    let submission = mta::Submission {
        meta: mta::SubmissionMeta::new(sender, mail::Class::Transactional),
        body: message("x").into_bytes(),
        recipients: recipients.iter().map(|address| to(address)).collect(),
    };
    house.wait(house.handle().submit(submission)).expect("taken");
}

fn many(count: usize, domain: &str) -> Vec<String> {
    (0..count).map(|n| format!("r{n}@{domain}")).collect()
}

#[test]
fn a_recipient_that_was_answered_before_the_connection_broke_has_one_story() {
    let house = House::start("[class.transactional]\nretry = [\"1h\"]\n");
    house.client().send("ann@sender.test", &["drop-bob@there.test"], &message("x"));
    while house.handle().counters().deferrals == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(WHILE);
    assert_eq!(house.sink.asked(), ["drop-bob@there.test"]);
    assert_eq!((house.handle().counters().deferrals, house.handle().ledger().queued()), (1, 1));
}

#[test]
fn a_server_that_takes_few_messages_per_connection_gets_more_connections() {
    let manner = Manner { offers: "LIMITS MAILMAX=2", ..Manner::default() };
    let house = House::with_sink(Sink::with(manner), "");
    let mut client = house.client();
    for n in 0..10 {
        client.send("ann@sender.test", &[&format!("r{n}@there.test")], &message("x"));
    }
    house.sink.wait_for(10, AT_ONCE);
    assert!(house.sink.connections() >= 5);
}

#[test]
fn an_idle_connection_makes_room_for_another_site_of_its_provider() {
    let other = Sink::start();
    let house = House::start(&format!(
        "[[route]]\ndomain = \"b.test\"\nhosts = [\"{}\"]\ntls = \"off\"\n\
         [provider.both]\ndomains = [\"a.test\", \"b.test\"]\nconnections = 1\n",
        other.address()
    ));
    house.client().send("ann@sender.test", &["x@a.test"], &message("x"));
    house.wait_ledger("the first site", |ledger| ledger.delivered == 1);
    house.client().send("ann@sender.test", &["x@b.test"], &message("x"));
    other.wait_for(1, AT_ONCE);
}

#[test]
fn a_path_that_rests_gives_its_connection_up() {
    let other = Sink::start();
    let house = House::start(&format!(
        "[[route]]\ndomain = \"b.test\"\nhosts = [\"{}\"]\ntls = \"off\"\n\
         [provider.both]\ndomains = [\"a.test\", \"b.test\"]\nconnections = 1\n",
        other.address()
    ));
    house.client().send("ann@sender.test", &["x@a.test"], &message("x"));
    house.wait_ledger("the first site", |ledger| ledger.delivered == 1);
    let handle = house.handle();
    let until = handle.now() + Duration::from_secs(3600);
    assert_eq!(house.wait(handle.suspend(PathFilter::default(), until, "a test".to_owned())), 1);
    house.client().send("ann@sender.test", &["x@a.test"], &message("x"));
    house.client().send("ann@sender.test", &["x@b.test"], &message("x"));
    other.wait_for(1, AT_ONCE);
}

#[test]
fn a_server_that_hangs_up_on_everybody_is_left_alone_for_a_while() {
    let few = "[provider.there]\ndomains = [\"there.test\"]\nconnections = 5\npipeline_depth = 2\n\
               recipients_per_message = 1\n";
    for hangs_up in ["421 4.3.0 not now", "250 ok"] {
        let manner = Manner { hangs_up: Some(hangs_up), ..Manner::default() };
        let house =
            House::with_sink(Sink::with(manner), &format!("{few}[class.transactional]\nretry = [\"1h\"]\n"));
        submit(&house, &many(200, "there.test"));
        while house.handle().counters().deferrals == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(WHILE);
        let (connections, deferrals) = (house.sink.connections(), house.handle().counters().deferrals);
        assert!(connections <= 15, "{hangs_up}: {connections} connections");
        assert!(deferrals <= 15, "{hangs_up}: {deferrals} attempts spent");
    }
}

#[test]
fn the_first_outage_of_many_connections_is_one_failure() {
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let house = House::start(&format!(
        "[[route]]\ndomain = \"gone.test\"\nhosts = [\"{closed}\"]\ntls = \"off\"\n\
         [provider.gone]\ndomains = [\"gone.test\"]\nconnections = 20\n"
    ));
    submit(&house, &many(200, "gone.test"));
    let began = Instant::now();
    let handle = house.handle();
    let until = loop {
        let path = house.wait(handle.paths()).into_iter().find_map(|path| path.suspended_until);
        if let Some(until) = path {
            break until;
        }
        assert!(began.elapsed() < PATIENCE);
    };
    std::thread::sleep(WHILE);
    let later = house.wait(handle.paths()).into_iter().find_map(|path| path.suspended_until);
    assert_eq!(later, Some(until), "one failure, one rest");
    assert!(until.since(handle.now()) < Duration::from_secs(6));
    assert_eq!(handle.ledger().queued(), 200);
}

#[test]
fn a_slow_rate_opens_no_connections_in_vain() {
    let house = House::start(
        "[provider.there]\ndomains = [\"there.test\"]\nrate = \"1/h\"\n[deliver]\nidle_timeout = \"200ms\"\n",
    );
    submit(&house, &many(20, "there.test"));
    house.sink.wait_for(1, PATIENCE);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(house.sink.connections() <= 3, "{} connections", house.sink.connections());
    assert_eq!(house.sink.count(), 1);
}

#[test]
fn a_host_that_does_not_want_to_speak_is_passed_over_for_the_next() {
    let busy = Sink::with(Manner { greeting: "421 4.3.2 too busy", ..Manner::default() });
    let good = Sink::start();
    let house = House::start(&format!(
        "[[route]]\ndomain = \"two.test\"\nhosts = [\"{}\", \"{}\"]\ntls = \"off\"\n",
        busy.address(),
        good.address()
    ));
    submit(&house, &many(3, "two.test"));
    good.wait_for(3, AT_ONCE);
}

#[test]
fn hosts_of_a_route_are_tried_in_their_order() {
    let (first, second) = (Sink::start(), Sink::with(Manner { greeting: "421 full", ..Manner::default() }));
    let (a, b) = (first.address(), second.address());
    // Equal hosts are one site, whose connections are used again whatever the order: hence a third.
    let third = Sink::start();
    let house = House::start(&format!(
        "[[route]]\ndomain = \"a.test\"\nhosts = [\"{a}\", \"{b}\"]\ntls = \"off\"\n\
         [[route]]\ndomain = \"b.test\"\nhosts = [\"{b}\", \"{}\"]\ntls = \"off\"\n",
        third.address()
    ));
    submit(&house, &many(20, "a.test"));
    first.wait_for(20, PATIENCE);
    assert_eq!(second.connections(), 0);
    submit(&house, &many(20, "b.test"));
    third.wait_for(20, PATIENCE);
    assert!(second.connections() > 0);
}

#[test]
fn a_site_that_does_not_want_to_speak_bounces_nobody_and_is_left_alone() {
    let said_behind_ehlo = "8BITMIME\r\n421 4.3.2 busy";
    for (greeting, last_offer) in [
        ("554 5.7.1 Rejected", "8BITMIME"),
        ("550 5.7.1 Access denied", "8BITMIME"),
        ("220 sink.test ESMTP", said_behind_ehlo),
        ("220 sink.test ESMTP", "8BITMIME\r\nno reply at all"),
    ] {
        let manner = Manner { greeting, last_offer, ..Manner::default() };
        let house = House::with_sink(Sink::with(manner), "");
        submit(&house, &many(20, "there.test"));
        std::thread::sleep(WHILE);
        let (ledger, connections) = (house.handle().ledger(), house.sink.connections());
        assert_eq!((ledger.queued(), ledger.bounced), (20, 0), "{greeting} {last_offer}");
        assert!((1..=5).contains(&connections), "{greeting} {last_offer}: {connections} connections");
    }
}
