//! A mailbox as people write it: an address with or without a display name (RFC 5322 section 3.4).

use mail::{Address, AddressError};
use mail_builder::headers::address;

use crate::header::is_safe_value;

/// Longest display name we write, in bytes.
const NAME_BYTES_MAX: usize = 500;

/// A display name (may be empty) and an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The name readers see, not quoted and not encoded; empty when there is none.
    pub name: String,
    /// The address itself.
    pub address: Address,
}

/// Why a text is not a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    /// The address part is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A quote or an angle bracket is not closed, or text follows the closing bracket.
    #[error("a quote or an angle bracket is not closed, or text follows it: write Name <local@domain>")]
    Brackets,
    /// The display name holds a line break or another control character.
    #[error("the display name holds a line break or another control character")]
    Control,
    /// The display name is longer than 500 bytes.
    #[error("the display name is longer than 500 bytes")]
    NameTooLong,
}

impl Mailbox {
    /// Reads `local@domain`, `<local@domain>`, `Name <local@domain>` or `"Na, me" <local@domain>`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, MailboxError> {
        if !is_safe_value(text) {
            return Err(MailboxError::Control);
        }
        let text = text.trim();
        let Some(open) = find_outside_quotes(text, '<') else {
            return Ok(Self { name: String::new(), address: Address::parse(text)? });
        };
        let inner = text[open + 1..].strip_suffix('>').ok_or(MailboxError::Brackets)?;
        let name = unquote(text[..open].trim())?;
        if name.len() > NAME_BYTES_MAX {
            return Err(MailboxError::NameTooLong);
        }
        Ok(Self { name, address: Address::parse(inner.trim())? })
    }

    /// Reads a list with commas between the mailboxes; empty places are skipped.
    ///
    /// # Errors
    /// Says what is wrong with the first wrong one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, MailboxError> {
        let mut list = Vec::new();
        let mut rest = text;
        loop {
            let end = find_outside_quotes(rest, ',').unwrap_or(rest.len());
            if !rest[..end].trim().is_empty() {
                list.push(Self::parse(&rest[..end])?);
            }
            match rest.get(end + 1..) {
                Some(next) => rest = next,
                None => return Ok(list),
            }
        }
    }

    /// Reads one mailbox whose name came from a merge value: everything before the last `<` is name, whatever it holds,
    /// so that no value can make it unreadable or put another address in.
    ///
    /// # Errors
    /// When the address is wrong.
    pub(crate) fn parse_merged(text: &str) -> Result<Self, MailboxError> {
        let text = text.trim();
        let Some((name, address)) = text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) else {
            return Ok(Address::parse(text)?.into());
        };
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(name);
        let end = name.floor_char_boundary(NAME_BYTES_MAX);
        Ok(Self { name: name[..end].to_owned(), address: Address::parse(address.trim())? })
    }

    pub(crate) fn to_builder(&self) -> address::Address<'_> {
        let name = Some(self.name.as_str()).filter(|name| !name.is_empty());
        address::Address::new_address(name, self.address.as_str())
    }
}

impl From<Address> for Mailbox {
    fn from(address: Address) -> Self {
        Self { name: String::new(), address }
    }
}

/// Byte offset of the first `wanted` that stands outside of double quotes.
fn find_outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Takes the quotes off a name, if it has them.
fn unquote(name: &str) -> Result<String, MailboxError> {
    let Some(rest) = name.strip_prefix('"') else {
        return Ok(name.to_owned());
    };
    let inner = rest.strip_suffix('"').ok_or(MailboxError::Brackets)?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        let c = if c == '\\' { characters.next().ok_or(MailboxError::Brackets)? } else { c };
        text.push(c);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<(String, String), MailboxError> {
        Mailbox::parse(text).map(|m| (m.name, m.address.to_string()))
    }

    #[test]
    fn mailboxes_are_read_with_and_without_names() {
        for (text, name, address) in [
            ("a@x.test", "", "a@x.test"),
            (" <a@x.test> ", "", "a@x.test"),
            ("Ann Other <a@x.test>", "Ann Other", "a@x.test"),
            ("\"Other, \\\"Ann\\\"\" <a@x.test>", "Other, \"Ann\"", "a@x.test"),
            ("Zoë Brontë <zoe@x.test>", "Zoë Brontë", "zoe@x.test"),
            ("\"a<b\"@x.test", "", "\"a<b\"@x.test"),
        ] {
            assert_eq!(parts(text), Ok((name.to_owned(), address.to_owned())), "{text}");
        }
    }

    #[test]
    fn wrong_mailboxes_say_why() {
        let long = format!("{} <a@x>", "n".repeat(501));
        for (text, error) in [
            ("Ann <a@x.test", MailboxError::Brackets),
            ("Ann <a@x.test> b", MailboxError::Brackets),
            ("\"Ann <a@x.test>", MailboxError::Address(AddressError::LocalCharacter)),
            ("a@x\r\nBcc: b@x", MailboxError::Control),
            ("An\nn <a@x>", MailboxError::Control),
            ("An\0n <a@x>", MailboxError::Control),
            ("a@x <b@y>, c@z", MailboxError::Brackets),
            ("Ann", MailboxError::Address(AddressError::NoAt)),
            (&long, MailboxError::NameTooLong),
        ] {
            assert_eq!(Mailbox::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn merged_names_hold_anything() {
        let long = format!("{}é <a@x>", "n".repeat(499));
        for (text, name, address) in [
            ("É, x <a@x>", "É, x", "a@x"),
            ("\"An \"n\" <b@y>, c\" <a@x>", "An \"n\" <b@y>, c", "a@x"),
            (" <a@x> ", "", "a@x"),
            ("a@x", "", "a@x"),
            (&long, &"n".repeat(499), "a@x"),
        ] {
            let mailbox = Mailbox::parse_merged(text).expect(text);
            assert_eq!((mailbox.name.as_str(), mailbox.address.as_str()), (name, address));
        }
        assert!(Mailbox::parse_merged("x <y>").is_err());
    }

    #[test]
    fn a_list_splits_at_commas_outside_of_quotes() {
        let list = Mailbox::parse_list("\"Other, Ann\" <a@x>, b@y,, Carl <c@z>").expect("parses");
        let addresses: Vec<_> = list.iter().map(|m| m.address.as_str()).collect();
        assert_eq!(addresses, ["a@x", "b@y", "c@z"]);
        assert_eq!(list[0].name, "Other, Ann");
    }
}
