//! A list as CSV (RFC 4180): a header row, quoted fields with line breaks, commas or semicolons or tabs between them.

use content::template::FieldUse;
use memchr::{memchr, memchr2};

use super::{Fields, Input, LINE_BYTES_MAX, Line, ListError, Rejected, is_address_name};

/// Faults of quoting that are forgiven. After each, reading goes back to the line behind the one where the record began,
/// so that a quote that is never closed costs one line and not the rest of the list; the bound keeps a hostile list
/// from being read over and over.
const QUOTE_FAULTS_MAX: u32 = 100;

/// Where the reading of a CSV list stands.
#[derive(Debug, Default)]
pub(super) struct CsvState {
    header: Option<Header>,
    cells: Vec<Cell>,
    quote_faults: u32,
}

/// What the header row says.
#[derive(Debug)]
struct Header {
    delimiter: u8,
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Address,
    Field(usize),
    Unused,
}

/// One value of a record: where it stands in the input, without its quotes.
#[derive(Clone, Copy, Debug)]
struct Cell {
    start: usize,
    end: usize,
    /// Whether it holds doubled quotes.
    escaped: bool,
    quoted: bool,
}

enum Scan {
    /// A whole record, with the bytes and lines that it takes.
    Record { bytes: usize, lines: u64 },
    /// More is needed to know.
    Incomplete { in_quotes: bool },
    /// Text follows a closing quote.
    TextBehindQuote,
}

impl CsvState {
    pub(super) fn next(&mut self, input: &mut Input, fields: &Fields) -> Result<Option<Line>, ListError> {
        while input.skip_rest() && !input.unread().is_empty() {
            let delimiter = match &self.header {
                Some(header) => header.delimiter,
                None => match delimiter_of(input) {
                    Some(delimiter) => delimiter,
                    None => return Ok(None),
                },
            };
            let (bytes, lines) = match scan(input.unread(), input.ended, delimiter, &mut self.cells) {
                Scan::Record { bytes, lines } => (bytes, lines),
                Scan::Incomplete { .. } if !input.ended && input.unread().len() <= LINE_BYTES_MAX => {
                    return Ok(None);
                }
                Scan::Incomplete { in_quotes: false } => return self.too_long(input).map(Some),
                Scan::Incomplete { in_quotes: true } => return self.quote_fault(input, UNCLOSED).map(Some),
                Scan::TextBehindQuote => return self.quote_fault(input, BEHIND_QUOTE).map(Some),
            };
            let line = self.record(input, fields, bytes)?;
            input.consume(bytes, lines);
            if line.is_some() {
                return Ok(line);
            }
        }
        Ok(None)
    }

    /// Makes the header or an entry of the record in `cells`; `None` for the header and for blank lines.
    fn record(&mut self, input: &Input, fields: &Fields, bytes: usize) -> Result<Option<Line>, ListError> {
        let blank = matches!(self.cells.as_slice(), [cell] if !cell.quoted && cell.start == cell.end);
        if blank {
            return Ok(None);
        }
        let Some(header) = &self.header else {
            self.header = Some(read_header(input, fields, bytes, &self.cells)?);
            return Ok(None);
        };
        Ok(Some(read_record(input, fields, bytes, header, &self.cells)))
    }

    fn too_long(&self, input: &mut Input) -> Result<Line, ListError> {
        if self.header.is_none() {
            return Err(fatal(input, "invalid_header", "the header row is too long", None));
        }
        Ok(Err(input.too_long()))
    }

    fn quote_fault(&mut self, input: &mut Input, what: &str) -> Result<Line, ListError> {
        if self.header.is_none() {
            return Err(fatal(input, "invalid_header", &format!("the header row is wrong: {what}"), None));
        }
        self.quote_faults += 1;
        if self.quote_faults > QUOTE_FAULTS_MAX {
            let message = format!("more than {QUOTE_FAULTS_MAX} lines have wrong quotes: {what}");
            return Err(fatal(input, "invalid_csv", &message, None));
        }
        let rejected = input.reject("invalid_quotes", what);
        input.skipping = true;
        Ok(Err(rejected))
    }
}

const UNCLOSED: &str = "a quoted value is not closed";
const BEHIND_QUOTE: &str = "text follows a closing quote; a quote inside a quoted value is written twice";

/// Comma, or what the header row has instead of commas; `None` when the row has not arrived.
fn delimiter_of(input: &Input) -> Option<u8> {
    let unread = input.unread();
    let end = match memchr(b'\n', unread) {
        Some(end) => end,
        None if input.ended || unread.len() > LINE_BYTES_MAX => unread.len(),
        None => return None,
    };
    let row = &unread[..end];
    let found = [b',', b';', b'\t'].into_iter().find(|&delimiter| row.contains(&delimiter));
    Some(found.unwrap_or(b','))
}

/// Finds the first record of `input` and its cells.
fn scan(input: &[u8], ended: bool, delimiter: u8, cells: &mut Vec<Cell>) -> Scan {
    cells.clear();
    let mut at = 0;
    let mut lines = 1;
    loop {
        let end = if input.get(at) == Some(&b'"') {
            match scan_quoted(input, ended, at + 1) {
                Some(cell) => {
                    lines += count_lines(&input[cell.start..cell.end]);
                    cells.push(cell);
                    cell.end + 1
                }
                None => return Scan::Incomplete { in_quotes: true },
            }
        } else {
            let length = memchr2(delimiter, b'\n', &input[at..]);
            let end = match length {
                Some(length) => at + length,
                None if ended => input.len(),
                None => return Scan::Incomplete { in_quotes: false },
            };
            cells.push(Cell {
                start: at,
                end: without_return(input, at, end),
                escaped: false,
                quoted: false,
            });
            end
        };
        match &input[end..] {
            [b'\n', ..] => return Scan::Record { bytes: end + 1, lines },
            [b'\r', b'\n', ..] => return Scan::Record { bytes: end + 2, lines },
            [] | [b'\r'] if ended => return Scan::Record { bytes: input.len(), lines },
            [] | [b'\r'] => return Scan::Incomplete { in_quotes: true },
            [next, ..] if *next == delimiter => at = end + 1,
            _ => return Scan::TextBehindQuote,
        }
    }
}

/// The cell whose first byte behind the quote is at `start`; `None` when its end has not arrived.
fn scan_quoted(input: &[u8], ended: bool, start: usize) -> Option<Cell> {
    let mut escaped = false;
    let mut at = start;
    loop {
        let end = at + memchr(b'"', &input[at..])?;
        match input.get(end + 1) {
            Some(b'"') => {
                escaped = true;
                at = end + 2;
            }
            None if !ended => return None,
            _ => return Some(Cell { start, end, escaped, quoted: true }),
        }
    }
}

fn count_lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// The end of a bare cell, before the carriage return of its line's end.
fn without_return(input: &[u8], start: usize, end: usize) -> usize {
    let at_line_end = input.get(end).is_none_or(|&byte| byte == b'\n');
    if at_line_end && end > start && input[end - 1] == b'\r' { end - 1 } else { end }
}

fn read_header(input: &Input, fields: &Fields, bytes: usize, cells: &[Cell]) -> Result<Header, ListError> {
    let not_utf8 = |_| fatal(input, "not_utf8", "the header row is not UTF-8: save the list as UTF-8", None);
    let text = std::str::from_utf8(&input.unread()[..bytes]).map_err(not_utf8)?;
    let delimiter = delimiter_of(input).unwrap_or(b',');
    let mut columns = Vec::with_capacity(cells.len());
    for cell in cells {
        let name = value(text, cell);
        let name = name.trim();
        let column = match fields.place(name) {
            _ if is_address_name(name) && !columns.contains(&Column::Address) => Column::Address,
            Some(place) => Column::Field(place),
            None => Column::Unused,
        };
        if column != Column::Unused && columns.contains(&column) {
            let message = format!("the header row names the column `{name}` twice");
            return Err(fatal(input, "invalid_header", &message, Some(name)));
        }
        columns.push(column);
    }
    if !columns.contains(&Column::Address) {
        let message = "the header row has no column `address` or `email`";
        return Err(fatal(input, "missing_column", message, Some("address")));
    }
    let lacks =
        |(place, field): &(usize, &FieldUse)| field.required && !columns.contains(&Column::Field(*place));
    match fields.uses.iter().enumerate().find(lacks) {
        Some((_, field)) => {
            let message = format!("the header row has no column for the {field}");
            Err(fatal(input, "missing_column", &message, Some(&field.name)))
        }
        None => Ok(Header { delimiter, columns }),
    }
}

fn read_record(input: &Input, fields: &Fields, bytes: usize, header: &Header, cells: &[Cell]) -> Line {
    let reject = |code, message: String| -> Rejected { input.reject(code, message) };
    if bytes > LINE_BYTES_MAX {
        return Err(reject("line_too_long", format!("the line is longer than {LINE_BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(&input.unread()[..bytes])
        .map_err(|_| reject("not_utf8", "the line is not UTF-8: save the list as UTF-8".to_owned()))?;
    if cells.len() != header.columns.len() {
        let message = format!("the line has {} values, the header row {}", cells.len(), header.columns.len());
        return Err(reject("column_count", message));
    }
    let mut address = None;
    let mut values = fields.empty();
    for (column, cell) in header.columns.iter().zip(cells) {
        match column {
            Column::Address => address = Some(value(text, cell)),
            Column::Field(place) => values[*place] = Some(value(text, cell).into_owned()),
            Column::Unused => {}
        }
    }
    fields.entry(input, address.as_deref().unwrap_or_default(), values)
}

fn value<'t>(text: &'t str, cell: &Cell) -> std::borrow::Cow<'t, str> {
    let value = &text[cell.start..cell.end];
    if cell.escaped { value.replace("\"\"", "\"").into() } else { value.into() }
}

fn fatal(input: &Input, code: &'static str, message: &str, field: Option<&str>) -> ListError {
    ListError { line: input.line + 1, code, message: message.to_owned(), field: field.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::super::ListFormat::Csv;
    use super::super::tests::{read, read_all_ways};
    use super::*;

    #[test]
    fn records_become_entries_in_the_order_of_the_template() {
        for (text, lines) in [
            ("address,a,b\nx@y,1,2\nz@y,3,4\n", &["x@y|1|2", "z@y|3|4"][..]),
            ("b,more,Email,a\r\n2,-,x@y,1\r\n", &["x@y|1|2"]),
            ("\u{feff}address;a;b\r\nx@y;1,5;2", &["x@y|1,5|2"]),
            ("address\ta\tb\nx@y\t1\t", &["x@y|1|"]),
            ("\"address\",\"a\",\"b\"\n\"x@y\",\"say \"\"hi\"\"\",\"2\"\n", &["x@y|say \"hi\"|2"]),
            ("address,a,b\n\nx@y,\"one\r\ntwo\",\"\"\n\r\nz@y,,\n", &["x@y|one\r\ntwo|", "z@y||"]),
            ("address,a,b\nx@y,5\" pipe,2\n", &["x@y|5\" pipe|2"]),
            ("address,a,b\n x@y , 1 ,\"2\"", &["x@y| 1 |2"]),
            ("address,a,b", &[]),
            ("address,a,b\nx@y,\"1\",\"2\"\r", &["x@y|1|2"]),
        ] {
            assert_eq!(read_all_ways(Csv, &["a", "b"], text.as_bytes()).expect(text), lines, "{text:?}");
        }
    }

    #[test]
    fn wrong_records_are_rejected_one_by_one_and_the_rest_goes_on() {
        for (record, wanted) in [
            ("x,1", &["2 invalid_address"][..]),
            (",1", &["2 invalid_address"]),
            ("x@y", &["2 column_count"]),
            ("x@y,1,2", &["2 column_count"]),
            ("x@y,\"1\"2", &["2 invalid_quotes"]),
            ("x@y,\"a\nb\"c", &["2 invalid_quotes", "3 column_count"]),
            ("x@y,\"never closed", &["2 invalid_quotes"]),
            ("\"x\ny\",1", &["2 invalid_address"]),
        ] {
            let text = format!("address,a\n{record}\nok@y,1\n");
            let lines = read_all_ways(Csv, &["a"], text.as_bytes()).expect("read");
            let wanted: Vec<String> =
                wanted.iter().map(|&w| w.to_owned()).chain(["ok@y|1".to_owned()]).collect();
            assert_eq!(lines, wanted, "{record:?}");
        }
    }

    #[test]
    fn line_numbers_count_the_lines_inside_of_values() {
        let text = b"address,a\nx@y,\"1\n2\n3\"\nwrong,1\n\nwrong,2\n";
        let lines = read_all_ways(Csv, &["a"], text).expect("read");
        assert_eq!(lines, ["x@y|1\n2\n3", "5 invalid_address", "7 invalid_address"]);
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_rejected() {
        let lines = read_all_ways(Csv, &["a"], b"address,a\nx@y,caf\xe9\nz@y,caf\xc3\xa9\n").expect("read");
        assert_eq!(lines, ["2 not_utf8", "z@y|caf\u{e9}"]);
    }

    #[test]
    fn a_wrong_header_refuses_the_list() {
        for (text, code, field) in [
            ("name,a\nx@y,1\n", "missing_column", Some("address")),
            ("address,b\nx@y,1\n", "missing_column", Some("a")),
            ("address,a,a\nx@y,1\n", "invalid_header", Some("a")),
            ("address,\"a\nx@y,1\n", "invalid_header", None),
        ] {
            let error = read_all_ways(Csv, &["a"], text.as_bytes()).expect_err(text);
            assert_eq!((error.line, error.code, error.field.as_deref()), (1, code, field), "{text}");
        }
    }

    #[test]
    fn a_record_without_end_costs_one_line() {
        let mut text = b"address,a\nx@y,\"open\n".to_vec();
        for _ in 0..20_000 {
            text.extend_from_slice(b"ok@y,1\n");
        }
        let lines = read(Csv, &["a"], &text, 8192).expect("read");
        assert_eq!(lines[0], "2 invalid_quotes");
        assert_eq!(lines.len(), 20_001);

        let mut text = b"address,a\nx@y,".to_vec();
        text.extend_from_slice(&vec![b'v'; LINE_BYTES_MAX * 3]);
        text.extend_from_slice(b"\nok@y,1\n");
        for piece in [1000, 70_000, usize::MAX] {
            assert_eq!(read(Csv, &["a"], &text, piece).expect("read"), ["2 line_too_long", "ok@y|1"]);
        }
    }

    #[test]
    fn a_list_of_wrong_quotes_is_given_up() {
        let text = format!("address,a\n{}", "x@y,\"1\"2\n".repeat(200));
        let error = read(Csv, &["a"], text.as_bytes(), 4096).expect_err("given up");
        assert_eq!((error.line, error.code), (102, "invalid_csv"));
    }
}
