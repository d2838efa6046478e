//! Colour for terminals that want it: none when the output is piped, `NO_COLOR` is set or the terminal is dumb.

use std::io::IsTerminal;

/// Whether and how to colour one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// The paint for stdout.
    pub(crate) fn stdout() -> Self {
        Self { on: std::io::stdout().is_terminal() && wanted() }
    }

    /// The paint for stderr.
    pub(crate) fn stderr() -> Self {
        Self { on: std::io::stderr().is_terminal() && wanted() }
    }

    /// No colour at all.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { on: false }
    }

    /// Headings.
    pub(crate) fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// What matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    /// Good news.
    pub(crate) fn green(self, text: &str) -> String {
        self.code("32", text)
    }

    /// Bad news.
    pub(crate) fn red(self, text: &str) -> String {
        self.code("31", text)
    }

    /// What wants attention.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.code("33", text)
    }

    /// Names and addresses.
    pub(crate) fn cyan(self, text: &str) -> String {
        self.code("36", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
