//! Campaigns: which run, which are paused, which were cancelled, and whom they hold back. It refuses to know paths.

use std::ops::{Index, IndexMut};

use mail::CampaignId;
use rustc_hash::FxHashMap;

use crate::Ticket;
use crate::slab::Slab;
use crate::store::{List, State, Store};

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
    held: List,
    pub(crate) held_count: u32,
}

impl Campaign {
    pub(crate) fn hold(&mut self, store: &mut Store, node: u32) {
        self.held.push_back(store, node);
        self.held_count += 1;
    }

    /// Takes out the first ticket that is held back.
    pub(crate) fn pop_held(&mut self, store: &mut Store) -> Option<Ticket> {
        self.trim_held(store);
        let node = self.held.pop_front(store)?;
        let ticket = store.ticket(node);
        store.remove(node);
        self.held_count -= 1;
        self.trim_held(store);
        Some(ticket)
    }

    /// Takes a held ticket out of the middle; its node is freed when it comes to the front.
    pub(crate) fn kill_held(&mut self, store: &mut Store, node: u32) {
        store[node].set_state(State::Dead);
        self.held_count -= 1;
        self.trim_held(store);
    }

    fn trim_held(&mut self, store: &mut Store) {
        while let Some(node) = self.held.front()
            && store[node].state() == State::Dead
        {
            self.held.pop_front(store);
            store.remove(node);
        }
    }
}

/// All campaigns, by index and by id.
#[derive(Debug)]
pub(crate) struct Campaigns {
    rows: Slab<Campaign>,
    by_id: FxHashMap<CampaignId, u32>,
}

impl Campaigns {
    pub(crate) fn new() -> Self {
        Self { rows: Slab::new(), by_id: FxHashMap::default() }
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
                held: List::EMPTY,
                held_count: 0,
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
            || campaign.held_count > 0
            || !campaign.flows.is_empty();
        if !needed {
            let id = campaign.id;
            self.rows.remove(index);
            self.by_id.remove(&id);
        }
    }

    pub(crate) fn held(&self) -> u64 {
        self.rows.iter().map(|(_, campaign)| u64::from(campaign.held_count)).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        let lists = self.rows.iter().map(|(_, campaign)| campaign.flows.capacity() * size_of::<u32>());
        self.rows.bytes() + crate::view::map_bytes(&self.by_id) + lists.sum::<usize>()
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
