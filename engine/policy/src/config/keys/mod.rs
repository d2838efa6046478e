//! The table of all keys: name, type, default and the reason for it. The reader, the defaults and the reference all come from here.

mod classes;
mod judgement;
mod receive;
mod replies;
mod report;
mod send;

use classes::CLASSIFY;
use judgement::{BREAKER, CANARY, LADDER};
use receive::{ACCOUNT, DNS, DOMAIN, HTTP, NODE, SMTP_LISTENER, SPOOL};
use replies::REPLY_RULE;
use report::TLS_REPORT;
use send::{CLASS, DELIVER, LEARNING, POOL, ROUTE, SOURCE};

pub(crate) use send::PROVIDER;

/// One section of the file.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// What it is for, in a sentence or two.
    pub(crate) about: &'static str,
    pub(crate) keys: &'static [Key],
}

/// How a section is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[name]`, once; it holds also when it is not written.
    Once,
    /// `[name]`, once or not at all: without it there is no such thing.
    Maybe,
    /// `[[name]]`, any number of times.
    Many,
    /// `[name.NAME]` with names that the user makes up.
    Named,
    /// `[name.NAME]` with the name of a class.
    PerClass,
}

impl Section {
    /// The section as it stands in a file.
    pub(crate) fn heading(&self) -> String {
        match (self.shape, self.name) {
            (Shape::Once | Shape::Maybe, name) => format!("[{name}]"),
            (Shape::Many, "dkim") => "[[domain.dkim]]".to_owned(),
            (Shape::Many, "rule") => "[[account.rule]]".to_owned(),
            (Shape::Many, name) => format!("[[{name}]]"),
            (Shape::Named, name) => format!("[{name}.NAME]"),
            (Shape::PerClass, name) => format!("[{name}.critical|transactional|personal|bulk]"),
        }
    }
}

/// One key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Standard,
    /// What it says.
    pub(crate) about: &'static str,
    /// Why the default is what it is, or what happens without the key.
    pub(crate) reason: &'static str,
}

/// What a key that is not written means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standard {
    /// It must be written.
    Required,
    /// Nothing; the reason says what happens then.
    Nothing,
    /// This TOML value.
    Is(&'static str),
    /// One TOML value for each class, most urgent first; an empty text is nothing.
    PerClass([&'static str; 4]),
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Path,
    HostName,
    DomainPattern,
    Integer {
        min: u64,
        max: u64,
    },
    Duration {
        max_days: u64,
    },
    Size {
        min: u64,
        max: u64,
    },
    Rate,
    RateOrUnlimited,
    /// Bytes per time.
    ByteRateOrUnlimited,
    Socket,
    Resolver,
    Ip,
    Network,
    Class,
    OneOf(&'static [&'static str]),
    HostPort,
    MxPattern,
    SenderPattern,
    Secret,
    /// Told to nobody, not even in a problem.
    Password,
    Device,
    /// `true` or `false`.
    Flag,
    /// Kept in millionths.
    Percent,
    /// A calendar day, kept as its first moment in UTC.
    Date,
    /// A name, or `{ source = "a", weight = 2 }`.
    Share,
    List(&'static Kind),
    /// Sections within the section.
    Sections(&'static Section),
}

impl Kind {
    /// The words of the reference and of problems.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Path => "path".to_owned(),
            Self::HostName => "host or domain name".to_owned(),
            Self::DomainPattern => "domain, `*.domain` or `*`".to_owned(),
            Self::Integer { min, max } => format!("number from {min} to {max}"),
            Self::Duration { .. } => "duration such as \"90s\" or \"4h\"".to_owned(),
            Self::Size { .. } => "size such as \"256MiB\"".to_owned(),
            Self::Rate => "rate such as \"100/s\" or \"5000/h\"".to_owned(),
            Self::RateOrUnlimited => "rate such as \"100/s\", or \"unlimited\"".to_owned(),
            Self::ByteRateOrUnlimited => "bytes per time such as \"5MB/s\", or \"unlimited\"".to_owned(),
            Self::Socket => "IP address and port such as \"127.0.0.1:2525\"".to_owned(),
            Self::Resolver => "IP address, with a port if it is not 53".to_owned(),
            Self::Ip => "IP address".to_owned(),
            Self::Network => "network such as \"127.0.0.0/8\"".to_owned(),
            Self::Class => "\"critical\", \"transactional\", \"personal\" or \"bulk\"".to_owned(),
            Self::OneOf(names) => {
                let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
                quoted.join(" or ")
            }
            Self::HostPort => "host, with a port if it is not that of `[deliver]`".to_owned(),
            Self::MxPattern => "host name, or `.domain` for all hosts below it".to_owned(),
            Self::SenderPattern => "address, or `@domain`".to_owned(),
            Self::Secret => "\"sha256:\" and 64 hexadecimal digits, or \"$argon2id$…\"".to_owned(),
            Self::Password => "text".to_owned(),
            Self::Device => "network device such as \"eth1\"".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Percent => "percentage such as \"0.3%\"".to_owned(),
            Self::Date => "date such as \"2026-11-22\"".to_owned(),
            Self::Share => "name, or { source = name, weight = number }".to_owned(),
            Self::List(kind) => format!("list of: {}", kind.words()),
            Self::Sections(section) => format!("sections `[[…{}]]`", section.name),
        }
    }
}

/// All sections, in the order of the reference.
pub(crate) const SECTIONS: &[&Section] = &[
    &NODE,
    &SPOOL,
    &SMTP_LISTENER,
    &HTTP,
    &DNS,
    &ACCOUNT,
    &DOMAIN,
    &SOURCE,
    &POOL,
    &ROUTE,
    &CLASS,
    &CLASSIFY,
    &PROVIDER,
    &LEARNING,
    &CANARY,
    &BREAKER,
    &LADDER,
    &REPLY_RULE,
    &DELIVER,
    &TLS_REPORT,
];

/// The key that a section of many is known by.
pub(super) const NAME: Key = Key {
    name: "name",
    kind: Kind::Text,
    default: Standard::Required,
    about: "Its name here, in other sections and in reports.",
    reason: "",
};
