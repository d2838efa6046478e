//! What one recipient waits for, with the numbers and the decisions behind it. Every answer costs the same however much
//! waits.

use mail::{Class, RecipientId, UnixMs};
use policy::classify::Ground;
use policy::forecast::{Bound, PathState};
use policy::pace::PaceView;
use policy::source::{Candidate, Candidates};
use queue::{Ahead, FlowKey, PathId, PathKey, Place};
use spool::{CampaignPhase, ContentHead, ContentKind, RecipientRef};

use super::Shard;
use super::due::{domain_of, identity_number, tenant_number};
use crate::brain::Halt;
use crate::control::destination::Destination;
use crate::deliver::Pool;
use crate::views::{BudgetView, Found, PathView, Step};

/// A recipient with its message, and where its mail leads as far as this shard knows.
struct Subject {
    recipient: RecipientRef,
    head: ContentHead,
    destination: Option<std::sync::Arc<Destination>>,
}

/// A place on a path.
struct Turn {
    path: PathId,
    flow: FlowKey,
    rests_until: Option<UnixMs>,
    ahead: Ahead,
}

impl Shard {
    /// What a recipient waits for, as far as this shard knows; `None` when it is not here: it is on its way between shards,
    /// or under way to its receiver.
    pub(crate) fn explain(&self, id: RecipientId) -> Option<Found> {
        let place = self.queue.borrow().find(id);
        let subject = self.subject(id)?;
        let Some(place) = place else { return self.explain_resolving(id, &subject) };
        Some(match place {
            Place::Scheduled { due } => self.why_scheduled(&subject, due),
            Place::Held { campaign, lane, .. } => self.why_held(&subject, campaign, lane),
            Place::Ready { path, flow, rests_until, ahead, .. } => {
                self.why_ready(&subject, Turn { path, flow, rests_until, ahead })
            }
        })
    }

    fn subject(&self, id: RecipientId) -> Option<Subject> {
        let reader = self.shared.readers.get(usize::from(id.0.shard()))?;
        let recipient = reader.recipient(id).ok()?;
        let head = reader.content_head(recipient.content()).ok()?;
        let destination = self.destination_of(domain_of(recipient.address()), head.tls_wish());
        Some(Subject { recipient, head, destination })
    }

    fn explain_resolving(&self, id: RecipientId, subject: &Subject) -> Option<Found> {
        let domain = domain_of(subject.recipient.address());
        let waits = self.routes.asks_for(id, domain);
        waits.then(|| Found::new("dns.asking", format!("the answer of the DNS about {domain}")))
    }

    fn why_scheduled(&self, subject: &Subject, due: UnixMs) -> Found {
        let mut found = self.scheduled_for(subject, due);
        found.steps = self.steps(subject, None);
        found.expected = self.expected_after(subject, found.until);
        found
    }

    fn scheduled_for(&self, subject: &Subject, due: UnixMs) -> Found {
        let (recipient, head) = (&subject.recipient, &subject.head);
        if self.shared.is_holding() {
            let words = "`staffetta queue release`: the spool was restored from a copy";
            return Found::new("restored.held", words);
        }
        if recipient.not_before() > self.now() && head.kind() == ContentKind::Template {
            return self.waits_for_quota(head.tenant()).until(due);
        }
        if recipient.not_before() > self.now() {
            return Found::new("time.not_before", "the time before which it must not be sent").until(due);
        }
        if let Some(hold) = self.hold_on(head.identity(), domain_of(recipient.address())) {
            let words = format!(
                "mail of {} for this receiver is held, because it said: {}",
                head.identity(),
                hold.reply
            );
            return Found::new("identity.held", words).until(hold.until);
        }
        if let Some(halt) = self.shared.brain.halts.of_tenant(tenant_number(head.tenant())) {
            return halted(&halt);
        }
        if let Some(found) = self.waits_for_source(subject) {
            let until = found.until.unwrap_or(due).max(due);
            return found.until(until);
        }
        Found::new("retry.scheduled", "its next attempt, by the retry schedule of its class").until(due)
    }

    /// Whether no source of the class may take mail for the destination now, and which of them could first.
    fn waits_for_source(&self, subject: &Subject) -> Option<Found> {
        let provider = subject.destination.as_ref()?.provider.0;
        let now = self.now();
        let pool = self.pool_of(subject);
        let standings: Vec<_> =
            pool.main.iter().map(|one| self.shared.brain.standings.at(one.source, provider)).collect();
        let is_open =
            |standing: &policy::standing::Standing| !standing.is_burnt(now) && standing.left != Some(0);
        if standings.is_empty() || standings.iter().any(is_open) {
            return None;
        }
        let name = &self.shared.config.providers[policy::provider::ProviderIndex(provider)].name;
        if standings.iter().any(|standing| !standing.is_burnt(now)) {
            let words = format!("what a warm-up lets its sources send to {name}: it is used up for now");
            return Some(Found::new("source.warm_up", words));
        }
        let until = standings.iter().map(|standing| standing.burnt_until).min()?;
        let words =
            format!("a source that {name} takes mail from: all that it may leave from are refused there");
        Some(Found::new("source.burnt", words).until(until))
    }

    /// Recipients of campaigns have a moment of their own only where the quota of their account has given it.
    fn waits_for_quota(&self, account: &str) -> Found {
        let state = self.shared.brain.quotas.state(account, self.now());
        let quota = state.map_or_else(|| "which it no longer has".to_owned(), |state| state.rate.to_string());
        let words = format!(
            "its turn in the quota of the account `{account}` ({quota}), given when it was handed in"
        );
        Found::new("account.quota", words)
    }

    /// The sources that it may leave from.
    fn pool_of(&self, subject: &Subject) -> Candidates<'_> {
        self.shared.sources.of(tenant_number(subject.head.tenant()), subject.head.class())
    }

    /// The one of them that it leaves from as long as nothing stands in its way.
    fn usual_source(&self, subject: &Subject, provider: &str) -> u16 {
        let head = &subject.head;
        self.shared.sources.usual(head.identity(), tenant_number(head.tenant()), head.class(), provider)
    }

    fn why_held(&self, subject: &Subject, campaign: mail::CampaignId, lane: Option<u16>) -> Found {
        let is_stopped = self.shared.brain.halts.of_campaign(campaign).is_some();
        let mut found = match lane {
            Some(provider) if !is_stopped => {
                let gate = self.shared.brain.gates.view(campaign, provider);
                let passed = gate.map_or(0, |gate| gate.passed);
                let words = format!(
                    "what becomes of the first {passed} recipients of campaign {campaign}: more may go once they are judged"
                );
                Found::new("campaign.canary", words)
            }
            _ => self.campaign_stands(campaign),
        };
        found.steps = self.steps(subject, None);
        found
    }

    fn campaign_stands(&self, campaign: mail::CampaignId) -> Found {
        let phase = self.campaign(campaign).map(|campaign| campaign.phase());
        if let Some(halt) = self.shared.brain.halts.of_campaign(campaign)
            && phase == Some(CampaignPhase::Paused)
        {
            let words = format!("its campaign {campaign} was stopped: {}; resume or cancel it", halt.reason);
            return Found::new("campaign.stopped", words);
        }
        let code = match phase {
            Some(CampaignPhase::Created) => "campaign.not_started",
            Some(CampaignPhase::Paused) => "campaign.paused",
            _ => "campaign.unknown",
        };
        let name = phase.map_or("unknown", |phase| phase.name());
        Found::new(code, format!("its campaign {campaign} is {name}: start or resume it"))
    }

    fn why_ready(&self, subject: &Subject, turn: Turn) -> Found {
        let view = self.queue.borrow().path_view(turn.path).map(|path| self.path_view(path));
        let Some(view) = view else { return Found::new("path.turn", "its path") };
        let state = self.state_of(turn.path);
        let forecast = state.map(|state| state.at_position(turn.flow.class, u64::from(turn.ahead.in_class)));
        let mut found = self.waits_on_path(&turn, &view, forecast.map(|forecast| forecast.bound));
        found.position = Some(u64::from(turn.ahead.in_class));
        if found.code.starts_with("path.") || found.code.starts_with("budget.") {
            found.expected = forecast.map(|forecast| self.now() + forecast.arrives);
        }
        found.steps = self.steps(subject, self.pools.get(turn.path).map(|pool| pool.key));
        found.path = Some(view);
        found
    }

    fn waits_on_path(&self, turn: &Turn, path: &PathView, bound: Option<Bound>) -> Found {
        if let Some(halt) = self.shared.brain.halts.of_tenant(turn.flow.tenant) {
            return halted(&halt);
        }
        let campaign = turn.flow.campaign;
        let is_paused = |id| self.campaign(id).is_some_and(|known| known.phase() == CampaignPhase::Paused);
        if let Some(campaign) = campaign.filter(|&id| is_paused(id)) {
            return self.campaign_stands(campaign);
        }
        let name = format!("path {} from source {} to {}", path.provider, path.source, path.site);
        if let (Some(reason), Some(until)) = (&path.reason, path.suspended_until) {
            let is_of_budget = path.budget.as_ref().is_some_and(|budget| budget.rests_until == Some(until));
            let code = if is_of_budget { "budget.rests" } else { "path.suspended" };
            return Found::new(code, format!("{name}, which rests: {reason}")).until(until);
        }
        if let Some(until) = turn.rests_until {
            let words = format!(
                "what {} takes of its sender: all sources together have used it up for now",
                path.provider
            );
            return Found::new("identity.rate", words).until(until);
        }
        if let Some(until) = self.waits_for_bytes(turn) {
            let rate = self.rate_bytes(turn.path).map_or_else(String::new, |rate| rate.to_string());
            let words = format!("the bytes that {name} has sent to have had their time, limited to {rate}");
            return Found::new("budget.bytes", words).until(until);
        }
        let waiting: u64 = path.ready.iter().sum();
        let turn = format!("its turn among {waiting} on {name}");
        match (bound, &path.rate) {
            (Some(Bound::Rate), Some(rate)) => {
                Found::new("budget.rate", format!("{turn}, limited to {rate}"))
            }
            (Some(Bound::Connections), _) => Found::new(
                "budget.connections",
                format!("{turn}, with {} of {} connections open", path.connections, path.connections_max),
            ),
            _ => Found::new("path.turn", turn),
        }
    }

    /// Until when it waits for the limit of bytes, which critical mail does not.
    fn waits_for_bytes(&self, turn: &Turn) -> Option<UnixMs> {
        let is_critical = turn.flow.class == Class::Critical;
        self.queue.borrow().bytes_owed_until(turn.path, self.now()).filter(|_| !is_critical)
    }

    fn rate_bytes(&self, path: PathId) -> Option<policy::ByteRate> {
        let key = self.pools.get(path)?.key;
        self.shared.config.providers[policy::provider::ProviderIndex(key.provider)].rate_bytes
    }

    /// When a recipient that waits until `due` will arrive, by what its usual path looks like now.
    fn expected_after(&self, subject: &Subject, due: Option<UnixMs>) -> Option<UnixMs> {
        let destination = subject.destination.as_ref()?;
        let class = subject.head.class();
        let provider = &self.shared.config.providers[destination.provider].name;
        let source = self.usual_source(subject, provider);
        let key = PathKey { source, provider: destination.provider.0, site: destination.site };
        let path = self.queue.borrow().find_path(key);
        let state = path.and_then(|path| self.state_of(path)).unwrap_or_default();
        Some(due?.max(self.now()) + state.expected(class).arrives)
    }

    /// The decisions made so far: class, provider, source and what limits them. `path` is the one it stands on.
    fn steps(&self, subject: &Subject, path: Option<PathKey>) -> Vec<Step> {
        let mut steps = vec![self.class_step(&subject.head)];
        let Some(destination) = &subject.destination else { return steps };
        let provider = &self.shared.config.providers[destination.provider];
        let ground = match &destination.domain {
            Some(domain) => format!("the MX of {domain} is {}", destination.site_name()),
            None => format!("a route leads to {}", destination.site_name()),
        };
        steps.push(Step { what: "provider", is: provider.name.clone(), ground });
        let own_pool = self.shared.sources.own_pool(tenant_number(subject.head.tenant()));
        if let Some(pool) = own_pool.and_then(|pool| self.shared.config.pools.get(pool)) {
            let ground = "the account has a pool of its own".to_owned();
            steps.push(Step { what: "pool", is: pool.name.clone(), ground });
        }
        let usual = self.usual_source(subject, &provider.name);
        let source = path.map_or(usual, |path| path.source);
        steps.push(self.source_step(subject, source, usual));
        self.add_limits(subject, (source, destination.provider.0), &mut steps);
        steps
    }

    fn class_step(&self, head: &ContentHead) -> Step {
        let (code, because) = head.ground();
        let ground = match (Ground::from_code(code), because) {
            (Some(Ground::Rule(number)), "") => format!("rule {number} of the account"),
            (Some(Ground::Rule(number)), because) => format!("rule {number} of the account: {because}"),
            (Some(ground), "") => ground.name().to_owned(),
            (Some(ground), because) => format!("{}: {because}", ground.name()),
            (None, _) if head.kind() == ContentKind::Template => "campaign".to_owned(),
            (None, _) => "not recorded".to_owned(),
        };
        Step { what: "class", is: head.class().name().to_owned(), ground }
    }

    fn source_step(&self, subject: &Subject, source: u16, usual: u16) -> Step {
        let pool = self.pool_of(subject);
        let is_in = |candidates: &[Candidate]| candidates.iter().any(|one| one.source == source);
        let ground = match () {
            () if source == usual && pool.main.len() == 1 => "there is no other in the pool",
            () if source == usual => {
                "this sender's mail of this class for this provider always leaves from it"
            }
            () if is_in(pool.main) => {
                "the usual one is refused there, has no allowance left, or the receiver knows this one"
            }
            () if is_in(pool.reserve) => "all of the pool are refused there: this one is of the reserve",
            () => "it was chosen before the pool changed",
        };
        Step { what: "source", is: self.shared.sources.get(source).name.clone(), ground: ground.to_owned() }
    }

    fn add_limits(&self, subject: &Subject, (source, provider): (u16, u16), steps: &mut Vec<Step>) {
        let (brain, now) = (&self.shared.brain, self.now());
        let standing = brain.standings.at(source, provider);
        let mut add =
            |what, is: String, ground: &str| steps.push(Step { what, is, ground: ground.to_owned() });
        if standing.is_burnt(now) {
            add("burn", format!("refused until {}", standing.burnt_until), "the receiver blocks the source");
        }
        if let Some(left) = standing.left {
            add("warm_up", format!("{left} left for now"), "the source is warming up at this provider");
        }
        let campaign =
            (subject.head.kind() == ContentKind::Template).then(|| mail::CampaignId(subject.head.id().0));
        if let Some(gate) = campaign.and_then(|campaign| brain.gates.view(campaign, provider)) {
            let is = match gate.allowed {
                Some(allowed) => format!("{} of {allowed} have passed", gate.passed),
                None => "open".to_owned(),
            };
            add("canary", is, "the first recipients of a campaign are judged before the rest goes");
        }
        if let Some((trouble, until)) = self.mailbox_trouble(subject.recipient.address())
            && until > now
        {
            add("mailbox", policy::mailbox::reason(trouble).to_owned(), "another message for it was refused");
        }
        if brain.identities.get(identity_number(subject.head.identity()), provider).is_some() {
            add("identity", subject.head.identity().to_owned(), "the receiver takes less from this sender");
        }
    }

    /// What a path looks like to a forecast.
    pub(crate) fn state_of(&self, path: PathId) -> Option<PathState> {
        let pool = self.pools.get(path)?;
        let view = self.queue.borrow().path_view(path)?;
        let now = self.now();
        let (transaction_ms, connect_ms) = pool.pace_ms();
        Some(PathState {
            ready: view.ready.map(u64::from),
            rate: view.limits.rate.map(policy::Rate::as_per_second),
            connections: view.connections,
            connections_max: view.limits.connections,
            transaction_ms,
            connect_ms,
            weights: Class::ALL.map(|class| self.shared.config.class(class).weight),
            critical_share: f64::from(queue::CRITICAL_SHARE),
            rests: view.suspended.map_or_else(Default::default, |(until, _)| until.since(now)),
        })
    }
}

fn halted(halt: &Halt) -> Found {
    Found::new("account.paused", format!("its account, whose mail was stopped: {}", halt.reason))
}

/// Rates that differ by less are the same to people: one may be written by the hour and the other by the minute.
const SAME_RATE: f64 = 0.01;

/// A budget as people see it.
pub(super) fn budget_view(pool: &Pool, now: UnixMs) -> BudgetView {
    let PaceView {
        limits, start, ceiling, phase, reason, changed_at, rests_until, accepted, refused, ..
    } = pool.budget.view();
    let is_at = |other: &policy::Limits| {
        limits.connections == other.connections
            && match (limits.rate, other.rate) {
                (Some(rate), Some(other)) => {
                    (rate.as_per_second() / other.as_per_second() - 1.0).abs() < SAME_RATE
                }
                (rate, other) => rate == other,
            }
    };
    let set_by = match () {
        () if is_at(&ceiling) => "cap",
        () if is_at(&start) => "start",
        () => "learned",
    };
    BudgetView {
        set_by,
        phase: phase.name(),
        rate_per_second: limits.rate.map(policy::Rate::as_per_second),
        rate_max: ceiling.rate.map(|rate| rate.to_string()),
        connections_max: ceiling.connections,
        messages_per_connection: limits.messages_per_connection,
        reason: reason.to_owned(),
        changed_at,
        rests_until: Some(rests_until).filter(|until| *until > now),
        accepted,
        refused,
    }
}
