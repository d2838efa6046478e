//! What becomes of accepted mail: delivered, bounced with a notice, deferred and tried again.

use std::time::Duration;

use crate::house::{House, PATIENCE, message};
use crate::sink::{Manner, Sink};

#[test]
fn a_refused_recipient_bounces_and_its_sender_is_told() {
    let house = House::start("");
    house.client().send("ann@sender.test", &["refuse-me@there.test", "bob@there.test"], &message("x"));
    let taken = house.sink.wait_for(2, PATIENCE);
    let notice = taken.iter().find(|taken| taken.from.is_empty()).expect("a notice from <>");
    assert_eq!(notice.to, "ann@sender.test");
    for part in [
        "Final-Recipient: rfc822; refuse-me@there.test",
        "Action: failed",
        "Status: 5.1.1",
        "no such user here",
    ] {
        assert!(notice.body.contains(part), "{part}: {}", notice.body);
    }
    let ledger = house.wait_ledger("booked", |ledger| ledger.finished() == 3);
    assert_eq!((ledger.accepted, ledger.delivered, ledger.bounced), (3, 2, 1));
}

#[test]
fn no_notice_is_written_about_a_notice() {
    let house = House::start("");
    house.client().send("", &["refuse-me@there.test"], &message("x"));
    let ledger = house.wait_ledger("bounced", |ledger| ledger.bounced == 1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((ledger.accepted, house.handle().ledger().accepted, house.sink.count()), (1, 1, 0));
}

#[test]
fn a_deferred_recipient_is_tried_again_by_the_schedule() {
    let house = House::start("[class.transactional]\nretry = [\"1s\"]\n");
    let begun = std::time::Instant::now();
    house.client().send("ann@sender.test", &["later-bob@there.test"], &message("x"));
    let taken = house.sink.wait_for(1, PATIENCE);
    assert!(taken[0].at - begun > Duration::from_millis(800));
    house.wait_ledger("delivered", |ledger| ledger.delivered == 1);
    assert_eq!(house.handle().counters().deferrals, 1);
}

#[test]
fn a_receiver_without_8bitmime_gets_ascii() {
    let manner = Manner { last_offer: "HELP", ..Manner::default() };
    let house = House::with_sink(Sink::with(manner), "");
    let text = "From: ann@sender.test\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nperch\u{e9}\r\n";
    house.client().send("ann@sender.test", &["bob@there.test"], text);
    let taken = house.sink.wait_for(1, PATIENCE);
    let head = "Content-Transfer-Encoding: quoted-printable\r\n\r\nperch=C3=A9\r\n";
    assert!(taken[0].body.ends_with(head), "{}", taken[0].body);
}

#[test]
fn a_fault_of_our_own_holds_the_sender_and_burns_nobody() {
    let house = House::start("[class.transactional]\nretry = [\"1s\"]\n");
    let (handle, mut client) = (house.handle(), house.client());
    let text = "From: ann@broken.test\r\n\r\nHi\r\n";
    client.send("nospf@broken.test", &["first@there.test"], text);
    let held = || handle.holds().into_iter().map(|hold| hold.identity).collect::<Vec<_>>();
    let began = std::time::Instant::now();
    while held().is_empty() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(held(), ["broken.test"]);
    for n in 0..20 {
        client.send("nospf@broken.test", &[&format!("r{n}@there.test")], text);
    }
    client.send("ann@sender.test", &["bob@there.test"], &message("x"));
    house.sink.wait_for(1, PATIENCE);
    std::thread::sleep(Duration::from_millis(200));
    assert!(house.sink.asked().len() <= 2, "the receiver is not asked again: {:?}", house.sink.asked());
    let ledger = handle.ledger();
    assert_eq!((ledger.delivered, ledger.bounced, ledger.queued()), (1, 0, 21));
    house.wait(handle.resume(mta::PathFilter::default()));
    assert!(held().is_empty());
}

#[test]
fn what_cannot_be_delivered_expires_with_a_notice() {
    let house = House::start("[class.transactional]\nretry = [\"1h\"]\nexpiry = \"2s\"\n");
    house.client().send("ann@sender.test", &["later-bob@there.test"], &message("x"));
    let taken = house.sink.wait_for(1, PATIENCE);
    assert_eq!((taken[0].from.as_str(), taken[0].to.as_str()), ("", "ann@sender.test"));
    let ledger = house.wait_ledger("expired", |ledger| ledger.expired == 1);
    assert_eq!(ledger.bounced, 0);
}

#[test]
fn connections_are_reused_and_limited() {
    let house = House::start(
        "[provider.there]\ndomains = [\"there.test\"]\nconnections = 3\nmessages_per_connection = 1000\n",
    );
    let mut client = house.client();
    for n in 0..200 {
        client.send("ann@sender.test", &[&format!("r{n}@there.test")], &message("x"));
    }
    house.sink.wait_for(200, PATIENCE);
    assert!(house.sink.connections() <= 3, "{} connections", house.sink.connections());
}

#[test]
fn mail_leaves_from_the_source_that_is_chosen_for_its_sender() {
    let house = House::start(
        "[[source]]\nname = \"a\"\nip = \"127.0.0.2\"\n[[source]]\nname = \"b\"\nip = \"127.0.0.3\"\n\
         [[pool]]\nname = \"all\"\nsources = [\"a\", \"b\"]\n[class.transactional]\npool = \"all\"\n",
    );
    let mut client = house.client();
    for n in 0..40 {
        let from = format!("ann@sender{}.test", n % 20);
        let text = format!("From: {from}\r\n\r\nHi\r\n");
        client.send(&from, &["bob@there.test"], &text);
    }
    let taken = house.sink.wait_for(40, PATIENCE);
    for sender in 0..20 {
        let from = format!("ann@sender{sender}.test");
        let ips: std::collections::BTreeSet<_> =
            taken.iter().filter(|taken| taken.from == from).map(|taken| taken.client.to_string()).collect();
        assert_eq!(ips.len(), 1, "{from} keeps its source");
    }
    let ips: std::collections::BTreeSet<_> = taken.iter().map(|taken| taken.client.to_string()).collect();
    assert_eq!(ips.into_iter().collect::<Vec<_>>(), ["127.0.0.2", "127.0.0.3"]);
}

/// A key for sender.test in `folder`, and the section of the configuration that names it.
pub(crate) fn signing(folder: &std::path::Path) -> String {
    let key = folder.join("rsa.pem");
    std::fs::write(&key, content::dkim::generate_rsa_2048().expect("a key")).expect("written");
    format!(
        "[[domain]]\nname = \"sender.test\"\n[[domain.dkim]]\nselector = \"s1\"\nkey_file = \"{}\"\nalgorithm = \"rsa-sha256\"\n",
        key.display()
    )
}

#[test]
fn a_signed_message_carries_its_signatures_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::start(&signing(folder.path()));
    house.client().send("ann@sender.test", &["bob@there.test"], &message("x"));
    let taken = house.sink.wait_for(1, PATIENCE);
    assert!(taken[0].body.starts_with("DKIM-Signature: "), "{}", taken[0].body);
    assert!(taken[0].body.contains("d=sender.test"), "{}", taken[0].body);
}
