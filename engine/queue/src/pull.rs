//! What a connection gets when it asks: the order of the questions that decide it. It refuses to know tickets.

use mail::{Class, UnixMs};

use crate::campaign::Campaigns;
use crate::limits::Need;
use crate::ready::Ready;
use crate::store::Store;
use crate::{FlowKey, Pull, Ticket};

/// Expired tickets put aside in one call, at most.
const EXPIRED_MAX: usize = 64;

/// The next thing for a connection of `path` to do. Expired tickets that stand first go to `expired`.
pub(crate) fn pull(
    ready: &mut Ready,
    store: &mut Store,
    campaigns: &mut Campaigns,
    expired: &mut Vec<Ticket>,
    (path, now): (u32, UnixMs),
) -> Pull {
    ready.wake(now);
    if ready.paths.rows[path].suspension.is_some() {
        if let Some(until) = ready.paths.rows[path].suspended_until(now) {
            return Pull::Suspended(until);
        }
        ready.resume(path);
    }
    if must_yield(ready, path) {
        return Pull::Yield;
    }
    for _ in 0..EXPIRED_MAX {
        let row = &mut ready.paths.rows[path];
        let Some(class) = row.turns.choose(&ready.weights, &row.ready) else {
            row.used = row.used.max(now);
            ready.is_idle(path);
            return Pull::Empty;
        };
        let need = if row.has_critical() { Need::First } else { Need::Other };
        let group = row.group;
        if let Err(moment) = ready.groups[group].take_token(need, now) {
            return Pull::Wait(moment);
        }
        let (ticket, key) = ready.pop(store, campaigns, path, class);
        if ticket.is_expired(now) {
            ready.groups[group].give_back();
            expired.push(ticket);
            continue;
        }
        served(ready, path, class, now);
        return Pull::Ticket(ticket, key);
    }
    Pull::Wait(now)
}

/// One more ticket of the line that `key` names, if it `fits` and the rate gives a token for it. It is a turn that its
/// account has had ahead of time.
pub(crate) fn pull_with(
    ready: &mut Ready,
    store: &mut Store,
    campaigns: &mut Campaigns,
    (path, key, now): (u32, FlowKey, UnixMs),
    fits: &mut dyn FnMut(&Ticket) -> bool,
) -> Option<Ticket> {
    // It is gone with its last ticket.
    let flow = ready.flows.find(path, key)?;
    let group = ready.paths.rows[path].group;
    let need = if key.class == Class::Critical { Need::First } else { Need::Other };
    if !ready.groups[group].take_token_along(need, now) {
        return None;
    }
    let mut may_go = |ticket: &Ticket| !ticket.is_expired(now) && fits(ticket);
    let taken = ready.pop_with(store, campaigns, flow, &mut may_go);
    if taken.is_none() {
        ready.groups[group].give_back();
    }
    taken
}

fn must_yield(ready: &mut Ready, path: u32) -> bool {
    let row = &ready.paths.rows[path];
    let group = &mut ready.groups[row.group];
    let must =
        row.connections > 0 && group.must_yield(row.ready_total() > 0, row.has_critical(), row.connections);
    if must {
        group.yielded();
    }
    must
}

fn served(ready: &mut Ready, path: u32, class: Class, now: UnixMs) {
    let row = &mut ready.paths.rows[path];
    row.used = row.used.max(now);
    row.turns.charge(class);
    if ready.wants_connection(path, now) {
        ready.hint(path);
    }
}
