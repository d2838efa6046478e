//! The brain at work: it hears what shards tell, looks at everything once a second, and keeps what it has learned.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mail::CampaignId;

use super::{Ears, ToBrain, file, orders};
use crate::decisions::{About, Decision};
use crate::shared::Shared;

/// How often it looks at everything.
const TICK: Duration = Duration::from_secs(1);
/// How often what was learned is written, when it has changed. What was learned since is lost when the machine fails, and
/// learned again.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// What is heard at a time.
const BATCH: usize = 256;

/// Works until the engine stops.
pub(crate) async fn keep(shared: Arc<Shared>, ears: Ears) {
    let Ears(mut ears) = ears;
    let mut heard = Vec::with_capacity(BATCH);
    let (mut ticked, mut saved) = (Instant::now(), Instant::now());
    let mut is_changed = false;
    while !shared.condition.stopping.load(Ordering::Acquire) {
        let left = TICK.saturating_sub(ticked.elapsed());
        // A time-out is no fault: it is time to look.
        let _ = tokio::time::timeout(left, ears.recv_batch(&mut heard, BATCH)).await;
        let is_urgent = heard.iter().any(|what| matches!(what, ToBrain::Burnt { .. }));
        is_changed |= !heard.is_empty() | shared.brain.quotas.have_changed();
        heard.drain(..).for_each(|what| hear(&shared, what));
        if is_urgent || ticked.elapsed() >= TICK {
            ticked = Instant::now();
            let mut orders = Vec::new();
            shared.brain.lock().tick(shared.clock.now(), &mut orders);
            is_changed |= !orders.is_empty();
            orders::carry_out(&shared, orders).await;
        }
        if is_changed && saved.elapsed() >= SAVE_EVERY {
            (saved, is_changed) = (Instant::now(), false);
            save(&shared).await;
        }
    }
}

fn hear(shared: &Shared, what: ToBrain) {
    let now = shared.clock.now();
    match what {
        ToBrain::Happened(counts) => {
            let mut brain = shared.brain.lock();
            counts.into_iter().for_each(|(key, counts)| brain.heard(key, counts, now));
        }
        ToBrain::Burnt { source, provider, rest, said } => {
            shared.brain.lock().burnt(source, provider, rest, &said, now);
        }
        ToBrain::IdentitySlow { identity, provider } => {
            shared.brain.lock().identity_slow(identity, provider, now);
        }
        ToBrain::Met(identity, domain) => shared.met(identity, domain),
        ToBrain::ResumedCampaign(campaign) => shared.brain.lock().resumed_campaign(campaign, now),
        ToBrain::ResumedTenant(tenant) => shared.brain.lock().resumed_tenant(tenant),
        ToBrain::Changed(changed) => shared.brain.decisions.add(changed.decision(shared)),
    }
}

/// Asks every shard what its budgets have learned, and writes it with what the brain knows.
pub(crate) async fn save(shared: &Arc<Shared>) {
    let learned = shared.of_all(|shard| shard.learned()).await;
    let shared = Arc::clone(shared);
    let written = tokio::task::spawn_blocking(move || write(&shared, learned.into_iter().flatten())).await;
    if written.is_err() {
        tracing::error!("writing what was learned has failed");
    }
}

/// Writes what is known, with what budgets have learned since it was written last; blocks.
pub(crate) fn write(shared: &Shared, learned: impl Iterator<Item = file::LearnedBudget>) {
    let _alone = shared.brain.writing.lock().unwrap_or_else(PoisonError::into_inner);
    // Behind the lock, so that what is written later is not older.
    let brain = shared.brain.lock().saved(shared.clock.now());
    let mut budgets = file::Budgets::clone(&shared.brain.budgets.load());
    budgets.extend(learned.map(|budget| (budget.key, budget.learned)));
    let in_order = file::in_order(&mut budgets);
    shared.brain.budgets.store(Arc::new(budgets));
    if let Err(error) = file::write(shared, brain, in_order) {
        tracing::warn!(%error, "what was learned cannot be written");
    }
}

impl Shared {
    /// Somebody has let a campaign go on, or ended it: what the brain held against it is over.
    pub(crate) fn resumed(&self, campaign: CampaignId) {
        self.brain.halts.free_campaign(campaign);
        // Also when it was the operator who paused it: the brain may have stopped it meanwhile.
        drop(self.brain.tell(ToBrain::ResumedCampaign(campaign)));
    }

    /// Tells of a decision that changes no number.
    pub(crate) fn decided(&self, kind: &'static str, about: About, reason: String) {
        let at = self.clock.now();
        let (from, to) = (String::new(), String::new());
        let figures = BTreeMap::new();
        self.brain.decisions.add(Decision { number: 0, at, kind, about, from, to, reason, figures });
    }
}
