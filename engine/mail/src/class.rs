//! The four kinds of mail, from the most urgent to the least.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kind of mail a message is. The order is that of urgency: `Critical < Bulk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Class {
    /// Must arrive by a deadline: a prescription, an alarm, a one-time code.
    Critical = 0,
    /// Awaited by one reader: a password reset, an invoice.
    Transactional = 1,
    /// Written by one person to a few others.
    Personal = 2,
    /// The same to many: newsletters, announcements.
    Bulk = 3,
}

impl Class {
    /// All classes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Transactional, Self::Personal, Self::Bulk];

    /// The position in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class at `index` of [`Class::ALL`]; `None` beyond it.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    /// The name users write and read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Transactional => "transactional",
            Self::Personal => "personal",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not one of the four class names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a class: use critical, transactional, personal or bulk")]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| UnknownClass(text.to_owned()))
    }
}
