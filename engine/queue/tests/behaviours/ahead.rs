//! How many go before somebody: what the queue says, against what then happens.

use mail::{CampaignId, Class, RecipientId, UnixMs};
use queue::{Ahead, CampaignWaits, FlowKey, PathId, Place, Pull, Queue};

use crate::scene::*;

fn ahead(queue: &Queue, id: u64) -> Ahead {
    match queue.find(RecipientId::from_raw(id)) {
        Some(Place::Ready { ahead, .. }) => ahead,
        place => panic!("{id} is at {place:?}"),
    }
}

/// Pulls everything; how many of its flow and of its class went before each of `asked`.
fn happens(queue: &mut Queue, path: PathId, asked: &[u64]) -> Vec<Ahead> {
    let mut served: Vec<(u64, FlowKey)> = Vec::new();
    while let Pull::Ticket(ticket, key) = queue.pull(path, START) {
        served.push((ticket.id.raw(), key));
    }
    let before = |&id: &u64| {
        let slot = served.iter().position(|(other, _)| *other == id).expect("it was served");
        let key = served[slot].1;
        let count = |is_one: &dyn Fn(&FlowKey) -> bool| {
            served[..slot].iter().filter(|(_, other)| is_one(other)).count() as u32
        };
        Ahead { in_flow: count(&|other| *other == key), in_class: count(&|other| other.class == key.class) }
    };
    asked.iter().map(before).collect()
}

fn assert_about(said: &[Ahead], happened: &[Ahead], within: (u32, u32)) {
    for (said, happened) in said.iter().zip(happened) {
        let off = (said.in_flow.abs_diff(happened.in_flow), said.in_class.abs_diff(happened.in_class));
        assert!(off.0 <= within.0 && off.1 <= within.1, "said {said:?}, was {happened:?}");
    }
}

/// Twenty thousand in four lines of three tenants, fifty a millisecond, and some of another class.
fn crowd() -> (Queue, PathId) {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    let lines = [(1, 1), (2, 2), (2, 3), (3, 4)];
    for id in 0..20_000_u64 {
        let (tenant, campaign) = lines[id as usize % 4];
        let campaign = Some(CampaignId::from_raw(campaign));
        let key = FlowKey { class: Class::Bulk, tenant, campaign, identity: 0 };
        fill(&mut queue, path, key, [id], UnixMs(START.0 + id / 50));
    }
    fill(&mut queue, path, flow(Class::Personal, 1), 50_000..50_500, START);
    (queue, path)
}

#[test]
fn a_place_among_lines_that_take_turns_is_about_right() {
    let (mut queue, path) = crowd();
    let asked: Vec<u64> = [0, 1, 2, 402, 1003, 4001, 7000, 12_002].to_vec();
    let said: Vec<Ahead> = asked.iter().map(|&id| ahead(&queue, id)).collect();
    let happened = happens(&mut queue, path, &asked);
    assert_about(&said, &happened, (64 + 25, 2500));
    assert_eq!(said[0].in_flow, 0);
    assert_eq!((said[4].in_flow, happened[4].in_flow), (250, 250), "exact at the front");
}

#[test]
fn who_comes_back_untried_is_first_again() {
    let (mut queue, path) = crowd();
    for _ in 0..3000 {
        queue.pull(path, at(60_000));
    }
    let Pull::Ticket(ticket, key) = queue.pull(path, at(60_000)) else { panic!("one is ready") };
    queue.unpull(path, key, ticket).expect("the path is there");
    assert_eq!(ahead(&queue, ticket.id.raw()).in_flow, 0);
}

#[test]
fn a_place_in_the_order_of_deadlines_is_about_right() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for id in 0..9000 {
        let ticket = urgent(id, (id.wrapping_mul(7919) % 3600) as u32 + 1);
        queue.enqueue(path, flow(Class::Critical, (id % 3) as u32 % 2), ticket, START).expect("there");
    }
    let asked: Vec<u64> = (0..9000).step_by(1000).collect();
    let said: Vec<Ahead> = asked.iter().map(|&id| ahead(&queue, id)).collect();
    let happened = happens(&mut queue, path, &asked);
    assert_about(&said, &happened, (300, 500));
}

#[test]
fn those_who_have_gone_out_of_the_middle_are_not_counted_for_long() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for id in 0..20_000 {
        let ticket = expiring(id, Class::Bulk, if id % 10 == 0 { 7200 } else { 60 });
        queue.enqueue(path, flow(Class::Bulk, 1), ticket, UnixMs(START.0 + id)).expect("the path is there");
    }
    assert_eq!(expired(&mut queue, at(60_000)).len(), 18_000);
    let said = ahead(&queue, 15_000);
    assert!(said.in_flow.abs_diff(1500) <= 128, "{said:?}");
}

#[test]
fn a_campaign_waits_in_lines_in_lanes_and_for_its_time() {
    let (mut queue, path) = crowd();
    let lasts = [19_996, 19_997, 19_998, 19_999];
    let said: Vec<u64> = (1..=4)
        .map(|campaign| {
            let waits = queue.campaign_waits(CampaignId::from_raw(campaign));
            assert_eq!((waits.lines.len(), waits.held.len(), waits.scheduled), (1, 0, 0));
            assert_eq!((waits.lines[0].path, waits.latest), (path, None));
            waits.lines[0].until_last
        })
        .collect();
    let happened = happens(&mut queue, path, &lasts);
    for (said, happened) in said.iter().zip(happened) {
        let off = said.abs_diff(u64::from(happened.in_class) + 1);
        assert!(off <= 64, "said {said}, was {happened:?}");
    }
    let campaign = CampaignId::from_raw(1);
    for (id, seconds) in [(30_000, 50), (30_001, 70), (30_002, 20)] {
        let due = UnixMs(START.0 + seconds * 1000);
        queue.schedule(ticket(id, Class::Bulk), Some(campaign), due).expect("it runs");
    }
    for (id, lane) in [(40_000, None), (40_001, Some(3)), (40_002, Some(3))] {
        queue.hold(campaign, lane, ticket(id, Class::Bulk)).expect("it runs");
    }
    let waits = queue.campaign_waits(campaign);
    assert_eq!((waits.lines, waits.held), (Vec::new(), vec![(None, 1), (Some(3), 2)]));
    assert_eq!((waits.scheduled, waits.latest), (3, Some(UnixMs(START.0 + 70_000))));
    assert_eq!(queue.campaign_waits(CampaignId::from_raw(99)), CampaignWaits::default());
}
