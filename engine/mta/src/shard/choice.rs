//! Which source a recipient takes, and whether it may go at all for now: halted accounts, canary gates, burnt sources,
//! allowances of a warm-up. Each answer costs one look at an empty table where nothing of the kind is in force.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mail::{CampaignId, Class, Outcome, RecipientId, UnixMs};
use policy::source::{Choice, Wish, choose_among};
use queue::{FlowKey, PathId, PathKey, Ticket};
use rustc_hash::FxHashMap;

use super::{Ready, Shard, ToShard};
use crate::campaigns::Campaign;
use crate::control::destination::Destination;
use crate::deliver::Pool;

/// How many held recipients are released before others get their turn.
const BATCH: usize = 256;
/// How often mail of a halted account looks whether it may go.
const HALTED_PAUSE: Duration = Duration::from_secs(60);
/// How often held mail looks whether its hold has been ended by hand.
const HELD_PAUSE: Duration = Duration::from_secs(60);
/// Recipients whose source is remembered for their retry; those that were put off first are forgotten first.
const KEPT_MAX: usize = 65_536;
/// The family of verdicts after which a receiver wants to see the same source again.
const GREYLISTED: &str = "greylist";

/// The sources that recipients of this shard's log have to keep.
#[derive(Default)]
pub(crate) struct KeptSources {
    by_recipient: RefCell<FxHashMap<RecipientId, u16>>,
    in_order: RefCell<VecDeque<RecipientId>>,
}

impl KeptSources {
    fn keep(&self, recipient: RecipientId, source: u16) {
        let mut by_recipient = self.by_recipient.borrow_mut();
        let mut in_order = self.in_order.borrow_mut();
        if by_recipient.insert(recipient, source).is_none() {
            in_order.push_back(recipient);
        }
        while in_order.len() > KEPT_MAX {
            if let Some(first) = in_order.pop_front() {
                by_recipient.remove(&first);
            }
        }
    }

    fn of(&self, recipient: RecipientId) -> Option<u16> {
        let by_recipient = self.by_recipient.borrow();
        if by_recipient.is_empty() { None } else { by_recipient.get(&recipient).copied() }
    }
}

impl Shard {
    /// Brings a recipient to its path, or lets it wait for what stands in the way.
    pub(super) async fn to_path(
        self: &Rc<Self>,
        ticket: Ticket,
        flow: FlowKey,
        identity: &str,
        destination: Arc<Destination>,
    ) {
        let now = self.now();
        if let Some(until) = self.held_until(identity, &destination, now) {
            return self.schedule(ticket, flow.campaign, until.min(now + HELD_PAUSE));
        }
        if self.is_halted(flow) {
            return self.schedule(ticket, flow.campaign, now + HALTED_PAUSE);
        }
        let provider = destination.provider.0;
        if !self.passes_gate(ticket, flow, provider) {
            return self.hold(flow.campaign.unwrap_or_default(), Some(provider), ticket);
        }
        self.meet(flow.identity, identity);
        let wish = self.wish(ticket, flow, identity, provider);
        let pool = self.shared.sources.of(flow.tenant, ticket.class);
        match choose_among(&wish, &pool, &self.shared.brain.standings, now) {
            Choice::Source { source, .. } => {
                self.hand_over(Ready { ticket, flow, source, destination }).await
            }
            Choice::Wait { until, .. } => {
                self.leaves_gate(ticket, flow, provider);
                self.schedule(ticket, flow.campaign, until.max(now + Duration::from_secs(1)));
            }
        }
    }

    /// Whether the mail of a flow waits because its account was stopped. What is critical goes.
    pub(crate) fn is_halted(&self, flow: FlowKey) -> bool {
        flow.class != Class::Critical && self.shared.brain.halts.has_tenant(flow.tenant)
    }

    /// Whether the source of a path is refused by its provider, as far as the brain has said.
    pub(crate) fn is_burnt(&self, path: PathKey) -> bool {
        let until = self.shared.brain.standings.at(path.source, path.provider).burnt_until;
        // The clock is read only where there is something to compare it with.
        until != UnixMs::default() && until > self.now()
    }

    fn wish<'a>(&'a self, ticket: Ticket, flow: FlowKey, identity: &'a str, provider: u16) -> Wish<'a> {
        Wish {
            identity,
            class: ticket.class,
            provider,
            provider_name: &self.shared.config.providers[policy::provider::ProviderIndex(provider)].name,
            keep: if ticket.attempts == 0 { None } else { self.mind.kept_sources.of(ticket.id) },
            // What must arrive has the help of all sources, whoever sends it.
            is_good: ticket.class == Class::Critical || self.shared.brain.gates.is_good(flow.identity),
        }
    }

    async fn hand_over(self: &Rc<Self>, ready: Ready) {
        let target = self.shared.shard_of(ready.source, &ready.destination);
        if target == usize::from(self.index) {
            self.enqueue(ready);
        } else {
            self.counters.handovers.add(1);
            self.post(target, ToShard::Ready(ready)).await;
        }
    }

    /// A campaign has so many recipients more: the first step of its canary is measured by all of them.
    pub(super) fn announce(&self, campaign: &Campaign, more: u64) {
        let recipients = campaign.add_recipients(more);
        if campaign.class == Class::Bulk {
            self.shared.brain.gates.announce(campaign.id, recipients);
        }
    }

    /// Whether a recipient may go as far as its campaign's canary is concerned.
    fn passes_gate(&self, ticket: Ticket, flow: FlowKey, provider: u16) -> bool {
        gated(ticket, flow).is_none_or(|campaign| self.shared.brain.gates.pass(campaign, provider))
    }

    fn leaves_gate(&self, ticket: Ticket, flow: FlowKey, provider: u16) {
        if let Some(campaign) = gated(ticket, flow) {
            self.shared.brain.gates.give_back(campaign, provider);
        }
    }

    /// A recipient leaves its path without an attempt, to be routed again: what it took on its way is free for others.
    pub(crate) fn leaves(&self, path: PathKey, ticket: Ticket, flow: FlowKey) {
        self.shared.brain.standings.give_back(path.source, path.provider);
        self.leaves_gate(ticket, flow, path.provider);
    }

    /// The same for one that has not come to its path.
    pub(super) fn turn_back(self: &Rc<Self>, path: PathKey, ticket: Ticket, flow: FlowKey) {
        self.leaves(path, ticket, flow);
        let shard = Rc::clone(self);
        crate::io::spawn(async move { shard.schedule_home(ticket).await });
    }

    /// A recipient was not delivered and goes home: it is routed again when its time comes.
    pub(crate) fn passed_back(&self, pool: &Pool, ticket: Ticket, flow: FlowKey, outcome: &Outcome) {
        if outcome.disposition.is_final() {
            return;
        }
        let path = pool.key;
        self.shared.brain.standings.give_back(path.source, path.provider);
        // It asks at the gate again if it comes back as one that was never tried.
        if outcome.attempt == 0 {
            self.leaves_gate(ticket, flow, path.provider);
        }
    }

    /// Notes at home whether a recipient has to keep its source.
    pub(super) fn note_source(&self, ticket: Ticket, outcome: &Outcome) {
        let is_greylisted = outcome.verdict.split('.').next() == Some(GREYLISTED);
        if is_greylisted && let Some(source) = self.shared.sources.index_of(&outcome.route.source) {
            self.mind.kept_sources.keep(ticket.id, source);
        }
    }

    /// Routes again what waits for a provider on this shard's paths of a source, at most so many; says how much that is.
    pub(crate) fn route_again(self: &Rc<Self>, source: u16, provider: u16, most: u64) -> u64 {
        let paths = self.queue.borrow().paths_of(source, provider);
        let views = paths.iter().filter_map(|&path| self.queue.borrow().path_view(path));
        let waiting: u64 =
            views.map(|view| view.ready.iter().map(|&count| u64::from(count)).sum::<u64>()).sum();
        let shard = Rc::clone(self);
        crate::io::spawn(async move {
            let mut most = most;
            for path in paths {
                most -= shard.empty_path(path, most).await;
            }
        });
        waiting.min(most)
    }

    /// As [`Shard::route_again`] of everything for these providers, and waits until it has left; says how much it was.
    pub(crate) async fn clear_paths(self: &Rc<Self>, source: u16, providers: &[u16]) -> u64 {
        let mut moved = 0;
        for &provider in providers {
            let paths = self.queue.borrow().paths_of(source, provider);
            for path in paths {
                moved += self.empty_path(path, u64::MAX).await;
            }
        }
        moved
    }

    /// Takes at most so many off a path to be routed again; says how many.
    async fn empty_path(self: &Rc<Self>, path: PathId, most: u64) -> u64 {
        let mut batch = Vec::with_capacity(BATCH);
        let mut left = most;
        loop {
            let Some(key) = self.pools.get(path).map(|pool| pool.key) else { return most - left };
            let max = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH);
            self.queue.borrow_mut().reroute(path, max, &mut batch);
            if batch.is_empty() || self.is_stopping() {
                return most - left;
            }
            left -= batch.len() as u64;
            for (ticket, flow) in batch.drain(..) {
                self.leaves(key, ticket, flow);
                self.schedule_home(ticket).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// More of a campaign may go to a provider: those whom its canary has held go on their way, as many as may pass.
    pub(crate) fn open_lane(self: &Rc<Self>, campaign: CampaignId, provider: u16) {
        let shard = Rc::clone(self);
        crate::io::spawn(async move { shard.release_lane(campaign, provider).await });
    }

    async fn release_lane(self: &Rc<Self>, campaign: CampaignId, provider: u16) {
        let mut batch = Vec::new();
        loop {
            let room = self.shared.brain.gates.room(campaign, provider);
            let max = usize::try_from(room).unwrap_or(usize::MAX).min(BATCH);
            if max == 0 || self.is_stopping() {
                return;
            }
            let is_more = self.queue.borrow_mut().release_some(campaign, Some(provider), max, &mut batch);
            if batch.is_empty() {
                return;
            }
            for ticket in batch.drain(..) {
                self.start(ticket).await;
            }
            if !is_more {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The campaign whose gate a recipient has to pass: that of a mass mailing, before its first attempt.
fn gated(ticket: Ticket, flow: FlowKey) -> Option<CampaignId> {
    flow.campaign.filter(|_| ticket.attempts == 0 && ticket.class == Class::Bulk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_kept_sources_is_bounded() {
        let kept = KeptSources::default();
        for n in 0..KEPT_MAX as u64 + 5 {
            kept.keep(RecipientId::from_raw(n), 1);
            kept.keep(RecipientId::from_raw(n), 2);
        }
        assert_eq!(kept.of(RecipientId::from_raw(4)), None);
        assert_eq!(kept.of(RecipientId::from_raw(5)), Some(2));
        assert_eq!(kept.in_order.borrow().len(), KEPT_MAX);
    }
}
