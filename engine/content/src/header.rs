//! The head of a message: finding fields in foreign bytes and writing fields that nothing can break out of.

use std::borrow::Cow;

use mail_builder::headers::{Header, raw::Raw, text::Text};
use memchr::{memchr, memmem};

use crate::Mailbox;

/// Longest field name that we write or accept from users.
const NAME_BYTES_MAX: usize = 70;
/// A word or a run of blanks longer than this is written as encoded words, so that no line reaches 998 bytes.
const ATOM_BYTES_MAX: usize = 800;

/// One field as it stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name without blanks before the colon; empty when the line has no colon.
    pub name: &'a [u8],
    /// What follows the colon, folding and final line end included.
    pub value: &'a [u8],
    /// The whole field, folding and final line end included.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Whether this is the field `name`, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line without blanks around it; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        self.line().into_owned()
    }

    /// The same where it stands, if it is one line of UTF-8 already.
    #[must_use]
    pub fn line(&self) -> Cow<'_, str> {
        unfold(self.value)
    }
}

/// Takes folding out of a raw value: line ends vanish, the blanks behind them stay (RFC 5322 section 2.2.3).
#[must_use]
pub fn unfold(value: &[u8]) -> Cow<'_, str> {
    let is_end = |c: char| c == '\r' || c == '\n';
    match String::from_utf8_lossy(value) {
        Cow::Borrowed(text) if !text.trim().contains(is_end) => Cow::Borrowed(text.trim()),
        text => Cow::Owned(text.trim().chars().filter(|&c| !is_end(c)).collect()),
    }
}

/// The head (with the line end of its last field, without the empty line) and the body behind the empty line.
/// A message without an empty line is all head.
#[must_use]
pub fn split_head_body(message: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = message.strip_prefix(b"\r\n") {
        return (&[], body);
    }
    match memmem::find(message, b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, &[]),
    }
}

/// The fields of `head`, in order.
#[must_use]
pub fn fields(head: &[u8]) -> Fields<'_> {
    Fields { rest: head }
}

/// The first field `name` of `head`.
#[must_use]
pub fn find<'a>(head: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(head).find(|field| field.is(name))
}

/// Iterator over the fields of a head; see [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (raw, rest) = self.rest.split_at(field_bytes(self.rest));
        self.rest = rest;
        Some(field(raw))
    }
}

/// Length of the field that `bytes` begins with: up to the first line end that no blank follows.
fn field_bytes(bytes: &[u8]) -> usize {
    let mut from = 0;
    while let Some(offset) = memchr(b'\n', &bytes[from..]) {
        from += offset + 1;
        if !matches!(bytes.get(from), Some(b' ' | b'\t')) {
            return from;
        }
    }
    bytes.len()
}

/// Reads one field that is known to be one.
pub(crate) fn field(raw: &[u8]) -> Field<'_> {
    let first_line = memchr(b'\n', raw).unwrap_or(raw.len());
    match memchr(b':', &raw[..first_line]) {
        Some(colon) => Field { name: raw[..colon].trim_ascii_end(), value: &raw[colon + 1..], raw },
        None => Field { name: &[], value: raw, raw },
    }
}

/// Whether `name` may stand before the colon (RFC 5322 section 2.2) and is of sane length.
#[must_use]
pub fn is_field_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// Whether `text` can stand in a field without breaking out of it: no CR, LF, NUL or other control but the tabulator.
#[must_use]
pub fn is_safe_value(text: &str) -> bool {
    !text.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f)
}

/// `text` with everything that [`is_safe_value`] refuses turned into blanks.
pub(crate) fn make_safe(text: &str) -> Cow<'_, str> {
    if is_safe_value(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect())
}

/// Writes `name: text` as unstructured text: ASCII is folded at its blanks, other text becomes encoded words (RFC 2047).
/// What [`is_safe_value`] refuses is written as blanks; callers refuse it before, with a reason.
pub fn write_text(out: &mut Vec<u8>, name: &str, text: &str) {
    let text = make_safe(text);
    let text = text.trim();
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let column = name.len() + 2;
    if text.is_ascii() && atoms_fit(text) {
        Raw::new(text).write_header(out, column);
    } else {
        Text::new(text).write_header(out, column);
    }
}

/// Whether no word and no run of blanks is too long to be kept on one line.
fn atoms_fit(text: &str) -> bool {
    let is_blank = |b: u8| b == b' ' || b == b'\t';
    text.as_bytes().chunk_by(|a, b| is_blank(*a) == is_blank(*b)).all(|run| run.len() <= ATOM_BYTES_MAX)
}

/// Writes `name: mailbox, mailbox ...`, folded; display names are quoted or encoded as they need.
pub fn write_mailboxes(out: &mut Vec<u8>, name: &str, mailboxes: &[Mailbox]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let list: Vec<_> = mailboxes.iter().map(Mailbox::to_builder).collect();
    mail_builder::headers::address::Address::new_list(list).write_header(out, name.len() + 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_body_are_split_at_the_first_empty_line() {
        for (message, head, body) in [
            ("a: 1\r\n\r\nb\r\n\r\nc", "a: 1\r\n", "b\r\n\r\nc"),
            ("a: 1\r\n", "a: 1\r\n", ""),
            ("a: 1\r\n\r\n", "a: 1\r\n", ""),
            ("\r\nbody", "", "body"),
            ("", "", ""),
        ] {
            assert_eq!(
                split_head_body(message.as_bytes()),
                (head.as_bytes(), body.as_bytes()),
                "{message:?}"
            );
        }
    }

    #[test]
    fn fields_keep_their_folding_and_their_order() {
        let head = b"A: 1\r\nSubject : two\r\n  lines:\r\n\tmore\r\nno colon\r\nB:\r\n";
        let found: Vec<_> =
            fields(head).map(|f| (String::from_utf8_lossy(f.name).into_owned(), f.text())).collect();
        let expected = [("A", "1"), ("Subject", "two  lines:\tmore"), ("", "no colon"), ("B", "")];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        let joined: Vec<u8> = fields(head).flat_map(|f| f.raw.to_vec()).collect();
        assert_eq!(joined, head);
        assert!(find(head, "SUBJECT").is_some() && find(head, "C").is_none());
    }

    #[test]
    fn written_text_reads_back_and_lines_stay_short() {
        let long_word = "x".repeat(3000);
        let blanks = format!("a{}b", " ".repeat(2000));
        for text in
            ["plain", "Grüße aus Köln — 你好", &"word ".repeat(400), &long_word, &blanks, "a\tb  c", ""]
        {
            let mut out = Vec::new();
            write_text(&mut out, "Subject", text);
            assert!(out.ends_with(b"\r\n"));
            let lines = out.split(|&b| b == b'\n').map(<[u8]>::len).max();
            assert!(lines < Some(900), "{text:?}");
            out.extend_from_slice(b"\r\n");
            let message = mail_parser::MessageParser::new().parse(&out).expect("parses");
            assert_eq!(
                message.subject().unwrap_or_default(),
                text.trim(),
                "{}",
                String::from_utf8_lossy(&out)
            );
        }
    }
}
