//! Quoted-printable (RFC 2045 section 6.7) that can be spliced: pieces encoded once and fields encoded on the way
//! share the columns of one line. It refuses nothing; every byte has its form.

use std::ops::Range;

/// Longest line, without its line end, counting the `=` of a soft break.
const LINE_BYTES_MAX: usize = 76;
/// A shorter stretch costs less to copy than to be sent as a piece of its own.
const STRETCH_BYTES_MIN: usize = 1024;

/// How a field's text is made harmless where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// As it is.
    None,
    /// The five characters of HTML and `/`, as minijinja writes them.
    Html,
}

/// A text encoded from column 0 on.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    /// Bytes of its first line, a soft break's `=` included.
    first_line: usize,
    /// Column behind its last byte.
    column: usize,
    /// Whether its first line ends within it.
    several_lines: bool,
    /// The whole lines between its first and its last, if they are long enough to be sent from where they are.
    stretch: Range<usize>,
}

impl Encoded {
    /// Encodes `text`, whose line ends may be CRLF, LF or CR.
    pub(crate) fn new(text: &str) -> Self {
        let mut bytes = Vec::with_capacity(text.len() + text.len() / 16 + 16);
        let mut writer = Writer::new(&mut bytes);
        writer.text(text, Escape::None);
        let column = writer.column;
        Self::of(bytes, column)
    }

    /// A whole part, to be spliced at the beginning of a line.
    pub(crate) fn part(text: &str, before_boundary: bool) -> Self {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.text(text, Escape::None);
        writer.finish(before_boundary);
        Self::of(bytes, 0)
    }

    fn of(bytes: Vec<u8>, column: usize) -> Self {
        let first = memchr::memchr(b'\r', &bytes);
        let stretch = match (first, memchr::memrchr(b'\n', &bytes)) {
            (Some(first), Some(last)) if last + 1 - (first + 2) >= STRETCH_BYTES_MIN => first + 2..last + 1,
            _ => 0..0,
        };
        let first_line = first.unwrap_or(bytes.len());
        Self { first_line, column, several_lines: first.is_some(), stretch, bytes }
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whole lines of it that need not be copied; empty when it has none or only few.
    pub(crate) fn stretch(&self) -> &[u8] {
        &self.bytes[self.stretch.clone()]
    }
}

/// Writes one quoted-printable part.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the beginning of a line of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, column: 0 }
    }

    /// Adds a piece that was encoded before; the line is broken softly when the piece's first line does not fit.
    pub(crate) fn splice(&mut self, piece: &Encoded) {
        self.make_room(piece);
        self.out.extend_from_slice(&piece.bytes);
        self.settle(piece);
    }

    /// The same without the piece's [stretch](Encoded::stretch); returns where in `out` that belongs.
    pub(crate) fn splice_around(&mut self, piece: &Encoded) -> usize {
        self.make_room(piece);
        self.out.extend_from_slice(&piece.bytes[..piece.stretch.start]);
        let at = self.out.len();
        self.out.extend_from_slice(&piece.bytes[piece.stretch.end..]);
        self.settle(piece);
        at
    }

    fn make_room(&mut self, piece: &Encoded) {
        if piece.bytes.starts_with(b"\r\n") {
            self.seal();
        } else {
            // Behind a piece without a line end of its own there must be room for a soft break.
            let room = LINE_BYTES_MAX - usize::from(!piece.several_lines);
            if self.column + piece.first_line > room {
                self.soft_break();
            }
        }
    }

    fn settle(&mut self, piece: &Encoded) {
        self.column = if piece.several_lines { piece.column } else { self.column + piece.column };
    }

    /// Encodes `text` from the current column on.
    pub(crate) fn text(&mut self, text: &str, escape: Escape) {
        self.bytes(text.as_bytes(), escape);
    }

    /// Encodes text in any character set that holds ASCII.
    pub(crate) fn bytes(&mut self, bytes: &[u8], escape: Escape) {
        let plain = match escape {
            Escape::None => &PLAIN_TEXT,
            Escape::Html => &PLAIN_HTML,
        };
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let run = bytes[at..].iter().take_while(|&&b| plain[usize::from(b)]).count();
            if run > 0 {
                self.plain(&bytes[at..at + run]);
                at += run;
                continue;
            }
            at += 1;
            match byte {
                b'\r' if bytes.get(at) == Some(&b'\n') => {}
                b'\r' | b'\n' => self.hard_break(),
                _ => match entity(byte).filter(|_| escape == Escape::Html) {
                    Some(entity) => self.plain(entity),
                    None => self.escaped(byte),
                },
            }
        }
    }

    /// Ends the part: no blank is left at its end, and it ends with a line end, unless a boundary follows, which brings
    /// its own.
    pub(crate) fn finish(mut self, before_boundary: bool) {
        if before_boundary {
            self.seal();
        } else if self.column > 0 {
            self.hard_break();
        }
    }

    /// Bytes that stand for themselves.
    fn plain(&mut self, mut bytes: &[u8]) {
        while self.column + bytes.len() > LINE_BYTES_MAX - 1 {
            let (line, rest) = bytes.split_at(LINE_BYTES_MAX - 1 - self.column);
            self.out.extend_from_slice(line);
            self.soft_break();
            bytes = rest;
        }
        self.out.extend_from_slice(bytes);
        self.column += bytes.len();
    }

    fn escaped(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        if self.column + 3 > LINE_BYTES_MAX - 1 {
            self.soft_break();
        }
        let hex = [b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        self.out.extend_from_slice(&hex);
        self.column += 3;
    }

    fn soft_break(&mut self) {
        self.out.extend_from_slice(b"=\r\n");
        self.column = 0;
    }

    fn hard_break(&mut self) {
        self.seal();
        self.out.extend_from_slice(b"\r\n");
        self.column = 0;
    }

    /// A blank before a line end would be lost on the way: it is escaped.
    fn seal(&mut self) {
        let Some(&last @ (b' ' | b'\t')) = self.out.last().filter(|_| self.column > 0) else {
            return;
        };
        self.out.pop();
        self.column -= 1;
        self.escaped(last);
    }
}

/// Bytes that stand for themselves: printable ASCII but `=`, and blanks; in HTML also without those that have an entity.
const fn plain_bytes(escape: Escape) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        let printable = (byte >= b' ' || byte == b'\t') && byte != b'=';
        table[byte as usize] = printable && (matches!(escape, Escape::None) || entity(byte).is_none());
        byte += 1;
    }
    table
}

const PLAIN_TEXT: [bool; 256] = plain_bytes(Escape::None);
const PLAIN_HTML: [bool; 256] = plain_bytes(Escape::Html);

const fn entity(byte: u8) -> Option<&'static [u8]> {
    Some(match byte {
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'&' => b"&amp;",
        b'"' => b"&quot;",
        b'\'' => b"&#x27;",
        b'/' => b"&#x2f;",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(encoded: &[u8]) -> String {
        let bytes =
            mail_parser::decoders::quoted_printable::quoted_printable_decode(encoded).expect("decodes");
        String::from_utf8(bytes).expect("is UTF-8").replace("\r\n", "\n")
    }

    fn check_lines(encoded: &[u8]) {
        for line in String::from_utf8_lossy(encoded).split("\r\n") {
            assert!(line.len() <= LINE_BYTES_MAX, "{} bytes: {line:?}", line.len());
            assert!(!line.ends_with([' ', '\t']), "blank at the end: {line:?}");
            assert!(!line.contains(['\r', '\n']), "bare line end: {line:?}");
        }
    }

    #[test]
    fn blanks_at_line_ends_and_long_lines_are_encoded() {
        let long = "x".repeat(200);
        for (text, expected) in [
            ("a \nb\t\n", "a=20\r\nb=09\r\n"),
            ("1=2 é", "1=3D2 =C3=A9\r\n"),
            ("a\r\nb\rc\nd", "a\r\nb\r\nc\r\nd\r\n"),
            ("", ""),
            (&long, &format!("{0}=\r\n{0}=\r\n{1}\r\n", "x".repeat(75), "x".repeat(50))),
        ] {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            writer.text(text, Escape::None);
            writer.finish(false);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    proptest! {
        #[test]
        fn spliced_pieces_read_as_one_text(
            pieces in prop::collection::vec(("[ -~\n\té=<]{0,100}", any::<bool>(), any::<bool>()), 0..8)
        ) {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            let mut whole = String::new();
            for (text, spliced, html) in &pieces {
                match (spliced, html) {
                    (true, _) => writer.splice(&Encoded::new(text)),
                    (false, false) => writer.text(text, Escape::None),
                    (false, true) => writer.text(text, Escape::Html),
                }
                if *html && !spliced {
                    for c in text.chars() {
                        match u8::try_from(c).ok().and_then(entity) {
                            Some(entity) => whole.push_str(&String::from_utf8_lossy(entity)),
                            None => whole.push(c),
                        }
                    }
                } else {
                    whole.push_str(text);
                }
            }
            writer.finish(false);
            check_lines(&out);
            if !whole.is_empty() && !whole.ends_with('\n') {
                whole.push('\n');
            }
            prop_assert_eq!(decode(&out), whole);
        }
    }
}
