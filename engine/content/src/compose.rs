//! Composes a message from its parts: RFC 5322 head, MIME body. Nothing a user gives can break out of its place:
//! what could is refused with the name of its field.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_builder::headers::content_type::ContentType;
use mail_builder::mime::MimePart;
use serde::{Deserialize, Serialize};

use crate::header::{is_field_name, is_safe_value, write_mailboxes, write_text};
use crate::mailbox::Mailbox;
use crate::moment::date_text;
use crate::submission::Stamp;

/// Longest media type of an attachment, in bytes.
const TYPE_BYTES_MAX: usize = 127;

/// A message as the HTTP interface takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Draft {
    /// The author: `local@domain` or `Name <local@domain>`.
    pub from: String,
    /// Recipients that everyone sees.
    pub to: Vec<String>,
    /// Recipients of a copy that everyone sees.
    pub cc: Vec<String>,
    /// Recipients that nobody sees; they are not written.
    pub bcc: Vec<String>,
    /// Where answers go; empty: to the author.
    pub reply_to: String,
    /// The subject.
    pub subject: String,
    /// The body as plain text; may be empty when there is HTML.
    pub text: String,
    /// The body as HTML; may be empty.
    pub html: String,
    /// Further fields, by name. Those that the engine writes itself are refused.
    pub headers: BTreeMap<String, String>,
    /// Files.
    pub attachments: Vec<Attachment>,
}

/// A file that goes with a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// The file's name, as the reader sees it.
    pub name: String,
    /// Its media type, as in `image/png`; empty: `application/octet-stream`.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Its content in base 64.
    pub content_base64: String,
}

/// What is wrong with a draft.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ComposeError {
    /// The field's name and place, as in `to[2]` or `headers.X-Foo`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ComposeError {
    pub(crate) fn new(field: impl Into<String>, message: impl ToString) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }
}

impl Draft {
    /// Everyone the message goes to: to, cc and bcc, in this order, each address once.
    ///
    /// # Errors
    /// The place of the first that is no mailbox, or `to` when there is none at all.
    pub fn recipients(&self) -> Result<Vec<Mailbox>, ComposeError> {
        let mut all: Vec<Mailbox> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for (field, list) in [("to", &self.to), ("cc", &self.cc), ("bcc", &self.bcc)] {
            all.extend(mailboxes(field, list)?.into_iter().filter(|m| known.insert(m.address.clone())));
        }
        if all.is_empty() {
            return Err(ComposeError::new("to", "names no recipient"));
        }
        Ok(all)
    }

    /// The author.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn author(&self) -> Result<Mailbox, ComposeError> {
        Mailbox::parse(&self.from).map_err(|error| ComposeError::new("from", error))
    }
}

fn mailboxes(field: &str, list: &[String]) -> Result<Vec<Mailbox>, ComposeError> {
    let read = |(index, text): (usize, &String)| {
        Mailbox::parse(text).map_err(|error| ComposeError::new(format!("{field}[{index}]"), error))
    };
    list.iter().enumerate().map(read).collect()
}

/// Writes the message. Its lines are CRLF and stay below 998 bytes; it is ASCII but for addresses that are not.
///
/// # Errors
/// The field that is wrong, and why.
pub fn compose(draft: &Draft, stamp: &Stamp<'_>) -> Result<Vec<u8>, ComposeError> {
    let mut out = Vec::with_capacity(1024 + draft.text.len() + draft.html.len());
    write_mailboxes(&mut out, "From", &[draft.author()?]);
    for (name, field, list) in [("To", "to", &draft.to), ("Cc", "cc", &draft.cc)] {
        let list = mailboxes(field, list)?;
        if !list.is_empty() {
            write_mailboxes(&mut out, name, &list);
        }
    }
    mailboxes("bcc", &draft.bcc)?;
    if draft.to.is_empty() && draft.cc.is_empty() {
        out.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
    }
    if !draft.reply_to.trim().is_empty() {
        let list =
            Mailbox::parse_list(&draft.reply_to).map_err(|error| ComposeError::new("reply_to", error))?;
        write_mailboxes(&mut out, "Reply-To", &list);
    }
    check_value("subject", &draft.subject)?;
    write_text(&mut out, "Subject", &draft.subject);
    write_identity(draft, stamp, &mut out);
    let mut names = std::collections::HashSet::new();
    for (name, value) in &draft.headers {
        let field = format!("headers.{name}");
        check_name(&field, name, ENGINE_FIELDS)?;
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(ComposeError::new(field, "is given twice"));
        }
        check_value(&field, value)?;
        write_text(&mut out, name, value);
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    body(draft)?.write_part(&mut out);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

/// Date and Message-ID, unless the draft's own headers give them.
fn write_identity(draft: &Draft, stamp: &Stamp<'_>, out: &mut Vec<u8>) {
    let gives = |name: &str| draft.headers.keys().any(|key| key.eq_ignore_ascii_case(name));
    if !gives("Date") {
        out.extend_from_slice(format!("Date: {}\r\n", date_text(stamp.now)).as_bytes());
    }
    if !gives("Message-ID") {
        out.extend_from_slice(format!("Message-ID: <{}>\r\n", stamp.message_id()).as_bytes());
    }
}

/// Fields that a draft's headers may not give, in lower case.
pub(crate) const ENGINE_FIELDS: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "received",
    "return-path",
    "dkim-signature",
    "mime-version",
    "resent-bcc",
];

/// Whether a user may give the field `name` in `headers`.
pub(crate) fn check_name(field: &str, name: &str, refused: &[&str]) -> Result<(), ComposeError> {
    if !is_field_name(name) {
        let text = "is no field name: use up to 70 printable ASCII characters without colon and blanks";
        return Err(ComposeError::new(field, text));
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("x-staffetta-") {
        return Err(ComposeError::new(
            field,
            "directives have their own fields here: class, campaign, tags ...",
        ));
    }
    if lower.starts_with("content-") || refused.contains(&lower.as_str()) {
        return Err(ComposeError::new(field, "is written by the engine; it cannot be given here"));
    }
    Ok(())
}

pub(crate) fn check_value(field: &str, value: &str) -> Result<(), ComposeError> {
    if is_safe_value(value) {
        return Ok(());
    }
    Err(ComposeError::new(field, "holds a line break, a NUL or another control character"))
}

/// The MIME tree: text and HTML as alternatives, attachments beside them.
fn body(draft: &Draft) -> Result<MimePart<'_>, ComposeError> {
    let boundary = boundary(&[draft.text.as_bytes(), draft.html.as_bytes()]);
    let mut alternatives = Vec::new();
    for (field, media_type, content) in
        [("text", "text/plain", &draft.text), ("html", "text/html", &draft.html)]
    {
        if content.contains('\0') {
            return Err(ComposeError::new(field, "holds a NUL"));
        }
        if !content.is_empty() {
            alternatives.push(MimePart::new(media_type, crlf_text(content)));
        }
    }
    let text = match (alternatives.pop(), alternatives.pop()) {
        (None, _) => MimePart::new("text/plain", ""),
        (Some(only), None) => only,
        (Some(html), Some(text)) => multipart("multipart/alternative", &boundary, "a", vec![text, html]),
    };
    if draft.attachments.is_empty() {
        return Ok(text);
    }
    let mut parts = vec![text];
    for (index, file) in draft.attachments.iter().enumerate() {
        parts.push(attachment(index, file)?);
    }
    Ok(multipart("multipart/mixed", &boundary, "m", parts))
}

fn multipart<'a>(media_type: &'a str, boundary: &str, mark: &str, parts: Vec<MimePart<'a>>) -> MimePart<'a> {
    let boundary = format!("{boundary}{mark}");
    MimePart::new(ContentType::new(media_type).attribute("boundary", boundary), parts)
}

fn attachment(index: usize, file: &Attachment) -> Result<MimePart<'_>, ComposeError> {
    let field = |name: &str| format!("attachments[{index}].{name}");
    check_value(&field("name"), &file.name)?;
    let encoded: String = file.content_base64.split_ascii_whitespace().collect();
    let content = STANDARD
        .decode(encoded.as_bytes())
        .map_err(|error| ComposeError::new(field("content_base64"), format!("is not base 64: {error}")))?;
    let media_type = media_type(&file.media_type)
        .ok_or_else(|| ComposeError::new(field("type"), "is no media type: write it as image/png"))?;
    let part = MimePart::new(ContentType::new(media_type), content);
    let name = if file.name.trim().is_empty() { "attachment" } else { file.name.trim() };
    Ok(base64_part(part.attachment(name)))
}

/// A part whose content is written in base 64 whatever its type, so that every byte survives.
fn base64_part(mut part: MimePart<'_>) -> MimePart<'_> {
    if let mail_builder::mime::BodyPart::Binary(content) = &part.contents {
        let mut encoded = Vec::with_capacity(content.len() * 4 / 3 + content.len() / 50 + 4);
        mail_builder::encoders::base64::Base64Encoder::new().wrap_lines().encode_into(content, &mut encoded);
        part.contents = encoded.into();
    }
    part.transfer_encoding("base64")
}

/// The media type as it is written. Messages and multiparts must not be in base 64 (RFC 2046 section 5), so they go as
/// plain files.
fn media_type(text: &str) -> Option<&str> {
    const FILE: &str = "application/octet-stream";
    let text = text.trim();
    if text.is_empty() {
        return Some(FILE);
    }
    let is_token = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    let (kind, subtype) = text.split_once('/')?;
    if text.len() > TYPE_BYTES_MAX || !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let composite = ["message", "multipart"].iter().any(|name| kind.eq_ignore_ascii_case(name));
    Some(if composite { FILE } else { text })
}

/// A boundary that no part holds: `=_` occurs neither in quoted-printable nor in base 64, and the rest depends on
/// the content in a way that nobody can aim at.
pub(crate) fn boundary(contents: &[&[u8]]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for content in contents {
        context.update(&content.len().to_be_bytes());
        context.update(content);
    }
    let digest = context.finish();
    let hex: String = digest.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("=_{hex}")
}

/// The text with CRLF line ends.
fn crlf_text(text: &str) -> String {
    let bytes = crate::submission::normalise_newlines(text.as_bytes().to_vec());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use mail::UnixMs;
    use mail_parser::{MessageParser, MimeHeaders};
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp<'_> = Stamp { now: UnixMs(1_795_353_001_000), host: "mx.example.test", unique: 7 };

    fn draft() -> Draft {
        Draft {
            from: "Zoë Brontë <zoe@example.test>".to_owned(),
            to: vec!["bob@example.net".to_owned(), "\"Other, Ann\" <ann@example.net>".to_owned()],
            cc: vec!["carl@example.net".to_owned()],
            bcc: vec!["secret@example.net".to_owned(), "bob@example.net".to_owned()],
            reply_to: "Help <help@example.test>, a@x.test".to_owned(),
            subject: "Grüße — 你好".to_owned(),
            text: format!("Hello,\nlong {}\rend  \n.", "é".repeat(2000)),
            html: format!("<p>{}</p>", "x".repeat(5000)),
            headers: BTreeMap::from([("X-Order".to_owned(), "número 7".to_owned())]),
            attachments: vec![
                Attachment {
                    name: "Jahresabschluß, 2026.pdf".to_owned(),
                    media_type: "application/pdf".to_owned(),
                    content_base64: STANDARD.encode([0_u8, 255, 10, 13, 1]),
                },
                Attachment {
                    name: "m.eml".to_owned(),
                    media_type: "message/rfc822".to_owned(),
                    ..Attachment::default()
                },
                Attachment {
                    name: "t.txt".to_owned(),
                    media_type: "text/plain".to_owned(),
                    content_base64: STANDARD.encode("a\nb\r\n"),
                },
            ],
        }
    }

    /// CRLF only, no line of 998 bytes or more, no NUL, a line end at the end.
    fn check_shape(message: &[u8]) {
        assert!(message.ends_with(b"\r\n") && !message.contains(&0));
        for line in message.strip_suffix(b"\r\n").unwrap_or(message).split(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            assert!(line.len() < 998 && !line.contains(&b'\r'), "{:?}", String::from_utf8_lossy(line));
        }
        assert_eq!(
            message.iter().filter(|&&b| b == b'\n').count(),
            memchr::memmem::find_iter(message, b"\r\n").count()
        );
    }

    #[test]
    fn a_full_draft_reads_back() {
        let raw = compose(&draft(), &STAMP).expect("composes");
        check_shape(&raw);
        assert!(raw.is_ascii() && !String::from_utf8_lossy(&raw).contains("secret"));
        let message = MessageParser::new().parse(&raw).expect("parses");
        let from = message.from().and_then(|from| from.first()).expect("is there");
        assert_eq!((from.name(), from.address()), (Some("Zoë Brontë"), Some("zoe@example.test")));
        let to: Vec<_> = message.to().expect("is there").iter().map(|m| (m.name(), m.address())).collect();
        assert_eq!(to, [(None, Some("bob@example.net")), (Some("Other, Ann"), Some("ann@example.net"))]);
        assert_eq!(message.subject(), Some("Grüße — 你好"));
        assert_eq!(message.message_id(), Some("0000000000007.1795353001000@mx.example.test"));
        assert_eq!(message.date().map(|date| date.to_timestamp()), Some(1_795_353_001));
        let text = message.body_text(0).expect("is there").replace("\r\n", "\n");
        assert_eq!(text.trim_end_matches('\n'), format!("Hello,\nlong {}\nend  \n.", "é".repeat(2000)));
        assert_eq!(
            message.body_html(0).expect("is there").trim_end(),
            format!("<p>{}</p>", "x".repeat(5000))
        );
        assert_eq!(message.header_raw("X-Order"), Some(" =?utf-8?B?bsO6bWVybyA3?=\r\n"));
        let files: Vec<_> =
            message.attachments().map(|part| (part.attachment_name(), part.contents().to_vec())).collect();
        assert_eq!(files[0], (Some("Jahresabschluß, 2026.pdf"), vec![0, 255, 10, 13, 1]));
        assert_eq!(files[1], (Some("m.eml"), Vec::new()));
        assert_eq!(files[2], (Some("t.txt"), b"a\nb\r\n".to_vec()));
        let again = compose(&draft(), &STAMP).expect("composes");
        assert_eq!(again, raw, "the same arguments give the same bytes");
    }

    #[test]
    fn every_recipient_is_in_the_envelope_once() {
        let all: Vec<_> =
            draft().recipients().expect("is right").into_iter().map(|m| m.address.to_string()).collect();
        assert_eq!(all, ["bob@example.net", "ann@example.net", "carl@example.net", "secret@example.net"]);
        assert_eq!(Draft::default().recipients().expect_err("empty").field, "to");
    }

    #[test]
    fn shapes_without_some_parts_are_well_formed() {
        for (text, html, files) in
            [("", "", 0), ("t", "", 0), ("", "h", 0), ("t", "h", 0), ("", "", 1), ("t", "", 2), ("", "h", 1)]
        {
            let mut draft = draft();
            (draft.text, draft.html) = (text.to_owned(), html.to_owned());
            draft.attachments.truncate(files);
            let raw = compose(&draft, &STAMP).expect("composes");
            check_shape(&raw);
            let message = MessageParser::new().parse(&raw).expect("parses");
            assert_eq!(message.attachment_count(), files, "{text:?} {html:?}");
        }
        let hidden = Draft { to: vec![], cc: vec![], ..draft() };
        assert!(
            String::from_utf8_lossy(&compose(&hidden, &STAMP).expect("composes"))
                .contains("undisclosed-recipients:;")
        );
    }

    #[test]
    fn own_date_and_message_id_are_kept() {
        let headers = [("date", "Mon, 1 Jan 2024 00:00:00 +0000"), ("message-id", "<own@x>")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let text = String::from_utf8(compose(&Draft { headers, ..draft() }, &STAMP).expect("composes"))
            .expect("ASCII");
        assert!(
            !text.contains("2026 13:10") && !text.contains("@mx.example.test>") && text.contains("<own@x>")
        );
    }

    type Change = fn(&mut Draft, String);

    /// Every text that a user can set.
    const TEXTS: [(&str, Change); 10] = [
        ("from", |draft, text| draft.from = format!("{text} <a@x.test>")),
        ("from", |draft, text| draft.from = format!("a{text}@x.test")),
        ("to[1]", |draft, text| draft.to[1] = format!("{text} <a@x.test>")),
        ("cc[0]", |draft, text| draft.cc[0] = format!("a@x{text}.test")),
        ("bcc[0]", |draft, text| draft.bcc[0] = format!("{text}<a@x.test>")),
        ("reply_to", |draft, text| draft.reply_to = format!("a@x.test, {text} <b@x.test>")),
        ("subject", |draft, text| draft.subject = text),
        ("headers.X-Order", |draft, text| drop(draft.headers.insert("X-Order".to_owned(), text))),
        ("attachments[0].name", |draft, text| draft.attachments[0].name = text),
        ("attachments[0].type", |draft, text| draft.attachments[0].media_type = format!("a/{text}")),
    ];

    #[test]
    fn line_breaks_and_nul_are_refused_in_every_place_with_its_name() {
        for (field, change) in TEXTS {
            for evil in ["x\r\nX-Evil: 1", "x\nX-Evil: 1", "x\rX-Evil: 1", "x\0y"] {
                let mut draft = draft();
                change(&mut draft, evil.to_owned());
                let error = compose(&draft, &STAMP).expect_err(field);
                assert_eq!(error.field, field, "{evil:?}");
            }
        }
        for name in [
            "X-A\r\nX-Evil",
            "X A",
            "",
            "Ünï",
            "X:",
            &"n".repeat(71),
            "From",
            "BCC",
            "Content-Type",
            "x-staffetta-class",
            "DKIM-Signature",
        ] {
            let headers = BTreeMap::from([(name.to_owned(), "v".to_owned())]);
            let error = compose(&Draft { headers, ..draft() }, &STAMP).expect_err(name);
            assert_eq!(error.field, format!("headers.{name}"));
        }
        let twice = ["X-A", "x-a"].map(|name| (name.to_owned(), "v".to_owned())).into();
        assert!(compose(&Draft { headers: twice, ..draft() }, &STAMP).is_err());
        let mut wrong = draft();
        wrong.attachments[2].content_base64 = "%%%".to_owned();
        assert_eq!(compose(&wrong, &STAMP).expect_err("no base 64").field, "attachments[2].content_base64");
        assert_eq!(
            compose(&Draft { text: "\0".to_owned(), ..draft() }, &STAMP).expect_err("NUL").field,
            "text"
        );
    }

    /// The names of the fields in every head of the message.
    fn names(raw: &[u8]) -> Vec<String> {
        let message = MessageParser::new().parse(raw).expect("parses");
        message
            .parts
            .iter()
            .flat_map(|part| &part.headers)
            .map(|header| header.name.as_str().to_owned())
            .collect()
    }

    proptest! {
        #[test]
        fn no_text_can_add_a_field_or_a_part(place in 0..TEXTS.len(), text in "\\PC{0,400}") {
            let mut changed = draft();
            TEXTS[place].1(&mut changed, text);
            if let Ok(raw) = compose(&changed, &STAMP) {
                check_shape(&raw);
                prop_assert_eq!(names(&raw), names(&compose(&draft(), &STAMP).expect("composes")));
            }
        }

        #[test]
        fn no_body_can_add_a_part(text in "[ -~\\n\\ré-]{0,300}", html in "(--=_[a-z]{0,3}|\\PC|\n){0,300}") {
            let changed = Draft { text: format!("t{text}"), html: format!("h{html}"), ..draft() };
            let raw = compose(&changed, &STAMP).expect("composes");
            check_shape(&raw);
            prop_assert_eq!(MessageParser::new().parse(&raw).expect("parses").parts.len(), 7);
        }
    }
}
