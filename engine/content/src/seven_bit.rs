//! Messages for servers without 8BITMIME: bodies with bytes above 127 get a transfer encoding of ASCII (RFC 6152 section
//! 3, RFC 2045 section 6). Heads stay as they are; so do signed parts, which no relay may touch (RFC 1847).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{ContentType, MessageParser, MimeHeaders};
use memchr::memmem;

use crate::header::{fields, split_head_body};
use crate::quoted::{Escape, Writer};

/// Parts within parts that are looked at; what is deeper stays as it is.
const DEPTH_MAX: usize = 16;
/// Bytes of a base64 line before encoding: 76 characters (RFC 2045 section 6.8).
const BASE64_LINE_BYTES: usize = 57;

/// The message with a body of ASCII only; `None` when it has one already.
#[must_use]
pub fn to_seven_bit(message: &[u8]) -> Option<Vec<u8>> {
    let (_, body) = split_head_body(message);
    if body.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 2);
    put_entity(message, Place { depth: 0, ends_at_boundary: false }, &mut out);
    Some(out)
}

/// Where an entity stands.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    /// The line end behind it belongs to the boundary that follows.
    ends_at_boundary: bool,
}

/// What is to be done with an entity.
enum Treatment {
    /// Nothing, or nothing that may be done.
    Keep,
    /// Its parts are looked at, between lines of this boundary.
    Parts(Vec<u8>),
    /// The message in it is looked at.
    Message,
    Encode(Encoding),
}

#[derive(Clone, Copy)]
enum Encoding {
    QuotedPrintable,
    Base64,
}

fn put_entity(entity: &[u8], place: Place, out: &mut Vec<u8>) {
    let (head, body) = split_head_body(entity);
    let treatment = if body.is_ascii() { Treatment::Keep } else { treatment_of(head, body, place.depth) };
    let inner = |ends_at_boundary| Place { depth: place.depth + 1, ends_at_boundary };
    match treatment {
        Treatment::Keep => out.extend_from_slice(entity),
        Treatment::Parts(boundary) => {
            put_head(head, "7bit", out);
            put_parts(body, &boundary, inner(true), out);
        }
        Treatment::Message => {
            put_head(head, "7bit", out);
            put_entity(body, inner(place.ends_at_boundary), out);
        }
        Treatment::Encode(Encoding::QuotedPrintable) => {
            put_head(head, "quoted-printable", out);
            let mut writer = Writer::new(out);
            writer.bytes(body, Escape::None);
            writer.finish(place.ends_at_boundary);
        }
        Treatment::Encode(Encoding::Base64) => {
            put_head(head, "base64", out);
            put_base64(body, place, out);
        }
    }
}

fn treatment_of(head: &[u8], body: &[u8], depth: usize) -> Treatment {
    let text = Treatment::Encode(Encoding::QuotedPrintable);
    let parsed = MessageParser::default().parse_headers(head);
    let encoding =
        parsed.as_ref().and_then(|message| message.content_transfer_encoding()).unwrap_or_default();
    // It says that it is ASCII and is not: encoding it once more would garble what readers make of it today.
    if ["quoted-printable", "base64"].iter().any(|name| encoding.trim().eq_ignore_ascii_case(name)) {
        return Treatment::Keep;
    }
    let Some(kind) = parsed.as_ref().and_then(|message| message.content_type()) else { return text };
    let is = |wanted: &str| kind.c_type.eq_ignore_ascii_case(wanted);
    let subtype = kind.c_subtype.as_deref().unwrap_or_default();
    if is("multipart") {
        let may_be_opened = depth < DEPTH_MAX && !subtype.eq_ignore_ascii_case("signed");
        // Without its boundary it has no parts.
        let boundary = boundary_of(kind).filter(|boundary| split_at_boundary(body, boundary).is_some());
        return match boundary {
            Some(boundary) if may_be_opened => Treatment::Parts(boundary),
            _ => Treatment::Keep,
        };
    }
    if is("message") {
        let may_be_opened = subtype.eq_ignore_ascii_case("rfc822") && depth < DEPTH_MAX;
        return if may_be_opened { Treatment::Message } else { Treatment::Keep };
    }
    if is("text") { text } else { Treatment::Encode(Encoding::Base64) }
}

fn boundary_of(kind: &ContentType<'_>) -> Option<Vec<u8>> {
    let boundary = kind.attribute("boundary").filter(|boundary| !boundary.is_empty())?;
    Some([b"--", boundary.as_bytes()].concat())
}

/// Writes a head with another Content-Transfer-Encoding, and the empty line.
fn put_head(head: &[u8], encoding: &str, out: &mut Vec<u8>) {
    for field in fields(head).filter(|field| !field.is("Content-Transfer-Encoding")) {
        out.extend_from_slice(field.raw);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Transfer-Encoding: ");
    out.extend_from_slice(encoding.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Writes the parts of a multipart body. What stands before the first and behind the last boundary has no encoding of its
/// own (RFC 2046 section 5.1.1): it stays as it is.
fn put_parts(body: &[u8], boundary: &[u8], place: Place, out: &mut Vec<u8>) {
    let mut rest = body;
    let mut is_part = false;
    while let Some((before, line, behind)) = split_at_boundary(rest, boundary) {
        if is_part {
            put_entity(before, place, out)
        } else {
            out.extend_from_slice(before)
        }
        out.extend_from_slice(line);
        rest = behind;
        // A boundary with two hyphens behind it is the last.
        is_part = !line.trim_ascii().ends_with(&[boundary, b"--"].concat());
        if !is_part {
            break;
        }
    }
    if is_part {
        put_entity(rest, Place { ends_at_boundary: false, ..place }, out);
    } else {
        out.extend_from_slice(rest);
    }
}

/// What stands before the next boundary, its line with the line ends around it, and what follows (RFC 2046 section 5.1.1).
fn split_at_boundary<'a>(text: &'a [u8], boundary: &[u8]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    for at in memmem::find_iter(text, boundary) {
        let is_at_line_start = at == 0 || text[at - 1] == b'\n';
        if !is_at_line_start {
            continue;
        }
        let behind = &text[at + boundary.len()..];
        let end = memchr::memchr(b'\n', behind).map_or(behind.len(), |end| end + 1);
        let padding = behind[..end].strip_prefix(b"--").unwrap_or(&behind[..end]);
        if padding.trim_ascii().is_empty() {
            let before = text[..at].strip_suffix(b"\r\n").unwrap_or(&text[..at]);
            let (line, rest) = text[before.len()..].split_at(at - before.len() + boundary.len() + end);
            return Some((before, line, rest));
        }
    }
    None
}

fn put_base64(body: &[u8], place: Place, out: &mut Vec<u8>) {
    for line in body.chunks(BASE64_LINE_BYTES) {
        out.extend_from_slice(STANDARD.encode(line).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if place.ends_at_boundary && out.ends_with(b"\r\n") {
        out.truncate(out.len() - 2);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader makes of the text and attachments of a message.
    fn contents(message: &[u8]) -> Vec<Vec<u8>> {
        let parsed = MessageParser::default().parse(message).expect("a message");
        let leaves = parsed.parts.iter().filter(|part| !part.is_multipart());
        leaves.map(|part| part.contents().to_vec()).collect()
    }

    fn converted(message: &str) -> String {
        let out = to_seven_bit(message.as_bytes()).expect("it has bytes above 127");
        assert_eq!(contents(&out), contents(message.as_bytes()), "{}", String::from_utf8_lossy(&out));
        String::from_utf8(out).expect("it was UTF-8")
    }

    #[test]
    fn a_plain_text_becomes_quoted_printable() {
        let message = "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nperch\u{e9} = no\r\nfine \r\n";
        assert_eq!(
            converted(message),
            "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nperch=C3=A9 =3D no\r\nfine=20\r\n"
        );
        assert_eq!(to_seven_bit(b"Subject: x\r\n\r\nplain\r\n"), None);
        assert_eq!(
            to_seven_bit("Subject: \u{e9}\r\n\r\nplain\r\n".as_bytes()),
            None,
            "heads are not touched"
        );
    }

    #[test]
    fn parts_are_converted_one_by_one() {
        let message = "Content-Type: multipart/mixed; boundary=\"a b\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nold \u{e9} readers\r\n--a b\r\n\
            Content-Type: text/html; charset=utf-8\r\n\r\n<p>\u{e8}</p>\r\n--a b\r\n\r\nascii\r\n--a b  \r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\u{f1}\u{f1}\r\n--a b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n\u{fc}\r\n--a b--\r\nthe end\r\n";
        let out =
            String::from_utf8(to_seven_bit(message.as_bytes()).expect("bytes above 127")).expect("UTF-8");
        let leaves = |message: &[u8]| contents(message)[..3].to_vec();
        assert_eq!(leaves(out.as_bytes()), leaves(message.as_bytes()));
        let preamble = "Content-Transfer-Encoding: 7bit\r\n\r\nold \u{e9} readers\r\n--a b";
        assert!(out.contains(preamble), "{out}");
        assert!(out.replace('\u{e9}', "").is_ascii(), "{out}");
        let inner = "Subject: inner\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--a b--";
        assert!(out.contains(inner), "{out}");
        assert!(out.contains("--a b\r\n\r\nascii\r\n--a b  \r\n"), "{out}");
        assert!(out.ends_with("\r\n--a b--\r\nthe end\r\n"), "{out}");
    }

    #[test]
    fn what_has_no_part_keeps_its_text() {
        let message = "Content-Type: multipart/mixed; boundary=never\r\n\r\nperch\u{e9}\r\n--other\r\n";
        assert_eq!(to_seven_bit(message.as_bytes()).expect("looked at"), message.as_bytes());
    }

    #[test]
    fn signed_parts_stay_as_they_are() {
        let message = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{e9}\r\n--b--\r\n";
        assert_eq!(to_seven_bit(message.as_bytes()).expect("looked at"), message.as_bytes());
    }

    proptest! {
        #[test]
        fn any_text_reads_the_same(text in "(\\PC{0,100}\r\n){0,5}", also in "(\\PC{0,40}\r\n){0,3}") {
            let message = format!(
                "Content-Type: multipart/alternative; boundary=b7\r\n\r\n--b7\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--b7\r\n\
                 Content-Type: application/x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{also}\r\n--b7--\r\n"
            );
            prop_assume!(!text.contains("--b7") && !also.contains("--b7"));
            if let Some(out) = to_seven_bit(message.as_bytes()) {
                prop_assert!(out.is_ascii());
                prop_assert_eq!(contents(&out), contents(message.as_bytes()));
            }
        }

        #[test]
        fn no_message_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = to_seven_bit(&bytes);
        }

        #[test]
        fn nearly_multiparts_do_not_panic(text in "(Content-Type: (multipart/mixed; boundary=b|text/plain|message/rfc822)\r\n|\r\n|--b|--b--|\u{e9}){0,30}") {
            let _ = to_seven_bit(text.as_bytes());
        }
    }
}
