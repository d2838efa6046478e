//! Reads a configuration file; what is wrong with it comes back as one error that lists every problem.

use std::path::Path;

use anyhow::{Context, bail};
use policy::config::{Checked, Config, Severity};

/// Reads and checks `file`.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn check(file: &Path) -> anyhow::Result<Checked> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the configuration {} cannot be read", file.display()))?;
    Ok(policy::config::check(&file.display().to_string(), &text))
}

/// The configuration in `file`.
///
/// # Errors
/// When it cannot be read, or has errors: all of them are in the text.
pub(crate) fn load(file: &Path) -> anyhow::Result<Config> {
    let checked = check(file)?;
    let errors: Vec<String> = checked
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    match checked.config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => bail!("the configuration {} is wrong:\n{}", file.display(), errors.join("\n")),
    }
}
