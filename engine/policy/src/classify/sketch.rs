//! A sketch of a message's content: 32 numbers by which near-duplicates are told, and what is each reader's own.
//!
//! The text is cut into words; taken out are markup, addresses, links, numbers, the reader's name (the words of the To
//! field, and what follows a salutation). Of the pairs of neighbouring words that stay, a minhash is kept: each pair's hash
//! falls into one of 32 places, and each place keeps the least (one-permutation hashing). The share of places in which two
//! sketches are equal estimates the share of pairs that two texts have in common. A simhash would add 64 counters for each
//! pair where this takes one comparison, and its distance is not a share of text that could be told to anybody.

use super::words::{Word, Words, is_of_lists};

/// Places of a sketch: the share that two texts have in common is known to about 7 %.
const PLACES: usize = 32;
/// Words that are looked at.
const WORDS_MAX: u16 = 400;
/// Words of the To field that count as the reader's name.
const NAMES_MAX: usize = 6;
/// Words behind a salutation that may be a name.
const SALUTED_MAX: u8 = 4;
/// Salutations stand at the beginning.
const SALUTATION_WORDS_MAX: u16 = 40;

/// What a sketch is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// The subject, decoded.
    pub subject: &'a str,
    /// The value of the To field, where the reader's name stands.
    pub to: &'a str,
    /// The beginning of the text, decoded; a few kilobytes.
    pub text: &'a [u8],
    /// Whether it is HTML.
    pub is_html: bool,
    /// The end of the text, where it is longer.
    pub tail: &'a [u8],
    /// A number that stands for what is attached; `None` for nothing.
    pub attached: Option<u64>,
    /// Whether it has a `Feedback-ID`.
    pub feedback: bool,
}

/// The sketch of one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sketch {
    /// The least hash that fell into each place; the largest number where none did.
    places: [u32; PLACES],
    /// Numbers, codes and attachments.
    pub(super) facts: Bits,
    /// Where its links lead, with their query parts.
    pub(super) links: Bits,
    /// Words, those left out not counted.
    pub(super) words: u16,
    /// Links.
    pub(super) link_count: u16,
    /// Whether it tells how to be rid of such mail, or how to see it in a browser.
    pub(super) list_words: bool,
    /// Whether somebody counts complaints about it.
    pub(super) feedback: bool,
}

/// A small set of hashes: it may hold what it was not given, never the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits([u64; 2]);

impl Bits {
    fn add(&mut self, hash: u32) {
        let place = hash.wrapping_mul(0x9e37_79b1) >> 25;
        self.0[(place >> 6) as usize] |= 1 << (place & 63);
    }

    /// The share of its members that `other` does not have, 0 to 1; 0 for an empty set.
    pub(super) fn own(self, other: Self) -> f32 {
        let count = |bits: [u64; 2]| (bits[0].count_ones() + bits[1].count_ones()) as f32;
        let mine = count(self.0);
        if mine == 0.0 {
            return 0.0;
        }
        count([self.0[0] & !other.0[0], self.0[1] & !other.0[1]]) / mine
    }
}

impl Sketch {
    /// The share of the text that two messages have in common, about: 0 to 1.
    pub(super) fn likeness(&self, other: &Self) -> f32 {
        let (mut used, mut equal) = (0_u32, 0_u32);
        for (mine, theirs) in self.places.iter().zip(&other.places) {
            used += u32::from((mine & theirs) != u32::MAX);
            equal += u32::from(mine == theirs && *mine != u32::MAX);
        }
        if used == 0 { 1.0 } else { equal as f32 / used as f32 }
    }

    /// Makes the sketch of a message.
    #[must_use]
    pub fn of(reading: &Reading<'_>) -> Self {
        let mut making = Making::new(reading);
        // The subject is text like the rest, but a word in it is not the neighbour of one below it.
        making.read(Words::plain(reading.subject.as_bytes()));
        making.last = 0;
        match reading.is_html {
            true => making.read(Words::html(reading.text)),
            false => making.read(Words::plain(reading.text)),
        }
        let words = if reading.is_html { Words::html(reading.tail) } else { Words::plain(reading.tail) };
        making.read_tail(words);
        making.sketch
    }
}

/// A sketch under work.
struct Making {
    sketch: Sketch,
    names: [u32; NAMES_MAX],
    /// The hash of the word before; 0 for none.
    last: u32,
    before_last: u32,
    /// How many further words may be the name of whoever is greeted.
    saluted: u8,
}

impl Making {
    fn new(reading: &Reading<'_>) -> Self {
        let mut names = [0; NAMES_MAX];
        let words = Words::plain(reading.to.as_bytes()).filter(|word| word.bytes > 1);
        // Of an address its local part: `ann.example@mail.test` is Ann Example.
        names.iter_mut().zip(words.flat_map(|word| word.names())).for_each(|(name, hash)| *name = hash);
        let mut facts = Bits::default();
        if let Some(digest) = reading.attached {
            facts.add((digest ^ (digest >> 32)) as u32);
        }
        let sketch = Sketch {
            places: [u32::MAX; PLACES],
            facts,
            links: Bits::default(),
            words: 0,
            link_count: 0,
            list_words: false,
            feedback: reading.feedback,
        };
        Self { sketch, names, last: 0, before_last: 0, saluted: 0 }
    }

    fn read(&mut self, words: Words<'_>) {
        for word in words {
            if self.sketch.words >= WORDS_MAX {
                return;
            }
            self.take(&word);
        }
    }

    fn take(&mut self, word: &Word<'_>) {
        if word.is_link() {
            self.sketch.links.add(word.hash);
            self.sketch.link_count = self.sketch.link_count.saturating_add(1);
            return;
        }
        if word.is_address() || word.bytes == 0 || self.is_name(word) {
            return;
        }
        let hash = match word.is_fact() {
            true => {
                self.sketch.facts.add(word.hash);
                // All numbers are the same in the text; which ones they are is told apart.
                1
            }
            false => word.hash,
        };
        self.sketch.words += 1;
        self.watch_for_list_words(hash);
        self.add_pair(hash);
    }

    fn is_name(&mut self, word: &Word<'_>) -> bool {
        if self.names.contains(&word.hash) {
            return true;
        }
        if self.saluted > 0 {
            self.saluted = if word.ends_phrase { 0 } else { self.saluted - 1 };
            if word.is_capital() {
                return true;
            }
            self.saluted = 0;
        }
        if self.sketch.words < SALUTATION_WORDS_MAX && word.is_salutation() && !word.ends_phrase {
            self.saluted = SALUTED_MAX;
        }
        false
    }

    fn add_pair(&mut self, hash: u32) {
        let pair = (u64::from(self.last.rotate_left(11)) << 32 | u64::from(hash))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (self.before_last, self.last) = (self.last, hash);
        let place = (pair >> 59) as usize;
        // The largest number stands for an empty place.
        let value = ((pair >> 27) as u32).min(u32::MAX - 1);
        self.sketch.places[place] = self.sketch.places[place].min(value);
    }

    fn watch_for_list_words(&mut self, hash: u32) {
        self.sketch.list_words |= is_of_lists([self.before_last, self.last, hash]);
    }

    /// The end of a long text: only how much there is and what lists say there, since no two texts are cut at the same word.
    fn read_tail(&mut self, words: Words<'_>) {
        (self.before_last, self.last) = (0, 0);
        for word in words.filter(|word| !word.is_link()) {
            self.sketch.words += 1;
            self.watch_for_list_words(word.hash);
            (self.before_last, self.last) = (self.last, word.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain<'a>(to: &'a str, subject: &'a str, text: &'a str) -> Sketch {
        Sketch::of(&Reading { subject, to, text: text.as_bytes(), ..Reading::default() })
    }

    #[test]
    fn names_numbers_links_and_addresses_are_not_the_text() {
        let one = plain(
            "Ann Smith <ann@x.test>",
            "Ann, your code",
            "Dear Mrs Smith,\r\nyour code is 123456. Open https://x.test/a?b=1 or write to help@x.test.\r\nYours, the shop",
        );
        let other = plain(
            "bob.miller@y.test",
            "Bob, your code",
            "Dear Mr Miller,\r\nyour code is 777777. Open https://x.test/a?b=2 or write to help@x.test.\r\nYours, the shop",
        );
        assert_eq!(one.likeness(&other), 1.0);
        assert_eq!((one.facts.own(other.facts), one.links.own(other.links)), (1.0, 1.0));
        assert_eq!((one.link_count, one.list_words), (1, false));
    }

    #[test]
    fn markup_is_not_the_text() {
        let html = b"<html><head><style>p { color: red }</style><title>x y</title></head><body><!-- no -->\
            <p class=\"a\">Hello <b>Ann</b>,</p><p>the <a href='https://x.test/1'>spring</a>&nbsp;offers are here</p></body>";
        let marked = Sketch::of(&Reading { text: html, is_html: true, ..Reading::default() });
        let bare = plain("", "", "x y Hello Ann, the spring offers are here");
        assert_eq!(marked.likeness(&bare), 1.0);
        assert_eq!((marked.link_count, marked.words), (1, bare.words));
    }

    #[test]
    fn other_words_are_another_text() {
        let one = plain(
            "",
            "Your order",
            "The red kettle is on its way and will be there on Monday at the latest, wrapped well.",
        );
        let near = plain(
            "",
            "Your order",
            "The blue kettle is on its way and will be there on Monday at the latest, wrapped well.",
        );
        let other = plain(
            "",
            "Lunch",
            "Shall we meet at one in the small place behind the church? I shall bring the papers.",
        );
        assert!(one.likeness(&near) > 0.6 && one.likeness(&near) < 1.0, "{}", one.likeness(&near));
        assert!(one.likeness(&other) < 0.1, "{}", one.likeness(&other));
    }

    #[test]
    fn words_of_lists_are_seen_in_both_languages_and_at_the_end() {
        for text in [
            "Click here to unsubscribe.",
            "UNSUBSCRIBE",
            "Se non vuoi ricevere pi\u{f9} queste email",
            "Per annullare l'iscrizione",
            "Disiscriviti qui",
            "Manage your preferences",
            "View this email in your browser",
            "Visualizza nel browser",
        ] {
            assert!(plain("", "", text).list_words, "{text}");
            let tail = Sketch::of(&Reading { text: b"Hello", tail: text.as_bytes(), ..Reading::default() });
            assert!(tail.list_words, "{text}");
        }
        for text in
            ["Reset your password", "Il tuo ordine", "Open it in a browser of your choice", "to receive more"]
        {
            assert!(!plain("", "", text).list_words, "{text}");
        }
    }

    #[test]
    fn an_empty_message_has_a_sketch() {
        let empty = Sketch::of(&Reading::default());
        assert_eq!((empty.words, empty.likeness(&empty)), (0, 1.0));
    }
}
