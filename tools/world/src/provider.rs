//! One pretend provider: what it remembers of those who send to it, and how it judges what they ask.

use std::net::IpAddr;
use std::time::Duration;

use mail::{Address, Reply, UnixMs};
use rustc_hash::FxHashMap;

use crate::ProviderIndex;
use crate::chance::{Roll, number};
use crate::counters::{Counters, Stands, Who};
use crate::file::{Outage, Settings};
use crate::identities::{Identities, Slot};
use crate::limits::{Documented, Gauge, Limit, Meter, Moment, Per, Phases};
use crate::load::{Load, Warmth};
use crate::mailbox::{Nature, is_full};
use crate::senders::{Sender, Table, netblock};
use crate::standing::{ANY_VOLUME, Deed, Reputation, Standing};
use crate::units::Span;
use crate::words::{Cause, Names, Wording, Wordings};

/// Triplets of source, sender and recipient that are remembered, at most.
const TRIPLETS_MAX: usize = 1 << 20;
/// Mailboxes whose rate is counted, at most.
const MAILBOXES_MAX: usize = 1 << 18;
/// The purposes of rolls.
const DELAY: u64 = 11;
const CONTENT: u64 = 12;
const WORDING: u64 = 13;
const STANDING: u64 = 14;
const LOSS: u64 = 15;
const TLS: u64 = 16;
const HANG_UP: u64 = 17;
const GREYLIST: u64 = 18;

/// A pretend provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    pub(crate) phases: Phases,
    pub(crate) documented: Documented,
    wordings: Wordings,
    seed: u64,
    /// Answers given: the chance of the next depends on it.
    answers: u64,
    /// The rules of the file, made milder.
    netblock_rules: Option<Reputation>,
    senders: Senders,
    /// How those stand at the beginning of whom the file says it.
    known: Known,
    /// When a greylisted triplet was first seen.
    triplets: FxHashMap<u64, UnixMs>,
    mailbox_gauge: Option<Gauge>,
    mailboxes: FxHashMap<u64, Meter>,
}

#[derive(Debug, Default)]
struct Senders {
    ips: Table<IpAddr>,
    netblocks: Table<IpAddr>,
    identities: Table<Slot>,
}

/// Trust and usual volume.
type Start = (f64, u32);

#[derive(Debug, Default)]
struct Known {
    ips: FxHashMap<IpAddr, Start>,
    identities: FxHashMap<Slot, Start>,
}

/// Who sends a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    pub(crate) ip: IpAddr,
    pub(crate) identity: Slot,
    /// A number for the whole sender address.
    pub(crate) sender: u64,
}

impl Provider {
    pub(crate) fn new(settings: Settings, index: ProviderIndex, seed: u64, load: &Load) -> Self {
        let phases = Phases::of(&settings);
        let own = |cause| {
            let replies = settings.replies.get(&cause)?;
            let read = |reply: &toml::Spanned<String>| {
                Wording::read(reply.get_ref()).expect("replies are checked when the file is read")
            };
            Some(replies.0.iter().map(read).collect())
        };
        let rate = settings.mailboxes.rate.map(|rate| rate.0);
        Self {
            counters: Counters::default(),
            documented: Documented::of(&settings, phases.now()),
            wordings: Wordings::of(settings.manner, own),
            seed: number(seed, &[settings.name.get_ref().as_bytes()]),
            answers: 0,
            netblock_rules: settings.reputation.map(Reputation::of_netblock),
            senders: Senders::default(),
            known: settings.reputation.map_or_else(Known::default, |rules| Known::of(load, index, &rules)),
            triplets: FxHashMap::default(),
            mailbox_gauge: rate.map(|rate| Gauge::of(&Limit { per: Per::Ip, rate, penalty: None })),
            mailboxes: FxHashMap::default(),
            phases,
            settings,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.settings.name.get_ref()
    }

    pub(crate) fn host(&self) -> &str {
        self.settings.hosts.name.as_deref().unwrap_or("mx.world.test")
    }

    /// A roll that no other one is like.
    pub(crate) const fn roll(&mut self) -> Roll {
        self.answers += 1;
        Roll::of(self.seed, self.answers)
    }

    /// Lets a connection in.
    pub(crate) fn open(&mut self, ip: IpAddr, moment: Moment) -> Result<(), Cause> {
        let factor = self.check_address(ip, moment)?;
        let most = self.phases.now().connections;
        let start = self.known.ip(ip, self.settings.reputation.as_ref());
        let sender = self.senders.ips.sender(ip, moment.now.0, || start.standing(moment.now));
        // One connection is always left to a sender that may have any, or it could never do better.
        let most = most.map(|most| most.min(((f64::from(most) * factor) as u32).max(1)));
        if most.is_some_and(|most| sender.open >= most) {
            self.note(Per::Ip, (ip, Slot::NOBODY), Deed::Hammering);
            return Err(Cause::TooManyConnections);
        }
        sender.open += 1;
        self.counters.connections += 1;
        self.counters.open += 1;
        self.counters.open_peak = self.counters.open_peak.max(self.counters.open);
        Ok(())
    }

    pub(crate) fn close(&mut self, ip: IpAddr) {
        if let Some(source) = self.senders.ips.known(ip) {
            source.open = source.open.saturating_sub(1);
        }
        self.counters.open = self.counters.open.saturating_sub(1);
    }

    /// Whether it is out of order.
    pub(crate) fn check_order(&self, moment: Moment) -> Result<(), Cause> {
        if self.settings.trouble.outages.is_empty() {
            return Ok(());
        }
        let age = Duration::from_millis(moment.age_ms);
        let is_out = |outage: &&Outage| {
            let Some(since) = age.checked_sub(outage.after.0) else { return false };
            let into = match outage.every {
                Some(Span(every)) if !every.is_zero() => remainder(since, every),
                _ => since,
            };
            into < outage.lasts.0
        };
        match self.settings.trouble.outages.iter().find(is_out) {
            Some(outage) if outage.silent => Err(Cause::Silence),
            Some(_) => Err(Cause::Outage),
            None => Ok(()),
        }
    }

    /// Whether the greeting is lost on its way.
    pub(crate) fn check_line(&self, roll: Roll) -> Result<(), Cause> {
        let loss = self.settings.trouble.faults.loss.0;
        if loss > 0.0 && roll.portion(LOSS) < loss { Err(Cause::Silence) } else { Ok(()) }
    }

    /// Whether the TLS handshake of a connection will fail.
    pub(crate) fn breaks_tls(&self, roll: Roll) -> bool {
        let share = self.settings.trouble.faults.tls.0;
        share > 0.0 && roll.portion(TLS) < share
    }

    /// Whether one more message may be sent in a session that has had `messages`.
    pub(crate) fn check_session(&self, messages: u32) -> Result<(), Cause> {
        let is_over = self.phases.now().messages_per_connection.is_some_and(|max| messages >= max);
        if is_over { Err(Cause::TooManyMessages) } else { Ok(()) }
    }

    /// Whether those who send a message stand well enough for it.
    pub(crate) fn check_standing(&mut self, from: From, moment: Moment, roll: Roll) -> Result<(), Cause> {
        let Some(rules) = self.settings.reputation else { return Ok(()) };
        let address = self.address_standing(&rules, from.ip, moment)?;
        let identity = self.identity_standing(&rules, from.identity, moment)?;
        let worst = address.min(identity);
        let share = rules.steps.deferred(worst);
        if share > 0.0 && roll.portion(STANDING) < share {
            return Err(if identity < address { Cause::IdentityLowStanding } else { Cause::LowStanding });
        }
        Ok(())
    }

    /// To which part the limits of an address shrink; or that it is blocked.
    fn check_address(&mut self, ip: IpAddr, moment: Moment) -> Result<f64, Cause> {
        let Some(rules) = self.settings.reputation else { return Ok(1.0) };
        Ok(rules.steps.factor(self.address_standing(&rules, ip, moment)?))
    }

    /// The worse of the standings of an address and its netblock.
    fn address_standing(&mut self, rules: &Reputation, ip: IpAddr, moment: Moment) -> Result<f64, Cause> {
        let start = self.known.ip(ip, Some(rules));
        let source = self.senders.ips.sender(ip, moment.now.0, || start.standing(moment.now));
        let own = judge(source, rules, moment, &mut self.counters.blocks);
        // Nothing is held against a netblock but what its addresses do.
        let new = || Standing::new(1.0, ANY_VOLUME, moment.now);
        let block = self.senders.netblocks.sender(netblock(ip), moment.now.0, new);
        let milder = self.netblock_rules.as_ref().unwrap_or(rules);
        let shared = judge(block, milder, moment, &mut self.counters.blocks);
        own.and_then(|own| Some(own.min(shared?))).ok_or(Cause::Blocked)
    }

    fn identity_standing(&mut self, rules: &Reputation, slot: Slot, moment: Moment) -> Result<f64, Cause> {
        if slot == Slot::NOBODY {
            return Ok(1.0);
        }
        let start = self.known.identity(slot, Some(rules));
        let identity = self.senders.identities.sender(slot, moment.now.0, || start.standing(moment.now));
        judge(identity, rules, moment, &mut self.counters.blocks).ok_or(Cause::IdentityBlocked)
    }

    /// Whether a recipient is taken, after `recipients` others of the same message; what its mailbox is like.
    pub(crate) fn check_recipient(
        &mut self,
        from: From,
        (recipient, mailbox): (&Address, u64),
        recipients: u32,
        moment: Moment,
    ) -> Result<Nature, Cause> {
        if self.phases.now().recipients_per_message.is_some_and(|max| recipients >= max) {
            return Err(Cause::TooManyRecipients);
        }
        self.check_rates(from, moment)?;
        let roll = Roll::of(self.seed, mailbox);
        let nature = Nature::of(recipient, &self.settings.mailboxes, roll);
        match nature {
            Nature::Unknown => {
                self.note_all(from, Deed::UnknownUser);
                return Err(Cause::UnknownUser);
            }
            Nature::Abandoned => return Err(Cause::MailboxAbandoned),
            Nature::Full if is_full(&self.settings.mailboxes, roll, moment.now, moment.age_ms) => {
                return Err(Cause::MailboxFull);
            }
            _ => {}
        }
        self.check_greylist(from, mailbox, moment.now)?;
        self.check_mailbox_rate(mailbox, moment)?;
        Ok(nature)
    }

    fn check_rates(&mut self, from: From, moment: Moment) -> Result<(), Cause> {
        if self.phases.now().rates.is_empty() {
            return Ok(());
        }
        let rules = self.settings.reputation;
        let factor = self.check_address(from.ip, moment)?;
        let identity_factor = match &rules {
            Some(rules) => rules.steps.factor(self.identity_standing(rules, from.identity, moment)?),
            None => 1.0,
        };
        let gauges = self.phases.gauges();
        let now_ms = moment.now.0;
        let new = |start: Standing| move || start;
        let start = self.known.ip(from.ip, rules.as_ref()).standing(moment.now);
        let ip = self.senders.ips.sender(from.ip, now_ms, new(start));
        let shared = Standing::new(1.0, ANY_VOLUME, moment.now);
        let mut block = (!gauges.per_netblock.is_empty())
            .then(|| self.senders.netblocks.sender(netblock(from.ip), now_ms, new(shared)));
        let start = self.known.identity(from.identity, rules.as_ref()).standing(moment.now);
        let mut identity = (!gauges.per_identity.is_empty() && from.identity != Slot::NOBODY)
            .then(|| self.senders.identities.sender(from.identity, now_ms, new(start)));
        let (per_ip, per_block) = (&gauges.per_ip, &gauges.per_netblock);
        let per_identity = &gauges.per_identity;
        let mut fits = ip.check((per_ip, gauges.phase), moment, factor).map_err(|gauge| (Per::Ip, gauge));
        if let (Ok(()), Some(block)) = (&fits, &mut block) {
            let checked = block.check((per_block, gauges.phase), moment, factor);
            fits = checked.map_err(|gauge| (Per::Netblock, gauge));
        }
        if let (Ok(()), Some(identity)) = (&fits, &mut identity) {
            let checked = identity.check((per_identity, gauges.phase), moment, identity_factor);
            fits = checked.map_err(|gauge| (Per::Identity, gauge));
        }
        if let Err((per, gauge)) = fits {
            self.note(per, (from.ip, from.identity), Deed::Hammering);
            return Err(too_fast(per, &gauge));
        }
        ip.take(per_ip, moment, factor);
        if let Some(block) = block {
            block.take(per_block, moment, factor);
        }
        if let Some(identity) = identity {
            identity.take(per_identity, moment, identity_factor);
        }
        Ok(())
    }

    fn check_greylist(&mut self, from: From, mailbox: u64, now: UnixMs) -> Result<(), Cause> {
        let Some(greylist) = self.settings.greylist else { return Ok(()) };
        let ip = match from.ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let words = [&ip.to_le_bytes()[..], &from.sender.to_le_bytes(), &mailbox.to_le_bytes()];
        let triplet = number(self.seed, &words);
        if Roll::of(self.seed, triplet).portion(GREYLIST) >= greylist.share.0 {
            return Ok(());
        }
        if self.triplets.len() >= TRIPLETS_MAX && !self.triplets.contains_key(&triplet) {
            forget_older_half(&mut self.triplets, |first| first.0);
        }
        let first = *self.triplets.entry(triplet).or_insert(now);
        if now.since(first) < greylist.delay.0 { Err(Cause::Greylisted) } else { Ok(()) }
    }

    fn check_mailbox_rate(&mut self, mailbox: u64, moment: Moment) -> Result<(), Cause> {
        let Some(gauge) = self.mailbox_gauge else { return Ok(()) };
        if self.mailboxes.len() >= MAILBOXES_MAX && !self.mailboxes.contains_key(&mailbox) {
            forget_older_half(&mut self.mailboxes, Meter::level);
        }
        let meter = self.mailboxes.entry(mailbox).or_default();
        if !meter.check(&gauge, moment, 1.0) {
            return Err(Cause::MailboxBusy);
        }
        meter.take(&gauge, moment, 1.0);
        Ok(())
    }

    /// Whether a message is taken; without content, only by chance.
    pub(crate) fn check_body(&self, body: Option<&[u8]>, roll: Roll) -> Result<(), Cause> {
        let content = &self.settings.content;
        let faults = &self.settings.trouble.faults;
        let by_chance = |purpose, share: f64| share > 0.0 && roll.portion(purpose) < share;
        let has =
            |word: &String| body.is_some_and(|body| memchr::memmem::find(body, word.as_bytes()).is_some());
        if by_chance(HANG_UP, faults.hang_up.0) {
            Err(Cause::HangUp)
        } else if by_chance(CONTENT, content.refused.0) || content.refused_words.iter().any(has) {
            Err(Cause::ContentRefused)
        } else {
            Ok(())
        }
    }

    /// A message was taken for a mailbox.
    pub(crate) fn took(&mut self, from: From, nature: Nature) {
        let trap = nature == Nature::Trap;
        self.counters.accepted += 1;
        self.counters.traps += u64::from(trap);
        self.note_all(from, Deed::Mail { trap });
    }

    pub(crate) fn note_all(&mut self, from: From, deed: Deed) {
        for per in [Per::Ip, Per::Netblock, Per::Identity] {
            self.note(per, (from.ip, from.identity), deed);
        }
    }

    fn note(&mut self, per: Per, (ip, identity): (IpAddr, Slot), deed: Deed) {
        let Some(rules) = &self.settings.reputation else { return };
        // The only rules that a deed needs are those of volumes, which netblocks do not have.
        let sender = match per {
            Per::Ip => self.senders.ips.known(ip),
            Per::Netblock => self.senders.netblocks.known(netblock(ip)),
            Per::Identity => self.senders.identities.known(identity),
        };
        if let Some(sender) = sender {
            sender.standing.note(rules, deed);
        }
    }

    /// How all stand that it remembers, as of the last that was heard of each.
    pub(crate) fn standings(&self, identities: &Identities) -> Vec<Stands> {
        let Some(rules) = &self.settings.reputation else { return Vec::new() };
        let netblock_rules = self.netblock_rules.as_ref().unwrap_or(rules);
        let view = |who, sender: &Sender| Stands {
            standing: sender.standing.score(match who {
                Who::Netblock(_) => netblock_rules,
                _ => rules,
            }),
            who,
            mail: sender.standing.mail(),
            blocked_until: sender.standing.blocked_until(),
        };
        let ips = self.senders.ips.all().into_iter().map(|(ip, sender)| view(Who::Ip(ip), sender));
        let blocks =
            self.senders.netblocks.all().into_iter().map(|(ip, sender)| view(Who::Netblock(ip), sender));
        let named = self.senders.identities.all().into_iter();
        let identities = named.map(|(slot, sender)| view(Who::Identity(identities.name(slot)), sender));
        ips.chain(blocks).chain(identities).collect()
    }

    /// What it says for a cause.
    pub(crate) fn words(&self, cause: Cause, ip: IpAddr, recipient: Option<&Address>, roll: Roll) -> Reply {
        let names = Names { ip, host: self.host(), to: recipient.map_or("", Address::as_str) };
        self.wordings.pick(cause, roll.number(WORDING)).fill(names)
    }

    /// How long an answer takes, with its share of chance.
    pub(crate) fn delay(&self, base: Span, roll: Roll) -> Duration {
        if base.0.is_zero() {
            return Duration::ZERO;
        }
        let factor = 1.0 + self.settings.latency.jitter.0 * (2.0 * roll.portion(DELAY) - 1.0);
        base.0.mul_f64(factor)
    }
}

/// How a sender stands, or `None` while it is blocked.
fn judge(sender: &mut Sender, rules: &Reputation, moment: Moment, blocks: &mut u64) -> Option<f64> {
    let standing = &mut sender.standing;
    standing.pass(rules, moment.now, moment.age_ms);
    if standing.blocked_until().is_some() {
        standing.note(rules, Deed::Hammering);
        return None;
    }
    if standing.judge(rules, moment.now) {
        *blocks += 1;
        return None;
    }
    Some(standing.score(rules))
}

const fn too_fast(per: Per, gauge: &Gauge) -> Cause {
    match per {
        _ if gauge.is_quota() => Cause::QuotaUsed,
        Per::Ip | Per::Netblock => Cause::TooFast,
        Per::Identity => Cause::IdentityTooFast,
    }
}

/// Makes room in a map for as many again.
fn forget_older_half<V>(map: &mut FxHashMap<u64, V>, age: impl Fn(&V) -> u64) {
    let mut ages: Vec<u64> = map.values().map(&age).collect();
    let middle = ages.len() / 2;
    let (_, &mut median, _) = ages.select_nth_unstable(middle);
    map.retain(|_, value| age(value) > median);
}

fn remainder(age: Duration, every: Duration) -> Duration {
    let nanos = age.as_nanos() % every.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How somebody begins.
#[derive(Clone, Copy, Debug)]
struct Beginning(Start);

impl Beginning {
    fn standing(self, now: UnixMs) -> Standing {
        Standing::new(self.0.0, self.0.1, now)
    }
}

impl Known {
    fn of(load: &Load, index: ProviderIndex, rules: &Reputation) -> Self {
        let ips = load.sources.iter().map(|source| {
            let (trust, usual) = match &source.warm {
                Warmth::Warm => (1.0, ANY_VOLUME),
                Warmth::Cold => (rules.start, 0),
                Warmth::Ladder { age, .. } => {
                    let days = age.as_secs_f64() / 86_400.0;
                    // As much more each day as may be.
                    let usual = f64::from(rules.floor) * rules.growth.powf(days.min(60.0));
                    ((rules.start + rules.rise * days).min(1.0), usual.min(f64::from(ANY_VOLUME - 1)) as u32)
                }
            };
            (source.ip, (source.standing.with(index).unwrap_or(trust), source.usual.unwrap_or(usual)))
        });
        let identities = (0..).zip(&load.identities).map(|(place, identity)| {
            let standing = identity.standing.with(index);
            let usual = if standing.is_some() { ANY_VOLUME } else { 0 };
            let start = (standing.unwrap_or(rules.start), identity.usual.unwrap_or(usual));
            (Slot::of_load(place), start)
        });
        Self { ips: ips.collect(), identities: identities.collect() }
    }

    fn ip(&self, ip: IpAddr, rules: Option<&Reputation>) -> Beginning {
        let stranger = || (rules.map_or(1.0, |rules| rules.start), 0);
        Beginning(self.ips.get(&ip).copied().unwrap_or_else(stranger))
    }

    fn identity(&self, slot: Slot, rules: Option<&Reputation>) -> Beginning {
        let stranger = || (rules.map_or(1.0, |rules| rules.start), 0);
        Beginning(self.identities.get(&slot).copied().unwrap_or_else(stranger))
    }
}
