//! The bytes that libFuzzer gives, read front to back. Behind their end there are zeros, so that each input means
//! something and its beginning keeps its meaning when the end changes.

/// Bytes to make things of.
#[derive(Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// From the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes, fewer at the end.
    pub fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A byte.
    pub fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let taken = self.take(8);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }

    /// A text of up to 31 bytes, so that both short (inline) and long ones come up.
    pub fn text(&mut self) -> String {
        let length = usize::from(self.u8() & 31);
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    /// Up to three texts.
    pub fn texts(&mut self) -> Vec<String> {
        (0..self.u8() & 3).map(|_| self.text()).collect()
    }
}
