//! The memory that connections receive into: small while they wait, large while much comes in.
//!
//! Large buffers come from a pool per thread with a limit, so that no number of connections takes much memory and a
//! busy connection allocates nothing per read. Lines of bytes on their way out are lent the same way, the last one given back first,
//! because the processor still has it near.

use std::cell::RefCell;

/// What a waiting connection holds.
pub(super) const SMALL_BYTES: usize = 4 << 10;
/// What a connection receives into while much comes in.
pub(super) const LARGE_BYTES: usize = 64 << 10;
/// Large buffers in use at a time on one thread, 16 MiB: enough for every connection that a core can feed.
const LARGE_IN_USE_MAX: usize = 256;
/// Up to so many in use, a connection may keep its large buffer between bursts: 4 MiB a shard.
const LARGE_KEPT_MAX: usize = 64;

struct Pool {
    spare: Vec<Vec<u8>>,
    in_use: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { spare: Vec::new(), in_use: 0 }) };
}

/// Bytes to receive into, all of them initialised. A large one goes back to the pool when it is dropped.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// A buffer for waiting.
    pub(super) fn small() -> Self {
        Self { bytes: vec![0; SMALL_BYTES] }
    }

    /// A buffer for bulk, unless too many are in use on this thread.
    pub(super) fn large() -> Option<Self> {
        let spare = POOL.with_borrow_mut(|pool| {
            (pool.in_use < LARGE_IN_USE_MAX).then(|| {
                pool.in_use += 1;
                pool.spare.pop()
            })
        })?;
        Some(Self { bytes: spare.unwrap_or_else(|| vec![0; LARGE_BYTES]) })
    }

    /// Whether this buffer may be kept by a connection that is not receiving at this moment.
    pub(super) fn may_be_kept(&self) -> bool {
        !self.is_large() || POOL.with_borrow(|pool| pool.in_use <= LARGE_KEPT_MAX)
    }

    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() == LARGE_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.is_large() {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        // Fails only while the thread ends; then the memory is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            pool.in_use -= 1;
            if pool.spare.len() < LARGE_KEPT_MAX {
                pool.spare.push(bytes);
            }
        });
    }
}

/// Spare lines kept per thread; their capacity is what a message or one piece of encrypted output takes.
const LINES_KEPT_MAX: usize = 32;
/// Lines that have grown beyond this are freed: 4 MiB a shard are kept at most.
const LINE_BYTES_MAX: usize = 128 << 10;

thread_local! {
    static LINES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer for what leaves at once, with the capacity that its last user left.
pub(crate) fn borrow_line() -> Vec<u8> {
    LINES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a line back; one without capacity is not worth keeping, nor is a very large one.
pub(crate) fn return_line(mut line: Vec<u8>) {
    if line.capacity() == 0 || line.capacity() > LINE_BYTES_MAX {
        return;
    }
    line.clear();
    LINES.with_borrow_mut(|lines| {
        if lines.len() < LINES_KEPT_MAX {
            lines.push(line);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_limited_and_come_back() {
        let held: Vec<_> = std::iter::from_fn(Buffer::large).collect();
        assert_eq!(held.len(), LARGE_IN_USE_MAX);
        assert!(!held[0].may_be_kept());
        drop(held);
        let one = Buffer::large().expect("all came back");
        assert!(one.may_be_kept());
        assert_eq!(POOL.with_borrow(|pool| pool.in_use), 1);
        assert_eq!(POOL.with_borrow(|pool| pool.spare.len()), LARGE_KEPT_MAX - 1);
    }
}
