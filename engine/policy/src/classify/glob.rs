//! Patterns of subjects and header values: `*` stands for anything, `?` for one letter, upper and lower case are the same.
//! There are no other signs, so nothing needs to be escaped and nothing can take long.

use std::fmt;

/// Longest pattern, in bytes.
pub(crate) const PATTERN_BYTES_MAX: usize = 200;
/// Letters of a text that are looked at; a longer subject is no subject.
const TEXT_LETTERS_MAX: usize = 1_000;

/// A pattern that a whole text fits or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    written: String,
    letters: Vec<char>,
}

impl Glob {
    /// Reads a pattern; `None` when it is empty or longer than 200 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=PATTERN_BYTES_MAX).contains(&text.len());
        fits.then(|| Self {
            written: text.to_owned(),
            letters: text.chars().flat_map(char::to_lowercase).collect(),
        })
    }

    /// Whether it fits every text.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.letters.iter().all(|&letter| letter == '*')
    }

    /// Whether the whole of `text` fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        if text.is_ascii() {
            let text = &text.as_bytes()[..text.len().min(TEXT_LETTERS_MAX)];
            return self.fits_letters(text, |byte| char::from(byte.to_ascii_lowercase()));
        }
        let text: Vec<char> = text.chars().flat_map(char::to_lowercase).take(TEXT_LETTERS_MAX).collect();
        self.fits_letters(&text, |letter| letter)
    }

    fn fits_letters<T: Copy>(&self, text: &[T], lower: impl Fn(T) -> char) -> bool {
        let (mut at, mut next) = (0, 0);
        // Where to go on when the letters behind the last `*` do not fit: it stands for one letter more.
        let mut again: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.letters.get(next) {
                Some('*') => {
                    again = Some((next + 1, at));
                    next += 1;
                }
                Some(&letter) if letter == '?' || letter == lower(text[at]) => {
                    (at, next) = (at + 1, next + 1)
                }
                _ => {
                    let Some((behind, from)) = again else { return false };
                    again = Some((behind, from + 1));
                    (at, next) = (from + 1, behind);
                }
            }
        }
        self.letters[next..].iter().all(|&letter| letter == '*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asterisk_question_mark_and_case() {
        for (pattern, text, expected) in [
            ("newsletter", "Newsletter", true),
            ("newsletter", "Our newsletter", false),
            ("*newsletter*", "Our NEWSLETTER of May", true),
            ("offert?", "Offerte", true),
            ("offert?", "offert", false),
            ("[alert] *", "[ALERT] disk full", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("*", "", true),
            ("perch\u{e9}*", "PERCH\u{c9} no", true),
            ("**a", "bca", true),
        ] {
            assert_eq!(Glob::parse(pattern).expect(pattern).fits(text), expected, "{pattern} {text}");
        }
        assert!(Glob::parse("").is_none() && Glob::parse(&"x".repeat(201)).is_none());
        assert!(Glob::parse("**").is_some_and(|glob| glob.is_any()));
    }

    #[test]
    fn the_worst_pattern_ends_soon() {
        let glob = Glob::parse(&"*a".repeat(100)).expect("a pattern");
        assert!(!glob.fits(&"ab".repeat(50).repeat(1_000)[..99]));
        assert!(
            !Glob::parse(&format!("{}b", "*a".repeat(99))).expect("a pattern").fits(&"a".repeat(100_000))
        );
    }
}
