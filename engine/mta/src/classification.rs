//! Which class a submission gets: brings together what the message says, what its account says and what is known of the
//! content that went before. The decision itself is `policy::classify`.

use content::Prepared;
use content::header::{find, split_head_body};
use mail::{Address, Class, UnixMs};
use policy::classify::{Basis, HeaderSigns, Hints, RuleSubject, classify};
use policy::config::Account;

/// What decided a class, as the spool keeps it.
pub(crate) fn ground_of(basis: &Basis) -> spool::Ground {
    spool::Ground { code: basis.ground.code(), because: basis.because.clone() }
}

/// A message that is being taken.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The moment.
    pub now: UnixMs,
    /// Who submits it; `None` when it comes from a trusted network without a login.
    pub account: Option<&'a Account>,
    /// The message.
    pub prepared: &'a Prepared,
    /// The priority of the envelope (RFC 6710), which goes before that of the header.
    pub priority: Option<i8>,
    /// The envelope sender; `None` is `<>`.
    pub sender: Option<&'a Address>,
    /// Whom it goes to.
    pub recipients: &'a [&'a Address],
}

/// Decides what class messages are of.
#[derive(Debug, Default)]
pub struct Classifier {}

impl Classifier {
    /// The class of a message and what decided it.
    #[must_use]
    pub fn classify(&self, mail: &Incoming<'_>) -> (Class, Basis) {
        let Prepared { message, directives, signs, from, subject, .. } = mail.prepared;
        let (head, _) = split_head_body(message);
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
}
