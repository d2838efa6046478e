//! What a waiting recipient costs in memory.

use std::time::Duration;

use mail::{CampaignId, Class};
use queue::Queue;

use crate::scene::*;

const MILLION: u64 = 1_000_000;
const BYTES_MAX: f64 = 64.0;

fn bytes_each(queue: &Queue) -> f64 {
    assert_eq!(queue.totals().waiting(), MILLION);
    queue.bytes() as f64 / MILLION as f64
}

#[test]
fn a_scheduled_recipient_costs_40_bytes() {
    let mut queue = queue();
    for id in 0..MILLION {
        let due = at(id.wrapping_mul(7919) % 86_400_000);
        queue.schedule(ticket(id, Class::Bulk), Some(CampaignId::from_raw(1)), due).expect("not cancelled");
    }
    assert!(bytes_each(&queue) <= 40.0, "{}", queue.bytes());
}

#[test]
fn a_ready_recipient_of_a_newsletter_costs_hardly_more() {
    let mut queue = queue();
    for id in 0..MILLION {
        // As lists are: half of it at ten large providers, the rest at 20,000 sites.
        let path = match id % 2 {
            0 => queue.path(key((id / 2 % 10) as u16, 0), limits(10, None)),
            _ => queue.path_alone(key(99, id / 2 % 20_000), limits(10, None)),
        };
        fill(&mut queue, path, of_campaign(id / 2 % 3), [id], START);
    }
    assert!(bytes_each(&queue) <= BYTES_MAX, "{}", bytes_each(&queue));
}

#[test]
fn a_critical_recipient_costs_no_more_than_the_limit() {
    let mut queue = queue();
    let path = queue.path(key(1, 1), limits(10, None));
    for id in 0..MILLION {
        queue.enqueue(path, flow(Class::Critical, 1), urgent(id, (id % 600) as u32), START).expect("there");
    }
    assert!(bytes_each(&queue) <= BYTES_MAX, "{}", bytes_each(&queue));
}

#[test]
fn an_emptied_queue_gives_its_tickets_memory_back() {
    let mut queue = queue();
    let empty = queue.bytes();
    for id in 0..100_000 {
        queue.schedule(ticket(id, Class::Bulk), None, at(id)).expect("not cancelled");
    }
    assert!(queue.bytes() > 100_000 * 28);
    assert_eq!(due(&mut queue, at(100_000)).len(), 100_000);
    assert_eq!(queue.bytes(), empty);
}

#[test]
fn a_queue_that_was_full_of_everything_keeps_little() {
    let mut queue = queue();
    for id in 0..100_000_u64 {
        let path = queue.path_alone(key(1, id % 10_000), limits(10, None));
        let key = queue::FlowKey {
            tenant: (id % 7) as u32,
            identity: (id % 3) as u32,
            ..of_campaign(id % 1000 + 1)
        };
        fill(&mut queue, path, key, [id], START);
        queue.rest_flow(path, key, at(1000 + id % 5000));
        queue
            .hold(CampaignId::from_raw(id % 3000), Some((id % 50) as u16), ticket(id + 100_000, Class::Bulk))
            .expect("none");
    }
    let full = queue.bytes();
    let mut out = Vec::new();
    for path in queue.paths() {
        queue.reroute(path.id, usize::MAX, &mut out);
    }
    let held: usize = (0..3000).map(|id| queue.release(CampaignId::from_raw(id)).len()).sum();
    assert_eq!((out.len(), held), (100_000, 100_000));
    wanting(&mut queue, at(10_000));
    assert_eq!(queue.drop_idle(at(100_000), Duration::from_secs(1), usize::MAX), 10_000);
    assert_eq!(queue.totals(), queue::Totals::default());
    assert!(full > 13_000_000 && queue.bytes() < 200_000, "{} after {full}", queue.bytes());
}
