//! Short words for the tests: a queue, a path, tickets, and a connection that pulls.

use std::time::Duration;

use mail::{CampaignId, Class, RecipientId, UnixMs};
use policy::Rate;
use queue::{FlowKey, Limits, PathId, PathKey, Pull, Queue, Ticket};

/// When every scene begins.
pub(crate) const START: UnixMs = UnixMs(1_700_000_000_000);

/// A moment `ms` after the beginning.
pub(crate) const fn at(ms: u64) -> UnixMs {
    UnixMs(START.0 + ms)
}

/// Weights as a configuration would have them.
pub(crate) fn queue() -> Queue {
    Queue::new([16, 8, 4, 1], 0.2, START)
}

pub(crate) fn limits(connections: u32, rate: Option<Rate>) -> Limits {
    Limits { connections, rate, messages_per_connection: 100, recipients_per_message: 1, pipeline_depth: 1 }
}

pub(crate) const fn key(provider: u16, site: u64) -> PathKey {
    PathKey { source: 0, provider, site }
}

pub(crate) const fn flow(class: Class, tenant: u32) -> FlowKey {
    FlowKey { class, tenant, campaign: None, identity: 0 }
}

pub(crate) const fn of_campaign(campaign: u64) -> FlowKey {
    FlowKey { class: Class::Bulk, tenant: 0, campaign: Some(CampaignId::from_raw(campaign)), identity: 0 }
}

pub(crate) const fn ticket(id: u64, class: Class) -> Ticket {
    Ticket { id: RecipientId::from_raw(id), expiry: 0, deadline: 0, attempts: 0, class }
}

/// A ticket that expires `seconds` after the beginning.
pub(crate) const fn expiring(id: u64, class: Class, seconds: u32) -> Ticket {
    Ticket { expiry: START.seconds() as u32 + seconds, ..ticket(id, class) }
}

/// A critical ticket that must arrive `seconds` after the beginning.
pub(crate) const fn urgent(id: u64, seconds: u32) -> Ticket {
    Ticket { deadline: START.seconds() as u32 + seconds, ..ticket(id, Class::Critical) }
}

/// Lets the tickets of `ids` wait on a path.
pub(crate) fn fill(
    queue: &mut Queue,
    path: PathId,
    key: FlowKey,
    ids: impl IntoIterator<Item = u64>,
    now: UnixMs,
) {
    for id in ids {
        queue.enqueue(path, key, ticket(id, key.class), now).expect("the path is there");
    }
}

/// What one connection gets that asks `count` times at one moment, as identifiers.
pub(crate) fn pull_some(queue: &mut Queue, path: PathId, now: UnixMs, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let Pull::Ticket(ticket, _) = queue.pull(path, now) else { break };
        seen.push(ticket.id.raw());
    }
    seen
}

/// What one connection gets until `end`, with the moments, when it asks again as it is told to and each delivery
/// takes no time.
pub(crate) fn pull_until(queue: &mut Queue, path: PathId, start: UnixMs, end: UnixMs) -> Vec<(u64, UnixMs)> {
    let mut now = start;
    let mut seen = Vec::new();
    while now < end {
        match queue.pull(path, now) {
            Pull::Ticket(ticket, _) => seen.push((ticket.id.raw(), now)),
            Pull::Wait(moment) | Pull::Suspended(moment) => now = moment.max(now),
            Pull::Empty => now = now + Duration::from_millis(1),
            Pull::Yield => break,
        }
    }
    seen
}

/// The paths to look at now.
pub(crate) fn wanting(queue: &mut Queue, now: UnixMs) -> Vec<PathId> {
    let mut paths = Vec::new();
    queue.poll_wanting(now, &mut paths);
    paths
}

/// What expires, in as many calls as it takes to walk over everything.
pub(crate) fn expired(queue: &mut Queue, now: UnixMs) -> Vec<u64> {
    let mut out = Vec::new();
    // Who moves up in a line may be passed over in a round, but not in all of them.
    let mut before = usize::MAX;
    while before != out.len() {
        before = out.len();
        for _ in 0..=queue.bytes() / 24 / 4096 {
            queue.expired(now, usize::MAX, &mut out);
        }
    }
    let mut ids: Vec<u64> = out.into_iter().map(|ticket| ticket.id.raw()).collect();
    ids.sort_unstable();
    ids
}

/// What is due, in as many calls as it takes.
pub(crate) fn due(queue: &mut Queue, now: UnixMs) -> Vec<u64> {
    let mut out = Vec::new();
    while queue.next_due().is_some_and(|moment| moment <= now) {
        let before = out.len();
        queue.due(now, 1000, &mut out);
        if out.len() == before && queue.next_due().is_some_and(|moment| moment <= now) {
            continue;
        }
    }
    out.into_iter().map(|ticket| ticket.id.raw()).collect()
}
