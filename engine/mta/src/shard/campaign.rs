//! What a campaign's start, pause and withdrawal mean on a shard: its home writes the new phase, every shard obeys.

use std::rc::Rc;
use std::sync::Arc;

use mail::{CampaignId, Disposition};
use queue::Ticket;
use spool::{CampaignPhase, CampaignState};

use super::{Shard, ToShard};
use crate::Refusal;
use crate::campaigns::Campaign;
use crate::io;

/// How many released or cancelled recipients are worked before others get their turn.
const BATCH: usize = 512;

impl Shard {
    /// On the campaign's home: makes the new phase durable and tells every shard.
    pub(crate) async fn set_campaign(
        self: &Rc<Self>,
        campaign: Arc<Campaign>,
        phase: CampaignPhase,
    ) -> Result<(), Refusal> {
        let _alone = self.campaigns.changing.lock().await;
        check_move(campaign.phase(), phase)?;
        let state = CampaignState { campaign: campaign.id, phase, at: self.now() };
        self.journal.append(|log| log.append_campaign_state(&state))?;
        if let Err(refusal) = self.journal.durable().await {
            // The log keeps the state through a failure, so it will hold: it must not be refused.
            if !self.journal.is_rescued().await {
                return Err(refusal);
            }
        }
        campaign.set_phase(phase);
        if phase != CampaignPhase::Paused {
            self.shared.resumed(campaign.id);
        }
        for shard in 0..self.shared.shards.len() {
            let id = campaign.id;
            if shard == usize::from(self.index) {
                self.campaign_changed(id, phase);
            } else {
                let obey = Box::new(move |shard: &Rc<Self>| shard.campaign_changed(id, phase));
                self.post(shard, ToShard::Call(obey)).await;
            }
        }
        Ok(())
    }

    fn campaign_changed(self: &Rc<Self>, id: CampaignId, phase: CampaignPhase) {
        let mut queue = self.queue.borrow_mut();
        match phase {
            CampaignPhase::Created | CampaignPhase::Finished => {}
            CampaignPhase::Paused => queue.pause_campaign(id),
            CampaignPhase::Running => {
                queue.resume_campaign(id);
                let held = queue.release(id);
                drop(queue);
                io::spawn(release(Rc::clone(self), held));
                self.dispatch_wanting();
            }
            CampaignPhase::Cancelled => {
                let cancelled = queue.cancel_campaign(id);
                drop(queue);
                self.cancel_all(cancelled);
            }
        }
    }
}

/// A started campaign's recipients go on their way; their time runs from now.
async fn release(shard: Rc<Shard>, held: Vec<Ticket>) {
    for batch in held.chunks(BATCH) {
        for &ticket in batch {
            let life = shard.shared.config.class(ticket.class).expiry;
            let latest = u32::try_from((shard.now() + life).seconds()).unwrap_or(u32::MAX);
            let expiry = if ticket.expiry == 0 { latest } else { ticket.expiry.min(latest) };
            shard.start(Ticket { expiry, ..ticket }).await;
        }
        tokio::task::yield_now().await;
    }
}

pub(super) async fn cancel(shard: Rc<Shard>, cancelled: Vec<Ticket>) {
    for batch in cancelled.chunks(BATCH) {
        for &ticket in batch {
            shard.leaves_quota(ticket);
            shard.give_up(ticket, Disposition::Cancelled, super::cancelled()).await;
        }
        tokio::task::yield_now().await;
    }
}

impl Shard {
    /// A recipient whose campaign was withdrawn before its turn in the quota of the account came: its place is free again.
    fn leaves_quota(&self, ticket: Ticket) {
        let (quotas, now) = (&self.shared.brain.quotas, self.now());
        if quotas.is_empty() {
            return;
        }
        let Ok(recipient) = self.shared.readers[usize::from(ticket.id.0.shard())].recipient(ticket.id) else {
            return;
        };
        let Some(campaign) = self.campaign(CampaignId(recipient.content().0)) else { return };
        if recipient.not_before() > now && quotas.has_promised(&campaign.tenant, now) {
            quotas.give_back(&campaign.tenant, ticket.class, 1);
        }
    }
}

/// Which phase may follow which.
fn check_move(from: CampaignPhase, to: CampaignPhase) -> Result<(), Refusal> {
    use CampaignPhase::{Cancelled, Created, Finished, Paused, Running};
    match (from, to) {
        (Created | Paused | Running, Running | Cancelled) | (Running | Paused, Paused) => Ok(()),
        (Created, Paused) => Err(Refusal::Conflict("the campaign has not been started".to_owned())),
        (Cancelled, _) => Err(Refusal::Conflict("the campaign has been cancelled".to_owned())),
        (Finished, _) => Err(Refusal::Conflict("the campaign is finished".to_owned())),
        (_, Created | Finished) => {
            Err(Refusal::Conflict(format!("a campaign cannot be set to {}", to.name())))
        }
    }
}
