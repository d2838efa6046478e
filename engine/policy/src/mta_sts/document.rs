//! The policy file (RFC 8461 section 3.2): read strictly where it is known, passed over where it is new.

use std::fmt;
use std::time::Duration;

use super::pattern::MxPattern;
use crate::fields::{is_blank, is_name};

/// Longest policy that is read, in bytes; RFC 8461 section 3.3 suggests this limit.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;
/// The most `mx` lines of a policy: an order of magnitude more than domains have mail hosts.
pub const MX_MAX: usize = 256;
/// Longest time that a policy holds: the RFC's limit, about a year. A longer one is cut to it.
pub const MAX_AGE_MAX: Duration = Duration::from_secs(31_557_600);

/// What to do about a host that does not keep to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It gets no mail.
    Enforce,
    /// It gets mail all the same; the failure is reported (RFC 8460).
    Testing,
    /// As if there were no policy.
    None,
}

impl Mode {
    /// The word of the policy file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// The policy of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What to do about a host that does not keep to it.
    pub mode: Mode,
    /// How long it holds from the moment when it was fetched; at most [`MAX_AGE_MAX`].
    pub max_age: Duration,
    /// The hosts that may take the mail of the domain; none only when the mode is `none`. At most [`MX_MAX`].
    pub mx: Vec<MxPattern>,
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the policy is longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the policy is not UTF-8")]
    NotUtf8,
    /// A line that is no `key: value`. Counted from 1.
    #[error("line {0} of the policy is not written as `key: value`")]
    Line(usize),
    /// A known key with a value that it cannot have.
    #[error("the policy has an unusable value for `{0}`")]
    Value(&'static str),
    /// A key that every policy has.
    #[error("the policy has no `{0}`")]
    Missing(&'static str),
    /// More than [`MX_MAX`] lines of `mx`.
    #[error("the policy has more than {MX_MAX} lines of `mx`")]
    TooManyHosts,
}

/// The keys as they were found; of a repeated one, the first (RFC 8461 section 3.2).
#[derive(Default)]
struct Found<'t> {
    version: Option<&'t str>,
    mode: Option<&'t str>,
    max_age: Option<&'t str>,
    mx: Vec<MxPattern>,
}

impl Policy {
    /// Reads a policy file. Lines end in LF or CRLF; unknown keys are ignored, and empty lines are.
    ///
    /// # Errors
    /// Why it is no policy: then the domain has none that could be used.
    pub fn parse(document: &[u8]) -> Result<Self, PolicyError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(PolicyError::TooLong);
        }
        let text = std::str::from_utf8(document).map_err(|_| PolicyError::NotUtf8)?;
        let mut found = Found::default();
        for (number, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches(is_blank);
            if !line.is_empty() {
                found.read(number + 1, line)?;
            }
        }
        found.finish()
    }

    /// Whether `host`, an A-label name that an MX record gives, may take the mail of the domain. Of a policy whose mode
    /// is not `enforce` this is only what it would say.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| pattern.matches(host))
    }

    /// The lines of the policy without their ends, as reports quote it (RFC 8460 section 4.4, `policy-string`).
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", self.mode.name())];
        lines.extend(self.mx.iter().map(|pattern| format!("mx: {pattern}")));
        lines.push(format!("max_age: {}", self.max_age.as_secs()));
        lines
    }
}

/// The policy as a file, which reads back as itself.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| write!(f, "{line}\r\n"))
    }
}

impl<'t> Found<'t> {
    fn read(&mut self, number: usize, line: &'t str) -> Result<(), PolicyError> {
        let (key, value) = line.split_once(':').ok_or(PolicyError::Line(number))?;
        let value = value.trim_start_matches(is_blank);
        let is_value = !value.is_empty() && !value.chars().any(char::is_control);
        if !is_name(key) || !is_value {
            return Err(PolicyError::Line(number));
        }
        match key {
            "version" => first(&mut self.version, value),
            "mode" => first(&mut self.mode, value),
            "max_age" => first(&mut self.max_age, value),
            "mx" => self.mx.push(MxPattern::parse(value).ok_or(PolicyError::Value("mx"))?),
            _ => {}
        }
        if self.mx.len() > MX_MAX { Err(PolicyError::TooManyHosts) } else { Ok(()) }
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        if self.version.ok_or(PolicyError::Missing("version"))? != "STSv1" {
            return Err(PolicyError::Value("version"));
        }
        let mode = match self.mode.ok_or(PolicyError::Missing("mode"))? {
            "enforce" => Mode::Enforce,
            "testing" => Mode::Testing,
            "none" => Mode::None,
            _ => return Err(PolicyError::Value("mode")),
        };
        let max_age = seconds(self.max_age.ok_or(PolicyError::Missing("max_age"))?)?;
        if self.mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::Missing("mx"));
        }
        Ok(Policy { mode, max_age, mx: self.mx })
    }
}

fn first<'t>(slot: &mut Option<&'t str>, value: &'t str) {
    slot.get_or_insert(value);
}

/// One to ten digits.
fn seconds(text: &str) -> Result<Duration, PolicyError> {
    let is_number = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number).ok_or(PolicyError::Value("max_age"))?;
    Ok(Duration::from_secs(number).min(MAX_AGE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "version: STSv1\nmode: enforce\nmx: mail.example.test\nmx: *.example.net\nmx: backupmx.example.test\nmax_age: 604800\n";

    fn read(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_rfc_is_read_with_either_line_end() {
        let policy = read(GOOD).expect("a policy");
        assert_eq!((policy.mode, policy.max_age.as_secs(), policy.mx.len()), (Mode::Enforce, 604_800, 3));
        assert_eq!(read(&GOOD.replace('\n', "\r\n")), Ok(policy.clone()));
        assert_eq!(read(GOOD.trim_end()), Ok(policy.clone()));
        assert!(policy.allows("mail.example.test") && policy.allows("mx1.example.net"));
        assert!(!policy.allows("example.net") && !policy.allows("mail.example.test.evil.test"));
    }

    #[test]
    fn what_is_new_or_repeated_or_blank_is_passed_over() {
        let expected = Policy {
            mode: Mode::Testing,
            max_age: Duration::from_secs(1),
            mx: vec![MxPattern::parse("a.test").expect("a pattern")],
        };
        for text in [
            "max_age:1\nmx:a.test\nmode:testing\nversion:STSv1",
            "version: STSv1\nmode: testing\nmode: enforce\nmax_age: 1\nmax_age: 2\nversion: STSv2\nmx: a.test\n",
            "version: STSv1 \t\nmode:\t testing\nnew_key: some: thing \u{e9}\n\nmx: a.test\r\n\nmax_age: 1\r\n\r\n",
        ] {
            assert_eq!(read(text), Ok(expected.clone()), "{text:?}");
        }
    }

    #[test]
    fn only_the_mode_none_does_without_hosts_and_a_long_age_is_cut() {
        let policy = read("version: STSv1\nmode: none\nmax_age: 9999999999\n").expect("a policy");
        assert_eq!((policy.mode, policy.max_age), (Mode::None, MAX_AGE_MAX));
        assert_eq!(read("version: STSv1\nmode: testing\nmax_age: 1\n"), Err(PolicyError::Missing("mx")));
    }

    #[test]
    fn what_is_no_policy_says_why() {
        let with = |line: &str| format!("{GOOD}{line}\n");
        for (text, expected) in [
            (String::new(), PolicyError::Missing("version")),
            ("<html>\n<body>Not Found</body>".to_owned(), PolicyError::Line(1)),
            (GOOD.replace("STSv1", "STSv2"), PolicyError::Value("version")),
            (GOOD.replace("version: STSv1\n", ""), PolicyError::Missing("version")),
            (GOOD.replace("enforce", "Enforce"), PolicyError::Value("mode")),
            (GOOD.replace("mode: enforce\n", ""), PolicyError::Missing("mode")),
            (GOOD.replace("604800", "1d"), PolicyError::Value("max_age")),
            (GOOD.replace("604800", "+604800"), PolicyError::Value("max_age")),
            (GOOD.replace("604800", "-1"), PolicyError::Value("max_age")),
            (GOOD.replace("604800", "12345678901"), PolicyError::Value("max_age")),
            (GOOD.replace("max_age: 604800\n", ""), PolicyError::Missing("max_age")),
            (GOOD.replace("*.example.net", "*"), PolicyError::Value("mx")),
            (GOOD.replace("mode:", "Mode :"), PolicyError::Line(2)),
            (with("stray"), PolicyError::Line(7)),
            (with("key:"), PolicyError::Line(7)),
            (with("key: a\rmode: none"), PolicyError::Line(7)),
            (with("key: a\0"), PolicyError::Line(7)),
            (with(" mx: a.test"), PolicyError::Line(7)),
            ("mx: a.test\n".repeat(MX_MAX + 1), PolicyError::TooManyHosts),
            (with(&format!("x: {}", "a".repeat(DOCUMENT_BYTES_MAX))), PolicyError::TooLong),
        ] {
            assert_eq!(read(&text), Err(expected), "{}", &text[..text.len().min(200)]);
        }
        assert_eq!(Policy::parse(b"version: \xff"), Err(PolicyError::NotUtf8));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_was_read_is_written_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(policy) = Policy::parse(&bytes) {
                prop_assert_eq!(Policy::parse(policy.to_string().as_bytes()), Ok(policy));
            }
        }

        #[test]
        fn policies_read_back_as_themselves(
            mode in prop::sample::select(vec![Mode::Enforce, Mode::Testing, Mode::None]),
            age in 0_u64..=31_557_600,
            hosts in prop::collection::vec("(\\*\\.)?[a-z0-9]{1,9}(\\.[a-z]{2,5}){1,3}", 1..9),
        ) {
            let mx: Vec<_> = hosts.iter().map(|host| MxPattern::parse(host).expect("a pattern")).collect();
            let policy = Policy { mode, max_age: Duration::from_secs(age), mx };
            prop_assert_eq!(read(&policy.to_string()), Ok(policy.clone()));
            for host in &hosts {
                let host = host.replace("*.", "one.");
                prop_assert!(policy.allows(&host));
                let two = format!("one.two.{host}");
                prop_assert!(!policy.allows(&two) || hosts.iter().any(|pattern| two.ends_with(&pattern[1..])));
            }
        }
    }
}
