//! The brain's orders, carried out: campaigns and accounts are stopped, waiting mail leaves by other sources, gates open.

use std::rc::Rc;
use std::sync::Arc;

use mail::CampaignId;
use policy::brain::Order;
use policy::standing::Spread;
use spool::CampaignPhase;

use super::halts::Halt;
use crate::decisions::About;
use crate::shard::Shard;
use crate::shared::Shared;

/// Carries the orders out in their turn. What waits for a disk has a task of its own: the next tick does not.
pub(super) async fn carry_out(shared: &Arc<Shared>, orders: Vec<Order>) {
    for order in orders {
        match order {
            Order::PauseCampaign { campaign, reason } => {
                tokio::spawn(pause_campaign(Arc::clone(shared), campaign, reason));
            }
            Order::PauseTenant { tenant, reason } => pause_tenant(shared, tenant, reason),
            Order::Open { campaign, provider } => open(shared, campaign, provider).await,
            Order::Reroute { source, provider } => reroute(shared, source, provider).await,
            Order::Spread(Spread { source, provider, recipients }) => {
                // What is decided every second is told by the figures of the queues, not one by one.
                let most = u64::from(recipients);
                shared.of_all(move |shard| shard.route_again(source, provider, most)).await;
            }
            Order::Tell(event) => shared.brain.decisions.add(super::told::decision(shared, event)),
        }
    }
}

async fn pause_campaign(shared: Arc<Shared>, id: CampaignId, reason: String) {
    let Some(campaign) = shared.campaigns.get(id) else { return };
    if campaign.phase() != CampaignPhase::Running {
        return;
    }
    shared.brain.halts.stop_campaign(id, &Halt { since: shared.clock.now(), reason });
    let home = usize::from(id.0.shard());
    let set =
        move |shard: Rc<Shard>| async move { shard.set_campaign(campaign, CampaignPhase::Paused).await };
    if let Ok(Err(refusal)) | Err(refusal) = shared.ask(home, set).await {
        shared.brain.halts.free_campaign(id);
        tracing::error!(campaign = %id, %refusal, "a campaign that should stop could not be paused");
    }
}

/// Mail without an account has nobody to be stopped for: all of it would be. There the word is all.
fn pause_tenant(shared: &Shared, tenant: u32, reason: String) {
    if shared.account_name(tenant).is_empty() {
        tracing::warn!(reason, "mail that belongs to no account harms the sources");
        return;
    }
    shared.brain.halts.stop_tenant(tenant, &Halt { since: shared.clock.now(), reason });
}

/// On the campaign's home, where all its recipients wait.
async fn open(shared: &Arc<Shared>, campaign: CampaignId, provider: u16) {
    let home = usize::from(campaign.0.shard());
    // A shard that takes nothing is told by the next order of the kind.
    drop(shared.ask(home, move |shard| async move { shard.open_lane(campaign, provider) }).await);
}

/// What waits for the provider on paths of the source is routed again, as it stands now.
async fn reroute(shared: &Arc<Shared>, source: u16, provider: u16) {
    let moved = shared.of_all(move |shard| shard.route_again(source, provider, u64::MAX)).await;
    let waiting: u64 = moved.into_iter().sum();
    if waiting > 0 {
        let (source, provider) = shared.names(source, provider);
        let about = About { source: Some(source), provider: Some(provider), ..About::default() };
        shared.decided(
            "source.rerouted",
            about,
            format!("{waiting} waiting recipients leave by other sources"),
        );
    }
}
