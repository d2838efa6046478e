//! The bell of a mailbox: who sends, whether the receiver sleeps, whether it is gone. It knows no items; what puts
//! them in and what takes them out is handed in.
//!
//! # Why no wake-up is lost
//! A sender pushes, then reads `asleep`. The receiver writes `asleep`, then looks for items once more. Between the
//! two steps both have a sequentially consistent fence, so of any sender and the receiver at least one sees what the
//! other did before its fence: either the receiver finds the item, or the sender finds it asleep and wakes it. The
//! sender that turns `asleep` off wakes whatever waker is registered *afterwards*; the waker was registered before
//! `asleep` was turned on, and if a newer one is being registered at that moment, [`AtomicWaker`] wakes that one too.
//! Wake-ups that turn out unneeded happen and do no harm. A push that is half done when the receiver looks again
//! either shows (then the receiver waits the few instructions for it) or has its fence still before it.
//!
//! # Why no item is left behind
//! The receiver that goes writes `closed`, then throws away what is there; a sender pushes, then reads `closed`, with
//! the same fences in between. So either the receiver finds an item that was pushed while it went, or the sender
//! finds it gone, and throws away what is there itself. Whoever waits for an answer to the item learns of its end.
//!
//! The crate in `tests/models` compiles this very file and goes through its interleavings.

use std::task::{Poll, Waker};

use super::primitives::{AtomicBool, AtomicUsize, AtomicWaker, CachePadded, Ordering, fence};

/// What the two ends of a mailbox share beside the items.
pub(super) struct Doorbell {
    asleep: CachePadded<AtomicBool>,
    waker: AtomicWaker,
    senders: AtomicUsize,
    closed: AtomicBool,
}

impl Doorbell {
    /// Of one sender, with the receiver awake.
    pub(super) fn new() -> Self {
        Self {
            asleep: CachePadded::new(AtomicBool::new(false)),
            waker: AtomicWaker::new(),
            senders: AtomicUsize::new(1),
            closed: AtomicBool::new(false),
        }
    }

    /// Puts `item` in by `push` and wakes the receiver if it sleeps. Hands the item back when `push` does, or when
    /// the receiver is gone. Should it go just now, `discard` throws away what is there.
    pub(super) fn send<T>(
        &self,
        item: T,
        push: impl FnOnce(T) -> Result<(), T>,
        discard: impl FnOnce(),
    ) -> Result<(), T> {
        self.put(item, push)?;
        self.ring(discard);
        Ok(())
    }

    /// Puts `item` in by `push` and wakes nobody yet: whoever puts must ring, be it for many items at once. Hands the item back
    /// when `push` does, or when the receiver is gone.
    pub(super) fn put<T>(&self, item: T, push: impl FnOnce(T) -> Result<(), T>) -> Result<(), T> {
        if self.is_closed() { Err(item) } else { push(item) }
    }

    /// Wakes the receiver if it sleeps. Should it have gone, `discard` throws away what is there.
    pub(super) fn ring(&self, discard: impl FnOnce()) {
        self.wake();
        // Read behind the fence of `wake`.
        if self.is_closed() {
            discard();
        }
    }

    /// Lies down to sleep, unless `receive` finds something after all, or nobody is left to send.
    pub(super) fn sleep(&self, waker: &Waker, receive: impl FnOnce() -> usize) -> Poll<usize> {
        self.waker.register(waker);
        self.asleep.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        // Read before the last look, so that nothing sent before the last sender went is missed.
        let last_look = self.senders.load(Ordering::Acquire) == 0;
        let received = receive();
        if received == 0 && !last_look {
            return Poll::Pending;
        }
        self.asleep.store(false, Ordering::Relaxed);
        Poll::Ready(received)
    }

    /// There is one more sender.
    pub(super) fn sender_comes(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// A sender goes; the last one wakes the receiver, so that it learns of it.
    pub(super) fn sender_goes(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    /// The receiver goes; `discard` throws away what is there.
    pub(super) fn close(&self, discard: impl FnOnce()) {
        self.closed.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        discard();
    }

    /// Whether the receiver is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}
