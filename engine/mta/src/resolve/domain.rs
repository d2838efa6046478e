//! What stands behind the `@`, as DNS wants it: A-labels, or an address literal.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where mail for a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// A domain in lower case, in A-labels, without the final dot.
    Domain(String),
    /// An address literal (RFC 5321 section 4.1.3): no DNS is asked.
    Literal(IpAddr),
}

/// Longest domain in text form (RFC 1035 section 2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl Destination {
    /// Reads a domain; `None` when it cannot be one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            return parse_literal(inner.strip_suffix(']')?).map(Self::Literal);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let ascii =
            if text.is_ascii() { text.to_ascii_lowercase() } else { idna::domain_to_ascii(text).ok()? };
        is_host_name(&ascii).then_some(Self::Domain(ascii))
    }
}

/// A domain as DNS is asked for it: in lower case, in A-labels, without a final dot. What is no domain is left as it is.
#[must_use]
pub fn as_asked(domain: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if domain.bytes().all(is_plain) && !domain.ends_with('.') {
        return Cow::Borrowed(domain);
    }
    a_labels(domain).map_or(Cow::Borrowed(domain), Cow::Owned)
}

/// The domain in lower case, in A-labels, without the final dot; `None` for an address literal and for what cannot be one.
pub(crate) fn a_labels(text: &str) -> Option<String> {
    match Destination::parse(text)? {
        Destination::Domain(name) => Some(name),
        Destination::Literal(_) => None,
    }
}

fn parse_literal(inner: &str) -> Option<IpAddr> {
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Letters, digits, hyphens and (because they exist) underscores, in labels of 1 to 63 bytes; the last is no number, so
/// that no address passes for a name (RFC 1123 section 2.1).
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= DOMAIN_BYTES_MAX
        && text.split('.').all(label)
        && !text.rsplit('.').next().is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_become_a_labels() {
        let domain = |text: &str| Some(Destination::Domain(text.to_owned()));
        for (text, expected) in [
            ("Example.TEST", domain("example.test")),
            ("example.test.", domain("example.test")),
            ("bücher.example", domain("xn--bcher-kva.example")),
            ("BÜCHER.example", domain("xn--bcher-kva.example")),
            ("почта.рф", domain("xn--80a1acny.xn--p1ai")),
            ("例え.テスト", domain("xn--r8jz45g.xn--zckzah")),
            ("my_domain.test", domain("my_domain.test")),
            ("localhost", domain("localhost")),
        ] {
            assert_eq!(Destination::parse(text), expected, "{text}");
        }
        let long = format!("{}.test", "a".repeat(64));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b.test",
            "a\r\nb.test",
            "a\0.test",
            "ä\u{0}.test",
            "192.0.2.1",
            &long,
        ] {
            assert_eq!(Destination::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn literals_are_addresses() {
        let literal = |text: &str| Some(Destination::Literal(text.parse().expect("an address")));
        for (text, expected) in [
            ("[192.0.2.1]", literal("192.0.2.1")),
            ("[IPv6:2001:db8::1]", literal("2001:db8::1")),
            ("[ipv6:::1]", literal("::1")),
            ("[2001:db8::1]", None),
            ("[192.0.2]", None),
            ("[192.0.2.1", None),
            ("[]", None),
            ("[x400:é]", None),
        ] {
            assert_eq!(Destination::parse(text), expected, "{text}");
        }
    }
}
