//! What the engine shows of itself: paths, waiting mail, and why a recipient waits.

use mail::{Class, UnixMs};
use serde::Serialize;

/// One path as `queue ls` shows it: a source, a provider and one set of hosts.
#[derive(Clone, Debug, Serialize)]
pub struct PathView {
    /// The shard that works it.
    pub shard: u8,
    /// Name of the source address.
    pub source: String,
    /// Name of the provider.
    pub provider: String,
    /// Its hosts, first one first.
    pub site: String,
    /// Waiting recipients by class: critical, transactional, personal, bulk.
    pub ready: [u64; 4],
    /// Recipients whose campaign is paused.
    pub paused: u64,
    /// How long the oldest has waited, in milliseconds.
    pub oldest_ms: u64,
    /// Open connections.
    pub connections: u32,
    /// Allowed connections.
    pub connections_max: u32,
    /// Messages per time that are allowed now, as they are written in the configuration.
    pub rate: Option<String>,
    /// How the limits have come to be what they are.
    pub budget: Option<BudgetView>,
    /// Nothing is sent before this moment.
    pub suspended_until: Option<UnixMs>,
    /// Why it is suspended.
    pub reason: Option<String>,
}

/// Which paths a command is about: those for which all given parts are equal.
#[derive(Clone, Debug, Default)]
pub struct PathFilter {
    /// Name of the provider.
    pub provider: Option<String>,
    /// Name of the source.
    pub source: Option<String>,
    /// Name of one of the site's hosts.
    pub site: Option<String>,
}

impl PathFilter {
    /// Whether `path` is meant.
    #[must_use]
    pub fn matches(&self, path: &PathView) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|name| name == found);
        let at_site = self.site.as_deref().is_none_or(|name| path.site.split(' ').any(|host| host == name));
        same(&self.provider, &path.provider) && same(&self.source, &path.source) && at_site
    }
}

/// Mail of one sender that waits because a receiver refuses it by a fault of our own.
#[derive(Clone, Debug, Serialize)]
pub struct HoldView {
    /// The sender's domain.
    pub identity: String,
    /// Name of the provider.
    pub provider: String,
    /// Until when.
    pub until: UnixMs,
    /// What the receiver said.
    pub reason: String,
}

/// Recipients that wait, by what they wait for.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WaitingView {
    /// For their time: not-before or the next attempt.
    pub scheduled: u64,
    /// For their turn on a path.
    pub ready: u64,
    /// For their campaign to be started or resumed.
    pub held: u64,
    /// For the answer of the DNS.
    pub resolving: u64,
}

/// A budget: what one source may burden one provider with, and how that has come to be.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetView {
    /// What sets the limits in force: `start` (nothing was learned yet), `learned`, or `cap` (no more is allowed).
    pub set_by: &'static str,
    /// What learning is about: searching, holding, probing or resting.
    pub phase: &'static str,
    /// Recipients a second that are allowed now; absent without a limit.
    pub rate_per_second: Option<f64>,
    /// The most messages per time that may ever be allowed; absent without a limit.
    pub rate_max: Option<String>,
    /// The most connections that may ever be allowed.
    pub connections_max: u32,
    /// Messages after which a connection is closed.
    pub messages_per_connection: u32,
    /// Why the limits changed last.
    pub reason: String,
    /// When they changed last.
    pub changed_at: UnixMs,
    /// Nothing is sent before this moment, because something was refused.
    pub rests_until: Option<UnixMs>,
    /// Recipients accepted since the start of the engine.
    pub accepted: u64,
    /// Refusals since the start of the engine.
    pub refused: u64,
}

/// Why a recipient is where it is.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    /// Its recipient address.
    pub address: String,
    /// What kind of mail it is.
    pub class: Class,
    /// What it waits for.
    pub found: Found,
    /// Since when it is in the engine.
    pub since: UnixMs,
    /// When it is given up.
    pub expires: UnixMs,
}

/// What a recipient waits for, as the shard that has it says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Found {
    /// What it waits for as a stable dotted word, such as `path.rate`; docs/http.md has them all.
    pub code: &'static str,
    /// The same as a sentence.
    pub words: String,
    /// Until when it waits at least; absent when nobody can know.
    pub until: Option<UnixMs>,
    /// About how many of its line go before it.
    pub position: Option<u64>,
    /// When it will be delivered if nothing changes.
    pub expected: Option<UnixMs>,
    /// The path it will take, when there is one.
    pub path: Option<PathView>,
    /// What has been decided for it so far, in order.
    pub steps: Vec<Step>,
}

/// One decision that was made for a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was decided: class, provider, source, canary, warm_up, mailbox, identity or account.
    pub what: &'static str,
    /// The decision.
    pub is: String,
    /// On what ground.
    pub ground: String,
}

impl Found {
    /// Something without numbers.
    pub(crate) fn new(code: &'static str, words: impl Into<String>) -> Self {
        Self { code, words: words.into(), ..Self::default() }
    }

    /// With the moment until which it holds.
    pub(crate) fn until(self, until: UnixMs) -> Self {
        Self { until: Some(until), ..self }
    }
}

/// An account whose mail the engine has stopped.
#[derive(Clone, Debug, Serialize)]
pub struct AccountHaltView {
    /// Its name; empty for mail without an account.
    pub account: String,
    /// Since when.
    pub since: UnixMs,
    /// Why.
    pub reason: String,
}

/// An account, as far as what it may hand over is concerned.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// The pool that its mail leaves from; absent when that of the class.
    pub pool: Option<String>,
    /// How its quota stands; absent when it has none.
    pub quota: Option<QuotaView>,
}

/// A quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuotaView {
    /// So many per so long.
    pub rate: String,
    /// Recipients of it that are used.
    pub used: u64,
    /// Recipients that may be handed over now.
    pub left: u64,
    /// Recipients of lists that wait for their turn in it.
    pub waiting: u64,
    /// Critical recipients that are used, out of as many again.
    pub critical_used: u64,
    /// When one may be handed over; absent when one may now.
    pub free_at: Option<UnixMs>,
}

/// A source as `source ls` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct SourceView {
    /// Its name.
    pub name: String,
    /// Its address; absent when the kernel picks one.
    pub ip: Option<std::net::IpAddr>,
    /// How it stands with each provider that it has sent to.
    pub providers: Vec<StandingView>,
}

/// How the judgement of a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CanaryView {
    /// `judged` (it goes in steps), `open` (it goes without a limit), or `stopped`.
    pub state: &'static str,
    /// Recipients that have passed.
    pub passed: u64,
    /// Recipients that may pass for now, those included; absent where each provider has its own limit, or none.
    pub allowed: Option<u64>,
}

/// A score and what it is made of.
#[derive(Clone, Debug, Serialize)]
pub struct ReputationView {
    /// `source`, `sender`, `account` or `campaign`.
    pub of: &'static str,
    /// Its name, identifier, or, of a sender's domain that the configuration does not name, its number.
    pub name: String,
    /// Name of the provider; absent: at all together.
    pub provider: Option<String>,
    /// The kind of mail.
    pub class: Class,
    /// 0 (nobody wants this) to 100.
    pub score: u8,
    /// The same over the last quarter of an hour or so.
    pub recent: u8,
    /// What it is made of.
    pub parts: PartsView,
}

/// The shares that a score is made of: of attempts, and the last two of what was delivered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PartsView {
    /// Attempts that count, by their weight now: old ones weigh less.
    pub seen: f64,
    /// Accepted.
    pub delivered: f64,
    /// Put off.
    pub deferred: f64,
    /// Refused for the name of the source or the sender.
    pub blocked: f64,
    /// To mailboxes that are not there.
    pub unknown_users: f64,
    /// Taken for spam.
    pub spam_refused: f64,
    /// Called spam by the reader.
    pub complaints: f64,
    /// Opened or clicked.
    pub engaged: f64,
}

/// A warm-up that is to begin while the engine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmUpOrder {
    /// Name of the source.
    pub source: String,
    /// Name of the provider; `None`: at all of them.
    pub provider: Option<String>,
    /// Name of the ladder; `None`: the one that the configuration has for the source, else `generic`.
    pub ladder: Option<String>,
    /// The day of the ladder to begin with, 1 is the first; behind the last the source is taken to be warm.
    pub day: u32,
}

/// A warm-up that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WarmUpBegun {
    /// Name of the source.
    pub source: String,
    /// Name of the ladder.
    pub ladder: String,
    /// The day of the ladder, 1 is the first.
    pub day: u32,
    /// Messages of this day at one provider; absent when the day is behind the last.
    pub per_day: Option<u64>,
    /// At how many providers.
    pub providers: usize,
}

/// One warm-up at one provider.
#[derive(Clone, Debug, Serialize)]
pub struct WarmUpView {
    /// `source NAME`, or `sender DOMAIN`.
    pub who: String,
    /// Name of the provider.
    pub provider: String,
    /// Name of the ladder.
    pub ladder: String,
    /// The day of the ladder, 1 is the first.
    pub day: u32,
    /// Messages of this day; absent when it is warm.
    pub per_day: Option<u64>,
    /// Messages that may have gone by now; absent without a limit.
    pub allowed: Option<u64>,
    /// Messages that have gone today.
    pub used: u64,
    /// When more may go.
    pub next_at: UnixMs,
}

/// How a source stands with a provider.
#[derive(Clone, Debug, Serialize)]
pub struct StandingView {
    /// Name of the provider.
    pub provider: String,
    /// Its reputation there, 0 to 100.
    pub score: u8,
    /// It is refused there until this moment.
    pub burnt_until: Option<UnixMs>,
    /// What is left of what a warm-up allows for now; absent without one.
    pub left: Option<u32>,
    /// Where its warm-up stands, as a sentence; absent without one.
    pub warm_up: Option<String>,
    /// Messages per time that are allowed now, where something is or was sent lately.
    pub rate: Option<String>,
    /// Connections that are allowed now, where something is or was sent lately.
    pub connections: Option<u32>,
}
