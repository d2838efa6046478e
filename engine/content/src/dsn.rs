//! Delivery status notices (RFC 3464 in a multipart/report of RFC 3462): what became of which recipient, in words for
//! people and in fields for programs, with the head or the whole of the message it is about.
//!
//! It refuses to decide who gets one: that nothing is sent to `<>` is its caller's duty.

use std::borrow::Cow;
use std::fmt::Write as _;

use mail::{Address, Enhanced, Reply, UnixMs};

use crate::compose::boundary;
use crate::header;
use crate::moment::date_text;
use crate::quoted::{Escape, Writer};

/// Most bytes of an original message that a notice carries; of a longer one it carries the head.
const ORIGINAL_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a line in SMTP without its line end (RFC 5321 section 4.5.3.1.6).
const LINE_BYTES_MAX: usize = 998;
/// Most characters of a receiver's words that a notice repeats.
const REPLY_CHARS_MAX: usize = 1000;
/// Where the fields of delivery status are folded.
const FOLD_AT: usize = 76;

/// What happened to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Refused for good.
    Failed,
    /// Given up when its time ran out.
    Expired,
    /// Still being tried.
    Delayed,
    /// Taken by the receiver.
    Delivered,
    /// Handed to a server that sends no notices.
    Relayed,
}

impl Event {
    const fn action(self) -> &'static str {
        match self {
            Self::Failed | Self::Expired => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }
}

/// One recipient of a notice.
#[derive(Clone, Debug)]
pub struct RecipientReport<'a> {
    /// The address that was tried.
    pub address: &'a Address,
    /// `ORCPT=` of the submission as `type;address`, if it was given.
    pub original: Option<&'a str>,
    /// What happened.
    pub event: Event,
    /// The last reply, or our own words with code 0.
    pub reply: &'a Reply,
    /// The server that gave it; empty when none was reached.
    pub remote_host: &'a str,
    /// When it was last tried; `None` when it never was.
    pub last_attempt: Option<UnixMs>,
    /// Until when it will be tried; only for delayed ones.
    pub retry_until: Option<UnixMs>,
}

/// How much of the original goes back (RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug)]
pub enum Original<'a> {
    /// Only the head of this message.
    Headers(&'a [u8]),
    /// The whole message, unless it is too long.
    Full(&'a [u8]),
}

/// A notice to write.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Our host name.
    pub host: &'a str,
    /// Who gets the notice: the sender of the envelope.
    pub to: &'a Address,
    /// When the notice is written.
    pub date: UnixMs,
    /// The Message-ID of the notice, without angle brackets.
    pub message_id: &'a str,
    /// When the original was taken.
    pub arrival: Option<UnixMs>,
    /// `ENVID=` of the submission.
    pub envelope_id: Option<&'a str>,
    /// The recipients it is about, at least one.
    pub recipients: &'a [RecipientReport<'a>],
    /// The message it is about.
    pub original: Original<'a>,
}

/// Writes the notice; it is to be sent with the null reverse-path.
#[must_use]
pub fn bounce(report: &Report<'_>) -> Vec<u8> {
    let words = words(report);
    let status = status(report);
    let mut original = Vec::new();
    write_original(report.original, &mut original);
    let boundary = boundary(&[words.as_bytes(), status.as_bytes(), &original]);
    let mut out = Vec::with_capacity(2048 + words.len() + status.len() + original.len());
    write_head(report, &boundary, &mut out);
    let lead = "Content-Description: Notification\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n";
    out.extend_from_slice(format!("--{boundary}\r\n{lead}").as_bytes());
    let mut writer = Writer::new(&mut out);
    writer.text(&words, Escape::None);
    writer.finish(true);
    let lead = "Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n";
    out.extend_from_slice(format!("\r\n--{boundary}\r\n{lead}{status}\r\n--{boundary}\r\n").as_bytes());
    out.extend_from_slice(&original);
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

fn write_head(report: &Report<'_>, boundary: &str, out: &mut Vec<u8>) {
    let host = ascii(report.host);
    let id = ascii(report.message_id);
    out.extend_from_slice(format!("From: Mail Delivery System <mailer-daemon@{host}>\r\n").as_bytes());
    header::write_mailboxes(out, "To", &[report.to.clone().into()]);
    header::write_text(out, "Subject", subject(report.recipients));
    out.extend_from_slice(format!("Date: {}\r\nMessage-ID: <{id}>\r\n", date_text(report.date)).as_bytes());
    let (Original::Headers(message) | Original::Full(message)) = report.original;
    if let Some(original_id) = header::find(header::split_head_body(message).0, "Message-ID") {
        let text = original_id.text();
        if is_message_id(&text) {
            out.extend_from_slice(format!("In-Reply-To: {text}\r\nReferences: {text}\r\n").as_bytes());
        }
    }
    let fields = "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=delivery-status;\r\n";
    out.extend_from_slice(format!("{fields} boundary=\"{boundary}\"\r\n\r\n").as_bytes());
}

fn subject(recipients: &[RecipientReport<'_>]) -> &'static str {
    let any = |wanted: &[Event]| recipients.iter().any(|recipient| wanted.contains(&recipient.event));
    if any(&[Event::Failed, Event::Expired]) {
        "Undelivered mail returned to sender"
    } else if any(&[Event::Delayed]) {
        "Delayed mail (still being retried)"
    } else {
        "Successful mail delivery report"
    }
}

/// Whether a foreign Message-ID can be repeated in our head.
fn is_message_id(text: &str) -> bool {
    text.len() <= 250
        && text.starts_with('<')
        && text.ends_with('>')
        && text.bytes().all(|b| b.is_ascii_graphic())
        && text.matches(['<', '>']).count() == 2
}

/// The part for people.
fn words(report: &Report<'_>) -> String {
    let mut text = format!("This is the mail system at host {}.\n\n", ascii(report.host));
    for (event, sentence) in [
        (
            Event::Failed,
            "Your message could not be delivered to the following recipients. It will not be tried again.",
        ),
        (
            Event::Expired,
            "Your message could not be delivered to the following recipients in time. It will not be tried again.",
        ),
        (
            Event::Delayed,
            "Your message has not yet been delivered to the following recipients. It will be tried again; you need not send it again.",
        ),
        (Event::Delivered, "Your message was delivered to the following recipients."),
        (
            Event::Relayed,
            "Your message was handed on for the following recipients; the next server may send no further notice.",
        ),
    ] {
        let concerned: Vec<_> =
            report.recipients.iter().filter(|recipient| recipient.event == event).collect();
        if concerned.is_empty() {
            continue;
        }
        text.push_str(sentence);
        text.push_str("\n\n");
        for recipient in concerned {
            text.push_str(&story(recipient));
        }
    }
    text
}

/// What people read about one recipient.
fn story(recipient: &RecipientReport<'_>) -> String {
    let reply = one_line(&recipient.reply.text, REPLY_CHARS_MAX);
    let mut text = format!("<{}>", recipient.address);
    let _ = match (recipient.reply.code, recipient.remote_host) {
        (0, "") => write!(text, ": {reply}"),
        (0, host) => write!(text, ": {reply} (server {})", ascii(host)),
        (_, "") => write!(text, ": {}", said(recipient.reply, &reply)),
        (_, host) => write!(text, ": the server {} said: {}", ascii(host), said(recipient.reply, &reply)),
    };
    if let Some(until) = recipient.retry_until {
        let _ = write!(text, "\n    It will be tried until {}.", date_text(until));
    }
    text.push_str("\n\n");
    text
}

/// Code, enhanced code and the text on one line.
fn said(reply: &Reply, text: &str) -> String {
    match reply.enhanced {
        Some(enhanced) => format!("{:03} {enhanced} {text}", reply.code),
        None => format!("{:03} {text}", reply.code),
    }
}

/// The part for programs (RFC 3464 section 2): fields of the message, then of each recipient.
fn status(report: &Report<'_>) -> String {
    let mut text = String::new();
    field(&mut text, "Reporting-MTA", &format!("dns; {}", ascii(report.host)));
    if let Some(id) = report.envelope_id {
        field(&mut text, "Original-Envelope-Id", &printable(id));
    }
    if let Some(arrival) = report.arrival {
        field(&mut text, "Arrival-Date", &date_text(arrival));
    }
    for recipient in report.recipients {
        text.push_str("\r\n");
        if let Some(original) = recipient.original.and_then(original_recipient) {
            field(&mut text, "Original-Recipient", &original);
        }
        field(&mut text, "Final-Recipient", &typed_address(recipient.address.as_str()));
        field(&mut text, "Action", recipient.event.action());
        field(&mut text, "Status", &status_code(recipient).to_string());
        if !recipient.remote_host.is_empty() {
            field(&mut text, "Remote-MTA", &format!("dns; {}", ascii(recipient.remote_host)));
        }
        field(&mut text, "Diagnostic-Code", &diagnostic(recipient.reply));
        if let Some(at) = recipient.last_attempt {
            field(&mut text, "Last-Attempt-Date", &date_text(at));
        }
        if let Some(until) = recipient.retry_until {
            field(&mut text, "Will-Retry-Until", &date_text(until));
        }
    }
    text
}

fn diagnostic(reply: &Reply) -> String {
    let text = printable(&one_line(&reply.text, REPLY_CHARS_MAX)).into_owned();
    match reply.code {
        0 => format!("X-Staffetta; {text}"),
        _ => format!("smtp; {}", said(reply, &text)),
    }
}

/// The status code (RFC 3463): the receiver's when it fits what happened, else the general one.
fn status_code(recipient: &RecipientReport<'_>) -> Enhanced {
    let class = match recipient.event {
        Event::Failed => 5,
        // The last word before giving up was "not now".
        Event::Expired => match recipient.reply.enhanced {
            Some(Enhanced(4, subject, detail)) => return Enhanced(4, subject, detail),
            _ => return Enhanced(4, 4, 7),
        },
        Event::Delayed => 4,
        Event::Delivered | Event::Relayed => 2,
    };
    match recipient.reply.enhanced {
        Some(enhanced) if enhanced.0 == class => enhanced,
        _ => Enhanced(class, 0, 0),
    }
}

/// An address with its type (RFC 3464 section 2.3.2); one that is not ASCII in the 7-bit form of RFC 6533 section 3.
fn typed_address(address: &str) -> String {
    if address.is_ascii() {
        return format!("rfc822; {}", printable(address));
    }
    let mut text = "utf-8; ".to_owned();
    for c in address.chars() {
        if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
            text.push(c);
        } else {
            let _ = write!(text, "\\x{{{:X}}}", u32::from(c));
        }
    }
    text
}

/// `type;address` as it was given, if it has that shape.
fn original_recipient(text: &str) -> Option<String> {
    let (kind, address) = text.split_once(';')?;
    let kind = kind.trim();
    let is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_atom {
        return None;
    }
    let address = address.trim();
    match address.is_ascii() {
        true => Some(format!("{kind}; {}", printable(address))),
        false => Some(typed_address(address)),
    }
}

/// Adds a field of delivery status, folded at blanks; a word that is too long for a line is broken.
fn field(out: &mut String, name: &str, value: &str) {
    let mut column = name.len() + 1;
    let _ = write!(out, "{name}:");
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        let mut word = word;
        if column + 1 + word.len() > FOLD_AT && column > name.len() + 1 {
            out.push_str("\r\n");
            column = 0;
        }
        while word.len() > LINE_BYTES_MAX / 2 {
            let (piece, rest) = word.split_at(LINE_BYTES_MAX / 2);
            let _ = write!(out, " {piece}\r\n");
            word = rest;
            column = 0;
        }
        let _ = write!(out, " {word}");
        column += 1 + word.len();
    }
    out.push_str("\r\n");
}

/// Text on one line: line breaks and controls become blanks; cut after `chars_max`.
fn one_line(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Text with everything but printable ASCII and blanks turned into `?`.
fn printable(text: &str) -> Cow<'_, str> {
    let good = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.chars().all(good) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if good(c) { c } else { '?' }).collect())
}

/// A host name or identifier: no blanks, no brackets.
fn ascii(text: &str) -> String {
    text.chars()
        .take(300)
        .map(|c| if c.is_ascii_graphic() && !"<>()\"\\;".contains(c) { c } else { '?' })
        .collect()
}

/// The third part, with its own head.
fn write_original(original: Original<'_>, out: &mut Vec<u8>) {
    let (Original::Headers(message) | Original::Full(message)) = original;
    if matches!(original, Original::Full(_)) && message.len() <= ORIGINAL_BYTES_MAX && is_sendable(message) {
        let encoding = if message.is_ascii() { "7bit" } else { "8bit" };
        let lead = "Content-Description: Undelivered message\r\nContent-Type: message/rfc822\r\n";
        out.extend_from_slice(format!("{lead}Content-Transfer-Encoding: {encoding}\r\n\r\n").as_bytes());
        out.extend_from_slice(message);
        return;
    }
    let head = header::split_head_body(message).0;
    let head = &head[..head.len().min(ORIGINAL_BYTES_MAX)];
    let lead = "Content-Description: Headers of the undelivered message\r\nContent-Type: text/rfc822-headers";
    if head.is_ascii() && is_sendable(head) {
        out.extend_from_slice(format!("{lead}\r\n\r\n").as_bytes());
        out.extend_from_slice(head);
    } else {
        let lead = format!("{lead}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n");
        out.extend_from_slice(lead.as_bytes());
        let mut writer = Writer::new(out);
        writer.bytes(head, Escape::None);
        writer.finish(true);
    }
}

/// Whether bytes can go through SMTP without an encoding: short lines, CRLF only, no NUL.
fn is_sendable(bytes: &[u8]) -> bool {
    bytes.split(|&b| b == b'\n').all(|line| {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let is_last = std::ptr::eq(line.as_ptr_range().end, bytes.as_ptr_range().end);
        text.len() <= LINE_BYTES_MAX
            && (is_last || text.len() < line.len())
            && !text.iter().any(|&b| b == b'\r' || b == 0)
    })
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders, PartType};
    use proptest::prelude::*;

    use super::*;

    const ORIGINAL: &str =
        "From: ann@example.test\r\nMessage-ID: <o1@example.test>\r\nSubject: hi\r\n\r\nbody\r\n";

    fn address(text: &str) -> Address {
        Address::parse(text).expect("is an address")
    }

    fn notice(recipients: &[RecipientReport<'_>], original: Original<'_>) -> Vec<u8> {
        bounce(&Report {
            host: "mx.example.test",
            to: &address("ann@example.test"),
            date: UnixMs(1_795_353_001_000),
            message_id: "n1@mx.example.test",
            arrival: Some(UnixMs(1_795_353_000_000)),
            envelope_id: Some("QQ314159"),
            recipients,
            original,
        })
    }

    fn report<'a>(address: &'a Address, event: Event, reply: &'a Reply) -> RecipientReport<'a> {
        RecipientReport {
            address,
            original: None,
            event,
            reply,
            remote_host: "mx.receiver.test",
            last_attempt: Some(UnixMs(1_795_353_000_000)),
            retry_until: None,
        }
    }

    /// The blocks of the delivery status, each a list of (name, value).
    fn blocks(raw: &[u8]) -> Vec<Vec<(String, String)>> {
        let message = MessageParser::new().parse(raw).expect("parses");
        let part = message
            .parts
            .iter()
            .find(|part| part.content_type().is_some_and(|t| t.subtype() == Some("delivery-status")));
        let text = String::from_utf8_lossy(part.expect("is there").contents()).into_owned();
        let blocks = text.trim_end().split("\r\n\r\n");
        let read = |block: &str| {
            let head = format!("{block}\r\n");
            let fields = header::fields(head.as_bytes());
            fields.map(|f| (String::from_utf8_lossy(f.name).into_owned(), f.text())).collect()
        };
        blocks.map(read).collect()
    }

    fn value<'a>(block: &'a [(String, String)], name: &str) -> Option<&'a str> {
        block.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_notice_has_the_three_parts_and_reads_back() {
        let (bob, eve) = (address("bob@example.net"), address("grå@blåbær.test"));
        let gone = Reply::enhanced(550, Enhanced(5, 1, 1), "no such user <bob>\nsorry é");
        let silent = Reply::new(0, "connection timed out");
        let mut late = report(&eve, Event::Expired, &silent);
        late.remote_host = "";
        let first = RecipientReport {
            original: Some("rfc822;Bob@example.net"),
            ..report(&bob, Event::Failed, &gone)
        };
        let raw = notice(&[first, late], Original::Headers(ORIGINAL.as_bytes()));
        let message = MessageParser::new().parse(&raw).expect("parses");
        let kind = message.content_type().expect("is there");
        assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
        assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
        assert_eq!(message.parts.len(), 4);
        assert_eq!(message.subject(), Some("Undelivered mail returned to sender"));
        assert_eq!(message.header("Auto-Submitted").and_then(|v| v.as_text()), Some("auto-replied"));
        assert_eq!(message.in_reply_to().as_text(), Some("o1@example.test"));
        let words = message.body_text(0).expect("is there");
        assert!(
            words.contains("550 5.1.1 no such user <bob> sorry é")
                && words.contains("<grå@blåbær.test>: connection timed out")
        );
        let blocks = blocks(&raw);
        assert_eq!(blocks.len(), 3);
        for (block, name, expected) in [
            (0, "Reporting-MTA", "dns; mx.example.test"),
            (0, "Original-Envelope-Id", "QQ314159"),
            (0, "Arrival-Date", "Sun, 22 Nov 2026 13:10:00 +0000"),
            (1, "Original-Recipient", "rfc822; Bob@example.net"),
            (1, "Final-Recipient", "rfc822; bob@example.net"),
            (1, "Action", "failed"),
            (1, "Status", "5.1.1"),
            (1, "Remote-MTA", "dns; mx.receiver.test"),
            (1, "Diagnostic-Code", "smtp; 550 5.1.1 no such user <bob> sorry ?"),
            (2, "Final-Recipient", "utf-8; gr\\x{E5}@bl\\x{E5}b\\x{E6}r.test"),
            (2, "Action", "failed"),
            (2, "Status", "4.4.7"),
            (2, "Diagnostic-Code", "X-Staffetta; connection timed out"),
        ] {
            assert_eq!(value(&blocks[block], name), Some(expected));
        }
        assert_eq!(value(&blocks[2], "Remote-MTA"), None);
        let last = message.parts.last().expect("is there");
        assert_eq!(last.content_type().and_then(|t| t.subtype()), Some("rfc822-headers"));
        let text = String::from_utf8_lossy(last.contents());
        assert!(text.contains("Subject: hi") && !text.contains("body"));
    }

    #[test]
    fn action_and_status_follow_the_event() {
        let bob = address("bob@example.net");
        let busy = Reply::enhanced(451, Enhanced(4, 7, 1), "later");
        let gone = Reply::new(550, "no");
        let fine = Reply::enhanced(250, Enhanced(2, 1, 5), "ok");
        for (event, reply, action, status) in [
            (Event::Failed, &gone, "failed", "5.0.0"),
            (Event::Failed, &busy, "failed", "5.0.0"),
            (Event::Expired, &busy, "failed", "4.7.1"),
            (Event::Delayed, &busy, "delayed", "4.7.1"),
            (Event::Delivered, &fine, "delivered", "2.1.5"),
            (Event::Relayed, &gone, "relayed", "2.0.0"),
        ] {
            let recipient = RecipientReport { retry_until: Some(UnixMs(0)), ..report(&bob, event, reply) };
            let raw = notice(&[recipient], Original::Headers(b""));
            let block = &blocks(&raw)[1];
            assert_eq!(
                (value(block, "Action"), value(block, "Status")),
                (Some(action), Some(status)),
                "{event:?}"
            );
            assert_eq!(value(block, "Will-Retry-Until"), Some("Thu, 01 Jan 1970 00:00:00 +0000"));
        }
    }

    #[test]
    fn the_whole_message_goes_back_unless_it_is_too_long() {
        let (bob, gone) = (address("bob@example.net"), Reply::new(550, "no"));
        let recipients = [report(&bob, Event::Failed, &gone)];
        let original = |raw: &[u8]| {
            let message = MessageParser::new().parse(raw).expect("parses").into_owned();
            let part = message.parts.last().expect("is there").clone();
            (part.content_type().and_then(|t| t.subtype()).map(str::to_owned), part)
        };
        let (kind, part) = original(&notice(&recipients, Original::Full(ORIGINAL.as_bytes())));
        assert_eq!(kind.as_deref(), Some("rfc822"));
        let PartType::Message(inner) = part.body else { panic!("no message inside") };
        assert_eq!(inner.subject(), Some("hi"));
        let huge = format!("{ORIGINAL}{}", "line\r\n".repeat(100_000));
        let long_line = format!("{ORIGINAL}{}\r\n", "x".repeat(2000));
        for message in [huge, long_line] {
            let (kind, _) = original(&notice(&recipients, Original::Full(message.as_bytes())));
            assert_eq!(kind.as_deref(), Some("rfc822-headers"));
        }
        let eight_bit = "Subject: gr\u{fc}n\r\n\r\n";
        let (_, part) = original(&notice(&recipients, Original::Headers(eight_bit.as_bytes())));
        assert!(String::from_utf8_lossy(part.contents()).contains("gr\u{fc}n"));
    }

    proptest! {
        #[test]
        fn foreign_words_cannot_change_the_shape(
            reply in "(\\PC|\r|\n|\r\n|--|=_){0,300}",
            host in "(\\PC|\r\n){0,40}",
            original in "(\\PC|\r\n|;){0,60}",
            message in prop::collection::vec(any::<u8>(), 0..300),
            code in 0_u16..600,
        ) {
            let bob = address("bob@example.net");
            let reply = Reply::new(code, reply);
            let recipient =
                RecipientReport { original: Some(&original), remote_host: &host, ..report(&bob, Event::Failed, &reply) };
            let raw = bounce(&Report {
                host: &host,
                to: &bob,
                date: UnixMs(0),
                message_id: &original,
                arrival: None,
                envelope_id: Some(&original),
                recipients: &[recipient],
                original: Original::Headers(&message),
            });
            let parsed = MessageParser::new().parse(&raw).expect("parses");
            let names: Vec<_> = header::fields(header::split_head_body(&raw).0)
                .map(|field| String::from_utf8_lossy(field.name).to_ascii_lowercase())
                .filter(|name| name != "in-reply-to" && name != "references")
                .collect();
            prop_assert_eq!(
                names,
                ["from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type"]
            );
            prop_assert!(parsed.parts.len() == 4);
            let blocks = blocks(&raw);
            prop_assert_eq!(blocks.len(), 2);
            for (name, _) in blocks.concat() {
                prop_assert!(!name.is_empty());
            }
            prop_assert!(is_sendable(&raw));
        }
    }
}
