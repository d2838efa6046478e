//! Words of a text or of HTML, as bytes: no letter is decoded, since only likeness is asked for.

use std::sync::LazyLock;

use memchr::{memchr, memchr_iter};

/// A word: what stands between blanks, brackets and quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    /// Of its letters and digits, in lower case.
    pub(super) hash: u32,
    /// How many letters and digits it has.
    pub(super) bytes: usize,
    /// Whether a mark or a line end behind it ends what belongs together.
    pub(super) ends_phrase: bool,
    raw: &'a [u8],
    marks: u8,
}

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const AT: u8 = 4;
/// A mark within a word.
const GLUE: u8 = 8;
/// Divides words.
const DIVIDER: u8 = 16;
const COLON: u8 = 32;

/// Letters without a digit that are more than a word has: a code.
const WORD_BYTES_MAX: usize = 24;

static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [DIVIDER; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => LETTER,
            b'0'..=b'9' => DIGIT,
            b'@' => AT,
            b':' => COLON | GLUE,
            b'.' | b',' | b';' | b'!' | b'?' | b'-' | b'/' | b'_' | b'+' | b'=' | b'%' | b'#' | b'\''
            | b'&' | b'~' => GLUE,
            _ => DIVIDER,
        };
        byte += 1;
    }
    kinds
}

impl<'a> Word<'a> {
    pub(super) fn is_link(&self) -> bool {
        // Most words end here.
        match self.raw.first() {
            Some(b'h' | b'H') if self.marks & COLON != 0 => {
                starts(self.raw, b"http://") || starts(self.raw, b"https://")
            }
            Some(b'w' | b'W') => starts(self.raw, b"www."),
            _ => false,
        }
    }

    pub(super) const fn is_address(&self) -> bool {
        self.marks & AT != 0
    }

    /// Whether it is a number or a code.
    pub(super) const fn is_fact(&self) -> bool {
        self.marks & DIGIT != 0 || self.bytes > WORD_BYTES_MAX
    }

    /// Whether it could be a name.
    pub(super) fn is_capital(&self) -> bool {
        self.raw.first().is_some_and(|byte| byte.is_ascii_uppercase() || *byte >= 0x80)
    }

    pub(super) fn is_salutation(&self) -> bool {
        let lexicon = &*LEXICON;
        lexicon.lets(self.hash) && lexicon.salutations.contains(&self.hash)
    }

    /// The hashes of the names that it holds: those of the local part of an address, or itself.
    pub(super) fn names(self) -> impl Iterator<Item = u32> + 'a {
        let local = if self.is_address() {
            self.raw.split(|byte| *byte == b'@').next().unwrap_or_default()
        } else {
            self.raw
        };
        let parts = local.split(|byte| matches!(byte, b'.' | b'_' | b'-' | b'+'));
        parts.filter(|part| part.len() > 2).map(|part| hash_of(part).0)
    }
}

fn starts(raw: &[u8], with: &[u8]) -> bool {
    raw.len() > with.len() && raw[..with.len()].eq_ignore_ascii_case(with)
}

/// What stands behind the next `end`, which begins with a sign of HTML.
fn behind<'a>(text: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    let (first, last) = (*end.first()?, end.len());
    memchr_iter(first, text)
        .skip(usize::from(text.first() == Some(&first)))
        .find(|at| text.get(*at..at + last).is_some_and(|found| found.eq_ignore_ascii_case(end)))
        .map(|at| &text[at + last..])
}

/// The words of a text.
pub(super) struct Words<'a> {
    rest: &'a [u8],
    is_html: bool,
}

impl<'a> Words<'a> {
    pub(super) const fn plain(text: &'a [u8]) -> Self {
        Self { rest: text, is_html: false }
    }

    pub(super) const fn html(text: &'a [u8]) -> Self {
        Self { rest: text, is_html: true }
    }

    /// Passes over a tag that `rest` begins with; its link, if it is one.
    fn tag(&mut self) -> Option<Word<'a>> {
        for (begin, end) in [(&b"<!--"[..], &b"-->"[..]), (b"<style", b"</style"), (b"<script", b"</script")]
        {
            if starts(self.rest, begin) {
                // One that is not closed within the excerpt holds all that is left of it.
                self.rest = behind(self.rest, end).unwrap_or_default();
                return None;
            }
        }
        let end = memchr(b'>', self.rest).unwrap_or(self.rest.len() - 1);
        let (tag, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        if !starts(tag, b"<a ") && !starts(tag, b"<a\r") && !starts(tag, b"<a\n") {
            return None;
        }
        let at = tag.windows(5).position(|window| window.eq_ignore_ascii_case(b"href="))? + 5;
        let quote = tag.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\''));
        let target = if quote.is_some() { &tag[at + 1..] } else { &tag[at..] };
        let end = target.iter().position(|byte| match quote {
            Some(quote) => *byte == quote,
            None => matches!(byte, b' ' | b'>'),
        });
        let target = &target[..end.unwrap_or(target.len())];
        let (hash, bytes) = hash_of(target);
        let word = Word { hash, bytes, ends_phrase: false, raw: target, marks: COLON };
        // mailto: and what the program itself opens is no link to anywhere.
        word.is_link().then_some(word)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            let begin = self.rest.iter().position(|byte| {
                KINDS[usize::from(*byte)] & (LETTER | DIGIT) != 0
                    || (self.is_html && matches!(byte, b'<' | b'&'))
            })?;
            self.rest = &self.rest[begin..];
            match self.rest[0] {
                b'<' => match self.tag() {
                    Some(link) => return Some(link),
                    None => continue,
                },
                // An entity: a blank, a mark or a letter, the same each time.
                b'&' => {
                    let end = self.rest.iter().take(10).position(|byte| *byte == b';');
                    self.rest = &self.rest[end.map_or(1, |end| end + 1)..];
                    continue;
                }
                _ => {}
            }
            let mut marks = 0;
            let end = self.rest.iter().position(|byte| {
                let kind = KINDS[usize::from(*byte)];
                marks |= kind;
                kind & DIVIDER != 0 || (self.is_html && *byte == b'&')
            });
            let (raw, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest;
            let ends_phrase =
                raw.last().is_some_and(|byte| matches!(byte, b',' | b'!' | b'.' | b':' | b';' | b'?'))
                    || matches!(rest.first(), None | Some(b'\r' | b'\n' | b'<'));
            let (hash, bytes) = hash_of(raw);
            return Some(Word { hash, bytes, ends_phrase, raw, marks });
        }
    }
}

/// The hash of the letters and digits of `raw`, in lower case, and their number. Marks at its ends do not count, so that
/// `word,` is `word`; within it they do.
fn hash_of(raw: &[u8]) -> (u32, usize) {
    let is_inner = |byte: &u8| KINDS[usize::from(*byte)] & (LETTER | DIGIT) != 0;
    let end = raw.iter().rposition(is_inner).map_or(0, |at| at + 1);
    let raw = &raw[..end];
    let mut hash = raw.len() as u64;
    let mut add = |word: u64| {
        // This bit is what tells lower case from upper; what it does to marks and digits it always does.
        let lower = word | 0x2020_2020_2020_2020;
        hash = (hash ^ lower).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    };
    let (whole, rest) = raw.as_chunks::<8>();
    whole.iter().for_each(|chunk| add(u64::from_le_bytes(*chunk)));
    // Short words are most words: two reads that overlap are quicker than a copy of unknown length.
    match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            add(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32);
        }
        _ if rest.is_empty() => {}
        _ => add(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))),
    }
    ((hash ^ (hash >> 32)) as u32 | 2, raw.len())
}

/// Words that mean something here.
struct Lexicon {
    salutations: Vec<u32>,
    lists: Vec<[u32; 3]>,
    /// Of all salutations and last words of phrases one bit each, by which most words are seen to be none.
    gate: [u64; 16],
}

impl Lexicon {
    const fn place(hash: u32) -> (usize, u64) {
        ((hash >> 28) as usize, 1 << (hash >> 22 & 63))
    }

    /// Whether a word may be one of those.
    const fn lets(&self, hash: u32) -> bool {
        let (word, bit) = Self::place(hash);
        self.gate[word] & bit != 0
    }
}

const SALUTATIONS: &str = "ciao gentile gentilissimo gentilissima egregio caro cara salve buongiorno buonasera spettabile spett \
    dear hi hello hey hallo bonjour";

/// What only mail to many says: how to be rid of it, how to see it in a browser. Up to three words.
const OF_LISTS: &[&str] = &[
    "unsubscribe",
    "unsubscribing",
    "opt-out",
    "disiscriviti",
    "disiscriversi",
    "disiscrivermi",
    "disiscriverti",
    "disiscrizione",
    "annulla iscrizione",
    "annulla l'iscrizione",
    "annulla l\u{2019}iscrizione",
    "annullare l'iscrizione",
    "annullare l\u{2019}iscrizione",
    "cancella iscrizione",
    "cancella l'iscrizione",
    "cancella l\u{2019}iscrizione",
    "cancellare l'iscrizione",
    "cancellare l\u{2019}iscrizione",
    "cancellarti dalla",
    "ricevere pi\u{f9}",
    "ricevere altre comunicazioni",
    "gestisci preferenze",
    "gestisci le preferenze",
    "versione online",
    "nel browser",
    "nel tuo browser",
    "manage preferences",
    "manage your preferences",
    "update your preferences",
    "email preferences",
    "in your browser",
    "mailing list",
];

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let hash = |word: &str| hash_of(word.as_bytes()).0;
    let phrase = |text: &&str| {
        let mut words = text.rsplit(' ').map(hash);
        let [last, middle, first] = std::array::from_fn(|_| words.next().unwrap_or(0));
        [first, middle, last]
    };
    let salutations: Vec<u32> = SALUTATIONS.split_ascii_whitespace().map(hash).collect();
    let lists: Vec<[u32; 3]> = OF_LISTS.iter().map(phrase).collect();
    let mut gate = [0; 16];
    for hash in salutations.iter().copied().chain(lists.iter().map(|phrase| phrase[2])) {
        let (word, bit) = Lexicon::place(hash);
        gate[word] |= bit;
    }
    Lexicon { salutations, lists, gate }
});

/// Whether the last three words, or the last two or one of them, are what only mail to many says.
pub(super) fn is_of_lists(words: [u32; 3]) -> bool {
    let [before, last, hash] = words;
    let lexicon = &*LEXICON;
    lexicon.lets(hash)
        && lexicon.lists.iter().any(|phrase| {
            phrase[2] == hash
                && (phrase[1] == 0 || (phrase[1] == last && (phrase[0] == 0 || phrase[0] == before)))
        })
}
