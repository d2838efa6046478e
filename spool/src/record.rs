//! What callers hand in to be kept: content, recipients, campaign states. Owned values without any layout;
//! `stored` says how they lie on disk, `view` how they are read back.

use mail::{BodyType, CampaignId, Class, DsnReturn, MessageId, Notify, TlsWish, UnixMs};

/// Whether a content is sent as it is or rendered for each recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ContentKind {
    /// The body is a complete message.
    #[default]
    Message = 0,
    /// The body is a template; its record identifier is the campaign's.
    Template = 1,
}

/// A message or a template, apart from its body: kept once, however many recipients it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Message or template.
    pub kind: ContentKind,
    /// When it was accepted.
    pub accepted_at: UnixMs,
    /// The envelope sender; empty is the null reverse-path `<>`.
    pub sender: String,
    /// The account that submitted it; empty without accounts.
    pub tenant: String,
    /// How urgent it is.
    pub class: Class,
    /// The campaign a message belongs to. A template is its own campaign and leaves this empty.
    pub campaign: Option<CampaignId>,
    /// What it asks of servers on its way.
    pub needs: Needs,
    /// `RET=` of MAIL.
    pub dsn_return: DsnReturn,
    /// `ENVID=` of MAIL.
    pub envelope_id: Option<String>,
    /// Tags of the submission.
    pub tags: Vec<String>,
    /// The submission's metadata as JSON text; empty when there is none.
    pub metadata: String,
    /// The campaign's name; empty for messages.
    pub name: String,
    /// The sender identity: the domain of From. Empty when unknown.
    pub identity: String,
    /// The engine itself wrote it (a notice of failure): nobody waits to hear that it was accepted.
    pub notice: bool,
    /// What decided its class.
    pub ground: Ground,
}

/// What decided the class of a content, in the numbers and words of whoever hands it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// Which kind of ground; 0 when it was not told.
    pub code: u8,
    /// The rule, field or figures that it stands on. Kept of messages only: a template has its name in that place.
    pub because: String,
}

/// What a message asks of the servers on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `BODY=` of MAIL (RFC 6152).
    pub body_type: BodyType,
    /// Whether MAIL said `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `REQUIRETLS` of MAIL or `TLS-Required: No` of its header (RFC 8689).
    pub tls: TlsWish,
}

impl Default for Content {
    /// An empty transactional message from `<>`.
    fn default() -> Self {
        Self {
            kind: ContentKind::Message,
            accepted_at: UnixMs(0),
            sender: String::new(),
            tenant: String::new(),
            class: Class::Transactional,
            campaign: None,
            needs: Needs::default(),
            dsn_return: DsnReturn::Headers,
            envelope_id: None,
            tags: Vec::new(),
            metadata: String::new(),
            name: String::new(),
            identity: String::new(),
            notice: false,
            ground: Ground::default(),
        }
    }
}

/// One recipient of a content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The content it is to get. For a campaign: the template.
    pub content: MessageId,
    /// Where it is to go.
    pub address: String,
    /// Not to be tried before this moment; zero: at once.
    pub not_before: UnixMs,
    /// Should arrive by this second of the Unix epoch; zero: no deadline.
    pub deadline: u32,
    /// To be given up at this second of the Unix epoch; zero: never.
    pub expiry: u32,
    /// `NOTIFY=` of RCPT.
    pub notify: Notify,
    /// `ORCPT=` of RCPT.
    pub original: Option<String>,
    /// Merge values in the order of the template's fields.
    pub values: Vec<String>,
}

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CampaignPhase {
    /// Taken in, not started: its recipients are held.
    Created = 0,
    /// Being sent.
    Running = 1,
    /// Stopped for a while: its recipients are held.
    Paused = 2,
    /// Withdrawn: its waiting recipients are being cancelled. Final.
    Cancelled = 3,
    /// Every recipient has its final outcome and no more will come. Final.
    Finished = 4,
}

impl CampaignPhase {
    /// All phases, by discriminant.
    pub const ALL: [Self; 5] = [Self::Created, Self::Running, Self::Paused, Self::Cancelled, Self::Finished];

    /// Whether the template must be kept even while no recipient waits for it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Created | Self::Running | Self::Paused)
    }

    /// The name users read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
        }
    }

    /// The phase whose discriminant is `index`.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

/// A campaign changed its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignState {
    /// Which campaign.
    pub campaign: CampaignId,
    /// Where it stands now.
    pub phase: CampaignPhase,
    /// Since when.
    pub at: UnixMs,
}
