//! Turns a draft into a template: reads every part, collects the merge fields, encodes what is the same for all.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mail::Class;

use super::render::{self, BodyPart, BodyPiece, Content, HeadPart, Program, Shape, Slot, TextPiece};
use super::scan::{self, Piece};
use super::script::{self, Scripts};
use super::{ADDRESS_NAMES, CampaignDraft, FieldUse, Template, TemplateError};
use crate::compose::{self, boundary};
use crate::dkim::{BodyHash, Canonicalization};
use crate::header::{is_safe_value, write_mailboxes};
use crate::mailbox::Mailbox;
use crate::quoted::{Encoded, Escape};

/// Fields that the headers of a campaign may not give, in lower case.
const ENGINE_FIELDS: &[&str] = &[
    "from",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "received",
    "return-path",
    "dkim-signature",
    "mime-version",
    "resent-bcc",
];

/// Longest text or HTML of a template: what receivers take, and what a script can put out.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Compiles `draft`; without `splice` even plain fields go through minijinja, for comparison.
pub(super) fn compile(draft: &CampaignDraft, splice: bool) -> Result<Template, TemplateError> {
    let mut reader = Reader { scripts: Scripts::new(), uses: BTreeMap::new(), splice };
    let author = mailbox("from", &draft.from)?;
    let fields = read_header_fields(&mut reader, draft)?;
    let (text, html) = (lf_text("text", &draft.text)?, lf_text("html", &draft.html)?);
    let bodies =
        [reader.read_body("text", &text, Escape::None)?, reader.read_body("html", &html, Escape::Html)?];
    let uses: Vec<FieldUse> = reader.uses.into_values().collect();
    if let Some(field) = uses.iter().find(|field| reader.scripts.calls(&field.name)) {
        let message =
            format!("`{}` is a function that the template calls: give the field another name", field.name);
        return Err(TemplateError { part: field.part.clone(), line: field.line, message });
    }
    let (content_type, body) = body(bodies.into_iter().flatten().collect(), &uses, draft)?;
    let mut head = Head { parts: Vec::new(), uses: &uses };
    write_head(&mut head, draft, &author, fields)?;
    head.bytes(format!("MIME-Version: 1.0\r\n{content_type}").as_bytes());
    Ok(Template {
        draft_class: draft.class(),
        author,
        fields: uses.iter().map(|field| field.name.clone()).collect(),
        scripts: reader.scripts,
        head: head.parts,
        static_body_hash: static_hash(&body),
        body,
        uses,
    })
}

/// A part that has been read but whose fields have no index yet.
enum Source<'a> {
    Pieces(Vec<Piece<'a>>),
    Script(String),
}

impl Source<'_> {
    /// The text, when it is the same for all.
    fn constant(&self) -> Option<&str> {
        match self {
            Self::Pieces(pieces) => match pieces.as_slice() {
                [] => Some(""),
                [Piece::Literal(text)] => Some(text),
                _ => None,
            },
            Self::Script(_) => None,
        }
    }
}

/// A header field that has been read.
struct HeaderField<'a> {
    name: &'a str,
    label: String,
    shape: Shape,
    source: Source<'a>,
}

/// A body that has been read.
struct Body<'a> {
    label: &'static str,
    escape: Escape,
    source: Source<'a>,
}

/// Reads parts and collects their fields.
struct Reader {
    scripts: Scripts,
    uses: BTreeMap<String, FieldUse>,
    splice: bool,
}

impl Reader {
    fn read<'a>(
        &mut self,
        label: &str,
        source: &'a str,
        html: bool,
        in_header: bool,
    ) -> Result<Source<'a>, TemplateError> {
        let tags = scan::tags(source);
        let pieces = tags.as_ref().and_then(|tags| scan::plain_pieces(source, tags));
        let tags = tags.unwrap_or_default();
        let mut note = |name: &str, required: bool| {
            if ADDRESS_NAMES.contains(&name) {
                return;
            }
            let line = scan::line_of_name(source, &tags, name);
            let found = self.uses.entry(name.to_owned()).or_insert_with(|| FieldUse {
                name: name.to_owned(),
                part: label.to_owned(),
                line,
                required: true,
                in_header: false,
            });
            found.required &= required;
            found.in_header |= in_header;
        };
        match pieces {
            Some(pieces) if self.splice || tags.is_empty() => {
                for piece in &pieces {
                    if let Piece::Field(name) = piece {
                        note(name, true);
                    }
                }
                Ok(Source::Pieces(pieces))
            }
            _ => {
                let (script, names) = self.scripts.add(label, source, html)?;
                let optional = script::optional_names(&tags);
                for name in &names {
                    note(name, !optional.contains(name));
                }
                Ok(Source::Script(script))
            }
        }
    }

    fn read_header<'a>(
        &mut self,
        name: &'a str,
        label: String,
        shape: Shape,
        text: &'a str,
    ) -> Result<HeaderField<'a>, TemplateError> {
        if !is_safe_value(text) {
            return Err(wrong(&label, "holds a line break, a NUL or another control character"));
        }
        let source = self.read(&label, text, false, true)?;
        Ok(HeaderField { name, label, shape, source })
    }

    fn read_body<'a>(
        &mut self,
        label: &'static str,
        text: &'a str,
        escape: Escape,
    ) -> Result<Option<Body<'a>>, TemplateError> {
        if text.is_empty() {
            return Ok(None);
        }
        let source = self.read(label, text, escape == Escape::Html, false)?;
        Ok(Some(Body { label, escape, source }))
    }
}

fn wrong(part: &str, message: impl ToString) -> TemplateError {
    TemplateError { part: part.to_owned(), line: 1, message: message.to_string() }
}

/// A mailbox without merge fields.
fn mailbox(part: &str, text: &str) -> Result<Mailbox, TemplateError> {
    no_tags(part, text)?;
    Mailbox::parse(text).map_err(|error| wrong(part, error))
}

fn no_tags(part: &str, text: &str) -> Result<(), TemplateError> {
    if ["{{", "{%", "{#"].iter().any(|open| text.contains(open)) {
        return Err(wrong(part, "cannot hold merge fields"));
    }
    Ok(())
}

/// The text with LF line ends, as templates have it; a NUL is refused.
fn lf_text<'a>(part: &str, text: &'a str) -> Result<Cow<'a, str>, TemplateError> {
    if text.len() > PART_BYTES_MAX {
        return Err(wrong(part, format!("is longer than {PART_BYTES_MAX} bytes")));
    }
    if let Some(at) = text.find('\0') {
        let message = "holds a NUL".to_owned();
        return Err(TemplateError { part: part.to_owned(), line: scan::line_of(text, at), message });
    }
    if text.contains('\r') {
        return Ok(Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")));
    }
    Ok(Cow::Borrowed(text))
}

/// Reads subject, link and further fields.
fn read_header_fields<'a>(
    reader: &mut Reader,
    draft: &'a CampaignDraft,
) -> Result<Vec<HeaderField<'a>>, TemplateError> {
    let mut fields =
        vec![reader.read_header("Subject", "subject".to_owned(), Shape::Text, &draft.subject)?];
    let link = draft.list_unsubscribe_url.trim();
    if !link.is_empty() {
        let label = "list_unsubscribe_url".to_owned();
        fields.push(reader.read_header("List-Unsubscribe", label, Shape::Unsubscribe, link)?);
    }
    let mut names: Vec<String> = Vec::new();
    for (name, text) in &draft.headers {
        let label = format!("headers.{name}");
        compose::check_name(&label, name, ENGINE_FIELDS).map_err(|error| wrong(&label, error.message))?;
        let lower = name.to_ascii_lowercase();
        let given_elsewhere = match lower.as_str() {
            "list-unsubscribe" | "list-unsubscribe-post" => !link.is_empty(),
            "reply-to" => !draft.reply_to.trim().is_empty(),
            "list-id" => !draft.list_id.is_empty(),
            _ => false,
        };
        if given_elsewhere || names.contains(&lower) {
            return Err(wrong(&label, "is given twice"));
        }
        let shape = match lower.as_str() {
            "to" | "reply-to" | "sender" => Shape::Mailboxes,
            _ => Shape::Text,
        };
        names.push(lower);
        fields.push(reader.read_header(name, label, shape, text)?);
    }
    Ok(fields)
}

/// The head under construction.
struct Head<'a> {
    parts: Vec<HeadPart>,
    uses: &'a [FieldUse],
}

impl Head<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(HeadPart::Static(before)) => before.extend_from_slice(bytes),
            _ => self.parts.push(HeadPart::Static(bytes.to_vec())),
        }
    }

    /// Adds a field: written now when it is the same for all.
    fn field(&mut self, field: &HeaderField<'_>) -> Result<(), TemplateError> {
        if let Some(text) = field.source.constant() {
            let mut bytes = Vec::new();
            render::write_shaped(&mut bytes, field.name, field.shape, text)
                .map_err(|message| wrong(&field.label, message))?;
            self.bytes(&bytes);
            return Ok(());
        }
        let program = match &field.source {
            Source::Script(name) => Program::Script(name.clone()),
            Source::Pieces(pieces) => {
                let text = |piece: &Piece<'_>| match piece {
                    Piece::Literal(text) => TextPiece::Literal((*text).to_owned()),
                    Piece::Field(name) => TextPiece::Field(slot(self.uses, name)),
                };
                Program::Pieces(pieces.iter().map(text).collect())
            }
        };
        let shape = match field.shape {
            Shape::Mailboxes => Shape::Mailbox,
            shape => shape,
        };
        self.parts.push(HeadPart::Text(field.name.to_owned(), field.label.clone(), program, shape));
        Ok(())
    }
}

fn slot(uses: &[FieldUse], name: &str) -> Slot {
    match uses.binary_search_by(|field| field.name.as_str().cmp(name)) {
        Ok(index) => Slot::Value(index),
        Err(_) => Slot::Address,
    }
}

fn write_head(
    head: &mut Head<'_>,
    draft: &CampaignDraft,
    author: &Mailbox,
    fields: Vec<HeaderField<'_>>,
) -> Result<(), TemplateError> {
    let gives = |name: &str| draft.headers.keys().any(|key| key.eq_ignore_ascii_case(name));
    let mut from = Vec::new();
    write_mailboxes(&mut from, "From", std::slice::from_ref(author));
    head.bytes(&from);
    if !gives("To") {
        head.parts.push(HeadPart::To);
    }
    head.parts.extend([HeadPart::Date, HeadPart::MessageId]);
    if !draft.reply_to.trim().is_empty() {
        no_tags("reply_to", &draft.reply_to)?;
        let list = Mailbox::parse_list(&draft.reply_to).map_err(|error| wrong("reply_to", error))?;
        let mut reply_to = Vec::new();
        write_mailboxes(&mut reply_to, "Reply-To", &list);
        head.bytes(&reply_to);
    }
    for field in &fields {
        head.field(field)?;
    }
    let list_id = list_id(draft, author)?;
    if draft.class() == Class::Bulk {
        if !gives("List-Id") {
            head.bytes(format!("List-ID: <{list_id}>\r\n").as_bytes());
        }
        if !gives("Feedback-ID") {
            head.parts.push(HeadPart::Feedback(Class::Bulk, sender_mark(author)));
        }
    }
    Ok(())
}

/// The list's identifier: as given, or made of the author's address, so that all campaigns of an author are one list.
fn list_id(draft: &CampaignDraft, author: &Mailbox) -> Result<String, TemplateError> {
    if draft.list_id.is_empty() {
        return Ok(format!(
            "{}.{}",
            render::token(author.address.local()),
            render::token(author.address.domain())
        ));
    }
    let list_id = draft.list_id.trim_matches(['<', '>', ' ']);
    if list_id.is_empty() || render::token(list_id) != list_id {
        return Err(wrong("list_id", "has up to 100 letters, digits, dots, hyphens and underscores"));
    }
    Ok(list_id.to_owned())
}

/// The last part of a Feedback-ID: 5 to 15 letters and digits that are the same for all mail of a domain.
fn sender_mark(author: &Mailbox) -> String {
    let mut mark: String =
        author.address.domain().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    while mark.len() < 5 {
        mark.push('x');
    }
    mark
}

/// The Content-Type fields of the message, and its body.
fn body(
    bodies: Vec<Body<'_>>,
    uses: &[FieldUse],
    draft: &CampaignDraft,
) -> Result<(String, Vec<BodyPart>), TemplateError> {
    let several = bodies.len() > 1;
    let boundary = boundary(&[draft.text.as_bytes(), draft.html.as_bytes()]);
    let mut parts = Vec::new();
    let mut content_type = String::new();
    for body in &bodies {
        let fields = format!(
            "Content-Type: text/{}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            if body.escape == Escape::Html { "html" } else { "plain" }
        );
        let lead = match (several, parts.is_empty()) {
            (false, _) => {
                content_type = fields;
                String::new()
            }
            (true, true) => format!("--{boundary}\r\n{fields}\r\n"),
            (true, false) => format!("\r\n--{boundary}\r\n{fields}\r\n"),
        };
        parts.push(BodyPart {
            lead: lead.into_bytes(),
            label: body.label,
            content: content(&body.source, uses, several),
            escape: body.escape,
            before_boundary: several,
        });
    }
    if parts.is_empty() {
        return Err(wrong("text", "the message has no body: give text, html or both"));
    }
    if several {
        content_type = format!("Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n");
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        let content = Content::Static(Encoded::new(""));
        parts.push(BodyPart {
            lead: end,
            label: "html",
            content,
            escape: Escape::None,
            before_boundary: false,
        });
    }
    Ok((content_type, parts))
}

fn content(source: &Source<'_>, uses: &[FieldUse], before_boundary: bool) -> Content {
    if let Some(text) = source.constant() {
        return Content::Static(Encoded::part(text, before_boundary));
    }
    match source {
        Source::Script(name) => Content::Script(name.clone()),
        Source::Pieces(pieces) => {
            let encode = |piece: &Piece<'_>| match piece {
                Piece::Literal(text) => BodyPiece::Text(Encoded::new(text)),
                Piece::Field(name) => BodyPiece::Field(slot(uses, name)),
            };
            Content::Pieces(pieces.iter().map(encode).collect())
        }
    }
}

/// The hash of a body that is the same for all.
fn static_hash(body: &[BodyPart]) -> Option<BodyHash> {
    let mut bytes = Vec::new();
    for part in body {
        let Content::Static(content) = &part.content else {
            return None;
        };
        bytes.extend_from_slice(&part.lead);
        bytes.extend_from_slice(content.bytes());
    }
    Some(BodyHash::of(Canonicalization::Relaxed, &bytes))
}
