//! Lets the shell decide about the greeting, each sender and each recipient before they are answered. What is said
//! otherwise, and in which order replies go out, stays with the session; it knows no reason for a refusal.
//!
//! A receiver that has more to ask than whether a client may relay begins with [`Session::with_verdicts`]. What it
//! names there halts the session at [`Step::AwaitVerdict`](super::Step::AwaitVerdict) until it is answered, as late as the
//! shell likes; commands behind it wait, so replies keep the order of commands (RFC 2920 section 3.2).

use std::sync::Arc;

use mail::{Envelope, Recipient, Reply};

use super::dispatch::{RECIPIENT_OK, SENDER_OK};
use super::session::{State, greeting};
use super::{Config, Peer, Session};
use crate::wire;

/// What the shell wants to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Whether the client is greeted at all.
    pub greeting: bool,
    /// Each MAIL that the session itself finds nothing wrong with.
    pub mail: bool,
    /// Each RCPT that the session itself finds nothing wrong with.
    pub recipient: bool,
}

impl Verdicts {
    /// Everything.
    pub const ALL: Self = Self { greeting: true, mail: true, recipient: true };
}

/// What waits for the shell's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// The client has connected.
    Greeting,
    /// MAIL: the envelope as it said, still without recipients.
    Mail(&'a Envelope),
    /// RCPT: the envelope with the recipients taken before this one, and this one.
    Recipient(&'a Envelope, &'a Recipient),
}

impl Session {
    /// A session that asks before it answers. With [`Verdicts::greeting`] its output is empty until then.
    #[must_use]
    pub fn with_verdicts(config: Arc<Config>, peer: Peer, verdicts: Verdicts) -> Self {
        let mut session = Self::new(config, peer);
        session.verdicts = verdicts;
        if verdicts.greeting {
            session.output.clear();
            session.state = State::AwaitGreetingVerdict;
        }
        session
    }

    /// What waits for [`Session::go_on`] or [`Session::answer`]; `None` when nothing does.
    #[must_use]
    pub fn question(&self) -> Option<Question<'_>> {
        match (&self.state, &self.transaction) {
            (State::AwaitGreetingVerdict, _) => Some(Question::Greeting),
            (State::AwaitMailVerdict, Some(transaction)) => Some(Question::Mail(&transaction.envelope)),
            (State::AwaitRecipientVerdict(recipient), Some(transaction)) => {
                Some(Question::Recipient(&transaction.envelope, recipient))
            }
            _ => None,
        }
    }

    /// The answer to [`Session::question`] is what it would have been without asking.
    pub fn go_on(&mut self) {
        match self.state {
            State::AwaitGreetingVerdict => greeting(&self.config, &mut self.output),
            State::AwaitMailVerdict => self.say(SENDER_OK),
            State::AwaitRecipientVerdict(_) => self.say(RECIPIENT_OK),
            _ => return,
        }
        self.settle(true);
    }

    /// The answer to [`Session::question`] is this reply. A positive one takes the client, the sender or the recipient,
    /// any other does not; a 421 ends the session. A client that was not greeted may only say QUIT (RFC 5321 section
    /// 3.1). Refusals of the shell do not count among the client's errors.
    pub fn answer(&mut self, reply: &Reply) {
        if self.question().is_some() {
            wire::write_reply(reply, &mut self.output);
            self.settle(reply.is_positive());
            if reply.code == 421 {
                self.state = State::Closed;
            }
        }
    }

    fn settle(&mut self, taken: bool) {
        match std::mem::replace(&mut self.state, State::AwaitCommand) {
            State::AwaitGreetingVerdict => self.client.turned_away = !taken,
            State::AwaitMailVerdict if !taken => self.transaction = None,
            State::AwaitRecipientVerdict(recipient) if taken => self.take_recipient(*recipient),
            _ => {}
        }
    }
}
