//! Which source address a message leaves from: the same kind of mail from the same sender to the same provider from the
//! same one. It refuses to know why a source stands well or badly.

mod among;

use mail::Class;

pub use among::{Candidates, Choice, SourceGround, Wish, choose_among};

/// A source that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its index in the configuration's sources.
    pub source: u16,
    /// Its share; a source of weight 2 gets twice the identities of one of weight 1. Zero is never chosen.
    pub weight: u32,
}

/// Chooses by weighted rendezvous hashing; `None` when no candidate has a weight.
///
/// `identity` is what receivers know the sender by (the domain of its address). Each identity keeps its source as long as that
/// one is among the candidates: one that comes or goes moves only the identities that it wins or had.
#[must_use]
pub fn choose(identity: &str, class: Class, provider: &str, candidates: &[Candidate]) -> Option<u16> {
    let key = key_of(identity, class, provider);
    let mut best: Option<(f64, u16)> = None;
    for candidate in candidates.iter().filter(|candidate| candidate.weight > 0) {
        let score = score_of(key, *candidate);
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, candidate.source));
        }
    }
    best.map(|(_, source)| source)
}

fn key_of(identity: &str, class: Class, provider: &str) -> u64 {
    let identity = identity.bytes().map(|byte| byte.to_ascii_lowercase());
    let separated = [0xff, class as u8];
    hash_of(identity.chain(separated).chain(provider.bytes()))
}

/// FNV-1a. Written out because the choice must stay the same over versions of the engine and of its crates.
fn hash_of(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The larger of two such scores belongs to a candidate with the probability of its share of the weights:
/// `-weight / ln(u)` with `u` uniform between 0 and 1.
fn score_of(key: u64, candidate: Candidate) -> f64 {
    let hash = mixed(key ^ mixed(u64::from(candidate.source) + 1));
    let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(candidate.weight) / uniform.ln()
}

/// Spreads every bit of `value` over all bits (the finaliser of SplitMix64).
#[must_use]
pub const fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        weights.iter().zip(0..).map(|(&weight, source)| Candidate { source, weight }).collect()
    }

    fn chosen(identities: u32, candidates: &[Candidate]) -> Vec<Option<u16>> {
        (0..identities)
            .map(|n| choose(&format!("sender{n}.test"), Class::Bulk, "google", candidates))
            .collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        let chosen = chosen(20_000, &candidates(&[1, 2, 0, 1]));
        let count = |source| chosen.iter().filter(|&&one| one == Some(source)).count();
        assert!((4_700..5_300).contains(&count(0)), "{}", count(0));
        assert!((9_600..10_400).contains(&count(1)), "{}", count(1));
        assert_eq!(count(2), 0);
    }

    #[test]
    fn a_source_that_goes_moves_only_its_own_identities() {
        let all = candidates(&[1, 1, 1, 1]);
        let (before, after) = (chosen(2_000, &all), chosen(2_000, &all[..3]));
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == Some(3));
        }
    }

    #[test]
    fn the_order_of_the_candidates_and_the_case_of_the_identity_do_not_matter() {
        let mut reversed = candidates(&[1, 3, 2]);
        reversed.reverse();
        for n in 0..100 {
            let (lower, upper) = (format!("s{n}.test"), format!("S{n}.TEST"));
            assert_eq!(
                choose(&lower, Class::Personal, "yahoo", &candidates(&[1, 3, 2])),
                choose(&upper, Class::Personal, "yahoo", &reversed)
            );
        }
    }

    #[test]
    fn nothing_to_choose_from_is_none() {
        assert_eq!(choose("a.test", Class::Bulk, "google", &[]), None);
        assert_eq!(choose("a.test", Class::Bulk, "google", &candidates(&[0])), None);
    }
}
