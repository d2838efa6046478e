//! The sending side of a world file: who sends what from where. The world itself uses of it only how sources and
//! identities stand and how readers like an identity's mail; the rest is for a simulator.

use std::net::IpAddr;
use std::time::Duration;

use mail::Class;
use policy::Rate;

use crate::ProviderIndex;

/// All that is sent in a world.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Source addresses, in the order of the file.
    pub sources: Vec<Source>,
    /// Sender domains.
    pub identities: Vec<Identity>,
    /// Customers of the sender.
    pub tenants: Vec<Tenant>,
    /// Mail to lists.
    pub campaigns: Vec<Campaign>,
    /// Mail that flows one by one.
    pub streams: Vec<Stream>,
}

/// The pool of sources that are not counted among those that send.
pub const RESERVE: &str = "reserve";

impl Load {
    /// Takes the first `count` sources, or adds some that are like the first; those in reserve stay.
    pub(crate) fn set_sources(&mut self, count: usize) {
        let (reserve, mut used): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sources).into_iter().partition(|source| source.pool == RESERVE);
        used.truncate(count.max(1));
        let mut next = reserve.iter().chain(&used).map(|source| source.ip).max();
        while let (Some(first), Some(last)) = (used.first().filter(|_| used.len() < count), next) {
            let ip = after(last);
            let name = format!("{}-{}", first.name, used.len() + 1);
            used.push(Source { name, ip, ..first.clone() });
            next = Some(ip);
        }
        self.sources = used.into_iter().chain(reserve).collect();
    }
}

/// The address behind another one.
fn after(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).wrapping_add(1).to_be_bytes().into(),
        IpAddr::V6(ip) => u128::from(ip).wrapping_add(1).to_be_bytes().into(),
    }
}

/// A source address.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The address, as the providers see it.
    pub ip: IpAddr,
    /// The pool it belongs to; `main` unless said.
    pub pool: String,
    /// Whether providers know it.
    pub warm: Warmth,
    /// How it stands with providers at the beginning.
    pub standing: Standings,
    /// Mails a day that each provider is used to from it; `None`: as [`Warmth`] has it.
    pub usual: Option<u32>,
}

/// How long providers have known a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warmth {
    /// Long enough for any volume.
    Warm,
    /// Not at all.
    Cold,
    /// It has been warmed up for `age` by the ladder of this name.
    Ladder {
        /// Since it began.
        age: Duration,
        /// Of the ladder.
        name: String,
    },
}

/// How somebody stands with providers at the beginning: 0 is the worst, 1 the best.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standings {
    /// With all that are not named; `None`: as with a stranger.
    pub all: Option<f64>,
    /// With these.
    pub at: Vec<(ProviderIndex, f64)>,
}

impl Standings {
    /// How it stands with `provider`, if anything was said.
    #[must_use]
    pub fn with(&self, provider: ProviderIndex) -> Option<f64> {
        let own = self.at.iter().find(|(at, _)| *at == provider).map(|&(_, standing)| standing);
        own.or(self.all)
    }
}

/// A sender domain: that of MAIL FROM decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// In lower case.
    pub domain: String,
    /// Share of its mails that readers complain about; `None`: as of any mail at the provider.
    pub complaint: Option<f64>,
    /// Share that they open.
    pub open: Option<f64>,
    /// Share of the opened ones in which they click.
    pub click: Option<f64>,
    /// Share of the opened ones after which they unsubscribe.
    pub unsubscribe: Option<f64>,
    /// How it stands with providers at the beginning.
    pub standing: Standings,
    /// Mails a day that each provider is used to from it; `None`: any volume when a standing is given, none otherwise.
    pub usual: Option<u32>,
}

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
}

/// Mail to a list, handed over at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    /// Its name.
    pub name: String,
    /// The position in [`Load::tenants`]; `None`: nobody's in particular.
    pub tenant: Option<usize>,
    /// The position in [`Load::identities`].
    pub identity: usize,
    /// Bulk unless said.
    pub class: Class,
    /// When it is handed over, from the beginning of the world.
    pub starts: Duration,
    /// How many.
    pub recipients: u64,
    /// Where they have their mailboxes: shares that sum to 1.
    pub to: Vec<(ProviderIndex, f64)>,
    /// What is special about them.
    pub list: ListShares,
    /// Bytes of one message.
    pub size: u32,
}

/// What is special about the recipients of a list: shares whose local parts are to be marked with `unknown`, `full`, `trap`
/// and `complain`, and how many different ones there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ListShares {
    /// Different mailboxes; the mail goes round among them. `None`: each mail has its own.
    pub mailboxes: Option<u64>,
    /// Mailboxes that do not exist.
    pub unknown: f64,
    /// That are full.
    pub full: f64,
    /// That are spam traps.
    pub trap: f64,
    /// Whose readers complain.
    pub complain: f64,
}

/// Mail that flows at a rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// The position in [`Load::tenants`].
    pub tenant: Option<usize>,
    /// The position in [`Load::identities`].
    pub identity: usize,
    /// Transactional unless said.
    pub class: Class,
    /// Messages of one recipient each.
    pub rate: Rate,
    /// Where they have their mailboxes: shares that sum to 1.
    pub to: Vec<(ProviderIndex, f64)>,
    /// By when each must have arrived, after it was handed over.
    pub deadline: Option<Duration>,
    /// When it begins, from the beginning of the world.
    pub from: Duration,
    /// When it ends; `None`: with the world.
    pub until: Option<Duration>,
    /// What is special about its recipients.
    pub list: ListShares,
    /// Bytes of one message.
    pub size: u32,
}
