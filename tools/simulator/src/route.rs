//! From a recipient that is due to its path, and from a path that has work to a connection.

use std::time::Duration;

use mail::{CampaignId, Class, Phase, UnixMs};
use policy::source::{Candidates, Choice, Wish, choose, choose_among};
use queue::{FlowKey, PathId, PathKey, Ticket};

use crate::letters::Fate;
use crate::lines::Said;
use crate::script::Mode;
use crate::stage::{Event, Stage};

/// How long a path rests after its first, second ... connection that failed; the last repeats.
const REST: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(600),
];

impl Stage {
    /// Sends a recipient on its way; false when its campaign holds it back.
    pub(crate) fn start(&mut self, ticket: Ticket) -> bool {
        let now = self.clock.now();
        if ticket.is_expired(now) {
            self.finish(ticket, Fate::Expired);
            return true;
        }
        let batch = self.letters.batch(ticket.id);
        let (campaign, tenant, identity) = (batch.campaign, batch.tenant, batch.identity);
        let provider = self.script.provider_of(self.letters.provider(ticket.id));
        let flow = FlowKey { class: ticket.class, tenant, campaign, identity };
        if self.mind.is_stopped(tenant, campaign) {
            self.hold_stopped(ticket, campaign);
            return false;
        }
        if let Some(id) = gated(ticket, flow)
            && !self.mind.gate_passes(id, provider)
        {
            self.hold(ticket, id, Some(provider));
            return false;
        }
        match self.choose(ticket, provider) {
            Choice::Source { source, .. } => {
                let site = self.site(ticket);
                self.enqueue(ticket, flow, PathKey { source, provider, site });
            }
            Choice::Wait { until, .. } => {
                self.gate_back(ticket, flow, provider);
                self.schedule(ticket, campaign, until.max(now + Duration::from_secs(1)));
            }
        }
        true
    }

    fn hold(&mut self, ticket: Ticket, campaign: CampaignId, lane: Option<u16>) {
        if self.queue.hold(campaign, lane, ticket).is_err() {
            self.finish(ticket, Fate::Cancelled);
        }
    }

    fn hold_stopped(&mut self, ticket: Ticket, campaign: Option<CampaignId>) {
        match campaign {
            Some(id) => self.hold(ticket, id, None),
            None => self.mind.stopped.tickets.push(ticket),
        }
    }

    fn choose(&self, ticket: Ticket, provider: u16) -> Choice {
        let batch = self.letters.batch(ticket.id);
        let name = &self.script.provider_names[usize::from(provider)];
        let pool = &self.script.pools[ticket.class.index()];
        if self.script.mode == Mode::Static || !self.script.mechanisms.source_choice {
            // Weighted, message by message, as engines without affinity do it.
            let spread = ticket.id.raw().to_string();
            let source = choose(&spread, ticket.class, name, &pool.main).unwrap_or(0);
            return Choice::Source { source, ground: policy::source::SourceGround::Only };
        }
        let wish = Wish {
            identity: batch.sender.domain(),
            class: ticket.class,
            provider,
            provider_name: name,
            keep: self.mind.kept.get(&ticket.id).copied(),
            is_good: ticket.class == Class::Critical || self.mind.tables.gates.is_good(batch.identity),
        };
        let candidates = Candidates { main: &pool.main, reserve: &pool.reserve };
        choose_among(&wish, &candidates, &self.mind.tables.standings, self.clock.now())
    }

    /// Which of its provider's sites has the recipient's mailbox.
    fn site(&self, ticket: Ticket) -> u64 {
        let provider = self.script.provider_of(self.letters.provider(ticket.id));
        let provider = self.script.worlds[usize::from(provider)];
        self.letters.mailbox(ticket.id) % u64::from(self.world.sites(provider))
    }

    /// Puts a ticket on the timing wheel.
    pub(crate) fn schedule(&mut self, ticket: Ticket, campaign: Option<CampaignId>, due: UnixMs) {
        if self.queue.schedule(ticket, campaign, due).is_err() {
            self.finish(ticket, Fate::Cancelled);
        }
    }

    fn enqueue(&mut self, ticket: Ticket, flow: FlowKey, key: PathKey) {
        let now = self.clock.now();
        let limits = self.limits(key);
        let path = self.queue.path(key, limits);
        self.mind.stir(key, now);
        if self.queue.enqueue(path, flow, ticket, now).is_err() {
            return self.finish(ticket, Fate::Cancelled);
        }
        self.measure.fairness.waits(key, flow);
        if ticket.class == Class::Critical {
            self.lines.pool(path).forget_alarm();
            self.dispatch(path);
        }
    }

    /// The limits in force for a budget.
    pub(crate) fn limits(&self, key: PathKey) -> policy::Limits {
        match self.script.mode {
            Mode::Brain => self.mind.limits(key),
            Mode::Static => self.script.rules.limits(key),
        }
    }

    /// Takes what waits for a source at a provider off its paths, at most so many, and routes it anew.
    pub(crate) fn reroute(&mut self, source: u16, provider: u16, most: usize) {
        let mut out = Vec::new();
        for path in self.queue.paths_of(source, provider) {
            self.queue.reroute(path, most - out.len(), &mut out);
        }
        for (ticket, flow) in out {
            let key = PathKey { source, provider, site: self.site(ticket) };
            self.measure.fairness.leaves(key, flow, false);
            self.leaves(key, ticket, flow);
            self.start(ticket);
        }
    }

    /// A recipient leaves its path without an attempt: what it took on its way is free for others.
    pub(crate) fn leaves(&self, key: PathKey, ticket: Ticket, flow: FlowKey) {
        self.mind.tables.standings.give_back(key.source, key.provider);
        self.gate_back(ticket, flow, key.provider);
    }

    fn gate_back(&self, ticket: Ticket, flow: FlowKey, provider: u16) {
        if let Some(campaign) = gated(ticket, flow) {
            self.mind.gate_back(campaign, provider);
        }
    }

    // Connections

    /// Looks at all paths that have work and nobody who does it.
    pub(crate) fn dispatch_wanting(&mut self) {
        let mut wanting = Vec::new();
        self.queue.poll_wanting(self.clock.now(), &mut wanting);
        wanting.into_iter().for_each(|path| self.dispatch(path));
    }

    /// Something may be sent on `path`: wakes an idle connection or opens one.
    pub(crate) fn dispatch(&mut self, path: PathId) {
        let now = self.clock.now();
        if let Some(line) = self.lines.take_idle(path) {
            return self.go_on(line);
        }
        let pool = self.lines.pool(path);
        if pool.is_armed(now) || !pool.may_open() || !self.queue.wants_connection(path, now) {
            return;
        }
        self.open(path);
    }

    fn open(&mut self, path: PathId) {
        let Some(view) = self.queue.path_view(path) else { return };
        self.queue.connection_opened(path);
        let key = view.key;
        self.measure.watch.opens(self.limits(key), view.connections + 1);
        let provider = self.script.worlds[usize::from(key.provider)];
        let ip = self.script.ips[usize::from(key.source)];
        let (guest, answer) = self.world.connect_to(provider, ip, self.clock.now());
        let delay = self.script.waits(Phase::Banner, &answer);
        let said = Said::of(answer);
        let line = self.lines.add(path, key, guest, said);
        // The handshake, and the greeting.
        self.clock.after(delay + self.script.round_trip, Event::Step(line, 0));
    }

    /// A connection could not be made, or was of no use: its path rests.
    pub(crate) fn rest(&mut self, path: PathId, reason: &str) {
        let now = self.clock.now();
        let Some(failures) = self.lines.pool(path).failed(now) else { return };
        self.suspend(path, now + REST[failures.min(REST.len() - 1)], reason);
    }

    /// Sends nothing on the path before `until`. Its idle connections look what there is for them.
    pub(crate) fn suspend(&mut self, path: PathId, until: UnixMs, reason: &str) {
        self.pause(path, until, reason);
        for line in self.lines.take_all_idle(path) {
            self.go_on(line);
        }
    }

    /// Sends nothing on the path before `until`, and keeps its connections.
    pub(crate) fn pause(&mut self, path: PathId, until: UnixMs, reason: &str) {
        if self.lines.pool(path).rests(until) {
            self.queue.suspend(path, until, reason);
            self.note_due();
        }
    }

    /// Looks at a path again at `at`.
    pub(crate) fn look_again(&mut self, path: PathId, at: UnixMs) {
        let now = self.clock.now();
        if self.lines.pool(path).arm(at, now) {
            self.clock.at_time(at, Event::Look(path, at));
        }
    }
}

/// The campaign whose gate a recipient has to pass: that of a mass mailing, before its first attempt.
fn gated(ticket: Ticket, flow: FlowKey) -> Option<CampaignId> {
    flow.campaign.filter(|_| ticket.attempts == 0 && ticket.class == Class::Bulk)
}
