//! One value: read from TOML by the type of its key, or complained about with an example of what it should be.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mail::{Class, UnixMs};
use toml::Spanned;
use toml::de::DeValue;

use crate::{ByteRate, Network, Rate};

use super::keys::Kind;
use super::model::{DomainPattern, SecretHash};
use super::problems::{Complaint, Place, Problems, nearest};
use super::stated::{Block, FromValue, read_blocks};
use super::units;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What was written, in the type of its key.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text, a path, a name, a pattern, a device.
    Text(String),
    /// A number or a size in bytes.
    Integer(u64),
    Duration(Duration),
    /// `None` is unlimited.
    Rate(Option<Rate>),
    /// `None` is unlimited.
    ByteRate(Option<ByteRate>),
    Socket(SocketAddr),
    Ip(IpAddr),
    Network(Network),
    Class(Class),
    /// Index in the names of the key.
    Choice(usize),
    Pattern(DomainPattern),
    Host(StatedHost),
    Secret(SecretHash),
    Share(StatedShare),
    Flag(bool),
    Moment(UnixMs),
    List(Vec<Item>),
    Blocks(Vec<Block>),
    /// There was one, but it was wrong.
    Misread,
}

/// A host as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatedHost {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// A source's part in a pool as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatedShare {
    pub(crate) source: String,
    pub(crate) weight: u32,
}

/// Largest weight of a source in its pool: finer shares than a thousandth are not seen.
const WEIGHT_MAX: u64 = 1000;

/// Reads `value` as `kind`; complains and gives `None` when it is something else.
pub(super) fn read_value(
    kind: &Kind,
    value: &Spanned<DeValue<'_>>,
    key: &Place,
    problems: &mut Problems<'_>,
) -> Option<Item> {
    let place = Place::new(value.span(), key.key.clone());
    let read = match kind {
        Kind::List(inner) => return read_list(inner, value, &place, problems),
        Kind::Sections(section) => {
            if value.get_ref().as_array().is_some() {
                let blocks = read_blocks(section, value, &place, problems);
                return Some(Item { value: Value::Blocks(blocks), place });
            }
            Err(Complaint::new(
                format!("expected: a list of sections; found: {}", Kind::found(value.get_ref())),
                "one bracket instead of two",
                format!("write {}", section.heading()),
            ))
        }
        Kind::Integer { min, max } => integer(value.get_ref(), *min, *max),
        Kind::Share => share(value.get_ref()),
        Kind::Flag => {
            value.get_ref().as_bool().map(Value::Flag).ok_or_else(|| kind.mismatch(value.get_ref()))
        }
        kind => match value.get_ref().as_str() {
            Some(text) => kind.of_text(text),
            None => Err(kind.mismatch(value.get_ref())),
        },
    };
    match read {
        Ok(value) => Some(Item { value, place }),
        Err(complaint) => {
            problems.error(&place, complaint);
            None
        }
    }
}

fn read_list(
    inner: &Kind,
    value: &Spanned<DeValue<'_>>,
    place: &Place,
    problems: &mut Problems<'_>,
) -> Option<Item> {
    let Some(array) = value.get_ref().as_array() else {
        let what = format!("expected: a list; found: {}", Kind::found(value.get_ref()));
        let cure = format!("write it in brackets: [{}]", inner.example());
        problems.error(place, Complaint::new(what, "a single value without brackets", cure));
        return None;
    };
    let items: Vec<_> = array.iter().map(|entry| read_value(inner, entry, place, problems)).collect();
    let items = items.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Item { value: Value::List(items), place: place.clone() })
}

fn integer(value: &DeValue<'_>, min: u64, max: u64) -> Result<Value, Complaint> {
    let kind = Kind::Integer { min, max };
    let Some(written) = value.as_integer() else { return Err(kind.mismatch(value)) };
    let digits = written.as_str();
    match u64::from_str_radix(digits, written.radix()) {
        Ok(number) if (min..=max).contains(&number) => Ok(Value::Integer(number)),
        _ => Err(Complaint::new(
            format!("{digits} is out of range"),
            format!("the key takes a {}", kind.words()),
            format!("write a {}", kind.words()),
        )),
    }
}

fn share(value: &DeValue<'_>) -> Result<Value, Complaint> {
    if let Some(name) = value.as_str() {
        return Ok(Value::Share(StatedShare { source: name.to_owned(), weight: 1 }));
    }
    let Some(table) = value.as_table() else { return Err(Kind::Share.mismatch(value)) };
    let (mut source, mut weight) = (None, 1);
    for (key, value) in table {
        let key: &str = key.get_ref();
        match key {
            "source" => source = value.get_ref().as_str().map(str::to_owned),
            "weight" => match integer(value.get_ref(), 1, WEIGHT_MAX)? {
                Value::Integer(number) => weight = u32::try_from(number).unwrap_or(1),
                _ => return Err(Kind::Share.mismatch(value.get_ref())),
            },
            other => {
                let near = nearest(other, ["source", "weight"]).unwrap_or("source");
                let what = format!("there is no key `{other}` here");
                return Err(Complaint::new(what, "a misspelt name", format!("did you mean `{near}`?")));
            }
        }
    }
    let missing = || {
        let what = "`source` is missing";
        Complaint::new(what, "the entry does not name a source", format!("write {}", Kind::Share.example()))
    };
    Ok(Value::Share(StatedShare { source: source.ok_or_else(missing)?, weight }))
}

impl Kind {
    /// Reads the types that are written as text.
    fn of_text(&self, text: &str) -> Result<Value, Complaint> {
        let value = match self {
            Self::Text | Self::Path | Self::Password => {
                let ok = !text.trim().is_empty() && !text.contains(char::is_control);
                ok.then(|| Value::Text(text.to_owned()))
            }
            Self::HostName => units::host_name(text).map(Value::Text),
            Self::MxPattern => units::mx_pattern(text).map(Value::Text),
            Self::SenderPattern => units::sender_pattern(text).map(Value::Text),
            Self::Device => units::device(text).map(Value::Text),
            Self::DomainPattern => units::domain_pattern(text).map(Value::Pattern),
            Self::Duration { max_days } => return bounded_duration(text, *max_days),
            Self::Size { min, max } => return bounded_size(text, *min, *max),
            Self::Rate => units::rate(text).map(|rate| Value::Rate(Some(rate))),
            Self::RateOrUnlimited if text == "unlimited" => Some(Value::Rate(None)),
            Self::RateOrUnlimited => units::rate(text).map(|rate| Value::Rate(Some(rate))),
            Self::ByteRateOrUnlimited if text == "unlimited" => Some(Value::ByteRate(None)),
            Self::ByteRateOrUnlimited => units::byte_rate(text).map(|rate| Value::ByteRate(Some(rate))),
            Self::Socket => text.parse().ok().map(Value::Socket),
            Self::Resolver => units::resolver(text).map(Value::Socket),
            Self::Ip => text.parse().ok().map(Value::Ip),
            Self::Network => text.parse().ok().map(Value::Network),
            Self::Class => {
                return one_of(text, &Class::ALL.map(Class::name))
                    .map(|index| Value::Class(Class::ALL[index]));
            }
            Self::OneOf(names) => return one_of(text, names).map(Value::Choice),
            Self::HostPort => {
                units::host_port(text).map(|(host, port)| Value::Host(StatedHost { host, port }))
            }
            Self::Secret => units::secret(text).map(Value::Secret),
            Self::Percent => units::percent(text).map(Value::Integer),
            Self::Date => units::date(text).map(Value::Moment),
            Self::Integer { .. } | Self::Flag | Self::Share | Self::List(_) | Self::Sections(_) => None,
        };
        value.ok_or_else(|| self.malformed(text))
    }

    fn malformed(&self, text: &str) -> Complaint {
        let (what, cause) = match self {
            Self::Secret => (
                "the value is not a hash".to_owned(),
                "the secret itself, or a kind of hash that is not known here",
            ),
            Self::Password => {
                ("the value cannot be a password".to_owned(), "it is empty or holds control characters")
            }
            Self::Socket if text.parse::<IpAddr>().is_ok() => {
                (format!("`{text}` has no port"), "an address to listen on needs its port")
            }
            Self::Duration { .. }
            | Self::Size { .. }
            | Self::Rate
            | Self::RateOrUnlimited
            | Self::ByteRateOrUnlimited => (
                format!("`{text}` cannot be read as {}", self.noun()),
                "the unit is missing or not known, or the number is not whole",
            ),
            _ => (
                format!("`{text}` cannot be read as {}", self.noun()),
                "a typing error, or a value of another key",
            ),
        };
        Complaint::new(what, cause, format!("write it like {}", self.example()))
    }

    fn mismatch(&self, found: &DeValue<'_>) -> Complaint {
        let cause = match (self, found) {
            (Self::Duration { .. } | Self::Size { .. }, DeValue::Integer(_)) => {
                "a bare number could be of any unit"
            }
            (Self::Rate | Self::RateOrUnlimited | Self::ByteRateOrUnlimited, DeValue::Integer(_)) => {
                "a bare number could be per any time"
            }
            (Self::Integer { .. }, DeValue::String(_)) => "a number in quotes is text",
            (Self::Flag, DeValue::String(_)) => "true and false are written without quotes",
            (_, DeValue::Array(_)) => "brackets around a single value",
            _ => "a value of another key, or missing quotes",
        };
        let what = format!("expected: {}; found: {}", self.noun(), Self::found(found));
        Complaint::new(what, cause, format!("write it like {}", self.example()))
    }

    /// What TOML calls the value.
    pub(super) fn found(value: &DeValue<'_>) -> &'static str {
        match value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        }
    }

    /// The type in a word or two.
    fn noun(&self) -> &'static str {
        match self {
            Self::Text | Self::Password => "text",
            Self::Path => "path",
            Self::HostName => "host or domain name",
            Self::DomainPattern => "domain, `*.domain` or `*`",
            Self::Integer { .. } => "number",
            Self::Duration { .. } => "duration",
            Self::Size { .. } => "size",
            Self::Rate | Self::RateOrUnlimited => "rate",
            Self::ByteRateOrUnlimited => "rate of bytes",
            Self::Socket => "IP address and port",
            Self::Resolver => "resolver's IP address",
            Self::Ip => "IP address",
            Self::Network => "network",
            Self::Class => "class",
            Self::OneOf(_) => "name that this key knows",
            Self::HostPort => "host with or without port",
            Self::MxPattern => "host name or `.domain`",
            Self::SenderPattern => "address or `@domain`",
            Self::Secret => "hash",
            Self::Device => "network device",
            Self::Flag => "true or false",
            Self::Percent => "percentage",
            Self::Date => "date",
            Self::Share => "source with or without weight",
            Self::List(_) => "list",
            Self::Sections(_) => "list of sections",
        }
    }

    /// A value of the type, as it is written in TOML.
    fn example(&self) -> String {
        let text = match self {
            Self::Text => "\"name\"",
            Self::Password => "\"password\"",
            Self::Path => "\"/var/lib/staffetta\"",
            Self::HostName => "\"mail.example.test\"",
            Self::DomainPattern => "\"example.test\"",
            Self::Integer { min, .. } => return min.max(&1).to_string(),
            Self::Duration { .. } => "\"90s\", \"4h\" or \"2d\"",
            Self::Size { .. } => "\"512KiB\", \"256MiB\" or \"1GiB\"",
            Self::Rate => "\"100/s\" or \"5000/h\"",
            Self::RateOrUnlimited => "\"100/s\", \"5000/h\" or \"unlimited\"",
            Self::ByteRateOrUnlimited => "\"5MB/s\", \"20GB/d\" or \"unlimited\"",
            Self::Socket => "\"127.0.0.1:2525\" or \"[::1]:2525\"",
            Self::Resolver => "\"127.0.0.1:5353\"",
            Self::Ip => "\"192.0.2.1\"",
            Self::Network => "\"127.0.0.0/8\"",
            Self::Class => "\"bulk\"",
            Self::OneOf(names) => return format!("\"{}\"", names.first().copied().unwrap_or_default()),
            Self::HostPort => "\"127.0.0.1:2526\" or \"relay.example.test\"",
            Self::MxPattern => "\".example.test\"",
            Self::SenderPattern => "\"@example.test\"",
            Self::Secret => "\"sha256:…\", the output of `printf %s SECRET | sha256sum`",
            Self::Device => "\"eth1\"",
            Self::Flag => "true",
            Self::Percent => "\"0.3%\" or \"10%\"",
            Self::Date => "\"2026-11-22\"",
            Self::Share => "\"a\" or { source = \"a\", weight = 2 }",
            Self::List(inner) => return format!("[{}]", inner.example()),
            Self::Sections(section) => return section.heading(),
        };
        text.to_owned()
    }
}

fn bounded_duration(text: &str, max_days: u64) -> Result<Value, Complaint> {
    let kind = Kind::Duration { max_days };
    let duration = units::duration(text).ok_or_else(|| kind.malformed(text))?;
    let max = Duration::from_secs(max_days * 86_400);
    if duration.is_zero() || duration > max {
        let cure = format!("write more than 0 and at most \"{max_days}d\"");
        return Err(Complaint::new(format!("`{text}` is out of range"), "the unit may be a wrong one", cure));
    }
    Ok(Value::Duration(duration))
}

fn bounded_size(text: &str, min: u64, max: u64) -> Result<Value, Complaint> {
    let kind = Kind::Size { min, max };
    let bytes = units::size(text).ok_or_else(|| kind.malformed(text))?;
    if !(min..=max).contains(&bytes) {
        let cure = format!("write at least {} and at most {}", shown(min), shown(max));
        return Err(Complaint::new(format!("`{text}` is out of range"), "the unit may be a wrong one", cure));
    }
    Ok(Value::Integer(bytes))
}

/// A size in the largest unit that divides it.
pub(super) fn shown(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units.into_iter().find(|&(unit, _)| bytes >= unit && bytes.is_multiple_of(unit));
    fits.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

fn one_of(text: &str, names: &[&str]) -> Result<usize, Complaint> {
    names.iter().position(|&name| name == text).ok_or_else(|| {
        let cure = match nearest(text, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? It takes: {}", names.join(", ")),
            None => format!("use one of: {}", names.join(", ")),
        };
        Complaint::new(
            format!("`{text}` is not known here"),
            "a misspelt name, or a value of another key",
            cure,
        )
    })
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $result:expr),* $(,)?) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $pattern => $result,
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    String: Value::Text(text) => Some(text.clone()),
    bool: Value::Flag(flag) => Some(*flag),
    UnixMs: Value::Moment(moment) => Some(*moment),
    u64: Value::Integer(number) => Some(*number),
    u32: Value::Integer(number) => u32::try_from(*number).ok(),
    u16: Value::Integer(number) => u16::try_from(*number).ok(),
    Duration: Value::Duration(duration) => Some(*duration),
    Option<Rate>: Value::Rate(rate) => Some(*rate),
    Option<ByteRate>: Value::ByteRate(rate) => Some(*rate),
    SocketAddr: Value::Socket(address) => Some(*address),
    IpAddr: Value::Ip(address) => Some(*address),
    Network: Value::Network(network) => Some(*network),
    Class: Value::Class(class) => Some(*class),
    DomainPattern: Value::Pattern(pattern) => Some(pattern.clone()),
    StatedHost: Value::Host(host) => Some(host.clone()),
    SecretHash: Value::Secret(secret) => Some(secret.clone()),
    StatedShare: Value::Share(share) => Some(share.clone()),
}
