//! Time that runs out while waiting.

use mail::{CampaignId, Class};
use queue::Pull;

use crate::scene::*;

#[test]
fn what_waits_on_a_suspended_path_expires_where_it_stands() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for id in 0..20_000 {
        let seconds = if id % 3 == 0 { 60 } else { 7200 };
        let ticket = expiring(id, Class::Bulk, seconds);
        queue.enqueue(path, flow(Class::Bulk, 1), ticket, START).expect("the path is there");
    }
    queue.suspend(path, at(3_600_000), "blocked");
    assert!(expired(&mut queue, at(59_999)).is_empty());
    let gone = expired(&mut queue, at(60_000));
    assert_eq!(gone, (0..20_000).filter(|id| id % 3 == 0).collect::<Vec<_>>());
    let left = pull_some(&mut queue, path, at(3_600_000), usize::MAX);
    assert_eq!(left, (0..20_000).filter(|id| id % 3 != 0).collect::<Vec<_>>());
    assert_eq!(queue.totals().waiting(), 0);
}

#[test]
fn one_call_looks_at_a_bounded_number_of_places() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for id in 0..100_000 {
        let ticket = expiring(id, Class::Bulk, 60);
        queue.enqueue(path, flow(Class::Bulk, 1), ticket, START).expect("the path is there");
    }
    let mut out = Vec::new();
    queue.expired(at(60_000), 100, &mut out);
    assert_eq!(out.len(), 100, "not more than asked for");
    queue.expired(at(60_000), usize::MAX, &mut out);
    assert!(out.len() <= 100 + 4096, "not more than a portion");
    assert_eq!(expired(&mut queue, at(60_000)).len() + out.len(), 100_000);
}

#[test]
fn a_pull_never_hands_out_what_has_expired() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, Some(policy::Rate::per_second(1))));
    for id in 0..500 {
        let ticket = expiring(id, Class::Bulk, if id == 300 { 900 } else { 60 });
        queue.enqueue(path, flow(Class::Bulk, 1), ticket, START).expect("the path is there");
    }
    let seen = pull_until(&mut queue, path, at(60_000), at(60_010));
    assert_eq!(seen, [(300, at(60_000))], "the expired cost no token");
    let gone = expired(&mut queue, at(60_000));
    assert_eq!(gone, (0..500).filter(|&id| id != 300).collect::<Vec<_>>());
    assert_eq!((queue.pull(path, at(70_000)), queue.totals().waiting()), (Pull::Empty, 0));
}

#[test]
fn critical_mail_expires_out_of_the_order_of_its_deadlines() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for id in 0..10 {
        let mut ticket = urgent(id, 1000 + id as u32);
        ticket.expiry = expiring(id, Class::Critical, if id % 2 == 0 { 60 } else { 7200 }).expiry;
        queue.enqueue(path, flow(Class::Critical, 1), ticket, START).expect("the path is there");
    }
    assert_eq!(expired(&mut queue, at(60_000)), [0, 2, 4, 6, 8]);
    assert_eq!(pull_some(&mut queue, path, at(60_000), 9), [1, 3, 5, 7, 9]);
}

#[test]
fn the_held_and_the_paused_expire_and_the_scheduled_come_out_in_time() {
    let mut queue = queue();
    let news = CampaignId::from_raw(7);
    let path = queue.path(key(1, 1), limits(10, None));
    queue.hold(news, None, expiring(1, Class::Bulk, 60)).expect("not cancelled");
    queue.hold(news, None, expiring(2, Class::Bulk, 7200)).expect("not cancelled");
    queue.pause_campaign(news);
    queue.enqueue(path, of_campaign(7), expiring(3, Class::Bulk, 60), START).expect("the path is there");
    queue.schedule(expiring(4, Class::Bulk, 60), Some(news), at(3_600_000)).expect("not cancelled");
    assert_eq!(expired(&mut queue, at(60_000)), [1, 3]);
    assert_eq!(due(&mut queue, at(60_000)), [4], "an expiry is a due moment");
    assert_eq!(queue.release(news).len(), 1);
    assert_eq!(queue.totals().waiting(), 0);
}
