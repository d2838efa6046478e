//! What a brain keeps over a restart, in words that outlive a change of the configuration: sources and providers by their names.
//!
//! It is restored leniently: what names a source or provider that is gone is left out, what is missing begins anew, and a file
//! of another version is not read at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use mail::{CampaignId, Class, UnixMs};
use serde::{Deserialize, Serialize};

use crate::breaker::Evidence;
use crate::canary::GateView;
use crate::reputation::{Component, Decayed, EVERYWHERE, Kept};
use crate::warmup::{Ladder, WarmUp};

use super::Brain;
use super::burns::Burn;
use super::senders::Slowed;
use super::setup::{Setup, Tables};
use super::trials::TrialState;

/// The version that is written and read.
const VERSION: u32 = 2;
/// Records of reputation that are saved: those with the most mail.
const RECORDS_MAX: usize = 10_000;

/// Everything that a brain keeps over a restart; to be serialized.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    version: u32,
    records: Vec<SavedRecord>,
    campaigns: Vec<SavedCampaign>,
    sources: Vec<SavedSource>,
    burns: Vec<SavedBurn>,
    warm_identities: Vec<SavedIdentity<WarmUp>>,
    slowed: Vec<SavedIdentity<Slowed>>,
    bad_senders: BTreeMap<u32, UnixMs>,
    paused_campaigns: BTreeMap<u64, UnixMs>,
    paused_tenants: BTreeMap<u32, UnixMs>,
}

/// Who a record is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SavedComponent {
    Source(String),
    Identity(u32),
    Tenant(u32),
    Campaign(u64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedRecord {
    of: SavedComponent,
    /// `None`: over all.
    provider: Option<String>,
    class: Class,
    counts: Decayed,
    at: UnixMs,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedCampaign {
    campaign: u64,
    state: TrialState,
    is_lifted: bool,
    tenant: u32,
    identity: u32,
    recipients: u64,
    total: SavedGate,
    lanes: Vec<SavedLane>,
    evidence: Evidence,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedLane {
    provider: String,
    gate: SavedGate,
    steps: u8,
    is_shut: bool,
    evidence: Evidence,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct SavedGate {
    passed: u64,
    /// `None`: open.
    allowed: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSource {
    source: String,
    provider: String,
    warm_up: WarmUp,
    /// The ladder of one that was begun while the engine ran; else the configuration has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ladder: Option<Ladder>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedBurn {
    source: String,
    provider: String,
    burn: Burn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedIdentity<T> {
    identity: u32,
    provider: String,
    state: T,
}

impl From<GateView> for SavedGate {
    fn from(view: GateView) -> Self {
        Self { passed: view.passed, allowed: view.allowed }
    }
}

impl From<SavedGate> for GateView {
    fn from(gate: SavedGate) -> Self {
        Self { passed: gate.passed, allowed: gate.allowed }
    }
}

impl SavedGate {
    /// Without those that had passed and were not tried: they ask again after a restart, and would find their own places taken.
    fn tried(self, evidence: Evidence) -> Self {
        Self { passed: self.passed.min(evidence.asked().round() as u64), ..self }
    }
}

/// The indices of names.
struct Names<'a> {
    sources: BTreeMap<&'a str, u16>,
    providers: BTreeMap<&'a str, u16>,
}

impl<'a> Names<'a> {
    fn of(setup: &'a Setup) -> Self {
        Self {
            sources: setup.sources.iter().map(|source| source.name.as_str()).zip(0..).collect(),
            providers: setup.providers.iter().map(String::as_str).zip(0..).collect(),
        }
    }

    fn source(&self, name: &str) -> Option<u16> {
        self.sources.get(name).copied()
    }

    fn provider(&self, name: &str) -> Option<u16> {
        self.providers.get(name).copied()
    }
}

impl Brain {
    /// What is to be kept over a restart: as JSON about 2 MB of records, and 200 bytes for each campaign at each provider.
    #[must_use]
    pub fn saved(&self, now: UnixMs) -> Saved {
        let provider = |provider: u16| self.setup.provider(provider).to_owned();
        let source = |source: u16| self.setup.source(source).to_owned();
        let identity = |(&(identity, at), state): (&(u32, u16), &Slowed)| SavedIdentity {
            identity,
            provider: provider(at),
            state: *state,
        };
        let climbs = &self.climbs;
        Saved {
            version: VERSION,
            records: self.saved_records(now),
            campaigns: self.saved_campaigns(),
            sources: climbs
                .sources
                .iter()
                .map(|one| SavedSource {
                    source: source(one.source),
                    provider: provider(one.provider),
                    warm_up: one.warm_up,
                    ladder: one.is_ordered.then(|| Ladder::clone(&one.ladder)),
                })
                .collect(),
            burns: self
                .burns
                .iter()
                .map(|(&(one, at), &burn)| SavedBurn { source: source(one), provider: provider(at), burn })
                .collect(),
            warm_identities: climbs
                .identities
                .iter()
                .map(|(&(identity, at), one)| SavedIdentity {
                    identity,
                    provider: provider(at),
                    state: one.warm_up,
                })
                .collect(),
            slowed: self.senders.slowed().map(identity).collect(),
            bad_senders: self.senders.bad().map(|(&identity, &until)| (identity, until)).collect(),
            paused_campaigns: self.breaking.campaigns().map(|(campaign, &at)| (campaign.raw(), at)).collect(),
            paused_tenants: self.breaking.tenants().map(|(&tenant, &at)| (tenant, at)).collect(),
        }
    }

    fn saved_records(&self, now: UnixMs) -> Vec<SavedRecord> {
        let saved = |kept: Kept| SavedRecord {
            of: match kept.component {
                Component::Source(source) => SavedComponent::Source(self.setup.source(source).to_owned()),
                Component::Identity(identity) => SavedComponent::Identity(identity),
                Component::Tenant(tenant) => SavedComponent::Tenant(tenant),
                Component::Campaign(campaign) => SavedComponent::Campaign(campaign.raw()),
            },
            provider: (kept.provider != EVERYWHERE).then(|| self.setup.provider(kept.provider).to_owned()),
            class: kept.class,
            counts: kept.counts,
            at: kept.at,
        };
        self.reputation.saved(RECORDS_MAX, now).into_iter().map(saved).collect()
    }

    fn saved_campaigns(&self) -> Vec<SavedCampaign> {
        let mut campaigns = Vec::new();
        for (&campaign, trial) in self.trials.iter() {
            let Some(gates) = self.tables.gates.campaign(campaign) else { continue };
            let lane = |provider: u16| {
                let lane = trial.lanes.get(&provider).cloned().unwrap_or_default();
                SavedLane {
                    provider: self.setup.provider(provider).to_owned(),
                    gate: gates.at(provider).into(),
                    steps: lane.steps,
                    is_shut: lane.is_shut,
                    evidence: lane.seen.evidence,
                }
            };
            let open_untouched = trial.state == TrialState::Open;
            let lanes = (0..gates.lanes()).filter(|&one| open_untouched || gates.was_asked(one)).map(lane);
            campaigns.push(SavedCampaign {
                campaign: campaign.raw(),
                state: trial.state,
                is_lifted: trial.is_lifted,
                tenant: trial.tenant,
                identity: trial.identity,
                recipients: gates.recipients(),
                total: gates.total().into(),
                lanes: lanes.collect(),
                evidence: trial.seen.evidence,
            });
        }
        campaigns
    }

    /// A brain that goes on where `saved` left off.
    #[must_use]
    pub fn restored(setup: Setup, tables: Tables, saved: &Saved, now: UnixMs) -> Self {
        let mut brain = Self::unwritten(setup, tables, now);
        if saved.version == VERSION {
            brain.restore(saved, now);
        }
        brain.write_all(now);
        brain
    }

    fn restore(&mut self, saved: &Saved, now: UnixMs) {
        let setup = self.setup.clone();
        let names = Names::of(&setup);
        for record in &saved.records {
            self.restore_record(record, &names);
        }
        for campaign in &saved.campaigns {
            self.restore_campaign(campaign, &names, now);
        }
        for SavedSource { source, provider, warm_up, ladder } in &saved.sources {
            if let (Some(source), Some(provider)) = (names.source(source), names.provider(provider)) {
                match ladder {
                    None => self.climbs.restore_source(source, provider, *warm_up),
                    Some(ladder) => {
                        self.climbs.restore_ordered((source, provider), Arc::new(ladder.clone()), *warm_up);
                    }
                }
            }
        }
        for SavedBurn { source, provider, burn } in &saved.burns {
            if let (Some(source), Some(provider)) = (names.source(source), names.provider(provider)) {
                self.burns.restore(source, provider, *burn);
                self.tables.standings.burn(source, provider, burn.until);
            }
        }
        for one in &saved.warm_identities {
            if let Some(provider) = names.provider(&one.provider) {
                self.climbs.restore_identity(one.identity, provider, one.state);
            }
        }
        for one in &saved.slowed {
            if let Some(provider) = names.provider(&one.provider) {
                self.senders.restore(one.identity, provider, one.state);
                self.write_budget(one.identity, provider);
            }
        }
        for (&identity, &until) in &saved.bad_senders {
            self.senders.set_bad(identity, until);
            self.tables.gates.set_good(identity, false);
        }
        for (&campaign, &at) in &saved.paused_campaigns {
            self.breaking.paused_campaign(CampaignId::from_raw(campaign), 0, at);
        }
        for (&tenant, &at) in &saved.paused_tenants {
            self.breaking.paused_tenant(tenant, at);
        }
    }

    fn restore_record(&mut self, record: &SavedRecord, names: &Names<'_>) {
        let component = match &record.of {
            SavedComponent::Source(name) => names.source(name).map(Component::Source),
            SavedComponent::Identity(identity) => Some(Component::Identity(*identity)),
            SavedComponent::Tenant(tenant) => Some(Component::Tenant(*tenant)),
            SavedComponent::Campaign(raw) => Some(Component::Campaign(CampaignId::from_raw(*raw))),
        };
        let provider = record.provider.as_ref().map_or(Some(EVERYWHERE), |name| names.provider(name));
        if let (Some(component), Some(provider)) = (component, provider) {
            let SavedRecord { class, counts, at, .. } = *record;
            self.reputation.restore(&Kept { component, provider, class, counts, at });
        }
    }

    fn restore_campaign(&mut self, saved: &SavedCampaign, names: &Names<'_>, now: UnixMs) {
        if !self.setup.has_canary() {
            return;
        }
        let campaign = CampaignId::from_raw(saved.campaign);
        let gates = self.tables.gates.gates_of(campaign, saved.recipients);
        gates.restore(saved.recipients, saved.total.tried(saved.evidence).into());
        let trial = self.trials.restore(campaign, saved.state, saved.is_lifted, now);
        (trial.tenant, trial.identity) = (saved.tenant, saved.identity);
        trial.seen = saved.evidence.into();
        for lane in &saved.lanes {
            let Some(provider) = names.provider(&lane.provider) else { continue };
            gates.restore_lane(provider, lane.gate.tried(lane.evidence).into());
            let (steps, is_shut) = (lane.steps, lane.is_shut);
            let seen = lane.evidence.into();
            let lane = trial.lanes.entry(provider).or_default();
            (lane.seen, lane.steps, lane.is_shut) = (seen, steps, is_shut);
        }
    }
}
