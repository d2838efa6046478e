//! The world file: what was written, and whether it makes a world.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::units::{PerTime, Share, Span};
use crate::words::{Cause, Manner, Names, fill};

/// Why a text is not a world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// It is not TOML, or a key or value in it is wrong; the message shows the line.
    #[error("the world file is wrong: {0}")]
    Text(#[from] toml::de::Error),
    /// There is no provider.
    #[error("the world file names no provider: add a [[provider]] with name and domains")]
    NoProvider,
    /// Two providers have one name.
    #[error("two providers are named `{0}`: each needs a name of its own")]
    SameName(String),
    /// Two providers have one domain.
    #[error("the domain `{domain}` belongs to both `{first}` and `{second}`: give it to one of them")]
    SameDomain {
        /// The domain.
        domain: String,
        /// The provider that names it first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A reply of a provider is not a refusal.
    #[error("provider `{provider}`: the reply `{reply}` does not begin with a code from 400 to 599")]
    Reply {
        /// The provider.
        provider: String,
        /// What was written.
        reply: String,
    },
}

/// A world file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Takes the place of the seed of the caller.
    pub(crate) seed: Option<u64>,
    #[serde(default)]
    pub(crate) provider: Vec<Settings>,
}

/// One provider as it was written. What is left out is not limited.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) manner: Manner,
    pub(crate) host: Option<String>,
    /// `*` has all domains that no other provider has.
    pub(crate) domains: Vec<String>,
    #[serde(default)]
    pub(crate) latency: Latency,
    /// Open connections per source address.
    pub(crate) connections: Option<u32>,
    pub(crate) messages_per_connection: Option<u32>,
    pub(crate) recipients_per_message: Option<u32>,
    /// Recipients per time and source address.
    pub(crate) rate: Option<PerTime>,
    pub(crate) greylist: Option<Greylist>,
    #[serde(default)]
    pub(crate) mailboxes: Mailboxes,
    #[serde(default)]
    pub(crate) content: Content,
    #[serde(default)]
    pub(crate) outages: Vec<Outage>,
    /// Words of its own instead of those of its manner.
    #[serde(default)]
    pub(crate) replies: BTreeMap<Cause, String>,
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

/// Which mailboxes do not take mail.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mailboxes {
    /// That do not exist, besides those that begin with `unknown`.
    pub(crate) unknown: Share,
    /// That are full, besides those that begin with `full`.
    pub(crate) full: Share,
    /// For how long one is full before it is emptied, for as long, and full again; left out: for ever.
    pub(crate) full_for: Option<Span>,
}

/// Which messages look like spam.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Content {
    pub(crate) refused_words: Vec<String>,
    /// Of the messages, whatever is in them.
    pub(crate) refused: Share,
}

/// When the provider is out of order, counted from the first moment of the world.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outage {
    pub(crate) after: Span,
    pub(crate) lasts: Span,
    /// From the beginning of one to that of the next; left out: once.
    pub(crate) every: Option<Span>,
}

/// Reads and checks a world file.
pub(crate) fn read(text: &str) -> Result<File, WorldError> {
    let mut file: File = toml::from_str(text)?;
    if file.provider.is_empty() {
        return Err(WorldError::NoProvider);
    }
    let mut names: Vec<&str> = Vec::new();
    let mut domains: BTreeMap<String, &str> = BTreeMap::new();
    for provider in &file.provider {
        if names.contains(&provider.name.as_str()) {
            return Err(WorldError::SameName(provider.name.clone()));
        }
        names.push(&provider.name);
        for domain in provider.domains.iter().map(|domain| domain.to_lowercase()) {
            if let Some(first) = domains.insert(domain.clone(), &provider.name) {
                let (first, second) = (first.to_owned(), provider.name.clone());
                return Err(WorldError::SameDomain { domain, first, second });
            }
        }
        check_replies(provider)?;
    }
    for provider in &mut file.provider {
        provider.domains.iter_mut().for_each(|domain| *domain = domain.to_lowercase());
    }
    Ok(file)
}

fn check_replies(provider: &Settings) -> Result<(), WorldError> {
    let names = Names { ip: "192.0.2.1", host: "mx.test", to: "a@x.test" };
    let is_wrong = |reply: &&String| fill(reply, names).is_none() || reply.contains(['\r', '\n']);
    match provider.replies.values().find(is_wrong) {
        Some(reply) => Err(WorldError::Reply { provider: provider.name.clone(), reply: reply.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_files_say_what_is_wrong_and_where() {
        for (text, expected) in [
            ("", "names no provider"),
            ("[[provider]]\nname = 'a'\ndomains = []\nfoo = 1", "line 4"),
            ("[[provider]]\nname = 'a'", "domains"),
            ("[[provider]]\nname = 'a'\ndomains = []\nrate = 'fast'", "`fast` is not a rate"),
            ("[[provider]]\nname = 'a'\ndomains = []\nmanner = 'rude'", "rude"),
            (
                "[[provider]]\nname='a'\ndomains=[]\n[[provider]]\nname='a'\ndomains=[]",
                "two providers are named `a`",
            ),
            (
                "[[provider]]\nname='a'\ndomains=['x']\n[[provider]]\nname='b'\ndomains=['X']",
                "`x` belongs to both `a` and `b`",
            ),
            ("[[provider]]\nname='a'\ndomains=['x']\nreplies={outage='250 ok'}", "`250 ok` does not begin"),
            ("[[provider]]\nname='a'\ndomains=['x']\nmailboxes={unknown=2.0}", "2 is not a share"),
        ] {
            let message = read(text).expect_err("the file is wrong").to_string();
            assert!(message.contains(expected), "{text}\n{message}");
        }
    }
}
