//! Where a domain wants its reports: the TXT record at `_smtp._tls.DOMAIN` (RFC 8460 section 3).

use mail::Address;

use crate::fields::{fields, is_blank, only_record};

/// The most places that a report is sent to: the first ones of the record.
pub const DESTINATIONS_MAX: usize = 4;
/// Longest place, in bytes.
const URI_BYTES_MAX: usize = 2_000;

/// A place that reports are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// By mail.
    Mail(Address),
    /// By an HTTPS POST to this URI, which begins with `https://`.
    Https(String),
}

/// The places that the TXT records name, each the strings of one record joined: none when there is no record, more than
/// one, or one that is not in order. Places of other kinds are passed over.
#[must_use]
pub fn destinations(texts: &[String]) -> Vec<Destination> {
    let rua = only_record(texts, "v=TLSRPTv1").and_then(fields).and_then(|fields| {
        let mut rua = fields.into_iter().filter(|(name, _)| *name == "rua");
        rua.next().map(|(_, value)| value)
    });
    let uris = rua.into_iter().flat_map(|rua| rua.split(','));
    uris.filter_map(|uri| destination(uri.trim_matches(is_blank))).take(DESTINATIONS_MAX).collect()
}

fn destination(uri: &str) -> Option<Destination> {
    if uri.len() > URI_BYTES_MAX || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.eq_ignore_ascii_case("https") {
        let is_host = rest
            .strip_prefix("//")
            .is_some_and(|rest| !rest.starts_with(['/', '?', '#']) && !rest.is_empty());
        return is_host.then(|| Destination::Https(format!("https:{rest}")));
    }
    if !scheme.eq_ignore_ascii_case("mailto") {
        return None;
    }
    // Header fields of the URI (RFC 6068) are not for reports.
    let address = rest.split('?').next().unwrap_or_default();
    let address = decoded(address)?;
    Address::parse(&address).ok().map(Destination::Mail)
}

/// Undoes percent-encoding (RFC 3986 section 2.1); `None` when it is broken or hides a control character.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &[&str]) -> Vec<String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let show = |one| match one {
            Destination::Mail(address) => address.to_string(),
            Destination::Https(uri) => uri,
        };
        destinations(&texts).into_iter().map(show).collect()
    }

    #[test]
    fn places_are_read_as_the_rfc_writes_them() {
        for (text, expected) in [
            ("v=TLSRPTv1;rua=mailto:reports@example.test", &["reports@example.test"][..]),
            (
                "v=TLSRPTv1; rua=https://reporting.example.test/v1/tlsrpt;",
                &["https://reporting.example.test/v1/tlsrpt"],
            ),
            (
                "v=TLSRPTv1; x=y; rua=mailto:a@example.test , https://r.example.test/a?b=c,ftp://x.test/,MAILTO:b%2Bc@example.test?subject=x",
                &["a@example.test", "https://r.example.test/a?b=c", "b+c@example.test"],
            ),
            ("v=TLSRPTv1; rua=mailto:a@b.test; rua=mailto:c@d.test", &["a@b.test"]),
            (
                "v=TLSRPTv1; rua=mailto:a@b.test,mailto:b@b.test,mailto:c@b.test,mailto:d@b.test,mailto:e@b.test",
                &["a@b.test", "b@b.test", "c@b.test", "d@b.test"],
            ),
        ] {
            assert_eq!(shown(&[text]), expected, "{text}");
        }
        assert_eq!(shown(&["v=spf1 -all", "v=TLSRPTv1; rua=mailto:a@b.test"]), ["a@b.test"]);
    }

    #[test]
    fn what_is_out_of_order_names_no_place() {
        for text in [
            "v=TLSRPTv1",
            "v=TLSRPTv1;",
            "v=TLSRPTv1; rua=",
            "v=TLSRPTv1; rua=mailto:",
            "v=TLSRPTv1; rua=mailto:nobody",
            "v=TLSRPTv1; rua=mailto:a%0d%0ab@b.test",
            "v=TLSRPTv1; rua=mailto:a%4@b.test%",
            "v=TLSRPTv1; rua=http://reports.test/",
            "v=TLSRPTv1; rua=https:///path",
            "v=TLSRPTv1; rua=https://a b.test/",
            "v=TLSRPTv2; rua=mailto:a@b.test",
            "rua=mailto:a@b.test",
        ] {
            assert!(shown(&[text]).is_empty(), "{text}");
        }
        let one = "v=TLSRPTv1; rua=mailto:a@b.test";
        assert!(shown(&[one, one]).is_empty());
    }
}
