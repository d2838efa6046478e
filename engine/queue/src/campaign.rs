//! Campaigns: which run, which are paused, which were cancelled, and whom they hold back. It refuses to know paths.

use std::ops::{Index, IndexMut};

use mail::{CampaignId, UnixMs};
use rustc_hash::FxHashMap;

use crate::Ticket;
use crate::slab::{Slab, tidy};
use crate::store::{List, State, Stay, Store, Tick};

/// What the user wants of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CampaignState {
    /// Its mail leaves in turn. Also the state of campaigns the queue has not heard of.
    #[default]
    Running,
    /// Its mail waits, wherever it is.
    Paused,
    /// Its mail is refused, until the campaign is forgotten.
    Cancelled,
}

/// A campaign that has tickets here or is not simply running.
#[derive(Debug)]
pub(crate) struct Campaign {
    pub(crate) id: CampaignId,
    pub(crate) state: CampaignState,
    pub(crate) flows: Vec<u32>,
    pub(crate) scheduled: u32,
    /// None of it is scheduled for a later moment.
    pub(crate) latest: UnixMs,
    /// What it holds back: its lanes, in the order of their names; none is empty.
    lanes: Vec<u32>,
}

/// Tickets that a campaign holds back for one reason: all of them, or those that lead to one provider.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) campaign: u32,
    pub(crate) name: Option<u16>,
    held: List,
    pub(crate) count: u32,
}

impl Lane {
    fn pop(&mut self, store: &mut Store) -> Option<Ticket> {
        self.trim(store);
        let ticket = self.held.pop_front(store)?;
        self.count -= 1;
        self.trim(store);
        Some(ticket)
    }

    /// Takes a ticket out of the middle; its node is freed when it comes to the front.
    fn kill(&mut self, store: &mut Store, node: u32) {
        store[node].set_state(State::Dead);
        self.count -= 1;
        self.trim(store);
    }

    fn trim(&mut self, store: &mut Store) {
        while let Some(node) = self.held.front()
            && store[node].state() == State::Dead
        {
            self.held.pop_front(store);
        }
    }
}

/// All campaigns, by index and by id.
#[derive(Debug)]
pub(crate) struct Campaigns {
    rows: Slab<Campaign>,
    pub(crate) lanes: Slab<Lane>,
    by_id: FxHashMap<CampaignId, u32>,
}

impl Campaigns {
    pub(crate) fn new() -> Self {
        Self { rows: Slab::new(), lanes: Slab::new(), by_id: FxHashMap::default() }
    }

    pub(crate) fn find(&self, id: CampaignId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn intern(&mut self, id: CampaignId) -> u32 {
        let rows = &mut self.rows;
        *self.by_id.entry(id).or_insert_with(|| {
            rows.insert(Campaign {
                id,
                state: CampaignState::Running,
                flows: Vec::new(),
                scheduled: 0,
                latest: UnixMs::default(),
                lanes: Vec::new(),
            })
        })
    }

    pub(crate) fn state(&self, id: CampaignId) -> CampaignState {
        self.find(id).map_or(CampaignState::Running, |index| self.rows[index].state)
    }

    /// Forgets a campaign about which nothing needs to be known any more.
    pub(crate) fn settle(&mut self, index: u32) {
        let campaign = &self.rows[index];
        let needed = campaign.state != CampaignState::Running
            || campaign.scheduled > 0
            || !campaign.lanes.is_empty()
            || !campaign.flows.is_empty();
        if !needed {
            let id = campaign.id;
            self.rows.remove(index);
            self.by_id.remove(&id);
            tidy(&mut self.by_id);
        }
    }

    // What is held back

    /// Holds a ticket of a campaign back, behind the others of its lane.
    pub(crate) fn hold(
        &mut self,
        store: &mut Store,
        campaign: u32,
        name: Option<u16>,
        (ticket, when): (Ticket, Tick),
    ) {
        let lane = match self.find_lane(campaign, name) {
            Ok(slot) => self.rows[campaign].lanes[slot],
            Err(slot) => {
                let lane = self.lanes.insert(Lane { campaign, name, held: List::EMPTY, count: 0 });
                self.rows[campaign].lanes.insert(slot, lane);
                lane
            }
        };
        let row = &mut self.lanes[lane];
        row.held.push_back(store, ticket, Stay { state: State::Held, place: lane, when });
        row.count += 1;
    }

    /// Takes out the first ticket of a lane; of the first lane when none is named.
    pub(crate) fn pop_held(&mut self, store: &mut Store, campaign: u32, name: Option<u16>) -> Option<Ticket> {
        let slot = match name {
            Some(_) => self.find_lane(campaign, name).ok()?,
            None => 0,
        };
        let lane = *self.rows[campaign].lanes.get(slot)?;
        let ticket = self.lanes[lane].pop(store);
        self.settle_lane(lane);
        ticket
    }

    /// Takes a held ticket out of the middle.
    pub(crate) fn kill_held(&mut self, store: &mut Store, node: u32) {
        let lane = store[node].place;
        let campaign = self.lanes[lane].campaign;
        self.lanes[lane].kill(store, node);
        self.settle_lane(lane);
        self.settle(campaign);
    }

    fn settle_lane(&mut self, index: u32) {
        let lane = &self.lanes[index];
        if lane.count > 0 {
            return;
        }
        debug_assert!(lane.held.is_empty(), "with its last ticket the dead before it are freed");
        let slot = self.find_lane(lane.campaign, lane.name).expect("a lane is listed by its campaign");
        let lane = self.lanes.remove(index);
        self.rows[lane.campaign].lanes.remove(slot);
    }

    /// Where a campaign lists a lane, or where it is to.
    fn find_lane(&self, campaign: u32, name: Option<u16>) -> Result<usize, usize> {
        self.rows[campaign].lanes.binary_search_by_key(&name, |&lane| self.lanes[lane].name)
    }

    /// How many tickets a lane holds; all lanes together when none is named.
    pub(crate) fn held_by(&self, campaign: u32, name: Option<u16>) -> u64 {
        let lanes = self.rows[campaign].lanes.iter().map(|&lane| &self.lanes[lane]);
        lanes.filter(|lane| name.is_none() || lane.name == name).map(|lane| u64::from(lane.count)).sum()
    }

    /// What it holds back in each of its lanes.
    pub(crate) fn lanes_of(&self, campaign: u32) -> impl Iterator<Item = (Option<u16>, u64)> {
        let lanes = self.rows[campaign].lanes.iter().map(|&lane| &self.lanes[lane]);
        lanes.map(|lane| (lane.name, u64::from(lane.count)))
    }

    pub(crate) fn held(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| u64::from(lane.count)).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        let lists = self
            .rows
            .iter()
            .map(|(_, campaign)| (campaign.flows.capacity() + campaign.lanes.capacity()) * size_of::<u32>());
        self.rows.bytes() + self.lanes.bytes() + crate::view::map_bytes(&self.by_id) + lists.sum::<usize>()
    }
}

impl Index<u32> for Campaigns {
    type Output = Campaign;

    fn index(&self, index: u32) -> &Campaign {
        &self.rows[index]
    }
}

impl IndexMut<u32> for Campaigns {
    fn index_mut(&mut self, index: u32) -> &mut Campaign {
        &mut self.rows[index]
    }
}
