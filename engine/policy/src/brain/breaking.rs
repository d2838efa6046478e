//! Who has been paused, and who is to be looked at: the memory of the breaker.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::{CampaignId, Class, UnixMs};

use crate::breaker::{BreakerSettings, Evidence, TooMany, Trip};
use crate::reputation::{Component, Reputation};
use crate::tally::{Happening, TallyKey};

/// Campaigns and tenants that are looked at in one tick.
const SEEN_PER_TICK: usize = 1024;
/// Paused campaigns and tenants remembered; the oldest is forgotten, and would be paused anew.
const PAUSED_MAX: usize = 16_384;
/// Pauses of a tenant's campaigns within this time count together.
const TOGETHER: Duration = Duration::from_secs(86_400);

/// A campaign that is to be paused, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Accused {
    pub(crate) campaign: CampaignId,
    pub(crate) tenant: u32,
    pub(crate) identity: u32,
    pub(crate) trip: Trip,
}

/// What the breaker wants paused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pause {
    Campaign(Accused),
    /// The tenant's mail outside of campaigns.
    Tenant(u32, Trip),
}

#[derive(Debug, Default)]
pub(crate) struct Breaking {
    /// Those that something has happened to, with the tenant and the sender's domain.
    heard: BTreeMap<Component, (u32, u32)>,
    campaigns: BTreeMap<CampaignId, UnixMs>,
    tenants: BTreeMap<u32, UnixMs>,
    /// When campaigns of a tenant were paused.
    pauses: BTreeMap<u32, Vec<UnixMs>>,
}

impl Breaking {
    /// Something has happened to mail of this campaign, or of this tenant's stream.
    pub(crate) fn heard(&mut self, key: &TallyKey) {
        let component = key.campaign.map_or(Component::Tenant(key.tenant), Component::Campaign);
        self.heard.insert(component, (key.tenant, key.identity));
    }

    /// Looks at those that something has happened to.
    pub(crate) fn tick(&mut self, settings: &BreakerSettings, records: Records<'_>) -> Vec<Pause> {
        let mut pauses = Vec::new();
        for _ in 0..SEEN_PER_TICK {
            let Some((component, (tenant, identity))) = self.heard.pop_first() else { break };
            match component {
                Component::Campaign(campaign) if !self.campaigns.contains_key(&campaign) => {
                    let trip = records.trip(settings, component, None);
                    let accused = trip.map(|trip| Accused { campaign, tenant, identity, trip });
                    pauses.extend(accused.map(Pause::Campaign));
                }
                Component::Tenant(tenant) if !self.tenants.contains_key(&tenant) => {
                    let trip = records.trip_of_stream(settings, component);
                    pauses.extend(trip.map(|trip| Pause::Tenant(tenant, trip)));
                }
                _ => {}
            }
        }
        pauses
    }

    /// A campaign is paused. How many of its tenant's were within a day, this one too; 0 when it had been before.
    pub(crate) fn paused_campaign(&mut self, campaign: CampaignId, tenant: u32, now: UnixMs) -> usize {
        if self.campaigns.insert(campaign, now).is_some() {
            return 0;
        }
        forget_oldest(&mut self.campaigns);
        if self.pauses.len() >= PAUSED_MAX {
            self.pauses.retain(|_, times| times.last().is_some_and(|&at| now.since(at) < TOGETHER));
        }
        if self.pauses.len() >= PAUSED_MAX {
            return 1;
        }
        let times = self.pauses.entry(tenant).or_default();
        times.retain(|&at| now.since(at) < TOGETHER);
        times.push(now);
        times.len()
    }

    /// A tenant is paused; whether it was not before.
    pub(crate) fn paused_tenant(&mut self, tenant: u32, now: UnixMs) -> bool {
        let is_new = self.tenants.insert(tenant, now).is_none();
        forget_oldest(&mut self.tenants);
        is_new
    }

    pub(crate) fn resumed_campaign(&mut self, campaign: CampaignId) {
        self.campaigns.remove(&campaign);
    }

    pub(crate) fn resumed_tenant(&mut self, tenant: u32) {
        self.tenants.remove(&tenant);
        self.pauses.remove(&tenant);
    }

    pub(crate) fn campaigns(&self) -> impl Iterator<Item = (&CampaignId, &UnixMs)> {
        self.campaigns.iter()
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = (&u32, &UnixMs)> {
        self.tenants.iter()
    }
}

/// Whose counts are looked at, and where.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a> {
    pub(crate) reputation: &'a Reputation,
    /// How many providers there are.
    pub(crate) providers: u16,
    pub(crate) now: UnixMs,
}

impl Records<'_> {
    /// The first share of `component` that is surely too large, for `class` or for all. Blocks by one provider alone are about
    /// the source there; only those by others too are about the mail.
    fn trip(&self, settings: &BreakerSettings, component: Component, class: Option<Class>) -> Option<Trip> {
        let evidence = Evidence::of(&self.reputation.everywhere(component, class, self.now));
        let trip = settings.trips(&evidence)?;
        if trip.what != TooMany::Blocks {
            return Some(trip);
        }
        let at =
            |provider| self.reputation.sums(component, provider, class, self.now).0.get(Happening::Blocked);
        let blocks = beyond_one((0..self.providers).map(at)).min(evidence.blocks);
        settings.trips(&Evidence { blocks, ..evidence })
    }

    /// Critical mail pauses nobody: what must arrive is not held for the manners of other mail.
    fn trip_of_stream(&self, settings: &BreakerSettings, component: Component) -> Option<Trip> {
        let classes = [Class::Transactional, Class::Personal, Class::Bulk];
        classes.into_iter().find_map(|class| self.trip(settings, component, Some(class)))
    }
}

/// The sum of what was counted at each provider, without the largest.
pub(crate) fn beyond_one(counts: impl Iterator<Item = f64>) -> f64 {
    let (sum, most) = counts.fold((0.0, 0.0_f64), |(sum, most), count| (sum + count, most.max(count)));
    sum - most
}

fn forget_oldest<K: Copy + Ord>(map: &mut BTreeMap<K, UnixMs>) {
    if map.len() > PAUSED_MAX
        && let Some(oldest) = map.iter().min_by_key(|&(_, &at)| at).map(|(&key, _)| key)
    {
        map.remove(&oldest);
    }
}
