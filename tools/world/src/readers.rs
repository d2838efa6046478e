//! What readers do with mail they get, and the feedback that senders hear of it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mail::{Address, UnixMs};
use serde::Deserialize;

use crate::ProviderIndex;
use crate::chance::Roll;
use crate::load::Identity;
use crate::mailbox::Nature;
use crate::units::{Share, Span};

/// Reactions that are still to come, at most: enough for a million readers of whom half react.
const PENDING_MAX: usize = 1 << 19;
/// Feedback that nobody has fetched, at most; the oldest goes first.
const OUTBOX_MAX: usize = 1 << 16;

/// What readers of a provider do with mail, where its sender's identity says nothing else.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Readers {
    /// Share of mails.
    pub(crate) complaint: Share,
    /// Share of mails.
    pub(crate) open: Share,
    /// Share of opened mails.
    pub(crate) click: Share,
    /// Share of opened mails.
    pub(crate) unsubscribe: Share,
    /// How long after its arrival on average.
    pub(crate) complaint_after: Span,
    /// How long after its arrival on average.
    pub(crate) open_after: Span,
    /// How long after the opening on average.
    pub(crate) click_after: Span,
    /// Whether the provider tells senders of complaints.
    pub(crate) told: bool,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            complaint: Share(0.0),
            open: Share(0.0),
            click: Share(0.0),
            unsubscribe: Share(0.0),
            complaint_after: Span(Duration::from_secs(2 * 3600)),
            open_after: Span(Duration::from_secs(3600)),
            click_after: Span(Duration::from_secs(120)),
            told: true,
        }
    }
}

/// What a reader did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedbackKind {
    /// Said that it is spam.
    Complaint,
    /// Opened it.
    Open,
    /// Followed a link in it.
    Click,
    /// Asked for no more of it.
    Unsubscribe,
}

/// One thing that one reader did with one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// When.
    pub at: UnixMs,
    /// Whose reader it is.
    pub provider: ProviderIndex,
    /// What it did.
    pub kind: FeedbackKind,
    /// [`crate::mailbox`] of the address.
    pub mailbox: u64,
    /// The recipient.
    pub recipient: Address,
    /// The domain of the sender address; empty for mail without one.
    pub identity: Arc<str>,
    /// Where the mail came from.
    pub ip: IpAddr,
    /// What the caller had set for the message with [`crate::Connection::set_token`].
    pub token: u64,
}

/// Which of all it does, known when the mail arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reaction {
    pub(crate) complains: bool,
    opens: bool,
    clicks: bool,
    unsubscribes: bool,
}

/// The purposes of the rolls.
const COMPLAINS: u64 = 21;
const OPENS: u64 = 22;
const CLICKS: u64 = 23;
const UNSUBSCRIBES: u64 = 24;
const WAITS: u64 = 25;

impl Reaction {
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }
}

impl Readers {
    /// What the reader of a mailbox does with a mail of this identity.
    pub(crate) fn reaction(&self, nature: Nature, identity: Option<&Identity>, roll: Roll) -> Reaction {
        if nature == Nature::Trap {
            return Reaction::default();
        }
        let share = |own: fn(&Identity) -> Option<f64>, all: Share| identity.and_then(own).unwrap_or(all.0);
        let does = |purpose, share: f64| share > 0.0 && roll.portion(purpose) < share;
        let complains = nature == Nature::Complainer
            || does(COMPLAINS, share(|identity| identity.complaint, self.complaint));
        let opens = does(OPENS, share(|identity| identity.open, self.open));
        Reaction {
            complains,
            opens,
            clicks: opens && does(CLICKS, share(|identity| identity.click, self.click)),
            unsubscribes: opens
                && does(UNSUBSCRIBES, share(|identity| identity.unsubscribe, self.unsubscribe)),
        }
    }

    /// Puts what follows from an arrival at `mail.at` into the calendar.
    pub(crate) fn schedule(&self, reaction: Reaction, mail: &Feedback, roll: Roll, calendar: &mut Calendar) {
        let after =
            |from: UnixMs, mean: Span, n: u64| from + mean.0.mul_f64(exponential(roll.portion(WAITS + n)));
        let mut put = |kind, at| calendar.put(Feedback { kind, at, ..mail.clone() });
        if reaction.complains {
            put(FeedbackKind::Complaint, after(mail.at, self.complaint_after, 0));
        }
        let opened = after(mail.at, self.open_after, 1);
        if reaction.opens {
            put(FeedbackKind::Open, opened);
        }
        if reaction.clicks {
            put(FeedbackKind::Click, after(opened, self.click_after, 2));
        }
        if reaction.unsubscribes {
            put(FeedbackKind::Unsubscribe, after(opened, self.click_after, 3));
        }
    }
}

/// An exponentially distributed time of mean 1, at most 10.
fn exponential(portion: f64) -> f64 {
    (-(1.0 - portion).ln()).min(10.0)
}

/// What readers will do, in order of time, and what they did and nobody has fetched.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    pending: BinaryHeap<Reverse<Due>>,
    outbox: VecDeque<Feedback>,
    /// Counts what was put in, so that what is due at the same time comes in a fixed order.
    put: u64,
}

#[derive(Debug)]
struct Due {
    at: UnixMs,
    order: u64,
    feedback: Box<Feedback>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl Calendar {
    /// Beyond the most that is kept, readers do nothing.
    fn put(&mut self, feedback: Feedback) {
        if self.pending.len() < PENDING_MAX {
            self.put += 1;
            let due = Due { at: feedback.at, order: self.put, feedback: Box::new(feedback) };
            self.pending.push(Reverse(due));
        }
    }

    /// When something happens next, or has happened and was not fetched.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        let waiting = self.outbox.front().map(|feedback| feedback.at);
        waiting.or(self.pending.peek().map(|Reverse(due)| due.at))
    }

    /// Whether something is due.
    pub(crate) fn is_due(&self, now: UnixMs) -> bool {
        self.pending.peek().is_some_and(|Reverse(due)| due.at <= now)
    }

    /// The next that is due.
    pub(crate) fn take_due(&mut self, now: UnixMs) -> Option<Feedback> {
        let due = self.is_due(now).then(|| self.pending.pop()).flatten();
        due.map(|Reverse(due)| *due.feedback)
    }

    /// Lays it out for the sender.
    pub(crate) fn tell(&mut self, feedback: Feedback) {
        if self.outbox.len() >= OUTBOX_MAX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(feedback);
    }

    pub(crate) fn fetch(&mut self, out: &mut Vec<Feedback>) {
        out.extend(self.outbox.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_fetches_is_bounded_and_the_oldest_goes_first() {
        let feedback = |at| Feedback {
            at: UnixMs(at),
            provider: ProviderIndex(0),
            kind: FeedbackKind::Complaint,
            mailbox: 1,
            recipient: Address::parse("a@x.test").expect("an address"),
            identity: "".into(),
            ip: IpAddr::from([192, 0, 2, 1]),
            token: 0,
        };
        let mut calendar = Calendar::default();
        let more = OUTBOX_MAX as u64 + 10;
        (0..more).for_each(|at| calendar.tell(feedback(at)));
        assert_eq!((calendar.outbox.len(), calendar.next()), (OUTBOX_MAX, Some(UnixMs(10))));
        (0..PENDING_MAX as u64 + 10).for_each(|at| calendar.put(feedback(at)));
        assert_eq!(calendar.pending.len(), PENDING_MAX);
    }

    #[test]
    fn times_are_exponential_with_mean_one() {
        let mean = (0..10_000).map(|n| exponential(f64::from(n) / 10_000.0)).sum::<f64>() / 10_000.0;
        assert!((0.98..1.02).contains(&mean), "{mean}");
        assert!(exponential(0.0) >= 0.0 && exponential(0.999_999_999) <= 10.0);
    }
}
