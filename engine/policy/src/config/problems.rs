//! What is wrong with a configuration file, each with its place, likely cause and cure.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the engine starts in spite of it.
    pub severity: Severity,
    /// The file as it was named.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The key in dotted form, such as `smtp_listener.address`; empty when the fault is not at a key.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// The likely cause.
    pub cause: String,
    /// What to do.
    pub cure: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, and probably does not do what is meant.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}\n  cause: {}\n  cure:  {}", self.what, self.cause, self.cure)
    }
}

/// What is wrong, why, and what to do: a problem before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) what: String,
    pub(crate) cause: String,
    pub(crate) cure: String,
}

impl Complaint {
    pub(crate) fn new(what: impl Into<String>, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what: what.into(), cause: cause.into(), cure: cure.into() }
    }
}

/// What the TOML reader says of a key or section that is written twice.
pub(crate) const DUPLICATE: &str = "duplicate key";

/// Gathers the problems of one file.
pub(crate) struct Problems<'a> {
    file: &'a str,
    /// Byte offset at which each line begins.
    line_starts: Vec<usize>,
    /// Lines that are not TOML: what else seems wrong there only follows from that.
    broken_lines: Vec<usize>,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(file: &'a str, text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, line_starts, broken_lines: Vec::new(), found: Vec::new() }
    }

    pub(crate) fn error(&mut self, place: &Place, complaint: Complaint) {
        self.push(Severity::Error, place, complaint);
    }

    pub(crate) fn warning(&mut self, place: &Place, complaint: Complaint) {
        self.push(Severity::Warning, place, complaint);
    }

    /// A line that is not TOML.
    pub(crate) fn syntax(&mut self, span: Range<usize>, message: &str) {
        let place = Place::new(span, "");
        let line = self.line_at(place.offset);
        if self.broken_lines.contains(&line) {
            return;
        }
        let (cause, cure) = match message {
            DUPLICATE => ("the same key or section is written twice", "remove one of the two"),
            _ => (
                "a quote, bracket or equals sign is missing or too many",
                "text is written in quotes, lists in brackets, as in `key = [\"a\", \"b\"]`",
            ),
        };
        self.error(&place, Complaint::new(message, cause, cure));
        self.broken_lines.push(line);
    }

    /// A key that must be written and is not; not said when it may be on a broken line.
    pub(crate) fn missing(&mut self, place: &Place, complaint: Complaint) {
        if self.broken_lines.is_empty() {
            self.error(place, complaint);
        }
    }

    /// The line of a byte offset, counted from 1.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    fn push(&mut self, severity: Severity, place: &Place, complaint: Complaint) {
        let Complaint { what, cause, cure } = complaint;
        let line = self.line_at(place.offset);
        if self.broken_lines.contains(&line) {
            return;
        }
        self.found.push(Problem {
            severity,
            file: self.file.to_owned(),
            line,
            key: place.key.clone(),
            what,
            cause,
            cure,
        });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All of them, in the order of their lines.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by(|a, b| (a.line, a.severity, &a.key).cmp(&(b.line, b.severity, &b.key)));
        self.found
    }
}

/// Where in the file, and at which key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) key: String,
}

impl Place {
    pub(crate) fn new(span: Range<usize>, key: impl Into<String>) -> Self {
        Self { offset: span.start, key: key.into() }
    }

    /// The same place, at a key below.
    pub(crate) fn below(&self, key: &str) -> Self {
        Self { offset: self.offset, key: format!("{}.{key}", self.key) }
    }
}

/// The candidate that `text` was most likely meant to be; `None` when none is near.
pub(crate) fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (text.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= allowed || related(text, candidate))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Whether one is a word of the other, as in `max_message` and `message`.
fn related(text: &str, candidate: &str) -> bool {
    let (short, long) = if text.len() < candidate.len() { (text, candidate) } else { (candidate, text) };
    short.len() >= 4 && long.contains(short)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_meant() {
        let keys = ["address", "trusted", "tls", "auth", "max_message", "max_connections", "cert_file"];
        for (text, expected) in [
            ("adress", Some("address")),
            ("trusted_networks", Some("trusted")),
            ("TLS", Some("tls")),
            ("max_messages", Some("max_message")),
            ("message", Some("max_message")),
            ("cert", Some("cert_file")),
            ("uath", Some("auth")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, keys), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_counted_from_one() {
        let mut problems = Problems::new("f", "a\nbc\n");
        for (offset, line) in [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (99, 3)] {
            problems.error(&Place { offset, key: String::new() }, Complaint::new("", "", ""));
            assert_eq!(problems.found.last().map(|problem| problem.line), Some(line), "{offset}");
        }
    }
}
