//! Splits what a server sends into replies; allocates only for the replies that are kept.

use mail::{Enhanced, Phase, Reply};
use memchr::memchr;

/// How much of a line that is no reply is quoted.
const GARBAGE_BYTES_MAX: usize = 200;

/// How a server broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// A line that is no reply line (RFC 5321 section 4.2).
    #[error("the server sent something that is not an SMTP reply: {0}")]
    Garbage(String),
    /// A reply longer than [`ClientConfig::reply_bytes_max`](super::ClientConfig::reply_bytes_max).
    #[error("the server sent a reply of more than {bytes_max} bytes")]
    ReplyTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// A reply whose lines disagree about success (RFC 5321 section 4.2.1 wants one code).
    #[error("the server sent a reply whose lines have different codes: {0}")]
    Inconsistent(Reply),
    /// It offers CHUNKING and does not know BDAT: what it does with the chunk is not known, so the connection is of no
    /// more use. Connect again with [`ClientConfig::chunking`](super::ClientConfig::chunking) off.
    #[error("the server offers CHUNKING but does not know BDAT: {0}")]
    NoChunking(Reply),
    /// The server took the AUTH without proof of its own, which SCRAM demands, or before it was told the password.
    #[error("the server cannot be believed: {0}")]
    Impostor(&'static str),
    /// A reply whose code cannot follow the command, that came before its command was sent, or that nothing asked for.
    #[error("the server sent an unexpected reply in phase {}: {reply}", phase.name())]
    Unexpected {
        /// What was awaited.
        phase: Phase,
        /// What came.
        reply: Reply,
    },
}

/// Splits bytes into replies, however they are cut: what is received and not yet used up, and how far it has been
/// searched. Each [`Client`](super::Client) has one.
#[derive(Debug, Default)]
pub struct ReplyReader {
    buffer: Vec<u8>,
    /// Where the reply begins that is being read.
    start: usize,
    /// Where the line begins that is being read.
    line_start: usize,
    /// Up to where that line has been searched for its end.
    searched: usize,
    /// The first digit of the reply's first line, and whether a later line has another.
    first_digit: Option<u16>,
    is_inconsistent: bool,
}

/// One complete reply, still in the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawReply<'a> {
    /// The three digits of the last line.
    pub(super) code: u16,
    bytes: &'a [u8],
}

impl ReplyReader {
    /// Takes bytes; everything complete should have been read before.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.line_start -= self.start;
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete reply of at most `bytes_max` bytes; `None` when more has to be pushed first.
    ///
    /// # Errors
    /// What came is no reply, or too long a one. Nothing behind it can be read.
    pub fn next_reply(&mut self, bytes_max: usize) -> Result<Option<Reply>, ClientFault> {
        self.next(bytes_max).map(|raw| raw.map(RawReply::to_reply))
    }

    /// Drops whatever is there.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next complete reply. Lines may end with LF alone: sloppy servers do, and nothing of ours hangs on it.
    pub(super) fn next(&mut self, bytes_max: usize) -> Result<Option<RawReply<'_>>, ClientFault> {
        loop {
            let found = memchr(b'\n', &self.buffer[self.searched..]);
            let end = found.map_or(self.buffer.len(), |at| self.searched + at + 1);
            self.searched = end;
            if end - self.start > bytes_max {
                return Err(ClientFault::ReplyTooLong { bytes_max });
            }
            if found.is_none() {
                return Ok(None);
            }
            let line = without_line_end(&self.buffer[self.line_start..end]);
            let (code, last) = read_code(line).ok_or_else(|| garbage(line))?;
            self.line_start = end;
            self.is_inconsistent |= *self.first_digit.get_or_insert(code / 100) != code / 100;
            if last {
                self.first_digit = None;
                let is_inconsistent = std::mem::take(&mut self.is_inconsistent);
                let raw = RawReply { code, bytes: &self.buffer[self.start..end] };
                self.start = end;
                // A server that breaks off in the middle of a reply to say that it closes is understood.
                if is_inconsistent && code != 421 {
                    return Err(ClientFault::Inconsistent(raw.to_reply()));
                }
                return Ok(Some(raw));
            }
        }
    }
}

/// `ddd text`, `ddd-text` or `ddd` (RFC 5321 section 4.2.1); also whether it is the last line of its reply.
fn read_code(line: &[u8]) -> Option<(u16, bool)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    let code = digits
        .iter()
        .try_fold(0, |code, digit| digit.is_ascii_digit().then(|| code * 10 + u16::from(digit - b'0')))?;
    Some((code, last))
}

fn garbage(line: &[u8]) -> ClientFault {
    let mut text = String::new();
    push_printable(&mut text, &line[..line.len().min(GARBAGE_BYTES_MAX)]);
    ClientFault::Garbage(text)
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl<'a> RawReply<'a> {
    /// The texts of the lines, without codes.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| without_line_end(line).get(4..).unwrap_or_default().trim_ascii())
    }

    /// The reply to be kept: lines joined by single spaces, the enhanced code taken off each.
    pub(super) fn to_reply(self) -> Reply {
        let (enhanced, code_bytes) = self.enhanced().unzip();
        let code_bytes = code_bytes.unwrap_or_default();
        let mut text = String::with_capacity(self.bytes.len());
        for line in self.lines() {
            let line = match line.strip_prefix(code_bytes) {
                Some(rest) if rest.first().is_none_or(u8::is_ascii_whitespace) => rest.trim_ascii_start(),
                _ => line,
            };
            if !text.is_empty() && !line.is_empty() {
                text.push(' ');
            }
            push_printable(&mut text, line);
        }
        Reply { code: self.code, enhanced, text }
    }

    /// The enhanced code that the first line begins with, and its bytes. Some servers dress it up: `#5.1.1`, `5.7.1:`.
    fn enhanced(&self) -> Option<(Enhanced, &'a [u8])> {
        let first = self.lines().next()?;
        let word = first.split(u8::is_ascii_whitespace).next()?;
        let text = std::str::from_utf8(word).ok()?;
        let bare = text.trim_matches(|c| matches!(c, '#' | ':' | ';' | ',' | '(' | ')' | '[' | ']'));
        Enhanced::parse(bare).map(|enhanced| (enhanced, word))
    }
}

/// Appends foreign bytes as text that can be stored and shown: what is not UTF-8 becomes U+FFFD, control characters `?`.
fn push_printable(text: &mut String, bytes: &[u8]) {
    let decoded = String::from_utf8_lossy(bytes);
    if decoded.chars().any(char::is_control) {
        text.extend(decoded.chars().map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '?',
            c => c,
        }));
    } else {
        text.push_str(&decoded);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` in pieces of `piece`.
    fn read(bytes: &[u8], piece: usize, bytes_max: usize) -> Result<Vec<Reply>, ClientFault> {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        for bytes in bytes.chunks(piece.max(1)) {
            reader.push(bytes);
            while let Some(reply) = reader.next_reply(bytes_max)? {
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    #[test]
    fn replies_are_the_same_however_they_are_cut() {
        let bytes = b"220 hello\r\n250-a\r\n250-\r\n250 b\r\n354\r\n550-5.1.1 no\r\n550 5.1.1 such  user\r\n421 \xff\0\x1b\tx\n";
        let replies = [
            Reply::new(220, "hello"),
            Reply::new(250, "a b"),
            Reply::new(354, ""),
            Reply::enhanced(550, Enhanced(5, 1, 1), "no such  user"),
            Reply::new(421, "\u{fffd}?? x"),
        ];
        for piece in 1..=bytes.len() {
            assert_eq!(read(bytes, piece, 1000).unwrap(), replies, "in {piece}s");
        }
    }

    #[test]
    fn enhanced_codes_are_taken_off_the_text() {
        for (line, enhanced, text) in [
            ("550 5.7.1", Some(Enhanced(5, 7, 1)), ""),
            ("550 #5.7.1 x", Some(Enhanced(5, 7, 1)), "x"),
            ("550 5.7.1: x", Some(Enhanced(5, 7, 1)), "x"),
            ("550-5.7.1 x\r\n550 5.7.10 y", Some(Enhanced(5, 7, 1)), "x 5.7.10 y"),
            ("421 4.7.0 x", Some(Enhanced(4, 7, 0)), "x"),
            ("550 127.0.0.1 x", None, "127.0.0.1 x"),
            ("550 x 5.7.1", None, "x 5.7.1"),
        ] {
            let replies = read(format!("{line}\r\n").as_bytes(), 5, 100).unwrap();
            assert_eq!(replies.len(), 1);
            assert_eq!((replies[0].enhanced, replies[0].text.as_str()), (enhanced, text), "{line}");
        }
    }

    #[test]
    fn what_is_no_reply_is_garbage() {
        for line in
            ["", "25", "25 x", "2500 x", "abc d", "250x", "HTTP/1.1 200", " 250 x", "250-a\r\n\r\n250 b"]
        {
            let result = read(format!("{line}\r\n").as_bytes(), 3, 100);
            assert!(matches!(result, Err(ClientFault::Garbage(_))), "{line:?}: {result:?}");
        }
    }

    #[test]
    fn an_endless_reply_is_cut_off() {
        let too_long = Err(ClientFault::ReplyTooLong { bytes_max: 100 });
        assert_eq!(read(&[b'2'; 101], 1, 100), too_long);
        assert_eq!(read(&b"250-x\r\n".repeat(20), 7, 100), too_long);
        // Many replies may be longer together.
        assert_eq!(read(&b"250 x\r\n".repeat(20), 140, 100).unwrap().len(), 20);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..9) {
            let _ = read(&bytes, piece, 100);
        }

        #[test]
        fn nearly_replies_do_not_panic(text in "([0-9]{2,4}[ -]?[25.]{0,6}[a\r\n\u{80}]{0,3}){0,8}", piece in 1usize..9) {
            let _ = read(text.as_bytes(), piece, 100);
        }
    }
}
