//! Writes one recipient's message from a compiled template. It refuses values that could leave their place.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::io::Write as _;

use mail::{Address, Class};
use minijinja::value::Value;

use super::stretches::{Stretch, Stretches};
use super::{ADDRESS_NAMES, RecipientContext, RenderError, Template, script};
use crate::Mailbox;
use crate::header::{is_safe_value, make_safe, write_mailboxes, write_text};
use crate::moment::write_date;
use crate::quoted::{Encoded, Escape, Writer};

/// Longest link in a field: it cannot be folded, and a line has at most 998 bytes.
const LINK_BYTES_MAX: usize = 900;

/// Where a field's text comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    /// The merge value at this index.
    Value(usize),
    /// The recipient's address.
    Address,
}

/// One stretch of a header field's text.
#[derive(Clone, Debug)]
pub(super) enum TextPiece {
    Literal(String),
    Field(Slot),
}

/// How a text is made.
#[derive(Clone, Debug)]
pub(super) enum Program {
    Pieces(Vec<TextPiece>),
    /// Name of a script.
    Script(String),
}

/// How the text of a header field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As unstructured text.
    Text,
    /// As a list of mailboxes.
    Mailboxes,
    /// As one mailbox whose name may hold anything.
    Mailbox,
    /// As List-Unsubscribe with one link, and List-Unsubscribe-Post when one click is possible.
    Unsubscribe,
}

/// One stretch of the head.
#[derive(Clone, Debug)]
pub(super) enum HeadPart {
    Static(Vec<u8>),
    /// `To` with the recipient's address.
    To,
    Date,
    MessageId,
    /// `Feedback-ID`, with the kind of mail and the part that names the sender.
    Feedback(Class, String),
    /// A field with merge fields: its name, the label of its part, its text.
    Text(String, String, Program, Shape),
}

/// One stretch of the body: a MIME part with what stands before it.
#[derive(Clone, Debug)]
pub(super) struct BodyPart {
    /// Boundary and head of the part; goes out as it is.
    pub(super) lead: Vec<u8>,
    /// The label of the part.
    pub(super) label: &'static str,
    pub(super) content: Content,
    pub(super) escape: Escape,
    /// Whether a boundary follows, which brings its own line end.
    pub(super) before_boundary: bool,
}

/// The content of a MIME part.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Encoded as a whole.
    Static(Encoded),
    Pieces(Vec<BodyPiece>),
    /// Name of a script.
    Script(String),
}

/// One stretch of a part with plain fields.
#[derive(Clone, Debug)]
pub(super) enum BodyPiece {
    Text(Encoded),
    Field(Slot),
}

/// The recipient's side of a rendering.
struct Merge<'a> {
    template: &'a Template,
    values: &'a [&'a str],
    recipient: &'a RecipientContext<'a>,
    context: OnceCell<Value>,
}

/// A message as it is being written.
pub(super) struct Sheet<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    /// Where in them it begins.
    pub(super) begins: usize,
    /// Where to note what is left out of them; `None`: nothing is.
    pub(super) stretches: Option<&'a mut Stretches>,
}

impl Sheet<'_> {
    fn begin_part(&mut self, part: u32, lead: &[u8]) -> PartSheet<'_> {
        self.bytes.extend_from_slice(lead);
        let stretches = self.stretches.as_deref_mut();
        PartSheet { writer: Writer::new(self.bytes), begins: self.begins, part, stretches }
    }
}

/// The same within a MIME part.
struct PartSheet<'a> {
    writer: Writer<'a>,
    begins: usize,
    part: u32,
    stretches: Option<&'a mut Stretches>,
}

impl PartSheet<'_> {
    fn splice(&mut self, encoded: &Encoded, piece: u32) {
        match &mut self.stretches {
            Some(stretches) if !encoded.stretch().is_empty() => {
                let at = self.writer.splice_around(encoded) - self.begins;
                stretches.push(Stretch { at, part: self.part, piece });
            }
            _ => self.writer.splice(encoded),
        }
    }
}

pub(super) fn render(
    template: &Template,
    values: &[&str],
    recipient: &RecipientContext<'_>,
    mut sheet: Sheet<'_>,
) -> Result<(), RenderError> {
    template.check_values(values)?;
    Address::check(recipient.address).map_err(|error| RenderError::new("recipient", error.to_string()))?;
    let merge = Merge { template, values, recipient, context: OnceCell::new() };
    for part in &template.head {
        merge.head(part, sheet.bytes)?;
    }
    sheet.bytes.extend_from_slice(b"\r\n");
    for (index, part) in (0..).zip(&template.body) {
        merge.body(part, sheet.begin_part(index, &part.lead))?;
    }
    Ok(())
}

impl Merge<'_> {
    fn head(&self, part: &HeadPart, out: &mut Vec<u8>) -> Result<(), RenderError> {
        let recipient = self.recipient;
        // Writing to a Vec does not fail.
        let _ = match part {
            HeadPart::Static(bytes) => out.write_all(bytes),
            HeadPart::Text(name, label, program, shape) => {
                let text = self.text(program).map_err(|message| RenderError::new(label, message))?;
                return write_shaped(out, name, *shape, &text)
                    .map_err(|message| RenderError::new(label, message));
            }
            HeadPart::To => write!(out, "To: {}\r\n", recipient.address),
            HeadPart::Date => {
                out.extend_from_slice(b"Date: ");
                write_date(out, recipient.date);
                out.write_all(b"\r\n")
            }
            HeadPart::MessageId => {
                let host = make_safe(recipient.host);
                write!(out, "Message-ID: <{}.{}@{host}>\r\n", recipient.id, recipient.campaign)
            }
            HeadPart::Feedback(class, sender) => {
                let account = token(recipient.account);
                write!(out, "Feedback-ID: {}:{account}:{class}:{sender}\r\n", recipient.campaign)
            }
        };
        Ok(())
    }

    fn body(&self, part: &BodyPart, mut sheet: PartSheet<'_>) -> Result<(), RenderError> {
        match &part.content {
            Content::Static(encoded) => sheet.splice(encoded, 0),
            Content::Pieces(pieces) => {
                for (index, piece) in (0..).zip(pieces) {
                    match piece {
                        BodyPiece::Text(encoded) => sheet.splice(encoded, index),
                        BodyPiece::Field(slot) => sheet.writer.text(self.value(*slot), part.escape),
                    }
                }
            }
            Content::Script(name) => {
                let text = self.run(name).map_err(|message| RenderError::new(part.label, message))?;
                sheet.writer.text(&text, Escape::None);
            }
        }
        sheet.writer.finish(part.before_boundary);
        Ok(())
    }

    fn text(&self, program: &Program) -> Result<String, String> {
        let pieces = match program {
            Program::Script(name) => return self.run(name),
            Program::Pieces(pieces) => pieces,
        };
        let mut whole = String::with_capacity(pieces.iter().map(|piece| self.piece(piece).len()).sum());
        pieces.iter().for_each(|piece| whole.push_str(self.piece(piece)));
        Ok(whole)
    }

    fn piece<'a>(&'a self, piece: &'a TextPiece) -> &'a str {
        match piece {
            TextPiece::Literal(literal) => literal,
            TextPiece::Field(slot) => self.value(*slot),
        }
    }

    fn value(&self, slot: Slot) -> &str {
        match slot {
            Slot::Value(index) => self.values.get(index).copied().unwrap_or_default(),
            Slot::Address => self.recipient.address,
        }
    }

    fn run(&self, name: &str) -> Result<String, String> {
        let context = self.context.get_or_init(|| self.context());
        self.template.scripts.run(name, context)
    }

    /// What scripts see: the merge values and the address; an optional field without a value is undefined.
    fn context(&self) -> Value {
        let given = self.template.uses.iter().zip(self.values);
        let values = given.filter(|(field, value)| field.required || !value.is_empty());
        let values = values.map(|(field, value)| (field.name.as_str(), *value));
        script::context(values.chain(ADDRESS_NAMES.map(|name| (name, self.recipient.address))))
    }
}

/// Writes the field `name` with a rendered text.
pub(super) fn write_shaped(out: &mut Vec<u8>, name: &str, shape: Shape, text: &str) -> Result<(), String> {
    if !is_safe_value(text) {
        return Err("holds a line break, a NUL or another control character".to_owned());
    }
    match shape {
        Shape::Text => write_text(out, name, text),
        Shape::Mailboxes => {
            let list = Mailbox::parse_list(text).map_err(|error| error.to_string())?;
            if list.is_empty() {
                return Err("names no mailbox".to_owned());
            }
            write_mailboxes(out, name, &list);
        }
        Shape::Mailbox => {
            let mailbox = Mailbox::parse_merged(text).map_err(|error| error.to_string())?;
            write_mailboxes(out, name, &[mailbox]);
        }
        Shape::Unsubscribe => {
            let link = link(text)?;
            // Writing to a Vec does not fail.
            let _ = write!(out, "{name}: <{link}>\r\n");
            if has_scheme(&link, "https:") {
                out.extend_from_slice(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
            }
        }
    }
    Ok(())
}

/// Whether `text` begins with `scheme`, in any case.
pub(super) fn has_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// A link that can stand in angle brackets: what no URL holds is percent-encoded (RFC 3986 section 2.1).
fn link(text: &str) -> Result<Cow<'_, str>, String> {
    let text = text.trim();
    if !["https://", "http://", "mailto:"].iter().any(|scheme| has_scheme(text, scheme)) {
        return Err("is no link: it begins with https://, http:// or mailto:".to_owned());
    }
    let stays = |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte);
    let link = if text.bytes().all(stays) {
        Cow::Borrowed(text)
    } else {
        let encode = |byte| if stays(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        Cow::Owned(text.bytes().map(encode).collect())
    };
    if link.len() > LINK_BYTES_MAX {
        return Err(format!("is longer than {LINK_BYTES_MAX} bytes"));
    }
    Ok(link)
}

/// A text as one part of a Feedback-ID or List-Id.
pub(super) fn token(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    text.chars().take(100).map(keep).collect()
}
