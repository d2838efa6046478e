//! What a verdict means for everybody but the words: the one table that the engine and the simulator follow. It reads no
//! reply; what a reply means was said before, in `verdict`.

use std::time::Duration;

use crate::pace::Signal;
use crate::tally::Happening;
use crate::verdict::{Action, Scope, Verdict};

/// What is to be done about a failure, besides telling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// What the pacer of the (source, provider) is to be told.
    pub pace: Option<PaceSignal>,
    /// The receiver's limits have let the recipient through, though it was refused for its own sake: the pacer counts it
    /// like one that was taken.
    pub passed: bool,
    /// What is counted.
    pub happening: Happening,
    /// What becomes of the recipient.
    pub fate: Fate,
    /// What the mailbox's own back-off is to be told.
    pub mailbox: Option<MailboxTrouble>,
    /// The source is refused at the provider, and nothing leaves from it there for so long.
    pub burns: Option<Duration>,
    /// Nothing goes to this site (from any source) for so long.
    pub rests: Option<Duration>,
    /// The sender's identity has a bad name at the provider: less of its mail goes there.
    pub identity_slow: bool,
}

/// What a pacer is told; [`PaceSignal::signal`] adds the numbers that only the connection knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaceSignal {
    /// Too much per time.
    Rate,
    /// Too much for the name that we have there.
    Reputation,
    /// Too many connections.
    Connections,
    /// Too many messages on a connection.
    Session,
    /// The receiver is not there, or in trouble of its own.
    Unavailable,
}

impl PaceSignal {
    /// The signal, of a connection that has taken `messages`, beside `open` others.
    #[must_use]
    pub const fn signal(self, open: u32, messages: u32) -> Signal {
        match self {
            Self::Rate => Signal::Rate,
            Self::Reputation => Signal::Reputation,
            Self::Connections => Signal::Connections { open },
            Self::Session => Signal::Session { messages },
            Self::Unavailable => Signal::Unavailable,
        }
    }
}

/// What becomes of a recipient that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It has failed for good.
    Bounce,
    /// It is tried again by the retry schedule; the attempt counts.
    Retry,
    /// It goes back to its path, or to another source where this one is burnt, without an attempt counted.
    Wait,
    /// It waits so long without an attempt counted.
    Hold(Duration),
    /// It goes to the site's next host; [`Fate::Retry`] when there is none.
    NextHost,
    /// It goes in another transaction; [`Fate::Retry`] when it was the first of its own.
    NextTransaction,
    /// It goes on another connection; [`Fate::Retry`] when it was the first of its own.
    Reconnect,
    /// [`Fate::Retry`], and TLS is used with the site from now on.
    RequireTls,
    /// It goes in clear where the policy allows it; [`Fate::Retry`] otherwise.
    WithoutTls,
}

/// What is wrong with a mailbox that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailboxTrouble {
    /// It has no room.
    Full,
    /// It gets too much at once.
    Rate,
}

/// How long a recipient waits when its sender's domain sends too much: until the identity's budget is there, and has a
/// token again.
const IDENTITY_REST: Duration = Duration::from_secs(30);

/// What `verdict` means for everybody but the words.
///
/// | class | pacer | counted | mailbox | source, identity |
/// |---|---|---|---|---|
/// | `rate` | rate | rate-limited | | |
/// | `rate` of a recipient | | deferred | rate | |
/// | `rate` of an identity | | rate-limited | | identity slowed |
/// | `rate.conn` | connections | rate-limited | | |
/// | `rate.conn` of one transaction (too many recipients) | | deferred | | |
/// | `rate.msgs_per_conn` | session | rate-limited | | |
/// | `reputation`, `.ip`, `.rate` | reputation | blocked | | burnt, where suspended |
/// | `reputation.domain` | | blocked | | identity slowed |
/// | `blocklist` | reputation | blocked | | burnt |
/// | `auth.ptr` | | deferred | | burnt |
/// | `recipient.full`, `recipient.rate` | | deferred, or other bounce | full, rate | |
/// | `recipient.unknown`, `.disabled` | | unknown user | | |
/// | `content.spam`, `.policy`, `.virus`, `policy` | | spam refused | | |
/// | `sender.rejected` | | blocked | | |
/// | `connection`, `system`, silence | unavailable | deferred | | |
/// | all others | rate, where a rule says `slow-down` | deferred, or other bounce | | |
///
/// What is refused for the sake of one recipient or message (`recipient`, `greylist`, `content`, and `rate` of a recipient) has
/// passed the receiver's limits, and is counted against the budget like what was taken.
///
/// The fate follows the action, but for one: whoever is asked to slow down waits in its path, without an attempt counted,
/// since the pacer rests and nothing has changed about the message.
#[must_use]
pub fn reaction(verdict: &Verdict) -> Reaction {
    let suspended = match verdict.action {
        Action::Suspend(rest) => Some(rest),
        _ => None,
    };
    let is_of_source = matches!(family(verdict.class), "blocklist" | "reputation" | "auth");
    let burns = suspended.filter(|_| is_of_source && verdict.scope == Scope::Source);
    Reaction {
        pace: pace(verdict),
        passed: passed(verdict),
        happening: happening(verdict),
        fate: fate(verdict),
        mailbox: mailbox(verdict),
        burns,
        rests: suspended.filter(|_| burns.is_none()),
        identity_slow: is_slow_identity(verdict),
    }
}

/// The part of a class in front of the dot.
fn family(class: &str) -> &str {
    class.split('.').next().unwrap_or_default()
}

fn is_slow_identity(verdict: &Verdict) -> bool {
    let is_rate = verdict.class == "rate" && verdict.scope == Scope::Identity;
    is_rate || verdict.class == "reputation.domain"
}

fn pace(verdict: &Verdict) -> Option<PaceSignal> {
    let is_throttle = matches!(verdict.action, Action::SlowDown | Action::Suspend(_));
    match verdict.class {
        "rate" | "rate.conn" if matches!(verdict.scope, Scope::Recipient | Scope::Identity) => None,
        "rate" => Some(PaceSignal::Rate),
        // Too many recipients of one transaction say nothing of connections.
        "rate.conn" if is_throttle => Some(PaceSignal::Connections),
        "rate.msgs_per_conn" => Some(PaceSignal::Session),
        "blocklist" | "reputation" | "reputation.ip" | "reputation.rate" => Some(PaceSignal::Reputation),
        "connection" | "system" | "network.silence" if verdict.action == Action::Defer => {
            Some(PaceSignal::Unavailable)
        }
        // Whatever asks us to slow down is about the rate when nothing nearer is known.
        _ if asks_for_less(verdict) => Some(PaceSignal::Rate),
        _ => None,
    }
}

/// Limits are asked before mailboxes, greylists and contents are looked at.
fn passed(verdict: &Verdict) -> bool {
    let is_of_limits = pace(verdict).is_some() || is_slow_identity(verdict);
    let is_of_its_own = matches!(family(verdict.class), "recipient" | "greylist" | "content");
    !is_of_limits && (is_of_its_own || mailbox(verdict).is_some())
}

fn asks_for_less(verdict: &Verdict) -> bool {
    verdict.action == Action::SlowDown && !matches!(verdict.scope, Scope::Recipient | Scope::Identity)
}

fn happening(verdict: &Verdict) -> Happening {
    let is_bounce = verdict.action == Action::Bounce;
    match verdict.class {
        "recipient.unknown" | "recipient.disabled" => Happening::UnknownUser,
        "content.spam" | "content.policy" | "content.virus" | "policy" => Happening::SpamRefused,
        "sender.rejected" | "blocklist" => Happening::Blocked,
        class if family(class) == "reputation" => Happening::Blocked,
        class if family(class) == "rate" && is_of_ours(verdict) => Happening::RateLimited,
        _ if is_bounce => Happening::OtherBounce,
        _ => Happening::Deferred,
    }
}

/// Whether too much was sent by us, and not to one mailbox or in one transaction.
fn is_of_ours(verdict: &Verdict) -> bool {
    verdict.scope != Scope::Recipient && verdict.action != Action::NextTransaction
}

fn fate(verdict: &Verdict) -> Fate {
    match (verdict.action, verdict.scope) {
        (Action::Bounce, _) => Fate::Bounce,
        (Action::Defer, _) | (Action::SlowDown, Scope::Recipient) => Fate::Retry,
        (Action::SlowDown, Scope::Identity) => Fate::Hold(IDENTITY_REST),
        (Action::SlowDown | Action::Suspend(_), _) => Fate::Wait,
        (Action::NextMx, _) => Fate::NextHost,
        (Action::NextTransaction, _) => Fate::NextTransaction,
        (Action::Reconnect, _) => Fate::Reconnect,
        (Action::Hold(time), _) => Fate::Hold(time),
        (Action::RequireTls, _) => Fate::RequireTls,
        (Action::WithoutTls, _) => Fate::WithoutTls,
    }
}

fn mailbox(verdict: &Verdict) -> Option<MailboxTrouble> {
    match (verdict.class, verdict.scope) {
        ("recipient.full", _) => Some(MailboxTrouble::Full),
        ("recipient.rate", _) | ("rate", Scope::Recipient) => Some(MailboxTrouble::Rate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mail::{Phase, Reply};

    use super::*;
    use crate::verdict::{Fault, RuleId, Rules, judge_network};

    fn verdict(class: &'static str, scope: Scope, action: Action) -> Verdict {
        let rule = RuleId::Builtin("test");
        Verdict { class, scope, action, suppress: false, alert: false, rule }
    }

    /// What each class means for 4yz and for 5yz where no rule says otherwise: by rules of an operator that say nothing but
    /// the class.
    fn classes() -> Vec<(&'static str, [Verdict; 2])> {
        use std::fmt::Write as _;
        let mut text = "[node]\ndata_dir = \"d\"\n[http]\n".to_owned();
        let classes: Vec<_> = Rules::classes().collect();
        for (number, class) in classes.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "[[reply_rule]]\nname = \"r{number}\"\nclass = \"{class}\"\ntext = [\"n{number}x\"]\n\
                 samples = [\"450 n{number}x\"]\n"
            );
        }
        let checked = crate::config::check("f", &text);
        let config = checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems));
        let judge = |number: usize, code| {
            config.replies.judge(Phase::Rcpt, &Reply::new(code, format!("n{number}x")), "default")
        };
        let both = |(number, class)| (class, [450, 550].map(|code| judge(number, code)));
        classes.into_iter().enumerate().map(both).collect()
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    /// Class; of 4yz and of 5yz: pacer, counted, mailbox, burnt for minutes, identity slowed; then the fates.
    type Row = (
        &'static str,
        Option<PaceSignal>,
        [Happening; 2],
        Option<MailboxTrouble>,
        [Option<u64>; 2],
        bool,
        [Fate; 2],
    );

    fn rows() -> Vec<Row> {
        use Fate::{Bounce, Hold, NextHost, Reconnect, Retry, Wait};
        use Happening::{Blocked, Deferred, OtherBounce, RateLimited, SpamRefused, UnknownUser};
        let hour = Hold(minutes(60));
        let failure = |class, happening, fate| (class, None, happening, None, [None; 2], false, fate);
        let other = |class| failure(class, [Deferred, OtherBounce], [Retry, Bounce]);
        let auth = |class| failure(class, [Deferred; 2], [hour; 2]);
        let paced = |class, pace, happening, burns, fate| {
            (class, Some(pace), [happening; 2], None, burns, false, [fate; 2])
        };
        let spam = |class| failure(class, [SpamRefused; 2], [Retry, Bounce]);
        let (full, rate) = (Some(MailboxTrouble::Full), Some(MailboxTrouble::Rate));
        vec![
            failure("recipient.unknown", [UnknownUser; 2], [Retry, Bounce]),
            failure("recipient.disabled", [UnknownUser; 2], [Retry, Bounce]),
            ("recipient.full", None, [Deferred, OtherBounce], full, [None; 2], false, [Retry, Bounce]),
            ("recipient.rate", None, [Deferred; 2], rate, [None; 2], false, [Retry; 2]),
            other("domain.notaccept"),
            other("relay.denied"),
            failure("sender.rejected", [Blocked; 2], [Retry, Bounce]),
            failure("sender.dns", [Deferred; 2], [Retry, hour]),
            spam("content.spam"),
            spam("content.virus"),
            spam("content.policy"),
            spam("policy"),
            other("content.size"),
            other("content.format"),
            other("content.attachment"),
            paced("blocklist", PaceSignal::Reputation, Blocked, [Some(15), Some(60)], Wait),
            paced("reputation", PaceSignal::Reputation, Blocked, [None; 2], Wait),
            paced("reputation.ip", PaceSignal::Reputation, Blocked, [None; 2], Wait),
            paced("reputation.rate", PaceSignal::Reputation, Blocked, [Some(120); 2], Wait),
            ("reputation.domain", None, [Blocked; 2], None, [None; 2], true, [hour; 2]),
            paced("rate", PaceSignal::Rate, RateLimited, [None; 2], Wait),
            paced("rate.conn", PaceSignal::Connections, RateLimited, [None; 2], Wait),
            paced("rate.msgs_per_conn", PaceSignal::Session, RateLimited, [None; 2], Reconnect),
            failure("greylist", [Deferred; 2], [Retry; 2]),
            auth("auth"),
            auth("auth.spf"),
            auth("auth.dkim"),
            auth("auth.dmarc"),
            auth("auth.none"),
            auth("auth.alignment"),
            auth("auth.bulk"),
            ("auth.ptr", None, [Deferred; 2], None, [Some(60); 2], false, [Wait; 2]),
            other("security"),
            other("protocol"),
            paced("connection", PaceSignal::Unavailable, Deferred, [None; 2], Retry),
            failure("network", [Deferred; 2], [NextHost; 2]),
            paced("system", PaceSignal::Unavailable, Deferred, [None; 2], Retry),
            other("expired"),
        ]
    }

    #[test]
    fn each_class_has_its_reaction() {
        let rows = rows();
        let classes = classes();
        assert_eq!(classes.len(), rows.len());
        for (class, verdicts) in classes {
            let row = rows.iter().find(|row| row.0 == class).unwrap_or_else(|| panic!("no row for {class}"));
            let &(_, pace, happening, mailbox, burns, identity_slow, fate) = row;
            for (is_permanent, verdict) in [false, true].into_iter().zip(verdicts) {
                let at = usize::from(is_permanent);
                let expected = Reaction {
                    pace,
                    passed: matches!(family(class), "recipient" | "greylist" | "content"),
                    happening: happening[at],
                    fate: fate[at],
                    mailbox,
                    burns: burns[at].map(minutes),
                    rests: None,
                    identity_slow,
                };
                assert_eq!(reaction(&verdict), expected, "{class}, permanent: {is_permanent}");
            }
        }
    }

    #[test]
    fn rules_that_narrow_a_class_narrow_the_reaction() {
        let slow = Action::SlowDown;
        let of_mailbox = reaction(&verdict("rate", Scope::Recipient, slow));
        assert_eq!((of_mailbox.pace, of_mailbox.fate), (None, Fate::Retry));
        assert!(of_mailbox.passed);
        assert_eq!(
            (of_mailbox.mailbox, of_mailbox.happening),
            (Some(MailboxTrouble::Rate), Happening::Deferred)
        );
        let of_identity = reaction(&verdict("rate", Scope::Identity, slow));
        assert_eq!((of_identity.pace, of_identity.fate), (None, Fate::Hold(IDENTITY_REST)));
        assert!(of_identity.identity_slow && !of_identity.passed, "its own limit comes first");
        let by_rule = |scope| reaction(&verdict("policy", scope, slow)).pace;
        assert_eq!(by_rule(Scope::Source), Some(PaceSignal::Rate), "a rule of the operator's own");
        assert_eq!((by_rule(Scope::Identity), by_rule(Scope::Recipient)), (None, None));
        let of_recipients = reaction(&verdict("rate.conn", Scope::Source, Action::NextTransaction));
        assert_eq!((of_recipients.pace, of_recipients.fate), (None, Fate::NextTransaction));
        assert_eq!(of_recipients.happening, Happening::Deferred);
        let busy = reaction(&verdict("system", Scope::Source, Action::Suspend(minutes(15))));
        assert_eq!((busy.burns, busy.rests), (None, Some(minutes(15))), "no name is spoilt");
        let site = reaction(&verdict("blocklist", Scope::Site, Action::Suspend(minutes(15))));
        assert_eq!((site.burns, site.rests), (None, Some(minutes(15))), "it is the same from each source");
    }

    #[test]
    fn faults_without_a_reply_say_nothing_of_our_name() {
        for fault in Fault::ALL {
            let found = reaction(&judge_network(fault));
            assert!(matches!(found.happening, Happening::Deferred | Happening::OtherBounce), "{fault:?}");
            assert!(found.burns.is_none() && found.mailbox.is_none() && !found.identity_slow);
            assert!(matches!(found.pace, None | Some(PaceSignal::Unavailable)));
        }
        let silence = reaction(&judge_network(Fault::ReplyTimeout));
        assert_eq!(silence.pace, Some(PaceSignal::Unavailable));
    }

    #[test]
    fn whoever_is_asked_for_less_loses_no_attempt() {
        for (class, verdicts) in classes() {
            for verdict in verdicts {
                let found = reaction(&verdict);
                let is_throttled = matches!(
                    found.pace,
                    Some(PaceSignal::Rate | PaceSignal::Reputation | PaceSignal::Connections)
                );
                assert!(!is_throttled || found.fate == Fate::Wait, "{class}");
            }
        }
    }

    #[test]
    fn a_signal_has_the_numbers_of_its_connection() {
        assert_eq!(PaceSignal::Connections.signal(4, 9), Signal::Connections { open: 4 });
        assert_eq!(PaceSignal::Session.signal(4, 9), Signal::Session { messages: 9 });
        assert_eq!(PaceSignal::Rate.signal(4, 9), Signal::Rate);
    }
}
