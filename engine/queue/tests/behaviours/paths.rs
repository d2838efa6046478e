//! Paths apart from each other: suspension, removal, what is to be looked at.

use std::time::Duration;

use mail::{Class, UnixMs};
use policy::Rate;
use queue::{Demand, Place, Pull, Refused};

use crate::scene::*;

#[test]
fn a_blocked_path_stalls_nobody() {
    let mut queue = queue();
    let blocked = queue.path(key(1, 1), limits(10, None));
    let slow = queue.path(key(2, 2), limits(10, Some(Rate::per_second(1))));
    let free = queue.path(key(3, 3), limits(10, None));
    for (path, first) in [(blocked, 0), (slow, 100_000), (free, 200_000)] {
        fill(&mut queue, path, flow(Class::Bulk, 1), first..first + 50_000, START);
        queue.connection_opened(path);
    }
    queue.suspend(blocked, at(3_600_000), "421 4.7.28 too much");
    assert_eq!(queue.pull(blocked, START), Pull::Suspended(at(3_600_000)));
    assert!(!queue.wants_connection(blocked, START));
    assert_eq!(pull_some(&mut queue, slow, START, 10).len(), 1);
    let seen = pull_some(&mut queue, free, START, 50_000);
    assert_eq!(seen, (200_000..250_000).collect::<Vec<_>>());
}

#[test]
fn a_suspension_shows_its_reason_and_ends_by_itself() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    fill(&mut queue, path, flow(Class::Critical, 1), [1], START);
    assert_eq!(wanting(&mut queue, START), [path]);
    queue.suspend(path, at(5000), "connection refused");
    let view = queue.path_view(path).expect("the path is there");
    assert_eq!(view.suspended, Some((at(5000), "connection refused".to_owned())));
    assert_eq!(queue.next_due(), Some(at(5000)));
    assert!(wanting(&mut queue, at(4999)).is_empty());
    assert!(queue.ready_paths().is_empty());
    assert_eq!(wanting(&mut queue, at(5000)), [path]);
    assert!(queue.wants_connection(path, at(5000)));
    assert_eq!(pull_some(&mut queue, path, at(5000), 2), [1]);
    assert_eq!(queue.next_due(), None);
}

#[test]
fn a_suspension_can_be_changed_and_ended_by_hand() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    fill(&mut queue, path, flow(Class::Bulk, 1), [1, 2], START);
    queue.suspend(path, at(5000), "first");
    queue.suspend(path, at(9000), "second");
    assert_eq!(queue.pull(path, at(6000)), Pull::Suspended(at(9000)));
    queue.resume(path);
    assert_eq!(pull_some(&mut queue, path, at(6000), 1), [1]);
    queue.suspend(path, at(9000), "third");
    assert_eq!(pull_some(&mut queue, path, at(9000), 1), [2], "a pull after its end needs no other call");
}

#[test]
fn a_suspended_path_can_be_routed_again() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, Some(Rate::per_second(1))));
    fill(&mut queue, path, flow(Class::Bulk, 1), 0..100, START);
    fill(&mut queue, path, flow(Class::Critical, 1), 100..110, START);
    queue.suspend(path, at(5000), "blocked");
    let mut out = Vec::new();
    queue.reroute(path, 60, &mut out);
    assert_eq!(out.len(), 60);
    assert!(out[..10].iter().all(|(_, key)| key.class == Class::Critical));
    queue.reroute(path, 60, &mut out);
    assert_eq!((out.len(), queue.totals().waiting()), (110, 0));
}

#[test]
fn a_path_is_named_once_when_work_comes() {
    let mut queue = queue();
    let (a, b) = (queue.path(key(1, 1), limits(10, None)), queue.path(key(2, 1), limits(10, None)));
    assert!(wanting(&mut queue, START).is_empty());
    fill(&mut queue, a, flow(Class::Bulk, 1), 0..1000, START);
    fill(&mut queue, b, flow(Class::Bulk, 1), 1000..1001, START);
    fill(&mut queue, a, flow(Class::Bulk, 1), 2000..3000, START);
    assert_eq!(wanting(&mut queue, START), [a, b]);
    assert!(wanting(&mut queue, START).is_empty());
    fill(&mut queue, b, flow(Class::Bulk, 1), 1001..1002, START);
    assert_eq!(wanting(&mut queue, START), [b]);
}

#[test]
fn an_idle_path_is_removed_and_its_name_means_nothing_then() {
    let mut queue = queue();
    let limits = limits(10, None);
    let path = queue.path(key(1, 1), limits);
    let kept = queue.path(key(1, 2), limits);
    fill(&mut queue, path, flow(Class::Bulk, 1), [1], START);
    fill(&mut queue, kept, flow(Class::Bulk, 1), [2], START);
    let minute = Duration::from_secs(60);
    assert_eq!(queue.drop_idle(at(60_000), minute, 10), 0, "both have mail");
    assert_eq!(pull_some(&mut queue, path, at(60_000), 1), [1]);
    assert_eq!(queue.drop_idle(at(119_999), minute, 10), 0, "not idle for long enough");
    assert_eq!(queue.drop_idle(at(120_000), minute, 10), 1);
    assert_eq!((queue.find_path(key(1, 1)), queue.find_path(key(1, 2))), (None, Some(kept)));

    let again = queue.path(key(1, 1), limits);
    assert_ne!(again, path);
    let lost = ticket(3, Class::Bulk);
    assert_eq!(queue.enqueue(path, flow(Class::Bulk, 1), lost, at(120_000)), Err(Refused::NoPath(lost)));
    assert_eq!(queue.pull(path, at(120_000)), Pull::Empty);
    assert_eq!(queue.path_view(path), None);
}

#[test]
fn a_path_with_a_connection_stays_and_a_slow_rate_is_remembered() {
    let mut queue = queue();
    let daily = Rate::new(2, Duration::from_secs(86_400));
    let (open, slow) = (queue.path(key(1, 1), limits(10, None)), queue.path(key(2, 2), limits(10, daily)));
    queue.connection_opened(open);
    fill(&mut queue, slow, flow(Class::Bulk, 1), [1], START);
    assert_eq!(pull_some(&mut queue, slow, START, 1), [1]);
    assert_eq!(queue.drop_idle(at(7_200_000), Duration::from_secs(60), 10), 0);
    queue.connection_closed(open);
    assert_eq!(queue.drop_idle(at(7_300_000), Duration::from_secs(60), 10), 1);
    assert_eq!(queue.drop_idle(at(86_400_000), Duration::from_secs(60), 10), 1);
    assert_eq!((queue.totals().paths, queue.next_due()), (0, None));
}

#[test]
fn twenty_thousand_paths_are_served_and_removed() {
    let mut queue = queue();
    let shared = limits(5, None);
    for site in 0..20_000 {
        let path = queue.path_alone(key(9, site), shared);
        fill(&mut queue, path, flow(Class::Bulk, 1), [site], START);
    }
    let views = queue.paths();
    assert_eq!(views.len(), 20_000);
    assert!(views.iter().all(|view| view.ready == [0, 0, 0, 1] && view.oldest == Some(START)));
    assert_eq!(wanting(&mut queue, START).len(), 20_000);
    for view in views {
        assert_eq!(pull_some(&mut queue, view.id, START, 2), [view.key.site]);
    }
    assert_eq!(queue.drop_idle(at(60_000), Duration::from_secs(1), usize::MAX), 20_000);
    assert_eq!((queue.totals().paths, queue.totals().flows), (0, 0));
}

#[test]
fn limits_count_when_a_group_is_made_and_when_they_are_set() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    queue.set_limits(path, limits(3, None));
    let kin = queue.path(key(1, 2), limits(10, None));
    assert_eq!(queue.path(key(1, 1), limits(10, None)), path);
    let connections = [path, kin].map(|path| queue.path_view(path).expect("there").limits.connections);
    assert_eq!(connections, [3, 3]);
    assert_eq!(queue.drop_idle(at(60_000), Duration::from_secs(1), 10), 2);
    let again = queue.path(key(1, 1), limits(10, None));
    assert_eq!(queue.path_view(again).expect("there").limits.connections, 10, "forgotten with the last path");
}

#[test]
fn the_paths_of_a_source_and_provider_are_known() {
    let mut queue = queue();
    let mut paths: Vec<_> = (0..50).map(|site| queue.path(key(1, site), limits(5, None))).collect();
    let alone = queue.path_alone(key(2, 1), limits(5, None));
    fill(&mut queue, paths[30], flow(Class::Bulk, 1), [1], at(60_000));
    assert_eq!((queue.paths_of(0, 2), queue.paths_of(1, 1)), (vec![alone], vec![]));
    let mut of = queue.paths_of(0, 1);
    of.sort_unstable();
    paths.sort_unstable();
    assert_eq!(of, paths);
    assert_eq!(queue.drop_idle(at(60_000), Duration::from_secs(1), 100), 50);
    assert_eq!((queue.paths_of(0, 1), queue.paths_of(0, 2)), (vec![paths[30]], vec![]));
}

#[test]
fn demand_counts_all_paths_that_share_limits_and_says_once_that_the_rate_was_short() {
    let mut queue = queue();
    let shared = limits(10, Some(Rate::per_second(1)));
    let (a, b) = (queue.path(key(1, 1), shared), queue.path(key(1, 2), shared));
    fill(&mut queue, a, flow(Class::Bulk, 1), 0..10, START);
    fill(&mut queue, b, flow(Class::Critical, 1), 10..15, START);
    queue.connection_opened(a);
    let demand = |ready, waited_for_rate| Demand { ready, connections: 1, waited_for_rate };
    assert_eq!(queue.demand(b), demand(15, false));
    assert_eq!(pull_some(&mut queue, b, START, 2), [10]);
    assert_eq!([queue.demand(a), queue.demand(b)], [demand(14, true), demand(14, false)]);
    queue.suspend(b, at(5000), "busy");
    queue.rest_flow(a, flow(Class::Bulk, 1), at(3000));
    assert_eq!(queue.demand(a), demand(0, false), "what may not leave is no demand");
    wanting(&mut queue, at(5000));
    assert_eq!(queue.demand(a), demand(14, false));
}

/// What a find says of a recipient on a path: until when its flow rests.
fn rest_of(queue: &queue::Queue, id: u64) -> Option<UnixMs> {
    match queue.find(mail::RecipientId::from_raw(id)) {
        Some(Place::Ready { rests_until, .. }) => rests_until,
        place => panic!("{place:?}"),
    }
}

#[test]
fn a_flow_that_rests_is_passed_over_and_wakes_by_itself() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    fill(&mut queue, path, flow(Class::Bulk, 1), 0..10, START);
    fill(&mut queue, path, flow(Class::Bulk, 2), 100..103, START);
    let Pull::Ticket(pulled, key) = queue.pull(path, START) else { panic!("one is ready") };
    queue.unpull(path, key, pulled).expect("the path is there");
    queue.rest_flow(path, key, at(5000));
    assert_eq!(pull_some(&mut queue, path, START, 9), [100, 101, 102]);
    assert!(!queue.wants_connection(path, START), "it wants no connection while it rests");
    let view = queue.path_view(path).expect("the path is there");
    assert_eq!((view.ready, view.paused, view.resting), ([0; 4], 0, 10));
    assert_eq!((queue.totals().resting, queue.totals().flows_resting), (10, 1));
    assert_eq!((queue.next_due(), rest_of(&queue, 3)), (Some(at(5000)), Some(at(5000))));

    wanting(&mut queue, START);
    fill(&mut queue, path, flow(Class::Bulk, 1), [10], START);
    assert!(wanting(&mut queue, at(4999)).is_empty(), "what comes later rests too");
    assert_eq!(wanting(&mut queue, at(5000)), [path]);
    assert_eq!((queue.next_due(), rest_of(&queue, 3)), (None, None));
    assert_eq!(pull_some(&mut queue, path, at(5000), 99), (0..11).collect::<Vec<_>>());
}

#[test]
fn a_rest_is_moved_outlasted_by_a_pause_and_ended_by_a_pull_after_it() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for class in [Class::Critical, Class::Bulk] {
        let key = queue::FlowKey { class, ..of_campaign(7) };
        fill(&mut queue, path, key, [class as u64], START);
        queue.rest_flow(path, key, at(9000));
        queue.rest_flow(path, key, at(3000));
    }
    queue.pause_campaign(mail::CampaignId::from_raw(7));
    assert_eq!((queue.totals().paused, queue.totals().resting), (2, 0));
    assert_eq!(queue.next_due(), Some(at(3000)));
    assert_eq!(queue.pull(path, at(3000)), Pull::Empty);
    queue.resume_campaign(mail::CampaignId::from_raw(7));
    assert_eq!(pull_some(&mut queue, path, at(3000), 9).len(), 2);
    assert_eq!(queue.totals(), queue::Totals { paths: 1, ..queue::Totals::default() });
}

#[test]
fn a_rest_ends_with_its_flow() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    let resting = flow(Class::Bulk, 1);
    queue.rest_flow(path, resting, at(9000));
    assert_eq!(queue.next_due(), None, "a flow without tickets is not remembered");
    let rest = |queue: &mut queue::Queue, id| {
        queue.enqueue(path, resting, expiring(id, Class::Bulk, 2), START).expect("the path is there");
        queue.rest_flow(path, resting, at(9000));
    };
    rest(&mut queue, 1);
    assert_eq!(expired(&mut queue, at(2000)), [1]);
    assert_eq!((queue.next_due(), queue.totals().flows_resting), (None, 0));
    rest(&mut queue, 2);
    let mut out = Vec::new();
    queue.reroute(path, 5, &mut out);
    assert_eq!((out.len(), queue.next_due(), queue.totals().waiting()), (1, None, 0));
    assert_eq!(queue.drop_idle(at(60_000), Duration::from_secs(1), 10), 1);
}
