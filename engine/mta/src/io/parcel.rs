//! Bytes on their way out, with bodies between them that are sent from where they lie. It sends nothing.

use std::iter;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use content::template::{Stretches, Template};
use spool::ContentRef;

use super::buffer;

/// How many pieces one write may have (`UIO_MAXIOV`).
const VECTORS_MAX: usize = 1024;

/// What a stream is given to send at once.
#[derive(Default)]
pub struct Parcel {
    bytes: Vec<u8>,
    inserts: Vec<Insert>,
    /// What the kernel is told of it.
    vectors: Vec<libc::iovec>,
}

struct Insert {
    /// How many of the bytes come before it.
    at: usize,
    body: Body,
}

/// A body, and what keeps it where it is.
pub enum Body {
    /// It lies in the spool, whose segment is not written over as long as this is held.
    Spooled(ContentRef),
    /// It was made for one recipient: a line that was borrowed, and where in it the message begins.
    Made(Vec<u8>, usize),
    /// The same, but for the stretches that lie in its template.
    Merged { line: Vec<u8>, start: usize, template: Arc<Template>, stretches: Stretches },
}

impl Body {
    /// All of it, in order.
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (whole, merged) = match self {
            Self::Spooled(content) => (Some(content.body()), None),
            Self::Made(line, start) => (Some(&line[*start..]), None),
            Self::Merged { line, start, template, stretches } => {
                (None, Some(template.pieces(&line[*start..], stretches)))
            }
        };
        whole.into_iter().chain(merged.into_iter().flatten())
    }
}

impl From<Vec<u8>> for Parcel {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl Parcel {
    /// The bytes. They may be put there after the bodies, as long as all are there when it is sent.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts `body` behind the first `at` bytes, and behind all that was inserted before.
    ///
    /// # Panics
    /// When `at` lies before what was inserted last.
    pub fn insert(&mut self, at: usize, body: Body) {
        let is_next = self.inserts.last().is_none_or(|last| last.at <= at);
        assert!(is_next, "bodies are inserted in their order");
        self.inserts.push(Insert { at, body });
    }

    /// How many bodies it has.
    #[must_use]
    pub fn bodies(&self) -> usize {
        self.inserts.len()
    }

    /// How many bytes it has with all bodies.
    #[must_use]
    pub fn len(&self) -> usize {
        let inserted = self.inserts.iter().flat_map(|insert| insert.body.slices());
        self.bytes.len() + inserted.map(<[u8]>::len).sum::<usize>()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.inserts.is_empty()
    }

    /// Empties it, keeping the capacity for bytes; lines that bodies were made in go back.
    pub fn clear(&mut self) {
        self.bytes.clear();
        for insert in self.inserts.drain(..) {
            if let Body::Made(line, _) | Body::Merged { line, .. } = insert.body {
                buffer::return_line(line);
            }
        }
    }

    /// Gives back what it holds for bodies, and what it holds for bytes beyond `bytes_max`; while it is empty.
    pub fn shrink(&mut self, bytes_max: usize) {
        self.bytes.shrink_to(bytes_max);
        self.inserts.shrink_to_fit();
        self.vectors = Vec::new();
    }

    /// The bytes without the bodies.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Copies the bodies to their places among the bytes.
    pub(super) fn flatten(&mut self) {
        if self.inserts.is_empty() {
            return;
        }
        let mut flat = buffer::borrow_line();
        flat.reserve(self.len());
        self.slices().for_each(|slice| flat.extend_from_slice(slice));
        self.clear();
        buffer::return_line(mem::replace(&mut self.bytes, flat));
    }

    /// Everything, unless there are bodies between the bytes.
    pub(super) fn as_slice(&self) -> Option<&[u8]> {
        self.inserts.is_empty().then_some(&self.bytes)
    }

    /// Where in memory `range` of it lies. It stays there, wherever the parcel is moved to, until the parcel is changed.
    pub(super) fn vectors(&mut self, range: Range<usize>) -> &[libc::iovec] {
        let mut vectors = mem::take(&mut self.vectors);
        vectors.clear();
        let mut at = 0;
        for slice in self.slices() {
            let within = |place: usize| place.saturating_sub(at).min(slice.len());
            let part = &slice[within(range.start)..within(range.end)];
            at += slice.len();
            if !part.is_empty() && vectors.len() < VECTORS_MAX {
                vectors.push(libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
            }
        }
        self.vectors = vectors;
        &self.vectors
    }

    /// All in the order in which it is sent.
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let places = self.inserts.iter().map(|insert| insert.at);
        let starts = iter::once(0).chain(places.clone());
        let ends = places.chain(iter::once(self.bytes.len()));
        let bytes = starts.zip(ends).map(|(start, end)| &self.bytes[start..end]);
        let bodies = self.inserts.iter().map(|insert| Some(&insert.body));
        let both = bytes.zip(bodies.chain(iter::once(None)));
        both.flat_map(|(bytes, body)| iter::once(bytes).chain(body.into_iter().flat_map(Body::slices)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Body {
        Body::Made(format!("room{text}").into_bytes(), 4)
    }

    fn parcel() -> Parcel {
        let mut parcel = Parcel::from(b"abcdef".to_vec());
        for (at, text) in [(2, "-one-"), (2, "-two-"), (6, "-three-")] {
            parcel.insert(at, made(text));
        }
        parcel
    }

    const WHOLE: &[u8] = b"ab-one--two-cdef-three-";

    #[test]
    fn bodies_stand_between_the_bytes() {
        let mut parcel = parcel();
        assert_eq!(parcel.slices().collect::<Vec<_>>().concat(), WHOLE);
        assert_eq!((parcel.len(), parcel.as_slice()), (WHOLE.len(), None));
        parcel.flatten();
        assert_eq!(parcel.as_slice(), Some(WHOLE));
        parcel.clear();
        assert!(parcel.is_empty());
    }

    #[test]
    fn a_range_is_found_in_memory() {
        let mut parcel = parcel();
        for start in 0..WHOLE.len() {
            for end in start..=WHOLE.len() {
                let vectors = parcel.vectors(start..end);
                assert!(vectors.iter().all(|vector| vector.iov_len > 0));
                assert_eq!(vectors.iter().map(|vector| vector.iov_len).sum::<usize>(), end - start);
            }
        }
        assert_eq!(parcel.vectors(0..WHOLE.len()).len(), 5);
        assert_eq!(parcel.vectors(3..12).len(), 2);
    }
}
