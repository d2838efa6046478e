//! What an answer for a recipient means for everybody else: the pacer learns of it, the brain counts it, a source that is
//! refused is reported, a mailbox in trouble rests. The table is `policy::reaction`; this carries it out.

use std::rc::Rc;

use mail::{Reply, UnixMs};
use policy::reaction::{Fate, Reaction};
use policy::tally::Happening;
use policy::verdict::{Action, Verdict};
use queue::{FlowKey, Ticket};

use super::connection::Connection;
use super::pool::Pool;
use crate::brain::{ToBrain, clipped};
use crate::shard::Shard;

impl Connection {
    /// A recipient's message was taken.
    pub(super) fn took(&self, ticket: Ticket, flow: FlowKey, now: UnixMs) {
        let (shard, pool) = (&self.shard, &self.pool);
        pool.budget.took(now);
        shard.stir(&pool.budget);
        shard.note(pool.key, flow, Happening::Delivered);
        shard.mailbox_works(ticket);
    }

    /// A recipient was refused: what that means for its path, its source, its sender and its connection.
    pub(super) fn act(
        &mut self,
        (ticket, flow): (Ticket, FlowKey),
        verdict: Verdict,
        reaction: &Reaction,
        reply: &Reply,
    ) {
        if verdict.alert {
            tracing::warn!(class = verdict.class, reply = %reply, "a receiver finds fault with our own configuration");
        }
        let (shard, pool) = (&self.shard, &self.pool);
        shard.note(pool.key, flow, reaction.happening);
        let besides = reaction.happening.besides(ticket.attempts);
        besides.into_iter().for_each(|happening| shard.note(pool.key, flow, happening));
        shard.heed(pool, reaction, reply, self.answered_before(reply));
        if reaction.identity_slow && !pool.is_alone() {
            let (identity, provider) = (flow.identity, pool.key.provider);
            drop(shard.shared.brain.tell(ToBrain::IdentitySlow { identity, provider }));
        }
        match verdict.action {
            Action::NextMx => pool.avoided.add(self.connected.address, shard.now()),
            Action::RequireTls => pool.abilities.require_tls(),
            // Every connection would end so with its first message.
            Action::Reconnect if !self.heard_before(reply) => shard.rest(pool, &reply.to_string()),
            _ => {}
        }
        self.closing |= matches!(
            verdict.action,
            Action::Suspend(_) | Action::Reconnect | Action::NextMx | Action::RequireTls
        );
    }
}

impl Shard {
    /// What a refusal means for budgets and rests; `messages` were answered on the connection before it.
    pub(super) fn heed(self: &Rc<Self>, pool: &Rc<Pool>, reaction: &Reaction, reply: &Reply, messages: u32) {
        let said = || reply.to_string();
        if reaction.passed {
            pool.budget.took(self.now());
            self.stir(&pool.budget);
        }
        if let Some(signal) = reaction.pace {
            // The one that was refused is among them, open or still being opened.
            let open = self.connections_counted(pool).saturating_sub(1);
            self.refused(&pool.budget, signal.signal(open, messages), &said());
        }
        if let Some(rest) = reaction.burns {
            let (source, provider) = (pool.key.source, pool.key.provider);
            self.suspend_source(pool, rest, &said());
            // One of many sites that have nothing in common does not speak for the others.
            if !pool.is_alone() {
                drop(self.shared.brain.tell(ToBrain::Burnt {
                    source,
                    provider,
                    rest,
                    said: clipped(&said()),
                }));
            }
        }
        if let Some(rest) = reaction.rests {
            self.suspend(pool, rest, &said());
        }
    }

    /// Connections of all paths that share the pool's budget, as the receiver may count them.
    fn connections_counted(&self, pool: &Pool) -> u32 {
        self.pools.of_budget(&pool.budget).iter().map(|pool| pool.counted()).sum()
    }

    /// When a recipient that was refused is tried again without an attempt counted; `None`: by the retry schedule.
    pub(super) fn waits_until(
        &self,
        pool: &Pool,
        ticket: Ticket,
        reaction: &Reaction,
        now: UnixMs,
    ) -> Option<UnixMs> {
        if let Some(trouble) = reaction.mailbox {
            return self.mailbox_in_trouble(ticket, trouble, now);
        }
        match reaction.fate {
            Fate::Hold(rest) => Some(now + rest),
            Fate::Wait => Some(pool.budget.rests_until(now).unwrap_or(now + SHORT_WAIT)),
            _ => None,
        }
    }
}

/// How long a recipient waits whose receiver asks for less when the budget needs no rest for it.
const SHORT_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
