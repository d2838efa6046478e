//! The signing desk of a shard: messages that are to be signed at the same time are signed together, because eight RSA
//! signatures made side by side cost little more than two. It refuses to wait for company: what is there when the shard
//! gets round to it is signed.
//!
//! A batch holds the shard up for as long as its signatures take, 0.6 ms for eight of RSA-2048. Between batches
//! everything else has its turn, and critical mail is in the next batch: it never waits for more than the one under
//! way.

use std::cell::RefCell;
use std::collections::VecDeque;

use content::dkim::{Signatory, Unsigned};
use mail::Class;
use tokio::sync::{Notify, oneshot};

/// A message at the desk, and where it goes when it is signed.
struct Waiting {
    message: Unsigned,
    back: oneshot::Sender<Unsigned>,
}

/// What waits to be signed. There is at most one message for each connection.
#[derive(Default)]
pub(crate) struct Desk {
    critical: RefCell<VecDeque<Waiting>>,
    others: RefCell<VecDeque<Waiting>>,
    called: Notify,
}

impl Desk {
    /// Has a message signed.
    pub(super) async fn sign(&self, message: Unsigned, class: Class) -> Unsigned {
        let (back, signed) = oneshot::channel();
        let queue = if class == Class::Critical { &self.critical } else { &self.others };
        queue.borrow_mut().push_back(Waiting { message, back });
        self.called.notify_one();
        // The desk works as long as its shard lives, and the connections end before.
        signed.await.expect("the desk gives back what it was given")
    }

    /// Signs what comes, until the shard ends.
    pub(crate) async fn work(&self) {
        let mut signatory = Signatory::new();
        let mut batch = Vec::with_capacity(signatory.batch_max());
        loop {
            self.called.notified().await;
            loop {
                // Whoever else is ready in this turn of the shard comes along.
                tokio::task::yield_now().await;
                self.take(&mut batch, signatory.batch_max());
                if batch.is_empty() {
                    break;
                }
                signatory.sign(&mut batch.iter_mut().map(|waiting| &mut waiting.message).collect::<Vec<_>>());
                for Waiting { message, back } in batch.drain(..) {
                    // Whoever waits no more does not need it.
                    let _ = back.send(message);
                }
            }
        }
    }

    fn take(&self, batch: &mut Vec<Waiting>, messages_max: usize) {
        for queue in [&self.critical, &self.others] {
            let mut queue = queue.borrow_mut();
            let count = queue.len().min(messages_max - batch.len());
            batch.extend(queue.drain(..count));
        }
    }
}
