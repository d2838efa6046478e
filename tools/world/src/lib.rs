//! A pretend internet: mailbox providers that answer mail as real ones do, each with its limits, its moods and its words.
//!
//! A world is a state machine: whoever uses it says what arrives and when, and is told the reply, how long it takes,
//! and whether the connection ends. So it serves real SMTP and simulations in virtual time alike, and gives the same
//! answers for the same seed and the same questions. It refuses to do IO and to read a clock. The file that describes
//! one is explained in docs/worlds.md.

mod arf;
mod chance;
mod connection;
mod counters;
mod file;
mod identities;
mod limits;
mod line;
pub mod load;
mod mailbox;
mod provider;
mod random;
mod readers;
mod senders;
mod shipped;
mod standing;
mod units;
mod words;

use std::net::IpAddr;
use std::time::Duration;

use mail::{Reply, UnixMs};
use policy::verdict::Fault;
use rustc_hash::FxHashMap;

pub use connection::Connection;
pub use counters::{Causes, Counters, Reactions, Stands, Who};
pub use file::WorldError;
pub use limits::{Documented, Limit, Limits, Penalty, Per};
pub use line::{Latency, Line};
pub use load::Load;
pub use mailbox::{Nature, mailbox};
pub use readers::{Feedback, FeedbackKind};
pub use words::{Cause, Manner};

use identities::Identities;
use limits::Moment;
use provider::{From, Provider};
use readers::Calendar;
use standing::Deed;

/// The domain of whoever has all that nobody else has.
const CATCH_ALL: &str = "*";

/// Names a provider of one world: its place in the file, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderIndex(pub u16);

/// What a provider answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its words; nobody hears them when there is a [`Answer::fault`].
    pub reply: Reply,
    /// How long it takes to say them.
    pub delay: Duration,
    /// Whether it closes the connection after them.
    pub close: bool,
    /// Why it did not take the mail; `None` when it did.
    pub cause: Option<Cause>,
}

impl Answer {
    /// What happens instead of a reply: the client waits for one in vain, or the connection breaks.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        match self.cause {
            Some(Cause::Silence) => Some(Fault::ReplyTimeout),
            Some(Cause::HangUp) => Some(Fault::ConnectionLostAfterBody),
            _ => None,
        }
    }
}

/// What a world file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name; may be empty.
    pub name: String,
    /// What is to be seen in it; may be empty.
    pub about: String,
    /// The seed of the file.
    pub seed: Option<u64>,
    /// For how long it is to be simulated.
    pub duration: Duration,
    /// Whether limits are not as documented, or change.
    pub hidden_limits: bool,
}

/// Pretend providers and what they remember.
#[derive(Debug)]
pub struct World {
    providers: Vec<Provider>,
    by_domain: FxHashMap<String, ProviderIndex>,
    /// Who has all other domains.
    rest: Option<ProviderIndex>,
    about: About,
    load: Load,
    identities: Identities,
    calendar: Calendar,
    /// The first moment it heard of: ages count from there.
    start: Option<UnixMs>,
}

impl World {
    /// Five providers, in the manner of Gmail, Outlook, Yahoo, Libero, and of a small server that has all other domains.
    #[must_use]
    pub fn builtin(seed: u64) -> Self {
        Self::from_toml(shipped::BUILTIN, seed).expect("the world in the binary is right: a test reads it")
    }

    /// The worlds that come with the program: name and text of each.
    #[must_use]
    pub const fn shipped() -> &'static [(&'static str, &'static str)] {
        shipped::WORLDS
    }

    /// The text of a small world made by chance: some providers of any kind, and up to some thousands of recipients.
    #[must_use]
    pub fn random(seed: u64) -> String {
        random::text(seed)
    }

    /// The world of a file; a seed in the file goes before `seed`. docs/worlds.md explains its keys.
    ///
    /// # Errors
    /// Says what is wrong, in which line, and what would be right.
    pub fn from_toml(text: &str, seed: u64) -> Result<Self, WorldError> {
        Self::with_sources(text, seed, None)
    }

    /// The same with so many sources besides those of the pool `reserve`: the first ones of the file, or more that are like
    /// its first.
    ///
    /// # Errors
    /// As [`World::from_toml`].
    pub fn with_sources(text: &str, seed: u64, sources: Option<usize>) -> Result<Self, WorldError> {
        let mut file = file::read(text)?;
        if let Some(count) = sources {
            file.load.set_sources(count);
        }
        let seed = file.about.seed.unwrap_or(seed);
        let (mut by_domain, mut rest) = (FxHashMap::default(), None);
        for (settings, index) in file.providers.iter().zip((0..).map(ProviderIndex)) {
            by_domain.extend(settings.domains().map(|domain| (domain, index)));
            if settings.has_the_rest() {
                rest = Some(index);
            }
        }
        let (about, load) = (file.about, file.load);
        let provider = |(index, settings)| Provider::new(settings, ProviderIndex(index), seed, &load);
        let providers = (0..).zip(file.providers).map(provider).collect();
        let identities = Identities::of(&load);
        let calendar = Calendar::default();
        Ok(Self { providers, by_domain, rest, about, load, identities, calendar, start: None })
    }

    /// What its file says of itself.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// What is sent in it: nothing that the world does by itself.
    #[must_use]
    pub const fn load(&self) -> &Load {
        &self.load
    }

    /// All providers.
    pub fn providers(&self) -> impl Iterator<Item = ProviderIndex> + use<> {
        (0..self.providers.len() as u16).map(ProviderIndex)
    }

    /// The provider that has `domain`, in lower case.
    #[must_use]
    pub fn provider_for(&self, domain: &str) -> Option<ProviderIndex> {
        self.by_domain.get(domain).copied().or(self.rest)
    }

    /// The provider of this name.
    #[must_use]
    pub fn provider_named(&self, name: &str) -> Option<ProviderIndex> {
        self.providers().find(|&provider| self.name(provider) == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self, provider: ProviderIndex) -> &str {
        self.provider(provider).name()
    }

    /// The name of its mail server.
    #[must_use]
    pub fn host(&self, provider: ProviderIndex) -> &str {
        self.provider(provider).host()
    }

    /// In whose manner it speaks.
    #[must_use]
    pub fn manner(&self, provider: ProviderIndex) -> Manner {
        self.provider(provider).settings.manner
    }

    /// Its domains in lower case; `*` stands for all that no other has.
    #[must_use]
    pub fn domains(&self, provider: ProviderIndex) -> Vec<String> {
        self.provider(provider).settings.domains().collect()
    }

    /// What senders are told of its limits.
    #[must_use]
    pub fn documented(&self, provider: ProviderIndex) -> Documented {
        self.provider(provider).documented
    }

    /// Its true limits at this age of the world, for those who stand well with it.
    #[must_use]
    pub fn limits(&self, provider: ProviderIndex, age: Duration) -> &Limits {
        self.provider(provider).phases.at(age)
    }

    /// How long it takes for one message on a connection, on average and without the way there.
    #[must_use]
    pub fn transaction_time(&self, provider: ProviderIndex) -> Duration {
        let latency = self.provider(provider).settings.latency;
        latency.command.0 * 2 + latency.body.0
    }

    /// Sites with hosts of their own among which its customers are divided; a client connects to one of them.
    #[must_use]
    pub fn sites(&self, provider: ProviderIndex) -> u16 {
        self.provider(provider).settings.hosts.sites.max(1)
    }

    /// At which ages of the world its limits change; the first is zero.
    #[must_use]
    pub fn limit_changes(&self, provider: ProviderIndex) -> Vec<Duration> {
        self.provider(provider).phases.beginnings()
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self, provider: ProviderIndex) -> Counters {
        self.provider(provider).counters
    }

    /// How those stand with it that it has heard of; nobody when it judges nobody.
    #[must_use]
    pub fn standings(&self, provider: ProviderIndex) -> Vec<Stands> {
        self.provider(provider).standings(&self.identities)
    }

    /// Lets the world begin at `now`, from which its ages count; without it, it begins with the first that happens.
    pub fn begin(&mut self, now: UnixMs) {
        self.start.get_or_insert(now);
    }

    /// A connection from `ip` to an address behind which all providers stand: the recipients decide whose mail it is.
    pub fn connect(&mut self, ip: IpAddr, now: UnixMs) -> (Connection, Answer) {
        connection::connect(self, None, ip, now)
    }

    /// A connection from `ip` to the mail server of one provider.
    pub fn connect_to(&mut self, provider: ProviderIndex, ip: IpAddr, now: UnixMs) -> (Connection, Answer) {
        connection::connect(self, Some(provider), ip, now)
    }

    /// Adds to `out` what readers have done by `now` and what was not fetched before, oldest first.
    pub fn feedback(&mut self, now: UnixMs, out: &mut Vec<Feedback>) {
        self.moment(now);
        self.calendar.fetch(out);
    }

    /// When there is something for [`World::feedback`] next.
    #[must_use]
    pub fn next_feedback(&self) -> Option<UnixMs> {
        self.calendar.next()
    }

    fn provider(&self, provider: ProviderIndex) -> &Provider {
        &self.providers[usize::from(provider.0)]
    }

    fn provider_mut(&mut self, provider: ProviderIndex) -> &mut Provider {
        &mut self.providers[usize::from(provider.0)]
    }

    /// Lets the world come to `now`.
    fn moment(&mut self, now: UnixMs) -> Moment {
        let start = *self.start.get_or_insert(now);
        while let Some(feedback) = self.calendar.take_due(now) {
            self.react(feedback);
        }
        Moment { now, age_ms: now.0.saturating_sub(start.0) }
    }

    /// Lets the world and the limits of one provider come to `now`.
    fn at(&mut self, provider: ProviderIndex, now: UnixMs) -> Moment {
        let moment = self.moment(now);
        self.provider_mut(provider).phases.age(Duration::from_millis(moment.age_ms));
        moment
    }

    /// A reader has done something.
    fn react(&mut self, feedback: Feedback) {
        let identity = match &*feedback.identity {
            "" => identities::Slot::NOBODY,
            domain => self.identities.slot(domain),
        };
        let row = &mut self.providers[usize::from(feedback.provider.0)];
        let readers = &mut row.counters.readers;
        match feedback.kind {
            FeedbackKind::Open => readers.opens += 1,
            FeedbackKind::Click => readers.clicks += 1,
            FeedbackKind::Unsubscribe => readers.unsubscribes += 1,
            FeedbackKind::Complaint => {
                readers.complaints += 1;
                row.note_all(From { ip: feedback.ip, identity, sender: 0 }, Deed::Complaint);
            }
        }
        if row.settings.readers.told || feedback.kind != FeedbackKind::Complaint {
            self.calendar.tell(feedback);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_world_has_five_providers_and_all_domains() {
        let world = World::builtin(1);
        let names: Vec<_> = world.providers().map(|provider| world.name(provider)).collect();
        assert_eq!(names, ["gmail", "outlook", "yahoo", "libero", "small-server"]);
        for (domain, name) in
            [("gmail.com", "gmail"), ("virgilio.test", "libero"), ("x.example", "small-server")]
        {
            assert_eq!(world.provider_for(domain).map(|provider| world.name(provider)), Some(name));
        }
        assert!(world.provider_named("nobody").is_none());
    }
}
