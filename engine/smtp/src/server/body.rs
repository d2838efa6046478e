//! Collects the text of one message from DATA or BDAT, copied once, and finds what is wrong with it.
//!
//! A fault never ends the text early: what belongs to the message is taken off the input to its proper end and
//! dropped, so that no part of it can pass for a command.

use memchr::{memchr_iter, memchr2, memmem, memrchr};

use super::Limits;
use crate::wire;

/// Room made before the bytes are there: what a client merely promises costs no more than this.
const PROMISE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a text is refused. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFault {
    /// A CR that no LF follows (RFC 5321 section 2.3.8).
    BareCr { line: u64 },
    /// An LF that no CR precedes (RFC 5321 section 2.3.8).
    BareLf { line: u64 },
    /// A line beyond the limit.
    LineTooLong { line: u64 },
    /// A header block beyond the limit.
    HeaderTooLong,
    /// A message beyond the limit.
    TooLarge,
}

/// The text so far and how far it has been checked.
#[derive(Debug)]
pub(super) struct Body {
    text: Vec<u8>,
    /// How much of `text` has been checked.
    checked: usize,
    /// Where in `text` the line begins that is being checked.
    line_start: usize,
    /// Whether the header has not been measured: until the text is as long as a header may be, there is no need.
    in_header: bool,
    /// DATA: whether what comes next stands at the start of a line.
    at_line_start: bool,
    fault: Option<TextFault>,
}

impl Default for Body {
    fn default() -> Self {
        Self::with_buffer(Vec::new())
    }
}

impl Body {
    /// An empty text in a buffer that may have room.
    pub(super) fn with_buffer(mut text: Vec<u8>) -> Self {
        text.clear();
        Self { text, checked: 0, line_start: 0, in_header: true, at_line_start: true, fault: None }
    }

    /// Makes room for `bytes` more that are promised, or finds that they are too many.
    pub(super) fn promise(&mut self, bytes: u64, limits: &Limits) {
        if bytes > limits.message_bytes.saturating_sub(self.text.len() as u64) {
            self.refuse(TextFault::TooLarge);
        } else if self.fault.is_none() {
            self.text.reserve(usize::try_from(bytes.min(PROMISE_BYTES_MAX)).unwrap_or(0));
        }
    }

    /// Takes dot-stuffed text of DATA off `input` (RFC 5321 section 4.5.2). Returns how many bytes were used and
    /// whether the end of the data was among them. Only CRLF.CRLF is the end; a few last bytes stay unused when their
    /// meaning depends on what follows.
    pub(super) fn take_stuffed(&mut self, input: &[u8], limits: &Limits) -> (usize, bool) {
        // Made once: a text has many lines with a dot at their start, or none.
        let dots = memmem::Finder::new(b"\r\n.");
        let mut at = 0;
        let mut ended = false;
        while at < input.len() && !ended {
            if self.at_line_start && input[at] == b'.' {
                match &input[at + 1..] {
                    [] | [b'\r'] => break,
                    [b'\r', b'\n', ..] => (at, ended) = (at + 3, true),
                    _ => (at, self.at_line_start) = (at + 1, false),
                }
                continue;
            }
            let rest = &input[at..];
            let used = match dots.find(rest) {
                Some(dot) => dot + 2,
                None if rest.ends_with(b"\r") => rest.len() - 1,
                None => rest.len(),
            };
            if used == 0 {
                break;
            }
            self.append(&rest[..used], limits);
            self.at_line_start = rest[..used].ends_with(b"\r\n");
            at += used;
        }
        self.check(ended, limits);
        (at, ended)
    }

    /// Takes bytes of a BDAT chunk as they are (RFC 3030). `complete`: they are the last of the message.
    pub(super) fn take_chunk(&mut self, input: &[u8], complete: bool, limits: &Limits) {
        self.append(input, limits);
        self.check(complete, limits);
        // RFC 3030 section 2 lets text end without CRLF; the next server shall not have to wonder.
        if complete && self.fault.is_none() && self.line_start < self.text.len() {
            self.text.extend_from_slice(b"\r\n");
        }
    }

    /// What is wrong with the text so far.
    pub(super) fn fault(&self) -> Option<TextFault> {
        self.fault
    }

    /// The whole text; the body is empty afterwards.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).text
    }

    fn append(&mut self, bytes: &[u8], limits: &Limits) {
        if self.fault.is_some() {
            return;
        }
        if bytes.len() as u64 > limits.message_bytes.saturating_sub(self.text.len() as u64) {
            self.refuse(TextFault::TooLarge);
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    /// Checks what has come since the last time, in whole vectors where it can be: only a fault, or a line or header
    /// that may be too long, is worth a look at single lines. A CR at the end waits for its LF unless the text is
    /// complete.
    fn check(&mut self, complete: bool, limits: &Limits) {
        if self.fault.is_some() {
            return;
        }
        let waiting = usize::from(!complete && self.text.ends_with(b"\r"));
        let end = self.text.len() - waiting;
        let fresh = &self.text[self.checked..end];
        let fault = if !wire::has_clean_line_ends(fresh) {
            first_bare(&self.text[..end], self.checked)
        } else if end - self.line_start > limits.text_line_bytes {
            first_long_line(&self.text[..end], self.line_start, limits.text_line_bytes)
        } else {
            None
        };
        self.line_start = memrchr(b'\n', fresh).map_or(self.line_start, |at| self.checked + at + 1);
        self.checked = end;
        if let Some(fault) = fault {
            self.refuse(fault);
        } else if self.in_header && end > limits.header_bytes {
            self.in_header = false;
            if !header_ends(&self.text[..end], limits.header_bytes) {
                self.refuse(TextFault::HeaderTooLong);
            }
        }
    }

    /// Keeps the first fault; what was collected is of no more use.
    fn refuse(&mut self, fault: TextFault) {
        self.fault.get_or_insert(fault);
        self.text = Vec::new();
        (self.checked, self.line_start) = (0, 0);
    }
}

/// The first CR or LF from `from` on that does not belong to a pair.
fn first_bare(text: &[u8], from: usize) -> Option<TextFault> {
    let mut at = from;
    loop {
        at += memchr2(b'\r', b'\n', &text[at..])?;
        match &text[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\r', ..] => return Some(TextFault::BareCr { line: line_at(text, at) }),
            _ => return Some(TextFault::BareLf { line: line_at(text, at) }),
        }
    }
}

/// The first line from `from` on with more than `bytes_max` bytes before its CRLF, finished or not.
fn first_long_line(text: &[u8], from: usize, bytes_max: usize) -> Option<TextFault> {
    let mut start = from;
    for end in memchr_iter(b'\n', &text[from..]).map(|at| from + at) {
        // The LF has its CR before it.
        if end - 1 - start > bytes_max {
            return Some(TextFault::LineTooLong { line: line_at(text, start) });
        }
        start = end + 1;
    }
    (text.len() - start > bytes_max).then(|| TextFault::LineTooLong { line: line_at(text, start) })
}

fn line_at(text: &[u8], position: usize) -> u64 {
    1 + memchr_iter(b'\n', &text[..position]).count() as u64
}

/// Whether the empty line comes within the first `bytes_max` bytes.
fn header_ends(text: &[u8], bytes_max: usize) -> bool {
    // The CRLF before the empty line is still of the header, the line's own is not.
    let head = &text[..text.len().min(bytes_max.saturating_add(2))];
    head.starts_with(b"\r\n") || memmem::find(head, b"\r\n\r\n").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        line_bytes: 100,
        text_line_bytes: 40,
        header_bytes: 60,
        message_bytes: 100,
        recipients: 1,
        errors: 1,
    };

    type Outcome = Result<Vec<u8>, TextFault>;

    /// Feeds `input` in pieces of `piece` bytes as a session would; returns the text, the fault and what is left.
    fn stuffed(input: &[u8], piece: usize) -> Option<(Outcome, Vec<u8>)> {
        let mut body = Body::default();
        let mut waiting = Vec::new();
        for (index, bytes) in input.chunks(piece).enumerate() {
            waiting.extend_from_slice(bytes);
            let (used, ended) = body.take_stuffed(&waiting, &LIMITS);
            waiting.drain(..used);
            if ended {
                waiting.extend(input.iter().skip((index + 1) * piece));
                return Some((body.fault().map_or(Ok(body.take()), Err), waiting));
            }
        }
        None
    }

    fn chunked(input: &[u8], piece: usize) -> Outcome {
        let mut body = Body::default();
        input.chunks(piece).for_each(|bytes| body.take_chunk(bytes, false, &LIMITS));
        body.take_chunk(b"", true, &LIMITS);
        body.fault().map_or(Ok(body.take()), Err)
    }

    #[test]
    fn dots_are_unstuffed_however_the_text_is_cut() {
        for (input, text) in [
            (".\r\n", ""),
            ("\r\n.\r\n", "\r\n"),
            ("a\r\n.\r\n", "a\r\n"),
            ("..\r\n.\r\n", ".\r\n"),
            (".a\r\n..b\r\n...\r\n.\r\n", "a\r\n.b\r\n..\r\n"),
            ("a.\r\n b .\r\n.\r\n", "a.\r\n b .\r\n"),
            (".. .\r\n.\r\n", ". .\r\n"),
        ] {
            for piece in 1..=input.len() {
                let (got, left) = stuffed(format!("{input}NOOP\r\n").as_bytes(), piece).expect(input);
                assert_eq!((got, &*left), (Ok(text.into()), &b"NOOP\r\n"[..]), "{input:?} in {piece}s");
            }
        }
    }

    #[test]
    fn only_crlf_dot_crlf_ends_the_data() {
        for fake in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r\n.\r",
            "\r.\r\n",
            "\r\n.\r\r\n",
            "\n.\r",
            "\r\n\0.\r\n",
            "\r\n.\0\r\n",
        ] {
            let bare = fake.replace("\r\n", "").contains(['\r', '\n']);
            let input = format!("a{fake}MAIL FROM:<x@y>\r\n.\r\n");
            for piece in 1..=input.len() {
                let (got, left) = stuffed(input.as_bytes(), piece).expect(fake);
                assert_eq!((got.is_err(), left.len()), (bare, 0), "{fake:?} in {piece}s: {got:?}");
            }
        }
    }

    #[test]
    fn bare_line_ends_are_faults_with_their_line() {
        use TextFault::{BareCr, BareLf};
        for (input, fault) in [
            ("\n", BareLf { line: 1 }),
            ("a\r\nb\nc\r\n", BareLf { line: 2 }),
            ("a\r\n\nb\r\n", BareLf { line: 2 }),
            ("\r", BareCr { line: 1 }),
            ("a\rb\r\n", BareCr { line: 1 }),
            ("a\r\r\n", BareCr { line: 1 }),
            ("a\r\n\r", BareCr { line: 2 }),
        ] {
            for piece in 1..=input.len() {
                assert_eq!(chunked(input.as_bytes(), piece), Err(fault), "{input:?} in {piece}s");
            }
            if !input.ends_with('\r') {
                let (got, _) = stuffed(format!("{input}\r\n.\r\n").as_bytes(), 3).unwrap();
                assert_eq!(got, Err(fault), "{input:?}");
            }
        }
    }

    #[test]
    fn limits_hold_however_the_text_is_cut() {
        let long = "x".repeat(41);
        let header = "a: b\r\n".repeat(11);
        let large = format!("\r\n{}", "0123456\r\n".repeat(11));
        for (input, fault) in [
            (format!("{long}\r\n"), TextFault::LineTooLong { line: 1 }),
            (format!("a\r\n\r\n{long}"), TextFault::LineTooLong { line: 3 }),
            (format!("{header}\r\n"), TextFault::HeaderTooLong),
            (large, TextFault::TooLarge),
        ] {
            for piece in 1..=input.len() {
                assert_eq!(chunked(input.as_bytes(), piece), Err(fault), "{input:?} in {piece}s");
                let (got, left) = stuffed(format!("{input}\r\n.\r\n").as_bytes(), piece).unwrap();
                assert_eq!((got, left), (Err(fault), vec![]), "{input:?} in {piece}s");
            }
        }
        let just = format!("{}\r\n\r\n{}", "x".repeat(40), "0123456\r\n".repeat(6));
        assert_eq!(chunked(just.as_bytes(), 7), Ok(just.clone().into_bytes()));
    }

    #[test]
    fn a_text_without_final_crlf_gets_one() {
        assert_eq!(chunked(b"a: b\r\n\r\nc", 2), Ok(b"a: b\r\n\r\nc\r\n".to_vec()));
        assert_eq!(chunked(b"", 1), Ok(Vec::new()));
    }

    #[test]
    fn a_promise_beyond_the_limit_is_known_at_once_and_stores_nothing() {
        let mut body = Body::default();
        body.promise(u64::MAX, &LIMITS);
        body.take_chunk(b"abc", false, &LIMITS);
        assert_eq!(body.fault(), Some(TextFault::TooLarge));
        assert_eq!(body.take().capacity(), 0);
    }
}
