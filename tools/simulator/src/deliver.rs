//! A connection's life: greeting, envelope, message, reply, and what the reply means. The meaning is `policy`'s.

use std::time::Duration;

use mail::{Phase, Reply};
use policy::reaction::{Fate as Then, PaceSignal, Reaction, reaction};
use policy::retry::next_attempt;
use policy::verdict::{Action, Verdict, judge_network};
use queue::{FlowKey, Pull, Ticket};

use crate::letters::Fate;
use crate::lines::{Await, Said};
use crate::script::Mode;
use crate::stage::{Event, Stage};

/// A rest of the path during which its connections are kept.
const SHORT_REST: Duration = Duration::from_secs(5);
/// How long a recipient waits whose receiver asks for less when the budget needs no rest for it.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// Refused transactions after which a connection is given up for a new one.
const REFUSED_MAX: u32 = 8;

impl Stage {
    /// A connection's time has come.
    pub(crate) fn step(&mut self, index: u32, turn: u32) {
        let Some(line) = self.lines.get(index).filter(|line| line.turn == turn) else { return };
        match std::mem::replace(&mut line.awaits, Await::Work) {
            Await::Greeting(said) => self.greeted(index, said),
            Await::Envelope(ticket, flow) => self.send_body(index, ticket, flow),
            Await::Recipient(ticket, flow, said) => self.replied(index, (ticket, flow), Phase::Rcpt, said),
            Await::Message(ticket, flow, said) => self.replied(index, (ticket, flow), Phase::Body, said),
            // Nobody had work for it for too long.
            Await::Work => {
                let path = line.path;
                self.end(index, path);
            }
        }
    }

    fn greeted(&mut self, index: u32, said: Said) {
        if said.cause.is_none() {
            self.lines.opened(index);
            let path = self.lines.get(index).map(|line| line.path);
            self.go_on(index);
            // Each that opens calls the next.
            path.into_iter().for_each(|path| self.dispatch(path));
            return;
        }
        let Some(line) = self.lines.get(index) else { return };
        let (path, key) = (line.path, line.key);
        self.measure.answered(&self.clock, key, said.cause);
        self.turned_away((key, path), &said);
        self.end(index, path);
    }

    /// What a refused greeting means for its path.
    fn turned_away(&mut self, (key, path): (queue::PathKey, queue::PathId), said: &Said) {
        if said.fault.is_some() {
            return self.rest(path, &said.reply.text);
        }
        let verdict = self.judged(Phase::Banner, said, key.provider);
        let meant = reaction(&verdict);
        let counted = self.connections(key).saturating_sub(1);
        let is_of_any_site = meant.pace == Some(PaceSignal::Connections);
        let is_open = self.lines.pool(path).open() > 0 || is_of_any_site && self.is_any_open(key);
        self.heed(key, &meant, (counted, 0), &said.reply);
        let rests = || self.mind.rests_until(key, self.clock.now()).is_some();
        // With fewer connections or after the rest it goes on.
        let goes_on = meant.pace.is_some() && (is_open || rests());
        if !goes_on && !matches!(verdict.action, Action::Suspend(_)) {
            self.rest(path, &said.reply.text);
        }
    }

    /// Connections of all paths that share the budget of `key`, as the receiver may count them.
    fn connections(&mut self, key: queue::PathKey) -> u32 {
        let paths = self.queue.paths_of(key.source, key.provider);
        paths.into_iter().map(|path| self.lines.pool(path).connections()).sum()
    }

    fn is_any_open(&mut self, key: queue::PathKey) -> bool {
        let paths = self.queue.paths_of(key.source, key.provider);
        paths.into_iter().any(|path| self.lines.pool(path).open() > 0)
    }

    /// What a connection does next.
    pub(crate) fn go_on(&mut self, index: u32) {
        let now = self.clock.now();
        loop {
            let Some(line) = self.lines.get(index) else { return };
            let (path, key, begun) = (line.path, line.key, line.begun);
            if begun >= self.limits(key).messages_per_connection.max(1) {
                return self.end(index, path);
            }
            let until = match self.queue.pull(path, now) {
                Pull::Ticket(ticket, flow) => {
                    self.measure.fairness.leaves(key, flow, true);
                    if self.takes(index, ticket, flow) {
                        return self.begin(index, ticket, flow);
                    }
                    continue;
                }
                Pull::Empty => return self.idle(index),
                Pull::Wait(at) => at,
                // It goes on soon: a new connection would burden the receiver more than this one.
                Pull::Suspended(until) if until.since(now) <= SHORT_REST => until,
                Pull::Suspended(_) | Pull::Yield => return self.end(index, path),
            };
            self.idle(index);
            return self.look_again(path, until);
        }
    }

    /// Whether a recipient that was pulled may be tried now; one that may not waits for what stands in its way.
    fn takes(&mut self, index: u32, ticket: Ticket, flow: FlowKey) -> bool {
        let now = self.clock.now();
        let Some(line) = self.lines.get(index) else { return false };
        let (path, key) = (line.path, line.key);
        if let Some(until) = self.mind.identity_rests(flow, key.provider, now) {
            self.put_back(path, flow, ticket);
            self.queue.rest_flow(path, flow, until);
            self.measure.fairness.comes_back(key, flow);
            self.measure.fairness.rests(key, flow);
            self.note_due();
            return false;
        }
        line.begun += 1;
        // More may be waiting than this connection takes: let another begin too.
        self.dispatch(path);
        let Some(until) = self.mind.mailbox_rests(self.letters.mailbox(ticket.id), now) else { return true };
        self.queue.unused(path);
        self.measure.fairness.comes_back(key, flow);
        self.measure.fairness.leaves(key, flow, false);
        self.leaves(key, ticket, flow);
        self.schedule(ticket, flow.campaign, until);
        false
    }

    /// Closes a connection; another may take its place.
    fn end(&mut self, index: u32, path: queue::PathId) {
        self.close(index);
        self.dispatch(path);
        self.dispatch_wanting();
    }

    fn idle(&mut self, index: u32) {
        self.lines.put_idle(index);
        let timeout = self.script.config.deliver.idle_timeout;
        if let Some(line) = self.lines.get(index) {
            self.clock.after(timeout, Event::Step(index, line.turn));
        }
    }

    pub(crate) fn close(&mut self, index: u32) {
        let Some(line) = self.lines.remove(index) else { return };
        self.queue.connection_closed(line.path);
        if let Some(guest) = line.guest {
            guest.end(&mut self.world);
        }
    }

    fn begin(&mut self, index: u32, ticket: Ticket, flow: FlowKey) {
        let now = self.clock.now();
        let recipient = self.script.address(&self.letters, ticket.id);
        let sender = Some(self.letters.batch(ticket.id).sender.clone());
        let Some(line) = self.lines.get(index) else { return };
        let key = line.key;
        let Some(guest) = line.guest.as_mut() else { return };
        line.turn += 1;
        let turn = line.turn;
        guest.set_token(ticket.id.raw());
        let mut answer = guest.mail(&mut self.world, &sender, now);
        let mut delay = self.script.round_trip + self.script.waits(Phase::Mail, &answer);
        if answer.cause.is_none() {
            answer = guest.rcpt(&mut self.world, &recipient, now);
            delay += self.script.waits(Phase::Rcpt, &answer);
        }
        line.awaits = match answer.cause {
            None => Await::Envelope(ticket, flow),
            Some(_) => {
                let said = Said::of(answer);
                Await::Recipient(ticket, flow, said)
            }
        };
        self.letters.offer(ticket.id);
        self.measure.watch.begins((key.source, key.provider), self.limits(key), self.clock.moment());
        self.clock.after(delay, Event::Step(index, turn));
    }

    fn send_body(&mut self, index: u32, ticket: Ticket, flow: FlowKey) {
        let now = self.clock.now();
        let bytes = u64::from(self.letters.batch(ticket.id).bytes);
        let Some(line) = self.lines.get(index) else { return };
        let Some(guest) = line.guest.as_mut() else { return };
        let answer = guest.body_of(&mut self.world, bytes, now);
        line.turn += 1;
        let delay = self.script.waits(Phase::Body, &answer);
        let said = Said::of(answer);
        line.awaits = Await::Message(ticket, flow, said);
        self.clock.after(delay, Event::Step(index, line.turn));
    }

    fn replied(&mut self, index: u32, (ticket, flow): (Ticket, FlowKey), phase: Phase, said: Said) {
        let Some(line) = self.lines.get(index) else { return };
        let (path, key, before) = (line.path, line.key, line.heard);
        line.heard += u32::from(!said.close);
        line.refused += u32::from(phase != Phase::Body);
        let is_worn = line.refused >= REFUSED_MAX;
        self.measure.answered(&self.clock, key, said.cause);
        if !said.close {
            self.lines.pool(path).works();
        }
        let is_over = match said.cause {
            None => {
                self.delivered(key, ticket, flow);
                false
            }
            Some(_) if said.fault.is_some() => {
                self.lost((key, path), (ticket, flow), (phase, &said), before);
                true
            }
            Some(_) => {
                let open = self.connections(key).saturating_sub(1);
                self.refused((key, path), (ticket, flow), (phase, &said), (open, before))
            }
        };
        if said.close || is_over || is_worn {
            self.end(index, path);
        } else {
            self.go_on(index);
        }
    }

    /// The connection broke instead of a reply. `before` were answered on it.
    fn lost(
        &mut self,
        (key, path): (queue::PathKey, queue::PathId),
        (ticket, flow): (Ticket, FlowKey),
        (phase, said): (Phase, &Said),
        before: u32,
    ) {
        if before == 0 {
            // It would meet the next connection too.
            self.rest(path, &said.reply.text);
        }
        let meant = reaction(&self.judged(phase, said, key.provider));
        self.mind.note(key, flow, meant.happening);
        self.conclude(key, (ticket, flow), &meant, None);
    }

    fn delivered(&mut self, key: queue::PathKey, ticket: Ticket, flow: FlowKey) {
        let mailbox = self.letters.mailbox(ticket.id);
        self.mind.took(key, flow, (ticket.id, mailbox), self.clock.now());
        self.measure.delivered(&self.clock, key, self.letters.batch_index(ticket.id));
        self.finish(ticket, Fate::Delivered);
        self.mind.kept.remove(&ticket.id);
    }

    /// A recipient was refused; says whether the connection is of no more use. `counts` are the connections of the path
    /// and the messages that were answered on this one before.
    fn refused(
        &mut self,
        (key, path): (queue::PathKey, queue::PathId),
        (ticket, flow): (Ticket, FlowKey),
        (phase, said): (Phase, &Said),
        counts: (u32, u32),
    ) -> bool {
        let now = self.clock.now();
        let verdict = self.judged(phase, said, key.provider);
        let meant = reaction(&verdict);
        self.heed(key, &meant, counts, &said.reply);
        self.mind.note(key, flow, meant.happening);
        let besides = meant.happening.besides(ticket.attempts);
        besides.into_iter().for_each(|happening| self.mind.note(key, flow, happening));
        if meant.identity_slow {
            self.mind.brain.identity_slow(flow.identity, key.provider, now);
        }
        if verdict.class == "greylist" {
            self.mind.keep(ticket.id, key.source);
        }
        let mailbox = self.letters.mailbox(ticket.id);
        let trouble = meant.mailbox.filter(|_| meant.fate != Then::Bounce);
        let rest = trouble.and_then(|trouble| self.mind.mailbox_trouble(mailbox, trouble, now));
        let is_first = counts.1 == 0;
        if meant.fate == Then::Reconnect && is_first {
            // Every connection would end so with its first message.
            self.rest(path, &said.reply.text);
        }
        let goes_back = match (meant.fate, verdict.action) {
            (Then::Wait, Action::Suspend(_)) => self.script.mode == Mode::Brain,
            (Then::Reconnect, _) => !is_first,
            _ => false,
        };
        if goes_back {
            self.mind.mailbox_undecided(mailbox);
            self.measure.watch.goes_back((key.source, key.provider));
            self.measure.fairness.comes_back(key, flow);
            self.put_back(path, flow, ticket);
        } else {
            self.conclude(key, (ticket, flow), &meant, rest);
        }
        matches!(verdict.action, Action::Suspend(_) | Action::Reconnect | Action::NextMx | Action::RequireTls)
    }

    /// What becomes of a recipient that was refused and does not go back to its path.
    fn conclude(
        &mut self,
        key: queue::PathKey,
        (ticket, flow): (Ticket, FlowKey),
        meant: &Reaction,
        rest: Option<mail::UnixMs>,
    ) {
        let now = self.clock.now();
        let waits = self.script.mode == Mode::Brain && meant.fate == Then::Wait;
        let until = match meant.fate {
            _ if rest.is_some() => rest,
            Then::Hold(wait) => Some(now + wait),
            Then::Wait if waits => Some(self.mind.rests_until(key, now).unwrap_or(now + SHORT_WAIT)),
            _ => None,
        };
        if meant.fate == Then::Bounce || until.is_none() {
            self.mind.mailbox_undecided(self.letters.mailbox(ticket.id));
        }
        if meant.fate == Then::Bounce {
            return self.finish(ticket, Fate::Bounced);
        }
        if let Some(until) = until {
            // No attempt counts, so it asks at its gate again.
            self.leaves(key, ticket, flow);
            self.schedule(ticket, flow.campaign, until);
            return self.note_due();
        }
        self.mind.tables.standings.give_back(key.source, key.provider);
        let attempts = ticket.attempts.saturating_add(1);
        let provider = policy::provider::ProviderIndex(key.provider);
        let schedule = self.script.config.retry(ticket.class, provider);
        let due = next_attempt(schedule, attempts, now, ticket.id.raw());
        self.schedule(Ticket { attempts, ..ticket }, flow.campaign, due);
    }

    /// Gives a recipient back to its path as if it had not been pulled.
    fn put_back(&mut self, path: queue::PathId, flow: FlowKey, ticket: Ticket) {
        if self.queue.unpull(path, flow, ticket).is_err() {
            self.finish(ticket, Fate::Cancelled);
        }
    }

    /// What a refusal is, or what happened instead of a reply.
    fn judged(&self, phase: Phase, said: &Said, provider: u16) -> Verdict {
        let name = self.script.manners[usize::from(provider)];
        match said.fault {
            Some(fault) => judge_network(fault),
            None => self.script.config.replies.judge(phase, &said.reply, name),
        }
    }

    /// Carries out what a refusal means for the path, the budget and the source.
    fn heed(&mut self, key: queue::PathKey, meant: &Reaction, (open, messages): (u32, u32), reply: &Reply) {
        let now = self.clock.now();
        let effect = match self.script.mode {
            Mode::Brain => self.mind.refused(key, meant, (open, messages), now),
            Mode::Static => self.script.rules.refused(key, meant, reply, now),
        };
        for path in self.queue.paths_of(key.source, key.provider) {
            if let Some(limits) = effect.limits {
                self.queue.set_limits(path, limits);
            }
            if let Some(until) = effect.pauses_until.filter(|&until| until > now) {
                self.pause(path, until, &reply.text);
            }
            if let Some(until) = effect.rests_until.filter(|&until| until > now) {
                self.suspend(path, until, &reply.text);
            }
        }
    }
}
