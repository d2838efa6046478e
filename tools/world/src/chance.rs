//! Chance that is none: the same seed and the same words give the same number, on every machine.

/// A number between 0 (included) and 1 (not included) that depends on nothing but its arguments.
pub(crate) fn portion(seed: u64, words: &[&[u8]]) -> f64 {
    // The upper 53 bits are all that a double holds exactly.
    (number(seed, words) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number that depends on nothing but its arguments.
pub(crate) fn number(seed: u64, words: &[&[u8]]) -> u64 {
    // FNV-1a, with a byte between words that no UTF-8 text has; then the finalizer of splitmix64 to mix the bits.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for word in words {
        for &byte in word.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_even_and_depend_on_the_seed() {
        for seed in 0..5 {
            let below = |limit: f64| {
                (0..100_000_u32).filter(|n| portion(seed, &[b"x", &n.to_le_bytes()]) < limit).count()
            };
            assert!((900..1100).contains(&below(0.01)), "{}", below(0.01));
            assert!((49_000..51_000).contains(&below(0.5)), "{}", below(0.5));
        }
        assert_ne!(number(1, &[b"ab"]), number(2, &[b"ab"]));
        assert_ne!(number(1, &[b"a", b"b"]), number(1, &[b"ab"]));
    }
}
