//! Campaign templates: compiled and checked once, rendered for each recipient while sending.
//!
//! Text is plain but for merge fields `{{ name }}`; parts with only such fields are spliced from pieces that were
//! transfer-encoded once, parts with more (`{% if %}`, filters, loops) go through minijinja. A template refuses
//! to compile when anything in it could fail for every recipient, and says in which part and line.

mod compile;
mod render;
mod scan;
mod script;
mod stretches;

use std::collections::BTreeMap;
use std::fmt;

use mail::{CampaignId, Class, RecipientId, UnixMs};
use serde::{Deserialize, Serialize};

use crate::Mailbox;
use crate::dkim::BodyHash;
use crate::header::is_safe_value;
use render::{BodyPart, HeadPart, Sheet};
use script::Scripts;
pub use stretches::{Stretch, Stretches};

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
        self.render_sheet(values, recipient, out, None)
    }

    /// The same, but long stretches that are the same for every recipient are left out and noted in `stretches`, which is
    /// emptied first: [`Template::pieces`] puts them together with what was written.
    ///
    /// # Errors
    /// As of [`Template::render`].
    pub fn render_around(
        &self,
        values: &[&str],
        recipient: &RecipientContext<'_>,
        out: &mut Vec<u8>,
        stretches: &mut Stretches,
    ) -> Result<(), RenderError> {
        stretches.clear();
        self.render_sheet(values, recipient, out, Some(stretches))
    }

    fn render_sheet(
        &self,
        values: &[&str],
        recipient: &RecipientContext<'_>,
        out: &mut Vec<u8>,
        stretches: Option<&mut Stretches>,
    ) -> Result<(), RenderError> {
        let begins = out.len();
        let result = render::render(self, values, recipient, Sheet { bytes: out, begins, stretches });
        if result.is_err() {
            out.truncate(begins);
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

#[cfg(test)]
mod tests {
    use mail_parser::{Message, MessageParser};
    use proptest::prelude::*;

    use super::*;
    use crate::dkim::Canonicalization;
    use crate::header::{fields, split_head_body};

    pub(super) const RECIPIENT: RecipientContext<'_> = RecipientContext {
        address: "bob@example.net",
        id: RecipientId::from_raw(4096),
        campaign: CampaignId::from_raw(77),
        account: "shop:1",
        host: "example.test",
        date: UnixMs(1_795_353_001_000),
    };

    fn draft() -> CampaignDraft {
        CampaignDraft {
            name: "spring".to_owned(),
            from: "Zoë <news@example.test>".to_owned(),
            subject: "Hi {{ first }}!".to_owned(),
            text: "Dear {{ first }} {{ last }},\n{{ city }}\n".to_owned(),
            html: "<p title=\"{{ city }}\">Dear {{first}}</p>".to_owned(),
            list_unsubscribe_url: "https://x.test/u?e={{ email|urlencode }}&c={{ city }}".to_owned(),
            headers: BTreeMap::from([("X-City".to_owned(), "{{ city }}".to_owned())]),
            ..CampaignDraft::default()
        }
    }

    fn render(template: &Template, values: &[&str]) -> Result<Vec<u8>, RenderError> {
        let mut out = Vec::new();
        template.render(values, &RECIPIENT, &mut out).map(|()| out)
    }

    fn check_shape(raw: &[u8]) {
        assert!(raw.ends_with(b"\r\n") && raw.is_ascii() && !raw.contains(&0));
        let ends = raw.iter().filter(|&&b| b == b'\n' || b == b'\r').count();
        assert_eq!(ends, 2 * memchr::memmem::find_iter(raw, b"\r\n").count());
        assert!(raw.split(|&b| b == b'\n').all(|line| line.len() < 998));
    }

    fn body(message: &Message<'_>, html: bool) -> String {
        let text = if html { message.body_html(0) } else { message.body_text(0) };
        text.unwrap_or_default().replace("\r\n", "\n")
    }

    #[test]
    fn a_message_has_the_fields_of_its_campaign() {
        let template = Template::compile(&draft()).expect("compiles");
        assert_eq!(template.fields(), ["city", "first", "last"]);
        let raw = render(&template, &["Köln <&>", "Ann", "Oth=er"]).expect("renders");
        check_shape(&raw);
        let text = String::from_utf8_lossy(&raw).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").expect("has a body");
        let boundary = head.rsplit_once("boundary=").expect("is multipart").1;
        let expected = [
            "From: =?utf-8?B?Wm/Dqw==?= <news@example.test>",
            "To: bob@example.net",
            "Date: Sun, 22 Nov 2026 13:10:01 +0000",
            "Message-ID: <0000000000400.000000000002d@example.test>",
            "Subject: Hi Ann!",
            "List-Unsubscribe: <https://x.test/u?e=bob%40example.net&c=K%C3%B6ln%20%3C&%3E>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            "X-City: =?utf-8?B?S8O2bG4gPCY+?=",
            "List-ID: <news.example.test>",
            "Feedback-ID: 000000000002d:shop-1:bulk:exampletest",
            "MIME-Version: 1.0",
            "Content-Type: multipart/alternative;",
            &format!(" boundary={boundary}"),
        ];
        assert_eq!(head.lines().collect::<Vec<_>>(), expected);
        let message = MessageParser::new().parse(&raw).expect("parses");
        assert_eq!(body(&message, false).trim_end(), "Dear Ann Oth=er,\nKöln <&>");
        assert_eq!(body(&message, true), "<p title=\"Köln &lt;&amp;&gt;\">Dear Ann</p>");
        assert_eq!(template.author().address.as_str(), "news@example.test");
    }

    #[test]
    fn transactional_mail_and_own_headers_change_the_head() {
        let own = [
            ("List-Id", "<own.x.test>"),
            ("feedback-id", "a:b:c:ddddd"),
            ("To", "{{ first }} <{{ address }}>"),
        ];
        let own: BTreeMap<_, _> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let with = |draft: CampaignDraft| {
            let template = Template::compile(&draft).expect("compiles");
            let raw = render(&template, &vec!["É, x"; template.fields().len()]).expect("renders");
            String::from_utf8_lossy(&raw).into_owned()
        };
        let text = with(CampaignDraft { headers: own, ..draft() });
        assert!(text.contains("List-Id: <own.x.test>\r\n") && !text.contains("List-ID: <news"));
        assert!(text.contains("feedback-id: a:b:c:ddddd\r\n") && !text.contains("Feedback-ID"));
        assert!(text.contains("To: =?utf-8?B?w4ksIHg=?= <bob@example.net>\r\n"), "{text}");
        let text = with(CampaignDraft {
            class: Some(Class::Transactional),
            list_unsubscribe_url: String::new(),
            ..draft()
        });
        assert!(!text.contains("List-") && !text.contains("Feedback-ID"));
        let text = with(CampaignDraft {
            reply_to: "Help <help@x.test>".to_owned(),
            list_id: "news.x.test".to_owned(),
            list_unsubscribe_url: "mailto:u@x.test".to_owned(),
            ..draft()
        });
        assert!(
            text.contains("Reply-To: \"Help\" <help@x.test>\r\n")
                && text.contains("List-ID: <news.x.test>\r\n")
        );
        assert!(text.contains("List-Unsubscribe: <mailto:u@x.test>\r\n") && !text.contains("One-Click"));
    }

    #[test]
    fn a_body_without_fields_is_hashed_once() {
        let constant = |text: &str, html: &str| CampaignDraft {
            text: text.to_owned(),
            html: html.to_owned(),
            ..draft()
        };
        for draft in
            [constant("hello\n\n \n", "<p>é</p>"), constant("only text", ""), constant("", "<p>only</p>\n")]
        {
            let template = Template::compile(&draft).expect("compiles");
            let hash = template.static_body_hash().expect("is constant");
            let raw = render(&template, &["", "Ann"]).expect("renders");
            check_shape(&raw);
            assert_eq!(*hash, BodyHash::of(Canonicalization::Relaxed, split_head_body(&raw).1));
        }
        for (text, html) in
            [("{{ a }}", "x"), ("x", "{{ a }}"), ("{{ address }}", ""), ("{% if 1 %}x{% endif %}", "")]
        {
            let template = Template::compile(&constant(text, html)).expect("compiles");
            assert!(template.static_body_hash().is_none(), "{text} {html}");
        }
    }

    #[test]
    fn scripts_decide_and_loop_and_know_the_missing() {
        let text = "{% if first %}Dear {{ first|upper }}{% else %}Hello{% endif %}{{ nick|default(' friend') }}\n\
            {% for item in items|split(',') %}{{ loop.index }}. {{ item }}\n{% endfor %}{{ email }}";
        let draft = CampaignDraft {
            text: text.to_owned(),
            html: String::new(),
            subject: "s".to_owned(),
            ..CampaignDraft::default()
        };
        let template =
            Template::compile(&CampaignDraft { from: "a@x.test".to_owned(), ..draft }).expect("compiles");
        assert_eq!(template.fields(), ["first", "items", "nick"]);
        let required: Vec<_> = template.field_uses().iter().map(|field| field.required).collect();
        assert_eq!(required, [true, true, false]);
        for (values, expected) in [
            (["Ann", "a,b", "y"], "Dear ANNy\n1. a\n2. b\nbob@example.net"),
            (["", "é", ""], "Hello friend\n1. é\nbob@example.net"),
        ] {
            let raw = render(&template, &values).expect("renders");
            check_shape(&raw);
            assert_eq!(body(&MessageParser::new().parse(&raw).expect("parses"), false).trim_end(), expected);
        }
    }

    #[test]
    fn missing_fields_are_named_with_their_place() {
        let template = Template::compile(&draft()).expect("compiles");
        let known = |name: &str| ["city", "first"].contains(&name).then_some("v");
        let missing = template.missing(|name| known(name).is_some()).expect("one is missing");
        assert_eq!(missing.to_string(), "merge field `last` (text, line 1)");
        assert_eq!(template.values(known), Err(missing));
        assert!(template.missing(|_| true).is_none());
        assert_eq!(
            template.values(|name| Some(if name == "city" { "c" } else { "n" })),
            Ok(vec!["c", "n", "n"])
        );
        let optional = CampaignDraft { text: "{{ zip|d('-') }}".to_owned(), ..draft() };
        let template = Template::compile(&optional).expect("compiles");
        assert_eq!(template.values(|name| (name != "zip").then_some("v")), Ok(vec!["v", "v", ""]));
    }

    type Change = fn(&mut CampaignDraft);

    #[test]
    fn errors_name_part_and_line() {
        let cases: [(Change, &str, usize, &str); 31] = [
            (|d| d.text = "a\n{{ b".to_owned(), "text", 2, "syntax"),
            (|d| d.text = "{% if a %}\nx".to_owned(), "text", 1, "syntax"),
            (|d| d.html = "\n\n{{ a|shout }}".to_owned(), "html", 3, "no filter `shout`"),
            (|d| d.html = "a\r\nb\r\n{{ a|shout }}".to_owned(), "html", 3, "no filter `shout`"),
            (|d| d.html = "{% if a is big %}{% endif %}".to_owned(), "html", 1, "no test `big`"),
            (|d| d.html = "\n{{ now() }}".to_owned(), "html", 2, "no function `now`"),
            (|d| d.html = "\n{{ a.upper() }}".to_owned(), "html", 2, "no method `upper`"),
            (|d| d.html = "x\n{{ user.name }}".to_owned(), "html", 2, "`user.name`"),
            (|d| d.html = "{% include 'x' %}".to_owned(), "html", 1, "syntax"),
            (|d| d.html = "{% macro a() %}{% endmacro %}".to_owned(), "html", 1, "syntax"),
            (|d| d.html = "{% frobnicate %}".to_owned(), "html", 1, "syntax"),
            (|d| d.html = "{{ first name }}".to_owned(), "html", 1, "syntax"),
            (|d| d.html = "@media{#a{}}".to_owned(), "html", 1, "syntax"),
            (|d| d.html = "{% for i in range(3) %}{% endfor %}\n{{ a }}{{ range }}".to_owned(), "ok", 0, ""),
            (
                |d| (d.html, d.text) = ("{{ range(3) }}".to_owned(), "\n{{ range }}".to_owned()),
                "text",
                2,
                "function",
            ),
            (|d| d.text = "a\0".to_owned(), "text", 1, "NUL"),
            (|d| d.html = "x".repeat(5_000_000), "html", 1, "longer"),
            (|d| d.subject = "a\r\nBcc: x".to_owned(), "subject", 1, "line break"),
            (|d| d.subject = "{{ a".to_owned(), "subject", 1, "syntax"),
            (|d| d.from = "nobody".to_owned(), "from", 1, "@"),
            (|d| d.from = "{{ a }} <a@x.test>".to_owned(), "from", 1, "merge fields"),
            (|d| d.reply_to = "a@x.test\r\nBcc: b".to_owned(), "reply_to", 1, "line break"),
            (|d| d.list_unsubscribe_url = "ftp://x".to_owned(), "list_unsubscribe_url", 1, "https"),
            (
                |d| d.list_unsubscribe_url = format!("https://x/{}", "y".repeat(900)),
                "list_unsubscribe_url",
                1,
                "900",
            ),
            (|d| d.list_id = "a b".to_owned(), "list_id", 1, "letters"),
            (|d| drop(d.headers.insert("Bcc".to_owned(), "x".to_owned())), "headers.Bcc", 1, "engine"),
            (
                |d| drop(d.headers.insert("Message-ID".to_owned(), "<a@b>".to_owned())),
                "headers.Message-ID",
                1,
                "engine",
            ),
            (
                |d| drop(d.headers.insert("X-A: b\r\nX".to_owned(), "x".to_owned())),
                "headers.X-A: b\r\nX",
                1,
                "no field name",
            ),
            (|d| drop(d.headers.insert("X-A".to_owned(), "x\ny".to_owned())), "headers.X-A", 1, "line break"),
            (
                |d| drop(d.headers.insert("List-Unsubscribe".to_owned(), "<x>".to_owned())),
                "headers.List-Unsubscribe",
                1,
                "twice",
            ),
            (|d| (d.text, d.html) = (String::new(), String::new()), "text", 1, "no body"),
        ];
        for (change, part, line, message) in cases {
            let mut draft = draft();
            change(&mut draft);
            match Template::compile(&draft) {
                Ok(_) => assert_eq!(part, "ok", "{message}"),
                Err(error) => {
                    assert_eq!((error.part.as_str(), error.line), (part, line), "{error}");
                    assert!(error.message.contains(message), "{error}");
                }
            }
        }
    }

    #[test]
    fn greedy_scripts_are_stopped() {
        let long = format!("{{% for a in range(9999) %}}{}{{% endfor %}}", "x".repeat(2000));
        for (text, part) in [
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}{{ first }}",
                "steps",
            ),
            ("{{ first * 90000000 }}", "steps"),
            (&long, "steps"),
            ("{{ 1 // (first|int) }}", "line 1: invalid operation"),
        ] {
            let template =
                Template::compile(&CampaignDraft { text: text.to_owned(), ..draft() }).expect("compiles");
            let values = vec!["0"; template.fields().len()];
            let mut out = b"before".to_vec();
            let error = template.render(&values, &RECIPIENT, &mut out).expect_err(text);
            assert!(error.part == "text" && error.message.contains(part), "{error}");
            assert_eq!(out, b"before");
        }
    }

    #[test]
    fn values_that_would_break_a_field_are_refused() {
        let template = Template::compile(&draft()).expect("compiles");
        for evil in ["a\r\nBcc: x@y", "a\nb", "a\rb", "a\0b", "a\x1bb"] {
            for values in [[evil, "n", "n"], ["n", evil, "n"]] {
                assert!(
                    template.check_values(&values).is_err() && render(&template, &values).is_err(),
                    "{evil:?}"
                );
            }
            assert!(render(&template, &["n", "n", evil]).is_ok(), "only the body uses it");
        }
        assert_eq!(template.check_values(&["a"]).expect_err("too few").part, "values");
        for address in ["", "bob", "bob@x\r\nBcc: y", "bob@x>"] {
            let recipient = RecipientContext { address, ..RECIPIENT };
            assert!(template.render(&["a", "b", "c"], &recipient, &mut Vec::new()).is_err(), "{address:?}");
        }
        let link = CampaignDraft { list_unsubscribe_url: "{{ city }}".to_owned(), ..draft() };
        let template = Template::compile(&link).expect("compiles");
        assert!(render(&template, &["https://x.test/a b", "", ""]).is_ok());
        assert_eq!(
            render(&template, &["javascript:x", "", ""]).expect_err("no link").part,
            "list_unsubscribe_url"
        );
    }

    #[test]
    fn a_draft_survives_its_json_and_a_template_crosses_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Template>();
        let json = serde_json::to_string(&draft()).expect("writes");
        assert_eq!(serde_json::from_str::<CampaignDraft>(&json).expect("reads"), draft());
        assert_eq!(serde_json::from_str::<CampaignDraft>("{}").expect("reads"), CampaignDraft::default());
    }

    fn source() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            3 => "[ -z|~é\n\r\t=<&]{0,90}",
            1 => Just("{{ a }}".to_owned()),
            1 => Just("{{b}}".to_owned()),
            1 => Just("{{ email }}".to_owned()),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn spliced_and_scripted_templates_say_the_same(
            text in source(),
            html in source(),
            subject in "[ -z|~é]{0,50}(\\{\\{ a \\}\\})?[ -z|~é]{0,50}",
            a in "[ -~é<>&\"'/]{0,60}",
            b in "(\\PC|\r|\n|\t| |=){0,120}",
        ) {
            let draft = CampaignDraft { text: format!("{text}{{{{ b }}}}"), html, subject, headers: BTreeMap::new(), ..draft() };
            let draft = CampaignDraft { list_unsubscribe_url: "https://x.test/{{ a }}".to_owned(), ..draft };
            let spliced = Template::compile(&draft).expect("compiles");
            let scripted = compile::compile(&draft, false).expect("compiles");
            prop_assert_eq!(spliced.fields(), scripted.fields());
            let values: Vec<&str> = spliced.fields().iter().map(|name| if name == "a" { a.as_str() } else { &b }).collect();
            let (one, other) = (render(&spliced, &values).expect("renders"), render(&scripted, &values).expect("renders"));
            check_shape(&one);
            prop_assert_eq!(split_head_body(&one).0, split_head_body(&other).0);
            let (one, other) = (MessageParser::new().parse(&one).expect("parses"), MessageParser::new().parse(&other).expect("parses"));
            prop_assert_eq!(one.parts.len(), other.parts.len());
            prop_assert_eq!(body(&one, false), body(&other, false));
            prop_assert_eq!(body(&one, true), body(&other, true));
        }

        #[test]
        fn no_value_can_add_a_field_or_a_part(a in "\\PC{0,200}", b in "(\\PC|\r|\n|--=_){0,200}", c in "\\PC{0,200}") {
            let headers = [("To", "{{ first }} <{{ email }}>"), ("X-City", "{{ city }}")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let template = Template::compile(&CampaignDraft { headers, ..draft() }).expect("compiles");
            let names = |raw: &[u8]| fields(split_head_body(raw).0).map(|f| f.name.to_vec()).collect::<Vec<_>>();
            let plain = render(&template, &["x", "x", "x"]).expect("renders");
            if let Ok(raw) = render(&template, &[&a, &c, &b]) {
                check_shape(&raw);
                prop_assert_eq!(names(&raw), names(&plain));
                prop_assert_eq!(MessageParser::new().parse(&raw).expect("parses").parts.len(), 3);
            }
        }
    }
}
