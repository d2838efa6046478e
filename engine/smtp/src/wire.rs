//! The small forms of the wire: reply lines, xtext, dot-stuffing, clean line ends. No state, no meaning.

mod line_ends;

use std::io::Write as _;

use mail::{Enhanced, Reply};
use memchr::memmem;

pub use line_ends::has_clean_line_ends;

/// Bytes of text in one reply line: 512 of RFC 5321 section 4.5.3.1.5 less code, enhanced code and CRLF.
const REPLY_TEXT_BYTES_MAX: usize = 480;

/// Writes a reply in as many lines as its text needs. Only printable ASCII goes out: other bytes become `?`, so that no
/// text from elsewhere can forge a reply.
pub fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    write_answer((reply.code, reply.enhanced), &reply.text, out);
}

/// The same of a reply whose text is somebody else's.
pub(crate) fn write_answer(code: (u16, Option<Enhanced>), text: &str, out: &mut Vec<u8>) {
    let harmless = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    if text.len() <= REPLY_TEXT_BYTES_MAX {
        return put_reply_line(out, code, ' ', text.chars().map(harmless));
    }
    let mut text: String = text.chars().map(harmless).collect();
    while text.len() > REPLY_TEXT_BYTES_MAX {
        let cut = text[..REPLY_TEXT_BYTES_MAX].rfind(' ').unwrap_or(REPLY_TEXT_BYTES_MAX).max(1);
        let rest = text.split_off(cut);
        put_reply_line(out, code, '-', text.chars());
        text = rest.trim_start().to_owned();
    }
    put_reply_line(out, code, ' ', text.chars());
}

/// One line of a reply: `mark` tells whether another follows. `text` is ASCII.
fn put_reply_line(
    out: &mut Vec<u8>,
    (code, enhanced): (u16, Option<Enhanced>),
    mark: char,
    text: impl Iterator<Item = char>,
) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{code:03}{mark}");
    if let Some(it) = enhanced {
        let _ = write!(out, "{it} ");
    }
    out.extend(text.map(|c| c as u8));
    out.extend_from_slice(b"\r\n");
}

/// Appends the parts and CRLF.
pub(crate) fn put_line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends `text` as DATA carries it: a dot before each line's leading dot, CRLF at the end, the final dot
/// (RFC 5321 section 4.5.2). It is given in pieces of which each but the last ends with a line.
pub fn dot_stuff(text: &[&[u8]], out: &mut Vec<u8>) {
    for piece in text {
        stuff_lines(piece, out);
    }
    out.extend_from_slice(missing_line_end(text));
    out.extend_from_slice(b".\r\n");
}

/// The CRLF that `text` lacks at its end.
pub(crate) fn missing_line_end(text: &[&[u8]]) -> &'static [u8] {
    match text.last() {
        None | Some([] | [.., b'\r', b'\n']) => b"",
        Some(_) => b"\r\n",
    }
}

fn stuff_lines(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + text.len() / 64 + 8);
    if text.first() == Some(&b'.') {
        out.push(b'.');
    }
    // Each piece takes its line's own dot along, so that only one byte goes in by itself.
    let mut start = 0;
    for at in memmem::find_iter(text, b"\n.") {
        out.extend_from_slice(&text[start..at + 2]);
        out.push(b'.');
        start = at + 2;
    }
    out.extend_from_slice(&text[start..]);
}

/// Appends `text` as xtext (RFC 3461 section 4). Characters beyond ASCII go out as they are (RFC 6533 section 3).
pub fn encode_xtext(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        match byte {
            b'+' | b'=' | 0..=b' ' | 0x7f => {
                out.extend_from_slice(&[b'+', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

/// Reads xtext; `None` when it is malformed or hides a control character.
#[must_use]
pub fn decode_xtext(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(upper_hex(bytes.next()?)? << 4 | upper_hex(bytes.next()?)?),
            b'=' | 0..=b' ' | 0x7f => return None,
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok().filter(|text| !text.chars().any(char::is_control))
}

fn upper_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mail::Enhanced;
    use proptest::prelude::*;

    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        write_reply(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_is_a_line() {
        assert_eq!(written(&Reply::enhanced(452, Enhanced(4, 3, 1), "disk full")), "452 4.3.1 disk full\r\n");
        assert_eq!(written(&Reply::new(220, "")), "220 \r\n");
    }

    #[test]
    fn a_reply_cannot_be_forged_by_its_text() {
        assert_eq!(written(&Reply::new(550, "no\r\n250 yes\0ü")), "550 no??250 yes??\r\n");
    }

    #[test]
    fn a_long_reply_becomes_several_lines_of_legal_length() {
        for text in ["word ".repeat(300), "x".repeat(1500), format!(" {}", "y".repeat(900))] {
            let all = written(&Reply::enhanced(554, Enhanced(5, 7, 1), text));
            let lines: Vec<&str> = all.split_terminator("\r\n").collect();
            assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= 510));
            let (last, before) = lines.split_last().unwrap();
            assert!(
                last.starts_with("554 5.7.1 ") && before.iter().all(|line| line.starts_with("554-5.7.1 "))
            );
        }
    }

    #[test]
    fn xtext_is_read_strictly() {
        assert_eq!(decode_xtext("a+2Bb+3D+20c").as_deref(), Some("a+b= c"));
        for wrong in ["a+2", "a+2b", "a=b", "a b", "a+0D", "+FF", "+", "a\u{7f}"] {
            assert_eq!(decode_xtext(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn dots_are_stuffed_at_line_starts_only() {
        for (text, stuffed) in [
            ("", ".\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\r\n.\r\n..b\r\nc.\r\n", "a\r\n..\r\n...b\r\nc.\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\n.\n", "a\n..\n\r\n.\r\n"),
        ] {
            let mut out = Vec::new();
            dot_stuff(&[text.as_bytes()], &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), stuffed, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn xtext_reads_back(text in "[ -~äé]{0,40}") {
            let mut out = Vec::new();
            encode_xtext(&text, &mut out);
            prop_assert_eq!(decode_xtext(std::str::from_utf8(&out).unwrap()), Some(text));
        }
    }
}
