//! From a recipient that is due to the path it takes: domain → destination → source → shard of the path. Keeps what
//! DNS said for its time, and never waits for it: recipients of an unknown domain wait apart.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mail::{Class, Disposition, RecipientId, TlsWish, UnixMs};
use policy::retry::next_attempt;
use policy::verdict::judge_network;
use queue::{FlowKey, PathId, PathKey, Queue, Ticket};
use rustc_hash::FxHashMap;

use super::{Conclusion, Ready, Shard, ToShard, book};
use crate::control::destination::{Destination, Unroutable, by_addresses};
use crate::holds::{Hold, Receiver};
use crate::io;

/// How long a failed look-up answers for its domain.
const FAULT_TTL: Duration = Duration::from_secs(30);
/// How many domains are remembered; when there are more, all are forgotten and asked again.
const KNOWN_MAX: usize = 200_000;

/// What the shard knows of domains, apart for mail that wants to arrive whatever they publish about TLS.
#[derive(Default)]
pub(crate) struct Routes {
    heeding: Ways,
    regardless: Ways,
}

/// Where domains lead.
#[derive(Default)]
struct Ways {
    known: RefCell<FxHashMap<Box<str>, Known>>,
    /// Recipients that wait for the answer for their domain.
    asked: RefCell<FxHashMap<Box<str>, Vec<Ticket>>>,
}

#[derive(Clone)]
enum Known {
    Found(Arc<Destination>),
    Not(Arc<Unroutable>, UnixMs),
}

impl Routes {
    fn of(&self, wish: TlsWish) -> &Ways {
        if wish == TlsWish::NotRequired { &self.regardless } else { &self.heeding }
    }

    /// Recipients that wait for DNS.
    pub(crate) fn waiting(&self) -> u64 {
        self.heeding.waiting() + self.regardless.waiting()
    }

    /// Whether a recipient waits for what DNS says of its domain.
    pub(crate) fn asks_for(&self, id: RecipientId, domain: &str) -> bool {
        self.heeding.asks_for(id, domain) || self.regardless.asks_for(id, domain)
    }
}

impl Ways {
    fn lookup(&self, domain: &str, now: UnixMs) -> Option<Known> {
        let known = self.known.borrow();
        let entry = known.get(domain)?;
        let fresh = match entry {
            Known::Found(destination) => destination.expires > now,
            Known::Not(_, until) => *until > now,
        };
        fresh.then(|| entry.clone())
    }

    fn remember(&self, domain: &str, entry: Known) {
        let mut known = self.known.borrow_mut();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(domain.into(), entry);
    }

    fn waiting(&self) -> u64 {
        self.asked.borrow().values().map(|tickets| tickets.len() as u64).sum()
    }

    fn asks_for(&self, id: RecipientId, domain: &str) -> bool {
        let asked = self.asked.borrow();
        asked.get(domain).is_some_and(|tickets| tickets.iter().any(|ticket| ticket.id == id))
    }
}

impl Shard {
    /// Brings a due recipient to its path, or lets it wait for DNS.
    pub(crate) async fn route(
        self: &Rc<Self>,
        ticket: Ticket,
        flow: FlowKey,
        identity: &str,
        domain: &str,
        wish: TlsWish,
    ) {
        let now = self.now();
        match self.known_or_literal(domain, wish, now) {
            Some(Known::Found(destination)) => self.to_path(ticket, flow, identity, destination).await,
            Some(Known::Not(fault, _)) => self.not_routed(ticket, &fault).await,
            None => self.ask(domain, wish, ticket),
        }
    }

    fn known_or_literal(&self, domain: &str, wish: TlsWish, now: UnixMs) -> Option<Known> {
        let ways = self.routes.of(wish);
        if let Some(known) = ways.lookup(domain, now) {
            return Some(known);
        }
        let found = Known::Found(Arc::new(by_addresses(&self.shared.config, domain, now)?));
        ways.remember(domain, found.clone());
        Some(found)
    }

    /// Until when mail of `identity` waits because the receiver refuses it by a fault of our own, if it does.
    pub(crate) fn held_until(
        &self,
        identity: &str,
        destination: &Destination,
        now: UnixMs,
    ) -> Option<UnixMs> {
        let hold = self.shared.condition.holds.find(identity, Receiver::of(destination), now);
        hold.map(|hold| hold.until)
    }

    /// Where mail for `domain` leads, as far as this shard knows the domain.
    pub(crate) fn destination_of(&self, domain: &str, wish: TlsWish) -> Option<Arc<Destination>> {
        match self.known_or_literal(domain, wish, self.now())? {
            Known::Found(destination) => Some(destination),
            Known::Not(..) => None,
        }
    }

    /// What holds mail of `identity` for `domain`, as far as this shard knows the domain.
    pub(crate) fn hold_on(&self, identity: &str, domain: &str) -> Option<Hold> {
        match self.routes.heeding.lookup(domain, self.now())? {
            Known::Found(destination) => {
                self.shared.condition.holds.find(identity, Receiver::of(&destination), self.now())
            }
            Known::Not(..) => None,
        }
    }

    /// Puts a recipient into its flow on one of this shard's paths.
    pub(crate) fn enqueue(self: &Rc<Self>, ready: Ready) {
        let Ready { ticket, flow, source, destination } = ready;
        let now = self.now();
        let key = PathKey { source, provider: destination.provider.0, site: destination.site };
        if self.is_burnt(key) {
            // It was refused while the recipient was on its way.
            return self.turn_back(key, ticket, flow);
        }
        let (path, refused) = {
            let mut queue = self.queue.borrow_mut();
            let path = self.path_of(&mut queue, key, &destination);
            (path, queue.enqueue(path, flow, ticket, now).err())
        };
        match refused {
            None => {}
            Some(queue::Refused::Full(ticket)) => return self.come_back(ticket, flow),
            Some(refused) => return self.cancel(refused.ticket()),
        }
        self.bells.waiting.notify_one();
        let pool = self.aim(path, key, destination);
        self.stir(&pool.budget);
        if ticket.class == Class::Critical {
            self.dispatch_critical(path);
        }
        // This path, and any other that is to make room for it.
        self.dispatch_wanting();
    }

    /// The path of `key`, made if need be under the limits of its provider; its budget knows them better.
    fn path_of(&self, queue: &mut Queue, key: PathKey, destination: &Destination) -> PathId {
        let limits = self.shared.config.providers[destination.provider].limits;
        if destination.is_alone() { queue.path_alone(key, limits) } else { queue.path(key, limits) }
    }

    /// Asks the control runtime for a destination; one question per domain at a time.
    fn ask(self: &Rc<Self>, domain: &str, wish: TlsWish, ticket: Ticket) {
        let mut asked = self.routes.of(wish).asked.borrow_mut();
        if let Some(waiting) = asked.get_mut(domain) {
            waiting.push(ticket);
            return;
        }
        asked.insert(domain.into(), vec![ticket]);
        let (shared, shard, domain) =
            (Arc::clone(&self.shared), usize::from(self.index), Box::<str>::from(domain));
        self.shared.control.spawn(async move {
            let (of, name) = (Arc::clone(&shared), domain.clone());
            // In a task of its own: whoever waits is answered even if it fails.
            let asked = tokio::spawn(async move { of.destinations.find(&name, wish, of.clock.now()).await });
            let answer = asked.await.unwrap_or_else(|_| Err(Unroutable::failed()));
            let mut message = ToShard::Call(Box::new(move |shard| {
                drop(io::spawn(answered(Rc::clone(shard), domain, wish, answer)))
            }));
            while let Err(back) = shared.shards[shard].try_send(message) {
                if shared.shards[shard].is_closed() {
                    return;
                }
                message = back;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    async fn not_routed(self: &Rc<Self>, ticket: Ticket, fault: &Unroutable) {
        let now = self.now();
        let disposition = if fault.temporary { Disposition::Deferred } else { Disposition::Bounced };
        let mut outcome = book::without_attempt(now, disposition, fault.reply.clone());
        judge_network(fault.fault).class.clone_into(&mut outcome.verdict);
        if fault.temporary {
            outcome.attempt = ticket.attempts.saturating_add(1);
            let schedule = &self.shared.config.class(ticket.class).retry;
            outcome.next_attempt = Some(next_attempt(schedule, outcome.attempt, now, ticket.id.raw()));
        }
        self.conclude(Conclusion { ticket, outcome }).await;
    }
}

/// DNS has answered: everybody who waited for the domain goes on.
async fn answered(
    shard: Rc<Shard>,
    domain: Box<str>,
    wish: TlsWish,
    answer: Result<Destination, Unroutable>,
) {
    let known = match answer {
        Ok(destination) => Known::Found(Arc::new(destination)),
        Err(fault) => Known::Not(Arc::new(fault), shard.now() + FAULT_TTL),
    };
    let ways = shard.routes.of(wish);
    ways.remember(&domain, known);
    let waiting = ways.asked.borrow_mut().remove(&domain).unwrap_or_default();
    for ticket in waiting {
        shard.start(ticket).await;
    }
}
