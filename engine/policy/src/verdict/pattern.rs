//! Patterns of reply texts: pieces that occur one behind the other, in which `#` is any digit.

use mail::{Enhanced, Reply};

/// Words of a reply that are looked at; what a server says beyond that is not about the failure.
const TEXT_BYTES_MAX: usize = 2048;
/// Words of a [`Pairs`] set: 1,024 bits for the few hundred pairs of a reply.
const PAIR_WORDS: usize = 16;

/// Which pairs of neighbouring bytes occur, by hash: a set that may say yes wrongly, never no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pairs([u64; PAIR_WORDS]);

impl Pairs {
    fn add(&mut self, pair: [u8; 2]) {
        let hash = u16::from_be_bytes(pair).wrapping_mul(0x9e37) >> 6;
        self.0[usize::from(hash >> 6)] |= 1 << (hash & 63);
    }

    fn holds(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| theirs & !mine == 0)
    }
}

/// A reply made ready for matching.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// In lower case, with single spaces between the words and around all, without enhanced codes.
    words: String,
    pairs: Pairs,
    /// The enhanced code, also when it is only in the text.
    pub(super) enhanced: Option<Enhanced>,
}

impl Text {
    pub(super) fn of(reply: &Reply) -> Self {
        let mut words = String::with_capacity(reply.text.len().min(TEXT_BYTES_MAX) + 2);
        let mut enhanced = reply.enhanced;
        words.push(' ');
        for word in reply.text.split_ascii_whitespace() {
            if let Some(code) = code_of(word) {
                enhanced = enhanced.or(Some(code));
                continue;
            }
            if words.len() + word.len() > TEXT_BYTES_MAX {
                break;
            }
            words.extend(word.chars().map(plain));
            words.push(' ');
        }
        let mut pairs = Pairs::default();
        words.as_bytes().windows(2).for_each(|pair| pairs.add([pair[0], pair[1]]));
        Self { words, pairs, enhanced }
    }
}

/// A letter as patterns have it: in lower case, with the apostrophe of typewriters.
const fn plain(letter: char) -> char {
    match letter {
        '\u{2019}' => '\'',
        letter => letter.to_ascii_lowercase(),
    }
}

/// The enhanced code that a word is: `5.7.1`, or as lines of one reply repeat it, `550-5.7.1`, or as qmail has it, `(#5.7.1)`.
fn code_of(word: &str) -> Option<Enhanced> {
    let word = word.strip_prefix("(#").map_or(word, |rest| rest.trim_end_matches(['.', ')']));
    let bare = match word.as_bytes() {
        [a, b, c, b'-' | b',', ..] if [a, b, c].into_iter().all(u8::is_ascii_digit) => &word[4..],
        _ => word,
    };
    Enhanced::parse(bare)
}

/// A text to be found in replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pieces: Vec<Vec<u8>>,
    /// The pairs that a text must have; most texts fail here, at the price of sixteen words.
    pairs: Pairs,
}

impl Pattern {
    /// Reads a pattern; `None` when it is empty, or not in lower case and so would never be found.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let pieces: Vec<Vec<u8>> = text.split('*').map(|piece| piece.as_bytes().to_vec()).collect();
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        if !lower || pieces.iter().any(Vec::is_empty) {
            return None;
        }
        let mut pairs = Pairs::default();
        for pair in pieces.iter().flat_map(|piece| piece.windows(2)).filter(|pair| !pair.contains(&b'#')) {
            pairs.add([pair[0], pair[1]]);
        }
        Some(Self { pieces, pairs })
    }

    pub(super) fn is_in(&self, text: &Text) -> bool {
        text.pairs.holds(&self.pairs) && self.is_found(text.words.as_bytes())
    }

    /// The words of `text` from the first piece to the last.
    pub(super) fn found_in(&self, text: &Text) -> Option<String> {
        let words = text.words.as_bytes();
        let (mut begin, mut end) = (None, 0);
        for piece in &self.pieces {
            let at = end + place_of(piece, &words[end..])?;
            begin.get_or_insert(at);
            end = at + piece.len();
        }
        Some(String::from_utf8_lossy(&words[begin?..end]).trim().to_owned())
    }

    /// Whether the pieces occur, one behind the other.
    fn is_found(&self, text: &[u8]) -> bool {
        let mut rest = text;
        self.pieces.iter().all(|piece| match place_of(piece, rest) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    }
}

fn place_of(piece: &[u8], text: &[u8]) -> Option<usize> {
    let fits = |window: &[u8]| window.iter().zip(piece).all(|(&byte, &wanted)| is_byte(byte, wanted));
    text.windows(piece.len()).position(fits)
}

/// `#` stands for a digit, and for itself.
const fn is_byte(byte: u8, wanted: u8) -> bool {
    byte == wanted || (wanted == b'#' && byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).is_in(&Text::of(&Reply::new(550, text)))
    }

    #[test]
    fn pieces_digits_and_word_ends() {
        for (pattern, text, expected) in [
            ("user unknown", "User  Unknown", true),
            ("user unknown", "unknown user", false),
            ("daily * limit", "your DAILY sending limit", true),
            ("daily * limit", "limit is daily", false),
            ("[bl##]", "see [BL21]", true),
            ("[bl##]", "see [BLxx]", false),
            ("aup#cxbl", "AUP#CXBL", true),
            (" spam", "antispam", false),
            (" spam", "spam", true),
            ("_104 ", "OFR_104", true),
            ("a", "", false),
        ] {
            assert_eq!(found(pattern, text), expected, "{pattern} in {text}");
        }
    }

    #[test]
    fn enhanced_codes_are_taken_out_of_the_text() {
        let text = Text::of(&Reply::new(
            421,
            "421-4.7.0 unusual amount of 421-4.7.0 unsolicited mail from 192.0.2.7",
        ));
        assert_eq!(text.words, " unusual amount of unsolicited mail from 192.0.2.7 ");
        assert_eq!(text.enhanced, Some(Enhanced(4, 7, 0)));
        let given = Reply::enhanced(550, Enhanced(5, 1, 1), "5.7.1 no");
        assert_eq!(Text::of(&given).enhanced, Some(Enhanced(5, 1, 1)));
    }

    #[test]
    fn patterns_that_can_never_be_found_are_refused() {
        for text in ["", "*", "a*", "User"] {
            assert!(Pattern::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_quick_refusal_refuses_nothing_that_is_found(text in "[ab# 01]{0,40}", pattern in "[ab# ]{1,4}(\\*[ab# ]{1,3})?") {
            let ready = Text::of(&Reply::new(550, text));
            let pattern = Pattern::parse(&pattern).expect("not empty");
            prop_assert_eq!(pattern.is_in(&ready), pattern.is_found(ready.words.as_bytes()));
        }

        #[test]
        fn any_reply_can_be_made_ready(text in "\\PC{0,60}", long in 0_usize..5000) {
            let ready = Text::of(&Reply::new(550, format!("{text}{}", "x ".repeat(long))));
            prop_assert!(ready.words.len() <= TEXT_BYTES_MAX + 2);
        }
    }
}
