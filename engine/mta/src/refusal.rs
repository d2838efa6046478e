//! Why the engine does not take a submission, in the words of SMTP and of HTTP at once.

use std::time::Duration;

use mail::{Enhanced, Reply};

/// After which time to ask again while too much waits: much has left by then, and little that was refused is late.
const FULL_PAUSE: Duration = Duration::from_secs(10);

/// A submission or a request that is not carried out. Nothing of it has been kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A limit of the engine is reached for now; the text says which.
    #[error("{0}")]
    Busy(String),
    /// The account has handed over what it may.
    #[error("{why}")]
    Quota {
        /// Which account and which quota.
        why: String,
        /// When it would be taken, from now.
        retry_after: Duration,
    },
    /// The disk is nearly full.
    #[error("{0}")]
    NoRoom(String),
    /// So much mail waits that no more is taken; the text says how much.
    #[error("{0}")]
    Full(String),
    /// The engine is being stopped.
    #[error("the engine is stopping")]
    Stopping,
    /// The spool cannot make anything durable; the text says why.
    #[error("the spool does not accept: {0}")]
    Spool(String),
    /// The thing that was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A value is wrong.
    #[error("{why}")]
    Invalid {
        /// The field, as the user named it.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The thing is in a state in which this cannot be done.
    #[error("{0}")]
    Conflict(String),
}

impl Refusal {
    /// A wrong value in `field`.
    #[must_use]
    pub fn invalid(field: &str, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), why: why.into() }
    }

    /// The stable code of the HTTP API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy(_) => "busy",
            Self::Quota { .. } => "quota_exceeded",
            Self::NoRoom(_) => "no_room",
            Self::Full(_) => "queue_full",
            Self::Stopping => "stopping",
            Self::Spool(_) => "spool",
            Self::NotFound(_) => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::Conflict(_) => "conflict",
        }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Busy(_) | Self::Quota { .. } => 429,
            Self::NoRoom(_) => 507,
            Self::Full(_) | Self::Stopping | Self::Spool(_) => 503,
            Self::NotFound(_) => 404,
            Self::Invalid { .. } => 422,
            Self::Conflict(_) => 409,
        }
    }

    /// The field that is wrong, if one is.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            _ => None,
        }
    }

    /// After which time it would be taken, if that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota { retry_after, .. } => Some(*retry_after),
            Self::Full(_) => Some(FULL_PAUSE),
            _ => None,
        }
    }

    /// The SMTP reply to the message (RFC 5321 section 4.2, RFC 3463).
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self {
            Self::Busy(_) => (451, Enhanced(4, 3, 2)),
            // What the operator lets the sender do: a policy (X.7.1), and for now. X.5.3 would say that the rest may come
            // at once, and the X.7.28 that receivers use tells of abuse.
            Self::Quota { .. } => (452, Enhanced(4, 7, 1)),
            Self::NoRoom(_) | Self::Full(_) => (452, Enhanced(4, 3, 1)),
            Self::Stopping => (421, Enhanced(4, 3, 2)),
            Self::Spool(_) => (451, Enhanced(4, 3, 0)),
            Self::NotFound(_) | Self::Invalid { .. } | Self::Conflict(_) => (554, Enhanced(5, 6, 0)),
        };
        Reply::enhanced(code, enhanced, self.to_string())
    }
}
