//! What decides: the pacers of all budgets, the brain and its tables. The same that the engine's shards and control
//! thread ask; here one of each.

use mail::{CampaignId, Class, RecipientId, UnixMs};
use policy::Limits;
use policy::brain::{Brain, Mechanisms, Setup, Tables};
use policy::lease::LeaseHolder;
use policy::mailbox::Mailboxes;
use policy::pace::{Caps, Demand, Pacer};
use policy::reaction::{MailboxTrouble, Reaction};
use policy::tally::{Happening, Tally, TallyKey};
use queue::{FlowKey, PathKey, Ticket};
use rustc_hash::{FxHashMap, FxHashSet};
use world::{Feedback, FeedbackKind};

use crate::letters::Letters;
use crate::script::Script;

/// What a refusal changes for a budget.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effect {
    pub(crate) limits: Option<Limits>,
    /// Nothing goes before; connections stay.
    pub(crate) pauses_until: Option<UnixMs>,
    /// Nothing goes before, and connections that would wait for long are closed.
    pub(crate) rests_until: Option<UnixMs>,
}

/// What a source may burden a provider with, as far as it is known.
#[derive(Debug)]
struct Budget {
    pacer: Pacer,
    is_active: bool,
    /// Something was delivered or refused since it was looked at last.
    is_used: bool,
}

impl Budget {
    fn new(caps: Caps, now: UnixMs) -> Self {
        Self { pacer: Pacer::new(caps, now), is_active: false, is_used: false }
    }
}

/// Campaigns and tenants that were stopped, and who waits because of it.
#[derive(Debug, Default)]
pub(crate) struct Stopped {
    pub(crate) campaigns: FxHashSet<CampaignId>,
    pub(crate) tenants: FxHashSet<u32>,
    /// Mail of stopped tenants that belongs to no campaign.
    pub(crate) tickets: Vec<Ticket>,
}

/// Everything that decides.
pub(crate) struct Mind {
    mechanisms: Mechanisms,
    caps: Vec<Caps>,
    budgets: FxHashMap<(u16, u16), Budget>,
    /// Those in use, in the order in which they came into use: they are looked at each second.
    active: Vec<PathKey>,
    pub(crate) brain: Brain,
    pub(crate) tables: Tables,
    mailboxes: Mailboxes,
    leases: FxHashMap<(u32, u16), LeaseHolder>,
    tally: Tally,
    /// The source that recipients were greylisted from.
    pub(crate) kept: FxHashMap<RecipientId, u16>,
    pub(crate) stopped: Stopped,
    /// Whose mail it was, for what readers say later: by recipient.
    sent_from: FxHashMap<RecipientId, (u16, u16)>,
}

impl Mind {
    pub(crate) fn new(script: &Script, now: UnixMs) -> Self {
        let config = &script.config;
        let learns = script.learns();
        let caps = config.providers.iter().map(|(_, provider)| provider.caps(learns)).collect();
        let setup = Setup { mechanisms: script.mechanisms, ..Setup::of(config) };
        let tables = Tables::of(&setup);
        Self {
            mechanisms: script.mechanisms,
            caps,
            budgets: FxHashMap::default(),
            active: Vec::new(),
            brain: Brain::new(setup, tables.clone(), now),
            tables,
            mailboxes: Mailboxes::default(),
            leases: FxHashMap::default(),
            tally: Tally::default(),
            kept: FxHashMap::default(),
            stopped: Stopped::default(),
            sent_from: FxHashMap::default(),
        }
    }

    fn budget(&mut self, key: PathKey, now: UnixMs) -> &mut Budget {
        let caps = self.caps[usize::from(key.provider)];
        self.budgets.entry((key.source, key.provider)).or_insert_with(|| Budget::new(caps, now))
    }

    /// The budget of a path is in use: it is looked at each second until it is not.
    pub(crate) fn stir(&mut self, key: PathKey, now: UnixMs) {
        if !std::mem::replace(&mut self.budget(key, now).is_active, true) {
            self.active.push(key);
        }
    }

    /// The paths whose budgets are in use. Each goes back by [`Mind::tick`].
    pub(crate) fn take_active(&mut self) -> Vec<PathKey> {
        std::mem::take(&mut self.active)
    }

    /// The limits in force.
    pub(crate) fn limits(&self, key: PathKey) -> Limits {
        let learned = self.budgets.get(&(key.source, key.provider)).map(|budget| budget.pacer.limits());
        learned.unwrap_or(self.caps[usize::from(key.provider)].start)
    }

    /// A recipient was taken.
    pub(crate) fn took(
        &mut self,
        key: PathKey,
        flow: FlowKey,
        (id, mailbox): (RecipientId, u64),
        now: UnixMs,
    ) {
        self.passed(key, now);
        self.note(key, flow, Happening::Delivered);
        self.mailboxes.works(mailbox);
        self.sent_from.insert(id, (key.source, key.provider));
    }

    /// The limits of a receiver have let a recipient through.
    fn passed(&mut self, key: PathKey, now: UnixMs) {
        let budget = self.budget(key, now);
        budget.pacer.took(now);
        budget.is_used = true;
        self.stir(key, now);
    }

    pub(crate) fn note(&mut self, key: PathKey, flow: FlowKey, happening: Happening) {
        self.tally.note(tally_key((key.source, key.provider), flow), happening);
    }

    /// A recipient or a connection was refused.
    pub(crate) fn refused(
        &mut self,
        key: PathKey,
        meant: &Reaction,
        (open, messages): (u32, u32),
        now: UnixMs,
    ) -> Effect {
        let mut effect = Effect::default();
        if meant.passed {
            self.passed(key, now);
        }
        if let Some(signal) = meant.pace {
            let budget = self.budget(key, now);
            budget.is_used = true;
            let change = budget.pacer.refused(signal.signal(open, messages), now);
            effect.limits = change.map(|_| budget.pacer.limits());
            effect.pauses_until = budget.pacer.rests_until(now);
        }
        if let Some(rest) = meant.burns {
            self.brain.burnt(key.source, key.provider, rest, "blocked", now);
            effect.rests_until = Some(now + rest);
        }
        if let Some(rest) = meant.rests {
            effect.rests_until = effect.rests_until.max(Some(now + rest));
        }
        effect
    }

    /// Until when the budget of a path rests, if it does.
    pub(crate) fn rests_until(&self, key: PathKey, now: UnixMs) -> Option<UnixMs> {
        self.budgets.get(&(key.source, key.provider))?.pacer.rests_until(now)
    }

    /// A second is over for a budget that was in use: tells routing how long mail waits for it, and gives its new limits when
    /// they change.
    pub(crate) fn tick(&mut self, key: PathKey, demand: Demand, now: UnixMs) -> Option<Limits> {
        let budget = self.budgets.get_mut(&(key.source, key.provider))?;
        let pace = budget.pacer.pace(demand, now);
        self.tables.standings.set_load(key.source, key.provider, demand.ready, pace);
        let change = budget.pacer.tick(demand, now);
        let rests = budget.pacer.rests_until(now).is_some();
        budget.is_active = std::mem::take(&mut budget.is_used) || demand.ready > 0 || rests;
        if budget.is_active {
            self.active.push(key);
        }
        change.map(|_| budget.pacer.limits())
    }

    /// Tells the brain what has happened since.
    pub(crate) fn report(&mut self, now: UnixMs) {
        let Self { tally, brain, .. } = self;
        // In an order of its own, so that the same seed gives the same decisions.
        let mut counts: Vec<_> = tally.drain().collect();
        counts.sort_by_key(|(key, _)| {
            (key.source, key.provider, key.class, key.identity, key.tenant, key.campaign)
        });
        counts.into_iter().for_each(|(key, counts)| brain.heard(key, counts, now));
    }

    /// What a reader has done with mail.
    pub(crate) fn heard(&mut self, letters: &Letters, word: &Feedback) {
        let id = RecipientId::from_raw(word.token);
        let Some(&way) = self.sent_from.get(&id) else { return };
        let batch = letters.batch(id);
        let (class, tenant, identity, campaign) = (batch.class, batch.tenant, batch.identity, batch.campaign);
        let happening = match word.kind {
            FeedbackKind::Complaint => Happening::Complaint,
            FeedbackKind::Open => Happening::Opened,
            FeedbackKind::Click => Happening::Clicked,
            FeedbackKind::Unsubscribe => Happening::Unsubscribed,
        };
        self.tally.note(tally_key(way, FlowKey { class, tenant, campaign, identity }), happening);
    }

    // Gates

    pub(crate) fn gate_passes(&self, campaign: CampaignId, provider: u16) -> bool {
        !self.mechanisms.canary || self.tables.gates.pass(campaign, provider)
    }

    pub(crate) fn gate_back(&self, campaign: CampaignId, provider: u16) {
        if self.mechanisms.canary {
            self.tables.gates.give_back(campaign, provider);
        }
    }

    pub(crate) fn mailbox_rests(&mut self, mailbox: u64, now: UnixMs) -> Option<UnixMs> {
        if self.mechanisms.mailbox { self.mailboxes.rests(mailbox, now) } else { None }
    }

    pub(crate) fn mailbox_trouble(
        &mut self,
        mailbox: u64,
        trouble: MailboxTrouble,
        now: UnixMs,
    ) -> Option<UnixMs> {
        self.mechanisms.mailbox.then(|| self.mailboxes.trouble(mailbox, trouble, now))
    }

    /// An attempt has come back without a word on the mailbox.
    pub(crate) fn mailbox_undecided(&mut self, mailbox: u64) {
        self.mailboxes.undecided(mailbox);
    }

    /// Until when a sender's mail for a provider waits for its budget, of which this takes one otherwise.
    pub(crate) fn identity_rests(&mut self, flow: FlowKey, provider: u16, now: UnixMs) -> Option<UnixMs> {
        let is_free = flow.class == Class::Critical || !self.mechanisms.identity;
        if is_free || self.tables.budgets.is_empty() {
            return None;
        }
        let budget = self.tables.budgets.get(flow.identity, provider)?;
        self.leases.entry((flow.identity, provider)).or_default().take(&budget, now).err()
    }

    pub(crate) fn keep(&mut self, id: RecipientId, source: u16) {
        self.kept.insert(id, source);
    }

    pub(crate) fn is_stopped(&self, tenant: u32, campaign: Option<CampaignId>) -> bool {
        self.stopped.tenants.contains(&tenant)
            || campaign.is_some_and(|campaign| self.stopped.campaigns.contains(&campaign))
    }
}

const fn tally_key((source, provider): (u16, u16), flow: FlowKey) -> TallyKey {
    let FlowKey { class, tenant, campaign, identity } = flow;
    TallyKey { source, provider, class, identity, tenant, campaign }
}
