//! What people see of the queue: paths, totals, where one recipient waits. It refuses to change anything.
//!
//! Those of paths walk over all paths and flows: they are for a question that a person asks, not for each message. That of one
//! recipient costs the same however much waits.

use std::collections::HashMap;

use mail::{CampaignId, RecipientId, UnixMs};
use rustc_hash::FxHashMap;

use crate::campaign::Campaigns;
use crate::flow::{Flow, Standing};
use crate::ready::Ready;
use crate::store::{State, Store};
use crate::{FlowKey, Limits, PathId, PathKey};

/// One path, as `queue ls` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathView {
    /// Its name in the queue.
    pub id: PathId,
    /// Where it leads.
    pub key: PathKey,
    /// Recipients that could leave now, per class in the order of [`mail::Class::ALL`].
    pub ready: [u32; 4],
    /// Recipients that wait for their campaign to be resumed.
    pub paused: u32,
    /// Recipients whose flow rests for a while; see [`crate::Queue::rest_flow`].
    pub resting: u32,
    /// Since when the first in its lines has waited there.
    pub oldest: Option<UnixMs>,
    /// Open connections.
    pub connections: u32,
    /// The limits that it shares with the other paths of its source and provider.
    pub limits: Limits,
    /// Until when it rests, and why.
    pub suspended: Option<(UnixMs, String)>,
}

/// Everything that waits, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Recipients whose time has not come.
    pub scheduled: u64,
    /// Recipients that could leave now, per class in the order of [`mail::Class::ALL`].
    pub ready: [u64; 4],
    /// Recipients on a path that wait for their campaign to be resumed.
    pub paused: u64,
    /// Recipients on a path whose flow rests for a while.
    pub resting: u64,
    /// Recipients held back until their campaign is released.
    pub held: u64,
    /// Recipients that have expired and wait to be taken by `expired`.
    pub expired: u64,
    /// Paths.
    pub paths: usize,
    /// Paths that rest.
    pub paths_suspended: usize,
    /// Lines of (class, tenant, campaign, identity) on paths.
    pub flows: usize,
    /// Those of them that rest for a while.
    pub flows_resting: usize,
    /// Open connections.
    pub connections: u64,
}

impl Totals {
    /// All recipients that the queue has.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.scheduled
            + self.ready.iter().sum::<u64>()
            + self.paused
            + self.resting
            + self.held
            + self.expired
    }
}

/// Where a recipient waits, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// For a moment to come.
    Scheduled {
        /// That moment.
        due: UnixMs,
    },
    /// For its turn on a path.
    Ready {
        /// The path; its view tells whether it rests.
        path: PathId,
        /// Its line; the campaign may be paused.
        flow: FlowKey,
        /// Since when it has stood there.
        since: UnixMs,
        /// Until when its line rests, if it does.
        rests_until: Option<UnixMs>,
        /// How many go before it, about.
        ahead: Ahead,
    },
    /// For its campaign to be released.
    Held {
        /// The campaign.
        campaign: CampaignId,
        /// What it is held for: one provider of that index, or the whole campaign.
        lane: Option<u16>,
        /// Since when.
        since: UnixMs,
    },
}

/// How many recipients go before one that waits on a path, about, as things stand: what comes later is not known, nor who
/// will rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Of its own line. Exact for the first thousand; further back it is wrong by no more than 64, half of those who came
    /// in the same millisecond, and those who have expired before it. A critical line of more than a thousand is
    /// judged by a thousand of them.
    pub in_flow: u32,
    /// Of its class on the path, those of its line among them: as if all lines that take turns now went on until it goes,
    /// so fewer when many of them are short. Of critical mail, as if all lines had the same deadlines.
    pub in_class: u32,
}

/// What waits of a campaign, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignWaits {
    /// Its lines on paths that may take their turn.
    pub lines: Vec<CampaignLine>,
    /// How many are held back, for a provider of that index or with the whole campaign.
    pub held: Vec<(Option<u16>, u64)>,
    /// How many wait for their time.
    pub scheduled: u64,
    /// None of these waits for a later moment.
    pub latest: Option<UnixMs>,
}

/// One line of a campaign on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignLine {
    /// The path.
    pub path: PathId,
    /// Recipients of the class on the path that have gone when the last of the line has, about: see [`Ahead::in_class`].
    pub until_last: u64,
}

pub(crate) fn campaign(ready: &Ready, campaigns: &Campaigns, id: CampaignId) -> CampaignWaits {
    let Some(index) = campaigns.find(id) else { return CampaignWaits::default() };
    let campaign = &campaigns[index];
    let flows = campaign.flows.iter().map(|&flow| &ready.flows.rows[flow]);
    let line = |flow: &Flow| CampaignLine {
        path: ready.paths.id(flow.path),
        until_last: u64::from(in_class(ready, flow, flow.live - 1)) + 1,
    };
    CampaignWaits {
        lines: flows.filter(|flow| flow.live > 0 && !flow.paused).map(line).collect(),
        held: campaigns.lanes_of(index).collect(),
        scheduled: u64::from(campaign.scheduled),
        latest: (campaign.scheduled > 0).then_some(campaign.latest),
    }
}

pub(crate) fn paths(ready: &Ready, store: &Store) -> Vec<PathView> {
    let mut oldest: FxHashMap<u32, UnixMs> = FxHashMap::default();
    for (_, flow) in ready.flows.rows.iter() {
        if let Some(since) = flow.oldest(store) {
            oldest.entry(flow.path).and_modify(|first| *first = since.min(*first)).or_insert(since);
        }
    }
    let view = |index: u32| one_path(ready, index, oldest.get(&index).copied());
    let mut views: Vec<PathView> = ready.paths.rows.iter().map(|(index, _)| view(index)).collect();
    views.sort_by_key(|view| view.key);
    views
}

pub(crate) fn path(ready: &Ready, store: &Store, index: u32) -> PathView {
    let flows = ready.paths.rows[index].flows.iter();
    let oldest = flows.filter_map(|&flow| ready.flows.rows[flow].oldest(store)).min();
    one_path(ready, index, oldest)
}

fn one_path(ready: &Ready, index: u32, oldest: Option<UnixMs>) -> PathView {
    let path = &ready.paths.rows[index];
    let suspended = path.suspension.as_ref();
    PathView {
        id: ready.paths.id(index),
        key: path.key,
        ready: path.ready,
        paused: path.waiting - path.ready_total() - path.resting,
        resting: path.resting,
        oldest,
        connections: path.connections,
        limits: ready.groups[path.group].limits(),
        suspended: suspended.map(|suspension| (suspension.until, suspension.reason.to_string())),
    }
}

pub(crate) fn totals(ready: &Ready, campaigns: &Campaigns, scheduled: u64, expired: u64) -> Totals {
    let mut totals = Totals {
        scheduled,
        held: campaigns.held(),
        expired,
        paths: ready.paths.rows.count(),
        paths_suspended: ready.suspended_count(),
        flows: ready.flows.rows.count(),
        flows_resting: ready.rests.count(),
        ..Totals::default()
    };
    for (_, path) in ready.paths.rows.iter() {
        for (total, count) in totals.ready.iter_mut().zip(path.ready) {
            *total += u64::from(count);
        }
        totals.paused += u64::from(path.waiting - path.ready_total() - path.resting);
        totals.resting += u64::from(path.resting);
        totals.connections += u64::from(path.connections);
    }
    totals
}

pub(crate) fn find(ready: &Ready, campaigns: &Campaigns, store: &Store, id: RecipientId) -> Option<Place> {
    let node = store.find(id)?;
    let (state, place, when) = (store[node].state(), store[node].place, store.moment(store[node].when()));
    Some(match state {
        State::Scheduled => Place::Scheduled { due: when },
        State::Held => {
            let lane = &campaigns.lanes[place];
            Place::Held { campaign: campaigns[lane.campaign].id, lane: lane.name, since: when }
        }
        _ => {
            let flow = &ready.flows.rows[place];
            Place::Ready {
                path: ready.paths.id(flow.path),
                flow: flow.key,
                since: when,
                rests_until: flow.rests_until,
                ahead: ahead(ready, store, flow, node),
            }
        }
    })
}

/// How many go before a node of a flow, as things stand.
fn ahead(ready: &Ready, store: &Store, flow: &Flow, node: u32) -> Ahead {
    let in_flow = flow.ahead(store, node);
    Ahead { in_flow, in_class: in_class(ready, flow, in_flow) }
}

/// How many of its class on the path go before one that has so many before it in its flow.
fn in_class(ready: &Ready, flow: &Flow, in_flow: u32) -> u32 {
    let path = &ready.paths.rows[flow.path];
    let is_ready = flow.standing() == Standing::Ready;
    let beside = path.ready[flow.key.class.index()] - if is_ready { flow.live } else { 0 };
    let tenants = path.turns.tenants(flow.key.class);
    let before_beside = match tenants {
        // By urgency: as large a part of the others as of its own line.
        None => u64::from(beside) * u64::from(in_flow) / u64::from(flow.live),
        // In turns: every other line has one for each of its own, and half a round has passed.
        Some(tenants) => {
            let lines =
                u64::from(tenants.max(1)) * u64::from(ready.flows.tenants[flow.tenant].ring.count().max(1));
            (lines - 1) * u64::from(in_flow) + lines / 2
        }
    };
    in_flow + before_beside.min(u64::from(beside)) as u32
}

/// What a hash table owns: a byte of control and a place for an entry per bucket, and a bucket per seven eighths of
/// an entry.
pub(crate) fn map_bytes<K, V, S>(map: &HashMap<K, V, S>) -> usize {
    map.capacity() * 8 / 7 * (size_of::<(K, V)>() + 1)
}
