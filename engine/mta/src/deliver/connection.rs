//! The life of one connection: open, take recipients from its path as long as there are any, wait a while, say QUIT.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use mail::{Reply, UnixMs};
use policy::verdict::Fault;
use queue::{FlowKey, Pull, Ticket};
use smtp::client::{ClientEvent, ClientFault, Obstacle};
use tokio::sync::Notify;

use super::flight::{Flight, Tickets};
use super::job::{Job, SPARE_BYTES_MAX, Scratch, SevenBit};
use super::open::{Connected, OpenFault, has_another_host, has_host, open};
use super::pool::Pool;
use super::refusal;
use crate::io;
use crate::shard::{RECORDING_TICK, Receipt, Recording, Shard};

/// How long the word that outcomes are written is waited for before looking for oneself.
const WRITTEN_PATIENCE: Duration = Duration::from_millis(5);
/// How long a path rests when a login was refused: servers lock accounts that are tried too often.
const LOGIN_REST: Duration = Duration::from_secs(15 * 60);
/// Refused transactions after which a connection is given up for a new one: servers count errors, and the RSET behind each,
/// and cut off who has too many (Exim after 10, Postfix after 20), in the middle of whatever is under way.
const REFUSED_MAX: u32 = 8;
/// A rest of the path during which its connections are kept.
const SHORT_REST: Duration = Duration::from_secs(5);
/// How long the answer to QUIT is waited for.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// One open connection at work.
pub(super) struct Connection {
    pub(super) shard: Rc<Shard>,
    pub(super) pool: Rc<Pool>,
    pub(super) connected: Connected,
    /// Transactions under way, oldest first.
    pub(super) flights: VecDeque<Flight>,
    /// Transactions with outcomes that are not written yet where they belong, and the receipt of the last of these.
    pub(super) unwritten: Vec<(u64, Receipt)>,
    /// Messages begun.
    begun: u32,
    /// Transactions of which a recipient was answered by a server that went on listening.
    pub(super) heard: u32,
    /// Transactions that ended before their message was judged.
    refused: u32,
    /// The server has said that it ends the session.
    pub(super) hung_up: bool,
    wake: Rc<Notify>,
    scratch: Scratch,
    replies: Vec<u8>,
    /// Nothing more is begun on this connection.
    pub(super) closing: bool,
}

/// What to do when no transaction is under way.
enum Next {
    Idle,
    /// Outcomes are to be written first.
    Unwritten,
    Quit,
}

/// Opens a connection for `pool` and works with it until it is not needed any more.
pub(super) async fn live(shard: Rc<Shard>, pool: Rc<Pool>) {
    let mut seat = Seat { shard: Rc::clone(&shard), pool: Rc::clone(&pool), is_open: false };
    match open(&shard, &pool).await {
        Ok(connected) => {
            seat.opened();
            work(Rc::clone(&shard), Rc::clone(&pool), connected).await;
        }
        Err(OpenFault::Refused(phase, reply)) => refusal::heed(&shard, &pool, phase, &reply).await,
        Err(OpenFault::NoLogin(reply)) => {
            let why = format!("login refused: {reply}");
            tracing::warn!(site = pool.destination().site_name(), why, "an account of ours is not taken");
            shard.suspend(&pool, LOGIN_REST, &why);
        }
        Err(OpenFault::Failed(_, why)) => shard.rest(&pool, &why),
    }
    drop(seat);
    shard.dispatch(pool.path);
    shard.dispatch_wanting();
}

/// The place that a connection takes, given back however it ends.
struct Seat {
    shard: Rc<Shard>,
    pool: Rc<Pool>,
    is_open: bool,
}

impl Seat {
    fn opened(&mut self) {
        self.is_open = true;
        self.pool.count_open();
        self.shard.counters.outbound_connections.add(1);
        self.shard.counters.outbound_open.add(1);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.count_closed(self.is_open);
        if self.is_open {
            self.shard.counters.outbound_open.sub(1);
        }
        // It is borrowed only when a panic has ended the queue's own work.
        if let Ok(mut queue) = self.shard.queue.try_borrow_mut() {
            queue.connection_closed(self.pool.path);
        }
    }
}

async fn work(shard: Rc<Shard>, pool: Rc<Pool>, connected: Connected) {
    let mut connection = Connection {
        shard,
        pool,
        connected,
        flights: VecDeque::new(),
        unwritten: Vec::new(),
        begun: 0,
        heard: 0,
        refused: 0,
        hung_up: false,
        wake: Rc::new(Notify::new()),
        scratch: Scratch::default(),
        replies: Vec::new(),
        closing: false,
    };
    loop {
        let next = connection.fill().await;
        if connection.flights.is_empty() {
            match next {
                Next::Idle if connection.wait_idle().await => continue,
                Next::Unwritten => {
                    connection.wait_written().await;
                    continue;
                }
                Next::Idle | Next::Quit => return connection.quit().await,
            }
        }
        if let Err((fault, why)) = connection.turn().await {
            return connection.lost(fault, &why).await;
        }
    }
}

impl Connection {
    /// Begins as many transactions as the client takes and the path gives.
    async fn fill(&mut self) -> Next {
        loop {
            let limit = self.pool.budget.limits();
            let client = &self.connected.client;
            let is_used_up = self.begun >= limit.messages_per_connection.max(1) || client.is_spent();
            if self.closing || is_used_up || client.is_over() || self.shard.is_stopping() {
                return Next::Quit;
            }
            if !client.ready() {
                return Next::Idle;
            }
            self.unwritten.retain(|(_, receipt)| !self.shard.is_written(*receipt));
            if self.flights.len() + self.unwritten.len() >= self.depth(limit.pipeline_depth) {
                return Next::Unwritten;
            }
            let now = self.shard.now();
            let pulled = self.shard.queue.borrow_mut().pull(self.pool.path, now);
            match pulled {
                Pull::Ticket(ticket, flow) => {
                    if let Err(until) = self.shard.take_of_identity(&self.pool, flow) {
                        self.shard.rest_identity(&self.pool, (ticket, flow), until).await;
                        continue;
                    }
                    if let Some(next) = self.take(ticket, flow, now).await {
                        return next;
                    }
                }
                Pull::Empty => return Next::Idle,
                // It goes on soon: a new connection would burden the receiver more than this one.
                Pull::Suspended(until) if until.since(now) <= SHORT_REST => {
                    self.shard.arm(&self.pool, until);
                    return Next::Idle;
                }
                // An idle connection would keep a place that other paths of the provider may need.
                Pull::Yield | Pull::Suspended(_) => return Next::Quit,
                Pull::Wait(until) => {
                    self.shard.arm(&self.pool, until);
                    return Next::Idle;
                }
            }
        }
    }

    /// How many transactions may be under way: fewer once some were refused, so that those under way cannot bring the
    /// refused ones beyond what servers bear.
    fn depth(&self, limit: u16) -> usize {
        let most = if self.refused == 0 { u32::MAX } else { REFUSED_MAX.saturating_sub(self.refused) };
        usize::from(limit).min(most as usize).max(1)
    }

    /// Begins with a recipient, unless its outcome could not be recorded.
    async fn take(&mut self, ticket: Ticket, flow: FlowKey, now: UnixMs) -> Option<Next> {
        match self.shard.shared.recordings.of(ticket.id.0.shard()) {
            Recording::Works => {
                self.begin(ticket, flow, now).await;
                None
            }
            Recording::Waits => {
                self.shard.put_back(&self.pool, flow, ticket).await;
                self.shard.arm(&self.pool, now + RECORDING_TICK);
                Some(Next::Idle)
            }
        }
    }

    /// Puts one message on the wire, for all that wait for it together, or ends it when this server cannot be given it.
    async fn begin(&mut self, ticket: Ticket, flow: FlowKey, now: UnixMs) {
        // More may be waiting than this connection takes: let another begin too.
        self.shard.dispatch_at(self.pool.path, now);
        self.begun += 1;
        let mut job = match Job::read(&self.shard, ticket) {
            Ok(job) => job,
            Err(reply) => return self.never_sent(ticket, reply).await,
        };
        let is_held = self.shard.held_until(job.identity(), &self.pool.destination(), now).is_some();
        if is_held || self.shard.is_halted(flow) {
            // Its token of the rate is free again.
            self.shard.queue.borrow_mut().unused(self.pool.path);
            self.shard.leaves(self.pool.key, ticket, flow);
            return self.shard.schedule_home(ticket).await;
        }
        if let Some(until) = self.shard.mailbox_rests(job.address()) {
            self.shard.queue.borrow_mut().unused(self.pool.path);
            let address = job.address().to_owned();
            return self.shard.wait_for_mailbox(&self.pool, (ticket, flow), &address, until).await;
        }
        job.gather(&self.shard, &self.pool, flow, self.recipients_max(now));
        let seven_bit = match self.connected.client.capabilities().eight_bit_mime {
            true => SevenBit::NotNeeded,
            false => SevenBit::Needed,
        };
        let unsigned = match job.render(&self.shard, &mut self.scratch, seven_bit, now) {
            Ok(unsigned) => unsigned,
            Err(reply) => return self.unsendable(job, reply).await,
        };
        if !unsigned.is_empty() {
            let signed = self.shard.pools.desk.sign(unsigned, flow.class).await;
            self.scratch.join(&signed);
        }
        self.send(job, flow).await;
        self.scratch.give_back();
    }

    /// How many recipients a transaction may have here.
    fn recipients_max(&self, now: UnixMs) -> usize {
        let limit = self.pool.budget.limits();
        let offered = self.connected.client.capabilities().recipients_max.unwrap_or(u32::MAX);
        usize::from(limit.recipients_per_message.min(self.pool.abilities.recipients_max(now)))
            .min(offered as usize)
    }

    async fn send(&mut self, mut job: Job, flow: FlowKey) {
        let line = self.connected.client.transmit();
        if line.capacity() == 0 {
            *line = io::borrow_line();
        }
        loop {
            let unsendable = match job.begin(&mut self.connected.client, &self.scratch) {
                Ok((transaction, bytes)) => {
                    // Its signature may have taken a while.
                    let now = self.shard.now();
                    self.shard.counters.bytes_out.add(bytes);
                    self.shard.queue.borrow_mut().charge(self.pool.path, bytes, now);
                    let (tickets, text) = job.into_parts();
                    self.connected.fill_gap(|| text.into_body(&mut self.scratch));
                    return self.flights.push_back(Flight::new(transaction, flow, tickets, now));
                }
                Err(unsendable) => unsendable,
            };
            // It may be for one of them only that the server cannot be given it: each goes by itself, the first at once.
            let others = match unsendable.what {
                Obstacle::Recipient => job.leave_first(),
                Obstacle::Promise => return self.unpromised(job, flow, unsendable.reply).await,
                Obstacle::Message => Vec::new(),
            };
            if others.is_empty() {
                return self.unsendable(job, unsendable.reply).await;
            }
            for ticket in others.into_iter().rev() {
                self.shard.put_back_along(&self.pool, flow, ticket).await;
            }
        }
    }

    /// This server cannot be given the message.
    async fn unsendable(&mut self, job: Job, reply: Reply) {
        for ticket in job.into_parts().0 {
            self.never_sent(ticket, reply.clone()).await;
        }
    }

    /// This server does not keep the promise that the message asks for: the site's others are tried, at once or when they
    /// are back; when none of them keeps it, the message has come to its end (RFC 8689 section 4.2.1).
    async fn unpromised(&mut self, job: Job, flow: FlowKey, reply: Reply) {
        let (address, now) = (self.connected.address, self.shard.now());
        self.closing = true;
        self.pool.avoided.add(address, now);
        // In clear only because its TLS was broken lately: it may keep the promise yet.
        if !self.pool.abilities.broken_tls.holds(address, now) {
            self.pool.abilities.without_promise.add(address, now);
        }
        let without = &self.pool.abilities.without_promise;
        if !has_host(&self.shard, &self.pool, |address| !without.holds(address, now)) {
            return self.unsendable(job, reply).await;
        }
        let another = has_another_host(&self.shard, &self.pool);
        for ticket in job.into_parts().0.into_iter().rev() {
            match another {
                true => self.shard.put_back(&self.pool, flow, ticket).await,
                false => self.defer(ticket, reply.clone()).await,
            }
        }
    }

    /// Sends, reads, and works what the server said.
    async fn turn(&mut self) -> Result<(), (Fault, String)> {
        self.connected.exchange(&mut self.replies).await?;
        while let Some(event) = self.connected.client.poll() {
            match event {
                ClientEvent::Recipient { transaction, index, phase, reply } => {
                    self.answered((transaction, index), phase, reply).await;
                }
                ClientEvent::Untried { transaction, index, .. } => self.untried((transaction, index)).await,
                ClientEvent::Done { transaction } => self.done(transaction).await,
                ClientEvent::Refused { reply, .. } => {
                    self.hung_up = true;
                    return Err((Fault::ConnectionLost, format!("the server ended the session: {reply}")));
                }
                ClientEvent::Fault(fault) => {
                    if let ClientFault::NoChunking(_) = fault {
                        self.pool.abilities.without_chunking.add(self.connected.address, self.shard.now());
                        // The next connection does better: it is no failure of the site.
                        self.heard += 1;
                    }
                    return Err((Fault::Protocol, fault.to_string()));
                }
                ClientEvent::Ready | ClientEvent::StartTls => {}
            }
        }
        Ok(())
    }

    /// A transaction is over.
    async fn done(&mut self, transaction: u64) {
        self.shard.counters.transactions_out.add(1);
        let place = self.flights.iter().position(|flight| flight.transaction == transaction);
        let Some(mut flight) = place.and_then(|place| self.flights.remove(place)) else { return };
        self.refused += u32::from(!flight.was_judged);
        self.closing |= self.refused >= REFUSED_MAX;
        // The client has told of all; should it ever forget one, that one is not forgotten here.
        let forgotten: Tickets = flight.waiting().collect();
        debug_assert!(forgotten.is_empty(), "a transaction is done when all its recipients are told");
        for ticket in forgotten {
            self.shard.put_back(&self.pool, flight.flow, ticket).await;
        }
    }

    /// Waits until outcomes are written on other shards: what a crash may repeat stays within the pipeline's depth.
    async fn wait_written(&self) {
        let told = self.shard.bells.written.notified();
        // Told or not, it looks again.
        let _ = tokio::time::timeout(WRITTEN_PATIENCE, told).await;
    }

    /// Waits for work; false when the connection is not needed any more or the server has closed it.
    async fn wait_idle(&mut self) -> bool {
        if self.shard.is_stopping() {
            return false;
        }
        self.connected.shrink(SPARE_BYTES_MAX);
        self.replies.shrink_to(SPARE_BYTES_MAX);
        self.pool.put_idle(&self.wake);
        let timeout = self.shard.shared.config.deliver.idle_timeout;
        self.connected.watch.clear();
        // A server that speaks or closes while nothing is asked of it wants no more mail on this connection. The read is
        // taken up again by the next exchange.
        self.replies.clear();
        let woken = tokio::select! {
            biased;
            _ = self.connected.stream.read(&mut self.replies) => false,
            () = self.wake.notified() => true,
            () = tokio::time::sleep(timeout) => false,
        };
        if !woken && !self.pool.take_idle(&self.wake) {
            // Somebody has given it work in the same moment: that goes to another connection.
            self.shard.dispatch(self.pool.path);
        }
        woken && !self.shard.is_stopping()
    }

    async fn quit(mut self) {
        self.connected.client.quit();
        self.connected.watch.extend(QUIT_TIMEOUT);
        if self.connected.stream.write_all(self.connected.client.transmit()).await.is_err() {
            return;
        }
        // The answer to QUIT changes nothing. The server counts the connection until it closes it: a new one before that
        // may be one too many.
        loop {
            self.replies.clear();
            if !matches!(self.connected.stream.read(&mut self.replies).await, Ok(1..)) {
                return;
            }
        }
    }
}
