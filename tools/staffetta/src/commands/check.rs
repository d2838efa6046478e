//! `staffetta check`: every problem of a configuration and of this host, at once.

use std::path::{Path, PathBuf};

use clap::Args;
use policy::config::{Config, Problem, Severity};

use crate::Silent;
use crate::ui::{self, human, paint::Paint};

mod host;

/// Options of `check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
    /// Check the file alone, not this host's addresses, keys and directories
    #[arg(long)]
    no_host: bool,
}

impl Check {
    /// Prints every problem.
    ///
    /// # Errors
    /// When there is an error among them.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let checked = crate::config::check(&self.config)?;
        let mut problems = checked.problems;
        if let (Some(config), false) = (&checked.config, self.no_host) {
            problems.extend(host::check(config, &self.config));
        }
        let errors = count(&problems, Severity::Error);
        let warnings = count(&problems, Severity::Warning);
        if self.json {
            ui::json(&to_json(&problems, errors))?;
        } else {
            let summary = summary(&self.config, checked.config.as_ref(), errors, warnings);
            ui::out(&render(&problems, &summary, errors > 0))?;
        }
        if errors > 0 { Err(anyhow::Error::new(Silent)) } else { Ok(()) }
    }
}

fn count(problems: &[Problem], severity: Severity) -> usize {
    problems.iter().filter(|problem| problem.severity == severity).count()
}

fn render(problems: &[Problem], summary: &str, failed: bool) -> String {
    let paint = Paint::stdout();
    let mut text = String::new();
    for problem in problems {
        text.push_str(problem.to_string().trim_end());
        text.push_str("\n\n");
    }
    text.push_str(&if failed { paint.red(summary) } else { paint.green(summary) });
    text.push('\n');
    text
}

fn summary(file: &Path, config: Option<&Config>, errors: usize, warnings: usize) -> String {
    let file = file.display();
    if errors > 0 {
        let errors = human::plural(errors as u64, "error");
        return format!("{file}: {errors}, {}", human::plural(warnings as u64, "warning"));
    }
    let content = config.map_or_else(String::new, |config| {
        let listeners = human::plural(config.listeners.len() as u64, "listener");
        let sources = human::plural(config.sources.len() as u64, "source");
        format!(" ({listeners}, {sources}, {})", human::plural(config.routes.len() as u64, "route"))
    });
    match warnings {
        0 => format!("{file} is good{content}"),
        warnings => format!("{file} will do{content}, with {}", human::plural(warnings as u64, "warning")),
    }
}

fn to_json(problems: &[Problem], errors: usize) -> serde_json::Value {
    let problems: Vec<serde_json::Value> = problems
        .iter()
        .map(|problem| {
            serde_json::json!({
                "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
                "file": problem.file, "line": problem.line, "key": problem.key,
                "what": problem.what, "cause": problem.cause, "cure": problem.cure,
            })
        })
        .collect();
    serde_json::json!({ "ok": errors == 0, "problems": problems })
}
