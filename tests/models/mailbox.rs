//! Scenes of a mailbox: senders, a receiver that sleeps, and the end of either. Everything but the items is the
//! engine's own `doorbell.rs`.
//!
//! The items lie in one slot per sender, written with release and read with acquire, nothing stronger. That is
//! weaker than the `ArrayQueue` of the engine, whose indices are sequentially consistent; a queue with a lock would
//! order the bell's loads and stores as well, and no missing fence would ever show.

use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::doorbell::Doorbell;

struct Mailbox {
    bell: Doorbell,
    /// Zero is no item.
    slots: [AtomicUsize; 2],
}

impl Mailbox {
    fn new() -> Arc<Self> {
        Arc::new(Self { bell: Doorbell::new(), slots: [AtomicUsize::new(0), AtomicUsize::new(0)] })
    }

    /// As `Sender::try_send`.
    fn send(&self, slot: usize, item: usize) -> Result<(), usize> {
        let push = |item| {
            self.slots[slot].store(item, Ordering::Release);
            Ok(())
        };
        self.bell.send(item, push, || self.discard())
    }

    /// As `Sender::put` for both slots, and one `Sender::ring`.
    fn send_both(&self) {
        for (slot, item) in [(0, 1), (1, 2)] {
            let push = |item| {
                self.slots[slot].store(item, Ordering::Release);
                Ok(())
            };
            assert_eq!(self.bell.put(item, push), Ok(()));
        }
        self.bell.ring(|| self.discard());
    }

    /// As `Receiver::poll`.
    fn poll(&self, context: &Context<'_>, sum: &mut usize) -> Poll<usize> {
        let received = self.take(sum);
        if received > 0 {
            return Poll::Ready(received);
        }
        self.bell.sleep(context.waker(), || self.take(sum))
    }

    /// Throws away what is there.
    fn discard(&self) {
        self.take(&mut 0);
    }

    /// Adds the items that are there to `sum`, and returns their number.
    fn take(&self, sum: &mut usize) -> usize {
        let mut taken = 0;
        for slot in &self.slots {
            if slot.load(Ordering::Acquire) != 0 {
                let item = slot.swap(0, Ordering::AcqRel);
                *sum += item;
                taken += usize::from(item != 0);
            }
        }
        taken
    }
}

/// A task's waker that keeps in mind that it was called.
#[derive(Default)]
struct Alarm {
    is_called: std::sync::atomic::AtomicBool,
}

impl Alarm {
    fn is_called(&self) -> bool {
        self.is_called.swap(false, std::sync::atomic::Ordering::SeqCst)
    }
}

impl Wake for Alarm {
    fn wake(self: std::sync::Arc<Self>) {
        self.is_called.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Receives as a task does: polls again when woken, and only then. `poll` says how; `all_gone` returns when every
/// sender has come to its end. A task that sleeps at that moment, with nobody left to wake it, sleeps for ever.
pub(super) fn receive(mut poll: impl FnMut(&Context<'_>) -> Poll<usize>, all_gone: impl FnOnce()) {
    let alarm = std::sync::Arc::new(Alarm::default());
    let waker = Waker::from(std::sync::Arc::clone(&alarm));
    let context = Context::from_waker(&waker);
    let mut all_gone = Some(all_gone);
    loop {
        match poll(&context) {
            Poll::Ready(0) => break,
            Poll::Ready(_) => {}
            Poll::Pending if alarm.is_called() => {}
            Poll::Pending => {
                all_gone.take().into_iter().for_each(|wait| wait());
                assert!(alarm.is_called(), "a wake-up is lost");
            }
        }
    }
    all_gone.into_iter().for_each(|wait| wait());
}

/// Receives until all senders are gone; the sum of the items.
fn receive_all(mailbox: &Mailbox, senders: Vec<thread::JoinHandle<()>>) -> usize {
    let mut sum = 0;
    receive(
        |context| mailbox.poll(context, &mut sum),
        || senders.into_iter().for_each(|sender| sender.join().expect("it ends")),
    );
    sum
}

/// Two senders, the second a clone of the first, with an item each.
pub(super) fn two_senders() {
    let mailbox = Mailbox::new();
    mailbox.bell.sender_comes();
    let senders = [1, 2].map(|item| {
        let mailbox = Arc::clone(&mailbox);
        thread::spawn(move || {
            assert_eq!(mailbox.send(item - 1, item), Ok(()));
            mailbox.bell.sender_goes();
        })
    });
    assert_eq!(receive_all(&mailbox, senders.into()), 3);
}

/// A sender that rings once for two items.
pub(super) fn one_ring_for_two() {
    let mailbox = Mailbox::new();
    let sender = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || mailbox.send_both()
    });
    let mut sum = 0;
    let poll = |context: &Context<'_>| {
        let received = mailbox.poll(context, &mut sum);
        let is_all = sum == 3;
        received.map(|count| if is_all { 0 } else { count })
    };
    receive(poll, || sender.join().expect("it ends"));
}

/// A sender that goes without having sent.
pub(super) fn last_sender_goes() {
    let mailbox = Mailbox::new();
    let sender = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || mailbox.bell.sender_goes()
    });
    assert_eq!(receive_all(&mailbox, vec![sender]), 0);
}

/// The mistake: a receiver that looks for items only before it lies down.
pub(super) fn no_second_look() {
    let mailbox = Mailbox::new();
    let sender = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || assert_eq!(mailbox.send(0, 1), Ok(()))
    });
    let mut sum = 0;
    let poll = |context: &Context<'_>| match mailbox.take(&mut sum) {
        0 => mailbox.bell.sleep(context.waker(), || 0),
        _ => Poll::Ready(0),
    };
    receive(poll, || sender.join().expect("it ends"));
}

/// A receiver that goes while an item is being sent.
pub(super) fn receiver_goes() {
    let mailbox = Mailbox::new();
    let receiver = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || mailbox.bell.close(|| mailbox.discard())
    });
    let sent = mailbox.send(0, 1);
    receiver.join().expect("it goes");
    assert_eq!(mailbox.send(1, 2), Err(2), "the sender learns that nobody receives");
    assert!(sent.is_ok() || mailbox.bell.is_closed());
    assert_eq!(mailbox.take(&mut 0), 0, "an item is left behind");
}
