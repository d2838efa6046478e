//! What the engine has stopped by itself, because of what receivers said of it: campaigns and whole accounts, with the
//! reason, until somebody lets them go on. Shared by all shards; a message takes no lock here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mail::{CampaignId, UnixMs};
use serde::{Deserialize, Serialize};

/// Campaigns whose reason is kept at most; beyond it the oldest reason is forgotten. The campaign stays paused.
const CAMPAIGNS_MAX: usize = 10_000;

/// Why and since when something is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Halt {
    pub(crate) since: UnixMs,
    pub(crate) reason: String,
}

/// Everything that is stopped.
#[derive(Debug, Default)]
pub(crate) struct Halts {
    /// By the number of the account in the queue.
    tenants: ArcSwap<BTreeMap<u32, Halt>>,
    campaigns: ArcSwap<BTreeMap<CampaignId, Halt>>,
}

/// The same as it is kept over a restart; identifiers are texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SavedHalts {
    tenants: BTreeMap<u32, Halt>,
    campaigns: BTreeMap<String, Halt>,
}

impl Halts {
    /// As they were kept.
    pub(crate) fn restored(saved: SavedHalts) -> Self {
        let campaigns = saved.campaigns.into_iter();
        let campaigns = campaigns.filter_map(|(id, halt)| Some((id.parse().ok()?, halt))).collect();
        Self { tenants: ArcSwap::from_pointee(saved.tenants), campaigns: ArcSwap::from_pointee(campaigns) }
    }

    /// To be kept.
    pub(crate) fn saved(&self) -> SavedHalts {
        let campaigns = self.campaigns.load();
        let campaigns = campaigns.iter().map(|(id, halt)| (id.to_string(), halt.clone())).collect();
        SavedHalts { tenants: BTreeMap::clone(&self.tenants.load()), campaigns }
    }

    /// Why the mail of an account waits, if it does. Costs one look when nothing is stopped.
    pub(crate) fn of_tenant(&self, tenant: u32) -> Option<Halt> {
        let tenants = self.tenants.load();
        if tenants.is_empty() { None } else { tenants.get(&tenant).cloned() }
    }

    /// Whether the mail of an account waits.
    pub(crate) fn has_tenant(&self, tenant: u32) -> bool {
        let tenants = self.tenants.load();
        !tenants.is_empty() && tenants.contains_key(&tenant)
    }

    /// Why a campaign was paused by the engine, if it was.
    pub(crate) fn of_campaign(&self, campaign: CampaignId) -> Option<Halt> {
        self.campaigns.load().get(&campaign).cloned()
    }

    pub(crate) fn stop_tenant(&self, tenant: u32, halt: &Halt) {
        self.tenants.rcu(|tenants| {
            let mut tenants = BTreeMap::clone(tenants);
            tenants.insert(tenant, halt.clone());
            tenants
        });
    }

    pub(crate) fn stop_campaign(&self, campaign: CampaignId, halt: &Halt) {
        self.campaigns.rcu(|campaigns| {
            let mut campaigns = BTreeMap::clone(campaigns);
            if campaigns.len() >= CAMPAIGNS_MAX {
                let oldest = campaigns.iter().min_by_key(|(_, halt)| halt.since).map(|(id, _)| *id);
                oldest.map(|id| campaigns.remove(&id));
            }
            campaigns.insert(campaign, halt.clone());
            campaigns
        });
    }

    /// Lets an account go on; false when it was not stopped.
    pub(crate) fn free_tenant(&self, tenant: u32) -> bool {
        let before = self.tenants.rcu(|tenants| without(tenants, &tenant));
        before.contains_key(&tenant)
    }

    /// Forgets why a campaign was paused: somebody has let it go on, or ended it.
    pub(crate) fn free_campaign(&self, campaign: CampaignId) -> bool {
        if !self.campaigns.load().contains_key(&campaign) {
            return false;
        }
        let before = self.campaigns.rcu(|campaigns| without(campaigns, &campaign));
        before.contains_key(&campaign)
    }

    /// The accounts that are stopped.
    pub(crate) fn tenants(&self) -> Arc<BTreeMap<u32, Halt>> {
        self.tenants.load_full()
    }
}

fn without<K: Ord + Clone>(halts: &BTreeMap<K, Halt>, key: &K) -> BTreeMap<K, Halt> {
    let mut halts = halts.clone();
    halts.remove(key);
    halts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halt(since: u64) -> Halt {
        Halt { since: UnixMs(since), reason: "too many complaints".to_owned() }
    }

    #[test]
    fn what_is_stopped_stays_so_over_a_restart_until_it_is_freed() {
        let halts = Halts::default();
        let campaign = CampaignId::from_raw(77);
        halts.stop_tenant(5, &halt(1));
        halts.stop_campaign(campaign, &halt(2));
        let text = serde_json::to_string(&halts.saved()).expect("written");
        let halts = Halts::restored(serde_json::from_str(&text).expect("read"));
        assert_eq!((halts.of_tenant(5), halts.of_campaign(campaign)), (Some(halt(1)), Some(halt(2))));
        assert!(halts.has_tenant(5) && !halts.has_tenant(6));
        assert!(halts.free_tenant(5) && !halts.free_tenant(5));
        assert!(halts.free_campaign(campaign) && !halts.free_campaign(campaign));
        assert_eq!(halts.saved(), SavedHalts::default());
    }

    #[test]
    fn the_number_of_reasons_is_bounded() {
        let halts = Halts::default();
        for n in 0..CAMPAIGNS_MAX as u64 + 3 {
            halts.stop_campaign(CampaignId::from_raw(n), &halt(n));
        }
        assert!(halts.of_campaign(CampaignId::from_raw(0)).is_none());
        assert!(halts.of_campaign(CampaignId::from_raw(5)).is_some());
    }
}
