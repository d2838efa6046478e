//! What a server answered (RFC 5321 section 4.2, RFC 3463).

use std::fmt;

/// A reply: code, enhanced code if it has one, and the text of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits, 200 to 599 from servers that keep to RFC 5321; others are kept as they came.
    pub code: u16,
    /// The enhanced status code (RFC 3463, RFC 2034), taken off the text.
    pub enhanced: Option<Enhanced>,
    /// The text of all lines, joined by single spaces, without codes.
    pub text: String,
}

impl Reply {
    /// A reply without an enhanced code.
    #[must_use]
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, enhanced: None, text: text.into() }
    }

    /// A reply with an enhanced code.
    #[must_use]
    pub fn enhanced(code: u16, enhanced: Enhanced, text: impl Into<String>) -> Self {
        Self { code, enhanced: Some(enhanced), text: text.into() }
    }

    /// 2yz: done.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: go on.
    #[must_use]
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: not now.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: not so.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// An enhanced status code `class.subject.detail` (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Enhanced {
    /// Reads `5.7.1`; `None` unless it is a class of 2, 4 or 5 and two numbers of at most three digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let subject = number(parts.next()?)?;
        let detail = number(parts.next()?)?;
        parts.next().is_none().then_some(Self(class, subject, detail))
    }
}

fn number(digits: &str) -> Option<u16> {
    let ok = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if ok { digits.parse().ok() } else { None }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_read_strictly() {
        assert_eq!(Enhanced::parse("5.7.26"), Some(Enhanced(5, 7, 26)));
        for text in ["", "5", "5.7", "3.1.1", "5.7.1.1", "5..1", "5.1234.1", "5.a.1", "5.+1.1"] {
            assert_eq!(Enhanced::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_reply_prints_as_one_line() {
        let reply = Reply::enhanced(550, Enhanced(5, 1, 1), "no such user");
        assert_eq!(reply.to_string(), "550 5.1.1 no such user");
    }
}
