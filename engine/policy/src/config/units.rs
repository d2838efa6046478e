//! The small languages of values: durations, sizes, rates, addresses, names. Each failure says what was expected.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mail::UnixMs;

use crate::{ByteRate, Rate};

use super::model::{DomainPattern, SecretHash};

/// Reads `90s`, `4h`, `1h30m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (count, after) = number(rest)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit_ms: u64 = match &after[..letters] {
            "ms" => 1,
            "s" | "sec" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(count.checked_mul(unit_ms)?))?;
        rest = after[letters..].trim_start();
    }
    Some(total)
}

/// Reads `256MiB`, `50MB`, `512B`, in bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (count, unit) = number(text.trim())?;
    let bytes: u64 = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    count.checked_mul(bytes)
}

/// Reads `100/s`, `5000/h`, `20/10s`.
pub(crate) fn rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let (count, rest) = number(count.trim())?;
    if rest.is_empty() { Rate::new(u32::try_from(count).ok()?, time_of_rate(per)?) } else { None }
}

/// Reads `5MB/s`, `20GiB/d`, `1MB/10s`.
pub(crate) fn byte_rate(text: &str) -> Option<ByteRate> {
    let (bytes, per) = text.split_once('/')?;
    ByteRate::new(size(bytes.trim_end())?, time_of_rate(per)?)
}

/// Reads what stands behind the stroke of a rate: `s`, `10s`.
fn time_of_rate(text: &str) -> Option<Duration> {
    let per = text.trim();
    let has_count = per.starts_with(|c: char| c.is_ascii_digit());
    if has_count { duration(per) } else { duration(&format!("1{per}")) }
}

/// Reads `0.3%` or `10%`, in millionths; above 0 and at most 100 %.
pub(crate) fn percent(text: &str) -> Option<u64> {
    let (whole, fraction) =
        text.strip_suffix('%')?.trim().split_once('.').unwrap_or((text.strip_suffix('%')?.trim(), "0"));
    let digits = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<4}").parse().ok()?;
    let millionths = whole.parse::<u64>().ok()? * 10_000 + fraction;
    (1..=1_000_000).contains(&millionths).then_some(millionths)
}

/// Reads `2026-11-22`: the first moment of that day in UTC.
pub(crate) fn date(text: &str) -> Option<UnixMs> {
    let mut parts = text.split('-');
    let mut part = |digits: usize| {
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u64>().ok())?
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if parts.next().is_some() || year < 1970 || day == 0 || day > length {
        return None;
    }
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let months: u64 = lengths.iter().take((month - 1) as usize).sum();
    Some(UnixMs::from_seconds((years + months + day - 1) * 86_400))
}

/// The digits at the beginning, `_` between them allowed, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let digits: String = text[..end].chars().filter(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, &text[end..]))
}

/// Reads an address of a resolver; the port is 53 if none is written.
pub(crate) fn resolver(text: &str) -> Option<SocketAddr> {
    let bare = || bracketless(text).parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
    text.parse().ok().or_else(bare)
}

/// Reads `host`, `host:port`, `[::1]:port` or `::1`; the host in lower case.
pub(crate) fn host_port(text: &str) -> Option<(String, Option<u16>)> {
    let text = text.trim();
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return (socket.port() != 0).then(|| (socket.ip().to_string(), Some(socket.port())));
    }
    if let Ok(ip) = bracketless(text).parse::<IpAddr>() {
        return Some((ip.to_string(), None));
    }
    match text.split_once(':') {
        None => host_name(text).map(|host| (host, None)),
        Some((host, port)) => {
            let port = port.parse().ok().filter(|&port| port != 0)?;
            Some((host_name(host)?, Some(port)))
        }
    }
}

fn bracketless(text: &str) -> &str {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text)
}

/// Reads a host or domain name: labels of letters, digits, `-` and `_` (RFC 1123; `_` for selectors and odd zones), or UTF-8.
/// In lower case, without a final dot.
pub(crate) fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let allowed =
        |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii() && c.is_alphanumeric();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_lowercase())
}

/// Reads `example.test`, `*.example.test` or `*`.
pub(crate) fn domain_pattern(text: &str) -> Option<DomainPattern> {
    match text.strip_prefix("*.") {
        Some(below) => Some(DomainPattern::Below(format!(".{}", host_name(below)?))),
        None if text == "*" => Some(DomainPattern::Any),
        None => host_name(text).map(DomainPattern::Exactly),
    }
}

/// Reads `.google.com` or `smtp-in.libero.it`.
pub(crate) fn mx_pattern(text: &str) -> Option<String> {
    match text.strip_prefix('.') {
        Some(below) => Some(format!(".{}", host_name(below)?)),
        None => host_port(text).filter(|(_, port)| port.is_none()).map(|(host, _)| host),
    }
}

/// Reads `ann@example.test` or `@example.test`.
pub(crate) fn sender_pattern(text: &str) -> Option<String> {
    match text.strip_prefix('@') {
        Some(domain) => Some(format!("@{}", host_name(domain)?)),
        None => mail::Address::parse(text).ok().map(|address| address.to_string()),
    }
}

/// Reads `sha256:` and 64 hexadecimal digits (or those alone), or a PHC string of argon2id.
pub(crate) fn secret(text: &str) -> Option<SecretHash> {
    if text.starts_with("$argon2id$") {
        return (text.split('$').count() == 6).then(|| SecretHash::Argon2id(text.to_owned()));
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(SecretHash::Sha256(hash))
}

/// Reads the name of a network device: at most 15 bytes, as Linux has it (IFNAMSIZ).
pub(crate) fn device(text: &str) -> Option<String> {
    let ok = (1..=15).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
        && text != "."
        && text != "..";
    ok.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("4h", Some(14_400)),
            ("1h30m", Some(5_400)),
            ("1h 30min", Some(5_400)),
            ("2d", Some(172_800)),
            ("1w", Some(604_800)),
            ("1_000s", Some(1_000)),
            ("0s", Some(0)),
            ("", None),
            ("90", None),
            ("s", None),
            ("-1s", None),
            ("1.5h", None),
            ("1y", None),
            ("99999999999999999999s", None),
            ("99999999999999999w", None),
            ("1 s s", None),
        ] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("256MiB", Some(256 << 20)),
            ("1 GiB", Some(1 << 30)),
            ("50MB", Some(50_000_000)),
            ("0B", Some(0)),
            ("512", None),
            ("1mib", None),
            ("1.5GiB", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn rates_of_bytes() {
        for (text, shown) in [
            ("5MB/s", Some("5MB/s")),
            ("20GiB/d", Some("20GiB/d")),
            ("1500 kB / 10s", Some("1500kB/10s")),
            ("1_000B/min", Some("1kB/min")),
            ("5/s", None),
            ("5MB", None),
            ("0MB/s", None),
            ("5MB/0s", None),
            ("5Mb/s", None),
            ("99999999999999TB/s", None),
        ] {
            assert_eq!(byte_rate(text).map(|rate| rate.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, shown) in [
            ("100/s", Some("100/s")),
            ("5000/h", Some("5000/h")),
            ("10/min", Some("10/min")),
            ("10 / m", Some("10/min")),
            ("20/10s", Some("20/10s")),
            ("1000/d", Some("1000/d")),
            ("0/s", None),
            ("100", None),
            ("100/", None),
            ("100/0s", None),
            ("x/s", None),
            ("10x/s", None),
            ("5000000000/s", None),
        ] {
            assert_eq!(rate(text).map(|rate| rate.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn percentages() {
        for (text, millionths) in [
            ("0.3%", Some(3_000)),
            ("10%", Some(100_000)),
            ("1 %", Some(10_000)),
            ("0.0001%", Some(1)),
            ("100%", Some(1_000_000)),
            ("100.1%", None),
            ("0%", None),
            ("10", None),
            ("%", None),
            (".5%", None),
            ("-1%", None),
            ("0.00001%", None),
        ] {
            assert_eq!(percent(text), millionths, "{text}");
        }
    }

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("1970-01-01", Some(0)),
            ("2000-03-01", Some(951_868_800)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2026-11-22", Some(1_795_305_600)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-00-10", None),
            ("2026-11-00", None),
            ("1969-12-31", None),
            ("22.11.2026", None),
            ("2026-11", None),
            ("2026-11-22-1", None),
        ] {
            assert_eq!(date(text), seconds.map(UnixMs::from_seconds), "{text}");
        }
    }

    #[test]
    fn hosts_with_and_without_port() {
        for (text, expected) in [
            ("127.0.0.1:2526", Some(("127.0.0.1", Some(2526)))),
            ("[::1]:25", Some(("::1", Some(25)))),
            ("::1", Some(("::1", None))),
            ("[::1]", Some(("::1", None))),
            ("Relay.Test", Some(("relay.test", None))),
            ("relay.test.:587", Some(("relay.test", Some(587)))),
            ("relay.test:0", None),
            ("127.0.0.1:0", None),
            ("relay.test:port", None),
            ("re lay", None),
            ("", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_port(text), expected, "{text}");
        }
        assert_eq!(resolver("127.0.0.1"), "127.0.0.1:53".parse().ok());
        assert_eq!(resolver("[::1]:5353"), "[::1]:5353".parse().ok());
        assert_eq!(resolver("dns.test"), None);
    }

    #[test]
    fn names_and_patterns() {
        assert_eq!(host_name("Mail.Example.TEST."), Some("mail.example.test".to_owned()));
        assert_eq!(host_name("blåbær.test"), Some("blåbær.test".to_owned()));
        for text in ["", ".", "a..b", "-a", "a-", "a b", "a@b", "a/b"] {
            assert_eq!(host_name(text), None, "{text}");
        }
        assert_eq!(domain_pattern("*"), Some(DomainPattern::Any));
        assert_eq!(domain_pattern("*.X.test"), Some(DomainPattern::Below(".x.test".to_owned())));
        assert_eq!(domain_pattern("x.*"), None);
        assert_eq!(mx_pattern(".Google.com"), Some(".google.com".to_owned()));
        assert_eq!(mx_pattern("*.google.com"), None);
        assert_eq!(mx_pattern("mx.test:25"), None);
        assert_eq!(sender_pattern("@X.test"), Some("@x.test".to_owned()));
        assert_eq!(sender_pattern("x.test"), None);
        assert_eq!(device("eth1"), Some("eth1".to_owned()));
        assert_eq!(device("a-name-that-is-too-long"), None);
    }

    #[test]
    fn secrets_are_hashes() {
        let digits = "ab".repeat(32);
        assert_eq!(secret(&format!("sha256:{digits}")), Some(SecretHash::Sha256([0xab; 32])));
        assert_eq!(secret(&digits), Some(SecretHash::Sha256([0xab; 32])));
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA";
        assert_eq!(secret(phc), Some(SecretHash::Argon2id(phc.to_owned())));
        for text in ["", "secret", "sha256:ab", "$argon2id$", "$2b$12$abc"] {
            assert_eq!(secret(text), None, "{text}");
        }
    }
}
