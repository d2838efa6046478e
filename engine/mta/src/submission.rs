//! What is handed to the engine to be sent: a message with its recipients, or a campaign.

use content::template::CampaignDraft;
use mail::{
    Address, CampaignId, Class, DsnReturn, MessageId, Notify, RecipientId, ReversePath, TlsWish, UnixMs,
};
use policy::classify::Basis;

/// One message to any number of recipients.
#[derive(Clone, Debug)]
pub struct Submission {
    /// All but the message and its recipients.
    pub meta: SubmissionMeta,
    /// The complete message (RFC 5322), lines ending in CRLF.
    pub body: Vec<u8>,
    /// Who is to receive it; at least one.
    pub recipients: Vec<NewRecipient>,
}

/// What is known of a message apart from its text.
#[derive(Clone, Debug)]
pub struct SubmissionMeta {
    /// The envelope sender; `None` is `<>`.
    pub sender: ReversePath,
    /// What kind of mail it is.
    pub class: Class,
    /// What decided that; `None` when it was not told.
    pub basis: Option<Basis>,
    /// The account it belongs to; empty when there are none.
    pub tenant: String,
    /// The campaign it belongs to.
    pub campaign: Option<CampaignId>,
    /// The sender's own labels, at most 10.
    pub tags: Vec<String>,
    /// The sender's own JSON, given back in events.
    pub metadata: Option<String>,
    /// Not to be sent before this moment.
    pub not_before: Option<UnixMs>,
    /// To arrive by this moment.
    pub deadline: Option<UnixMs>,
    /// The domain of From, by which senders are told apart; when absent, that of the envelope sender.
    pub identity: Option<String>,
    /// Whether addresses or headers hold UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// `RET=` of MAIL.
    pub dsn_return: DsnReturn,
    /// `ENVID=` of MAIL.
    pub envelope_id: Option<String>,
    /// `REQUIRETLS` of MAIL or `TLS-Required: No` of the header (RFC 8689).
    pub tls: TlsWish,
}

impl SubmissionMeta {
    /// A message of `class` from `sender` with nothing special about it.
    #[must_use]
    pub fn new(sender: ReversePath, class: Class) -> Self {
        Self {
            sender,
            class,
            basis: None,
            tenant: String::new(),
            campaign: None,
            tags: Vec::new(),
            metadata: None,
            not_before: None,
            deadline: None,
            identity: None,
            smtputf8: false,
            dsn_return: DsnReturn::default(),
            envelope_id: None,
            tls: TlsWish::Unstated,
        }
    }
}

/// One recipient to be.
#[derive(Clone, Debug)]
pub struct NewRecipient {
    /// Where to.
    pub address: Address,
    /// On which events the sender wants a notice.
    pub notify: Notify,
    /// `ORCPT=` of RCPT as `type;address`.
    pub original: Option<String>,
    /// Merge values in the order of the template's fields; empty for plain messages.
    pub values: Vec<String>,
}

impl NewRecipient {
    /// A recipient with default wishes and no merge values.
    #[must_use]
    pub fn plain(address: Address) -> Self {
        Self { address, notify: Notify::default(), original: None, values: Vec::new() }
    }
}

/// What the engine answers for a message that it has taken: it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Names the message.
    pub message: MessageId,
    /// Name its recipients, in the order submitted.
    pub recipients: Vec<RecipientId>,
}

/// A campaign to be created: recipients are added afterwards.
#[derive(Clone, Debug)]
pub struct NewCampaign {
    /// Template and headers.
    pub draft: CampaignDraft,
    /// What kind of mail it is.
    pub class: Class,
    /// The account it belongs to; empty when there are none.
    pub tenant: String,
}
