//! The lanes against big integers, with faults put in, and, when asked, against the clock.

use std::time::Instant;

use num_bigint::BigUint;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::dkim::limbs::Half;
use crate::dkim::rsa::Rsa;
use crate::dkim::{generate_rsa_2048, limbs};

/// Numbers that look random and are the same each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: &BigUint) -> BigUint {
        let words: Vec<u32> = (0..end.bits() / 32 + 3).map(|_| self.next() as u32).collect();
        BigUint::new(words) % end
    }

    fn index(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn big<const L: usize>(limbs: &[u64; L]) -> BigUint {
    limbs.iter().rev().fold(BigUint::ZERO, |number, limb| (number << LIMB_BITS) + limb)
}

fn limbs_of<const L: usize>(number: &BigUint) -> [u64; L] {
    limbs::from_bytes(&number.to_bytes_be())
}

fn power_of_two(bits: usize) -> BigUint {
    BigUint::from(1_u8) << bits
}

fn keys(count: usize) -> Vec<Rsa> {
    let pem = include_str!("../../../testdata/test-rsa.pem").to_owned();
    let more = (1..count).map(|_| generate_rsa_2048().expect("makes a key"));
    std::iter::once(pem)
        .chain(more)
        .map(|pem| {
            let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("is PEM");
            Rsa::from_der(&der).expect("is a key")
        })
        .collect()
}

fn private(key: &Rsa) -> &Private {
    key.lanes().expect("keys of 2048 bits are for the lanes")
}

/// A copy to put faults into.
fn copy(key: &Private) -> Private {
    let prime = |prime: &Prime| Prime { ..*prime };
    Private { p: prime(&key.p), q: prime(&key.q), ..*key }
}

/// Memory for the lanes; none, with a word, where the processor cannot.
fn workspace() -> Option<Box<Workspace>> {
    let made = Workspace::new();
    if made.is_none() {
        println!("this processor has no AVX-512 IFMA: nothing is tested");
    }
    made
}

/// Moduli of `bits` bits: keys', and the extremes.
fn moduli(bits: usize, more: &[BigUint]) -> Vec<BigUint> {
    let top = power_of_two(bits - 1);
    let mut all = vec![&top + 1_u8, (&top << 1) - 1_u8, &top + power_of_two(LIMB_BITS as usize) - 1_u8];
    // Limbs of nothing but zeros, and of nothing but ones, in turns.
    let ones =
        (0..bits / 104).fold(BigUint::ZERO, |sum, limb| sum + (BigUint::from(LIMB_MASK) << (104 * limb)));
    all.extend([&top + &ones, &top + (&ones << (LIMB_BITS - 1)) + 1_u8]);
    all.extend_from_slice(more);
    all
}

/// Factors below 6·modulus at which carries and reductions change, then others.
fn factors(modulus: &BigUint, chance: &mut Chance) -> Vec<BigUint> {
    let mut all: Vec<BigUint> = [0_u8, 1, 2].map(BigUint::from).to_vec();
    for times in 1_u8..=5 {
        all.extend([modulus * times - 1_u8, modulus * times, modulus * times + 1_u8]);
    }
    all.push(modulus * 6_u8 - 1_u8);
    let bits = modulus.bits() as usize;
    all.extend([power_of_two(bits) - 1_u8, power_of_two(bits - 1), power_of_two(bits / 2)]);
    all.extend((0..16).map(|_| chance.below(&(modulus * 6_u8))));
    all
}

/// Multiplies in lanes, each with its own modulus and factors. A product is below `modulus_times` · modulus + a·b/R.
fn products<const L: usize, M>(
    multiply: impl Fn(&mut Number<L>, &Number<L>, &M),
    moduli: impl Fn(&[BigUint]) -> M,
    cases: &[[BigUint; 3]],
    modulus_times: u8,
) {
    for cases in cases.chunks(LANES) {
        let (mut x, mut b) = ([Lanes::default(); L], [Lanes::default(); L]);
        for (lane, [_, a, factor]) in cases.iter().enumerate() {
            put(&mut x, lane, &limbs_of(a));
            put(&mut b, lane, &limbs_of(factor));
        }
        let all: Vec<BigUint> = cases.iter().map(|[modulus, ..]| modulus.clone()).collect();
        multiply(&mut x, &b, &moduli(&all));
        for (lane, [modulus, a, factor]) in cases.iter().enumerate() {
            let product: [u64; L] = take(&x, lane);
            assert!(product.iter().all(|limb| *limb <= LIMB_MASK), "{modulus} {a} {factor}");
            let product = big(&product);
            assert_eq!(
                (&product << (L * LIMB_BITS as usize)) % modulus,
                a * factor % modulus,
                "{a} {factor}"
            );
            let most = modulus * modulus_times + 1_u8 + ((a * factor) >> (L * LIMB_BITS as usize));
            assert!(product <= most && most < modulus * 3_u8, "{product} of {a} and {factor} mod {modulus}");
        }
    }
}

fn public(all: &[BigUint]) -> Moduli<FULL_LIMBS> {
    let mut moduli = Moduli::NONE;
    for (lane, modulus) in all.iter().enumerate() {
        let limbs: Full = limbs_of(modulus);
        put(&mut moduli.modulus, lane, &limbs);
        moduli.inverse.0[lane] = limbs::negative_inverse(limbs[0]);
    }
    moduli
}

fn primes(all: &[BigUint]) -> Primes {
    let mut primes = Primes::NONE;
    for (lane, modulus) in all.iter().enumerate() {
        primes.put(lane, &Prime::new(&modulus.to_bytes_be(), &[1]));
    }
    primes
}

#[test]
fn products_and_squares_equal_those_of_big_integers() {
    let Some(workspace) = workspace() else { return };
    let keys = keys(2);
    let mut chance = Chance(1);
    let of_keys: Vec<BigUint> =
        keys.iter().map(private).flat_map(|key| [big(&key.p.modulus), big(&key.q.modulus)]).collect();
    let (mut squares, mut mixed) = (Vec::new(), Vec::new());
    for modulus in moduli(1024, &of_keys) {
        let factors = factors(&modulus, &mut chance);
        for a in &factors {
            squares.push([modulus.clone(), a.clone(), a.clone()]);
            let others = factors.iter().filter(|b| b.bits() % 3 == a.bits() % 3 || *b >= &modulus);
            mixed.extend(others.map(|b| [modulus.clone(), a.clone(), b.clone()]));
        }
        // Half a message: any limbs at all, times what is below the modulus.
        let all_ones = power_of_two(HALF_LIMBS * LIMB_BITS as usize) - 1_u8;
        mixed.push([modulus.clone(), all_ones, &modulus - 1_u8]);
    }
    products::<HALF_LIMBS, _>(|x, b, p| workspace.multiply(x, b, p), primes, &mixed, 2);
    products::<HALF_LIMBS, _>(|x, _, p| workspace.square(x, p), primes, &squares, 2);
    let of_keys: Vec<BigUint> = keys.iter().map(|key| big(&private(key).modulus)).collect();
    let mut wide = Vec::new();
    for modulus in moduli(2048, &of_keys) {
        let factors = factors(&modulus, &mut chance);
        let pairs = factors.iter().zip(factors.iter().rev()).chain(factors.iter().zip(&factors));
        wide.extend(pairs.map(|(a, b)| [modulus.clone(), a.clone(), b.clone()]));
    }
    products::<FULL_LIMBS, _>(|x, b, n| workspace.multiply_wide(x, b, n), public, &wide, 1);
}

#[test]
fn limbs_read_and_write_what_was_meant() {
    let mut chance = Chance(2);
    for bits in [0, 1, 51, 52, 53, 1023, 1024, 1039, 1040, 2047, 2048] {
        let number = chance.below(&power_of_two(bits));
        let limbs: Full = limbs_of(&number);
        assert_eq!(big(&limbs), number);
        assert_eq!(BigUint::from_bytes_be(&limbs::to_bytes(&limbs)), number);
    }
    for modulus in moduli(1024, &[]) {
        let limbs: Half = limbs_of(&modulus);
        assert_eq!(limbs::negative_inverse(limbs[0]).wrapping_mul(limbs[0]) & LIMB_MASK, LIMB_MASK);
        let k = limbs::negative_inverse(limbs[0]);
        assert_eq!(big(&limbs::reducer(&limbs)) << LIMB_BITS, &modulus * k + 1_u8);
        for value in [BigUint::ZERO, BigUint::from(1_u8), &modulus - 1_u8, chance.below(&modulus)] {
            let shifted = limbs::shifted(&limbs_of(&value), 1041, &limbs);
            assert_eq!(big(&shifted), (value << 1041_u32) % &modulus);
        }
    }
}

/// Messages, as numbers below n, that are special to a key.
fn special(key: &Private) -> Vec<BigUint> {
    let (n, p, q) = (big(&key.modulus), big(&key.p.modulus), big(&key.q.modulus));
    let one = BigUint::from(1_u8);
    let ones = power_of_two(2047) - 1_u8;
    let low_ones = power_of_two(HALF_LIMBS * LIMB_BITS as usize) - 1_u8;
    vec![
        BigUint::ZERO,
        one.clone(),
        &n - 1_u8,
        p.clone(),
        q.clone(),
        &p - 1_u8,
        &q - 1_u8,
        &p + 1_u8,
        &p * 2_u8,
        &q * 3_u8,
        &n - &p,
        &n - &q,
        &p * (&q - 1_u8),
        ones,
        &low_ones + 1_u8,
        low_ones,
    ]
}

#[test]
fn signatures_of_edge_values_are_right_in_every_lane() {
    let Some(mut workspace) = workspace() else { return };
    let keys = keys(3);
    let mut jobs = Vec::new();
    for key in keys.iter().map(private) {
        jobs.extend(special(key).iter().map(|message| (key, limbs_of::<FULL_LIMBS>(message))));
    }
    let exponent = BigUint::from(65_537_u32);
    // Of every size, so that each message meets other lanes and other neighbours.
    let (mut size, mut rest) = (0, jobs.as_slice());
    while !rest.is_empty() {
        size = size % LANES + 1;
        let (batch, after) = rest.split_at(size.min(rest.len()));
        let signatures = workspace.sign(batch);
        for ((key, message), signature) in batch.iter().zip(&signatures) {
            let signature = big(&signature.expect("the check finds it right"));
            let n = big(&key.modulus);
            assert!(signature < n);
            assert_eq!(signature.modpow(&exponent, &n), big(message));
        }
        assert!(signatures[batch.len()..].iter().all(Option::is_none));
        rest = after;
    }
}

/// Every limb of a key in which a fault can lie, by a number.
fn limb_of(key: &mut Private, at: usize) -> &mut u64 {
    let Private { p, q, q_inverse, modulus, inverse, r2 } = key;
    let mut all: Vec<&mut u64> = Vec::new();
    for prime in [p, q] {
        all.push(&mut prime.inverse);
        all.extend(prime.modulus.iter_mut().chain(&mut prime.r2).chain(&mut prime.r3));
        all.extend(prime.reducer.iter_mut().chain(&mut prime.exponent));
    }
    all.push(inverse);
    all.extend(q_inverse.iter_mut().chain(modulus).chain(r2));
    let count = all.len();
    all.swap_remove(at % count)
}

#[test]
fn a_fault_anywhere_in_a_key_gives_no_signature_and_spoils_no_neighbour() {
    let Some(mut workspace) = workspace() else { return };
    let keys = keys(2);
    let mut chance = Chance(3);
    let message: Full = limbs_of(&chance.below(&power_of_two(2047)));
    let right = workspace.sign(&[(private(&keys[0]), message), (private(&keys[1]), message)]);
    assert!(right[0].is_some() && right[1].is_some());
    for round in 0..32 {
        let mut damaged = copy(private(&keys[0]));
        *limb_of(&mut damaged, chance.next() as usize) ^= 1 << chance.index(52);
        let place = round % 4;
        let mut jobs = vec![(private(&keys[1]), message); 4];
        jobs[place].0 = &damaged;
        let signatures = workspace.sign(&jobs);
        for (lane, signature) in signatures.iter().enumerate().take(jobs.len()) {
            let expected = if lane == place { None } else { right[1] };
            assert_eq!(*signature, expected, "round {round} lane {lane}");
        }
    }
}

/// `STAFFETTA_SIGNATURES=1000000 cargo test --profile fast -p content --lib equal_those_of_aws -- --nocapture` compares a
/// million.
#[test]
fn signatures_equal_those_of_aws_lc_rs() {
    let Some(mut workspace) = workspace() else { return };
    let asked = std::env::var("STAFFETTA_SIGNATURES").ok().and_then(|count| count.parse().ok());
    let count: usize = asked.unwrap_or(300);
    let mut chance =
        Chance(std::env::var("STAFFETTA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4));
    let (mut made, mut pool) = (0, Vec::new());
    while made < count {
        // New keys now and then: a key of its own for every 2,000 signatures.
        if made >= pool.len() / 4 * 8_000 || pool.is_empty() {
            pool.extend(keys(4));
        }
        let recent = &pool[pool.len().saturating_sub(64)..];
        let jobs: Vec<_> = (0..chance.index(LANES) + 1)
            .map(|_| {
                let bytes: Vec<u8> = (0..8).flat_map(|_| chance.next().to_le_bytes()).collect();
                (
                    &recent[chance.index(recent.len())],
                    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes),
                )
            })
            .collect();
        let in_lanes: Vec<_> =
            jobs.iter().map(|(key, digest)| (private(key), crate::dkim::rsa::padded(digest))).collect();
        let signatures = workspace.sign(&in_lanes);
        for ((key, digest), signature) in jobs.iter().zip(signatures) {
            let signature = limbs::to_bytes(&signature.expect("the check finds it right"));
            assert_eq!(signature.as_slice(), key.sign_alone(digest).expect("signs"));
        }
        made += jobs.len();
    }
    println!("{made} signatures with {} keys are equal", pool.len());
}

/// Welch's t of two samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let mean = |sample: &[f64]| sample.iter().sum::<f64>() / sample.len() as f64;
    let share = |sample: &[f64], mean: f64| {
        let squares: f64 = sample.iter().map(|x| (x - mean).powi(2)).sum();
        squares / (sample.len() - 1) as f64 / sample.len() as f64
    };
    let (mean_a, mean_b) = (mean(a), mean(b));
    (mean_a - mean_b) / (share(a, mean_a) + share(b, mean_b)).sqrt()
}

/// Chooses a key of a pool, by its place, and a message.
type Class<'a> = dyn Fn(&mut Chance) -> (usize, Full) + 'a;

/// Times signatures of two classes, and whatever `leak` does for a class, in random order and gives Welch's t for all measurements and with the slowest left out,
/// from the median on: interruptions are slow, and equally so in both classes (Reparaz, Balasch and Verbauwhede, "Dude, is
/// my code constant time?", 2017).
fn timed(
    name: &str,
    workspace: &mut Workspace,
    classes: [&Class<'_>; 2],
    pools: [&[Private]; 2],
    leak: impl Fn(usize),
) {
    let asked = std::env::var("STAFFETTA_TIMINGS").ok().and_then(|count| count.parse().ok());
    let count: usize = asked.unwrap_or(20_000);
    let mut chance = Chance(5);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..count {
        let class = chance.index(2);
        let jobs: Vec<_> = (0..4)
            .map(|_| {
                let (key, message) = classes[class](&mut chance);
                (&pools[class][key], message)
            })
            .collect();
        let began = Instant::now();
        std::hint::black_box(workspace.sign(&jobs));
        leak(class);
        let time = began.elapsed().as_nanos() as f64;
        // The first ones warm the caches.
        if round > 100 {
            times[class].push(time);
        }
    }
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    print!("{name}: {} timings, median {} ns; t", all.len(), all[all.len() / 2]);
    for percent in [50, 70, 80, 90, 95, 99, 100] {
        let most = all[(all.len() - 1) * percent / 100];
        let [a, b] = [0, 1].map(|class: usize| {
            times[class].iter().copied().filter(|time| *time <= most).collect::<Vec<f64>>()
        });
        print!(" {percent}%: {:.2}", welch(&a, &b));
    }
    println!();
}

/// `cargo test --profile fast -p content --lib time_says_nothing -- --ignored --nocapture` prints t for each pair of classes;
/// above 4.5 there is a leak, as in the second pair, where one class makes one product more. `STAFFETTA_TIMINGS` asks for more than 20,000 timings a pair.
#[test]
#[ignore = "it measures, and says something only in an optimised build on a quiet machine"]
fn time_says_nothing_of_keys_and_messages() {
    let Some(mut workspace) = workspace() else { return };
    let keys = keys(16);
    // Copies at places of their own, so that both classes find memory alike.
    let many = |make: &dyn Fn(usize) -> Private| (0..16).map(make).collect::<Vec<Private>>();
    let same = many(&|_| copy(private(&keys[0])));
    let different = many(&|index| copy(private(&keys[index])));
    let with_exponent = |words: &dyn Fn(usize) -> u64| {
        many(&|_| {
            let mut key = copy(private(&keys[0]));
            key.p.exponent = std::array::from_fn(words);
            key.q.exponent = std::array::from_fn(words);
            key
        })
    };
    let n = big(&private(&keys[0]).modulus);
    let some = |chance: &mut Chance| limbs_of::<FULL_LIMBS>(&chance.below(&power_of_two(2047)));
    let random = |chance: &mut Chance| (chance.index(16), some(chance));
    // Made in the same way as the random ones, so that what runs before the clock is alike.
    let fixed = |number: BigUint| {
        move |chance: &mut Chance| {
            std::hint::black_box(some(chance));
            (chance.index(16), limbs_of::<FULL_LIMBS>(&number))
        }
    };
    let message = fixed(Chance(6).below(&n));
    let sound = |_: usize| ();
    timed(
        "random against random (nothing to find)",
        &mut workspace,
        [&random, &random],
        [&same, &same],
        sound,
    );
    let control = Workspace::new().expect("there was one before");
    let one_product = |class| {
        if class == 0 {
            control.multiply(&mut one(), &one(), &Primes::NONE);
        }
    };
    timed("a product more (to be found)", &mut workspace, [&random, &random], [&same, &same], one_product);
    timed("one message against random ones", &mut workspace, [&message, &random], [&same, &same], sound);
    timed(
        "message 0 against random ones",
        &mut workspace,
        [&fixed(BigUint::ZERO), &random],
        [&same, &same],
        sound,
    );
    timed(
        "message n-1 against random ones",
        &mut workspace,
        [&fixed(n - 1_u8), &random],
        [&same, &same],
        sound,
    );
    timed("one key against different ones", &mut workspace, [&random, &random], [&same, &different], sound);
    let zeros = with_exponent(&|_| 0);
    let ones = with_exponent(&|_| u64::MAX);
    timed("exponent of zeros against a key's", &mut workspace, [&random, &random], [&zeros, &same], sound);
    timed(
        "exponent of ones against one of zeros",
        &mut workspace,
        [&random, &random],
        [&ones, &zeros],
        sound,
    );
}
