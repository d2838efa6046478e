//! Which hosts an `mx` line means: one name, or all names with one more label (RFC 8461 section 4.1).

use std::fmt;

/// Longest domain name in text form (RFC 1035 section 2.3.4), and longest label.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The value of an `mx` line, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MxPattern {
    /// The name, or what stands behind `*.`.
    name: Box<str>,
    is_wildcard: bool,
}

impl MxPattern {
    /// Reads `mail.example.test` or `*.example.test`; `None` when it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        is_domain(name).then(|| Self { name: name.to_ascii_lowercase().into(), is_wildcard })
    }

    /// Whether the pattern means `host`: an A-label name, in any case, with or without the final dot. The asterisk stands
    /// for exactly one label.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if !self.is_wildcard {
            return host.eq_ignore_ascii_case(&self.name);
        }
        let Some((label, rest)) = host.split_once('.') else { return false };
        !label.is_empty() && rest.eq_ignore_ascii_case(&self.name)
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_wildcard { "*." } else { "" })?;
        f.write_str(&self.name)
    }
}

/// `Domain` of RFC 5321 section 4.1.2: labels of letters, digits and inner hyphens.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= NAME_BYTES_MAX && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_one_name_or_one_more_label() {
        for (pattern, host, expected) in [
            ("mail.example.test", "mail.example.test", true),
            ("mail.example.test", "MAIL.Example.TEST.", true),
            ("Mail.Example.Test", "mail.example.test", true),
            ("mail.example.test", "a.mail.example.test", false),
            ("mail.example.test", "example.test", false),
            ("*.example.test", "a.example.test", true),
            ("*.example.test", "A.EXAMPLE.test.", true),
            ("*.example.test", "a.b.example.test", false),
            ("*.example.test", "example.test", false),
            ("*.example.test", ".example.test", false),
            ("*.example.test", "aexample.test", false),
            ("*.test", "example.test", true),
            ("*.test", "test", false),
            ("localhost", "localhost", true),
        ] {
            let read = MxPattern::parse(pattern).expect(pattern);
            assert_eq!(read.matches(host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_not_read() {
        let long = format!("{}.test", "a".repeat(64));
        for text in [
            "",
            "*",
            "*.",
            "*.*.test",
            "a.*.test",
            "*a.test",
            "a*.test",
            "a..test",
            ".test",
            "a.test.",
            "-a.test",
            "a-.test",
            "a b.test",
            "a_b.test",
            "caf\u{e9}.test",
            "[192.0.2.1]",
            &long,
        ] {
            assert_eq!(MxPattern::parse(text), None, "{text:?}");
        }
    }
}
