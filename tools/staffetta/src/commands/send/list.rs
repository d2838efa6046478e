//! Reads a list of recipients in batches of raw lines. It splits and counts; what the lines mean is for the engine to say.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use console::list::{Entry, LINE_BYTES_MAX, ListFormat, ListReader, Rejected};
use content::template::FieldUse;

/// Recipients sent in one request: what the engine takes as one, so that a request is carried out whole or not at all
/// and a refused one can be repeated.
pub(crate) const BATCH_RECIPIENTS_MAX: usize = 1_000;
/// A line longer than this is not part of a list.
const LONGEST_LINE_BYTES: usize = 1 << 20;

/// The two formats of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A header row, then one recipient per record.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl Format {
    /// The format that a file name tells.
    ///
    /// # Errors
    /// When its ending is unknown.
    pub(crate) fn of(file: &Path) -> anyhow::Result<Self> {
        match extension(file).as_str() {
            "csv" => Ok(Self::Csv),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            _ => bail!("{}: a list of recipients is a .csv or an .ndjson file", file.display()),
        }
    }

    /// The media type of a batch.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// The lower-case ending of a file name.
pub(crate) fn extension(file: &Path) -> String {
    file.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Raw records of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The body: for CSV with the header row in front.
    pub(crate) body: Vec<u8>,
    /// Records in it.
    pub(crate) recipients: u64,
    /// What to add to a line number of the body to get the line of the file.
    pub(crate) line_offset: u64,
}

/// A list being read.
pub(crate) struct List<R = BufReader<File>> {
    format: Format,
    source: R,
    /// The header row of a CSV file, with its line end.
    header: Vec<u8>,
    columns: Vec<String>,
    delimiter: u8,
    /// Lines read so far.
    lines: u64,
    bytes: u64,
}

impl List {
    /// Opens `file` and checks its header row.
    ///
    /// # Errors
    /// When it cannot be read, or is no list.
    pub(crate) fn open(file: &Path) -> anyhow::Result<Self> {
        let source =
            File::open(file).with_context(|| format!("the list {} cannot be read", file.display()))?;
        let list = Self::new(Format::of(file)?, BufReader::with_capacity(1 << 20, source));
        list.with_context(|| format!("{}", file.display()))
    }
}

impl<R: BufRead> List<R> {
    /// A list that comes from `source`.
    ///
    /// # Errors
    /// When the header row has no address or says a name twice.
    pub(crate) fn new(format: Format, source: R) -> anyhow::Result<Self> {
        let mut list = Self {
            format,
            source,
            header: Vec::new(),
            columns: Vec::new(),
            delimiter: b',',
            lines: 0,
            bytes: 0,
        };
        list.skip_byte_order_mark()?;
        if format == Format::Csv {
            list.read_header()?;
        }
        Ok(list)
    }

    /// The format.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// Bytes read so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines read so far.
    pub(crate) const fn lines(&self) -> u64 {
        self.lines
    }

    /// Passes over the first lines of the file, the header row included.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub(crate) fn skip_lines(&mut self, lines: u64) -> anyhow::Result<()> {
        let mut passed = Vec::new();
        while self.lines < lines {
            passed.clear();
            if !self.record(&mut passed)? {
                break;
            }
        }
        Ok(())
    }

    /// Checks that the header row names every one of these merge fields. NDJSON has none: each line is checked by the engine.
    ///
    /// # Errors
    /// When columns are missing, with all of their names.
    pub(crate) fn check_fields(&self, fields: &[FieldUse]) -> anyhow::Result<()> {
        let is_missing = |field: &&FieldUse| {
            field.required && !self.columns.contains(&field.name) && !is_address_column(&field.name)
        };
        let missing: Vec<&str> = fields.iter().filter(is_missing).map(|field| field.name.as_str()).collect();
        if self.format == Format::Ndjson || missing.is_empty() {
            return Ok(());
        }
        let columns =
            if self.columns.is_empty() { "none but the address".to_owned() } else { self.columns.join(", ") };
        bail!(
            "the template wants `{}`, and the list has no such column (it has {columns})",
            missing.join("`, `")
        )
    }

    /// The next records, at most `max`; none at the end.
    ///
    /// # Errors
    /// When the source cannot be read or a record has no end.
    pub(crate) fn batch(&mut self, max: usize) -> anyhow::Result<Option<Batch>> {
        let mut batch = Batch { body: self.header.clone(), recipients: 0, line_offset: 0 };
        let header_lines = u64::from(!self.header.is_empty());
        batch.line_offset = self.lines - header_lines;
        while batch.recipients < max as u64 {
            let start = batch.body.len();
            if !self.record(&mut batch.body)? {
                break;
            }
            let blank = batch.body[start..].trim_ascii().is_empty();
            batch.recipients += u64::from(!blank);
        }
        Ok((batch.recipients > 0).then_some(batch))
    }

    /// Reads one record, which for CSV may span lines; false at the end. A quote that is not closed within the
    /// longest record that the engine takes opens nothing: the engine will reject that line and go on.
    fn record(&mut self, body: &mut Vec<u8>) -> anyhow::Result<bool> {
        let start = body.len();
        let mut quoting = Quoting { quoted: false, delimiter: self.delimiter };
        loop {
            let line_start = body.len();
            let read = self.source.by_ref().take(LONGEST_LINE_BYTES as u64).read_until(b'\n', body)?;
            if read == 0 {
                return Ok(body.len() > start);
            }
            self.bytes += read as u64;
            self.lines += 1;
            ensure!(read < LONGEST_LINE_BYTES, "line {} is longer than 1 MiB: this is no list", self.lines);
            if body.last() != Some(&b'\n') {
                body.push(b'\n');
            }
            let open = self.format == Format::Csv && quoting.open_after(&body[line_start..]);
            if !open || body.len() - start > LINE_BYTES_MAX {
                return Ok(true);
            }
        }
    }

    fn skip_byte_order_mark(&mut self) -> anyhow::Result<()> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.source.fill_buf()?.starts_with(MARK) {
            self.source.consume(MARK.len());
            self.bytes += MARK.len() as u64;
        }
        Ok(())
    }

    fn read_header(&mut self) -> anyhow::Result<()> {
        let mut header = Vec::new();
        ensure!(self.record(&mut header)?, "the list is empty: its first row must name the columns");
        self.delimiter = delimiter_of(&header);
        self.columns = merge_columns(&header, self.delimiter)?;
        self.header = header;
        Ok(())
    }

    /// Reads the rest of the list as the engine would, for a template with these merge fields.
    ///
    /// # Errors
    /// When the list cannot be read from some line on.
    pub(crate) fn examine(mut self, fields: &[FieldUse], entries_max: usize) -> anyhow::Result<Examined> {
        let format = match self.format {
            Format::Csv => ListFormat::Csv,
            Format::Ndjson => ListFormat::Ndjson,
        };
        let mut reader = ListReader::new(format, fields);
        let mut examined = Examined::default();
        reader.feed(&self.header);
        loop {
            let mut piece = Vec::new();
            while piece.len() < LINE_BYTES_MAX && self.record(&mut piece)? {}
            if piece.is_empty() {
                reader.end();
            }
            reader.feed(&piece);
            while let Some(line) = reader.next()? {
                examined.add(line, entries_max);
            }
            if piece.is_empty() {
                return Ok(examined);
            }
        }
    }
}

/// What the engine would say of a list.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Lines that it would accept.
    pub(crate) good: u64,
    /// Lines that it would not.
    pub(crate) bad: u64,
    /// The first good ones.
    pub(crate) entries: Vec<Entry>,
    /// The first bad ones.
    pub(crate) rejected: Vec<Rejected>,
}

/// Rejected lines that are shown.
pub(crate) const REJECTED_SHOWN_MAX: usize = 20;

impl Examined {
    fn add(&mut self, line: Result<Entry, Rejected>, entries_max: usize) {
        match line {
            Ok(entry) => {
                self.good += 1;
                if self.entries.len() < entries_max {
                    self.entries.push(entry);
                }
            }
            Err(rejected) => {
                self.bad += 1;
                if self.rejected.len() < REJECTED_SHOWN_MAX {
                    self.rejected.push(rejected);
                }
            }
        }
    }
}

/// Where a CSV reader stands with its quotes.
struct Quoting {
    quoted: bool,
    delimiter: u8,
}

impl Quoting {
    /// Reads one line; true when a quoted field is still open at its end.
    fn open_after(&mut self, line: &[u8]) -> bool {
        let mut field_starts = !self.quoted;
        let mut bytes = line.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match (self.quoted, byte) {
                (true, b'"') if bytes.peek() == Some(&b'"') => {
                    bytes.next();
                }
                (true, b'"') => self.quoted = false,
                (false, b'"') if field_starts => self.quoted = true,
                _ => {}
            }
            field_starts = !self.quoted && byte == self.delimiter;
        }
        self.quoted
    }
}

/// Comma, or what the header row has instead of commas.
fn delimiter_of(header: &[u8]) -> u8 {
    [b',', b';', b'\t'].into_iter().find(|delimiter| header.contains(delimiter)).unwrap_or(b',')
}

fn merge_columns(header: &[u8], delimiter: u8) -> anyhow::Result<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(header);
    let record = reader.records().next().context("the list has no header row")?.context("the header row")?;
    let names: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
    let is_address = |name: &String| is_address_column(name);
    let addresses = names.iter().filter(|name| is_address(name)).count();
    if addresses == 0 && names.iter().any(|name| name.contains('@')) {
        bail!("the first row holds an address; it must name the columns, as in `email,name`");
    }
    ensure!(addresses > 0, "no column is named `address` or `email`; the columns are: {}", names.join(", "));
    ensure!(addresses == 1, "several columns are named `address` or `email`; keep one");
    for (place, name) in names.iter().enumerate() {
        ensure!(!name.is_empty(), "column {} has no name", place + 1);
        ensure!(!names[..place].contains(name), "two columns are named `{name}`");
    }
    Ok(names.into_iter().filter(|name| !is_address_column(name)).collect())
}

fn is_address_column(name: &str) -> bool {
    name.eq_ignore_ascii_case("address") || name.eq_ignore_ascii_case("email")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> FieldUse {
        FieldUse { name: name.into(), part: "text".into(), line: 1, required: true, in_header: false }
    }

    fn csv(text: &str) -> anyhow::Result<List<&[u8]>> {
        List::new(Format::Csv, text.as_bytes())
    }

    #[test]
    fn header_rows_are_checked() {
        for (text, complaint) in [
            ("", "is empty"),
            ("name,city\n", "no column is named"),
            ("ann@x.test,Ann\n", "holds an address"),
            ("email,address\n", "several columns"),
            ("email,name,name\n", "two columns are named `name`"),
            ("email,,name\n", "column 2 has no name"),
        ] {
            let error = csv(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(complaint), "{text:?}: {error:?}");
        }
        let list = csv("\u{feff}Email, name ,city\r\n").expect("a good header");
        assert_eq!(list.columns, ["name", "city"]);
        assert!(list.check_fields(&[field("city"), field("email")]).is_ok());
        let error = list.check_fields(&[field("city"), field("town")]).expect_err("no town").to_string();
        assert!(error.contains("`town`") && error.contains("name, city"), "{error}");
    }

    #[test]
    fn batches_repeat_the_header_and_know_their_lines() {
        let mut list = csv("email,name\na@x,A\n\nb@x,\"B\nB\"\nc@x,C").expect("a list");
        let first = list.batch(2).expect("read").expect("records");
        assert_eq!(String::from_utf8_lossy(&first.body), "email,name\na@x,A\n\nb@x,\"B\nB\"\n");
        assert_eq!((first.recipients, first.line_offset), (2, 0));
        let second = list.batch(2).expect("read").expect("records");
        assert_eq!(String::from_utf8_lossy(&second.body), "email,name\nc@x,C\n");
        // Line 2 of this body is line 6 of the file.
        assert_eq!((second.recipients, second.line_offset), (1, 4));
        assert_eq!(list.batch(2).expect("read"), None);
    }

    #[test]
    fn quotes_inside_plain_fields_open_nothing() {
        let mut list =
            csv("email,size\na@x,5\" pipe\nb@x,\"say \"\"hi\"\", then\"\nc@x,\"\"\n").expect("a list");
        let batch = list.batch(10).expect("read").expect("records");
        assert_eq!(batch.recipients, 3);
    }

    #[test]
    fn other_delimiters_are_understood() {
        let mut list = csv("email;name\na@x;\"A;\nB\"\nb@x;\"B\"\n").expect("a list");
        assert_eq!(list.columns, ["name"]);
        let batch = list.batch(1).expect("read").expect("records");
        assert_eq!(String::from_utf8_lossy(&batch.body), "email;name\na@x;\"A;\nB\"\n");
    }

    #[test]
    fn json_lines_have_no_header() {
        let text = "{\"address\":\"a@x\",\"merge\":{\"n\":1,\"s\":\"t\"}}\n{\"address\":\"b@x\"}\n";
        let mut list = List::new(Format::Ndjson, text.as_bytes()).expect("a list");
        let batch = list.batch(1).expect("read").expect("records");
        assert_eq!((batch.recipients, batch.line_offset), (1, 0));
        let batch = list.batch(1).expect("read").expect("records");
        assert_eq!((batch.recipients, batch.line_offset), (1, 1));
    }

    #[test]
    fn lists_are_examined_as_the_engine_would() {
        let list = csv("email,n\na@x,1\nwrong,2\nb@x,\"3\n3\"\nc@x,4\n").expect("a list");
        let examined = list.examine(&[field("n")], 2).expect("read");
        assert_eq!((examined.good, examined.bad), (3, 1));
        assert_eq!(examined.rejected[0].line, 3);
        assert_eq!(examined.entries[1].values, ["3\n3"]);
    }

    #[test]
    fn a_quote_that_never_ends_opens_nothing() {
        let text = format!("email,n\na@x,\"open\n{}", "b@x,1\n".repeat(50_000));
        let mut list = csv(&text).expect("the header is fine");
        let mut batches = 0;
        while list.batch(5_000).expect("read").is_some() {
            batches += 1;
        }
        assert!(batches >= 8, "{batches}");
        let endless = format!("email,n\n{}", "x".repeat(2 << 20));
        let error = csv(&endless).expect("the header is fine").batch(1).expect_err("no line").to_string();
        assert!(error.contains("line 2 is longer than 1 MiB"), "{error}");
    }

    #[test]
    fn formats_follow_the_file_name() {
        assert_eq!(Format::of(Path::new("a/b.CSV")).expect("csv"), Format::Csv);
        assert_eq!(Format::of(Path::new("b.ndjson")).expect("ndjson"), Format::Ndjson);
        assert!(Format::of(Path::new("b.xlsx")).is_err());
    }
}
