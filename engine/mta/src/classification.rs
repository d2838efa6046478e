//! Which class a submission gets: brings together what the message says, what its account says and what is known of the
//! content that went before. The decisions are `policy::classify`; here is only the state that they share, and the warnings.

use std::hash::Hasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use content::Prepared;
use content::excerpt::excerpt;
use content::header::find;
use mail::{Address, Class, UnixMs};
use policy::classify::{
    Action, Basis, Behaviour, Ground, HeaderSigns, Hints, Reading, Repetition, RuleSubject, Sent, Sketch,
    Watch, classify,
};
use policy::config::Account;
use rustc_hash::FxHasher;

/// Parts of the memory of contents, so that shards seldom want the same one at once.
const STRIPES: usize = 16;
/// Streams (account and sender domain) that each part remembers: 1,024 in all, some 7 MiB at most.
const STREAMS_MAX: usize = 64;
/// Recipients of one message that are told apart; the rest is counted.
const PEOPLE_MAX: usize = 64;
/// Places in which it is kept which stream was warned of when.
const TOLD: usize = 256;
/// How long nothing more is said of a stream.
const TOLD_AGAIN: Duration = Duration::from_secs(3600);

/// What decided a class, as the spool keeps it.
pub(crate) fn ground_of(basis: Basis) -> spool::Ground {
    spool::Ground { code: basis.ground.code(), because: basis.because }
}

/// A message that is being taken.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The moment.
    pub now: UnixMs,
    /// Who submits it; `None` when it comes from a trusted network without a login.
    pub account: Option<&'a Account>,
    /// The message.
    pub prepared: &'a Prepared<'a>,
    /// The priority of the envelope (RFC 6710), which goes before that of the header.
    pub priority: Option<i8>,
    /// The envelope sender; `None` is `<>`.
    pub sender: Option<&'a Address>,
    /// Whom it goes to.
    pub recipients: &'a [&'a Address],
}

/// Decides what class messages are of, for all shards and the API. It never waits: where two want the same part of the
/// memory at once, the content of one of the two messages is not looked at.
#[derive(Debug)]
pub struct Classifier {
    behaviour: Behaviour,
    stripes: [Mutex<Watch>; STRIPES],
    newsletters: Warned,
    without_unsubscribe: Warned,
}

impl Default for Classifier {
    fn default() -> Self {
        Self::new(Behaviour::default())
    }
}

impl Classifier {
    /// Nothing is known yet of any content.
    #[must_use]
    pub fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            stripes: std::array::from_fn(|_| Mutex::new(Watch::new(behaviour, STREAMS_MAX))),
            newsletters: Warned::default(),
            without_unsubscribe: Warned::default(),
        }
    }

    /// The class of a message and what decided it.
    #[must_use]
    pub fn classify(&self, mail: &Incoming<'_>) -> (Class, Basis) {
        let (class, basis) = spoken(mail);
        let signs = &mail.prepared.signs;
        if class == Class::Bulk {
            if !signs.unsubscribe {
                self.no_unsubscribe(mail.account, identity_of(mail), basis.ground, mail.now);
            }
            return (class, basis);
        }
        // The sender's own word, or his campaign's, needs no second opinion, and costs nothing.
        if self.behaviour.action == Action::Off
            || matches!(basis.ground, Ground::Explicit | Ground::Priority | Ground::Campaign)
        {
            return (class, basis);
        }
        // An account's word goes before the header's, so the header may speak of a list all the same.
        if let Some(field) = signs.list {
            self.warn_of_newsletter(mail, class, field, 1);
            return (class, basis);
        }
        let Some(repetition) = self.repetition(mail) else { return (class, basis) };
        let because = repetition.to_string();
        self.warn_of_newsletter(mail, class, &because, repetition.weight);
        if self.behaviour.action == Action::Reclass && basis.ground == Ground::Default {
            return (Class::Bulk, Basis { ground: Ground::Behaviour, because });
        }
        (class, basis)
    }

    /// Messages that were newsletters though they came as if somebody awaited them, since the start.
    #[must_use]
    pub fn newsletters(&self) -> u64 {
        self.newsletters.count.load(Ordering::Relaxed)
    }

    /// Bulk messages that came with no `List-Unsubscribe`, since the start.
    #[must_use]
    pub fn without_unsubscribe(&self) -> u64 {
        self.without_unsubscribe.count.load(Ordering::Relaxed)
    }

    /// Takes note of the content, and says whether it is a newsletter's.
    fn repetition(&self, mail: &Incoming<'_>) -> Option<Repetition> {
        let stream = stream_of(mail);
        let stripe = &self.stripes[(stream >> 32) as usize % STRIPES];
        let weight = stripe.try_lock().ok()?.wants(stream, mail.now)?;
        let prepared = mail.prepared;
        let head = prepared.fields();
        let to = find(head, "To").map(|field| field.text()).unwrap_or_default();
        let found = excerpt(head, &prepared.body);
        let sketch = Sketch::of(&Reading {
            subject: &prepared.subject,
            to: &to,
            text: &found.text,
            is_html: found.is_html,
            tail: &found.tail,
            attached: found.attached,
            feedback: prepared.signs.feedback,
        });
        let mut people = [0; PEOPLE_MAX];
        let some = people.iter_mut().zip(mail.recipients);
        let count = some.map(|(place, to)| *place = hash_of([to.as_str()])).count();
        let recipients = u32::try_from(mail.recipients.len()).unwrap_or(u32::MAX);
        let sent = Sent { people: &people[..count], recipients, weight };
        stripe.try_lock().ok()?.saw(stream, &sketch, &sent, mail.now)
    }

    fn warn_of_newsletter(&self, mail: &Incoming<'_>, class: Class, because: &str, count: u32) {
        if self.newsletters.is_to_be_told(u64::from(count), stream_of(mail), mail.now) {
            let (account, from) = (name_of(mail.account), identity_of(mail));
            tracing::warn!(
                event = "class.newsletter_in_transactional",
                account,
                from,
                class = class.name(),
                because,
                "mail to many comes as {class}: give it a campaign, a class or a rule of its own"
            );
        }
    }

    /// Takes note of bulk mail that offers no way out: large providers want one-click unsubscription in mail to many
    /// (RFC 8058), and only its writer can offer it. `from` is the sender domain.
    pub fn no_unsubscribe(&self, account: Option<&Account>, from: &str, ground: Ground, now: UnixMs) {
        let account = name_of(account);
        if self.without_unsubscribe.is_to_be_told(1, hash_of([account, from]), now) {
            tracing::warn!(
                event = "class.bulk_without_unsubscribe",
                account,
                from,
                ground = ground.name(),
                "bulk mail comes without List-Unsubscribe: large providers will put it among the spam"
            );
        }
    }
}

/// The class by what is said: by the message, by its account.
fn spoken(mail: &Incoming<'_>) -> (Class, Basis) {
    let Prepared { directives, signs, from, subject, .. } = mail.prepared;
    let head = mail.prepared.fields();
    let hints = Hints {
        explicit: directives.class,
        priority: mail.priority.or(signs.priority),
        rules: mail.account.map_or(&[], |account| &account.rules),
        account: mail.account.and_then(|account| account.class),
        campaign: directives.campaign.is_some(),
        header: HeaderSigns {
            list: signs.list,
            precedence: signs.precedence,
            automatic: signs.automatic,
            feedback: signs.feedback,
        },
    };
    let subject = RuleSubject {
        from: from.as_ref().ok().or(mail.sender),
        recipients: mail.recipients,
        subject,
        header: &|name| find(head, name).map(|field| field.text()),
    };
    classify(&hints, &subject)
}

fn name_of(account: Option<&Account>) -> &str {
    account.map_or("", |account| account.name.as_str())
}

/// The domain by which senders are told apart.
fn identity_of<'a>(mail: &Incoming<'a>) -> &'a str {
    mail.prepared.from.as_ref().ok().or(mail.sender).map_or("", Address::domain)
}

/// The account and the sender domain.
fn stream_of(mail: &Incoming<'_>) -> u64 {
    hash_of([name_of(mail.account), identity_of(mail)])
}

fn hash_of<const N: usize>(texts: [&str; N]) -> u64 {
    let mut hasher = FxHasher::default();
    for text in texts {
        text.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
        hasher.write_u8(0);
    }
    hasher.finish()
}

/// A warning: how often there was cause for it, and of which streams it was given lately.
#[derive(Debug)]
struct Warned {
    count: AtomicU64,
    /// In each place the moment of the last one; streams that share a place are silent together.
    told: [AtomicU64; TOLD],
}

impl Default for Warned {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), told: [const { AtomicU64::new(0) }; TOLD] }
    }
}

impl Warned {
    /// Counts `count` more; whether it is to be told.
    fn is_to_be_told(&self, count: u64, stream: u64, now: UnixMs) -> bool {
        self.count.fetch_add(count, Ordering::Relaxed);
        let place = &self.told[(stream >> 17) as usize % TOLD];
        let last = place.load(Ordering::Relaxed);
        let is_due = last == 0 || now.since(UnixMs(last)) >= TOLD_AGAIN;
        // Of two that come at once one tells it.
        is_due && place.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{Stamp, read_directives};

    const BEGIN: u64 = 1_795_000_000_000;
    const TEXT: &str = "Dear all,\r\nthe spring offers are here: chairs, tables and all that a garden needs, made in \
        our own workshop from wood of the region.\r\nUnsubscribe: https://x.test/u\r\n";

    fn account(class: Option<Class>) -> Account {
        Account {
            name: "shop".to_owned(),
            password_hash: None,
            token_hash: None,
            class,
            rules: Vec::new(),
            pool: None,
            senders: Vec::new(),
            quota: None,
        }
    }

    /// What becomes of the last of so many messages of the same text.
    fn send(classifier: &Classifier, account: &Account, head: &str, count: u64) -> (Class, Basis) {
        let mut last = None;
        for number in 0..count {
            let now = UnixMs(BEGIN + number * 1_000);
            let raw =
                format!("{head}From: a@shop.test\r\nTo: r{number}@x.test\r\nSubject: Spring\r\n\r\n{TEXT}");
            let stamp = Stamp { now, host: "mx.test", unique: number };
            let prepared = read_directives(raw.as_bytes(), b"", &stamp).expect("a message");
            let to = Address::parse(&format!("r{number}@x.test")).expect("an address");
            last = Some(classifier.classify(&Incoming {
                now,
                account: Some(account),
                prepared: &prepared,
                priority: None,
                sender: None,
                recipients: &[&to],
            }));
        }
        last.expect("one at least")
    }

    #[test]
    fn content_that_repeats_is_counted_and_left_alone_unless_the_operator_says_otherwise() {
        let warns = Classifier::default();
        assert_eq!(send(&warns, &account(None), "", 300), (Class::Transactional, Basis::of(Ground::Default)));
        let about = 90..=112;
        assert!(about.contains(&warns.newsletters()), "from about the 200th on: {}", warns.newsletters());

        let acts = Classifier::new(Behaviour { action: Action::Reclass, ..Behaviour::default() });
        let (class, basis) = send(&acts, &account(None), "", 300);
        assert_eq!((class, basis.ground), (Class::Bulk, Ground::Behaviour));
        assert!(basis.because.contains("says how to unsubscribe"), "{}", basis.because);
        let (class, basis) = send(&acts, &account(Some(Class::Personal)), "", 300);
        assert_eq!(
            (class, basis.ground),
            (Class::Personal, Ground::Account),
            "an operator's word is no default"
        );

        let silent = Classifier::new(Behaviour { action: Action::Off, ..Behaviour::default() });
        send(&silent, &account(None), "", 300);
        assert_eq!(silent.newsletters(), 0);
    }

    #[test]
    fn the_senders_own_word_is_not_looked_behind() {
        let classifier = Classifier::default();
        let (class, _) = send(&classifier, &account(None), "X-Staffetta-Class: transactional\r\n", 300);
        assert_eq!((class, classifier.newsletters()), (Class::Transactional, 0));
        assert!(classifier.stripes.iter().all(|stripe| stripe.lock().expect("not poisoned").streams() == 0));
    }

    #[test]
    fn a_list_in_an_account_of_awaited_mail_is_a_warning() {
        let classifier = Classifier::default();
        let (class, basis) = send(
            &classifier,
            &account(Some(Class::Transactional)),
            "List-Unsubscribe: <https://x.test/u>\r\n",
            3,
        );
        assert_eq!((class, basis.ground), (Class::Transactional, Ground::Account));
        assert_eq!(classifier.newsletters(), 3);
    }

    #[test]
    fn bulk_without_a_way_out_is_a_warning() {
        let classifier = Classifier::default();
        send(&classifier, &account(None), "X-Staffetta-Class: bulk\r\n", 2);
        send(&classifier, &account(None), "List-Unsubscribe: <https://x.test/u>\r\n", 2);
        assert_eq!(classifier.without_unsubscribe(), 2);
    }

    #[test]
    fn a_warning_is_told_once_an_hour() {
        let warned = Warned::default();
        let at = |minute: u64| UnixMs(BEGIN + minute * 60_000);
        let told: Vec<bool> =
            [0, 1, 59, 60, 61].into_iter().map(|minute| warned.is_to_be_told(1, 7, at(minute))).collect();
        assert_eq!(told, [true, false, false, true, false]);
        assert_eq!(warned.count.load(Ordering::Relaxed), 5);
    }
}
