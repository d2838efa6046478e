//! The whole engine with what belongs to it: shards, event store and API, opened and closed in the right order.

use std::sync::Arc;

use anyhow::Context;
use console::{Console, Listeners};
use mta::{Engine, Handle};
use policy::config::Config;
use report::{Reporter, Store, TlsReportSender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running engine with its API.
pub(crate) struct House {
    engine: Engine,
    reporter: Reporter,
    api: JoinHandle<()>,
    close_api: oneshot::Sender<()>,
    addresses: Vec<String>,
}

impl House {
    /// Starts everything; when it returns, mail is accepted.
    ///
    /// # Errors
    /// One sentence that says what is missing.
    pub(crate) fn open(config: Arc<Config>) -> anyhow::Result<Self> {
        Self::around(Engine::start(Arc::clone(&config))?, &config)
    }

    /// The same on a spool that was restored from a copy: nothing is sent until the operator says so.
    ///
    /// # Errors
    /// One sentence that says what is missing.
    pub(crate) fn open_restored(config: Arc<Config>) -> anyhow::Result<Self> {
        Self::around(Engine::start_restored(Arc::clone(&config))?, &config)
    }

    fn around(engine: Engine, config: &Config) -> anyhow::Result<Self> {
        let handle = engine.handle();
        let reporter = Reporter::start(&config.node.data_dir, handle.readers())
            .context("the event store cannot be opened")?;
        handle.allow_reclaim();
        if let Some(sender) = TlsReportSender::new(&handle) {
            engine.runtime().spawn(sender.run());
        }
        let console = Console::new(handle, reporter.store())?;
        let listeners = engine.runtime().block_on(Listeners::bind(config))?;
        let addresses = addresses(&engine, &listeners);
        let (close_api, closed) = oneshot::channel::<()>();
        let stop = async move {
            // The sender is dropped or used when the house closes: both mean the end.
            let _ = closed.await;
        };
        let api = engine.runtime().spawn(console::serve(console, listeners, stop));
        Ok(Self { engine, reporter, api, close_api, addresses })
    }

    /// What the engine is used by.
    pub(crate) fn handle(&self) -> Handle {
        self.engine.handle()
    }

    /// What became of everything.
    pub(crate) fn store(&self) -> Store {
        self.reporter.store()
    }

    /// Where SMTP is taken.
    pub(crate) fn smtp_addresses(&self) -> &[std::net::SocketAddr] {
        self.engine.smtp_addresses()
    }

    /// Where everything is, as `smtp=127.0.0.1:2525`.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Runs work that is not per message beside the engine.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        self.engine.runtime()
    }

    /// Stops accepting, finishes what is under way, and makes everything durable.
    pub(crate) fn close(self) {
        // The API stops first: its requests under way still have an engine.
        let _ = self.close_api.send(());
        if self.engine.runtime().block_on(self.api).is_err() {
            tracing::error!("the API ended by a panic");
        }
        self.engine.stop();
        self.reporter.stop();
    }
}

fn addresses(engine: &Engine, listeners: &Listeners) -> Vec<String> {
    let mut addresses: Vec<String> =
        engine.smtp_addresses().iter().map(|address| format!("smtp={address}")).collect();
    addresses.extend(listeners.http_address().map(|address| format!("http={address}")));
    addresses.push(format!("control={}", listeners.control_path().display()));
    addresses
}
