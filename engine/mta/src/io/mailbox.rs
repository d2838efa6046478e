//! Bounded lock-free mailboxes: many threads send, one task receives in batches, and only a sleeper is woken.
//!
//! The receiver may live on a shard or on a normal tokio runtime: waking goes through its task's waker, which writes
//! the eventfd of that thread's poller only if the thread sleeps. A full mailbox hands the item back; nothing here
//! waits for room. Why no wake-up is lost is argued in `doorbell`.

mod doorbell;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam::queue::ArrayQueue;

use doorbell::Doorbell;

/// What the bell is made of: a module, so that models can put others in their place.
mod primitives {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    pub(super) use crossbeam::utils::CachePadded;
    pub(super) use futures_util::task::AtomicWaker;
}

struct Shared<T> {
    items: ArrayQueue<T>,
    bell: Doorbell,
}

impl<T> Shared<T> {
    fn discard(&self) {
        while self.items.pop().is_some() {}
    }
}

/// A mailbox with room for `capacity` items.
///
/// # Panics
/// When `capacity` is 0.
#[must_use]
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared { items: ArrayQueue::new(capacity), bell: Doorbell::new() });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// The sending end; clones share the mailbox, any thread may send.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Puts `item` into the mailbox and wakes the receiver if it sleeps. An item that the receiver leaves behind when
    /// it goes is dropped.
    ///
    /// # Errors
    /// Hands the item back when the mailbox is full or nobody receives any more ([`Sender::is_closed`] tells which).
    pub fn try_send(&self, item: T) -> Result<(), T> {
        let shared = &self.shared;
        shared.bell.send(item, |item| shared.items.push(item), || shared.discard())
    }

    /// Puts `item` into the mailbox and wakes nobody: [`Sender::ring`] must follow, and may for many items at once.
    ///
    /// # Errors
    /// As [`Sender::try_send`].
    pub fn put(&self, item: T) -> Result<(), T> {
        self.shared.bell.put(item, |item| self.shared.items.push(item))
    }

    /// Wakes the receiver if it sleeps.
    pub fn ring(&self) {
        self.shared.bell.ring(|| self.shared.discard());
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.bell.is_closed()
    }

    /// How many items wait; a moment's look.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.items.len()
    }

    /// Whether nothing waits; a moment's look.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.items.is_empty()
    }

    /// How many items have room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.items.capacity()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.bell.sender_comes();
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.bell.sender_goes();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({} of {})", self.len(), self.capacity())
    }
}

/// The receiving end, for one task.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Waits for items and appends up to `max` of them to `into`, in the order of sending per sender. Returns their
    /// number; 0 only when all senders are gone and nothing is left.
    ///
    /// The future may be dropped at any time without losing an item. It gives way to other tasks of its thread now
    /// and then, so it may be called in a loop.
    pub async fn recv_batch(&mut self, into: &mut Vec<T>, max: usize) -> usize {
        tokio::task::consume_budget().await;
        std::future::poll_fn(|context| self.poll(context, into, max)).await
    }

    /// Appends up to `max` items that are there now, and returns their number.
    pub fn try_recv_batch(&mut self, into: &mut Vec<T>, max: usize) -> usize {
        take(&self.shared.items, into, max)
    }

    fn poll(&mut self, context: &mut Context<'_>, into: &mut Vec<T>, max: usize) -> Poll<usize> {
        let received = self.try_recv_batch(into, max);
        if received > 0 || max == 0 {
            return Poll::Ready(received);
        }
        let Shared { items, bell } = &*self.shared;
        bell.sleep(context.waker(), || take(items, into, max))
    }
}

/// Appends up to `max` of `items` to `into`.
fn take<T>(items: &ArrayQueue<T>, into: &mut Vec<T>, max: usize) -> usize {
    let before = into.len();
    into.extend(std::iter::from_fn(|| items.pop()).take(max));
    into.len() - before
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.bell.close(|| self.shared.discard());
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({} of {})", self.shared.items.len(), self.shared.items.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::super::runtime::run_shard;
    use super::*;
    use std::time::Duration;

    const PER_SENDER: u64 = 30_000;
    const SENDERS: u64 = 3;

    /// Sends with pauses of many lengths, so that the receiver falls asleep at every possible moment.
    fn send_all(sender: &Sender<u64>, number: u64) {
        let mut random = number + 1;
        for item in 0..PER_SENDER {
            let mut item = number << 32 | item;
            while let Err(back) = sender.try_send(item) {
                item = back;
                std::thread::yield_now();
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for _ in 0..random >> 57 {
                std::hint::spin_loop();
            }
            if random >> 48 & 0x3ff == 0 {
                std::thread::sleep(Duration::from_micros(random >> 40 & 0x7f));
            }
        }
    }

    async fn receive_all(mut receiver: Receiver<u64>) -> u64 {
        let mut expected = [0; SENDERS as usize];
        let (mut batch, mut total) = (Vec::new(), 0);
        loop {
            batch.clear();
            let received = receiver.recv_batch(&mut batch, 32).await;
            assert_eq!(received, batch.len());
            if received == 0 {
                return total;
            }
            for item in &batch {
                let sender = usize::try_from(item >> 32).expect("a small number");
                assert_eq!(item & 0xffff_ffff, expected[sender], "in order and once");
                expected[sender] += 1;
            }
            total += received as u64;
        }
    }

    fn stress(sender: Sender<u64>) {
        let threads: Vec<_> = (0..SENDERS)
            .map(|number| {
                let sender = sender.clone();
                std::thread::spawn(move || send_all(&sender, number))
            })
            .collect();
        drop(sender);
        threads.into_iter().for_each(|thread| thread.join().expect("it sends all"));
    }

    #[test]
    fn a_shard_receives_everything_and_no_wake_up_is_lost() {
        let (sender, receiver) = mailbox(64);
        let shard = run_shard(0, move || receive_all(receiver)).expect("a ring");
        stress(sender);
        assert_eq!(shard.join(), SENDERS * PER_SENDER);
    }

    #[test]
    fn a_tokio_task_receives_everything_and_no_wake_up_is_lost() {
        let (sender, receiver) = mailbox(64);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let task = runtime.spawn(receive_all(receiver));
        stress(sender);
        assert_eq!(runtime.block_on(task).expect("it ends"), SENDERS * PER_SENDER);
    }

    #[test]
    fn a_full_mailbox_hands_the_item_back() {
        let (sender, mut receiver) = mailbox(2);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Ok(()));
        assert_eq!(sender.try_send(3), Err(3));
        let mut batch = Vec::new();
        assert_eq!(receiver.try_recv_batch(&mut batch, 1), 1);
        assert_eq!(sender.try_send(3), Ok(()));
        drop(receiver);
        assert_eq!(sender.try_send(4), Err(4));
        assert!(sender.is_closed() && sender.is_empty());
    }

    #[test]
    fn an_abandoned_receive_loses_nothing() {
        let (sender, mut receiver) = mailbox(8);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut batch = Vec::new();
            let wait = tokio::time::timeout(Duration::from_millis(5), receiver.recv_batch(&mut batch, 8));
            assert!(wait.await.is_err());
            assert_eq!(sender.try_send(7), Ok(()));
            assert_eq!(receiver.recv_batch(&mut batch, 8).await, 1);
            assert_eq!(batch, [7]);
        });
    }
}
