//! What is done when a site does not want to speak with us: before any message it can have judged none.

use std::rc::Rc;
use std::sync::Arc;

use mail::{Disposition, Phase, Reply, Route};
use policy::TlsPolicy;
use policy::reaction::{PaceSignal, Reaction, reaction};
use policy::verdict::{Action, Scope, Verdict};
use queue::Pull;

use super::pool::Pool;
use crate::control::destination::{Destination, Guard};
use crate::shard::{Conclusion, RECORDING_TICK, Shard};

/// How many recipients are bounced at once when a site refuses all mail for good; the rest follow at the next connection.
const BOUNCE_MAX: usize = 1_000;

/// Whether the refusal says that the site takes no mail from anybody, ever.
pub(super) fn is_of_site(verdict: Verdict) -> bool {
    verdict.action == Action::Bounce && verdict.scope == Scope::Site
}

/// Whether the next host of the site may be tried: not where the refusal is of us rather than of the host.
pub(super) fn may_go_on(verdict: Verdict) -> bool {
    matches!(verdict.action, Action::NextMx | Action::Defer | Action::Reconnect | Action::Bounce)
}

/// All hosts have refused us, the last with `reply`.
pub(super) async fn heed(shard: &Rc<Shard>, pool: &Rc<Pool>, phase: Phase, reply: &Reply) {
    let destination = pool.destination();
    let provider = &shard.shared.config.providers[destination.provider];
    let verdict = shard.shared.config.replies.judge(phase, reply, &provider.name);
    let reaction = reaction(&verdict);
    shard.heed(pool, &reaction, reply, 0);
    match verdict.action {
        Action::Suspend(_) => {}
        // In clear anybody on the way may have said it.
        Action::Bounce if is_of_site(verdict) && !is_protected(&destination) => {
            bounce(shard, pool, (phase, reply), verdict).await;
        }
        // With fewer connections or after the rest it goes on.
        _ if reaction.pace.is_some() && (has_others(shard, pool, &reaction) || rests(shard, pool)) => {}
        _ => shard.rest(pool, &reply.to_string()),
    }
}

/// Whether other connections are open without which there would be a place: where they are too many, those to any site.
fn has_others(shard: &Shard, pool: &Pool, reaction: &Reaction) -> bool {
    let is_of_any_site = reaction.pace == Some(PaceSignal::Connections);
    pool.open_count() > 0
        || is_of_any_site && shard.pools.of_budget(&pool.budget).iter().any(|pool| pool.open_count() > 0)
}

fn rests(shard: &Shard, pool: &Pool) -> bool {
    pool.budget.rests_until(shard.now()).is_some()
}

/// Whether mail goes to the site under TLS only, which does not stand yet.
fn is_protected(destination: &Destination) -> bool {
    matches!(destination.tls, TlsPolicy::Required | TlsPolicy::Verified)
        || destination.hosts.iter().any(|host| !matches!(host.guard, Guard::ByPolicy))
}

/// The site refuses all mail for good: its recipients bounce with its own words.
async fn bounce(shard: &Rc<Shard>, pool: &Rc<Pool>, (phase, reply): (Phase, &Reply), verdict: Verdict) {
    for _ in 0..BOUNCE_MAX {
        if !shard.shared.recordings.all_work() {
            return shard.arm(pool, shard.now() + RECORDING_TICK);
        }
        let pulled = shard.queue.borrow_mut().pull(pool.path, shard.now());
        let (ticket, flow) = match pulled {
            Pull::Ticket(ticket, flow) => (ticket, flow),
            Pull::Wait(until) => return shard.arm(pool, until),
            _ => return,
        };
        let destination = pool.destination();
        let provider = &shard.shared.config.providers[destination.provider];
        let mut outcome = crate::shard::without_attempt(shard.now(), Disposition::Bounced, reply.clone());
        outcome.attempt = ticket.attempts.saturating_add(1);
        outcome.phase = phase;
        verdict.class.clone_into(&mut outcome.verdict);
        let (provider, mx) = (provider.name.clone(), destination.site_name());
        outcome.route = Arc::new(Route { provider, mx, ..Route::default() });
        shard.note(pool.key, flow, reaction(&verdict).happening);
        shard.conclude(Conclusion { ticket, outcome }).await;
    }
}
