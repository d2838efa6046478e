//! One file per command of the command line.

pub(crate) mod accounts;
pub(crate) mod bench;
pub(crate) mod campaign;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod decisions;
pub(crate) mod demo;
pub(crate) mod events;
pub(crate) mod explain_reply;
pub(crate) mod init;
pub(crate) mod ledger;
pub(crate) mod plan;
pub(crate) mod queue;
pub(crate) mod reputation;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod spool;
pub(crate) mod tls_report;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod why;

use std::future::Future;

use anyhow::Context;

/// The command line is understood but makes no sense together: exit status 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A usage error with this sentence.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(text.into()))
}

/// Runs one asynchronous command on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(work)
}
