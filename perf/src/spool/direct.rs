//! A buffer that O_DIRECT accepts: it begins and ends at whole blocks.

/// What O_DIRECT wants address, offset and length to be multiples of, on every common disk.
pub(crate) const BLOCK: usize = 4096;

/// A group of records, aligned to blocks in memory.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    begin: usize,
    filled: usize,
}

impl Buffer {
    /// Room for `bytes` bytes, touched once so that the kernel does not hand it out page by page later.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut memory = vec![0; bytes.next_multiple_of(BLOCK) + BLOCK];
        memory.fill(1);
        let begin = memory.as_ptr().align_offset(BLOCK);
        Self { memory, begin, filled: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let at = self.begin + self.filled;
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// What was pushed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..self.begin + self.filled]
    }

    /// What was pushed, and zeros up to a whole block.
    pub(crate) fn blocks(&mut self) -> &[u8] {
        let (from, end) = (self.begin + self.filled, self.begin + self.filled.next_multiple_of(BLOCK));
        self.memory[from..end].fill(0);
        &self.memory[self.begin..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_padded_to_whole_blocks() {
        let mut buffer = Buffer::new(5000);
        buffer.push(&[7; 5000]);
        buffer.clear();
        buffer.push(&[8; 300]);
        assert_eq!(buffer.bytes(), [8; 300]);
        let blocks = buffer.blocks();
        assert_eq!((blocks.len(), blocks.as_ptr().align_offset(BLOCK)), (BLOCK, 0));
        assert!(blocks[300..].iter().all(|&byte| byte == 0));
    }
}
