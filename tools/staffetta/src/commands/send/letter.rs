//! Reads what a campaign says: an .html, .txt or .eml file becomes the fields of the API's campaign.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use mail_parser::{Message, MessageParser, PartType};
use serde_json::{Map, Value};

use super::list::extension;

/// Headers of an .eml file that the engine writes itself, for each recipient anew.
const OWN_HEADERS: [&str; 15] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "received",
    "return-path",
    "dkim-signature",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "sender",
];

/// Subject, text and headers of a campaign; any of them may hold `{{ merge fields }}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) from: Option<String>,
    pub(crate) reply_to: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) html: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) list_unsubscribe_url: Option<String>,
}

impl Letter {
    /// Reads `file`, whose name tells what it is.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8 (or, for .eml, no message), or holds what a campaign cannot carry.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let raw =
            std::fs::read(file).with_context(|| format!("the template {} cannot be read", file.display()))?;
        let letter = match extension(file).as_str() {
            "html" | "htm" => utf8(raw).map(Self::from_html),
            "txt" => utf8(raw).map(|text| Self { text: Some(text), ..Self::default() }),
            "eml" => Self::from_message(&raw),
            _ => bail!("{}: a template is an .html, a .txt or an .eml file", file.display()),
        };
        letter.with_context(|| format!("{}", file.display()))
    }

    fn from_html(html: String) -> Self {
        Self { subject: title(&html), html: Some(html), ..Self::default() }
    }

    fn from_message(raw: &[u8]) -> anyhow::Result<Self> {
        let message = MessageParser::new().parse(raw).context("this is not a message")?;
        ensure!(
            message.attachment_count() == 0,
            "campaigns carry no attachments: link to the file, or send with --raw"
        );
        let letter = Self {
            from: mailbox(message.from()),
            reply_to: mailbox(message.reply_to()),
            subject: message.subject().map(str::to_owned),
            text: body(&message, &message.text_body),
            html: body(&message, &message.html_body),
            headers: other_headers(&message),
            list_unsubscribe_url: raw_header(&message, "list-unsubscribe")
                .and_then(|value| https_url(&value)),
        };
        ensure!(
            letter.text.is_some() || letter.html.is_some(),
            "the message has neither a text nor an HTML part"
        );
        Ok(letter)
    }

    /// The campaign as the API takes it.
    ///
    /// # Errors
    /// When sender or subject are missing.
    pub(crate) fn to_json(&self, name: &str, class: Option<mail::Class>) -> anyhow::Result<Value> {
        let from = self.from.as_deref().context("who sends it? Give --from")?;
        let subject = self.subject.as_deref().context("what is the subject? Give --subject")?;
        let mut json = serde_json::json!({ "name": name, "from": from, "subject": subject });
        let mut set = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                json[key] = Value::from(value);
            }
        };
        set("reply_to", self.reply_to.as_deref());
        set("text", self.text.as_deref());
        set("html", self.html.as_deref());
        set("list_unsubscribe_url", self.list_unsubscribe_url.as_deref());
        set("class", class.map(mail::Class::name));
        if !self.headers.is_empty() {
            let headers: Map<String, Value> = self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                .collect();
            json["headers"] = Value::Object(headers);
        }
        Ok(json)
    }
}

fn utf8(raw: Vec<u8>) -> anyhow::Result<String> {
    let text = String::from_utf8(raw).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        anyhow::anyhow!("line {line} is not UTF-8; save the file as UTF-8")
    })?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The content of `<title>`, on one line.
fn title(html: &str) -> Option<String> {
    let lower = html.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let title = html[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then(|| unescape(&title))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// The first part of its own kind: mail-parser lists an HTML part as text too when there is no other.
fn body(message: &Message<'_>, parts: &[u32]) -> Option<String> {
    let wants_html = std::ptr::eq(parts, message.html_body.as_slice());
    parts.iter().filter_map(|&part| message.part(part)).find_map(|part| match &part.body {
        PartType::Text(text) if !wants_html => Some(text.to_string()),
        PartType::Html(html) if wants_html => Some(html.to_string()),
        _ => None,
    })
}

/// The first mailbox of an address header, its name decoded.
fn mailbox(address: Option<&mail_parser::Address<'_>>) -> Option<String> {
    let first = address?.first()?;
    let address = first.address.as_deref()?;
    Some(match first.name.as_deref() {
        Some(name) => format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\"")),
        None => address.to_owned(),
    })
}

/// The value of a header as it was written, unfolded.
fn raw_header(message: &Message<'_>, name: &str) -> Option<String> {
    let header = message.headers().iter().find(|header| header.name().eq_ignore_ascii_case(name))?;
    unfolded(message, header)
}

fn unfolded(message: &Message<'_>, header: &mail_parser::Header<'_>) -> Option<String> {
    let raw = message.raw_message.get(header.offset_start as usize..header.offset_end as usize)?;
    let text = String::from_utf8_lossy(raw).replace(['\r', '\n'], "");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn other_headers(message: &Message<'_>) -> Vec<(String, String)> {
    let is_own = |name: &str| {
        let name = name.to_ascii_lowercase();
        OWN_HEADERS.contains(&name.as_str())
            || name.starts_with("content-")
            || name.starts_with("x-staffetta-")
    };
    message
        .headers()
        .iter()
        .filter(|header| !is_own(header.name()))
        .filter_map(|header| Some((header.name().to_owned(), unfolded(message, header)?)))
        .collect()
}

/// The web address in a List-Unsubscribe header (RFC 8058 wants https).
fn https_url(value: &str) -> Option<String> {
    let urls = value.split(',').map(|part| part.trim().trim_start_matches('<').trim_end_matches('>'));
    urls.into_iter().find(|url| url.starts_with("https://")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8]) -> anyhow::Result<Letter> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(name);
        std::fs::write(&file, content).expect("written");
        Letter::read(&file)
    }

    #[test]
    fn html_files_bring_their_title_as_subject() {
        let letter = read("a.html", b"\xef\xbb\xbf<html><TITLE>\n News &amp; more\n</title><p>Hi {{ name }}")
            .expect("html");
        assert_eq!(letter.subject.as_deref(), Some("News & more"));
        assert!(letter.html.expect("html").starts_with("<html>"));
        assert_eq!(letter.text, None);
    }

    #[test]
    fn text_files_have_no_subject() {
        let letter = read("a.txt", "Ciao, {{ name }}: perché no?".as_bytes()).expect("text");
        assert_eq!(letter.text.as_deref(), Some("Ciao, {{ name }}: perché no?"));
        let error = letter.to_json("n", None).expect_err("no sender").to_string();
        assert!(error.contains("--from"), "{error}");
    }

    #[test]
    fn messages_bring_everything() {
        let raw = b"From: =?utf-8?q?Ann_=C3=84?= <ann@x.test>\r\nTo: {{ address }}\r\nSubject: =?utf-8?q?Caff=C3=A8_{{name}}?=\r\n\
            Reply-To: help@x.test\r\nX-Thing: a\r\n  b\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\
            List-Unsubscribe: <mailto:u@x.test>, <https://x.test/u?{{ id }}>\r\nMIME-Version: 1.0\r\n\
            Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHi {{ name }}\r\n\
            --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p class=3D\"x\">Hi\r\n--b--\r\n";
        let letter = read("a.eml", raw).expect("a message");
        assert_eq!(letter.from.as_deref(), Some("\"Ann Ä\" <ann@x.test>"));
        assert_eq!(letter.reply_to.as_deref(), Some("help@x.test"));
        assert_eq!(letter.subject.as_deref(), Some("Caffè {{name}}"));
        assert_eq!(letter.text.as_deref().map(str::trim), Some("Hi {{ name }}"));
        assert_eq!(letter.html.as_deref().map(str::trim), Some("<p class=\"x\">Hi"));
        assert_eq!(letter.headers, [("X-Thing".to_owned(), "a  b".to_owned())]);
        assert_eq!(letter.list_unsubscribe_url.as_deref(), Some("https://x.test/u?{{ id }}"));
    }

    #[test]
    fn html_only_messages_have_no_text() {
        let raw = b"From: a@x.test\r\nSubject: s\r\nContent-Type: text/html\r\n\r\n<p>Hi\r\n";
        let letter = read("a.eml", raw).expect("a message");
        assert_eq!(letter.text, None);
        assert!(letter.html.is_some());
    }

    #[test]
    fn what_cannot_be_a_template_is_refused() {
        for (name, content, complaint) in [
            ("a.docx", &b"x"[..], "an .html, a .txt or an .eml"),
            ("a.html", &b"ok\n\xff\xfe"[..], "line 2 is not UTF-8"),
        ] {
            let error = format!("{:#}", read(name, content).expect_err(name));
            assert!(error.contains(complaint), "{error}");
        }
        let raw = b"From: a@x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n\
            Content-Type: application/pdf\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n";
        let error = format!("{:#}", read("a.eml", raw).expect_err("an attachment"));
        assert!(error.contains("no attachments"), "{error}");
    }
}
