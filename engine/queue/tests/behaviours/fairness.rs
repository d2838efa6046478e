//! Who goes first, and who gets how much.

use std::collections::BTreeMap;

use mail::{CampaignId, Class};
use policy::Rate;
use queue::{FlowKey, Pull};

use crate::scene::*;

#[test]
fn critical_overtakes_fifty_thousand_bulk_within_the_rate() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, Some(Rate::per_second(100))));
    fill(&mut queue, path, flow(Class::Bulk, 1), 0..50_000, START);
    let before = pull_until(&mut queue, path, START, at(10_000));
    assert!((990..=1010).contains(&before.len()), "{} in ten seconds", before.len());

    let now = at(10_000);
    for id in 90_000..90_010 {
        queue.enqueue(path, flow(Class::Critical, 2), urgent(id, 60), now).expect("the path is there");
    }
    let after = pull_until(&mut queue, path, now, at(11_000));
    let critical: Vec<_> = after.iter().take(10).collect();
    assert!(critical.iter().all(|(id, _)| *id >= 90_000), "critical mail goes first: {critical:?}");
    assert!(critical.iter().all(|(_, moment)| moment.since(now).as_millis() <= 110), "{critical:?}");
    assert!((90..=110).contains(&after.len()), "the rate holds: {}", after.len());
}

#[test]
fn critical_goes_by_deadline_then_as_it_came() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for (id, tenant, seconds) in [(1, 1, 90), (2, 2, 30), (3, 1, 30), (4, 3, 60)] {
        let flow = flow(Class::Critical, tenant);
        queue.enqueue(path, flow, urgent(id, seconds), START).expect("the path is there");
    }
    fill(&mut queue, path, flow(Class::Critical, 4), [5], START);
    assert_eq!(pull_some(&mut queue, path, START, 9), [2, 3, 4, 1, 5]);
}

#[test]
fn classes_share_by_weight() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for (class, first) in [(Class::Bulk, 0), (Class::Personal, 10_000), (Class::Transactional, 20_000)] {
        fill(&mut queue, path, flow(class, 1), first..first + 5000, START);
    }
    let mut counts = [0; 3];
    for id in pull_some(&mut queue, path, START, 1300) {
        counts[(id / 10_000) as usize] += 1;
    }
    assert_eq!(counts, [100, 400, 800]);
}

#[test]
fn tenants_share_equally_and_so_do_the_campaigns_of_each() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    let mut id = 0;
    for (tenant, campaigns, each) in [(1, 1, 5000), (2, 4, 1000), (3, 1, 1000)] {
        for campaign in 0..campaigns {
            let campaign = Some(CampaignId::from_raw(u64::from(tenant * 100 + campaign)));
            let key = FlowKey { class: Class::Bulk, tenant, campaign, identity: 0 };
            fill(&mut queue, path, key, id..id + each, START);
            id += each;
        }
    }
    let mut counts: BTreeMap<(u32, u64), u32> = BTreeMap::new();
    for _ in 0..1200 {
        let Pull::Ticket(_, key) = queue.pull(path, START) else { panic!("something waits") };
        *counts.entry((key.tenant, key.campaign.map_or(0, |id| id.raw()))).or_default() += 1;
    }
    let expected = [
        ((1, 100), 400),
        ((2, 200), 100),
        ((2, 201), 100),
        ((2, 202), 100),
        ((2, 203), 100),
        ((3, 300), 400),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[test]
fn transactions_of_many_recipients_cost_their_account_as_many_turns() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for tenant in [1, 2] {
        let first = u64::from(tenant) * 100_000;
        fill(&mut queue, path, flow(Class::Bulk, tenant), first..first + 10_000, START);
    }
    let mut counts = [0_usize; 3];
    while counts[1] + counts[2] < 4000 {
        let Pull::Ticket(ticket, key) = queue.pull(path, START) else { panic!("something waits") };
        let mut tickets = vec![ticket];
        if key.tenant == 2 {
            queue.pull_with(path, key, 49, |_| true, &mut tickets);
        }
        counts[key.tenant as usize] += tickets.len();
    }
    assert!(counts[1].abs_diff(counts[2]) <= 50, "{counts:?}");
}

#[test]
fn what_goes_along_is_of_the_same_line_fits_and_has_a_token() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, Some(Rate::per_second(10))));
    let bulk = flow(Class::Bulk, 1);
    fill(&mut queue, path, bulk, 0..100, START);
    fill(&mut queue, path, flow(Class::Bulk, 2), 500..600, START);
    let Pull::Ticket(_, key) = queue.pull(path, at(900)) else { panic!("one is ready") };
    assert_eq!(key, bulk);
    let mut more = Vec::new();
    queue.pull_with(path, key, 3, |ticket| ticket.id.raw() < 3, &mut more);
    assert_eq!(more.iter().map(|ticket| ticket.id.raw()).collect::<Vec<_>>(), [1, 2]);
    more.clear();
    queue.pull_with(path, key, 1000, |_| true, &mut more);
    assert_eq!(more.len(), 3, "half a second of the rate, of which two went before");
    assert_eq!(queue.pull(path, at(900)), Pull::Wait(at(900 + 600)));
}

#[test]
fn critical_mail_goes_along_only_while_it_is_the_most_urgent() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for (tenant, id, seconds) in [(1, 1, 10), (1, 2, 20), (2, 3, 30), (1, 4, 40)] {
        queue
            .enqueue(path, flow(Class::Critical, tenant), urgent(id, seconds), START)
            .expect("the path is there");
    }
    let Pull::Ticket(_, key) = queue.pull(path, START) else { panic!("one is ready") };
    let mut more = Vec::new();
    queue.pull_with(path, key, 9, |_| true, &mut more);
    assert_eq!(more.iter().map(|ticket| ticket.id.raw()).collect::<Vec<_>>(), [2]);
}

#[test]
fn transactional_mail_waits_for_no_more_than_what_is_on_the_wire() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    fill(&mut queue, path, flow(Class::Bulk, 1), 0..10_000, START);
    pull_some(&mut queue, path, START, 777);
    fill(&mut queue, path, flow(Class::Transactional, 2), [70_000], START);
    assert_eq!(pull_some(&mut queue, path, START, 1), [70_000]);
}

#[test]
fn what_was_not_tried_comes_back_to_the_front_with_its_token() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, Some(Rate::per_second(1))));
    let bulk = flow(Class::Bulk, 1);
    fill(&mut queue, path, bulk, [1, 2, 3], START);
    let Pull::Ticket(first, key) = queue.pull(path, START) else { panic!("one is ready") };
    assert_eq!(queue.pull(path, START), Pull::Wait(at(1000)));
    queue.unpull(path, key, first).expect("the path is there");
    let seen = pull_until(&mut queue, path, START, at(2500));
    assert_eq!(seen, [(1, START), (2, at(1000)), (3, at(2000))]);
}

#[test]
fn critical_mail_that_was_not_tried_goes_before_its_equals() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for id in [1, 2, 3] {
        queue.enqueue(path, flow(Class::Critical, 1), urgent(id, 60), START).expect("the path is there");
    }
    let Pull::Ticket(first, key) = queue.pull(path, START) else { panic!("one is ready") };
    queue.unpull(path, key, first).expect("the path is there");
    assert_eq!(pull_some(&mut queue, path, START, 9), [1, 2, 3]);
}

#[test]
fn bulk_leaves_tokens_to_critical_mail_on_another_path_of_the_provider() {
    let mut queue = queue();
    let shared = limits(10, Some(Rate::per_second(10)));
    let (bulk, critical) = (queue.path(key(1, 1), shared), queue.path(key(1, 2), shared));
    fill(&mut queue, bulk, flow(Class::Bulk, 1), 0..1000, START);
    fill(&mut queue, critical, flow(Class::Critical, 1), 5000..5100, START);
    queue.connection_opened(bulk);
    queue.connection_opened(critical);
    let (mut of_bulk, mut of_critical) = (0, 0);
    for ms in 0..10_000 {
        of_bulk += pull_some(&mut queue, bulk, at(ms), 1).len();
        of_critical += pull_some(&mut queue, critical, at(ms), 1).len();
    }
    assert!(of_critical >= 98 && of_bulk <= 2, "critical {of_critical}, bulk {of_bulk}");
}
