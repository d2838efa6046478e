//! `[[provider]]`: one mailbox provider as it was written.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use toml::Spanned;

use crate::limits::Per;
use crate::readers::Readers;
use crate::standing::Reputation;
use crate::units::{PerTime, Share, Span};
use crate::words::{Cause, Manner};

/// One provider. What is left out is not limited and does not happen.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: Spanned<String>,
    pub(crate) manner: Manner,
    pub(crate) hosts: Hosts,
    /// `*` has all domains that no other provider has.
    pub(crate) domains: Vec<Spanned<String>>,
    pub(crate) latency: Latency,
    pub(crate) limits: StatedLimits,
    pub(crate) documented: StatedDocumented,
    pub(crate) changes: Vec<Change>,
    pub(crate) greylist: Option<Greylist>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) readers: Readers,
    pub(crate) content: Content,
    pub(crate) trouble: Trouble,
    pub(crate) reputation: Option<Reputation>,
    /// Words of its own instead of those of its manner.
    pub(crate) replies: BTreeMap<Cause, Replies>,
}

/// Who answers for it.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    /// The name of its mail server.
    pub(crate) name: Option<String>,
    /// Among so many sites its customers are divided, each with hosts of its own; what it limits are all of them together.
    pub(crate) sites: u16,
}

/// What it is limited to, as far as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatedLimits {
    /// Open connections per source address.
    pub(crate) connections: Option<u32>,
    pub(crate) messages_per_connection: Option<u32>,
    pub(crate) recipients_per_message: Option<u32>,
    /// Recipients per time and source address: short for one of `limits`.
    pub(crate) rate: Option<PerTime>,
    pub(crate) limits: Option<Vec<StatedLimit>>,
}

/// One of `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatedLimit {
    pub(crate) per: Per,
    pub(crate) rate: PerTime,
    pub(crate) penalty: Option<StatedPenalty>,
}

/// What goes on being sent against a limit costs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatedPenalty {
    /// Refusals within a minute that are borne.
    pub(crate) refusals: u32,
    /// For how long everything is refused after one more.
    pub(crate) lasts: Span,
}

/// What senders are told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StatedDocumented {
    /// Nothing: `documented = false`.
    Nothing,
    /// This, and the truth where it says nothing.
    Told(Told),
}

/// What senders are told that is not the truth.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Told {
    pub(crate) connections: Option<u32>,
    pub(crate) rate: Option<PerTime>,
    pub(crate) messages_per_connection: Option<u32>,
    pub(crate) recipients_per_message: Option<u32>,
    pub(crate) pipeline_depth: Option<u16>,
}

impl<'de> Deserialize<'de> for StatedDocumented {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = StatedDocumented;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, or a table of limits")
            }

            fn visit_bool<E: de::Error>(self, told: bool) -> Result<StatedDocumented, E> {
                let truth = StatedDocumented::Told(Told::default());
                Ok(if told { truth } else { StatedDocumented::Nothing })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StatedDocumented, A::Error> {
                Told::deserialize(de::value::MapAccessDeserializer::new(map)).map(StatedDocumented::Told)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// Limits that take the place of others at some time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) after: Span,
    connections: Option<u32>,
    messages_per_connection: Option<u32>,
    recipients_per_message: Option<u32>,
    rate: Option<PerTime>,
    limits: Option<Vec<StatedLimit>>,
}

/// How long replies take.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Latency {
    pub(crate) banner: Span,
    /// MAIL and RCPT.
    pub(crate) command: Span,
    pub(crate) body: Span,
    /// How much of it varies, up and down.
    pub(crate) jitter: Share,
}

/// Who must come again.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Greylist {
    pub(crate) delay: Span,
    /// Of the triplets of source address, sender and recipient.
    #[serde(default = "everyone")]
    pub(crate) share: Share,
}

const fn everyone() -> Share {
    Share::ALL
}

/// What is special about mailboxes, besides those whose local part says so.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mailboxes {
    /// That do not exist.
    pub(crate) unknown: Share,
    /// That are full for good: refused with a 5yz.
    pub(crate) abandoned: Share,
    /// That are full: put off with a 4yz.
    pub(crate) full: Share,
    /// For how long one is full before it is emptied, for as long, and full again; left out: for ever.
    pub(crate) full_for: Option<Span>,
    /// When all are emptied for good.
    pub(crate) full_until: Option<Span>,
    /// That nobody reads and that tell the provider who sends to them.
    pub(crate) traps: Share,
    /// What one mailbox takes.
    pub(crate) rate: Option<PerTime>,
}

/// Which messages look like spam.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Content {
    pub(crate) refused_words: Vec<String>,
    /// Of the messages, whatever is in them.
    pub(crate) refused: Share,
}

/// What goes wrong with its servers and the way to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) outages: Vec<Outage>,
    pub(crate) faults: Faults,
}

/// When the provider is out of order, counted from the first moment of the world.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outage {
    pub(crate) after: Span,
    pub(crate) lasts: Span,
    /// From the beginning of one to that of the next; left out: once.
    pub(crate) every: Option<Span>,
    /// Nothing is said at all, not even that it is out of order.
    #[serde(default)]
    pub(crate) silent: bool,
}

/// Shares of connections or messages that fail without a word.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Faults {
    /// Connections that are never greeted.
    pub(crate) loss: Share,
    /// Connections whose TLS handshake fails.
    pub(crate) tls: Share,
    /// Messages after which the connection breaks instead of a reply; they are not taken.
    pub(crate) hang_up: Share,
}

/// One reply or several in turn.
#[derive(Clone, Debug)]
pub(crate) struct Replies(pub(crate) Vec<Spanned<String>>);

impl<'de> Deserialize<'de> for Replies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a reply in quotes, or a list of them")]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        let written = Spanned::<Written>::deserialize(deserializer)?;
        let span = written.span();
        let replies = match written.into_inner() {
            Written::One(reply) => vec![reply],
            Written::Several(replies) => replies,
        };
        Ok(Self(replies.into_iter().map(|reply| Spanned::new(span.clone(), reply)).collect()))
    }
}

impl Change {
    /// What it says of limits.
    pub(crate) fn limits(&self) -> StatedLimits {
        StatedLimits {
            connections: self.connections,
            messages_per_connection: self.messages_per_connection,
            recipients_per_message: self.recipients_per_message,
            rate: self.rate,
            limits: self.limits.clone(),
        }
    }
}

/// The keys of `[[provider]]`.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Name,
    Manner,
    Host,
    Sites,
    Domains,
    Latency,
    Connections,
    MessagesPerConnection,
    RecipientsPerMessage,
    Rate,
    Limits,
    Documented,
    Changes,
    Greylist,
    Mailboxes,
    Readers,
    Content,
    Outages,
    Faults,
    Reputation,
    Replies,
}

impl<'de> Deserialize<'de> for Settings {
    /// By hand, since a table of twenty keys makes a struct of groups.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table of a provider")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
        let (mut name, mut domains, mut settings) = (None, None, Settings::empty());
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Name => name = Some(map.next_value()?),
                Key::Manner => settings.manner = map.next_value()?,
                Key::Host => settings.hosts.name = Some(map.next_value()?),
                Key::Sites => settings.hosts.sites = map.next_value()?,
                Key::Domains => domains = Some(map.next_value()?),
                Key::Latency => settings.latency = map.next_value()?,
                Key::Connections => settings.limits.connections = Some(map.next_value()?),
                Key::MessagesPerConnection => {
                    settings.limits.messages_per_connection = Some(map.next_value()?);
                }
                Key::RecipientsPerMessage => settings.limits.recipients_per_message = Some(map.next_value()?),
                Key::Rate => settings.limits.rate = Some(map.next_value()?),
                Key::Limits => settings.limits.limits = Some(map.next_value()?),
                Key::Documented => settings.documented = map.next_value()?,
                Key::Changes => settings.changes = map.next_value()?,
                Key::Greylist => settings.greylist = Some(map.next_value()?),
                Key::Mailboxes => settings.mailboxes = map.next_value()?,
                Key::Readers => settings.readers = map.next_value()?,
                Key::Content => settings.content = map.next_value()?,
                Key::Outages => settings.trouble.outages = map.next_value()?,
                Key::Faults => settings.trouble.faults = map.next_value()?,
                Key::Reputation => settings.reputation = Some(map.next_value()?),
                Key::Replies => settings.replies = map.next_value()?,
            }
        }
        settings.name = name.ok_or_else(|| de::Error::missing_field("name"))?;
        settings.domains = domains.ok_or_else(|| de::Error::missing_field("domains"))?;
        Ok(settings)
    }
}

impl Settings {
    fn empty() -> Self {
        Self {
            name: Spanned::new(0..0, String::new()),
            manner: Manner::default(),
            hosts: Hosts { name: None, sites: 1 },
            domains: Vec::new(),
            latency: Latency::default(),
            limits: StatedLimits::default(),
            documented: StatedDocumented::Told(Told::default()),
            changes: Vec::new(),
            greylist: None,
            mailboxes: Mailboxes::default(),
            readers: Readers::default(),
            content: Content::default(),
            trouble: Trouble::default(),
            reputation: None,
            replies: BTreeMap::new(),
        }
    }
}
