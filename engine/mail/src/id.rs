//! Identifiers of what the spool keeps: a shard and a position in that shard's log, in one `u64`.

use std::fmt;
use std::str::FromStr;

/// Digits of the text form: Crockford's base 32 in lower case, without i, l, o and u.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Length of the text form: 13 digits of 5 bits hold 64 bits.
const TEXT_BYTES: usize = 13;
/// Bits of the position; the shard has the 8 above them.
const POSITION_BITS: u32 = 56;

/// Names one record for ever: the shard whose log first held it and its first position there (the byte offset
/// from the log's beginning, growing for the life of the log). It stays the same when reclaim moves the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u64);

impl RecordId {
    /// Largest position that fits (72 petabytes of log).
    pub const POSITION_MAX: u64 = (1 << POSITION_BITS) - 1;

    /// The record at `position` of the log of `shard`. Positions beyond [`RecordId::POSITION_MAX`] are cut off,
    /// which no log can reach.
    #[must_use]
    pub const fn new(shard: u8, position: u64) -> Self {
        Self(((shard as u64) << POSITION_BITS) | (position & Self::POSITION_MAX))
    }

    /// The shard whose log holds the record.
    #[must_use]
    pub const fn shard(self) -> u8 {
        (self.0 >> POSITION_BITS) as u8
    }

    /// The byte offset in that shard's log at which the record was first written.
    #[must_use]
    pub const fn position(self) -> u64 {
        self.0 & Self::POSITION_MAX
    }

    /// The number that is stored on disk.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The identifier whose number is `raw`.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; TEXT_BYTES];
        for (place, digit) in text.iter_mut().rev().enumerate() {
            let index = (self.0 >> (5 * place)) & 31;
            *digit = DIGITS[index as usize];
        }
        f.pad(&String::from_utf8_lossy(&text))
    }
}

/// The text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an identifier: it has 13 letters and digits, as in 0040000000c80")]
pub struct IdError(pub String);

impl FromStr for RecordId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError(text.chars().take(40).collect());
        if text.len() != TEXT_BYTES {
            return Err(wrong());
        }
        let mut raw: u64 = 0;
        for byte in text.bytes() {
            let byte = byte.to_ascii_lowercase();
            let digit = DIGITS.iter().position(|&d| d == byte).ok_or_else(wrong)?;
            if raw >> 59 != 0 {
                return Err(wrong());
            }
            raw = (raw << 5) | digit as u64;
        }
        Ok(Self(raw))
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub RecordId);

        impl $name {
            /// The number that is stored on disk.
            #[must_use]
            pub const fn raw(self) -> u64 {
                self.0.raw()
            }

            /// The identifier whose number is `raw`.
            #[must_use]
            pub const fn from_raw(raw: u64) -> Self {
                Self(RecordId::from_raw(raw))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }
    };
}

identifier! {
    /// One recipient of one message, from acceptance to its final outcome: names its Recipient record.
    RecipientId
}
identifier! {
    /// One accepted message, however many recipients it has: names its Content record.
    MessageId
}
identifier! {
    /// One campaign: names the Content record of its template.
    CampaignId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_reads_back() {
        for raw in [0, 1, 31, 32, 0xfe_0123_4567_89ab, u64::MAX] {
            let id = RecordId::from_raw(raw);
            assert_eq!(id.to_string().len(), TEXT_BYTES);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn shard_and_position_stay_apart() {
        let id = RecordId::new(7, 4096);
        assert_eq!((id.shard(), id.position()), (7, 4096));
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in ["", "abc", "zzzzzzzzzzzzz", "000000000000u", "0000000000000000"] {
            assert!(text.parse::<RecordId>().is_err(), "{text}");
        }
    }
}
