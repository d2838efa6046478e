//! One connection to the world, from the greeting to the end, and what it is answered at each step.

use std::net::IpAddr;
use std::time::Duration;

use mail::{Address, Enhanced, Reply, ReversePath, UnixMs};
use policy::verdict::Fault;
use smallvec::SmallVec;

use crate::chance::Hash;
use crate::identities::{Identities, Slot};
use crate::mailbox::{Nature, mailbox};
use crate::provider::From;
use crate::readers::{Feedback, FeedbackKind, Reaction};
use crate::units::Span;
use crate::words::Cause;
use crate::{Answer, ProviderIndex, World};

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

/// A recipient that was taken.
#[derive(Debug)]
struct Taken {
    provider: ProviderIndex,
    nature: Nature,
    mailbox: u64,
    reaction: Reaction,
    /// Kept only for those who will react.
    address: Option<Address>,
}

/// Who sends the message under way.
#[derive(Clone, Copy, Debug)]
struct Sender {
    identity: Slot,
    /// A number for the whole address.
    number: u64,
}

/// A connection to a world. Give it back to [`Connection::end`]: while it lives, it counts as open.
#[derive(Debug)]
#[must_use = "a connection counts as open until it is ended"]
pub struct Connection {
    ip: IpAddr,
    /// The provider whose server it is, when it is one's own.
    host: Option<ProviderIndex>,
    guests: SmallVec<[Guest; 1]>,
    /// The sender of the message under way.
    sender: Option<Sender>,
    /// Those taken so far.
    recipients: Vec<Taken>,
    token: u64,
    breaks_tls: bool,
}

pub(crate) fn connect(
    world: &mut World,
    host: Option<ProviderIndex>,
    ip: IpAddr,
    now: UnixMs,
) -> (Connection, Answer) {
    let mut connection = Connection {
        ip,
        host,
        guests: SmallVec::new(),
        sender: None,
        recipients: Vec::new(),
        token: 0,
        breaks_tls: false,
    };
    world.moment(now);
    let Some(provider) = host else {
        let reply = Reply::new(220, "mx.world.test ESMTP ready");
        return (connection, plain(reply));
    };
    let roll = world.provider_mut(provider).roll();
    let row = world.provider_mut(provider);
    connection.breaks_tls = row.breaks_tls(roll);
    let banner = row.settings.latency.banner;
    let verdict = row.check_line(roll).and_then(|()| connection.enter(world, provider, now).map(drop));
    let mut answer = connection.answer(world, provider, (banner, None), verdict);
    if let Some(cause) = answer.cause {
        world.provider_mut(provider).counters.causes.add(cause, 1);
        world.provider_mut(provider).counters.turned_away += 1;
        if !answer.reply.is_permanent() {
            // Whatever the reason, a server that greets with a refusal for now says 421 and goes (RFC 5321 section 3.8).
            answer.reply.code = 421;
        }
        answer.close = true;
    } else {
        answer.reply = Reply::new(220, format!("{} ESMTP ready", world.host(provider)));
    }
    (connection, answer)
}

impl Connection {
    /// Sets what feedback about the messages from now on is to be told with.
    pub const fn set_token(&mut self, token: u64) {
        self.token = token;
    }

    /// What becomes of a TLS handshake on this connection, if it is not to succeed.
    #[must_use]
    pub const fn tls_fault(&self) -> Option<Fault> {
        if self.breaks_tls { Some(Fault::TlsHandshake) } else { None }
    }

    /// MAIL: begins a message.
    pub fn mail(&mut self, world: &mut World, sender: &ReversePath, now: UnixMs) -> Answer {
        self.reset();
        let sender = world.sender(sender.as_ref());
        self.sender = Some(sender);
        let Some(provider) = self.host else { return plain(sender_ok()) };
        let verdict = self.check_session(world, provider, now).and_then(|()| {
            let moment = world.at(provider, now);
            let row = world.provider_mut(provider);
            let roll = row.roll();
            row.check_standing(self.from(sender), moment, roll)
        });
        if verdict.is_ok() {
            return Answer { reply: sender_ok(), ..self.command_answer(world, provider, None, verdict) };
        }
        self.sender = None;
        let answer = self.command_answer(world, provider, None, verdict);
        count_refusal(world, provider, &answer, 1);
        answer
    }

    /// RCPT: one recipient of the message under way.
    pub fn rcpt(&mut self, world: &mut World, recipient: &Address, now: UnixMs) -> Answer {
        let Some(sender) = self.sender else {
            return plain(Reply::enhanced(503, Enhanced(5, 5, 1), "MAIL comes first"));
        };
        let provider = world.provider_for(recipient.domain());
        let ours = provider.filter(|&provider| self.host.is_none_or(|host| host == provider));
        let Some(provider) = ours else { return self.not_ours(world, recipient) };
        match self.take_recipient(world, (provider, sender), recipient, now) {
            Ok(()) => {
                let answer = self.command_answer(world, provider, None, Ok(()));
                Answer { reply: Reply::enhanced(250, Enhanced(2, 1, 5), "recipient ok"), ..answer }
            }
            Err(cause) => {
                let answer = self.command_answer(world, provider, Some(recipient), Err(cause));
                count_refusal(world, provider, &answer, 1);
                answer
            }
        }
    }

    fn take_recipient(
        &mut self,
        world: &mut World,
        (provider, sender): (ProviderIndex, Sender),
        recipient: &Address,
        now: UnixMs,
    ) -> Result<(), Cause> {
        if self.recipients.len() >= RECIPIENTS_MAX {
            return Err(Cause::TooManyRecipients);
        }
        let from = self.from(sender);
        let moment = world.at(provider, now);
        if self.host.is_none() {
            self.check_session(world, provider, now)?;
        } else {
            world.provider_mut(provider).check_order(moment)?;
        }
        let guest = self.enter(world, provider, now)?;
        let row = &mut world.providers[usize::from(provider.0)];
        let roll = row.roll();
        if self.host.is_none() && self.guests[guest].recipients == 0 {
            row.check_standing(from, moment, roll)?;
        }
        let mailbox = mailbox(recipient);
        let nature =
            row.check_recipient(from, (recipient, mailbox), self.guests[guest].recipients, moment)?;
        let liked = Identities::stated(&world.load, sender.identity);
        let reaction = row.settings.readers.reaction(nature, liked, roll);
        let address = reaction.is_any().then(|| recipient.clone());
        self.guests[guest].recipients += 1;
        self.recipients.push(Taken { provider, nature, mailbox, reaction, address });
        Ok(())
    }

    const fn from(&self, sender: Sender) -> From {
        From { ip: self.ip, identity: sender.identity, sender: sender.number }
    }

    /// Whether the provider is in order and takes one more message in this session.
    fn check_session(&self, world: &mut World, provider: ProviderIndex, now: UnixMs) -> Result<(), Cause> {
        let moment = world.at(provider, now);
        let messages =
            self.guests.iter().find(|guest| guest.provider == provider).map_or(0, |guest| guest.messages);
        let provider = world.provider_mut(provider);
        provider.check_order(moment)?;
        provider.check_session(messages)
    }

    /// Makes the connection one of the provider's, if it is not yet; where it stands among its guests.
    fn enter(&mut self, world: &mut World, provider: ProviderIndex, now: UnixMs) -> Result<usize, Cause> {
        if let Some(guest) = self.guests.iter().position(|guest| guest.provider == provider) {
            return Ok(guest);
        }
        let moment = world.at(provider, now);
        let row = world.provider_mut(provider);
        let entered = row.check_order(moment).and_then(|()| row.open(self.ip, moment));
        if self.host.is_none() && entered.is_err() {
            row.counters.turned_away += 1;
        }
        entered?;
        self.guests.push(Guest { provider, messages: 0, recipients: 0 });
        Ok(self.guests.len() - 1)
    }

    /// The whole message, after DATA or the last BDAT.
    pub fn body(&mut self, world: &mut World, body: &[u8], now: UnixMs) -> Answer {
        self.message(world, (Some(body), body.len() as u64), now)
    }

    /// The same for a message of so many bytes that nobody has written: its content is like that of others.
    pub fn body_of(&mut self, world: &mut World, bytes: u64, now: UnixMs) -> Answer {
        self.message(world, (None, bytes), now)
    }

    fn message(&mut self, world: &mut World, (body, bytes): (Option<&[u8]>, u64), now: UnixMs) -> Answer {
        let (Some(first), Some(sender)) = (self.recipients.first(), self.sender) else {
            self.reset();
            return plain(Reply::enhanced(503, Enhanced(5, 5, 1), "there is no recipient"));
        };
        let first = first.provider;
        let refusal = self.guests.iter().filter(|guest| guest.recipients > 0).find_map(|guest| {
            let moment = world.at(guest.provider, now);
            let row = world.provider_mut(guest.provider);
            let roll = row.roll();
            let verdict = row.check_order(moment).and_then(|()| row.check_body(body, roll));
            Some((guest.provider, verdict.err()?))
        });
        let (speaker, verdict) = refusal.map_or((first, Ok(())), |(provider, cause)| (provider, Err(cause)));
        let latency = world.provider_mut(speaker).settings.latency.body;
        let mut answer = self.answer(world, speaker, (latency, None), verdict);
        if verdict.is_ok() {
            answer.reply = Reply::enhanced(250, Enhanced(2, 0, 0), "message taken");
            self.deliver(world, sender, (bytes, now + answer.delay));
        }
        for guest in self.guests.iter_mut().filter(|guest| guest.recipients > 0) {
            guest.messages += 1;
            if verdict.is_err() {
                count_refusal(world, guest.provider, &answer, u64::from(guest.recipients));
            }
        }
        self.reset();
        answer
    }

    fn deliver(&mut self, world: &mut World, sender: Sender, (bytes, at): (u64, UnixMs)) {
        for guest in self.guests.iter().filter(|guest| guest.recipients > 0) {
            let counters = &mut world.provider_mut(guest.provider).counters;
            counters.messages += 1;
            counters.bytes += bytes;
        }
        let from = self.from(sender);
        for taken in self.recipients.drain(..) {
            let row = &mut world.providers[usize::from(taken.provider.0)];
            row.took(from, taken.nature);
            let Some(recipient) = taken.address else { continue };
            let roll = row.roll();
            let mail = Feedback {
                at,
                provider: taken.provider,
                // Each reaction has its own.
                kind: FeedbackKind::Open,
                mailbox: taken.mailbox,
                recipient,
                identity: world.identities.name(sender.identity),
                ip: self.ip,
                token: self.token,
            };
            row.settings.readers.schedule(taken.reaction, &mail, roll, &mut world.calendar);
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
        let roll = provider.roll();
        let delay = provider.delay(latency, roll);
        let Err(cause) = verdict else {
            return Answer { reply: Reply::new(250, String::new()), delay, close: false, cause: None };
        };
        let reply = provider.words(cause, self.ip, recipient, roll);
        let close = reply.code == 421;
        Answer { reply, delay, close, cause: Some(cause) }
    }

    fn not_ours(&self, world: &mut World, recipient: &Address) -> Answer {
        // Somebody must say it; whoever has no server of its own says it in plain words.
        let speaker = self.host.unwrap_or(ProviderIndex(0));
        let row = world.provider_mut(speaker);
        let roll = row.roll();
        let reply = row.words(Cause::NotOurs, self.ip, Some(recipient), roll);
        Answer { cause: Some(Cause::NotOurs), ..plain(reply) }
    }
}

impl World {
    /// Who sends, by numbers.
    fn sender(&mut self, sender: Option<&Address>) -> Sender {
        let Some(sender) = sender else { return Sender { identity: Slot::NOBODY, number: 0 } };
        let mut hash = Hash::new(1);
        hash.lower(sender.as_str().as_bytes());
        Sender { identity: self.identities.slot(sender.domain()), number: hash.number() }
    }
}

fn count_refusal(world: &mut World, provider: ProviderIndex, answer: &Answer, recipients: u64) {
    let counters = &mut world.provider_mut(provider).counters;
    if answer.reply.is_permanent() {
        counters.refused += recipients;
    } else {
        counters.deferred += recipients;
    }
    if let Some(cause) = answer.cause {
        counters.causes.add(cause, recipients);
    }
}

fn sender_ok() -> Reply {
    Reply::enhanced(250, Enhanced(2, 1, 0), "sender ok")
}

/// An answer about nothing that costs time.
const fn plain(reply: Reply) -> Answer {
    Answer { reply, delay: Duration::ZERO, close: false, cause: None }
}
