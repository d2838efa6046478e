//! Replies as people quote them: from logs, bounces and pages, with or without codes, on one line or several.

use mail::{Enhanced, Phase, Reply};

/// A reply, and in which phase it was given when the quotation says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The reply. Its code is 0 when the text has neither a code nor an enhanced one; when it has only an enhanced one,
    /// the code is 450 or 550.
    pub reply: Reply,
    /// What was being done.
    pub phase: Option<Phase>,
}

/// What a mail log or a bounce writes before the server's words.
const BEFORE: [&str; 5] = [" said: ", "smtp; ", "smtp;", " responded: ", " returned: "];
/// What a log writes about the phase (Postfix, Exim), in lower case.
const PHASES: [(&str, Phase); 13] = [
    ("in reply to rcpt to", Phase::Rcpt),
    ("in reply to mail from", Phase::Mail),
    ("in reply to end of data", Phase::Body),
    ("in reply to data", Phase::Data),
    ("in reply to ehlo", Phase::Ehlo),
    ("in reply to helo", Phase::Ehlo),
    ("remote mail server after rcpt to", Phase::Rcpt),
    ("remote mail server after mail from", Phase::Mail),
    ("remote mail server after pipelined mail from", Phase::Mail),
    ("remote mail server after end of data", Phase::Body),
    ("remote mail server after initial connection", Phase::Banner),
    ("remote mail server after ehlo", Phase::Ehlo),
    ("refused to talk to me", Phase::Banner),
];

impl Quoted {
    /// Reads `text`: `550 5.1.1 words`, lines of a long reply with `550-` before them, also joined into one, a log's line
    /// around it, or words alone. Never fails: what is not understood is text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.replace("\\r\\n", "\n").replace("\\n", "\n");
        let lower = text.to_ascii_lowercase();
        let phase = PHASES.iter().find(|(words, _)| lower.contains(words)).map(|&(_, phase)| phase);
        let said = said(text.trim(), &lower);
        let mut words = said.split_ascii_whitespace().peekable();
        let code = words.peek().and_then(|word| code_of(word));
        let mut kept: Vec<&str> = Vec::new();
        let mut enhanced = None;
        let mut is_long = false;
        while let Some(word) = words.next() {
            let Some(code) = code else {
                kept.push(word);
                continue;
            };
            match rest_behind(word, code) {
                // The last line of a long reply, or the code once more before an enhanced one.
                Some("") if kept.is_empty() || is_long => {}
                Some("") if words.peek().is_some_and(|next| Enhanced::parse(next).is_some()) => {}
                Some(rest) if !rest.is_empty() => {
                    is_long = true;
                    kept.push(rest);
                }
                _ => kept.push(word),
            }
        }
        if let Some(first) = kept.first().and_then(|word| Enhanced::parse(word)) {
            enhanced = Some(first);
            kept.remove(0);
        }
        let code = code.or(enhanced.map(|Enhanced(class, ..)| u16::from(class) * 100 + 50)).unwrap_or(0);
        Self { reply: Reply { code, enhanced, text: kept.join(" ") }, phase }
    }
}

/// The server's words in a line of a log. `lower` is the same in lower case.
fn said<'t>(text: &'t str, lower: &str) -> &'t str {
    if text.split_ascii_whitespace().next().is_some_and(|word| code_of(word).is_some()) {
        return text;
    }
    let behind = BEFORE.iter().filter_map(|mark| lower.find(mark).map(|at| at + mark.len())).max();
    let exim =
        || lower.starts_with("smtp error from remote").then(|| lower.find(": ").map(|at| at + 2)).flatten();
    let Some(behind) = behind.or_else(exim) else { return text };
    let said = text.get(behind..).unwrap_or(text);
    let end = said.to_ascii_lowercase().find("(in reply to ");
    said.get(..end.unwrap_or(said.len())).unwrap_or(said).trim()
}

/// The basic code that a word begins with: `550`, `550-5.1.1`, `421,4.7.0`.
fn code_of(word: &str) -> Option<u16> {
    let digits = word.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let code = digits.parse().ok().filter(|code| (200..600).contains(code))?;
    matches!(word.as_bytes().get(3), None | Some(b'-' | b',' | b':')).then_some(code)
}

/// What follows in the word behind `code`; `None` when it does not begin with it.
fn rest_behind(word: &str, code: u16) -> Option<&str> {
    (code_of(word)? == code).then(|| word.get(4..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_however_they_are_quoted() {
        let unknown = Some(Enhanced(5, 1, 1));
        for (text, code, enhanced, words, phase) in [
            ("550 5.1.1 No such user", 550, unknown, "No such user", None),
            ("550 No such user", 550, None, "No such user", None),
            ("5.1.1 No such user", 550, unknown, "No such user", None),
            ("4.2.2 Full", 450, Some(Enhanced(4, 2, 2)), "Full", None),
            ("User unknown", 0, None, "User unknown", None),
            ("", 0, None, "", None),
            ("550", 550, None, "", None),
            ("550-5.1.1 No such\r\n550 5.1.1 user", 550, unknown, "No such 5.1.1 user", None),
            ("550-5.1.1 No such\\r\\n550 5.1.1 user", 550, unknown, "No such 5.1.1 user", None),
            ("550-No such 550 user", 550, None, "No such user", None),
            ("550 550-5.1.1 No 550 5.1.1 user", 550, unknown, "No 5.1.1 user", None),
            ("452 see rule 452 of 100", 452, None, "see rule 452 of 100", None),
            (
                "host mx.x.test[192.0.2.1] said: 550 5.1.1 No (in reply to RCPT TO command)",
                550,
                unknown,
                "No",
                Some(Phase::Rcpt),
            ),
            ("Diagnostic-Code: smtp; 550 5.1.1 No", 550, unknown, "No", None),
            (
                "SMTP error from remote mail server after end of data: 554 spam",
                554,
                None,
                "spam",
                Some(Phase::Body),
            ),
            ("250 ok", 250, None, "ok", None),
            ("192.0.2.1 is listed", 0, None, "192.0.2.1 is listed", None),
        ] {
            let expected = Quoted { reply: Reply { code, enhanced, text: words.to_owned() }, phase };
            assert_eq!(Quoted::parse(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_can_be_read(text in "(\\PC|550-|smtp; | said: |5\\.1\\.1 ){0,20}") {
            let read = Quoted::parse(&text);
            proptest::prop_assert!(read.reply.code < 600);
        }
    }
}
