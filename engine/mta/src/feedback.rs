//! What recipients do with a message after it was delivered, as others tell the engine of it.

use mail::{CampaignId, Class};

/// What a recipient did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FeedbackKind {
    /// Called it spam (RFC 5965).
    Complaint = 0,
    /// Opened it.
    Open = 1,
    /// Followed one of its links.
    Click = 2,
    /// Wants no more of it (RFC 8058).
    Unsubscribe = 3,
}

impl FeedbackKind {
    /// All of them, by discriminant.
    pub const ALL: [Self; 4] = [Self::Complaint, Self::Open, Self::Click, Self::Unsubscribe];

    /// The name users write and read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complaint => "complaint",
            Self::Open => "open",
            Self::Click => "click",
            Self::Unsubscribe => "unsubscribe",
        }
    }

    /// The kind called so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind whose discriminant is `index`.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

/// A piece of feedback with all that it concerns.
#[derive(Clone, Debug)]
pub struct Feedback {
    /// What the recipient did.
    pub kind: FeedbackKind,
    /// The kind of mail.
    pub class: Class,
    /// The sender's domain.
    pub identity: String,
    /// The account; empty when there are none.
    pub tenant: String,
    /// The campaign.
    pub campaign: Option<CampaignId>,
    /// Name of the source that delivered it; empty when nobody knows.
    pub source: String,
    /// Name of the provider that took it; empty when nobody knows.
    pub provider: String,
}
