//! A mailbox address as SMTP carries it (RFC 5321 section 4.1.2, RFC 6531 for UTF-8).

use std::fmt;
use std::str::FromStr;

/// Limits of RFC 5321 section 4.5.3.1, in bytes.
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;

/// `local@domain`, checked; the domain is in lower case, the local part as it was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: Box<str>,
    at: u16,
}

/// The sender of an envelope: `None` is the null reverse-path `<>` of bounces (RFC 5321 section 4.5.5).
pub type ReversePath = Option<Address>;

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`.
    #[error("the address has no @")]
    NoAt,
    /// Nothing stands before the `@`.
    #[error("nothing stands before the @")]
    EmptyLocal,
    /// The local part is longer than 64 bytes.
    #[error("the part before the @ is longer than 64 bytes")]
    LocalTooLong,
    /// The local part holds a character that must be quoted, or a control character.
    #[error("the part before the @ holds a character that is not allowed there")]
    LocalCharacter,
    /// The domain is empty or longer than 255 bytes.
    #[error("the domain is empty or longer than 255 bytes")]
    DomainLength,
    /// The domain holds an empty or too long label or a character that no host name has.
    #[error("the domain is not a host name or an address literal")]
    DomainSyntax,
}

impl Address {
    /// Reads `local@domain`, without angle brackets.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let at = place_of_at(text)?;
        let (local, domain) = (&text[..usize::from(at)], &text[usize::from(at) + 1..]);
        let text = if domain.is_ascii() {
            let mut text = Box::<str>::from(text);
            text[usize::from(at) + 1..].make_ascii_lowercase();
            text
        } else {
            format!("{local}@{}", domain.to_lowercase()).into_boxed_str()
        };
        Ok(Self { text, at })
    }

    /// Whether [`Address::parse`] would take it.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn check(text: &str) -> Result<(), AddressError> {
        place_of_at(text).map(drop)
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole address as a text of its own.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text.into_string()
    }

    /// What stands before the `@`, quoted if it was written so.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// What stands behind the `@`, in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    /// Whether the address needs no SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

/// The byte at which the `@` between two parts stands that are as they must be.
fn place_of_at(text: &str) -> Result<u16, AddressError> {
    let at = text.rfind('@').ok_or(AddressError::NoAt)?;
    check_local(&text[..at])?;
    check_domain(&text[at + 1..])?;
    u16::try_from(at).map_err(|_| AddressError::LocalTooLong)
}

fn check_local(local: &str) -> Result<(), AddressError> {
    if local.is_empty() {
        return Err(AddressError::EmptyLocal);
    }
    if local.len() > LOCAL_BYTES_MAX {
        return Err(AddressError::LocalTooLong);
    }
    let ok = match local.strip_prefix('"') {
        Some(rest) => is_quoted(rest),
        None => is_dot_string(local),
    };
    if ok { Ok(()) } else { Err(AddressError::LocalCharacter) }
}

/// `rest` is what follows the opening quote: printable, backslash escapes one character, ends with the only bare quote.
fn is_quoted(rest: &str) -> bool {
    let mut characters = rest.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return characters.next().is_none(),
            '\\' => match characters.next() {
                Some(escaped) if !escaped.is_control() => {}
                _ => return false,
            },
            c if c.is_control() => return false,
            _ => {}
        }
    }
    false
}

/// Atoms of RFC 5322 section 3.2.3 with single dots between them. Dots at the ends or in a row are accepted:
/// such mailboxes exist and their provider knows best.
fn is_dot_string(local: &str) -> bool {
    local.chars().all(|c| {
        c == '.' || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
    })
}

fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

fn check_domain(domain: &str) -> Result<(), AddressError> {
    if domain.is_empty() || domain.len() > DOMAIN_BYTES_MAX {
        return Err(AddressError::DomainLength);
    }
    let ok = match domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => is_address_literal(literal),
        None => domain.split('.').all(is_label),
    };
    if ok { Ok(()) } else { Err(AddressError::DomainSyntax) }
}

fn is_address_literal(literal: &str) -> bool {
    match literal.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => literal[5..].parse::<std::net::Ipv6Addr>().is_ok(),
        _ => literal.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

fn is_label(label: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_utf8_text(c);
    !label.is_empty() && label.len() <= LABEL_BYTES_MAX && label.chars().all(allowed)
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_keep_the_local_part_and_lower_the_domain() {
        for (text, local, domain) in [
            ("Ann@Example.TEST", "Ann", "example.test"),
            ("\"a b\\\"@c\"@x.test", "\"a b\\\"@c\"", "x.test"),
            ("a@[127.0.0.1]", "a", "[127.0.0.1]"),
            ("a@[IPv6:::1]", "a", "[ipv6:::1]"),
            ("grå@blåbær.test", "grå", "blåbær.test"),
            ("a..b.@x", "a..b.", "x"),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.local(), address.domain()), (local, domain));
            assert_eq!(Address::check(text), Ok(()));
            assert_eq!(address.into_string(), format!("{local}@{domain}"));
        }
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        use AddressError::*;
        let long = format!("{}@x", "a".repeat(65));
        for (text, error) in [
            ("", NoAt),
            ("a", NoAt),
            ("@x", EmptyLocal),
            (long.as_str(), LocalTooLong),
            ("a b@x", LocalCharacter),
            ("a\r\n@x", LocalCharacter),
            ("<a@x", LocalCharacter),
            ("\"a@x", LocalCharacter),
            ("\"a\"b\"@x", LocalCharacter),
            ("a@", DomainLength),
            ("a@x..y", DomainSyntax),
            ("a@x y", DomainSyntax),
            ("a@[1.2.3]", DomainSyntax),
            ("a@x>", DomainSyntax),
        ] {
            assert_eq!(Address::parse(text), Err(error), "{text:?}");
        }
    }
}
