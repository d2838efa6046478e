//! `[[source]]`, `[[identity]]`, `[[tenant]]`, `[[campaign]]`, `[[stream]]`: as they were written, and what they mean.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mail::Class;
use serde::Deserialize;
use toml::Spanned;

use super::{Place, WorldError};
use crate::ProviderIndex;
use crate::load::{Campaign, Identity, ListShares, Load, Source, Standings, Stream, Tenant, Warmth};
use crate::units::{PerTime, Share, Span, duration};

/// The pool of sources that name none.
const POOL: &str = "main";
/// Bytes of a message that does not say: a newsletter without pictures, a notice.
const CAMPAIGN_BYTES: u32 = 40_000;
const STREAM_BYTES: u32 = 8_000;

/// All tables of the sending side.
#[derive(Debug)]
pub(super) struct StatedLoad {
    pub(super) sources: Vec<StatedSource>,
    pub(super) identities: Vec<StatedIdentity>,
    pub(super) tenants: Vec<StatedTenant>,
    pub(super) campaigns: Vec<StatedCampaign>,
    pub(super) streams: Vec<StatedStream>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedSource {
    name: Spanned<String>,
    ip: Spanned<IpAddr>,
    pool: Option<String>,
    warm: Option<Spanned<StatedWarmth>>,
    standing: Option<Spanned<StatedStanding>>,
    usual: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "true, false, or an age and a ladder such as \"12d careful\"")]
enum StatedWarmth {
    Is(bool),
    Ladder(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a share, or a table such as { gmail = 0.1, \"*\" = 0.9 }")]
enum StatedStanding {
    All(f64),
    At(BTreeMap<String, f64>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedIdentity {
    domain: Spanned<String>,
    complaint: Option<Share>,
    open: Option<Share>,
    click: Option<Share>,
    unsubscribe: Option<Share>,
    standing: Option<Spanned<StatedStanding>>,
    usual: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedTenant {
    name: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedCampaign {
    name: Spanned<String>,
    tenant: Option<Spanned<String>>,
    identity: Spanned<String>,
    class: Option<Class>,
    starts: Option<Span>,
    recipients: u64,
    to: Option<Spanned<BTreeMap<Spanned<String>, f64>>>,
    #[serde(default)]
    list: StatedList,
    size: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedStream {
    name: Spanned<String>,
    tenant: Option<Spanned<String>>,
    identity: Spanned<String>,
    class: Option<Class>,
    rate: PerTime,
    to: Option<Spanned<BTreeMap<Spanned<String>, f64>>>,
    deadline: Option<Span>,
    from: Option<Span>,
    until: Option<Span>,
    #[serde(default)]
    list: StatedList,
    size: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StatedList {
    mailboxes: Option<u64>,
    unknown: Share,
    full: Share,
    trap: Share,
    complain: Share,
}

/// Knows what tables may refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) place: Place<'a>,
    pub(super) providers: &'a [&'a str],
}

impl Reader<'_> {
    pub(super) fn load(self, stated: StatedLoad) -> Result<Load, WorldError> {
        self.unlike("sources", stated.sources.iter().map(|source| &source.name))?;
        self.unlike("identities", stated.identities.iter().map(|identity| &identity.domain))?;
        self.unlike("tenants", stated.tenants.iter().map(|tenant| &tenant.name))?;
        let flows = stated.campaigns.iter().map(|campaign| &campaign.name);
        self.unlike("campaigns or streams", flows.chain(stated.streams.iter().map(|stream| &stream.name)))?;
        let sources = stated.sources.into_iter().map(|source| self.source(source));
        let identities = stated.identities.into_iter().map(|identity| self.identity(identity));
        let tenants = stated.tenants.into_iter().map(|tenant| Tenant { name: tenant.name.into_inner() });
        let mut load = Load {
            sources: sources.collect::<Result<_, _>>()?,
            identities: identities.collect::<Result<_, _>>()?,
            tenants: tenants.collect(),
            ..Load::default()
        };
        for campaign in stated.campaigns {
            load.campaigns.push(self.campaign(&load, campaign)?);
        }
        for stream in stated.streams {
            load.streams.push(self.stream(&load, stream)?);
        }
        Ok(load)
    }

    fn unlike<'n>(
        self,
        what: &str,
        names: impl Iterator<Item = &'n Spanned<String>>,
    ) -> Result<(), WorldError> {
        let mut seen: Vec<String> = Vec::new();
        for name in names {
            let text = name.get_ref().to_lowercase();
            if seen.contains(&text) {
                let what = format!("two {what} are called `{text}`");
                return Err(self.place.wrong(&name.span(), what, "give each a name of its own"));
            }
            seen.push(text);
        }
        Ok(())
    }

    fn source(self, stated: StatedSource) -> Result<Source, WorldError> {
        let warm = match stated.warm {
            None => Warmth::Warm,
            Some(written) => {
                let span = written.span();
                match written.into_inner() {
                    StatedWarmth::Is(true) => Warmth::Warm,
                    StatedWarmth::Is(false) => Warmth::Cold,
                    StatedWarmth::Ladder(text) => ladder(&text).ok_or_else(|| {
                        let what = format!("`{text}` is not an age and a ladder");
                        self.place.wrong(&span, what, "write true, false, or as in \"12d careful\"")
                    })?,
                }
            }
        };
        let standing = self.standing(stated.standing)?;
        Ok(Source {
            name: stated.name.into_inner(),
            ip: stated.ip.into_inner(),
            pool: stated.pool.unwrap_or_else(|| POOL.to_owned()),
            warm,
            standing,
            usual: stated.usual,
        })
    }

    fn identity(self, stated: StatedIdentity) -> Result<Identity, WorldError> {
        let standing = self.standing(stated.standing)?;
        let share = |share: Option<Share>| share.map(|share| share.0);
        Ok(Identity {
            domain: stated.domain.into_inner().to_lowercase(),
            complaint: share(stated.complaint),
            open: share(stated.open),
            click: share(stated.click),
            unsubscribe: share(stated.unsubscribe),
            standing,
            usual: stated.usual,
        })
    }

    fn standing(self, stated: Option<Spanned<StatedStanding>>) -> Result<Standings, WorldError> {
        let mut standings = Standings::default();
        let Some(stated) = stated else { return Ok(standings) };
        let span = stated.span();
        match stated.into_inner() {
            StatedStanding::All(standing) => standings.all = Some(standing),
            StatedStanding::At(table) => {
                for (name, standing) in table {
                    match name.as_str() {
                        "*" => standings.all = Some(standing),
                        _ => standings.at.push((self.provider(&Spanned::new(span.clone(), name))?, standing)),
                    }
                }
            }
        }
        let mut all = standings.at.iter().map(|&(_, standing)| standing).chain(standings.all);
        match all.find(|standing| !(0.0..=1.0).contains(standing)) {
            Some(wrong) => {
                let what = format!("{wrong} is not a standing");
                Err(self.place.wrong(&span, what, "write a number between 0.0, the worst, and 1.0"))
            }
            None => Ok(standings),
        }
    }

    fn campaign(self, load: &Load, stated: StatedCampaign) -> Result<Campaign, WorldError> {
        Ok(Campaign {
            tenant: stated.tenant.map(|name| self.tenant(load, &name)).transpose()?,
            identity: self.known_identity(load, &stated.identity)?,
            to: self.shares(stated.to)?,
            name: stated.name.into_inner(),
            class: stated.class.unwrap_or(Class::Bulk),
            starts: stated.starts.map_or(Duration::ZERO, |span| span.0),
            recipients: stated.recipients,
            list: stated.list.into(),
            size: stated.size.unwrap_or(CAMPAIGN_BYTES),
        })
    }

    fn stream(self, load: &Load, stated: StatedStream) -> Result<Stream, WorldError> {
        Ok(Stream {
            tenant: stated.tenant.map(|name| self.tenant(load, &name)).transpose()?,
            identity: self.known_identity(load, &stated.identity)?,
            to: self.shares(stated.to)?,
            name: stated.name.into_inner(),
            class: stated.class.unwrap_or(Class::Transactional),
            rate: stated.rate.0,
            deadline: stated.deadline.map(|span| span.0),
            from: stated.from.map_or(Duration::ZERO, |span| span.0),
            until: stated.until.map(|span| span.0),
            list: stated.list.into(),
            size: stated.size.unwrap_or(STREAM_BYTES),
        })
    }

    fn provider(self, name: &Spanned<String>) -> Result<ProviderIndex, WorldError> {
        let found = (0..).zip(self.providers).find(|(_, known)| *known == name.get_ref());
        found.map(|(index, _)| ProviderIndex(index)).ok_or_else(|| {
            let what = format!("there is no provider `{}`", name.get_ref());
            self.place.wrong(&name.span(), what, format!("the file has {}", self.providers.join(", ")))
        })
    }

    fn tenant(self, load: &Load, name: &Spanned<String>) -> Result<usize, WorldError> {
        load.tenants.iter().position(|tenant| tenant.name == *name.get_ref()).ok_or_else(|| {
            let what = format!("there is no tenant `{}`", name.get_ref());
            self.place.wrong(&name.span(), what, "add a [[tenant]] of this name")
        })
    }

    fn known_identity(self, load: &Load, domain: &Spanned<String>) -> Result<usize, WorldError> {
        let wanted = domain.get_ref().to_lowercase();
        load.identities.iter().position(|identity| identity.domain == wanted).ok_or_else(|| {
            let what = format!("there is no identity `{wanted}`");
            self.place.wrong(&domain.span(), what, "add an [[identity]] with this domain")
        })
    }

    /// Shares that sum to 1; the same for all providers when nothing was written.
    fn shares(
        self,
        stated: Option<Spanned<BTreeMap<Spanned<String>, f64>>>,
    ) -> Result<Vec<(ProviderIndex, f64)>, WorldError> {
        let Some(stated) = stated else {
            let even = 1.0 / self.providers.len() as f64;
            return Ok((0..).zip(self.providers).map(|(index, _)| (ProviderIndex(index), even)).collect());
        };
        let span = stated.span();
        let mut shares = Vec::new();
        for (name, share) in stated.into_inner() {
            shares.push((self.provider(&name)?, share));
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        let is_wrong = shares.iter().any(|&(_, share)| !(0.0..=f64::MAX).contains(&share));
        if is_wrong || sum <= 0.0 || !sum.is_finite() {
            let what = "these shares are not weights".to_owned();
            return Err(self.place.wrong(&span, what, "write numbers from 0 up, one of them above 0"));
        }
        shares.iter_mut().for_each(|(_, share)| *share /= sum);
        shares.sort_by_key(|(provider, _)| *provider);
        Ok(shares)
    }
}

fn ladder(text: &str) -> Option<Warmth> {
    let (age, name) = text.split_once(' ')?;
    let name = name.trim().to_owned();
    (!name.is_empty()).then_some(())?;
    Some(Warmth::Ladder { age: duration(age)?, name })
}

impl From<StatedList> for ListShares {
    fn from(list: StatedList) -> Self {
        Self {
            mailboxes: list.mailboxes.map(|count| count.max(1)),
            unknown: list.unknown.0,
            full: list.full.0,
            trap: list.trap.0,
            complain: list.complain.0,
        }
    }
}
