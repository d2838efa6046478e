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

/// Where normalised bytes go: the hash, or a buffer in tests.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for digest::Context {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// Hashes a body that comes in pieces of any size. Only CRLF ends a line; a bare CR or LF is an ordinary byte.
#[derive(Clone)]
pub struct BodyHasher {
    canonicalization: Canonicalization,
    context: digest::Context,
    state: State,
}

impl BodyHasher {
    /// An empty body so far.
    #[must_use]
    pub fn new(canonicalization: Canonicalization) -> Self {
        Self { canonicalization, context: digest::Context::new(&digest::SHA256), state: State::default() }
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(self.canonicalization, bytes, &mut self.context);
    }

    /// The hash of all that was taken.
    #[must_use]
    pub fn finish(mut self) -> BodyHash {
        self.state.finish(self.canonicalization, &mut self.context);
        let mut hash = [0; 32];
        hash.copy_from_slice(self.context.finish().as_ref());
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
    line_ends: u64,
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
                    let length = if relaxed { relaxed_run(rest) } else { simple_run(rest) };
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
            sink.put(b"\r\n");
            self.line_ends -= 1;
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

/// The same for relaxed: lines must also be free of blanks that would change.
fn relaxed_run(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(offset) = memchr(b'\n', &bytes[end..]) {
        let line_end = end + offset + 1;
        let keeps = line_stays(&bytes[end..line_end])
            && bytes.get(line_end).is_some_and(|next| !matches!(next, b'\r' | b' ' | b'\t'));
        if !keeps {
            break;
        }
        end = line_end;
    }
    if end > 0 {
        return end;
    }
    memchr3(b'\r', b' ', b'\t', bytes).unwrap_or(bytes.len())
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
