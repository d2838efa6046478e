//! The signing desk of a shard: messages that are to be signed at the same time are signed together, because eight RSA
//! signatures made side by side cost little more than two. It refuses to gather them: what is there when the shard gets round to
//! it is signed.
//!
//! Whole batches go to an idle signing thread, if there is one; the shard signs what is left, and everything else that runs on
//! it waits for that: 0.6 ms for eight of RSA-2048. Only a few that are left over when others have just been handed on wait for
//! company, a millisecond at most. Critical mail does not: it is in the next batch, and never waits for more than the one under way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use content::dkim::{Signatory, Unsigned};
use mail::Class;
use tokio::sync::{Notify, oneshot};

use super::signing_threads::{Batch, SigningThreads, Waiting, sign};

/// How long a few messages wait for others while a batch is made elsewhere.
const COMPANY_WAIT: Duration = Duration::from_millis(1);

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
        // Desk and signing threads work as long as the shard lives, and its connections end before.
        signed.await.expect("whoever signs gives back what it was given")
    }

    /// Signs what comes, until the shard ends.
    pub(crate) async fn work(&self, threads: &SigningThreads) {
        let mut signatory = Signatory::new();
        let batch_max = signatory.batch_max();
        loop {
            self.called.notified().await;
            loop {
                // Whoever else is ready in this turn of the shard comes along.
                tokio::task::yield_now().await;
                let (mut batch, has_given) = self.hand_over(threads, batch_max);
                if batch.is_empty() {
                    if has_given {
                        self.gather(batch_max / 2).await;
                    }
                    batch = self.take(batch_max);
                }
                if batch.is_empty() {
                    break;
                }
                sign(&mut signatory, &mut batch);
            }
        }
    }

    /// Gives whole batches to idle threads, but for a message alone. The batch that no thread is idle for, and whether others were given.
    fn hand_over(&self, threads: &SigningThreads, batch_max: usize) -> (Batch, bool) {
        let mut has_given = false;
        while self.waiting() >= batch_max.max(2) {
            if let Err(batch) = threads.take(self.take(batch_max)) {
                return (batch, has_given);
            }
            has_given = true;
        }
        (Batch::new(), has_given)
    }

    /// Waits a little for so many, unless one of them is critical.
    async fn gather(&self, enough: usize) {
        let company = async {
            while self.waiting() < enough && self.critical.borrow().is_empty() {
                self.called.notified().await;
            }
        };
        // That the time is over is as good as company.
        let _ = tokio::time::timeout(COMPANY_WAIT, company).await;
    }

    fn waiting(&self) -> usize {
        self.critical.borrow().len() + self.others.borrow().len()
    }

    fn take(&self, messages_max: usize) -> Batch {
        let mut batch = Batch::with_capacity(messages_max.min(self.waiting()));
        for queue in [&self.critical, &self.others] {
            let mut queue = queue.borrow_mut();
            let count = queue.len().min(messages_max - batch.len());
            batch.extend(queue.drain(..count));
        }
        batch
    }
}
