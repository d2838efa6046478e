//! Connections: how many, and who gives one up for whom.

use std::collections::BTreeMap;

use mail::{Class, UnixMs};
use queue::{PathId, Pull, Queue};

use crate::scene::*;

/// Opens as many connections as the path wants; how many.
fn open(queue: &mut Queue, path: PathId, now: UnixMs) -> u32 {
    let mut opened = 0;
    while queue.wants_connection(path, now) {
        queue.connection_opened(path);
        opened += 1;
    }
    opened
}

#[test]
fn connections_follow_the_work_up_to_the_shared_limit() {
    let mut queue = queue();
    let (a, b) = (queue.path(key(1, 1), limits(10, None)), queue.path(key(1, 2), limits(10, None)));
    assert_eq!(open(&mut queue, a, START), 0, "no work, no connection");
    fill(&mut queue, a, flow(Class::Bulk, 1), 0..3, START);
    assert_eq!(open(&mut queue, a, START), 3, "not more connections than work");
    fill(&mut queue, b, flow(Class::Bulk, 1), 100..200, START);
    assert_eq!(open(&mut queue, b, START), 7, "not more than the limit of both");
    queue.connection_closed(a);
    assert_eq!(open(&mut queue, b, START), 1);
    assert_eq!(queue.totals().connections, 10);
}

#[test]
fn limits_of_its_own_are_shared_with_nobody() {
    let mut queue = queue();
    let (a, b) = (queue.path_alone(key(1, 1), limits(2, None)), queue.path_alone(key(1, 2), limits(2, None)));
    fill(&mut queue, a, flow(Class::Bulk, 1), 0..9, START);
    fill(&mut queue, b, flow(Class::Bulk, 1), 10..19, START);
    assert_eq!((open(&mut queue, a, START), open(&mut queue, b, START)), (2, 2));
    queue.set_limits(a, limits(3, None));
    assert_eq!((open(&mut queue, a, START), open(&mut queue, b, START)), (1, 0));
}

#[test]
fn bulk_borrows_the_places_kept_for_critical_and_gives_them_back() {
    let mut queue = queue();
    let (bulk, critical) = (queue.path(key(1, 1), limits(10, None)), queue.path(key(1, 2), limits(10, None)));
    fill(&mut queue, bulk, flow(Class::Bulk, 1), 0..1000, START);
    assert_eq!(open(&mut queue, bulk, START), 10, "nothing critical waits");
    wanting(&mut queue, START);
    fill(&mut queue, critical, flow(Class::Critical, 1), 5000..5010, START);
    assert!(!queue.wants_connection(critical, START), "all places are taken");
    assert_eq!(queue.pull(bulk, START), Pull::Yield);
    assert!(matches!(queue.pull(bulk, START), Pull::Ticket(..)), "one claim, one place");
    queue.connection_closed(bulk);
    assert!(wanting(&mut queue, START).contains(&critical));
    assert!(!queue.wants_connection(bulk, START));
    assert_eq!(open(&mut queue, critical, START), 1);
}

#[test]
fn new_bulk_connections_stay_off_the_reserve_while_critical_waits() {
    let mut queue = queue();
    let (bulk, critical) = (queue.path(key(1, 1), limits(10, None)), queue.path(key(1, 2), limits(10, None)));
    fill(&mut queue, bulk, flow(Class::Bulk, 1), 0..1000, START);
    fill(&mut queue, critical, flow(Class::Critical, 1), 5000..5001, START);
    let opened = open(&mut queue, bulk, START);
    assert_eq!(opened, 8, "a fifth of ten is kept");
    assert_eq!(open(&mut queue, critical, START), 1);
    assert_eq!(pull_some(&mut queue, critical, START, 2), [5000]);
    assert_eq!(open(&mut queue, bulk, START), 1, "nothing critical waits any more");
}

#[test]
fn an_idle_connection_yields_to_a_path_that_has_none() {
    let mut queue = queue();
    let (idle, late) = (queue.path(key(1, 1), limits(1, None)), queue.path(key(1, 2), limits(1, None)));
    fill(&mut queue, idle, flow(Class::Bulk, 1), [1], START);
    assert_eq!(open(&mut queue, idle, START), 1);
    wanting(&mut queue, START);
    assert_eq!(pull_some(&mut queue, idle, START, 1), [1]);
    assert_eq!(queue.pull(idle, START), Pull::Empty);
    fill(&mut queue, late, flow(Class::Bulk, 1), [2], START);
    let mut paths = wanting(&mut queue, START);
    paths.sort_unstable();
    assert_eq!(paths, [idle, late], "the idle path is to be looked at too");
    assert_eq!(queue.pull(idle, START), Pull::Yield);
    queue.connection_closed(idle);
    assert_eq!(wanting(&mut queue, START), [late]);
    assert_eq!(open(&mut queue, late, START), 1);
    assert_eq!(pull_some(&mut queue, late, START, 1), [2]);
}

#[test]
fn a_thousand_sites_of_one_provider_all_get_their_turn_on_five_places() {
    let mut queue = queue();
    let paths: Vec<PathId> = (0..1000).map(|site| queue.path(key(1, site), limits(5, None))).collect();
    for (&path, site) in paths.iter().zip(0..) {
        fill(&mut queue, path, flow(Class::Bulk, 1), site * 100..site * 100 + 10, START);
    }
    let mut open: Vec<PathId> = Vec::new();
    let mut seen = 0;
    for ms in 0..20_000 {
        for path in wanting(&mut queue, at(ms)) {
            if queue.wants_connection(path, at(ms)) {
                queue.connection_opened(path);
                open.push(path);
            }
        }
        assert!(open.len() <= 5);
        open.retain(|&path| match queue.pull(path, at(ms)) {
            Pull::Ticket(..) => {
                seen += 1;
                true
            }
            Pull::Yield => {
                queue.connection_closed(path);
                false
            }
            Pull::Empty => true,
            other => panic!("{other:?}"),
        });
        if seen == 10_000 {
            return;
        }
    }
    panic!("only {seen} of 10,000 were served");
}

#[test]
fn a_connection_that_finds_more_work_than_hands_asks_for_another() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    fill(&mut queue, path, flow(Class::Bulk, 1), 0..2, START);
    assert_eq!(open(&mut queue, path, START), 2);
    wanting(&mut queue, START);
    fill(&mut queue, path, flow(Class::Bulk, 1), 10..20, START);
    wanting(&mut queue, START);
    pull_some(&mut queue, path, START, 1);
    assert_eq!(wanting(&mut queue, START), [path]);
    assert_eq!(open(&mut queue, path, START), 8);
}

#[test]
fn closing_more_than_was_opened_is_harmless() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    queue.connection_closed(path);
    queue.connection_opened(path);
    queue.connection_closed(path);
    queue.connection_closed(path);
    assert_eq!(queue.totals().connections, 0);
}

#[test]
fn a_path_kept_off_the_reserve_is_named_when_critical_mail_is_done() {
    let mut queue = queue();
    let [big, late, critical] = [1, 2, 3].map(|site| queue.path(key(1, site), limits(10, None)));
    fill(&mut queue, big, flow(Class::Bulk, 1), 0..8, START);
    fill(&mut queue, critical, flow(Class::Critical, 1), [5000], START);
    assert_eq!((open(&mut queue, big, START), open(&mut queue, critical, START)), (8, 1));
    fill(&mut queue, late, flow(Class::Bulk, 1), [9000], START);
    assert!(!queue.wants_connection(late, START), "the last place is kept");
    wanting(&mut queue, START);
    assert_eq!(pull_some(&mut queue, critical, START, 1), [5000]);
    assert_eq!(wanting(&mut queue, START), [late]);
    assert!(queue.wants_connection(late, START));
}

#[test]
fn critical_mail_that_is_stuck_keeps_no_more_than_its_reserve() {
    let mut queue = queue();
    let (stuck, bulk) = (queue.path(key(1, 1), limits(3, None)), queue.path(key(1, 2), limits(3, None)));
    fill(&mut queue, stuck, flow(Class::Critical, 1), 0..100, START);
    queue.connection_opened(stuck);
    queue.connection_opened(stuck);
    fill(&mut queue, bulk, flow(Class::Bulk, 1), [9000], START);
    assert!(queue.wants_connection(bulk, START));
}

#[test]
fn connections_beyond_a_limit_that_came_down_are_closed() {
    let mut queue = queue();
    let (busy, idle) = (queue.path(key(1, 1), limits(8, None)), queue.path(key(1, 2), limits(8, None)));
    fill(&mut queue, idle, flow(Class::Bulk, 1), 0..4, START);
    assert_eq!(open(&mut queue, idle, START), 4);
    assert_eq!(pull_some(&mut queue, idle, START, 9).len(), 4);
    fill(&mut queue, busy, flow(Class::Bulk, 1), 1000..2000, START);
    assert_eq!(open(&mut queue, busy, START), 4);
    wanting(&mut queue, START);
    queue.set_limits(busy, limits(3, None));
    let mut left = BTreeMap::from([(busy, 4_u32), (idle, 4_u32)]);
    for ms in 0..10 {
        // One that is told to look asks; the busy ones ask anyway.
        for path in wanting(&mut queue, at(ms)).into_iter().chain([busy]) {
            assert!(!queue.wants_connection(path, at(ms)) || left[&path] == 0);
            if left[&path] > 0 && queue.pull(path, at(ms)) == Pull::Yield {
                queue.connection_closed(path);
                *left.entry(path).or_default() -= 1;
            }
        }
    }
    assert_eq!(left.values().sum::<u32>(), 3, "{left:?}");
    assert!(matches!(queue.pull(busy, at(10)), Pull::Ticket(..)));
}
