//! Readers: what they do with mail, when, and who hears of it.

use std::collections::BTreeMap;

use world::{Feedback, FeedbackKind, World, mailbox};

use super::{HOUR_MS, START, address, at, counters, open, send, send_from, visit, world};

fn all(world: &mut World) -> Vec<Feedback> {
    let mut heard = Vec::new();
    while let Some(next) = world.next_feedback() {
        world.feedback(next, &mut heard);
    }
    heard
}

#[test]
fn readers_open_click_complain_and_leave_by_their_shares_and_in_their_time() {
    let mut world = world(
        "readers = { open = 0.4, click = 0.25, unsubscribe = 0.1, complaint = 0.05, open_after = '10m', click_after = '1m', complaint_after = '30m' }",
    );
    let (mut connection, _) = open(&mut world, 2, START);
    for n in 0..10_000 {
        connection.set_token(n);
        send(&mut world, &mut connection, &format!("reader{n}@x.test"), START);
    }
    connection.end(&mut world);
    let heard = all(&mut world);
    assert!(heard.is_sorted_by_key(|feedback| feedback.at));
    let mut by_kind: BTreeMap<FeedbackKind, Vec<u64>> = BTreeMap::new();
    for feedback in &heard {
        by_kind.entry(feedback.kind).or_default().push(feedback.at.0 - START.0);
        assert_eq!(feedback.recipient.as_str(), format!("reader{}@x.test", feedback.token));
        assert_eq!(feedback.mailbox, mailbox(&feedback.recipient));
        assert_eq!((&*feedback.identity, feedback.ip.to_string().as_str()), ("sender.test", "127.0.0.2"));
    }
    for (kind, share, mean_s) in [
        (FeedbackKind::Open, 0.4, 600.0),
        (FeedbackKind::Click, 0.1, 660.0),
        (FeedbackKind::Unsubscribe, 0.04, 660.0),
        (FeedbackKind::Complaint, 0.05, 1800.0),
    ] {
        let times = &by_kind[&kind];
        let (count, expected) = (times.len() as f64, 10_000.0 * share);
        assert!((0.85..1.15).contains(&(count / expected)), "{kind:?}: {count} of {expected}");
        let mean = times.iter().sum::<u64>() as f64 / count / 1000.0;
        assert!((0.85..1.15).contains(&(mean / mean_s)), "{kind:?}: {mean} s of {mean_s} s");
    }
    let readers = counters(&world).readers;
    let sum = readers.opens + readers.clicks + readers.unsubscribes + readers.complaints;
    assert_eq!(sum, heard.len() as u64);
}

#[test]
fn what_an_identity_sends_is_liked_as_the_file_says() {
    let mut world = world(
        "readers = { open = 0.2 }\n[[identity]]\ndomain='loved.test'\nopen=0.8\n[[identity]]\ndomain='hated.test'\nopen=0.0\ncomplaint=0.5",
    );
    let (mut connection, _) = open(&mut world, 2, START);
    for n in 0..1000 {
        for domain in ["Loved.test", "hated.test", "other.test"] {
            let sender = Some(address(&format!("x@{domain}")));
            send_from(&mut world, &mut connection, &sender, (&format!("reader{n}@x.test"), START));
        }
    }
    connection.end(&mut world);
    let heard = all(&mut world);
    let count = |identity: &str, kind| {
        heard.iter().filter(|feedback| &*feedback.identity == identity && feedback.kind == kind).count()
    };
    assert!((740..860).contains(&count("loved.test", FeedbackKind::Open)));
    assert!((150..250).contains(&count("other.test", FeedbackKind::Open)));
    assert!((440..560).contains(&count("hated.test", FeedbackKind::Complaint)));
    assert_eq!(count("hated.test", FeedbackKind::Open) + count("loved.test", FeedbackKind::Complaint), 0);
}

#[test]
fn marked_readers_complain_of_everything_and_traps_say_nothing() {
    let mut world = world("readers = { open = 1.0, complaint_after = '0s' }");
    visit(&mut world, 2, "complain.7@x.test", START);
    visit(&mut world, 2, "trap.7@x.test", START);
    let kinds: Vec<_> = all(&mut world).into_iter().map(|feedback| feedback.kind).collect();
    assert_eq!(kinds, [FeedbackKind::Complaint, FeedbackKind::Open]);
    assert_eq!(counters(&world).traps, 1);
}

#[test]
fn complaints_that_senders_are_not_told_of_count_all_the_same() {
    let mut world = world("readers = { told = false, complaint_after = '1s' }");
    visit(&mut world, 2, "complain@x.test", START);
    assert!(all(&mut world).is_empty());
    let mut heard = Vec::new();
    world.feedback(at(HOUR_MS), &mut heard);
    assert_eq!((heard.len(), counters(&world).readers.complaints), (0, 1));
}

#[test]
fn feedback_waits_until_it_is_fetched_and_comes_once() {
    let mut world = world("readers = { complaint_after = '1h' }");
    visit(&mut world, 2, "complain@x.test", START);
    let mut heard = Vec::new();
    world.feedback(START, &mut heard);
    assert!(heard.is_empty());
    let next = world.next_feedback().expect("there will be a complaint");
    assert!(next > START);
    // Other things happen meanwhile, and nobody asks.
    visit(&mut world, 2, "ann@x.test", at(20 * HOUR_MS));
    assert_eq!(world.next_feedback(), Some(next));
    world.feedback(at(20 * HOUR_MS), &mut heard);
    world.feedback(at(20 * HOUR_MS), &mut heard);
    assert_eq!((heard.len(), world.next_feedback()), (1, None));
}
