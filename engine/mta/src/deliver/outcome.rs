//! From a reply to a recipient, or its absence, to an outcome: what `policy/verdict` says of it is carried out here.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mail::{Disposition, Enhanced, Outcome, Phase, Reply, Timings, UnixMs};
use policy::reaction::{Reaction, reaction};
use policy::retry::next_attempt;
use policy::verdict::{Action, Fault, Scope, Verdict, ends_session, judge_network};
use queue::{FlowKey, Ticket};

use super::connection::Connection;
use super::flight::Flight;
use super::open::has_another_host;
use super::pool::Pool;
use crate::holds::{Hold, Receiver};
use crate::shard::{Conclusion, FULL_PAUSE, READ_PAUSE, Shard};

impl Connection {
    /// The server has answered for a recipient, named by its transaction and its place there.
    pub(super) async fn answered(&mut self, (transaction, index): (u64, usize), phase: Phase, reply: Reply) {
        let under_way = self.flights.len();
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.transaction == transaction) else {
            return;
        };
        let Some(ticket) = flight.take(index) else { return };
        let (flow, now) = (flight.flow, self.shard.now());
        let transaction_ms = whole_ms(now.since(flight.began));
        self.pool.took_ms(transaction_ms, under_way);
        let is_first = !std::mem::replace(&mut flight.heard, true);
        flight.was_judged |= phase == Phase::Body;
        if ends_session(&reply) {
            self.closing = true;
        } else {
            self.heard += u32::from(is_first);
            self.pool.works();
        }
        if phase == Phase::Body && reply.is_positive() {
            self.took(ticket, flow, now);
            let delivered = Disposition::Delivered;
            let outcome = self.outcome(ticket, phase, reply, delivered, (now, transaction_ms));
            return self.conclude(transaction, ticket, outcome).await;
        }
        let provider = &self.shard.shared.config.providers[self.pool.destination().provider];
        let verdict = self.shard.shared.config.replies.judge(phase, &reply, &provider.name);
        let reaction = reaction(&verdict);
        self.act((ticket, flow), verdict, &reaction, &reply);
        if let Action::Hold(rest) = verdict.action
            && verdict.scope == Scope::Identity
        {
            self.hold_identity(ticket, rest, &reply);
        }
        if self.goes_back(verdict, &reply, index) {
            self.shard.mailbox_undecided(ticket);
            return self.shard.put_back(&self.pool, flow, ticket).await;
        }
        let disposition = disposition_of(verdict);
        let mut outcome = self.outcome(ticket, phase, reply, disposition, (now, transaction_ms));
        self.shard.decide_retry(&self.pool, ticket, (verdict, &reaction), &mut outcome);
        self.shard.passed_back(&self.pool, ticket, flow, &outcome);
        self.conclude(transaction, ticket, outcome).await;
    }

    /// The server has not judged a recipient: it waits on, as if it had not been pulled.
    pub(super) async fn untried(&mut self, (transaction, index): (u64, usize)) {
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.transaction == transaction) else {
            return;
        };
        let flow = flight.flow;
        let Some(ticket) = flight.take(index) else { return };
        self.shard.put_back(&self.pool, flow, ticket).await;
    }

    /// Sends an outcome home. All recipients of a transaction have the same home, so the last receipt tells of all.
    async fn conclude(&mut self, transaction: u64, ticket: Ticket, outcome: Outcome) {
        let Some(receipt) = self.shard.conclude(Conclusion { ticket, outcome }).await else { return };
        match self.unwritten.last_mut() {
            Some((of, last)) if *of == transaction => *last = receipt,
            _ => self.unwritten.push((transaction, receipt)),
        }
    }

    /// The receiver refuses the sender by a fault of our own: the sender's other mail for it waits as this one does.
    fn hold_identity(&self, ticket: Ticket, rest: Duration, reply: &Reply) {
        let reader = &self.shard.shared.readers[usize::from(ticket.id.0.shard())];
        let content =
            reader.recipient(ticket.id).and_then(|recipient| reader.content_head(recipient.content()));
        let Ok(content) = content else { return };
        let (destination, now) = (self.pool.destination(), self.shard.now());
        let hold = Hold { until: now + rest, reply: reply.clone() };
        let holds = &self.shard.shared.condition.holds;
        if holds.add(content.identity(), Receiver::of(&destination), &hold, now) {
            let (identity, site) = (content.identity(), destination.site_name());
            tracing::warn!(identity, site, seconds = rest.as_secs(), reply = %reply, "mail of a sender is held");
        }
    }

    /// Whether this server has answered for a recipient before `reply`.
    pub(super) fn heard_before(&self, reply: &Reply) -> bool {
        self.answered_before(reply) > 0
    }

    /// Transactions of which a recipient was answered before `reply`.
    pub(super) fn answered_before(&self, reply: &Reply) -> u32 {
        // This reply is among those heard, unless the server hung up with it.
        self.heard.saturating_sub(u32::from(!ends_session(reply)))
    }

    /// Whether the recipient waits on, as if it had not been tried. Each connection that sends somebody back has moved
    /// something on, another recipient or the choice of host, so nobody goes round for ever.
    fn goes_back(&self, verdict: Verdict, reply: &Reply, index: usize) -> bool {
        match verdict.action {
            // Those before it go on, and the next transaction has no more of them.
            Action::NextTransaction => {
                self.pool.abilities.takes_at_most(index, self.shard.now());
                index > 0
            }
            Action::Suspend(_) => true,
            Action::Reconnect => self.heard_before(reply),
            Action::NextMx => has_another_host(&self.shard, &self.pool),
            _ => false,
        }
    }

    /// The message was not given to the server at all.
    pub(super) async fn never_sent(&mut self, ticket: Ticket, reply: Reply) {
        let provider = &self.shard.shared.config.providers[self.pool.destination().provider];
        let class = self.shard.shared.config.replies.judge(Phase::Mail, &reply, &provider.name).class;
        let may_go_later = reply.enhanced.is_some_and(|enhanced| enhanced.0 == 4);
        let disposition = if may_go_later { Disposition::Deferred } else { Disposition::Bounced };
        let now = self.shard.now();
        let mut outcome = self.outcome(ticket, Phase::Mail, reply, disposition, (now, 0));
        class.clone_into(&mut outcome.verdict);
        if may_go_later {
            // Nobody was asked, so no attempt was made.
            outcome.attempt = ticket.attempts;
            outcome.next_attempt = Some(now + READ_PAUSE);
        }
        self.shard.conclude(Conclusion { ticket, outcome }).await;
    }

    /// The message was not given to the server, and may be later: the attempt counts.
    pub(super) async fn defer(&mut self, ticket: Ticket, reply: Reply) {
        let provider = &self.shard.shared.config.providers[self.pool.destination().provider];
        let verdict = self.shard.shared.config.replies.judge(Phase::Mail, &reply, &provider.name);
        let (deferred, now) = (Disposition::Deferred, self.shard.now());
        let mut outcome = self.outcome(ticket, Phase::Mail, reply, deferred, (now, 0));
        self.shard.decide_retry(&self.pool, ticket, (verdict, &reaction(&verdict)), &mut outcome);
        self.shard.conclude(Conclusion { ticket, outcome }).await;
    }

    /// The connection broke: the recipient under way is deferred, or unknown when its receiver may have it; those behind
    /// it were sent ahead, and nobody has looked at them.
    pub(super) async fn lost(mut self, fault: Fault, why: &str) {
        if self.heard == 0 {
            // It would meet the next connection too.
            self.shard.rest(&self.pool, why);
        }
        if self.heard == 0 && self.connected.client.may_lack_pipelining() {
            self.pool.abilities.without_pipelining.add(self.connected.address, self.shard.now());
        }
        // A server that hangs up has answered for the transaction under way.
        let lost = self.connected.client.closed();
        let under_way = lost.first().map(|first| first.transaction).filter(|_| !self.hung_up);
        for lost in lost {
            let Some(flight) = self.flights.iter_mut().find(|flight| flight.transaction == lost.transaction)
            else {
                continue;
            };
            let Some(ticket) = flight.take(lost.index) else { continue };
            let (flow, now) = (flight.flow, self.shard.now());
            let transaction_ms = whole_ms(now.since(flight.began));
            if under_way != Some(lost.transaction) && !lost.unknown {
                self.shard.put_back(&self.pool, flow, ticket).await;
                continue;
            }
            let (disposition, fault) = match lost.unknown {
                true => (Disposition::Unknown, Fault::ConnectionLostAfterBody),
                false => (Disposition::Deferred, fault),
            };
            let reply = Reply::enhanced(0, Enhanced(4, 4, 2), why);
            let mut outcome = self.outcome(ticket, lost.phase, reply, disposition, (now, transaction_ms));
            let verdict = judge_network(fault);
            let reaction = reaction(&verdict);
            self.shard.note(self.pool.key, flow, reaction.happening);
            self.shard.decide_retry(&self.pool, ticket, (verdict, &reaction), &mut outcome);
            self.shard.passed_back(&self.pool, ticket, flow, &outcome);
            self.shard.conclude(Conclusion { ticket, outcome }).await;
        }
    }

    /// What has become of a recipient, when, and after how many milliseconds.
    fn outcome(
        &self,
        ticket: Ticket,
        phase: Phase,
        reply: Reply,
        disposition: Disposition,
        (at, transaction_ms): (UnixMs, u32),
    ) -> Outcome {
        let first = self.heard <= 1;
        Outcome {
            at,
            attempt: ticket.attempts.saturating_add(1),
            disposition,
            next_attempt: None,
            phase,
            verdict: String::new(),
            reply,
            route: Arc::clone(&self.connected.route),
            timings: Timings {
                connect_ms: if first { self.connected.connect_ms } else { 0 },
                transaction_ms,
            },
        }
    }
}

fn whole_ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn disposition_of(verdict: Verdict) -> Disposition {
    match verdict.action {
        Action::Bounce => Disposition::Bounced,
        _ => Disposition::Deferred,
    }
}

impl Drop for Connection {
    /// Should the work of a connection panic, its recipients must not be forgotten until the next start. Whether
    /// their receiver has them is not known.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for ticket in self.flights.iter_mut().flat_map(Flight::waiting) {
            let why = Reply::enhanced(0, Enhanced(4, 3, 0), "the engine failed while it was being delivered");
            let mut outcome = crate::shard::without_attempt(self.shard.now(), Disposition::Unknown, why);
            outcome.attempt = ticket.attempts.saturating_add(1);
            outcome.phase = Phase::Body;
            let (shard, pool) = (Rc::clone(&self.shard), Rc::clone(&self.pool));
            crate::io::spawn(async move {
                let verdict = judge_network(Fault::ConnectionLostAfterBody);
                shard.decide_retry(&pool, ticket, (verdict, &reaction(&verdict)), &mut outcome);
                shard.conclude(Conclusion { ticket, outcome }).await;
                shard.dispatch_wanting();
            });
        }
    }
}

impl Shard {
    /// Completes an outcome that is not final with the moment of the next attempt.
    fn decide_retry(
        &self,
        pool: &Pool,
        ticket: Ticket,
        (verdict, reaction): (Verdict, &Reaction),
        outcome: &mut Outcome,
    ) {
        verdict.class.clone_into(&mut outcome.verdict);
        if outcome.disposition.is_final() {
            return self.mailbox_undecided(ticket);
        }
        let now = outcome.at;
        if let Some(until) = self.waits_until(pool, ticket, reaction, now) {
            outcome.attempt = ticket.attempts;
            outcome.next_attempt = Some(until);
            return;
        }
        self.mailbox_undecided(ticket);
        let schedule = self.shared.config.retry(ticket.class, pool.destination().provider);
        outcome.next_attempt = Some(next_attempt(schedule, outcome.attempt, now, ticket.id.raw()));
    }

    /// Gives a recipient back that was taken along with another, together with its turn.
    pub(super) async fn put_back_along(self: &Rc<Self>, pool: &Pool, flow: FlowKey, ticket: Ticket) {
        self.queue.borrow_mut().forgive(pool.path, flow);
        self.put_back(pool, flow, ticket).await;
    }

    /// Gives a recipient back to its path as if it had not been pulled.
    pub(crate) async fn put_back(self: &Rc<Self>, pool: &Pool, flow: FlowKey, ticket: Ticket) {
        // Its token of the rate is free again.
        pool.disarm();
        if self.is_burnt(pool.key) {
            // What waited there has left by other sources: nobody would come for it before the rest ends.
            self.queue.borrow_mut().unused(pool.path);
            self.leaves(pool.key, ticket, flow);
            return self.schedule_home(ticket).await;
        }
        let refused = self.queue.borrow_mut().unpull(pool.path, flow, ticket).err();
        match refused {
            None => {}
            Some(queue::Refused::NoPath(ticket)) => {
                self.leaves(pool.key, ticket, flow);
                self.schedule_home(ticket).await;
            }
            Some(queue::Refused::Full(ticket)) => {
                self.leaves(pool.key, ticket, flow);
                self.schedule_at_home(ticket, flow, self.now() + FULL_PAUSE).await;
            }
            Some(queue::Refused::Cancelled(ticket)) => {
                self.give_up(ticket, Disposition::Cancelled, crate::shard::cancelled()).await;
            }
        }
    }
}
