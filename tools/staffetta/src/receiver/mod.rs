//! A fast SMTP receiver for tests and the demo: it takes mail, counts it, and may pretend to be mailbox providers.
//! It keeps nothing unless told to.

mod files;
mod listen;
mod session;
mod tally;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use tokio::sync::watch;

pub(crate) use tally::{Tally, final_json, summary};

use files::Files;
use tally::Book;

/// What a receiver is told at its start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Where to listen; port 0 is any.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Threads, each with its own ring.
    pub(crate) threads: usize,
    /// Messages are kept here.
    pub(crate) keep: Option<PathBuf>,
    /// One line per accepted recipient goes here.
    pub(crate) ids: Option<PathBuf>,
}

/// A running receiver.
pub(crate) struct Receiver {
    desk: Arc<Desk>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
pub(crate) struct Desk {
    book: Mutex<Book>,
    files: Option<Files>,
}

impl Desk {
    /// The counts, locked.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Listens and begins to take mail.
    ///
    /// # Errors
    /// When an address cannot be listened on, a file cannot be made, or there is no io_uring.
    pub(crate) fn start(options: &Options) -> anyhow::Result<Self> {
        let files = Files::open(options.keep.as_deref(), options.ids.as_deref())?;
        let desk = Arc::new(Desk { book: Mutex::default(), files });
        let (stop, stopped) = watch::channel(false);
        let mut receiver = Self { desk, addresses: options.addresses.clone(), stop, threads: Vec::new() };
        for index in 0..options.threads.max(1) {
            let (thread, bound) = receiver.spawn(index, stopped.clone())?;
            receiver.threads.push(thread);
            // Later threads listen on the ports that the first one got.
            receiver.addresses = bound;
        }
        Ok(receiver)
    }

    fn spawn(
        &self,
        index: usize,
        stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<(JoinHandle<()>, Vec<SocketAddr>)> {
        let (ready, stands) = mpsc::sync_channel(1);
        let desk = Arc::clone(&self.desk);
        let addresses = self.addresses.clone();
        let body = move || {
            let failed = ready.clone();
            let work = listen::serve(desk, addresses, stopped, ready);
            if let Err(fault) = mta::io::block_on(work) {
                // Nobody waits for it any more once the thread stands.
                drop(failed.send(Err(anyhow!(fault))));
            }
        };
        let thread = std::thread::Builder::new().name(format!("receiver-{index}")).spawn(body)?;
        let bound = stands.recv().context("the receiver's thread ended at once")??;
        Ok((thread, bound))
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counts at this moment.
    pub(crate) fn tally(&self) -> Tally {
        self.desk.book().tally.clone()
    }

    /// Stops taking mail and gives the final counts.
    ///
    /// # Errors
    /// When the last lines of the files cannot be written.
    pub(crate) fn stop(mut self) -> anyhow::Result<Tally> {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a thread of the receiver died"))?;
        }
        if let Some(files) = &self.desk.files {
            files.flush()?;
        }
        Ok(self.tally())
    }
}
