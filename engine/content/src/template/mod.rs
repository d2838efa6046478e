//! Campaign templates: compiled and checked once, rendered for each recipient while sending.
//!
//! Text is plain but for merge fields `{{ name }}`; parts with only such fields are spliced from pieces that were
//! transfer-encoded once, parts with more (`{% if %}`, filters, loops) go through minijinja. A template refuses
//! to compile when anything in it could fail for every recipient, and says in which part and line.

mod compile;
mod render;
mod scan;
mod script;

use std::collections::BTreeMap;
use std::fmt;

use mail::{CampaignId, Class, RecipientId, UnixMs};
use serde::{Deserialize, Serialize};

use crate::Mailbox;
use crate::dkim::BodyHash;
use crate::header::is_safe_value;
use render::{BodyPart, HeadPart};
use script::Scripts;

/// Names that stand for the recipient's own address in every template; they are not merge fields.
pub const ADDRESS_NAMES: [&str; 2] = ["address", "email"];

/// A campaign's template as it is handed in; its JSON is what the spool keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CampaignDraft {
    /// The campaign's name, for people; recipients do not see it.
    pub name: String,
    /// The author: `local@domain` or `Name <local@domain>`. No merge fields.
    pub from: String,
    /// Where answers go; empty: to the author. No merge fields.
    pub reply_to: String,
    /// The subject; may hold merge fields.
    pub subject: String,
    /// The body as plain text; may hold merge fields; may be empty when there is HTML.
    pub text: String,
    /// The body as HTML; values are escaped; may be empty when there is text.
    pub html: String,
    /// Further fields, by name; values may hold merge fields. `To`, `Reply-To` and `Sender` are read as mailboxes.
    pub headers: BTreeMap<String, String>,
    /// The kind of mail; `None`: bulk.
    pub class: Option<Class>,
    /// Where one-click unsubscription goes (RFC 8058): an https or http URL or a mailto; may hold merge fields.
    pub list_unsubscribe_url: String,
    /// The identifier for List-Id (RFC 2919) as in `news.example.test`; empty: made of the author's address.
    pub list_id: String,
}

impl CampaignDraft {
    /// The kind of mail: bulk unless the draft says otherwise.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class.unwrap_or(Class::Bulk)
    }
}

/// Why a template does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}, line {line}: {message}")]
pub struct TemplateError {
    /// `from`, `subject`, `text`, `html`, `headers.NAME` and so on.
    pub part: String,
    /// The line of that part, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Why a template cannot be rendered for a recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {message}")]
pub struct RenderError {
    /// The part that fails, as in [`TemplateError`]; `values` or `recipient` when the arguments are wrong.
    pub part: String,
    /// What is wrong.
    pub message: String,
}

impl RenderError {
    fn new(part: &str, message: impl Into<String>) -> Self {
        Self { part: part.to_owned(), message: message.into() }
    }
}

/// A merge field and where the template first uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldUse {
    /// The field's name.
    pub name: String,
    /// The part that uses it first.
    pub part: String,
    /// The line of that part.
    pub line: usize,
    /// Whether every recipient must have it; false where the template is prepared to find it missing
    /// (`{{ x|default("...") }}`, `{% if x is defined %}`). An optional field without a value is stored as "".
    pub required: bool,
    /// Whether it stands in a header field, where values must not hold control characters.
    pub in_header: bool,
}

impl fmt::Display for FieldUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "merge field `{}` ({}, line {})", self.name, self.part, self.line)
    }
}

/// What is known of the recipient and of its campaign besides the merge values.
#[derive(Clone, Copy, Debug)]
pub struct RecipientContext<'a> {
    /// The recipient's address.
    pub address: &'a str,
    /// The recipient's identifier; makes the Message-ID.
    pub id: RecipientId,
    /// The campaign; makes the Message-ID and the Feedback-ID.
    pub campaign: CampaignId,
    /// The account that sends; goes into the Feedback-ID. May be empty.
    pub account: &'a str,
    /// Right-hand side of the Message-ID: the author's domain or a host of ours.
    pub host: &'a str,
    /// What the Date field says.
    pub date: UnixMs,
}

/// A compiled template.
pub struct Template {
    draft_class: Class,
    author: Mailbox,
    uses: Vec<FieldUse>,
    fields: Vec<String>,
    scripts: Scripts,
    head: Vec<HeadPart>,
    body: Vec<BodyPart>,
    static_body_hash: Option<BodyHash>,
}

impl Template {
    /// Compiles and checks a draft.
    ///
    /// # Errors
    /// The first thing that is wrong, with part and line: syntax, unknown filters, tests and functions, fields that
    /// are no text, header fields that may not be given.
    pub fn compile(draft: &CampaignDraft) -> Result<Self, TemplateError> {
        compile::compile(draft, true)
    }

    /// The merge fields in the order in which values are given: sorted by name.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The merge fields with their first use, in the same order.
    #[must_use]
    pub fn field_uses(&self) -> &[FieldUse] {
        &self.uses
    }

    /// The first required field that is not given.
    pub fn missing(&self, is_given: impl Fn(&str) -> bool) -> Option<&FieldUse> {
        self.uses.iter().find(|field| field.required && !is_given(&field.name))
    }

    /// The values in the order of [`Template::fields`]; optional fields that `value_of` does not know become "".
    ///
    /// # Errors
    /// The first required field that is not known.
    pub fn values<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> Result<Vec<&'v str>, &FieldUse> {
        let mut values = Vec::with_capacity(self.uses.len());
        for field in &self.uses {
            match value_of(&field.name) {
                Some(value) => values.push(value),
                None if field.required => return Err(field),
                None => values.push(""),
            }
        }
        Ok(values)
    }

    /// Whether `values` can stand where the template puts them: those that go into header fields must not hold
    /// control characters. Check at submission; [`Template::render`] checks again.
    ///
    /// # Errors
    /// The field that cannot.
    pub fn check_values(&self, values: &[&str]) -> Result<(), RenderError> {
        if values.len() != self.uses.len() {
            let message = format!("the template has {} merge fields, not {}", self.uses.len(), values.len());
            return Err(RenderError::new("values", message));
        }
        for (field, value) in self.uses.iter().zip(values) {
            if field.in_header && !is_safe_value(value) {
                let message =
                    format!("the value of `{}` holds a line break or another control character", field.name);
                return Err(RenderError::new(&field.part, message));
            }
        }
        Ok(())
    }

    /// The hash of the body (relaxed) when it is the same for every recipient.
    #[must_use]
    pub fn static_body_hash(&self) -> Option<&BodyHash> {
        self.static_body_hash.as_ref()
    }

    /// The kind of mail.
    #[must_use]
    pub fn class(&self) -> Class {
        self.draft_class
    }

    /// The author.
    #[must_use]
    pub fn author(&self) -> &Mailbox {
        &self.author
    }

    /// Appends the whole message for one recipient to `out`: CRLF lines below 998 bytes, ASCII but for addresses
    /// that are not. `values` stand in the order of [`Template::fields`].
    ///
    /// # Errors
    /// The part that cannot be rendered with these values; `out` is then as it was.
    pub fn render(
        &self,
        values: &[&str],
        recipient: &RecipientContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        let before = out.len();
        let result = render::render(self, values, recipient, out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("author", &self.author)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}
