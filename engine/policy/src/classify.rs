//! Which class a message is of, and what decided it: the nearest word to the sender first, a guess last.

mod glob;
mod repeats;
mod rule;
mod sketch;
mod words;

pub use glob::Glob;
pub use repeats::{Action, Behaviour, CONTENTS_MAX, Repetition, Sent, Watch};
pub use rule::{HeaderMark, Rule, RuleSubject};
pub use sketch::{Reading, Sketch};

use mail::Class;

/// What is known about a message when it is accepted, apart from what rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints<'a> {
    /// What the sender said: the field of the API or `X-Staffetta-Class`.
    pub explicit: Option<Class>,
    /// MT-PRIORITY (RFC 6710 section 4) or the field `MT-Priority` (RFC 6758), -9 to 9.
    pub priority: Option<i8>,
    /// The rules of the account that submits it, in the order of the file.
    pub rules: &'a [Rule],
    /// The default of that account.
    pub account: Option<Class>,
    /// Whether it belongs to a campaign.
    pub campaign: bool,
    /// What its header says of itself.
    pub header: HeaderSigns,
}

/// What the header of a message says about the kind of mail that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderSigns {
    /// The field by which it is mail to many: `List-Id` (RFC 2919) or `List-Unsubscribe` (RFC 2369).
    pub list: Option<&'static str>,
    /// `Precedence: bulk`, `list` or `junk` (no standard; RFC 3834 section 3.1.8 knows it).
    pub precedence: bool,
    /// `Auto-Submitted` with another value than `no` (RFC 3834 section 5): a program wrote it for one reader.
    pub automatic: bool,
    /// `Feedback-ID`: somebody counts complaints about it. Programs write it into every kind of mail, so it decides nothing alone.
    pub feedback: bool,
}

/// What decided the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// The sender said it.
    Explicit,
    /// The sender said how urgent it is (RFC 6710).
    Priority,
    /// The rule of the account with this number, counted from 1.
    Rule(u8),
    /// The account's default.
    Account,
    /// It belongs to a campaign.
    Campaign,
    /// What its header says of itself.
    Headers,
    /// Its content is repeated for many.
    Behaviour,
    /// Nothing else did.
    Default,
}

/// Most rules of one account: each of its messages is held against all of them, and their numbers are kept in a byte
/// beside the other grounds.
pub const RULES_MAX: usize = 100;

/// What the code of the first rule is, less one; the other grounds have those below.
const RULE_CODES: u8 = 100;

impl Ground {
    /// The name that is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Priority => "priority",
            Self::Rule(_) => "rule",
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::Headers => "headers",
            Self::Behaviour => "behaviour",
            Self::Default => "default",
        }
    }

    /// The number that is kept with the message; never 0, which stands for mail that was accepted when no ground was kept.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Default => 1,
            Self::Explicit => 2,
            Self::Priority => 3,
            Self::Account => 4,
            Self::Campaign => 5,
            Self::Headers => 6,
            Self::Behaviour => 7,
            Self::Rule(number) => RULE_CODES + number,
        }
    }

    /// The ground whose code is `code`; `None` when there is none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Default),
            2 => Some(Self::Explicit),
            3 => Some(Self::Priority),
            4 => Some(Self::Account),
            5 => Some(Self::Campaign),
            6 => Some(Self::Headers),
            7 => Some(Self::Behaviour),
            code if code > RULE_CODES && code - RULE_CODES <= RULES_MAX as u8 => {
                Some(Self::Rule(code - RULE_CODES))
            }
            _ => None,
        }
    }
}

/// What decided the class, with the words for whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// What it was.
    pub ground: Ground,
    /// The rule, field or figures that it stands on; empty when the ground says all.
    pub because: String,
}

impl Basis {
    /// A ground that says all.
    #[must_use]
    pub const fn of(ground: Ground) -> Self {
        Self { ground, because: String::new() }
    }
}

/// The class and what decided it, behaviour left aside: the sender's word, the account's rules and default, then what the
/// mail says of itself.
#[must_use]
pub fn classify(hints: &Hints<'_>, subject: &RuleSubject<'_>) -> (Class, Basis) {
    if let Some(class) = hints.explicit {
        return (class, Basis::of(Ground::Explicit));
    }
    if let Some((priority, class)) = hints.priority.and_then(|value| Some((value, of_priority(value)?))) {
        return (class, Basis { ground: Ground::Priority, because: format!("MT-PRIORITY {priority}") });
    }
    let fits = hints.rules.iter().take(RULES_MAX).zip(1_u8..).find(|(rule, _)| rule.fits(subject));
    if let Some((rule, number)) = fits {
        return (rule.class, Basis { ground: Ground::Rule(number), because: rule.to_string() });
    }
    if let Some(class) = hints.account {
        return (class, Basis::of(Ground::Account));
    }
    if hints.campaign {
        return (Class::Bulk, Basis::of(Ground::Campaign));
    }
    match of_header(hints.header) {
        Some((class, field)) => (class, Basis { ground: Ground::Headers, because: field.to_owned() }),
        None => (Class::Transactional, Basis::of(Ground::Default)),
    }
}

/// The class of a priority (RFC 6710 section 5.1; 0 is what mail without one has, so it says nothing). From 4 on it is what
/// X.400 calls urgent and the military flash: critical. Below 0 everything else may go first, which is what bulk means here.
/// Personal says what kind of mail it is and not how urgent, so no priority means it.
#[must_use]
pub const fn of_priority(value: i8) -> Option<Class> {
    match value {
        4..=9 => Some(Class::Critical),
        1..=3 => Some(Class::Transactional),
        -9..=-1 => Some(Class::Bulk),
        _ => None,
    }
}

/// What the header alone says. A list is a list, whoever wrote the mail; but `Precedence: bulk` stands also in the notices of
/// programs, where it is to keep vacation messages away, so the standard field for that overrules it.
fn of_header(signs: HeaderSigns) -> Option<(Class, &'static str)> {
    match signs {
        HeaderSigns { list: Some(field), .. } => Some((Class::Bulk, field)),
        HeaderSigns { automatic: true, .. } => Some((Class::Transactional, "Auto-Submitted")),
        HeaderSigns { precedence: true, .. } => Some((Class::Bulk, "Precedence")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: RuleSubject<'_> =
        RuleSubject { from: None, recipients: &[], subject: "", header: &|_| None };

    fn ground(hints: &Hints<'_>) -> (Class, Ground, String) {
        let (class, basis) = classify(hints, &NOTHING);
        (class, basis.ground, basis.because)
    }

    #[test]
    fn the_nearest_word_to_the_sender_decides() {
        let rules =
            [Rule { subject: Glob::parse("news*"), ..Rule::of(Class::Bulk) }, Rule::of(Class::Personal)];
        let all = Hints {
            explicit: Some(Class::Critical),
            priority: Some(1),
            rules: &rules,
            account: Some(Class::Personal),
            campaign: true,
            header: HeaderSigns { list: Some("List-Id"), precedence: true, automatic: true, feedback: true },
        };
        let mut hints = all;
        assert_eq!(ground(&hints), (Class::Critical, Ground::Explicit, String::new()));
        hints.explicit = None;
        assert_eq!(ground(&hints), (Class::Transactional, Ground::Priority, "MT-PRIORITY 1".to_owned()));
        hints.priority = Some(0);
        assert_eq!(ground(&hints).1, Ground::Rule(2));
        hints.rules = &rules[..1];
        assert_eq!(ground(&hints), (Class::Personal, Ground::Account, String::new()));
        hints.account = None;
        assert_eq!(ground(&hints), (Class::Bulk, Ground::Campaign, String::new()));
        hints.campaign = false;
        assert_eq!(ground(&hints), (Class::Bulk, Ground::Headers, "List-Id".to_owned()));
        hints.header.list = None;
        assert_eq!(ground(&hints), (Class::Transactional, Ground::Headers, "Auto-Submitted".to_owned()));
        hints.header.automatic = false;
        assert_eq!(ground(&hints), (Class::Bulk, Ground::Headers, "Precedence".to_owned()));
        hints.header.precedence = false;
        assert_eq!(ground(&hints), (Class::Transactional, Ground::Default, String::new()));
    }

    #[test]
    fn priorities_say_how_urgent_and_nothing_else() {
        let classes: Vec<_> = (-10..=10).map(of_priority).collect();
        let of = |class, count| std::iter::repeat_n(class, count);
        let expected: Vec<_> = of(None, 1)
            .chain(of(Some(Class::Bulk), 9))
            .chain(of(None, 1))
            .chain(of(Some(Class::Transactional), 3))
            .chain(of(Some(Class::Critical), 6))
            .chain(of(None, 1))
            .collect();
        assert_eq!(classes, expected);
    }

    #[test]
    fn every_code_is_one_ground() {
        let known: Vec<_> = (0..=u8::MAX).filter_map(Ground::from_code).collect();
        assert_eq!(known.len(), 7 + RULES_MAX);
        assert!(known.iter().all(|ground| Ground::from_code(ground.code()) == Some(*ground)));
        assert_eq!(Ground::from_code(0), None);
    }
}
