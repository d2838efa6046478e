//! Threads that make signatures for all shards, so that a shard with much to sign goes on sending meanwhile, and cores whose own
//! shards have little to do are of use to it. They take whole batches only, and only when idle: what waits stays with its shard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use content::dkim::{Signatory, Unsigned};
use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use crate::shard::end_for;

/// A message that is to be signed, and where it goes then.
pub(super) struct Waiting {
    pub(super) message: Unsigned,
    pub(super) back: oneshot::Sender<Unsigned>,
}

/// What is signed together.
pub(super) type Batch = Vec<Waiting>;

/// The threads; they end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct SigningThreads {
    /// Takes a batch when a thread waits for one, and never keeps any.
    batches: Option<Sender<Batch>>,
    threads: Vec<JoinHandle<()>>,
}

impl SigningThreads {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        let (batches, incoming) = bounded(0);
        let mut all = Self { batches: Some(batches), threads: Vec::with_capacity(count) };
        for index in 0..count {
            let incoming = incoming.clone();
            let named = thread::Builder::new().name(format!("signer-{index}"));
            all.threads.push(named.spawn(move || work(&incoming))?);
        }
        Ok(all)
    }

    /// Has a batch signed by an idle thread; gives it back when there is none.
    pub(super) fn take(&self, batch: Batch) -> Result<(), Batch> {
        let Some(batches) = &self.batches else { return Err(batch) };
        batches.try_send(batch).map_err(crossbeam::channel::TrySendError::into_inner)
    }
}

impl Drop for SigningThreads {
    fn drop(&mut self) {
        self.batches = None;
        for thread in self.threads.drain(..) {
            // It has ended the process if it has panicked.
            let _ = thread.join();
        }
    }
}

/// Makes the signatures of a batch and gives the messages back.
pub(super) fn sign(signatory: &mut Signatory, batch: &mut Batch) {
    signatory.sign(&mut batch.iter_mut().map(|waiting| &mut waiting.message).collect::<Vec<_>>());
    for Waiting { message, back } in batch.drain(..) {
        // Whoever waits no more does not need it.
        let _ = back.send(message);
    }
}

fn work(incoming: &Receiver<Batch>) {
    let signing = AssertUnwindSafe(|| {
        let mut signatory = Signatory::new();
        incoming.iter().for_each(|mut batch| sign(&mut signatory, &mut batch));
    });
    if catch_unwind(signing).is_err() {
        // Those who wait for the batch would wait for ever.
        end_for("signer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> (Waiting, oneshot::Receiver<Unsigned>) {
        let (back, signed) = oneshot::channel();
        (Waiting { message: Unsigned::default(), back }, signed)
    }

    #[test]
    fn an_idle_thread_takes_a_batch_and_gives_it_back_signed() {
        let threads = SigningThreads::start(1).expect("a thread");
        let (waiting, signed) = waiting();
        let mut batch = vec![waiting];
        while let Err(back) = threads.take(batch) {
            batch = back;
            thread::yield_now();
        }
        assert!(signed.blocking_recv().is_ok());
    }

    #[test]
    fn without_threads_everything_comes_back() {
        let (waiting, _signed) = waiting();
        assert_eq!(SigningThreads::default().take(vec![waiting]).map_err(|batch| batch.len()), Err(1));
    }
}
