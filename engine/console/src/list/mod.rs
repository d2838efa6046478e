//! Recipient lists as they arrive: NDJSON or CSV in pieces of any size, read line by line into the template's order.
//!
//! A wrong line is rejected with its number and the list goes on; nothing is kept but the line in hand.

mod csv;
mod ndjson;

use content::header::is_safe_value;
use content::template::{ADDRESS_NAMES, FieldUse};
use mail::Address;
use rustc_hash::FxHashMap;
use serde::Serialize;

use csv::CsvState;

/// Longest line (NDJSON) or record (CSV), in bytes: merge values are short texts, and the line in hand is all that an
/// upload may keep in memory.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values with a header row (RFC 4180; also with semicolons or tabs).
    Csv,
}

/// One recipient of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the message is to go.
    pub address: Address,
    /// Its merge values in the order of the template's fields.
    pub values: Vec<String>,
}

/// A line that is not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The line, counted from 1; of a CSV record over several lines the first.
    pub line: u64,
    /// The stable name of the reason.
    pub code: &'static str,
    /// The reason in words.
    pub message: String,
}

/// The list cannot be read at all from here on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ListError {
    /// The line, counted from 1.
    pub line: u64,
    /// The stable name of the reason.
    pub code: &'static str,
    /// The reason in words.
    pub message: String,
    /// The column that is concerned, if one is.
    pub field: Option<String>,
}

/// What a line turned out to be.
pub type Line = Result<Entry, Rejected>;

/// Reads a list: [`feed`](Self::feed) what arrives, then call [`next`](Self::next) until it wants more.
#[derive(Debug)]
pub struct ListReader {
    fields: Fields,
    input: Input,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Ndjson,
    Csv(CsvState),
}

impl ListReader {
    /// A reader for a template whose merge fields are `fields`.
    #[must_use]
    pub fn new(format: ListFormat, fields: &[FieldUse]) -> Self {
        let format = match format {
            ListFormat::Ndjson => Format::Ndjson,
            ListFormat::Csv => Format::Csv(CsvState::default()),
        };
        Self { fields: Fields::new(fields), input: Input::default(), format }
    }

    /// Takes the next piece of the list.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.feed(bytes);
    }

    /// There is no more: what is left is the last line.
    pub fn end(&mut self) {
        self.input.ended = true;
    }

    /// The next line; `None` when more must be fed first, or when the list has ended.
    ///
    /// # Errors
    /// The list is not of its format, so that no further line could be read.
    #[expect(clippy::should_implement_trait, reason = "after None there can be more once more has been fed")]
    pub fn next(&mut self) -> Result<Option<Line>, ListError> {
        if !self.input.skip_mark()? {
            return Ok(None);
        }
        match &mut self.format {
            Format::Ndjson => Ok(ndjson::next(&mut self.input, &self.fields)),
            Format::Csv(state) => state.next(&mut self.input, &self.fields),
        }
    }

    /// The number of the line that is read next.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.input.line + 1
    }
}

/// Bytes that have arrived and not been read; at most one unfinished line and the last piece fed.
#[derive(Debug, Default)]
struct Input {
    bytes: Vec<u8>,
    /// Where the unread bytes begin.
    start: usize,
    /// Lines that lie before `start`.
    line: u64,
    /// Whether the byte order mark has been looked for.
    begun: bool,
    /// Whether all bytes have been fed.
    ended: bool,
    /// Whether the rest of a rejected line is to be passed over.
    skipping: bool,
}

impl Input {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn consume(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.line += lines;
    }

    /// Passes the byte order mark of UTF-8, which spreadsheets write; `false` when too little has arrived to know.
    fn skip_mark(&mut self) -> Result<bool, ListError> {
        if self.begun {
            return Ok(true);
        }
        let unread = self.unread();
        if unread.starts_with(&[0xff, 0xfe]) || unread.starts_with(&[0xfe, 0xff]) {
            return Err(ListError {
                line: 1,
                code: "not_utf8",
                message: "the list is written in UTF-16: save it as UTF-8".to_owned(),
                field: None,
            });
        }
        if unread.len() < 3 && !self.ended {
            return Ok(false);
        }
        if unread.starts_with(b"\xef\xbb\xbf") {
            self.start += 3;
        }
        self.begun = true;
        Ok(true)
    }

    /// Passes the rest of a rejected line; `false` while its end has not arrived.
    fn skip_rest(&mut self) -> bool {
        if !self.skipping {
            return true;
        }
        match memchr::memchr(b'\n', self.unread()) {
            Some(end) => self.consume(end + 1, 1),
            None => {
                self.consume(self.unread().len(), u64::from(self.ended));
                if !self.ended {
                    return false;
                }
            }
        }
        self.skipping = false;
        true
    }

    /// Rejects the line at hand and passes it over as it comes, so that a line without end costs no memory.
    fn too_long(&mut self) -> Rejected {
        self.skipping = true;
        self.reject("line_too_long", format!("the line is longer than {LINE_BYTES_MAX} bytes"))
    }

    fn reject(&self, code: &'static str, message: impl Into<String>) -> Rejected {
        Rejected { line: self.line + 1, code, message: message.into() }
    }
}

/// The template's merge fields and their places.
#[derive(Debug)]
struct Fields {
    uses: Vec<FieldUse>,
    places: FxHashMap<String, usize>,
}

impl Fields {
    fn new(uses: &[FieldUse]) -> Self {
        let places = uses.iter().enumerate().map(|(place, field)| (field.name.clone(), place)).collect();
        Self { uses: uses.to_vec(), places }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// One empty place for each field.
    fn empty(&self) -> Vec<Option<String>> {
        vec![None; self.uses.len()]
    }

    /// Makes the entry, or names everything that is wrong with it. Optional fields without a value become "".
    fn entry(&self, input: &Input, address: &str, values: Vec<Option<String>>) -> Line {
        let address = address.trim();
        let address = Address::parse(address).map_err(|error| {
            let shown: String = address.chars().take(100).collect();
            input.reject("invalid_address", format!("`{shown}`: {error}"))
        })?;
        let mut missing = Vec::new();
        let mut filled = Vec::with_capacity(values.len());
        for (value, field) in values.into_iter().zip(&self.uses) {
            match value {
                Some(value) if field.in_header && !is_safe_value(&value) => {
                    let message =
                        format!("{field}: the value holds a line break or another control character");
                    return Err(input.reject("invalid_value", message));
                }
                Some(value) => filled.push(value),
                None if field.required => missing.push(field.to_string()),
                None => filled.push(String::new()),
            }
        }
        if missing.is_empty() {
            return Ok(Entry { address, values: filled });
        }
        Err(input.reject("missing_field", format!("missing: {}", missing.join(", "))))
    }
}

/// The names under which a list may give the recipient's address.
fn is_address_name(name: &str) -> bool {
    ADDRESS_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads `text` in pieces of `piece` bytes: one text per line, `address|value|value` or `line code`.
    /// Of `fields` those with a `?` are optional, those with a `:` stand in a header.
    pub(crate) fn read(
        format: ListFormat,
        fields: &[&str],
        text: &[u8],
        piece: usize,
    ) -> Result<Vec<String>, ListError> {
        let fields: Vec<FieldUse> = fields.iter().map(|name| field(name)).collect();
        let mut reader = ListReader::new(format, &fields);
        let mut seen = Vec::new();
        let mut drain = |reader: &mut ListReader| -> Result<(), ListError> {
            while let Some(line) = reader.next()? {
                seen.push(match line {
                    Ok(entry) => [&[entry.address.to_string()], entry.values.as_slice()].concat().join("|"),
                    Err(rejected) => format!("{} {}", rejected.line, rejected.code),
                });
            }
            Ok(())
        };
        for part in text.chunks(piece) {
            reader.feed(part);
            drain(&mut reader)?;
        }
        reader.end();
        drain(&mut reader)?;
        Ok(seen)
    }

    fn field(name: &str) -> FieldUse {
        FieldUse {
            name: name.trim_end_matches(['?', ':']).to_owned(),
            part: "text".to_owned(),
            line: 1,
            required: !name.ends_with('?'),
            in_header: name.ends_with(':'),
        }
    }

    /// Reads `text` in pieces of all small sizes and at once: always the same must come out.
    pub(crate) fn read_all_ways(
        format: ListFormat,
        fields: &[&str],
        text: &[u8],
    ) -> Result<Vec<String>, ListError> {
        let whole = read(format, fields, text, usize::MAX);
        for piece in 1..=9 {
            assert_eq!(read(format, fields, text, piece), whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn utf_16_is_named() {
        for format in [ListFormat::Ndjson, ListFormat::Csv] {
            let error = read_all_ways(format, &[], b"\xff\xfea\0d\0").expect_err("refused");
            assert_eq!((error.line, error.code), (1, "not_utf8"));
        }
    }

    #[test]
    fn optional_fields_may_be_left_out() {
        let ndjson = b"{\"address\":\"a@x\",\"merge\":{\"n\":1}}";
        assert_eq!(read_all_ways(ListFormat::Ndjson, &["n", "o?"], ndjson).expect("read"), ["a@x|1|"]);
        let csv = b"n,address\n1,a@x\n";
        assert_eq!(read_all_ways(ListFormat::Csv, &["n", "o?"], csv).expect("read"), ["a@x|1|"]);
    }

    #[test]
    fn values_that_go_into_headers_hold_no_line_breaks() {
        let ndjson = b"{\"address\":\"a@x\",\"merge\":{\"n\":\"a\\r\\nBcc: b@x\"}}";
        assert_eq!(read_all_ways(ListFormat::Ndjson, &["n:"], ndjson).expect("read"), ["1 invalid_value"]);
        let csv = b"n,address\n\"a\nb\",a@x\n";
        assert_eq!(read_all_ways(ListFormat::Csv, &["n:"], csv).expect("read"), ["2 invalid_value"]);
    }

    #[test]
    fn an_empty_list_has_no_lines() {
        for text in [&b""[..], b"\n", b"\xef\xbb\xbf", b"\r\n\r\n"] {
            assert_eq!(read_all_ways(ListFormat::Ndjson, &["x"], text), Ok(Vec::new()));
        }
    }
}
