//! Plays a transcript: feeds what the peer says, whole or cut, and compares what happens line by line.

use std::collections::VecDeque;

use crate::script::{Case, bytes};

/// One side of the protocol under test.
pub(crate) trait Side {
    /// Takes bytes of the peer and returns what happened, as transcript lines `(kind, text)`.
    fn hear(&mut self, bytes: &[u8]) -> Vec<(char, String)>;
    /// Does what a line of the shell (`V`) says, and returns what happened.
    fn obey(&mut self, order: &str) -> Vec<(char, String)>;
}

/// Plays `case` with the peer's bytes fed in pieces of `piece`. `peer` is the letter of the peer's lines.
pub(crate) fn play(case: &Case, side: &mut impl Side, peer: char, piece: usize) {
    let mut seen: VecDeque<(char, String)> = side.hear(b"").into();
    let mut lines = case.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let place = format!("{:?}, line {}, in pieces of {piece}", case.name, line.number);
        if line.kind == peer {
            let mut spoken = bytes(&line.text);
            while let Some(next) = lines.next_if(|next| next.kind == peer) {
                spoken.extend(bytes(&next.text));
            }
            assert!(seen.is_empty(), "{place}: not foreseen: {seen:?}");
            spoken.chunks(piece).for_each(|bytes| seen.extend(side.hear(bytes)));
        } else if line.kind == 'V' {
            assert!(seen.is_empty(), "{place}: not foreseen: {seen:?}");
            seen.extend(side.obey(&line.text));
        } else {
            let happened = seen.pop_front();
            assert_eq!(happened, Some((line.kind, line.text.clone())), "{place}; then {seen:?}");
        }
    }
    assert!(seen.is_empty(), "{:?} in pieces of {piece}: not foreseen: {seen:?}", case.name);
}

/// Plays all cases of a file, cut in every small way; `% cut=no` marks those that depend on what comes together.
pub(crate) fn play_all<S: Side>(cases: &[Case], peer: char, new: impl Fn(&Case) -> S) {
    for case in cases {
        let pieces: &[usize] =
            if case.setting("cut") == Some("no") { &[usize::MAX] } else { &[usize::MAX, 1, 2, 3, 7, 64] };
        for piece in pieces {
            play(case, &mut new(case), peer, *piece);
        }
    }
}
