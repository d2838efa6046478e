//! Several recipients of one message in one transaction: who goes along with whom, and that each has a story of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::house::{House, PATIENCE, message};
use crate::sink::{Manner, Sink};

const THERE: &str = "[provider.there]\ndomains = [\"there.test\", \"b.test\"]\nrecipients_per_message = 20\n";

fn names(count: usize, domain: &str) -> Vec<String> {
    (0..count).map(|n| format!("r{n}@{domain}")).collect()
}

fn send(house: &House, recipients: &[String]) {
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    house.client().send("ann@sender.test", &recipients, &message("x"));
}

#[test]
fn recipients_of_one_message_and_domain_share_transactions_up_to_the_limit() {
    let house = House::start(THERE);
    let all = [names(60, "there.test"), names(20, "b.test")].concat();
    send(&house, &all);
    let taken = house.sink.wait_for(80, PATIENCE);
    let got: BTreeSet<&str> = taken.iter().map(|taken| taken.to.as_str()).collect();
    assert_eq!(got, all.iter().map(String::as_str).collect());
    assert_eq!(taken.len(), 80, "nobody twice");
    assert_eq!(house.sink.transactions(), 4);
    house.wait_ledger("booked", |ledger| ledger.delivered == 80);
}

#[test]
fn different_messages_do_not_mix() {
    let house = House::start(THERE);
    let mut client = house.client();
    for n in 0..20 {
        client.send("ann@sender.test", &["bob@there.test"], &message(&n.to_string()));
    }
    house.sink.wait_for(20, PATIENCE);
    assert_eq!(house.sink.transactions(), 20);
}

#[test]
fn each_recipient_of_a_transaction_has_its_own_outcome() {
    let house = House::start(&format!("{THERE}[class.transactional]\nretry = [\"1s\"]\n"));
    let mut all = names(5, "there.test");
    all.insert(2, "refuse-x@there.test".to_owned());
    all.insert(4, "later-y@there.test".to_owned());
    send(&house, &all);
    let ledger = house.wait_ledger("all told", |ledger| ledger.delivered == 7 && ledger.bounced == 1);
    assert_eq!(ledger.accepted, 8, "seven recipients and a notice for the one that was refused");
    assert_eq!(house.handle().counters().deferrals, 1);
    let asked = house.sink.asked();
    assert_eq!(asked.iter().filter(|name| *name == "later-y@there.test").count(), 2);
    assert_eq!(asked.len(), 9, "nobody else was asked again: {asked:?}");
}

#[test]
fn a_receiver_that_takes_few_recipients_gets_the_others_in_the_next_transaction() {
    let manner = Manner { recipients_max: 3, ..Manner::default() };
    let house =
        House::with_sink(Sink::with(manner), &format!("{THERE}[class.transactional]\nretry = [\"1h\"]\n"));
    send(&house, &names(20, "there.test"));
    house.sink.wait_for(20, PATIENCE);
    house.wait_ledger("booked", |ledger| ledger.delivered == 20);
    assert_eq!(house.handle().counters().deferrals, 0, "none of them has failed");
    let asked = house.sink.asked().len();
    // All but the first transaction know the limit.
    assert!(asked <= 20 + 17, "{asked} recipients named");
}

#[test]
fn what_the_receiver_announces_is_kept_to() {
    let manner = Manner { offers: "LIMITS RCPTMAX=4", recipients_max: 4, ..Manner::default() };
    let house = House::with_sink(Sink::with(manner), THERE);
    send(&house, &names(20, "there.test"));
    house.sink.wait_for(20, PATIENCE);
    assert_eq!((house.sink.transactions(), house.sink.asked().len()), (5, 20));
}

#[test]
fn one_address_that_the_receiver_cannot_take_does_not_stop_the_others() {
    let house = House::start(THERE);
    let mut all = names(4, "there.test");
    all.insert(1, "gr\u{e5}@there.test".to_owned());
    let handle = house.handle();
    let sender = Some("ann@sender.test".parse().expect("an address"));
    let submission = mta::Submission {
        meta: mta::SubmissionMeta::new(sender, mail::Class::Transactional),
        body: message("x").into_bytes(),
        recipients: all.iter().map(|address| crate::house::to(address)).collect(),
    };
    house.wait(handle.submit(submission)).expect("taken");
    let ledger = house.wait_ledger("all told", |ledger| ledger.bounced == 1 && ledger.delivered >= 4);
    assert!(ledger.accepted <= 6);
    std::thread::sleep(Duration::from_millis(100));
    assert!(house.sink.asked().iter().all(|name| name.is_ascii()));
}
