//! The hash of a body as DKIM sees it (RFC 6376 sections 3.4.3 and 3.4.4): streaming, SHA-256.
//!
//! Our own because mail-auth 0.13.3 hashes bodies wrongly that end in lines of blanks only.

use aws_lc_rs::digest;
use memchr::{memchr, memchr3};

/// How a body is normalised before it is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canonicalization {
    /// Blanks at line ends vanish, runs of blanks become one space, empty lines at the end vanish.
    #[default]
    Relaxed,
    /// Empty lines at the end become one.
    Simple,
}

impl Canonicalization {
    /// The name in `c=`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Simple => "simple",
        }
    }
}

/// The SHA-256 of a normalised body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash {
    canonicalization: Canonicalization,
    digest: [u8; 32],
}

impl BodyHash {
    /// Hashes a whole body.
    #[must_use]
    pub fn of(canonicalization: Canonicalization, body: &[u8]) -> Self {
        let mut hasher = BodyHasher::new(canonicalization);
        hasher.update(body);
        hasher.finish()
    }

    /// How the body was normalised.
    #[must_use]
    pub const fn canonicalization(&self) -> Canonicalization {
        self.canonicalization
    }

    /// The hash.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// Line ends that were held back are put out in strokes of this length.
const LINE_ENDS: [u8; 64] = *b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";

/// Where normalised bytes go: the hash, or a buffer in tests.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

/// A hash that is fed in larger strokes: words come one by one, and each call into the library has its price.
#[derive(Clone)]
struct Hash {
    context: digest::Context,
    buffer: [u8; Self::BUFFER_BYTES],
    used: usize,
}

impl Hash {
    const BUFFER_BYTES: usize = 1024;

    fn flush(&mut self) {
        self.context.update(&self.buffer[..self.used]);
        self.used = 0;
    }
}

impl Sink for Hash {
    fn put(&mut self, bytes: &[u8]) {
        if self.used + bytes.len() > Self::BUFFER_BYTES {
            self.flush();
        }
        if bytes.len() > Self::BUFFER_BYTES {
            self.context.update(bytes);
        } else {
            self.buffer[self.used..self.used + bytes.len()].copy_from_slice(bytes);
            self.used += bytes.len();
        }
    }
}

/// Hashes a body that comes in pieces of any size. Only CRLF ends a line; a bare CR or LF is an ordinary byte.
#[derive(Clone)]
pub struct BodyHasher {
    canonicalization: Canonicalization,
    hash: Hash,
    state: State,
}

impl BodyHasher {
    /// An empty body so far.
    #[must_use]
    pub fn new(canonicalization: Canonicalization) -> Self {
        let context = digest::Context::new(&digest::SHA256);
        let hash = Hash { context, buffer: [0; Hash::BUFFER_BYTES], used: 0 };
        Self { canonicalization, hash, state: State::default() }
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(self.canonicalization, bytes, &mut self.hash);
    }

    /// The hash of all that was taken.
    #[must_use]
    pub fn finish(mut self) -> BodyHash {
        self.state.finish(self.canonicalization, &mut self.hash);
        self.hash.flush();
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.context.finish().as_ref());
        BodyHash { canonicalization: self.canonicalization, digest: hash }
    }
}

/// What has been read but cannot be put out yet.
///
/// In simple form, byte by byte: a line end is held back until another byte proves that it is not at the end of the
/// body; a blank (relaxed) until another byte proves that it is not at the end of its line; a CR until the next byte
/// proves that it is not half of a CRLF. Everything else goes out at once. [`State::update`] does the same for runs.
#[derive(Clone, Default)]
struct State {
    line_ends: usize,
    blank: bool,
    cr: bool,
    /// Whether anything has been put out.
    any: bool,
}

impl State {
    fn update(&mut self, canonicalization: Canonicalization, bytes: &[u8], sink: &mut impl Sink) {
        let relaxed = canonicalization == Canonicalization::Relaxed;
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.cr {
                self.cr = false;
                if first == b'\n' {
                    self.line_ends += 1;
                    self.blank = false;
                    rest = &rest[1..];
                } else {
                    self.put(b"\r", sink);
                }
                continue;
            }
            let length = match first {
                b'\r' => {
                    self.cr = true;
                    1
                }
                b' ' | b'\t' if relaxed => {
                    self.blank = true;
                    1
                }
                _ => {
                    let length = match (relaxed, self.line_ends > 0 || !self.any) {
                        (false, _) => simple_run(rest),
                        (true, true) => lines_run(rest),
                        (true, false) => word_run(rest),
                    };
                    self.put(&rest[..length], sink);
                    length
                }
            };
            rest = &rest[length..];
        }
    }

    /// Puts out bytes that are sure to stay, after what was held back.
    fn put(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        while self.line_ends > 0 {
            let count = self.line_ends.min(LINE_ENDS.len() / 2);
            sink.put(&LINE_ENDS[..2 * count]);
            self.line_ends -= count;
        }
        if self.blank {
            sink.put(b" ");
            self.blank = false;
        }
        sink.put(bytes);
        self.any = true;
    }

    fn finish(&mut self, canonicalization: Canonicalization, sink: &mut impl Sink) {
        if self.cr {
            self.cr = false;
            self.put(b"\r", sink);
        }
        if self.any || canonicalization == Canonicalization::Simple {
            sink.put(b"\r\n");
        }
    }
}

/// Length of the run, at least one byte, that goes out as it is: whole lines that are followed by a line that is not
/// empty, up to the last byte that a later line end could make vanish.
fn simple_run(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(offset) = memchr(b'\r', &bytes[end..]) {
        let at = end + offset;
        match bytes.get(at + 1..at + 3) {
            Some([b'\n', next]) if *next != b'\r' => end = at + 2,
            _ => return at,
        }
    }
    bytes.len()
}

/// The same for relaxed, from the first word of a line on: lines must also be free of blanks that would change. The
/// line end behind the run is left to the state, which thereby knows that a line begins.
fn lines_run(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(offset) = memchr(b'\n', &bytes[end..]) {
        let line_end = end + offset + 1;
        if !line_stays(&bytes[end..line_end]) {
            break;
        }
        end = line_end;
        if bytes.get(end).is_none_or(|next| matches!(next, b'\r' | b' ' | b'\t')) {
            break;
        }
    }
    if end > 0 { end - 2 } else { word_run(bytes) }
}

/// Length of the run before the next byte that needs a look, at least one byte; a lone space between words needs none.
/// For lines that [`lines_run`] turned down, so that no line is looked through more than twice.
fn word_run(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(offset) = memchr3(b'\r', b' ', b'\t', &bytes[end..]) {
        let at = end + offset;
        match bytes[at..] {
            [b' ', next, ..] if !matches!(next, b'\r' | b' ' | b'\t') => end = at + 2,
            _ => return at,
        }
    }
    bytes.len()
}

/// Whether a line with its line end is the same after normalisation: CRLF at its end and no other CR, no tabulator,
/// no blank before a blank or the line end. Written without early exit, so that it runs over many bytes at once.
fn line_stays(line: &[u8]) -> bool {
    let Some(text) = line.strip_suffix(b"\r\n") else {
        return false;
    };
    let changes = text.windows(2).fold(false, |found, pair| {
        found | (pair[1] == b'\t') | (pair[1] == b'\r') | ((pair[0] == b' ') & (pair[1] == b' '))
    });
    let first = text.first().is_some_and(|&b| b == b'\t' || b == b'\r');
    !changes && !first && !text.is_empty() && text.last() != Some(&b' ')
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::*;

    impl Sink for Vec<u8> {
        fn put(&mut self, bytes: &[u8]) {
            self.extend_from_slice(bytes);
        }
    }

    /// The words of RFC 6376 one by one, on the whole body.
    fn as_the_rfc_says(canonicalization: Canonicalization, body: &[u8]) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut line = Vec::new();
        for &byte in body {
            line.push(byte);
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                lines.push(std::mem::take(&mut line));
            }
        }
        lines.push(line);
        if canonicalization == Canonicalization::Relaxed {
            for line in &mut lines {
                let mut reduced: Vec<u8> = Vec::new();
                for &byte in line.iter() {
                    let byte = if byte == b'\t' { b' ' } else { byte };
                    if byte != b' ' || reduced.last() != Some(&b' ') {
                        reduced.push(byte);
                    }
                }
                if reduced.last() == Some(&b' ') {
                    reduced.pop();
                }
                *line = reduced;
            }
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        let mut out: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect();
        if out.is_empty() && canonicalization == Canonicalization::Simple {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn in_pieces(canonicalization: Canonicalization, body: &[u8], piece_bytes: usize) -> Vec<u8> {
        let mut state = State::default();
        let mut out = Vec::new();
        for piece in body.chunks(piece_bytes) {
            state.update(canonicalization, piece, &mut out);
        }
        state.finish(canonicalization, &mut out);
        out
    }

    /// Body, relaxed hash, simple hash, as dkimpy 1.1 computes them.
    const HASHES: [(&[u8], &str, &str); 20] = [
        (b"", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (
            b"\r\n",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=",
        ),
        (
            b"\r\n\r\n\r\n",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=",
        ),
        (
            b" \r\n",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "a99mtb8qROZYvqLuhmlasVCgbmAL9nzVzOJFrVSWLGE=",
        ),
        (
            b"\t \r\n  \r\n\r\n \t\r\n",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "woVIVOoNPr+qnczFmt8WKsoYlaajYx9EY3Khu4CuoGA=",
        ),
        (
            b"text\r\n",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
        ),
        (
            b"text",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
        ),
        (
            b"text\r\n\r\n\r\n",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
        ),
        (
            b"text\r\n \r\n\t\r\n",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
            "OHk3J0NXN5oODUwXc77bPZEJvA2nUwvv/LEjGTN+V8E=",
        ),
        (
            b"text \r\n \r\n\r\n\t \r\n",
            "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=",
            "sY1uH5nHf2f8za2JrOvdDxV1g2Xpq7evpTwuv8oz78s=",
        ),
        (
            b" C \r\nD \t E\r\n",
            "unak6JHq0wL+Q1HP7dW1tjBx9FLA6DffoZ0qrLwbbpo=",
            "NOeivbQlDH9TmNKJUw7D53wZfsk8YMZ/hTuVVwTgi8s=",
        ),
        (
            b"a  b\t\tc \t d\r\n",
            "GE/c1T1JPkPiFCFASRpFCkulWbsP/6LFgbc/ZIbCIdM=",
            "LO6lfYO3LHV7zen9mDmmesEa8Zbg5lym/0N9zHl1+MI=",
        ),
        (
            b"   indented\r\n\ttab\r\n  \tboth\r\n",
            "qVldQEfM6RN/4HGBSbFCixMkCVlryW9Oe0Bb5UtXyno=",
            "KcpCyZ2Pq/IphOgc/JaMpHNBIntdijkt+x9aAju2zm8=",
        ),
        (
            b"a\r\n\r\n\r\nb\r\n \r\n \r\nc\r\n",
            "Q/Fr2NyeSEdkGGQ12rZ2wZw53aqhn391SnBQ2sTONKQ=",
            "ykzq5Vo2m7WzVT5khDS9y/pzViSKKafS/nh7VN5Gh9E=",
        ),
        (
            b" \r\ntext\r\n",
            "YdNQFznQmGOPldDjLjS6XclQo5Rg7ThDKxR43iylhl4=",
            "sUHbCtZYAztye1OwbjmjkVUxnFFwhXzXMTNvLKncSVk=",
        ),
        (
            b"\r\n\r\ntext\r\n",
            "mLStl3HvSnxlS++3rjgTwh/r4YHEaoR8J3FUsdAly3w=",
            "mLStl3HvSnxlS++3rjgTwh/r4YHEaoR8J3FUsdAly3w=",
        ),
        (
            b"caf\xe9 \xff\xfe\r\n",
            "Uky1KTzdfZ39evhbjg3VvZoCV8K03DPeoDPQePjg/zs=",
            "Uky1KTzdfZ39evhbjg3VvZoCV8K03DPeoDPQePjg/zs=",
        ),
        (
            b"a\x0cb \x0b c\r\n",
            "1cIeFDj77AAfradZJocHTIiRCnWpmd1VTY3SXqKbvRA=",
            "1cIeFDj77AAfradZJocHTIiRCnWpmd1VTY3SXqKbvRA=",
        ),
        (
            b"a\x00b\r\n",
            "7uTTqDM1tKte8yrdskzi9pZiTXxsZOijxNHq9IsNxd4=",
            "7uTTqDM1tKte8yrdskzi9pZiTXxsZOijxNHq9IsNxd4=",
        ),
        (
            b"one two\r\nline two is here\r\nand three\r\n\r\n",
            "QnfxRuHd5ZRONVsHmMfu2NXueoG5iWmCxADBHFyOv5s=",
            "QnfxRuHd5ZRONVsHmMfu2NXueoG5iWmCxADBHFyOv5s=",
        ),
    ];

    #[test]
    fn hashes_equal_those_of_dkimpy() {
        for (body, relaxed, simple) in HASHES {
            for (canonicalization, expected) in
                [(Canonicalization::Relaxed, relaxed), (Canonicalization::Simple, simple)]
            {
                let hash = BodyHash::of(canonicalization, body);
                let text = base64::engine::general_purpose::STANDARD.encode(hash.digest());
                assert_eq!(text, expected, "{canonicalization:?} {:?}", String::from_utf8_lossy(body));
            }
        }
    }

    #[test]
    fn a_long_line_full_of_blanks_takes_linear_time() {
        let body = b"word  \t".repeat(300_000);
        let out = in_pieces(Canonicalization::Relaxed, &body, usize::MAX);
        assert_eq!(out.len(), 5 * 300_000 + 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn pieces_of_any_size_are_normalised_as_the_rfc_says(
            words in prop::collection::vec(prop::sample::select(vec![
                &b" "[..], b"\t", b"\r\n", b"\r\n", b"\r", b"\n", b"a", b"bc d", b"\xc3\xa9", b"\x0c", b"line of text\r\n",
            ]), 0..40),
            piece_bytes in 1_usize..30,
        ) {
            let body = words.concat();
            for canonicalization in [Canonicalization::Relaxed, Canonicalization::Simple] {
                let expected = as_the_rfc_says(canonicalization, &body);
                prop_assert_eq!(&in_pieces(canonicalization, &body, usize::MAX), &expected);
                prop_assert_eq!(&in_pieces(canonicalization, &body, piece_bytes), &expected);
            }
        }
    }
}
