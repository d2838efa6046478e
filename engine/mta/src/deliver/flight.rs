//! A transaction under way and the recipients that wait for its replies. It speaks with nobody.

use mail::UnixMs;
use queue::{FlowKey, Ticket};
use smallvec::SmallVec;

/// Recipients of one transaction; most have one.
pub(super) type Tickets = SmallVec<[Ticket; 1]>;

/// A transaction under way.
pub(super) struct Flight {
    /// Its number on the connection.
    pub(super) transaction: u64,
    /// The line that its recipients were taken from.
    pub(super) flow: FlowKey,
    pub(super) began: UnixMs,
    /// Whether the server has answered for one of its recipients.
    pub(super) heard: bool,
    /// Whether the server has judged the message, for one of them at least.
    pub(super) was_judged: bool,
    /// In the order of RCPT; `None` once the recipient has had its reply and belongs to somebody else.
    waiting: SmallVec<[Option<Ticket>; 1]>,
}

impl Flight {
    pub(super) fn new(transaction: u64, flow: FlowKey, tickets: Tickets, began: UnixMs) -> Self {
        let waiting = tickets.into_iter().map(Some).collect();
        Self { transaction, flow, began, heard: false, was_judged: false, waiting }
    }

    /// The recipient at `index`, if it still waits for its reply; it does not any more then.
    pub(super) fn take(&mut self, index: usize) -> Option<Ticket> {
        self.waiting.get_mut(index)?.take()
    }

    /// All that still wait.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = Ticket> + '_ {
        self.waiting.iter_mut().filter_map(Option::take)
    }
}
