//! The place in the feed up to which a reader has read, as an opaque text.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mail::RecordId;

/// The last position read of each shard; a shard that is not named is read from its beginning.
///
/// The text is `SHARD-POSITION` in hexadecimal, joined by `_`: safe in a URL, and meant to be kept and given back
/// as it is. The empty text is the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(BTreeMap<u8, u64>);

/// The text is not a cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that this feed gave out; leave it out to read from the beginning")]
pub struct CursorError;

impl Cursor {
    /// The last event read of `shard`; `None` when nothing of it has been read.
    #[must_use]
    pub fn last(&self, shard: u8) -> Option<RecordId> {
        self.0.get(&shard).map(|position| RecordId::new(shard, *position))
    }

    /// Remembers that `event` has been read.
    pub fn advance(&mut self, event: RecordId) {
        self.0.insert(event.shard(), event.position());
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (shard, position)) in self.0.iter().enumerate() {
            let joint = if index == 0 { "" } else { "_" };
            write!(f, "{joint}{shard:x}-{position:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut positions = BTreeMap::new();
        for part in text.split('_').filter(|_| !text.is_empty()) {
            let (shard, position) = part.split_once('-').ok_or(CursorError)?;
            let shard = u8::from_str_radix(shard, 16).map_err(|_| CursorError)?;
            let position = u64::from_str_radix(position, 16).map_err(|_| CursorError)?;
            if position > RecordId::POSITION_MAX || positions.insert(shard, position).is_some() {
                return Err(CursorError);
            }
        }
        Ok(Self(positions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_is_safe_in_a_url() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.to_string(), "");
        cursor.advance(RecordId::new(200, 4096));
        cursor.advance(RecordId::new(0, RecordId::POSITION_MAX));
        let text = cursor.to_string();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(text.parse(), Ok(cursor));
        assert_eq!("".parse(), Ok(Cursor::default()));
    }

    #[test]
    fn foreign_texts_are_refused() {
        for text in ["x", "1", "1-", "-1", "100-0", "1-1_1-2", "1-1_", "_", "0-ffffffffffffffff"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
