//! The part of a message from which its kind can be told: the beginning and the end of its first text, and a digest of what
//! is attached. It reads a bounded number of bytes, whatever the message's size, and refuses to be exact about broken MIME.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::{memchr, memmem};

use crate::header::{fields, split_head_body};

/// Bytes of a text that are looked at: some 150 words, which tell one text from another.
const PLAIN_BYTES_MAX: usize = 1024;
/// The same of HTML, most of which is markup.
const HTML_BYTES_MAX: usize = 5 * 1024;
/// Bytes at the end of the text: where newsletters say how to be rid of them.
const TAIL_BYTES_MAX: usize = 384;
/// Bytes of a body in which parts are looked for.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Parts that are looked at, and how deep they may lie in one another.
const PARTS_MAX: usize = 16;
const DEPTH_MAX: usize = 4;
/// Bytes of an attachment that stand for it, beside its size.
const SAMPLE_BYTES: usize = 64;

/// What is looked at of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt<'a> {
    /// The beginning of its first text, transfer encoding taken off.
    pub text: Cow<'a, [u8]>,
    /// Whether that is HTML.
    pub is_html: bool,
    /// The end of that text, where it is longer.
    pub tail: Cow<'a, [u8]>,
    /// A number that attachments of other content or size very likely do not have; `None` when nothing is attached.
    pub attached: Option<u64>,
}

/// Reads a message that has this head and this body.
#[must_use]
pub fn excerpt<'a>(head: &'a [u8], body: &'a [u8]) -> Excerpt<'a> {
    let mut found = Found::default();
    found.part(head, body, 0);
    let Some(Text { bytes, encoding, is_html }) = found.text else {
        return Excerpt { attached: found.attached, ..Excerpt::default() };
    };
    let bytes_max = if is_html { HTML_BYTES_MAX } else { PLAIN_BYTES_MAX };
    let begin = encoding.cut(bytes, bytes_max);
    let rest = &bytes[begin.len()..];
    let tail = encoding.cut_end(rest, TAIL_BYTES_MAX);
    Excerpt { text: encoding.decode(begin), is_html, tail: encoding.decode(tail), attached: found.attached }
}

/// A text part as it lies in the message.
struct Text<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
    is_html: bool,
}

/// What the walk over the parts has met.
#[derive(Default)]
struct Found<'a> {
    text: Option<Text<'a>>,
    attached: Option<u64>,
    parts: usize,
}

impl<'a> Found<'a> {
    fn part(&mut self, head: &'a [u8], body: &'a [u8], depth: usize) {
        self.parts += 1;
        let (kind, encoding) = kind_and_encoding(head);
        let boundary = match kind {
            Kind::Multipart(boundary) => boundary,
            Kind::Text { is_html } if self.text.is_none() => {
                self.text = Some(Text { bytes: body, encoding, is_html });
                return;
            }
            Kind::Text { .. } => return,
            Kind::Other => {
                self.attached = Some(self.attached.unwrap_or(0).rotate_left(7) ^ digest(body));
                return;
            }
        };
        if depth == DEPTH_MAX {
            return;
        }
        for part in Parts::of(&body[..body.len().min(BODY_BYTES_MAX)], &boundary) {
            if self.parts >= PARTS_MAX {
                return;
            }
            let (head, body) = split_head_body(part);
            self.part(head, body, depth + 1);
        }
    }
}

enum Kind {
    Text { is_html: bool },
    Multipart(Vec<u8>),
    Other,
}

/// What a part is by its header (RFC 2045 section 5.2: plain text when it does not say).
fn kind_and_encoding(head: &[u8]) -> (Kind, Encoding) {
    let (mut kind, mut encoding) = (Kind::Text { is_html: false }, Encoding::Plain);
    for field in fields(head) {
        if field.is("Content-Type") {
            kind = kind_of(field.value.trim_ascii());
        } else if field.is("Content-Transfer-Encoding") {
            encoding = Encoding::of(field.value.trim_ascii());
        }
    }
    (kind, encoding)
}

fn kind_of(value: &[u8]) -> Kind {
    let starts =
        |word: &str| value.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()));
    if starts("multipart/") {
        return boundary_of(value).map_or(Kind::Other, Kind::Multipart);
    }
    if starts("text/html") {
        return Kind::Text { is_html: true };
    }
    // A calendar or a table is no text to be read.
    if starts("text/plain") || !value.contains(&b'/') { Kind::Text { is_html: false } } else { Kind::Other }
}

/// The line that parts are divided by.
fn boundary_of(value: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"boundary=";
    let at = value.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME))?;
    let rest = &value[at + NAME.len()..];
    let word = match rest.strip_prefix(b"\"") {
        Some(quoted) => &quoted[..memchr(b'"', quoted)?],
        None => {
            let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b';');
            &rest[..end.unwrap_or(rest.len())]
        }
    };
    // RFC 2046 section 5.1.1.
    (1..=70).contains(&word.len()).then(|| [b"--", word].concat())
}

/// The parts between the boundary's lines.
struct Parts<'a> {
    rest: Option<&'a [u8]>,
    finder: memmem::Finder<'static>,
}

impl<'a> Parts<'a> {
    fn of(body: &'a [u8], boundary: &[u8]) -> Self {
        let finder = memmem::Finder::new(boundary).into_owned();
        let mut parts = Self { rest: Some(body), finder };
        // What stands before the first line is for readers without MIME.
        parts.next();
        parts
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let Some(at) = self.finder.find(rest) else {
            // The last part was cut, or its closing line is missing.
            self.rest = None;
            return (!rest.is_empty()).then_some(rest);
        };
        let behind = &rest[at + self.finder.needle().len()..];
        let line = memchr(b'\n', behind).map_or(behind.len(), |end| end + 1);
        self.rest = (!behind.starts_with(b"--")).then_some(&behind[line..]);
        Some(&rest[..at])
    }
}

/// How the bytes of a part are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Plain,
    Quoted,
    Base64,
}

impl Encoding {
    fn of(value: &[u8]) -> Self {
        if value.eq_ignore_ascii_case(b"base64") {
            Self::Base64
        } else if value.eq_ignore_ascii_case(b"quoted-printable") {
            Self::Quoted
        } else {
            Self::Plain
        }
    }

    /// As many bytes of the part as hold about `bytes_max` of its content.
    fn cut(self, part: &[u8], bytes_max: usize) -> &[u8] {
        let written = if self == Self::Base64 { bytes_max / 3 * 4 } else { bytes_max };
        &part[..part.len().min(written)]
    }

    /// The last bytes of the part, from the beginning of a line on where it is base64, whose lines begin at a whole group.
    fn cut_end(self, part: &[u8], bytes_max: usize) -> &[u8] {
        let from = part.len().saturating_sub(bytes_max);
        let end = &part[from..];
        match memchr(b'\n', end) {
            Some(at) if self == Self::Base64 && from > 0 => &end[at + 1..],
            _ => end,
        }
    }

    fn decode(self, part: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Plain => Cow::Borrowed(part),
            Self::Quoted => Cow::Owned(unquote(part)),
            Self::Base64 => Cow::Owned(unbase64(part)),
        }
    }
}

/// Quoted-printable as it comes: what is no escape stands for itself.
fn unquote(part: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = match &rest[at + 1..] {
            [b'\r', b'\n', more @ ..] | [b'\n', more @ ..] => more,
            [high, low, more @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(digit(*high) << 4 | digit(*low));
                more
            }
            more => {
                out.push(b'=');
                more
            }
        };
    }
    out.extend_from_slice(rest);
    out
}

/// The value of a hexadecimal digit.
const fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

/// As much as can be read: the cut may have left half a group.
fn unbase64(part: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut digits: Vec<u8> = part.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.truncate(digits.len() / 4 * 4);
    LENIENT.decode(&digits).unwrap_or_default()
}

/// Size and two samples: pages of one form differ in the middle or towards the end.
fn digest(body: &[u8]) -> u64 {
    let mut sum = body.len() as u64;
    for place in [body.len() / 2, body.len() / 4 * 3] {
        for chunk in body[place..body.len().min(place + SAMPLE_BYTES)].chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &[u8]) -> Excerpt<'_> {
        let (head, body) = split_head_body(message);
        excerpt(head, body)
    }
    use proptest::prelude::*;

    fn text(message: &str) -> (String, bool) {
        let found = of(message.as_bytes());
        (String::from_utf8_lossy(&found.text).trim().to_owned(), found.is_html)
    }

    #[test]
    fn the_first_text_is_found_and_its_encoding_taken_off() {
        for (message, expected, is_html) in [
            ("Subject: x\r\n\r\nplain", "plain", false),
            ("Content-Type: text/html\r\n\r\n<p>x", "<p>x", true),
            (
                "Content-Transfer-Encoding: quoted-printable\r\n\r\nperch=C3=A9 un=\r\no =3",
                "perché uno =3",
                false,
            ),
            ("Content-Transfer-Encoding: BASE64\r\n\r\nSGVs\r\nbG8g\r\neW91IQ==\r\n", "Hello you!", false),
            (
                "Content-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\r\nold\r\n--a b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c\r\nContent-Type: text/html\r\n\r\n<b>\r\n--c--\r\n--a b\r\nContent-Type: application/pdf\r\n\r\nPDF\r\n--a b--\r\n",
                "one",
                false,
            ),
            ("Content-Type: multipart/mixed\r\n\r\nno boundary", "", false),
            ("Content-Type: image/png\r\n\r\nPNG", "", false),
        ] {
            assert_eq!(text(message), (expected.to_owned(), is_html), "{message}");
        }
    }

    #[test]
    fn attachments_are_told_apart_by_their_content() {
        let with = |pdf: &str| {
            let message = format!(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee the invoice.\r\n--b\r\nContent-Type: application/pdf\r\n\r\n{pdf}\r\n--b--\r\n"
            );
            of(message.as_bytes()).attached
        };
        assert_eq!(with("one and the same"), with("one and the same"));
        assert_ne!(with("invoice 0001 of Ann"), with("invoice 0002 of Bob"));
        assert_eq!(of(b"\r\nnothing").attached, None);
    }

    #[test]
    fn of_a_long_text_the_beginning_and_the_end_are_read() {
        let message = format!("\r\nbegin {} end", "middle ".repeat(10_000));
        let found = of(message.as_bytes());
        assert!(found.text.starts_with(b"begin") && found.text.len() == PLAIN_BYTES_MAX);
        assert!(found.tail.ends_with(b" end") && found.tail.len() == TAIL_BYTES_MAX);
        let lines: String =
            (0..400).map(|_| "bWlkZGxlIG1pZGRsZSBtaWRkbGUgbWlkZGxlIG1pZGRsZSBtaWRkbGUg\r\n").collect();
        let message = format!("Content-Transfer-Encoding: base64\r\n\r\n{lines}dW5zdWJzY3JpYmU=\r\n");
        assert!(of(message.as_bytes()).tail.ends_with(b"middle unsubscribe"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(
            head in "(Content-Type: multipart/mixed; boundary=b\r\n|Content-Transfer-Encoding: (base64|quoted-printable)\r\n|X: y\r\n){0,3}",
            body in proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'b'), Just(b'='), Just(b'\n'), any::<u8>()], 0..400),
        ) {
            let message = [head.as_bytes(), b"\r\n", &body].concat();
            let found = of(&message);
            prop_assert!(found.text.len() + found.tail.len() <= message.len());
        }
    }
}
