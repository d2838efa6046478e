//! Chance that is none: the same seed and the same words give the same number, on every machine.

/// A number that depends on nothing but its arguments.
pub(crate) fn number(seed: u64, words: &[&[u8]]) -> u64 {
    let mut hash = Hash::new(seed);
    words.iter().for_each(|word| hash.word(word));
    hash.number()
}

/// FNV-1a over words, and the finalizer of splitmix64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(0xcbf2_9ce4_8422_2325_u64 ^ seed)
    }

    /// Adds a word and a byte that no UTF-8 text has, so that words do not run together.
    pub(crate) fn word(&mut self, word: &[u8]) {
        word.iter().chain(&[0xff]).for_each(|&byte| self.byte(byte));
    }

    /// The same with ASCII letters in lower case.
    pub(crate) fn lower(&mut self, word: &[u8]) {
        word.iter().for_each(|byte| self.byte(byte.to_ascii_lowercase()));
        self.byte(0xff);
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    pub(crate) const fn number(self) -> u64 {
        mix(self.0)
    }
}

/// Spreads a number over all of its bits (splitmix64).
pub(crate) const fn mix(number: u64) -> u64 {
    let mut hash = number;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Rolls of one thing, such as a mailbox or an answer: each purpose has its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roll(u64);

impl Roll {
    /// Of the thing that `number` names in a world of this seed.
    pub(crate) const fn of(seed: u64, number: u64) -> Self {
        Self(mix(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A number between 0 (included) and 1 (not included).
    pub(crate) fn portion(self, purpose: u64) -> f64 {
        // The upper 53 bits are all that a double holds exactly.
        (self.number(purpose) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Any number.
    pub(crate) const fn number(self, purpose: u64) -> u64 {
        mix(self.0.wrapping_add(purpose.wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_even_and_depend_on_seed_thing_and_purpose() {
        for (seed, purpose) in [(0, 0), (1, 0), (2, 1), (3, 2), (u64::MAX, 7)] {
            let below =
                |limit: f64| (0..100_000).filter(|&n| Roll::of(seed, n).portion(purpose) < limit).count();
            assert!((900..1100).contains(&below(0.01)), "{}", below(0.01));
            assert!((49_000..51_000).contains(&below(0.5)), "{}", below(0.5));
        }
        let of = |seed, thing, purpose| Roll::of(seed, thing).number(purpose);
        assert!(of(1, 2, 3) != of(2, 2, 3) && of(1, 2, 3) != of(1, 3, 3) && of(1, 2, 3) != of(1, 2, 4));
    }

    #[test]
    fn words_do_not_run_together_and_case_counts_only_where_it_should() {
        assert_ne!(number(1, &[b"ab"]), number(2, &[b"ab"]));
        assert_ne!(number(1, &[b"a", b"b"]), number(1, &[b"ab"]));
        let (mut lower, mut mixed) = (Hash::new(1), Hash::new(1));
        lower.lower(b"ann");
        mixed.lower(b"ANN");
        assert_eq!(lower.number(), mixed.number());
    }
}
