//! Reads transcript files: cases of lines, each with a letter for who speaks.
//!
//! ```text
//! == name of the case: a fact
//! % key=value key=value          settings of the case
//! # why                           a remark
//! C: text                         a line with CRLF; `\r \n \0 \s \xNN` are escapes, `\c` at the end: no CRLF
//! ```

use std::path::Path;

/// One case of a file.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) lines: Vec<Line>,
}

/// One line: who or what, the text, and where it stands in its file.
pub(crate) struct Line {
    pub(crate) kind: char,
    pub(crate) text: String,
    pub(crate) number: usize,
}

impl Case {
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.setting(key) == Some("yes")
    }
}

/// All cases of `tests/transcripts/<name>.txt`.
pub(crate) fn cases(name: &str) -> Vec<Case> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name).with_extension("txt");
    let text = std::fs::read_to_string(&path).expect("the transcript file is part of the crate");
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.to_owned(), settings: Vec::new(), lines: Vec::new() });
            continue;
        }
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let case = cases.last_mut().expect("a file begins with a case");
        if let Some(settings) = line.strip_prefix("% ") {
            let pairs = settings.split_whitespace().filter_map(|word| word.split_once('='));
            case.settings.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
            continue;
        }
        let (kind, text) = line.split_once(':').unwrap_or_else(|| panic!("line {}: {line:?}", index + 1));
        let kind = kind.chars().next().expect("a line names its kind");
        let text = text.strip_prefix(' ').unwrap_or(text).to_owned();
        case.lines.push(Line { kind, text, number: index + 1 });
    }
    assert!(!cases.is_empty(), "{name} has cases");
    cases
}

/// The bytes that a line stands for, with CRLF unless it ends with `\c`.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    match text.strip_suffix("\\c") {
        Some(part) => unescape(part),
        None => [unescape(text), b"\r\n".to_vec()].concat(),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let kind = rest.as_bytes()[at + 1];
        let (byte, length) = match kind {
            b'r' => (b'\r', 2),
            b'n' => (b'\n', 2),
            b'0' => (0, 2),
            b's' => (b' ', 2),
            b'x' => (u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two hex digits"), 4),
            _ => panic!("unknown escape in {text:?}"),
        };
        bytes.push(byte);
        rest = &rest[at + length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Writes bytes so that they can be compared with a transcript.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .flat_map(|c| match c {
            '\r' => vec!['\\', 'r'],
            '\n' => vec!['\\', 'n'],
            '\0' => vec!['\\', '0'],
            c => vec![c],
        })
        .collect()
}

/// Splits sent bytes into lines as a transcript has them.
pub(crate) fn sent_lines(bytes: &[u8]) -> Vec<String> {
    let text = escape(bytes);
    let mut lines: Vec<String> = text.split("\\r\\n").map(str::to_owned).collect();
    match lines.pop() {
        Some(last) if !last.is_empty() => lines.push(format!("{last}\\c")),
        _ => {}
    }
    lines
}
