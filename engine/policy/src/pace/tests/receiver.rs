//! A small receiver with hidden limits, and a sender that asks, obeys and tells a pacer, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::UnixMs;

use super::super::*;
use crate::Bucket;
use crate::source::mixed;

pub(super) const START: UnixMs = UnixMs(1_700_000_123_000);
const STEP_MS: u64 = 5;

/// Seeded randomness.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(mixed(seed))
    }

    /// A number from 0 to `below`, without it.
    fn throw(&mut self, below: u64) -> u64 {
        self.0 = mixed(self.0);
        self.0 % below
    }
}

/// A quota: so many in each window.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    pub(super) count: u64,
    pub(super) window: Duration,
    /// Windows begin with the first message, or at full hours and days.
    pub(super) is_of_clock: bool,
    began_ms: u64,
    used: u64,
}

impl Quota {
    pub(super) const fn new(count: u64, window: Duration, is_of_clock: bool) -> Self {
        Self { count, window, is_of_clock, began_ms: 0, used: 0 }
    }

    fn has_room(&mut self, now_ms: u64) -> bool {
        let window_ms = self.window.as_millis() as u64;
        if now_ms >= self.began_ms + window_ms {
            self.began_ms = if self.is_of_clock { now_ms - now_ms % window_ms } else { now_ms };
            self.used = 0;
        }
        self.used < self.count
    }
}

/// What a receiver hides.
#[derive(Clone, Debug)]
pub(super) struct Hidden {
    /// Messages a second, and how many seconds of it may come at once (at least one message).
    pub(super) rate: f64,
    pub(super) burst: f64,
    pub(super) quotas: Vec<Quota>,
    pub(super) connections: u32,
    pub(super) messages_per_connection: u32,
    /// Refusals within a minute that cost us our name: a tenth of the rate for ten minutes.
    pub(super) patience: Option<u32>,
    pub(super) tokens: f64,
    pub(super) filled_ms: u64,
    pub(super) refusals: (u64, u32),
    pub(super) angry_until_ms: u64,
}

impl Hidden {
    pub(super) fn rate(rate: f64, burst: f64) -> Self {
        Self {
            rate,
            burst,
            quotas: Vec::new(),
            connections: u32::MAX,
            messages_per_connection: u32::MAX,
            patience: None,
            tokens: (rate * burst).max(1.0),
            filled_ms: START.0,
            refusals: (0, 0),
            angry_until_ms: 0,
        }
    }

    /// Only quotas.
    pub(super) fn quotas(quotas: Vec<Quota>) -> Self {
        Self { quotas, ..Self::rate(1e6, 1.0) }
    }

    fn offer(&mut self, now_ms: u64) -> Option<Signal> {
        let is_angry = now_ms < self.angry_until_ms;
        let rate = if is_angry { self.rate / 10.0 } else { self.rate };
        // Messages overtake each other on the way.
        let now_ms = now_ms.max(self.filled_ms);
        let passed = (now_ms - self.filled_ms) as f64 / 1000.0;
        self.filled_ms = now_ms;
        self.tokens = (self.tokens + passed * rate).min((rate * self.burst).max(1.0));
        let has_room = self.quotas.iter_mut().all(|quota| quota.has_room(now_ms));
        if has_room && self.tokens >= 1.0 {
            self.tokens -= 1.0;
            self.quotas.iter_mut().for_each(|quota| quota.used += 1);
            return None;
        }
        let minute = now_ms / 60_000;
        let (at, count) = self.refusals;
        self.refusals = if at == minute { (at, count + 1) } else { (minute, 1) };
        if self.patience.is_some_and(|patience| self.refusals.1 > patience) {
            self.angry_until_ms = now_ms + 600_000;
        }
        Some(if is_angry { Signal::Reputation } else { Signal::Rate })
    }
}

/// What happened in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Minute {
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

struct Connection {
    messages: u32,
    free_at_ms: u64,
}

/// What is between sender and receiver.
#[derive(Default)]
struct Wire {
    connections: Vec<Connection>,
    next_open_ms: u64,
    replies: BTreeMap<(u64, u64), Option<Signal>>,
    sent: u64,
}

/// A sender with more mail than can leave.
pub(super) struct Scene {
    pub(super) pacer: Pacer,
    pub(super) hidden: Hidden,
    pub(super) now: UnixMs,
    /// Longest time that mail waits for; without it there is always more.
    pub(super) supply_per_second: Option<f64>,
    pub(super) minutes: Vec<Minute>,
    pub(super) changes: Vec<(u64, String)>,
    supply: f64,
    bucket: Option<Bucket>,
    limits: Limits,
    dice: Dice,
    wire: Wire,
    waited: bool,
    /// Nothing can be sent before.
    blocked_until: UnixMs,
    reply_ms: (u64, u64),
}

impl Scene {
    pub(super) fn new(caps: Caps, hidden: Hidden, seed: u64) -> Self {
        let pacer = Pacer::new(caps, START);
        let limits = pacer.limits();
        Self {
            pacer,
            hidden,
            now: START,
            supply_per_second: None,
            minutes: Vec::new(),
            changes: Vec::new(),
            supply: 0.0,
            bucket: limits.rate.map(Bucket::new),
            limits,
            dice: Dice::new(seed),
            wire: Wire::default(),
            waited: false,
            blocked_until: START,
            reply_ms: (50, 200),
        }
    }

    pub(super) fn seconds(&self) -> u64 {
        self.now.since(START).as_secs()
    }

    /// Goes on until so many minutes after the start.
    pub(super) fn run_to(&mut self, minute: u64) {
        while self.now < START + Duration::from_secs(minute * 60) {
            self.step();
        }
    }

    fn minute(&mut self) -> &mut Minute {
        let index = (self.seconds() / 60) as usize;
        self.minutes.resize((index + 1).max(self.minutes.len()), Minute::default());
        &mut self.minutes[index]
    }

    fn step(&mut self) {
        self.now = self.next();
        while let Some((&key, _)) = self.wire.replies.first_key_value()
            && key.0 <= self.now.0
        {
            let reply = self.wire.replies.remove(&key).expect("it was there");
            self.heard(reply);
        }
        if let Some(per_second) = self.supply_per_second {
            self.supply += per_second * STEP_MS as f64 / 1000.0;
        }
        while self.send() {}
        if (self.now.0 - START.0).is_multiple_of(1000) {
            self.tick();
        }
    }

    /// The next moment at which something may happen.
    fn next(&self) -> UnixMs {
        let next = UnixMs(self.now.0 + STEP_MS);
        if self.supply_per_second.is_some() {
            return next;
        }
        let tick = UnixMs(next.0 + (1000 - (next.0 - START.0) % 1000) % 1000);
        let reply = self.wire.replies.first_key_value().map_or(tick, |(key, _)| UnixMs(key.0));
        let free_ms =
            self.wire.connections.iter().map(|one| one.free_at_ms).filter(|&at| at > self.now.0).min();
        let free = UnixMs(free_ms.unwrap_or(u64::MAX));
        let quiet = tick.min(reply).min(free).min(self.blocked_until);
        UnixMs(quiet.0.next_multiple_of(STEP_MS)).max(next)
    }

    fn heard(&mut self, reply: Option<Signal>) {
        match reply {
            None => {
                self.minute().accepted += 1;
                self.pacer.took(self.now);
            }
            Some(signal) => {
                self.minute().refused += 1;
                self.supply += 1.0;
                let change = self.pacer.refused(signal, self.now);
                self.obey(change);
            }
        }
    }

    fn tick(&mut self) {
        let has_mail = self.supply_per_second.is_none() || self.supply >= 1.0;
        let demand = Demand {
            ready: if has_mail { 1000 } else { 0 },
            connections: self.wire.connections.len() as u32,
            waited_for_rate: std::mem::take(&mut self.waited),
        };
        let change = self.pacer.tick(demand, self.now);
        self.obey(change);
    }

    fn obey(&mut self, change: Option<Change>) {
        let limits = self.pacer.limits();
        if let Some(change) = change {
            self.changes.push((self.seconds(), change.to_string()));
        }
        match (limits.rate, &mut self.bucket) {
            _ if limits == self.limits => {}
            (Some(rate), Some(bucket)) => bucket.set_rate(rate),
            (rate, bucket) => *bucket = rate.map(Bucket::new),
        }
        self.limits = limits;
        let too_many = self.wire.connections.len().saturating_sub(limits.connections as usize);
        let mut left = too_many;
        self.wire.connections.retain(|one| {
            let closes = left > 0 && one.free_at_ms <= self.now.0;
            left -= usize::from(closes);
            !closes
        });
    }

    /// Sends one message, if one may go.
    fn send(&mut self) -> bool {
        let now_ms = self.now.0;
        let has_mail = self.supply_per_second.is_none() || self.supply >= 1.0;
        self.blocked_until = self.pacer.rests_until(self.now).unwrap_or(self.now);
        if !has_mail || self.blocked_until > self.now {
            return false;
        }
        let Some(connection) = self.free_connection() else { return false };
        if let Some(bucket) = &mut self.bucket
            && let Err(until) = bucket.take(self.now)
        {
            (self.waited, self.blocked_until) = (true, until);
            return false;
        }
        if self.supply_per_second.is_some() {
            self.supply -= 1.0;
        }
        let (least, most) = self.reply_ms;
        let delay_ms = least + self.dice.throw(most - least);
        let connection = &mut self.wire.connections[connection];
        connection.messages += 1;
        connection.free_at_ms = now_ms + delay_ms;
        let mut reply = self.hidden.offer(now_ms + delay_ms / 2);
        if connection.messages > self.hidden.messages_per_connection {
            reply = Some(Signal::Session { messages: connection.messages - 1 });
            connection.messages = u32::MAX;
        }
        self.wire.sent += 1;
        self.wire.replies.insert((now_ms + delay_ms, self.wire.sent), reply);
        true
    }

    fn free_connection(&mut self) -> Option<usize> {
        let now_ms = self.now.0;
        let most = self.limits.messages_per_connection;
        self.wire.connections.retain(|one| one.messages < most || one.free_at_ms > now_ms);
        let free = self.wire.connections.iter().position(|one| one.free_at_ms <= now_ms);
        if free.is_some() || self.wire.connections.len() >= self.limits.connections as usize {
            return free;
        }
        if now_ms < self.wire.next_open_ms {
            return None;
        }
        if self.wire.connections.len() >= self.hidden.connections as usize {
            self.wire.next_open_ms = now_ms + 100;
            self.minute().refused += 1;
            let open = self.wire.connections.len() as u32;
            let change = self.pacer.refused(Signal::Connections { open }, self.now);
            self.obey(change);
            return None;
        }
        // It is made within a round trip or two.
        self.wire.connections.push(Connection { messages: 0, free_at_ms: now_ms + 100 });
        None
    }

    /// Accepted a second and the part of the attempts that was refused, from minute to minute.
    pub(super) fn figures(&self, from: usize, to: usize) -> (f64, f64) {
        let minutes = &self.minutes[from.min(self.minutes.len())..to.min(self.minutes.len())];
        let accepted: u64 = minutes.iter().map(|minute| minute.accepted).sum();
        let refused: u64 = minutes.iter().map(|minute| minute.refused).sum();
        let seconds = (to - from) as f64 * 60.0;
        (accepted as f64 / seconds, refused as f64 / (accepted + refused).max(1) as f64)
    }
}
