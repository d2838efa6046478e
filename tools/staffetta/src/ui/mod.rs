//! What a person sees: numbers, tables, colours and progress bars. It formats; it asks nobody anything.

pub(crate) mod human;
pub(crate) mod paint;
pub(crate) mod progress;
pub(crate) mod table;

use std::io::{self, Write};

/// Writes `text` to stdout. A closed pipe (`| head`) comes back as an error that `main` turns into a quiet end.
pub(crate) fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes `text` and a line end to stdout.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Writes one line of JSON to stdout.
pub(crate) fn json(value: &serde_json::Value) -> io::Result<()> {
    line(&value.to_string())
}
