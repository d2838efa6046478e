//! Messages as clients hand them in: reads and removes what is meant for the engine, completes the head.
//!
//! It refuses directives that it cannot obey, and leaves to its caller what to do about a wrong From.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

use mail::{Address, CampaignId, Class, RecordId, TlsWish, UnixMs};
use memchr::{memchr, memchr2};

use crate::header::{self, Field};
use crate::mailbox::Mailbox;
use crate::moment::{parse_moment, write_date};

/// Prefix of the fields that are meant for the engine.
const PREFIX: &str = "X-Staffetta-";
/// Most `X-Staffetta-Tag` fields of a message.
const TAGS_MAX: usize = 10;
/// Longest tag, in bytes.
const TAG_BYTES_MAX: usize = 100;
/// Longest name of a field that says something here.
const NAME_BYTES_MAX: usize = 16;
/// What a Received field mostly takes.
const RECEIVED_BYTES: usize = 256;
/// Longest foreign word that is written into a field, in characters.
const WORD_CHARS_MAX: usize = 320;

/// What makes a message's own Date and Message-ID: time and uniqueness as arguments.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The moment of acceptance.
    pub now: UnixMs,
    /// Right-hand side of a Message-ID: a host name or domain of ours.
    pub host: &'a str,
    /// A number that no other message of this host gets within the same millisecond.
    pub unique: u64,
}

impl Stamp<'_> {
    /// The Message-ID without angle brackets.
    #[must_use]
    pub fn message_id(&self) -> String {
        let mut id = format!("{}.{}@", RecordId::from_raw(self.unique), self.now);
        id.extend(cleaned(self.host));
        id
    }
}

/// A message ready for the spool.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    /// Its head: trace field first, without `X-Staffetta-*`, Bcc and Return-Path, with Date and Message-ID, and the empty
    /// line behind it.
    pub head: Vec<u8>,
    /// Its body, with a line end at the end: as it was handed in.
    pub body: Cow<'a, [u8]>,
    /// What the submitter asked of the engine.
    pub directives: Directives,
    /// The address of the From field, or what is wrong with it.
    pub from: Result<Address, FromError>,
    /// The Message-ID, without angle brackets; the one added when there was none.
    pub message_id: String,
    /// The subject, decoded.
    pub subject: String,
    /// What its header says about the kind of mail that it is.
    pub signs: Signs,
    /// Whether the message says `TLS-Required: No` (RFC 8689).
    pub tls: TlsWish,
}

impl Prepared<'_> {
    /// The fields of the head, without the empty line.
    #[must_use]
    pub fn fields(&self) -> &[u8] {
        self.head.strip_suffix(b"\r\n").unwrap_or(&self.head)
    }

    /// The whole message.
    #[must_use]
    pub fn into_message(self) -> Vec<u8> {
        let Self { head: mut message, body, .. } = self;
        message.extend_from_slice(&body);
        message
    }

    /// The domain of the From field.
    ///
    /// # Errors
    /// What is wrong with the From field.
    pub fn from_domain(&self) -> Result<&str, FromError> {
        self.from.as_ref().map(Address::domain).map_err(|&error| error)
    }
}

/// Header fields that tell what kind of mail a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The field by which it is mail to many: `List-Id` (RFC 2919) or `List-Unsubscribe` (RFC 2369); of both the latter.
    pub list: Option<&'static str>,
    /// Whether there is a `List-Unsubscribe` with something in it.
    pub unsubscribe: bool,
    /// `Precedence: bulk`, `list` or `junk`.
    pub precedence: bool,
    /// `Auto-Submitted` with another value than `no` (RFC 3834 section 5).
    pub automatic: bool,
    /// `Feedback-ID`.
    pub feedback: bool,
    /// `MT-Priority` (RFC 6758), -9 to 9; what is not such a number says nothing.
    pub priority: Option<i8>,
}

impl Signs {
    /// Takes note of a field that has the name `name`, in lower case.
    fn read(&mut self, name: &[u8], field: &Field<'_>) {
        match name {
            b"list-id" => self.list = self.list.or(Some("List-Id")),
            b"list-unsubscribe" => {
                self.list = Some("List-Unsubscribe");
                self.unsubscribe |= !field.value.trim_ascii().is_empty();
            }
            b"precedence" => {
                let text = field.line();
                self.precedence |=
                    ["bulk", "list", "junk"].iter().any(|word| text.eq_ignore_ascii_case(word));
            }
            b"auto-submitted" => {
                // A parameter may follow the keyword.
                let text = field.line();
                let word = text.split([';', ' ', '(']).next().unwrap_or_default();
                self.automatic |= !word.is_empty() && !word.eq_ignore_ascii_case("no");
            }
            b"feedback-id" => self.feedback = true,
            b"mt-priority" => {
                let text = field.line();
                let number = text.split([' ', '(']).next().and_then(|word| word.parse().ok());
                self.priority = number.filter(|value| (-9..=9).contains(value));
            }
            _ => {}
        }
    }
}

/// What the `X-Staffetta-*` fields of a message ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `X-Staffetta-Class`.
    pub class: Option<Class>,
    /// `X-Staffetta-Campaign`.
    pub campaign: Option<CampaignId>,
    /// `X-Staffetta-Deadline`.
    pub deadline: Option<UnixMs>,
    /// `X-Staffetta-Not-Before`.
    pub not_before: Option<UnixMs>,
    /// `X-Staffetta-Tag`, up to ten.
    pub tags: Vec<String>,
}

/// What is wrong with the From field; whether such mail is refused is the caller's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FromError {
    /// There is no From field.
    #[error("the message has no From field")]
    Missing,
    /// There is more than one From field.
    #[error("the message has more than one From field")]
    Several,
    /// The From field names no address.
    #[error("the From field holds no valid address")]
    Unreadable,
}

/// A field that the engine cannot obey.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header}: {reason}")]
pub struct HeaderError {
    /// The field's name.
    pub header: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// Reads what a message asks of the engine and makes it ready to be kept and sent. `raw` has CRLF line ends
/// (see [`normalise_newlines`]); `trace` is put first, as made by [`received`], or is empty.
///
/// A line that is no header field ends the head, as in other mail servers: it and what follows is body.
///
/// # Errors
/// A directive that cannot be obeyed: unknown, repeated or with a wrong value.
pub fn read_directives<'a>(
    raw: &'a [u8],
    trace: &[u8],
    stamp: &Stamp<'_>,
) -> Result<Prepared<'a>, HeaderError> {
    let raw = skip_mbox_line(raw);
    let (fields, body) = split(raw);
    let mut head = Vec::with_capacity(trace.len() + fields.len() + 192);
    head.extend_from_slice(trace);
    let mut seen = Seen::default();
    for field in header::fields(fields) {
        if seen.read(&field, stamp.now)? {
            // Blanks before the colon, which RFC 5322 section 4.5 no longer lets us send, are left out.
            head.extend_from_slice(field.name);
            head.push(b':');
            head.extend_from_slice(field.value);
        }
    }
    if let (Some(not_before), Some(deadline)) = (seen.directives.not_before, seen.directives.deadline)
        && deadline < not_before
    {
        return Err(wrong("X-Staffetta-Deadline", "lies before X-Staffetta-Not-Before"));
    }
    if !seen.date {
        head.extend_from_slice(b"Date: ");
        write_date(&mut head, stamp.now);
        head.extend_from_slice(b"\r\n");
    }
    let message_id = seen.message_id.unwrap_or_else(|| {
        let id = stamp.message_id();
        head.extend_from_slice(format!("Message-ID: <{id}>\r\n").as_bytes());
        id
    });
    head.extend_from_slice(b"\r\n");
    let body = match body.is_empty() || body.ends_with(b"\r\n") {
        true => Cow::Borrowed(body),
        false => Cow::Owned([body, b"\r\n"].concat()),
    };
    Ok(Prepared {
        head,
        body,
        directives: seen.directives,
        from: seen.from.unwrap_or(Err(FromError::Missing)),
        message_id,
        subject: seen.subject,
        signs: seen.signs,
        tls: seen.tls,
    })
}

/// What the walk over the head has found so far.
#[derive(Default)]
struct Seen {
    directives: Directives,
    from: Option<Result<Address, FromError>>,
    message_id: Option<String>,
    subject: String,
    date: bool,
    signs: Signs,
    tls: TlsWish,
}

impl Seen {
    /// Takes note of a field; whether it stays in the message.
    fn read(&mut self, field: &Field<'_>, now: UnixMs) -> Result<bool, HeaderError> {
        if has_prefix(field.name) {
            self.directive(field, now)?;
            return Ok(false);
        }
        let mut lower = [0; NAME_BYTES_MAX];
        let Some(name) = lower.get_mut(..field.name.len()) else { return Ok(true) };
        name.copy_from_slice(field.name);
        name.make_ascii_lowercase();
        match &*name {
            b"bcc" | b"resent-bcc" | b"return-path" => return Ok(false),
            b"from" => {
                self.from = Some(match self.from {
                    None => from_address(field),
                    Some(_) => Err(FromError::Several),
                });
            }
            b"date" => self.date = true,
            b"message-id" => {
                let text = field.line();
                self.message_id.get_or_insert(text.trim_matches(['<', '>']).to_owned());
            }
            b"subject" => self.subject = decoded(field).into_owned(),
            // RFC 8689 knows no other word than No.
            b"tls-required" if field.line().eq_ignore_ascii_case("no") => self.tls = TlsWish::NotRequired,
            name => self.signs.read(name, field),
        }
        Ok(true)
    }

    fn directive(&mut self, field: &Field<'_>, now: UnixMs) -> Result<(), HeaderError> {
        let name = String::from_utf8_lossy(field.name).into_owned();
        let text = field.text();
        let refuse = |reason: String| HeaderError { header: name.clone(), reason };
        let found = &mut self.directives;
        match name[PREFIX.len()..].to_ascii_lowercase().as_str() {
            "class" => {
                let class = text.parse().map_err(|e: mail::UnknownClass| refuse(e.to_string()))?;
                set_once(&mut found.class, class)
            }
            "campaign" => {
                let id = text.parse().map_err(|e: mail::IdError| refuse(e.to_string()))?;
                set_once(&mut found.campaign, id)
            }
            "deadline" => set_once(&mut found.deadline, parse_moment(&text, now).map_err(refuse)?),
            "not-before" => set_once(&mut found.not_before, parse_moment(&text, now).map_err(refuse)?),
            "tag" => {
                let tag = decoded(field).into_owned();
                if tag.is_empty() || tag.len() > TAG_BYTES_MAX || !header::is_safe_value(&tag) {
                    return Err(refuse(format!(
                        "a tag has 1 to {TAG_BYTES_MAX} bytes and no control characters"
                    )));
                }
                if found.tags.len() == TAGS_MAX {
                    return Err(refuse(format!("at most {TAGS_MAX} tags")));
                }
                found.tags.push(tag);
                Ok(())
            }
            _ => Err("is not known: use -Class, -Campaign, -Deadline, -Not-Before or -Tag".to_owned()),
        }
        .map_err(refuse)
    }
}

fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("stands twice in the message".to_owned()),
    }
}

fn wrong(header: &str, reason: &str) -> HeaderError {
    HeaderError { header: header.to_owned(), reason: reason.to_owned() }
}

fn has_prefix(name: &[u8]) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// The address of a From field: as people write it mostly, else with all the freedom of RFC 5322 by mail-parser.
fn from_address(field: &Field<'_>) -> Result<Address, FromError> {
    if let Ok(mailbox) = Mailbox::parse(&field.line()) {
        return Ok(mailbox.address);
    }
    let parsed = mail_parser::MessageParser::new().parse_headers(field.raw);
    let first = parsed.as_ref().and_then(|message| message.from()).and_then(|from| from.first());
    let address = first.and_then(|mailbox| mailbox.address()).ok_or(FromError::Unreadable)?;
    Address::parse(address).map_err(|_| FromError::Unreadable)
}

/// The text of an unstructured field with its encoded words decoded.
fn decoded<'a>(field: &Field<'a>) -> Cow<'a, str> {
    let text = header::unfold(field.value);
    if !text.contains("=?") {
        return text;
    }
    let mut line = b"Subject: ".to_vec();
    line.extend_from_slice(text.as_bytes());
    line.extend_from_slice(b"\r\n\r\n");
    let parsed = mail_parser::MessageParser::new().parse_headers(&line);
    parsed
        .as_ref()
        .and_then(|message| message.subject())
        .map(|subject| Cow::Owned(subject.to_owned()))
        .unwrap_or(text)
}

/// Drops the `From ` line that mbox files begin messages with.
fn skip_mbox_line(raw: &[u8]) -> &[u8] {
    match raw.strip_prefix(b"From ") {
        Some(rest) if !rest.trim_ascii_start().starts_with(b":") => {}
        _ => return raw,
    }
    let end = memchr(b'\n', raw).map_or(raw.len(), |at| at + 1);
    &raw[end..]
}

/// Head and body, the head ending at the empty line or at the first line that is no field.
fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    for field in header::fields(header::split_head_body(raw).0) {
        let name = std::str::from_utf8(field.name).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return raw.split_at(from);
        }
        from += field.raw.len();
    }
    (&raw[..from], header::split_head_body(raw).1)
}

/// Makes every line end of `raw` CRLF: a bare LF or a bare CR becomes one. For messages handed in by HTTP;
/// SMTP refuses bare ones. Returns `raw` itself when nothing is to be done.
#[must_use]
pub fn normalise_newlines(raw: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(offset) = memchr2(b'\r', b'\n', &raw[from..]) {
        let at = from + offset;
        if raw[at..].starts_with(b"\r\n") {
            from = at + 2;
            continue;
        }
        out.extend_from_slice(&raw[copied..at]);
        out.extend_from_slice(b"\r\n");
        copied = at + 1;
        from = copied;
    }
    if copied == 0 {
        return raw;
    }
    out.extend_from_slice(&raw[copied..]);
    out
}

/// What a Received field tells (RFC 5321 section 4.4).
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// What the client called itself; foreign text, cleaned when written.
    pub helo: &'a str,
    /// Where it came from; `None` for mail that was made here.
    pub peer: Option<IpAddr>,
    /// Our own name.
    pub host: &'a str,
    /// The protocol: `ESMTP`, `ESMTPS`, `ESMTPSA`, `HTTP` and so on.
    pub with: &'a str,
    /// Our identifier of the message.
    pub id: &'a str,
    /// The recipient, only when there is but one.
    pub recipient: Option<&'a str>,
    /// When it was taken.
    pub at: UnixMs,
}

/// The Received field, with its line end.
#[must_use]
pub fn received(facts: &Received<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(RECEIVED_BYTES);
    put_words(&mut line, "Received: from ", facts.helo);
    // Writing to a Vec does not fail.
    let _ = match facts.peer {
        Some(IpAddr::V4(ip)) => write!(line, " ([{ip}])"),
        Some(IpAddr::V6(ip)) => write!(line, " ([IPv6:{ip}])"),
        None => Ok(()),
    };
    put_words(&mut line, "\r\n\tby ", facts.host);
    put_words(&mut line, " with ", facts.with);
    put_words(&mut line, " id ", facts.id);
    if let Some(recipient) = facts.recipient {
        put_words(&mut line, "\r\n\tfor <", recipient);
        line.push(b'>');
    }
    line.extend_from_slice(b";\r\n\t");
    write_date(&mut line, facts.at);
    line.extend_from_slice(b"\r\n");
    line
}

/// Our words, and behind them a foreign one.
fn put_words(line: &mut Vec<u8>, ours: &str, foreign: &str) {
    line.extend_from_slice(ours.as_bytes());
    // What is left of it is ASCII.
    line.extend(cleaned(foreign).map(|c| c as u8));
}

/// Foreign text as one word of a structured field: what could end the word or the line becomes `?`.
fn cleaned(text: &str) -> impl Iterator<Item = char> {
    let word = if text.is_empty() { "unknown" } else { text };
    let is_harmless = |c: char| c.is_ascii_graphic() && !"()<>\\;,\"".contains(c);
    word.chars().take(WORD_CHARS_MAX).map(move |c| if is_harmless(c) { c } else { '?' })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp<'_> = Stamp { now: UnixMs(1_795_353_001_000), host: "mx.example.test", unique: 7 };

    fn read(raw: &str) -> Result<Prepared<'_>, HeaderError> {
        read_directives(raw.as_bytes(), b"", &STAMP)
    }

    fn text(prepared: &Prepared<'_>) -> String {
        String::from_utf8_lossy(&prepared.clone().into_message()).into_owned()
    }

    #[test]
    fn directives_are_read_and_removed_and_the_rest_is_kept_as_it_was() {
        let raw = "From: a@x.test\r\nX-Staffetta-Class: Critical\r\nSubject:  two\r\n lines\r\nBcc: z@x\r\n\
            x-staffetta-deadline: 90s\r\nX-Staffetta-Not-Before:\r\n 2026-11-22T13:10:31Z\r\nX-Staffetta-Tag: a\r\n\
            X-Staffetta-Tag: =?utf-8?Q?gr=C3=BCn?=\r\nX-Staffetta-Campaign: 0040000000c80\r\nDate: D\r\n\
            Message-ID: <i@x>\r\n\r\nbody\r\n";
        let prepared = read(raw).expect("is right");
        let kept =
            "From: a@x.test\r\nSubject:  two\r\n lines\r\nDate: D\r\nMessage-ID: <i@x>\r\n\r\nbody\r\n";
        assert_eq!(text(&prepared), kept);
        let expected = Directives {
            class: Some(Class::Critical),
            campaign: "0040000000c80".parse().ok(),
            deadline: Some(UnixMs(1_795_353_091_000)),
            not_before: Some(UnixMs(1_795_353_031_000)),
            tags: vec!["a".to_owned(), "grün".to_owned()],
        };
        assert_eq!(prepared.directives, expected);
        assert_eq!(prepared.from_domain(), Ok("x.test"));
        assert_eq!((prepared.message_id.as_str(), prepared.subject.as_str()), ("i@x", "two lines"));
    }

    #[test]
    fn a_message_gets_what_it_lacks() {
        let prepared =
            read_directives(b"From: a@x\r\n\r\nhi", b"Received: here\r\n", &STAMP).expect("is right");
        let expected = "Received: here\r\nFrom: a@x\r\nDate: Sun, 22 Nov 2026 13:10:01 +0000\r\n\
            Message-ID: <0000000000007.1795353001000@mx.example.test>\r\n\r\nhi\r\n";
        assert_eq!(text(&prepared), expected);
    }

    #[test]
    fn strange_shapes_become_well_formed() {
        let date = "Date: D\r\nMessage-ID: <i>\r\n";
        for (raw, expected) in [
            (format!("From: a@x\r\n{date}"), format!("From: a@x\r\n{date}\r\n")),
            (format!("From \t: a@x\r\n{date}"), format!("From: a@x\r\n{date}\r\n")),
            (
                format!("From a@x Sun Nov 22\r\nFrom: a@x\r\n{date}\r\nb"),
                format!("From: a@x\r\n{date}\r\nb\r\n"),
            ),
            (
                format!("From: a@x\r\n{date}no field\r\nTo: b@x\r\n"),
                format!("From: a@x\r\n{date}\r\nno field\r\nTo: b@x\r\n"),
            ),
        ] {
            assert_eq!(text(&read(&raw).expect("is right")), expected);
        }
        assert!(text(&read("\r\nbody").expect("is right")).ends_with(">\r\n\r\nbody\r\n"));
        assert!(text(&read("").expect("is right")).starts_with("Date: "));
    }

    #[test]
    fn what_is_wrong_with_from_is_told_apart() {
        for (raw, error) in [
            ("Subject: x\r\n\r\n", FromError::Missing),
            ("From: a@x\r\nfrom: b@x\r\n\r\n", FromError::Several),
            ("From: nobody\r\n\r\n", FromError::Unreadable),
            ("From:\r\n\r\n", FromError::Unreadable),
        ] {
            assert_eq!(read(raw).expect("is right").from, Err(error), "{raw}");
        }
        for raw in [
            "From: A (b, c) <a@X.test> (d)\r\n\r\n",
            "From: a@x.test, b@y\r\n\r\n",
            "From: =?utf-8?Q?=C3=A9?=\r\n <a@x.test>\r\n",
        ] {
            assert_eq!(read(raw).expect("is right").from_domain(), Ok("x.test"), "{raw}");
        }
    }

    #[test]
    fn wrong_directives_are_refused_with_their_name() {
        let many = "X-Staffetta-Tag: t\r\n".repeat(11);
        let long = format!("X-Staffetta-Tag: {}\r\n", "t".repeat(101));
        for (head, part) in [
            ("X-Staffetta-Class: fast\r\n", "fast"),
            ("X-Staffetta-Class: bulk\r\nX-Staffetta-Class: bulk\r\n", "twice"),
            ("X-Staffetta-Clas: bulk\r\n", "not known"),
            ("X-Staffetta-Campaign: spring\r\n", "spring"),
            ("X-Staffetta-Deadline: soon\r\n", "duration"),
            ("X-Staffetta-Deadline: 1h\r\nX-Staffetta-Not-Before: 2h\r\n", "before"),
            ("X-Staffetta-Tag:\r\n", "tag"),
            (&many, "at most 10"),
            (&long, "100 bytes"),
        ] {
            let error = read(&format!("From: a@x\r\n{head}\r\n")).expect_err(head);
            assert!(error.to_string().contains(part) && error.header.starts_with("X-Staffetta-"), "{error}");
        }
    }

    #[test]
    fn signs_of_the_kind_of_mail_are_seen_and_stay() {
        let none = Signs::default();
        for (head, signs) in [
            ("List-Id: <l.x>", Signs { list: Some("List-Id"), ..none }),
            (
                "List-Unsubscribe: <https://x.test/u>\r\nList-Id: <l.x>",
                Signs { list: Some("List-Unsubscribe"), unsubscribe: true, ..none },
            ),
            ("List-Unsubscribe:", Signs { list: Some("List-Unsubscribe"), ..none }),
            ("Precedence: Bulk", Signs { precedence: true, ..none }),
            ("Precedence: first-class", none),
            ("Auto-Submitted: auto-generated; owner=a", Signs { automatic: true, ..none }),
            ("Auto-Submitted: No", none),
            ("Feedback-ID: a:b:c:d", Signs { feedback: true, ..none }),
            ("MT-Priority: -4 (deferred)", Signs { priority: Some(-4), ..none }),
            ("MT-Priority: 10", none),
            ("MT-Priority: high", none),
        ] {
            let raw = format!("{head}\r\n\r\n");
            let prepared = read(&raw).expect("is right");
            assert_eq!(prepared.signs, signs, "{head}");
            assert!(prepared.fields().starts_with(head.as_bytes()), "{head}");
        }
    }

    #[test]
    fn tls_required_no_is_seen_and_stays() {
        for (head, tls) in [
            ("TLS-Required: No", TlsWish::NotRequired),
            ("tls-required:  nO ", TlsWish::NotRequired),
            ("TLS-Required: Yes", TlsWish::Unstated),
            ("X: y", TlsWish::Unstated),
        ] {
            let raw = format!("{head}\r\n\r\n");
            let prepared = read(&raw).expect("is right");
            assert_eq!(prepared.tls, tls, "{head}");
            assert!(prepared.fields().starts_with(head.as_bytes()), "{head}");
        }
    }

    #[test]
    fn every_line_end_becomes_crlf() {
        for (raw, expected) in [
            ("a\nb\r\nc\rd", "a\r\nb\r\nc\r\nd"),
            ("\n\n\r\r", "\r\n\r\n\r\n\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\r\n\n", "a\r\n\r\n"),
            ("", ""),
        ] {
            assert_eq!(normalise_newlines(raw.as_bytes().to_vec()), expected.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn foreign_words_cannot_break_the_received_field() {
        let facts = Received {
            helo: "evil\r\nX-Evil: (1); <é>",
            peer: Some(IpAddr::from([192, 0, 2, 1])),
            host: "mx.example.test",
            with: "ESMTP",
            id: "0040000000c80",
            recipient: Some("b@x.test"),
            at: UnixMs(0),
        };
        let expected = "Received: from evil??X-Evil:??1??????? ([192.0.2.1])\r\n\
            \tby mx.example.test with ESMTP id 0040000000c80\r\n\tfor <b@x.test>;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n";
        let line = String::from_utf8_lossy(&received(&facts)).into_owned();
        assert_eq!(line.lines().count(), expected.lines().count());
        assert_eq!(line.lines().next_back(), expected.lines().next_back());
        let local = received(&Received { peer: None, helo: "", recipient: None, ..facts });
        assert!(local.starts_with(b"Received: from unknown\r\n\tby mx.example.test with"));
        let v6 = received(&Received { peer: Some(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)), ..facts });
        assert!(String::from_utf8_lossy(&v6).contains("([IPv6:::1])"));
    }
}
