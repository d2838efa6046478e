//! Whose turn it is: critical mail overtakes, a slow path slows nobody else.

use std::time::{Duration, Instant};

use mail::{Class, ReversePath};
use mta::{Submission, SubmissionMeta};
use spool::CampaignPhase;

use crate::house::{House, PATIENCE, message, newsletter, to};

const SLOW: &str = "[provider.slow]\ndomains = [\"slow.test\"]\nrate = \"100/s\"\nconnections = 5\n";

fn submit(house: &House, class: Class, domain: &str, count: usize) {
    let sender: ReversePath = Some("ann@sender.test".parse().expect("an address"));
    let submission = Submission {
        meta: SubmissionMeta::new(sender, class),
        body: message(class.name()).into_bytes(),
        recipients: (0..count).map(|n| to(&format!("r{n}@{domain}"))).collect(),
    };
    house.wait(house.handle().submit(submission)).expect("taken");
}

#[test]
fn critical_mail_overtakes_what_waits_on_a_limited_path() {
    let house = House::start(SLOW);
    submit(&house, Class::Bulk, "slow.test", 5_000);
    house.sink.wait_for(50, PATIENCE);
    let begun = Instant::now();
    submit(&house, Class::Critical, "slow.test", 1);
    let arrived = loop {
        let taken = house.sink.taken();
        if let Some(taken) = taken.iter().find(|taken| taken.body.contains("Subject: critical")) {
            break taken.at;
        }
        assert!(begun.elapsed() < PATIENCE, "the critical message has not left");
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(arrived - begun < Duration::from_secs(1), "it took {:?}", arrived - begun);
    assert!(house.sink.count() < 1_000, "the rate was kept");
}

#[test]
fn a_limited_path_does_not_slow_mail_to_others() {
    let house = House::start(SLOW);
    submit(&house, Class::Bulk, "slow.test", 5_000);
    let begun = Instant::now();
    submit(&house, Class::Bulk, "fast.test", 1_000);
    let fast = || house.sink.taken().iter().filter(|taken| taken.to.ends_with("fast.test")).count();
    while fast() < 1_000 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} of 1000 have left", fast());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ten messages of 50 kB at 200 kB/s: two seconds and a quarter from the first to the last.
#[test]
fn a_limit_of_bytes_spreads_large_messages_and_critical_mail_does_not_wait_for_it() {
    let house = House::start(
        "[provider.slow]\ndomains = [\"slow.test\"]\nrate_bytes = \"200kB/s\"\nconnections = 2\n\
         pipeline_depth = 1\nrecipients_per_message = 1\n",
    );
    let sender: ReversePath = Some("ann@sender.test".parse().expect("an address"));
    let body = format!("{}{}", message("large"), "0123456789abcdef\r\n".repeat(50_000 / 18)).into_bytes();
    let large = |count: usize| Submission {
        meta: SubmissionMeta::new(sender.clone(), Class::Transactional),
        body: body.clone(),
        recipients: (0..count).map(|n| to(&format!("r{n}@slow.test"))).collect(),
    };
    let ids = house.wait(house.handle().submit(large(10))).expect("taken").recipients;
    house.sink.wait_for(3, PATIENCE);
    let begun = Instant::now();
    submit(&house, Class::Critical, "slow.test", 1);
    let codes: Vec<_> = ids
        .iter()
        .filter_map(|&id| house.wait(house.handle().explain(id)))
        .map(|why| why.found.code)
        .collect();
    assert!(codes.contains(&"budget.bytes"), "{codes:?}");
    let taken = house.sink.wait_for(11, PATIENCE);
    let is_critical = |body: &str| body.contains("Subject: critical");
    let critical = taken.iter().find(|taken| is_critical(&taken.body)).expect("it arrived");
    assert!(critical.at - begun < Duration::from_secs(1), "it took {:?}", critical.at - begun);
    let large = || taken.iter().filter(|taken| !is_critical(&taken.body)).map(|taken| taken.at);
    let took = large().max().expect("the last") - large().min().expect("the first");
    // Two connections may each begin with one message before either is counted, and a tenth of a second may run ahead.
    assert!(took > Duration::from_millis(1_700) && took < Duration::from_secs(6), "it took {took:?}");
}

/// Waits until the answer to whether mail is taken is as `wanted`.
fn wait_health(house: &House, wanted: impl Fn(&Result<(), String>) -> bool) {
    let begun = Instant::now();
    while !wanted(&house.handle().health()) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", house.handle().health());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn when_too_many_wait_mail_and_lists_are_refused_for_now_and_then_taken_again() {
    let mut house = House::start("");
    house.stop();
    house.waiting_max = 10;
    house.begin();
    let id = house.campaign(newsletter(), "").expect("created");
    let list: Vec<_> = (0..10).map(|n| to(&format!("r{n}@there.test"))).collect();
    house.add(id, &list).expect("ten may wait");
    wait_health(&house, Result::is_err);
    let refusal = house.add(id, &list).expect_err("ten wait");
    assert_eq!((refusal.code(), refusal.http_status()), ("queue_full", 503));
    assert!(refusal.retry_after().is_some());
    let mut client = house.client();
    let reply = client.says("MAIL FROM:<ann@sender.test>", "452 4.3.1");
    assert!(reply.contains("10 recipients wait") && reply.contains("spool.waiting_max"), "{reply}");
    house.set(id, CampaignPhase::Running).expect("what waits may still be started");
    house.wait_ledger("all leave", |ledger| ledger.delivered == 10);
    wait_health(&house, Result::is_ok);
    let reply = house.client().send("ann@sender.test", &["bob@there.test"], &message("x"));
    assert!(reply.starts_with("250"), "{reply}");
    house.add(id, &list).expect("there is room again");
    house.wait_ledger("nothing was lost", |ledger| ledger.delivered == 21);
}
