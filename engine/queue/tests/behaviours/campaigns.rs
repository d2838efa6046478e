//! Campaigns: paused, resumed, cancelled, held back, released.

use mail::{CampaignId, Class, RecipientId};
use queue::{Ahead, CampaignState, Place, Pull, Refused};

use crate::scene::*;

const NEWS: CampaignId = CampaignId::from_raw(7);

#[test]
fn a_paused_campaign_waits_while_others_leave() {
    let mut queue = queue();
    let (a, b) = (queue.path(key(1, 1), limits(10, None)), queue.path(key(2, 2), limits(10, None)));
    fill(&mut queue, a, of_campaign(7), 0..100, START);
    fill(&mut queue, a, of_campaign(8), 100..110, START);
    fill(&mut queue, b, of_campaign(7), 200..300, START);
    queue.pause_campaign(NEWS);
    assert_eq!(queue.campaign_state(NEWS), CampaignState::Paused);
    assert_eq!(pull_some(&mut queue, a, START, 999), (100..110).collect::<Vec<_>>());
    assert_eq!(queue.pull(b, START), Pull::Empty);
    assert!(!queue.wants_connection(b, START), "paused mail wants no connection");
    fill(&mut queue, b, of_campaign(7), 300..310, START);
    assert_eq!(queue.pull(b, START), Pull::Empty, "what comes later waits too");
    let view = queue.path_view(b).expect("the path is there");
    assert_eq!((view.ready, view.paused), ([0; 4], 110));

    wanting(&mut queue, START);
    queue.resume_campaign(NEWS);
    let mut paths = wanting(&mut queue, START);
    paths.sort_unstable();
    assert_eq!(paths, [a, b]);
    assert_eq!(pull_some(&mut queue, a, START, 999), (0..100).collect::<Vec<_>>());
    assert_eq!(pull_some(&mut queue, b, START, 999), (200..310).collect::<Vec<_>>());
    assert_eq!(queue.totals().waiting(), 0);
}

#[test]
fn a_paused_critical_campaign_waits_too() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    let key = queue::FlowKey { class: Class::Critical, ..of_campaign(7) };
    for id in 0..10 {
        queue.enqueue(path, key, urgent(id, 60 - id as u32), START).expect("the path is there");
    }
    queue.pause_campaign(NEWS);
    queue.enqueue(path, flow(Class::Critical, 1), urgent(50, 900), START).expect("the path is there");
    assert_eq!(pull_some(&mut queue, path, START, 99), [50]);
    queue.resume_campaign(NEWS);
    assert_eq!(pull_some(&mut queue, path, START, 99), (0..10).rev().collect::<Vec<_>>());
}

#[test]
fn cancelling_takes_out_everything_wherever_it_waits() {
    let mut queue = queue();
    let (a, b) = (queue.path(key(1, 1), limits(10, None)), queue.path(key(2, 2), limits(10, None)));
    fill(&mut queue, a, of_campaign(7), 0..100, START);
    fill(&mut queue, b, of_campaign(7), 100..200, START);
    fill(&mut queue, b, of_campaign(8), 1000..1010, START);
    for id in 200..300 {
        queue.schedule(ticket(id, Class::Bulk), Some(NEWS), at(id * 1000)).expect("not cancelled");
        queue.hold(NEWS, None, ticket(id + 100, Class::Bulk)).expect("not cancelled");
    }
    queue.schedule(ticket(2000, Class::Bulk), None, at(500)).expect("not cancelled");
    queue.pause_campaign(NEWS);
    let mut ids: Vec<u64> = queue.cancel_campaign(NEWS).into_iter().map(|ticket| ticket.id.raw()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..400).collect::<Vec<_>>());
    assert_eq!(queue.totals().waiting(), 11);
    assert_eq!(pull_some(&mut queue, a, START, 9), []);
    assert_eq!(pull_some(&mut queue, b, START, 99), (1000..1010).collect::<Vec<_>>());
    assert_eq!(due(&mut queue, at(1_000_000)), [2000]);
    assert_eq!(queue.totals().waiting(), 0);
    assert!(queue.cancel_campaign(NEWS).is_empty());
}

#[test]
fn what_was_on_the_wire_when_its_campaign_was_cancelled_is_refused() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    fill(&mut queue, path, of_campaign(7), 0..2, START);
    let Pull::Ticket(pulled, key) = queue.pull(path, START) else { panic!("one is ready") };
    assert_eq!(queue.cancel_campaign(NEWS).len(), 1);
    let refused = Err(Refused::Cancelled(pulled));
    assert_eq!(queue.unpull(path, key, pulled), refused);
    assert_eq!(queue.enqueue(path, key, pulled, START), refused);
    assert_eq!(queue.schedule(pulled, Some(NEWS), START), refused);
    assert_eq!(queue.hold(NEWS, None, pulled), refused);
    queue.resume_campaign(NEWS);
    assert_eq!(queue.campaign_state(NEWS), CampaignState::Cancelled, "a cancelled campaign is not resumed");
    queue.forget_campaign(NEWS);
    assert_eq!(queue.campaign_state(NEWS), CampaignState::Running);
    assert_eq!(queue.enqueue(path, key, pulled, START), Ok(()));
}

#[test]
fn what_is_held_back_waits_for_its_release() {
    let mut queue = queue();
    for id in 0..1000 {
        queue.hold(NEWS, None, ticket(id, Class::Bulk)).expect("not cancelled");
    }
    assert_eq!((queue.totals().held, queue.next_due()), (1000, None));
    let mut out = Vec::new();
    assert!(queue.release_some(NEWS, None, 100, &mut out));
    out.extend(queue.release(NEWS));
    let ids: Vec<u64> = out.into_iter().map(|ticket| ticket.id.raw()).collect();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    assert!(queue.release(NEWS).is_empty());
    assert_eq!(queue.totals().waiting(), 0);
}

#[test]
fn a_recipient_is_found_wherever_it_waits() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    queue.schedule(ticket(1, Class::Bulk), Some(NEWS), at(9000)).expect("not cancelled");
    queue.hold(NEWS, None, ticket(2, Class::Bulk)).expect("not cancelled");
    fill(&mut queue, path, of_campaign(7), [3], at(50));
    let find = |queue: &queue::Queue, id| queue.find(RecipientId::from_raw(id));
    assert_eq!(find(&queue, 1), Some(Place::Scheduled { due: at(9000) }));
    assert_eq!(find(&queue, 2), Some(Place::Held { campaign: NEWS, lane: None, since: START }));
    assert_eq!(
        find(&queue, 3),
        Some(Place::Ready {
            path,
            flow: of_campaign(7),
            since: at(50),
            rests_until: None,
            ahead: Ahead::default(),
        })
    );
    queue.cancel_campaign(NEWS);
    assert!((0..4).all(|id| find(&queue, id).is_none()));
}

#[test]
fn a_lane_is_released_apart_and_with_the_whole_campaign() {
    let mut queue = queue();
    for id in 0..300 {
        let lane = [None, Some(4), Some(7)][id as usize % 3];
        queue.hold(NEWS, lane, ticket(id, Class::Bulk)).expect("not cancelled");
    }
    assert_eq!([None, Some(4), Some(7), Some(9)].map(|lane| queue.held(NEWS, lane)), [300, 100, 100, 0]);
    let found = queue.find(RecipientId::from_raw(1));
    assert_eq!(found, Some(Place::Held { campaign: NEWS, lane: Some(4), since: START }));
    let mut out = Vec::new();
    assert!(queue.release_some(NEWS, Some(4), 60, &mut out));
    assert!(!queue.release_some(NEWS, Some(4), 60, &mut out));
    assert!(!queue.release_some(NEWS, Some(9), 60, &mut out));
    assert_eq!(
        out.drain(..).map(|ticket| ticket.id.raw()).collect::<Vec<_>>(),
        (0..100).map(|n| 3 * n + 1).collect::<Vec<_>>()
    );
    assert!(queue.release_some(NEWS, None, 150, &mut out));
    assert!(!queue.release_some(NEWS, None, 150, &mut out));
    assert_eq!((out.len(), queue.totals().waiting()), (200, 0));
}
