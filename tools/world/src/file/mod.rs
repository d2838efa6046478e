//! The world file: what was written, and whether it makes a world. What a wrong line should be instead is said with it.

mod load;
mod provider;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;

use crate::load::Load;
use crate::units::Span;
use crate::words::{Wording, WordingFault};
use crate::{About, CATCH_ALL};

pub(crate) use provider::{Mailboxes, Outage, Settings, StatedDocumented, StatedLimit, StatedLimits};

/// Providers of a world, at most: a limit of the index that names them.
const PROVIDERS_MAX: usize = 1000;

/// Why a text is not a world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// It is not TOML, or a key or value in it is wrong; the message shows the line and what would be right.
    #[error("the world file is wrong: {0}")]
    Text(#[from] toml::de::Error),
    /// There is no provider.
    #[error("the world file names no provider: add a [[provider]] with name and domains")]
    NoProvider,
    /// What stands in a line does not fit the rest of the file.
    #[error("the world file is wrong in line {line}: {what}; {cure}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
        /// What to write instead.
        cure: String,
    },
}

/// Turns places in a text into errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a>(&'a str);

impl Place<'_> {
    pub(crate) fn wrong(self, at: &Range<usize>, what: String, cure: impl Into<String>) -> WorldError {
        let before = &self.0.as_bytes()[..at.start.min(self.0.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        WorldError::Line { line, what, cure: cure.into() }
    }
}

/// A world file as it was written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    #[serde(default)]
    name: String,
    #[serde(default)]
    about: String,
    /// Takes the place of the seed of the caller.
    seed: Option<u64>,
    duration: Option<Span>,
    #[serde(default)]
    hidden_limits: bool,
    #[serde(default)]
    provider: Vec<Settings>,
    #[serde(default)]
    source: Vec<load::StatedSource>,
    #[serde(default)]
    identity: Vec<load::StatedIdentity>,
    #[serde(default)]
    tenant: Vec<load::StatedTenant>,
    #[serde(default)]
    campaign: Vec<load::StatedCampaign>,
    #[serde(default)]
    stream: Vec<load::StatedStream>,
}

/// A world file that was read and checked.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) about: About,
    pub(crate) providers: Vec<Settings>,
    pub(crate) load: Load,
}

/// How long a world lasts that does not say.
const DURATION: Duration = Duration::from_secs(3600);

/// Reads and checks a world file.
pub(crate) fn read(text: &str) -> Result<File, WorldError> {
    let mut stated: Stated = toml::from_str(text)?;
    if stated.provider.is_empty() {
        return Err(WorldError::NoProvider);
    }
    let place = Place(text);
    check_names(&stated.provider, place)?;
    for provider in &mut stated.provider {
        check_replies(provider, place)?;
        provider.changes.sort_by_key(|change| change.after.0);
    }
    let names: Vec<&str> = stated.provider.iter().map(|provider| provider.name.get_ref().as_str()).collect();
    let load = load::Reader { place, providers: &names }.load(load::StatedLoad {
        sources: stated.source,
        identities: stated.identity,
        tenants: stated.tenant,
        campaigns: stated.campaign,
        streams: stated.stream,
    })?;
    let about = About {
        name: stated.name,
        about: stated.about,
        seed: stated.seed,
        duration: stated.duration.map_or(DURATION, |span| span.0),
        hidden_limits: stated.hidden_limits,
    };
    Ok(File { about, providers: stated.provider, load })
}

fn check_names(providers: &[Settings], place: Place<'_>) -> Result<(), WorldError> {
    let mut names: Vec<&str> = Vec::new();
    let mut domains: BTreeMap<String, &str> = BTreeMap::new();
    if let Some(one_more) = providers.get(PROVIDERS_MAX) {
        let what = format!("this is provider {}", PROVIDERS_MAX + 1);
        return Err(place.wrong(&one_more.name.span(), what, "name fewer of them"));
    }
    for provider in providers {
        let name = provider.name.get_ref().as_str();
        if names.contains(&name) {
            let what = format!("two providers are named `{name}`");
            return Err(place.wrong(&provider.name.span(), what, "give each a name of its own"));
        }
        names.push(name);
        for domain in &provider.domains {
            if let Some(first) = domains.insert(domain.get_ref().to_lowercase(), name) {
                let what =
                    format!("the domain `{}` belongs to both `{first}` and `{name}`", domain.get_ref());
                return Err(place.wrong(&domain.span(), what, "give it to one of them"));
            }
        }
    }
    Ok(())
}

fn check_replies(provider: &Settings, place: Place<'_>) -> Result<(), WorldError> {
    for reply in provider.replies.values().flat_map(|replies| &replies.0) {
        if let Err(fault) = Wording::read(reply.get_ref()) {
            let what = format!("the reply `{}` {fault}", reply.get_ref());
            return Err(place.wrong(&reply.span(), what, fault.cure()));
        }
    }
    Ok(())
}

impl WordingFault {
    const fn cure(&self) -> &'static str {
        match self {
            Self::Code => "begin it as in \"450 4.7.1 too much mail from {ip}\"",
            Self::Brace => "write {ip}, {host}, {to} or {domain}",
            Self::Line => "write it in one line",
        }
    }
}

impl Settings {
    /// The domains in lower case.
    pub(crate) fn domains(&self) -> impl Iterator<Item = String> {
        self.domains.iter().map(|domain| domain.get_ref().to_lowercase())
    }

    /// Whether it has all domains that nobody else has.
    pub(crate) fn has_the_rest(&self) -> bool {
        self.domains.iter().any(|domain| domain.get_ref() == CATCH_ALL)
    }
}

#[cfg(test)]
mod tests;
