//! One connection to the world, from the greeting to the end, and what it is answered at each step.

use std::net::IpAddr;

use mail::{Address, Enhanced, Reply, ReversePath, UnixMs};

use crate::units::Span;
use crate::words::{Cause, Names, fill, template};
use crate::{Answer, Manner, ProviderIndex, World};

/// Recipients of one message, at most, whatever the providers allow.
const RECIPIENTS_MAX: usize = 10_000;

/// What a provider has had over one connection.
#[derive(Clone, Copy, Debug)]
struct Guest {
    provider: ProviderIndex,
    messages: u32,
    /// Of the message under way.
    recipients: u32,
}

/// A connection to a world. Give it back to [`Connection::end`]: while it lives, it counts as open.
#[derive(Debug)]
#[must_use = "a connection counts as open until it is ended"]
pub struct Connection {
    ip: IpAddr,
    /// The provider whose server it is, when it is one's own.
    host: Option<ProviderIndex>,
    guests: Vec<Guest>,
    /// The sender of the message under way.
    sender: Option<String>,
    /// Whose the recipients taken so far are.
    recipients: Vec<ProviderIndex>,
}

pub(crate) fn connect(
    world: &mut World,
    host: Option<ProviderIndex>,
    ip: IpAddr,
    now: UnixMs,
) -> (Connection, Answer) {
    let mut connection = Connection { ip, host, guests: Vec::new(), sender: None, recipients: Vec::new() };
    world.age(now);
    let Some(provider) = host else {
        let reply = Reply::new(220, "mx.world.test ESMTP ready");
        return (connection, Answer { reply, delay: std::time::Duration::ZERO, close: false, cause: None });
    };
    let verdict = connection.enter(world, provider, now).map(|_| ());
    let banner = world.provider_mut(provider).settings.latency.banner;
    let mut answer = connection.answer(world, provider, (banner, None), verdict);
    if answer.cause.is_some() {
        // Whatever the reason, a server that greets with a refusal says 421 and goes (RFC 5321 section 3.8).
        answer.reply.code = 421;
        answer.close = true;
    } else {
        answer.reply = Reply::new(220, format!("{} ESMTP ready", world.host(provider)));
    }
    (connection, answer)
}

impl Connection {
    /// MAIL: begins a message.
    pub fn mail(&mut self, world: &mut World, sender: &ReversePath, now: UnixMs) -> Answer {
        self.reset();
        if let Some(provider) = self.host {
            let verdict = self.check_session(world, provider, now);
            if verdict.is_err() {
                world.provider_mut(provider).counters.deferred += 1;
                return self.command_answer(world, provider, None, verdict);
            }
        }
        self.sender = Some(sender.as_ref().map_or_else(String::new, |sender| sender.as_str().to_lowercase()));
        let ok = Reply::enhanced(250, Enhanced(2, 1, 0), "sender ok");
        match self.host {
            Some(provider) => Answer { reply: ok, ..self.command_answer(world, provider, None, Ok(())) },
            None => plain(ok),
        }
    }

    /// RCPT: one recipient of the message under way.
    pub fn rcpt(&mut self, world: &mut World, recipient: &Address, now: UnixMs) -> Answer {
        if self.sender.is_none() {
            return plain(Reply::enhanced(503, Enhanced(5, 5, 1), "MAIL comes first"));
        }
        let provider = world.provider_for(recipient.domain());
        let ours = provider.filter(|&provider| self.host.is_none_or(|host| host == provider));
        let Some(provider) = ours else { return self.not_ours(world, recipient) };
        let verdict = self.take_recipient(world, provider, recipient, now);
        let counters = &mut world.provider_mut(provider).counters;
        let answer_to = Some(recipient);
        if verdict.is_ok() {
            self.recipients.push(provider);
            let answer = self.command_answer(world, provider, answer_to, verdict);
            return Answer { reply: Reply::enhanced(250, Enhanced(2, 1, 5), "recipient ok"), ..answer };
        }
        counters.deferred += 1;
        let answer = self.command_answer(world, provider, answer_to, verdict);
        if answer.reply.is_permanent() {
            let counters = &mut world.provider_mut(provider).counters;
            counters.deferred -= 1;
            counters.refused += 1;
        }
        answer
    }

    fn take_recipient(
        &mut self,
        world: &mut World,
        provider: ProviderIndex,
        recipient: &Address,
        now: UnixMs,
    ) -> Result<(), Cause> {
        if self.recipients.len() >= RECIPIENTS_MAX {
            return Err(Cause::TooManyRecipients);
        }
        self.check_session(world, provider, now)?;
        let guest = self.enter(world, provider, now)?;
        let sender = self.sender.as_deref().unwrap_or_default();
        let counted = (recipient, self.guests[guest].recipients);
        world.provider_mut(provider).check_recipient(self.ip, sender, counted, now)?;
        self.guests[guest].recipients += 1;
        Ok(())
    }

    /// Whether the provider is in order and takes one more message in this session.
    fn check_session(&self, world: &mut World, provider: ProviderIndex, now: UnixMs) -> Result<(), Cause> {
        let age = world.age(now);
        let messages =
            self.guests.iter().find(|guest| guest.provider == provider).map_or(0, |guest| guest.messages);
        let provider = world.provider_mut(provider);
        provider.check_order(age)?;
        provider.check_session(messages)
    }

    /// Makes the connection one of the provider's, if it is not yet; where it stands among its guests.
    fn enter(&mut self, world: &mut World, provider: ProviderIndex, now: UnixMs) -> Result<usize, Cause> {
        if let Some(guest) = self.guests.iter().position(|guest| guest.provider == provider) {
            return Ok(guest);
        }
        let age = world.age(now);
        let ip = self.ip;
        let row = world.provider_mut(provider);
        row.check_order(age).inspect_err(|_| row.counters.turned_away += 1)?;
        row.open(ip)?;
        self.guests.push(Guest { provider, messages: 0, recipients: 0 });
        Ok(self.guests.len() - 1)
    }

    /// The whole message, after DATA or the last BDAT.
    pub fn body(&mut self, world: &mut World, body: &[u8], now: UnixMs) -> Answer {
        let recipients = std::mem::take(&mut self.recipients);
        let Some(&first) = recipients.first() else {
            self.reset();
            return plain(Reply::enhanced(503, Enhanced(5, 5, 1), "there is no recipient"));
        };
        let age = world.age(now);
        let check = |world: &World, provider: ProviderIndex| {
            let provider = &world.providers[usize::from(provider.0)];
            provider.check_order(age).and_then(|()| provider.check_body(body))
        };
        let guests = || self.guests.iter().filter(|guest| guest.recipients > 0);
        let refusal = guests().find_map(|guest| Some((guest.provider, check(world, guest.provider).err()?)));
        let (speaker, verdict) = match refusal {
            Some((provider, cause)) => (provider, Err(cause)),
            None => (first, Ok(())),
        };
        let latency = world.provider_mut(speaker).settings.latency.body;
        let answer = self.answer(world, speaker, (latency, None), verdict);
        self.count_body(world, &answer.reply, body.len() as u64);
        self.reset();
        if verdict.is_ok() {
            return Answer { reply: Reply::enhanced(250, Enhanced(2, 0, 0), "message taken"), ..answer };
        }
        answer
    }

    fn count_body(&mut self, world: &mut World, reply: &Reply, bytes: u64) {
        for guest in self.guests.iter_mut().filter(|guest| guest.recipients > 0) {
            guest.messages += 1;
            let counters = &mut world.provider_mut(guest.provider).counters;
            let recipients = u64::from(guest.recipients);
            match reply.code {
                400..500 => counters.deferred += recipients,
                500..600 => counters.refused += recipients,
                _ => {
                    counters.accepted += recipients;
                    counters.messages += 1;
                    counters.bytes += bytes;
                }
            }
        }
    }

    /// RSET: forgets the message under way.
    pub fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.guests.iter_mut().for_each(|guest| guest.recipients = 0);
    }

    /// The connection has ended, by whomever.
    pub fn end(self, world: &mut World) {
        for guest in &self.guests {
            world.provider_mut(guest.provider).close(self.ip);
        }
    }

    fn command_answer(
        &self,
        world: &mut World,
        provider: ProviderIndex,
        recipient: Option<&Address>,
        verdict: Result<(), Cause>,
    ) -> Answer {
        let latency = world.provider_mut(provider).settings.latency.command;
        self.answer(world, provider, (latency, recipient), verdict)
    }

    /// The answer of a provider; the words of a positive one are for the caller to put in.
    fn answer(
        &self,
        world: &mut World,
        provider: ProviderIndex,
        (latency, recipient): (Span, Option<&Address>),
        verdict: Result<(), Cause>,
    ) -> Answer {
        let provider = world.provider_mut(provider);
        let delay = provider.delay(latency);
        let Err(cause) = verdict else {
            return Answer { reply: Reply::new(250, "ok"), delay, close: false, cause: None };
        };
        let reply = provider.words(cause, self.ip, recipient);
        let close = reply.code == 421;
        Answer { reply, delay, close, cause: Some(cause) }
    }

    fn not_ours(&self, world: &World, recipient: &Address) -> Answer {
        let host = self.host.map_or("mx.world.test", |host| world.host(host));
        let names = Names { ip: "", host, to: recipient.as_str() };
        let reply = fill(template(Manner::Plain, Cause::NotOurs), names).expect("a test reads the templates");
        Answer { cause: Some(Cause::NotOurs), ..plain(reply) }
    }
}

/// An answer about nothing that costs time.
fn plain(reply: Reply) -> Answer {
    Answer { reply, delay: std::time::Duration::ZERO, close: false, cause: None }
}
