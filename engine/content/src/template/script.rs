//! The parts of a template that are more than plain fields: compiled once, run by minijinja with a limit on work and
//! on output. It refuses unknown filters, tests and calls when it compiles, not when the mail goes out.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind};

use super::TemplateError;
use super::scan::{self, Tag, Use};

/// Steps a script may take for one recipient: one for an instruction and one for 64 bytes read or put out, as minijinja
/// counts them. A newsletter with loops takes some thousands; the limit also keeps its output below 6.4 MB.
const FUEL: u64 = 100_000;

/// All scripts of a template.
pub(super) struct Scripts {
    environment: Environment<'static>,
    count: usize,
    /// Functions that are called somewhere: no field can have such a name.
    called: BTreeSet<String>,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        // `keep_trailing_newline` alone differs from the defaults, so that building cannot fail.
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            environment.set_syntax(syntax);
        }
        Self { environment, count: 0, called: BTreeSet::new() }
    }

    /// Compiles `source`; gives the script's name and its undeclared names.
    pub(super) fn add(
        &mut self,
        part: &str,
        source: &str,
        html: bool,
    ) -> Result<(String, BTreeSet<String>), TemplateError> {
        let name = format!("{}.{}", self.count, if html { "html" } else { "txt" });
        self.count += 1;
        let refuse = |error: minijinja::Error| TemplateError {
            part: part.to_owned(),
            line: error.line().unwrap_or(1),
            message: explain(&error),
        };
        self.environment.add_template_owned(name.clone(), source.to_owned()).map_err(refuse)?;
        let tags = scan::tags(source).unwrap_or_default();
        self.check_names(part, source, &tags)?;
        let calls = tags.iter().flat_map(scan::uses).filter_map(|found| match found {
            Use::Call(name) => Some(name.to_owned()),
            _ => None,
        });
        self.called.extend(calls);
        let template = self.environment.get_template(&name).map_err(refuse)?;
        let undeclared = template.undeclared_variables(true);
        let fields: BTreeSet<String> =
            undeclared.into_iter().filter(|name| !self.called.contains(name)).collect();
        if let Some(dotted) = fields.iter().find(|name| name.contains('.')) {
            let root = dotted.split('.').next().unwrap_or_default();
            let message =
                format!("merge fields are plain text without parts: `{dotted}` cannot be looked up");
            return Err(TemplateError {
                part: part.to_owned(),
                line: scan::line_of_name(source, &tags, root),
                message,
            });
        }
        Ok((name, fields))
    }

    /// Whether some script calls a function of this name.
    pub(super) fn calls(&self, name: &str) -> bool {
        self.called.contains(name)
    }

    /// Whether every filter, test and function is one that exists.
    fn check_names(&self, part: &str, source: &str, tags: &[Tag<'_>]) -> Result<(), TemplateError> {
        let functions: BTreeSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let mut state = self.environment.empty_state();
        for tag in tags {
            for found in scan::uses(tag) {
                let message = match found {
                    Use::Filter(name) if is(state.apply_filter(name, &[]), ErrorKind::UnknownFilter) => {
                        format!("there is no filter `{name}`")
                    }
                    Use::Test(name) if is(state.perform_test(name, &[]), ErrorKind::UnknownTest) => {
                        format!("there is no test `{name}`")
                    }
                    Use::Call(name) if !functions.contains(name) => format!("there is no function `{name}`"),
                    Use::Method(name) => {
                        format!("there is no method `{name}`: use a filter, as in `x|{name}`")
                    }
                    _ => continue,
                };
                return Err(TemplateError {
                    part: part.to_owned(),
                    line: scan::line_of(source, tag.start),
                    message,
                });
            }
        }
        Ok(())
    }

    /// Runs a script.
    pub(super) fn run(&self, name: &str, context: &Value) -> Result<String, String> {
        let template = self.environment.get_template(name).map_err(|error| explain_run(&error))?;
        template.render(context).map_err(|error| explain_run(&error))
    }
}

/// The names that `tags` are prepared to find missing.
pub(super) fn optional_names(tags: &[Tag<'_>]) -> BTreeSet<String> {
    let name = |found| match found {
        Use::Optional(name) => Some(name.to_owned()),
        _ => None,
    };
    tags.iter().flat_map(scan::uses).filter_map(name).collect()
}

/// The values as scripts see them; line ends are LF, as in the source.
pub(super) fn context<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let map: BTreeMap<&str, Value> = values
        .map(|(name, value)| {
            let value = match value.contains('\r') {
                true => Value::from(value.replace("\r\n", "\n").replace('\r', "\n")),
                false => Value::from(value),
            };
            (name, value)
        })
        .collect();
    Value::from(map)
}

fn is<T>(result: Result<T, minijinja::Error>, kind: ErrorKind) -> bool {
    result.is_err_and(|error| error.kind() == kind)
}

/// The error in words.
fn explain(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("takes more than {FUEL} steps or puts out too much"),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

/// The error in words, with its line where it has one.
fn explain_run(error: &minijinja::Error) -> String {
    match error.line() {
        Some(line) => format!("line {line}: {}", explain(error)),
        None => explain(error),
    }
}
