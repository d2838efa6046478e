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
    /// Allowed messages per time, as in the configuration.
    pub rate: Option<String>,
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

/// Why a recipient is where it is.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    /// Its recipient address.
    pub address: String,
    /// What kind of mail it is.
    pub class: Class,
    /// What it waits for, as a sentence.
    pub waits_for: String,
    /// Since when it is in the engine.
    pub since: UnixMs,
    /// Until when it waits at least; absent when nobody can know.
    pub until: Option<UnixMs>,
    /// When it is given up.
    pub expires: UnixMs,
    /// The path it will take, when there is one.
    pub path: Option<PathView>,
}
