//! What providers say when they do not take mail, each in its own manner. The words are data: `data/wordings.toml`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::LazyLock;

use mail::{Enhanced, Reply};
use serde::Deserialize;

const FILE: &str = include_str!("../data/wordings.toml");

/// In whose manner a provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// Gmail.
    Google,
    /// Outlook.com and Microsoft 365.
    Microsoft,
    /// Yahoo and AOL.
    Yahoo,
    /// Libero and Virgilio.
    Libero,
    /// Tiscali.
    Tiscali,
    /// Aruba, for its customers' domains.
    Aruba,
    /// TIM, Alice and tin.it.
    Tim,
    /// GMX and WEB.DE.
    Gmx,
    /// Orange and Wanadoo.
    Orange,
    /// A Postfix of one's own.
    #[default]
    Plain,
}

impl Manner {
    /// The provider of the engine's built-in table whose words it is made of: whose rules read its replies.
    #[must_use]
    pub const fn provider(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::Yahoo => "yahoo",
            Self::Libero => "italiaonline",
            Self::Tiscali => "tiscali",
            Self::Aruba => "aruba",
            Self::Tim => "tim",
            Self::Gmx => "gmx",
            Self::Orange => "orange",
            Self::Plain => "default",
        }
    }

    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Google,
        Self::Microsoft,
        Self::Yahoo,
        Self::Libero,
        Self::Tiscali,
        Self::Aruba,
        Self::Tim,
        Self::Gmx,
        Self::Orange,
        Self::Plain,
    ];
}

/// Why a provider does not take mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The source address has too many connections open.
    TooManyConnections,
    /// The connection has carried as many messages as it may.
    TooManyMessages,
    /// The message has as many recipients as it may.
    TooManyRecipients,
    /// The source address or its netblock sends faster than it may.
    TooFast,
    /// The sender's domain sends faster than it may.
    IdentityTooFast,
    /// As much was sent in this hour or day as may be.
    QuotaUsed,
    /// The source address or its netblock is in bad standing: the message is put off.
    LowStanding,
    /// The sender's domain is in bad standing: the message is put off.
    IdentityLowStanding,
    /// The source address or its netblock is blocked.
    Blocked,
    /// The sender's domain is blocked.
    IdentityBlocked,
    /// The sender is not known yet: it is to come again.
    Greylisted,
    /// There is no such mailbox.
    UnknownUser,
    /// The mailbox is full.
    MailboxFull,
    /// The mailbox is full, and nobody will empty it.
    MailboxAbandoned,
    /// The mailbox gets mail faster than it may.
    MailboxBusy,
    /// The message looks like spam.
    ContentRefused,
    /// The provider is out of order.
    Outage,
    /// No provider has this domain.
    NotOurs,
    /// Nothing is said, and nothing will be.
    Silence,
    /// The connection breaks instead of a reply.
    HangUp,
}

impl Cause {
    /// All of them, in their order.
    pub const ALL: [Self; 20] = [
        Self::TooManyConnections,
        Self::TooManyMessages,
        Self::TooManyRecipients,
        Self::TooFast,
        Self::IdentityTooFast,
        Self::QuotaUsed,
        Self::LowStanding,
        Self::IdentityLowStanding,
        Self::Blocked,
        Self::IdentityBlocked,
        Self::Greylisted,
        Self::UnknownUser,
        Self::MailboxFull,
        Self::MailboxAbandoned,
        Self::MailboxBusy,
        Self::ContentRefused,
        Self::Outage,
        Self::NotOurs,
        Self::Silence,
        Self::HangUp,
    ];

    /// The position in [`Cause::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is a limit on how much is sent: what a sender that goes at the right pace never hears.
    #[must_use]
    pub const fn is_rate(self) -> bool {
        matches!(
            self,
            Self::TooManyConnections
                | Self::TooManyMessages
                | Self::TooFast
                | Self::IdentityTooFast
                | Self::QuotaUsed
        )
    }

    /// Whether it is a bad standing.
    #[must_use]
    pub const fn is_standing(self) -> bool {
        matches!(self, Self::LowStanding | Self::IdentityLowStanding | Self::Blocked | Self::IdentityBlocked)
    }

    /// The name in a world file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyMessages => "too_many_messages",
            Self::TooManyRecipients => "too_many_recipients",
            Self::TooFast => "too_fast",
            Self::IdentityTooFast => "identity_too_fast",
            Self::QuotaUsed => "quota_used",
            Self::LowStanding => "low_standing",
            Self::IdentityLowStanding => "identity_low_standing",
            Self::Blocked => "blocked",
            Self::IdentityBlocked => "identity_blocked",
            Self::Greylisted => "greylisted",
            Self::UnknownUser => "unknown_user",
            Self::MailboxFull => "mailbox_full",
            Self::MailboxAbandoned => "mailbox_abandoned",
            Self::MailboxBusy => "mailbox_busy",
            Self::ContentRefused => "content_refused",
            Self::Outage => "outage",
            Self::NotOurs => "not_ours",
            Self::Silence => "silence",
            Self::HangUp => "hang_up",
        }
    }
}

/// What may stand in a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) ip: IpAddr,
    pub(crate) host: &'a str,
    /// The recipient, if one is spoken of.
    pub(crate) to: &'a str,
}

/// A reply with gaps, ready to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wording {
    code: u16,
    enhanced: Option<Enhanced>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Ip,
    Host,
    To,
    Domain,
}

/// Why a text is not a reply of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WordingFault {
    #[error("does not begin with a code from 400 to 599")]
    Code,
    #[error("has a gap that nothing fills")]
    Brace,
    #[error("has more than one line")]
    Line,
}

impl Wording {
    /// Reads code, enhanced code if there is one, and text with `{ip}`, `{host}`, `{to}` and `{domain}`.
    pub(crate) fn read(text: &str) -> Result<Self, WordingFault> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let code = code.parse().ok().filter(|code| (400..600).contains(code)).ok_or(WordingFault::Code)?;
        if text.contains(['\r', '\n']) {
            return Err(WordingFault::Line);
        }
        let first = rest.split(' ').next().unwrap_or_default();
        let enhanced = Enhanced::parse(first);
        let mut left = if enhanced.is_some() { rest[first.len()..].trim_start() } else { rest };
        let mut pieces = Vec::new();
        while let Some(start) = left.find('{') {
            let end = left[start..].find('}').ok_or(WordingFault::Brace)? + start;
            pieces.push(Piece::Text(left[..start].to_owned()));
            pieces.push(match &left[start + 1..end] {
                "ip" => Piece::Ip,
                "host" => Piece::Host,
                "to" => Piece::To,
                "domain" => Piece::Domain,
                _ => return Err(WordingFault::Brace),
            });
            left = &left[end + 1..];
        }
        pieces.push(Piece::Text(left.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self { code, enhanced, pieces })
    }

    /// The reply with its gaps filled.
    pub(crate) fn fill(&self, names: Names<'_>) -> Reply {
        let mut text = String::with_capacity(160);
        for piece in &self.pieces {
            match piece {
                Piece::Text(words) => text.push_str(words),
                Piece::Host => text.push_str(names.host),
                Piece::To => text.push_str(names.to),
                Piece::Domain => text.push_str(names.to.rsplit('@').next().unwrap_or_default()),
                Piece::Ip => {
                    write!(text, "{}", names.ip).unwrap_or_else(|fmt::Error| unreachable!("text grows"))
                }
            }
        }
        Reply { code: self.code, enhanced: self.enhanced, text }
    }
}

/// The wordings of one provider, by cause.
#[derive(Clone, Debug)]
pub(crate) struct Wordings([Vec<Wording>; Cause::ALL.len()]);

impl Wordings {
    /// Those of a manner, and those of its own in their place.
    pub(crate) fn of(manner: Manner, own: impl Fn(Cause) -> Option<Vec<Wording>>) -> Self {
        Self(Cause::ALL.map(|cause| own(cause).unwrap_or_else(|| manner_words(manner, cause).to_vec())))
    }

    /// One of those for a cause.
    pub(crate) fn pick(&self, cause: Cause, roll: u64) -> &Wording {
        let wordings = &self.0[cause.index()];
        &wordings[(roll % wordings.len() as u64) as usize]
    }
}

type Book = BTreeMap<Manner, BTreeMap<Cause, Vec<Wording>>>;

static BOOK: LazyLock<Book> = LazyLock::new(|| {
    let stated: BTreeMap<Manner, BTreeMap<Cause, Vec<String>>> =
        toml::from_str(FILE).expect("a test reads the wordings that are compiled in");
    let read = |text: String| Wording::read(&text).expect("a test reads the wordings that are compiled in");
    let words = |words: Vec<String>| words.into_iter().map(read).collect();
    let causes = |causes: BTreeMap<Cause, Vec<String>>| {
        causes.into_iter().map(|(cause, texts)| (cause, words(texts))).collect()
    };
    stated.into_iter().map(|(manner, stated)| (manner, causes(stated))).collect()
});

/// What a manner has for a cause: its own words, or else those of a plain server.
fn manner_words(manner: Manner, cause: Cause) -> &'static [Wording] {
    let of = |manner| BOOK.get(&manner).and_then(|causes| causes.get(&cause));
    of(manner).or_else(|| of(Manner::Plain)).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::Phase;
    use policy::verdict::{Action, Rules};

    fn names<'a>() -> Names<'a> {
        Names { ip: IpAddr::from([192, 0, 2, 1]), host: "mx.x.test", to: "ann@x.test" }
    }

    #[test]
    fn every_manner_has_whole_words_for_every_cause() {
        for manner in Manner::ALL {
            for cause in Cause::ALL {
                let words = manner_words(manner, cause);
                assert!(!words.is_empty(), "{manner:?} {cause:?}");
                for reply in words.iter().map(|wording| wording.fill(names())) {
                    let class = reply.enhanced.map(|enhanced| u16::from(enhanced.0));
                    assert!(class.is_none_or(|class| class == reply.code / 100), "{manner:?}: {reply}");
                    assert!(reply.text.len() > 5 && !reply.text.contains(['{', '}']), "{manner:?}: {reply}");
                    let permanent = matches!(
                        cause,
                        Cause::UnknownUser | Cause::MailboxAbandoned | Cause::ContentRefused | Cause::NotOurs
                    );
                    let either = matches!(cause, Cause::Blocked | Cause::IdentityBlocked);
                    assert!(either || reply.is_permanent() == permanent, "{manner:?} {cause:?}: {reply}");
                }
            }
        }
    }

    /// When a cause is spoken of, and the classes of replies that it may be taken for.
    fn meant(cause: Cause) -> (&'static [Phase], &'static [&'static str]) {
        match cause {
            // Microsoft gives too many connections the code of a full system.
            Cause::TooManyConnections => (&[Phase::Banner, Phase::Rcpt], &["rate", "system"]),
            Cause::TooManyMessages => (&[Phase::Mail, Phase::Rcpt], &["rate"]),
            Cause::TooManyRecipients => (&[Phase::Rcpt], &["rate"]),
            // Some tell of a rate by telling of a reputation.
            Cause::TooFast | Cause::IdentityTooFast | Cause::QuotaUsed => {
                (&[Phase::Rcpt], &["rate", "reputation"])
            }
            Cause::LowStanding | Cause::IdentityLowStanding => {
                (&[Phase::Mail, Phase::Rcpt], &["reputation", "rate"])
            }
            Cause::Blocked | Cause::IdentityBlocked => {
                (&[Phase::Banner, Phase::Mail, Phase::Rcpt], &["blocklist", "reputation", "sender.rejected"])
            }
            // Large providers do not say that they greylist: all that is plain is that time will help.
            Cause::Greylisted => (&[Phase::Rcpt], &["greylist", "rate", "system", "reputation", "blocklist"]),
            Cause::UnknownUser => (&[Phase::Rcpt], &["recipient.unknown"]),
            Cause::MailboxFull | Cause::MailboxAbandoned => (&[Phase::Rcpt], &["recipient.full"]),
            Cause::MailboxBusy => (&[Phase::Rcpt], &["recipient.rate"]),
            Cause::ContentRefused => (&[Phase::Body], &["content", "policy"]),
            Cause::Outage => {
                (&[Phase::Banner, Phase::Mail, Phase::Rcpt, Phase::Body], &["system", "connection"])
            }
            Cause::NotOurs => (&[Phase::Rcpt], &["relay"]),
            Cause::Silence | Cause::HangUp => (&[Phase::Body], &[""]),
        }
    }

    #[test]
    fn every_wording_is_judged_as_what_it_is_meant_to_be() {
        let mut wrong = Vec::new();
        for manner in Manner::ALL {
            for cause in Cause::ALL {
                let (phases, classes) = meant(cause);
                let replies = manner_words(manner, cause).iter().map(|wording| wording.fill(names()));
                for (reply, &phase) in
                    replies.flat_map(|reply| phases.iter().map(move |at| (reply.clone(), at)))
                {
                    let verdict = Rules::builtin().judge(phase, &reply, manner.provider());
                    // What time or another address may mend must not cost the recipient.
                    let is_lost = verdict.action == Action::Bounce
                        && (cause.is_rate() || cause.is_standing() || reply.is_transient());
                    if is_lost || !classes.iter().any(|class| verdict.class.starts_with(class)) {
                        wrong.push(format!("{manner:?} {cause:?} {phase:?}: {}: {reply}", verdict.class));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn names_of_causes_are_those_of_the_file() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), index);
            let table: BTreeMap<Cause, u8> =
                toml::from_str(&format!("{} = 1", cause.name())).expect("a cause");
            assert!(table.contains_key(&cause));
        }
    }

    #[test]
    fn a_wording_without_a_refusal_is_refused() {
        for text in ["", "250 2.0.0 ok", "abc", "4000 x", "5.1.1 x"] {
            assert_eq!(Wording::read(text), Err(WordingFault::Code), "{text}");
        }
        for text in ["450 {name}", "450 {ip", "450 {}"] {
            assert_eq!(Wording::read(text), Err(WordingFault::Brace), "{text}");
        }
        assert_eq!(Wording::read("450 a\nb"), Err(WordingFault::Line));
        assert_eq!(Wording::read("550").map(|wording| wording.fill(names())), Ok(Reply::new(550, "")));
        let reply = Wording::read("450 4.7.1 {to} at {domain} from {ip}: {host}").map(|it| it.fill(names()));
        let expected = "450 4.7.1 ann@x.test at x.test from 192.0.2.1: mx.x.test";
        assert_eq!(reply.map(|reply| reply.to_string()).as_deref(), Ok(expected));
    }
}
