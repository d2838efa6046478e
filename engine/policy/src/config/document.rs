//! The text as a TOML document, as far as it can be read. Knows nothing of sections and keys.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeTable;

use super::problems::{DUPLICATE, Problems};

/// The document, as far as it is TOML.
pub(super) fn parsed<'t>(text: &'t str, problems: &mut Problems<'_>) -> Spanned<DeTable<'t>> {
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in faults {
        problems.syntax(fault.span().unwrap_or_default(), fault.message());
    }
    document
}

/// Rounds in which broken headings are looked for; each finds all that the ones before it hid.
const HEADING_ROUNDS: usize = 8;

/// The text with spaces for each section whose heading is broken. Its keys would be taken for another section's, and what
/// follows for written twice.
pub(super) fn without_broken_sections<'t>(text: &'t str, problems: &mut Problems<'_>) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..HEADING_ROUNDS {
        let (_, faults) = DeTable::parse_recoverable(&text);
        let is_heading = |offset: usize| line_around(&text, offset).trim_start().starts_with('[');
        let broken = |fault: &toml::de::Error| {
            let span = fault.span().unwrap_or_default();
            (is_heading(span.start) && fault.message() != DUPLICATE)
                .then_some((span, fault.message().to_owned()))
        };
        let broken: Vec<_> = faults.iter().filter_map(broken).collect();
        if broken.is_empty() {
            break;
        }
        let lines: Vec<usize> = broken.iter().map(|(span, _)| problems.line_at(span.start)).collect();
        broken.into_iter().for_each(|(span, message)| problems.syntax(span, &message));
        text = Cow::Owned(blanked(&text, &lines));
    }
    text
}

/// The line that holds the byte at `offset`.
fn line_around(text: &str, offset: usize) -> &str {
    let begin = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    text.get(begin..).unwrap_or_default().lines().next().unwrap_or_default()
}

/// The text with spaces for the sections that begin on these lines (counted from 1); offsets stay as they are.
fn blanked(text: &str, headings: &[usize]) -> String {
    let mut blank = false;
    let mut result = String::with_capacity(text.len());
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if line.trim_start().starts_with('[') {
            blank = headings.contains(&number);
        }
        if blank {
            result.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            result.push_str(line);
        }
    }
    result
}
