//! One pretend provider: what it remembers of those who send to it, and how it answers them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mail::{Address, Reply, UnixMs};
use policy::Bucket;

use crate::chance::{number, portion};
use crate::file::{Outage, Settings};
use crate::units::Span;
use crate::words::{Cause, Names, fill, template};

/// Triplets of source, sender and recipient that are remembered, at most.
const TRIPLETS_MAX: usize = 1 << 20;
/// Source addresses that are remembered, at most.
const SOURCES_MAX: usize = 1 << 16;

/// What a provider has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Recipients whose message was taken.
    pub accepted: u64,
    /// Recipients put off: answered with a 4yz, or a message that had to wait for another session.
    pub deferred: u64,
    /// Recipients refused for good.
    pub refused: u64,
    /// Messages taken.
    pub messages: u64,
    /// Bytes of the messages taken.
    pub bytes: u64,
    /// Connections let in since the beginning.
    pub connections: u64,
    /// Connections turned away.
    pub turned_away: u64,
    /// Connections open now.
    pub open: u32,
    /// The most that were open at the same time.
    pub open_peak: u32,
}

/// What it knows of a source address.
#[derive(Debug, Default)]
struct Source {
    open: u32,
    bucket: Option<Bucket>,
}

/// A pretend provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    seed: u64,
    /// Answers given: the chance of the next depends on it.
    answers: u64,
    sources: BTreeMap<IpAddr, Source>,
    /// When a greylisted triplet was first seen.
    triplets: BTreeMap<u64, UnixMs>,
}

impl Provider {
    pub(crate) fn new(settings: Settings, seed: u64) -> Self {
        let seed = number(seed, &[settings.name.as_bytes()]);
        Self {
            settings,
            counters: Counters::default(),
            seed,
            answers: 0,
            sources: BTreeMap::new(),
            triplets: BTreeMap::new(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        self.settings.host.as_deref().unwrap_or("mx.world.test")
    }

    /// Lets a connection in.
    pub(crate) fn open(&mut self, ip: IpAddr) -> Result<(), Cause> {
        self.make_room();
        let source = self.sources.entry(ip).or_default();
        if self.settings.connections.is_some_and(|max| source.open >= max) {
            self.counters.turned_away += 1;
            return Err(Cause::TooManyConnections);
        }
        source.open += 1;
        self.counters.connections += 1;
        self.counters.open += 1;
        self.counters.open_peak = self.counters.open_peak.max(self.counters.open);
        Ok(())
    }

    /// Forgets sources without connections when there are too many: their buckets are full again by then, or nearly.
    fn make_room(&mut self) {
        if self.sources.len() >= SOURCES_MAX {
            self.sources.retain(|_, source| source.open > 0);
        }
    }

    pub(crate) fn close(&mut self, ip: IpAddr) {
        if let Some(source) = self.sources.get_mut(&ip) {
            source.open = source.open.saturating_sub(1);
        }
        self.counters.open = self.counters.open.saturating_sub(1);
    }

    /// Whether it is out of order, `age` after the beginning of the world.
    pub(crate) fn check_order(&self, age: Duration) -> Result<(), Cause> {
        let is_out = |outage: &Outage| {
            let Some(since) = age.checked_sub(outage.after.0) else { return false };
            let into = match outage.every {
                Some(Span(every)) if !every.is_zero() => remainder(since, every),
                _ => since,
            };
            into < outage.lasts.0
        };
        if self.settings.outages.iter().any(is_out) { Err(Cause::Outage) } else { Ok(()) }
    }

    /// Whether one more message may be sent in a session that has had `messages`.
    pub(crate) fn check_session(&self, messages: u32) -> Result<(), Cause> {
        let is_over = self.settings.messages_per_connection.is_some_and(|max| messages >= max);
        if is_over { Err(Cause::TooManyMessages) } else { Ok(()) }
    }

    /// Whether a recipient is taken, after `recipients` others of the same message.
    pub(crate) fn check_recipient(
        &mut self,
        ip: IpAddr,
        sender: &str,
        (recipient, recipients): (&Address, u32),
        now: UnixMs,
    ) -> Result<(), Cause> {
        if self.settings.recipients_per_message.is_some_and(|max| recipients >= max) {
            return Err(Cause::TooManyRecipients);
        }
        self.check_rate(ip, now)?;
        self.check_mailbox(recipient, now)?;
        self.check_greylist(ip, sender, recipient, now)
    }

    fn check_rate(&mut self, ip: IpAddr, now: UnixMs) -> Result<(), Cause> {
        let Some(rate) = self.settings.rate else { return Ok(()) };
        let source = self.sources.entry(ip).or_default();
        let bucket = source.bucket.get_or_insert_with(|| Bucket::new(rate.0));
        bucket.take(now).map_err(|_| Cause::TooFast)
    }

    fn check_mailbox(&self, recipient: &Address, now: UnixMs) -> Result<(), Cause> {
        let local = recipient.local().to_lowercase();
        let chance =
            |kind: &[u8]| portion(self.seed, &[kind, local.as_bytes(), recipient.domain().as_bytes()]);
        let mailboxes = &self.settings.mailboxes;
        if local.starts_with("unknown") || chance(b"unknown") < mailboxes.unknown.0 {
            return Err(Cause::UnknownUser);
        }
        let may_be_full = local.starts_with("full") || chance(b"full") < mailboxes.full.0;
        if may_be_full && self.is_full(chance(b"since"), now) {
            return Err(Cause::MailboxFull);
        }
        Ok(())
    }

    /// A mailbox that may be full is full and emptied in turn; `phase` tells how far it is in that.
    fn is_full(&self, phase: f64, now: UnixMs) -> bool {
        let Some(Span(full_for)) = self.settings.mailboxes.full_for else { return true };
        let full_for_ms = full_for.as_millis().max(1) as u64;
        let offset_ms = (phase * 2.0 * full_for_ms as f64) as u64;
        (now.0 + offset_ms) % (2 * full_for_ms) < full_for_ms
    }

    fn check_greylist(
        &mut self,
        ip: IpAddr,
        sender: &str,
        recipient: &Address,
        now: UnixMs,
    ) -> Result<(), Cause> {
        let Some(greylist) = self.settings.greylist else { return Ok(()) };
        let ip = ip.to_string();
        let words: [&[u8]; 3] = [ip.as_bytes(), sender.as_bytes(), recipient.as_str().as_bytes()];
        if portion(self.seed, &words) >= greylist.share.0 {
            return Ok(());
        }
        if self.triplets.len() >= TRIPLETS_MAX {
            self.triplets.pop_first();
        }
        let first = *self.triplets.entry(number(self.seed ^ 1, &words)).or_insert(now);
        if now.since(first) < greylist.delay.0 { Err(Cause::Greylisted) } else { Ok(()) }
    }

    /// Whether a message is taken.
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), Cause> {
        let content = &self.settings.content;
        let has = |word: &String| memchr::memmem::find(body, word.as_bytes()).is_some();
        let by_chance = portion(self.seed, &[b"content", &self.answers.to_le_bytes()]) < content.refused.0;
        if by_chance || content.refused_words.iter().any(has) { Err(Cause::ContentRefused) } else { Ok(()) }
    }

    /// What it says for a cause.
    pub(crate) fn words(&self, cause: Cause, ip: IpAddr, recipient: Option<&Address>) -> Reply {
        let ip = ip.to_string();
        let names = Names { ip: &ip, host: self.host(), to: recipient.map_or("", Address::as_str) };
        let own = self.settings.replies.get(&cause);
        let template = own.map_or_else(|| template(self.settings.manner, cause), String::as_str);
        fill(template, names).expect("templates were checked when the world was made")
    }

    /// How long the next answer takes, with its share of chance.
    pub(crate) fn delay(&mut self, base: Span) -> Duration {
        self.answers += 1;
        let chance = portion(self.seed, &[b"delay", &self.answers.to_le_bytes()]);
        let factor = 1.0 + self.settings.latency.jitter.0 * (2.0 * chance - 1.0);
        base.0.mul_f64(factor)
    }
}

fn remainder(age: Duration, every: Duration) -> Duration {
    let nanos = age.as_nanos() % every.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
