//! What a class means to people: the likely cause and the next step, in their language. Nothing is decided by it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::Deserialize;

const FILE: &str = include_str!("../../data/words.toml");

static WORDS: LazyLock<BTreeMap<String, Both>> =
    LazyLock::new(|| toml::from_str(FILE).expect("a test reads the words that are compiled in"));

/// A language that people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Italian.
    Italian,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Italian];

    /// Its code (ISO 639-1).
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Italian => "it",
        }
    }
}

impl FromStr for Language {
    type Err = String;

    /// Reads a code, also with a country behind it: `it`, `it_IT`, `it-IT.UTF-8`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = text.split(['_', '-', '.']).next().unwrap_or_default();
        let found = Self::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(code));
        found.ok_or_else(|| format!("{text} is not known; there are en and it"))
    }
}

/// The words for a class.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Why it probably happened.
    pub cause: String,
    /// What to do about it.
    pub next: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both {
    en: Words,
    it: Words,
}

/// The words for `class`, or for the class above it when it has none of its own; `None` when nothing is known of either,
/// as of the empty class of a delivery.
#[must_use]
pub fn explain(class: &str, language: Language) -> Option<&'static Words> {
    let words: &'static BTreeMap<String, Both> = &WORDS;
    let above = class.rsplit_once('.').map(|(above, _)| above);
    let both = words.get(class).or_else(|| words.get(above?))?;
    Some(match language {
        Language::English => &both.en,
        Language::Italian => &both.it,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, judge_network, rules};
    use super::*;

    #[test]
    fn each_class_has_words_of_its_own() {
        let faults = Fault::ALL.map(|fault| judge_network(fault).class.to_owned());
        let classes = rules::builtin().classes.iter().map(|class| class.name.clone()).chain(faults);
        for class in classes {
            assert!(WORDS.contains_key(&class), "{class}");
        }
    }

    #[test]
    fn both_languages_say_all_in_sentences() {
        for (class, both) in &*WORDS {
            for words in [&both.en, &both.it] {
                for text in [&words.cause, &words.next] {
                    assert!(text.ends_with('.') && text.len() > 5, "{class}: {text}");
                }
            }
            assert_ne!(both.en, both.it, "{class}");
        }
    }

    #[test]
    fn a_class_without_words_has_those_above_it() {
        assert_eq!(explain("tls.dane", Language::English), explain("tls", Language::English));
        assert!(explain("tls", Language::Italian).is_some());
        for class in ["", ".", "nothing", "nothing.known"] {
            assert_eq!(explain(class, Language::English), None, "{class}");
        }
    }

    #[test]
    fn languages_are_known_by_their_code() {
        for (text, expected) in [("it", "it"), ("IT", "it"), ("it_IT.UTF-8", "it"), ("en-GB", "en")] {
            assert_eq!(text.parse::<Language>().map(Language::code), Ok(expected), "{text}");
        }
        assert!("de".parse::<Language>().is_err());
    }
}
