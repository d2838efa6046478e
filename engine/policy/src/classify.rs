//! Which class a message is of, and what decided it.

use mail::Class;

/// What is known about a message when it is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// What the sender said: the field of the API or `X-Staffetta-Class`.
    pub explicit: Option<Class>,
    /// The default of the account that submits it.
    pub account: Option<Class>,
    /// Whether it belongs to a campaign.
    pub campaign: bool,
    /// Whether its headers are those of mail to many: `List-Id`, `List-Unsubscribe`, or `Precedence: bulk` or `list`.
    pub list_headers: bool,
}

/// What decided the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// The sender said it.
    Explicit,
    /// The account's default.
    Account,
    /// It belongs to a campaign.
    Campaign,
    /// Its headers are those of a list.
    Headers,
    /// Nothing else did.
    Default,
}

impl Ground {
    /// The name that is recorded and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::Headers => "headers",
            Self::Default => "default",
        }
    }
}

/// The class and its ground: the sender's word, then the account's default, then what the mail is.
#[must_use]
pub fn classify(hints: Hints) -> (Class, Ground) {
    match hints {
        Hints { explicit: Some(class), .. } => (class, Ground::Explicit),
        Hints { account: Some(class), .. } => (class, Ground::Account),
        Hints { campaign: true, .. } => (Class::Bulk, Ground::Campaign),
        Hints { list_headers: true, .. } => (Class::Bulk, Ground::Headers),
        _ => (Class::Transactional, Ground::Default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_to_the_sender_decides() {
        let all = Hints {
            explicit: Some(Class::Critical),
            account: Some(Class::Personal),
            campaign: true,
            list_headers: true,
        };
        for (hints, expected) in [
            (all, (Class::Critical, Ground::Explicit)),
            (Hints { explicit: None, ..all }, (Class::Personal, Ground::Account)),
            (Hints { explicit: None, account: None, ..all }, (Class::Bulk, Ground::Campaign)),
            (Hints { list_headers: true, ..Hints::default() }, (Class::Bulk, Ground::Headers)),
            (Hints::default(), (Class::Transactional, Ground::Default)),
        ] {
            assert_eq!(classify(hints), expected);
        }
    }
}
