//! The configuration file: read into what was written, then into what it means, with every problem named at once.

mod complaints;
mod document;
mod keys;
mod model;
mod problems;
mod reference;
mod resolve;
mod stated;
mod units;
mod value;

pub use model::{
    Access, Account, Auth, Certificate, ClassPolicy, Classes, Config, Deliver, DkimAlgorithm, DkimKey, Dns,
    Dnssec, Domain, DomainPattern, Durability, HostPort, Http, Judgement, Listener, ListenerTls, Login, Node,
    Pool, Protocol, Route, SecretHash, Share, Source, Spool, TlsReport,
};
pub use problems::{Problem, Severity};
pub use reference::reference;

pub(crate) use stated::Block;
pub(crate) use units::duration;

use problems::Problems;
use stated::Stated;

/// What came of a configuration file.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it means; `None` when one of the problems is an error.
    pub config: Option<Config>,
    /// Errors and warnings in the order of their lines.
    pub problems: Vec<Problem>,
}

/// Reads the `text` of a configuration file called `file`, which problems name and to whose directory relative paths belong.
///
/// The text alone is judged: whether files, addresses and devices that it names are there is for the shell to see.
#[must_use]
pub fn check(file: &str, text: &str) -> Checked {
    let mut problems = Problems::new(file, text);
    let stated = Stated::read(text, &mut problems);
    let config = resolve::resolve(file, &stated, &mut problems);
    let config = config.filter(|_| !problems.has_errors());
    Checked { config, problems: problems.into_sorted() }
}

/// The `[provider.NAME]` sections of a text that has nothing else; `None` when something is wrong with it.
pub(crate) fn provider_blocks(text: &str) -> Option<Vec<Block>> {
    let mut problems = Problems::new("", text);
    let blocks = stated::read_only(&keys::PROVIDER, text, &mut problems);
    (!problems.has_errors()).then_some(blocks)
}

#[cfg(test)]
mod tests;
