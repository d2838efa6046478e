//! Mailboxes: none is stored. What one is like follows from its address, by a mark at its beginning or by chance.

use mail::{Address, UnixMs};

use crate::chance::{Hash, Roll};
use crate::file::Mailboxes;

/// What a mailbox is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature {
    /// Somebody's.
    Usual,
    /// It does not exist: `unknown…`.
    Unknown,
    /// It is full: `full…`.
    Full,
    /// It is full for good.
    Abandoned,
    /// Nobody reads it, and mail to it tells the provider who sends unasked: `trap…`.
    Trap,
    /// Its reader complains of all mail: `complain…`.
    Complainer,
}

/// The beginnings of local parts that say what a mailbox is like, in whatever case.
const MARKS: [(&str, Nature); 4] = [
    ("unknown", Nature::Unknown),
    ("full", Nature::Full),
    ("trap", Nature::Trap),
    ("complain", Nature::Complainer),
];

/// A number for the mailbox of an address, the same in all worlds; the local part counts without its case.
#[must_use]
pub fn mailbox(address: &Address) -> u64 {
    let mut hash = Hash::new(0);
    hash.lower(address.local().as_bytes());
    hash.word(address.domain().as_bytes());
    hash.number()
}

/// The purposes of the rolls.
const UNKNOWN: u64 = 1;
const FULL: u64 = 2;
const TRAP: u64 = 3;
const ABANDONED: u64 = 4;
const SINCE: u64 = 5;

impl Nature {
    /// What the mailbox of `address` is like at a provider with such mailboxes.
    pub(crate) fn of(address: &Address, settings: &Mailboxes, roll: Roll) -> Self {
        let local = address.local().as_bytes();
        let marked = MARKS.iter().find(|(mark, _)| {
            local.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark.as_bytes()))
        });
        if let Some(&(_, nature)) = marked {
            return nature;
        }
        let is = |purpose, share: f64| share > 0.0 && roll.portion(purpose) < share;
        if is(UNKNOWN, settings.unknown.0) {
            Self::Unknown
        } else if is(ABANDONED, settings.abandoned.0) {
            Self::Abandoned
        } else if is(FULL, settings.full.0) {
            Self::Full
        } else if is(TRAP, settings.traps.0) {
            Self::Trap
        } else {
            Self::Usual
        }
    }
}

/// Whether a mailbox that may be full is full: it is emptied in turn or for good, if it ever is.
pub(crate) fn is_full(settings: &Mailboxes, roll: Roll, now: UnixMs, age_ms: u64) -> bool {
    if settings.full_until.is_some_and(|until| u128::from(age_ms) >= until.0.as_millis()) {
        return false;
    }
    let Some(full_for) = settings.full_for else { return true };
    let full_for_ms = full_for.0.as_millis().max(1) as u64;
    let offset_ms = (roll.portion(SINCE) * 2.0 * full_for_ms as f64) as u64;
    (now.0 + offset_ms) % (2 * full_for_ms) < full_for_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_say_what_a_mailbox_is_like() {
        for (local, nature) in [
            ("unknown", Nature::Unknown),
            ("Full.7", Nature::Full),
            ("TRAP-1", Nature::Trap),
            ("complain99", Nature::Complainer),
            ("fulvia", Nature::Usual),
            ("x", Nature::Usual),
        ] {
            let address = Address::parse(&format!("{local}@x.test")).expect("an address");
            assert_eq!(Nature::of(&address, &Mailboxes::default(), Roll::of(1, 1)), nature, "{local}");
        }
    }

    #[test]
    fn the_number_of_a_mailbox_knows_no_case() {
        let of = |text: &str| mailbox(&Address::parse(text).expect("an address"));
        assert_eq!(of("Ann@X.test"), of("ann@x.test"));
        assert_ne!(of("ann@x.test"), of("ann@y.test"));
    }
}
