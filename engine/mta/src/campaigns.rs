//! The campaigns that the engine knows: their template, compiled once, and their state. Read by every shard,
//! written when a campaign is created, started, paused, resumed or cancelled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use content::template::{CampaignDraft, Template};
use mail::{CampaignId, Class, UnixMs};
use spool::CampaignPhase;

/// One campaign.
#[derive(Debug)]
pub struct Campaign {
    /// Names it.
    pub id: CampaignId,
    /// The user's name for it.
    pub name: String,
    /// What kind of mail it is.
    pub class: Class,
    /// The account it belongs to; empty when there are none.
    pub tenant: String,
    /// When it was created.
    pub created_at: UnixMs,
    /// Its template, compiled.
    pub template: Arc<Template>,
    /// What it was made from.
    pub draft: CampaignDraft,
    phase: AtomicU8,
    /// Recipients that were added, as far as this run of the engine knows.
    recipients: AtomicU64,
}

impl Campaign {
    pub(crate) fn new(
        id: CampaignId,
        new: crate::NewCampaign,
        template: Template,
        created_at: UnixMs,
        phase: CampaignPhase,
    ) -> Self {
        Self {
            id,
            name: new.draft.name.clone(),
            class: new.class,
            tenant: new.tenant,
            created_at,
            template: Arc::new(template),
            draft: new.draft,
            phase: AtomicU8::new(phase as u8),
            recipients: AtomicU64::new(0),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> CampaignPhase {
        CampaignPhase::from_index(self.phase.load(Ordering::Acquire)).unwrap_or(CampaignPhase::Created)
    }

    /// Counts recipients that were added, and says how many there are now.
    pub(crate) fn add_recipients(&self, count: u64) -> u64 {
        self.recipients.fetch_add(count, Ordering::AcqRel) + count
    }

    pub(crate) fn set_phase(&self, phase: CampaignPhase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}

/// All campaigns by id.
#[derive(Debug, Default)]
pub(crate) struct Campaigns {
    by_id: RwLock<HashMap<CampaignId, Arc<Campaign>>>,
}

impl Campaigns {
    pub(crate) fn get(&self, id: CampaignId) -> Option<Arc<Campaign>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn insert(&self, campaign: Campaign) {
        let campaign = Arc::new(campaign);
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(campaign.id, campaign);
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Campaign>> {
        let mut all: Vec<_> =
            self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by_key(|campaign| (campaign.created_at, campaign.id));
        all
    }
}
