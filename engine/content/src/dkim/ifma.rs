//! RSA-2048 private operations, eight at a time, with the AVX-512 IFMA instructions of the processor. It refuses other
//! key sizes, other exponents than 65537, and processors without these instructions: those are for aws-lc-rs.
//!
//! # Form
//! A number is a row of limbs of 52 bits, lowest first, because `vpmadd52luq` and `vpmadd52huq` add the lower and the
//! upper 52 bits of a product of two such limbs to a 64-bit sum. Each limb is a vector of eight, one for each
//! **lane**: lane 3 of all vectors belongs to one number, which never meets those of the other lanes. So eight
//! numbers with eight moduli go through the same instructions.
//!
//! A signature is s = m^d mod n, found from m^dp mod p and m^dq mod q (Garner, RFC 8017 section 5.1.2). Each of these
//! two powers takes a lane: up to four signatures share one vector, up to eight take two.
//!
//! Multiplication is Montgomery's in its almost reduced form: with R = 2^1040 and a modulus p below 2^1024, factors
//! below 6p give a result below 2p + 36p²/R < 3p, so that nothing need be subtracted on the way.
//!
//! Each column but the last is reduced with k·p, where k = -1/p mod 2^52, instead of p: k·p ends in 52 ones, so the
//! factor is the lowest limb itself and need not be computed. k·p + 1 is `reducer` · 2^52. Reduced with numbers so
//! large, a result would be below k·p; the last column is reduced with p and brings it below 2p (and a·b/R).
//!
//! # Constant time
//! No branch and no address depends on a key, a message or anything computed from them: loops have fixed bounds, all
//! 2^4 entries of the table of powers are read for each digit of the exponent and the right one is kept with a mask,
//! the last subtraction is made and then kept or not with a mask. Multiplications and shifts take the same time for
//! all values. What may be known from outside is how many signatures there are, and which of them were wrong.
//!
//! # Faults
//! Each signature is raised to 65537 modulo n and compared with what was to be signed; n is kept apart from p and q.
//! One wrong half of a signature would give away the key to whoever sees it (Boneh, DeMillo and Lipton, 1997).
#![allow(
    unsafe_code,
    reason = "vector instructions: loads, stores, and calls that need the processor to have them"
)]

mod wide;

use std::arch::x86_64::{
    __m512i, _mm_cvtsi64_si128, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask,
    _mm512_load_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_mov_epi64,
    _mm512_maskz_set1_epi64, _mm512_or_si512, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_slli_epi64,
    _mm512_srai_epi64, _mm512_srl_epi64, _mm512_srli_epi64, _mm512_store_si512, _mm512_sub_epi64,
    _mm512_ternarylogic_epi64, _mm512_test_epi64_mask,
};

use zeroize::{DefaultIsZeroes, Zeroize};

use self::wide::{add_column, check, next_column};
use super::limbs::{FULL_LIMBS, Full, HALF_LIMBS, LIMB_BITS, LIMB_MASK};
use super::private::{EXPONENT_WORDS, Prime, Private};

/// Signatures that are made together, and numbers in a vector.
pub(super) const LANES: usize = 8;
/// Bits of a digit of the exponent.
const DIGIT_BITS: usize = 4;
/// Digits of an exponent.
const DIGITS: usize = EXPONENT_WORDS * 64 / DIGIT_BITS;
/// Powers in the table: one for each value of a digit.
const POWERS: usize = 1 << DIGIT_BITS;

/// One limb of eight numbers.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Lanes([u64; LANES]);

impl DefaultIsZeroes for Lanes {}

/// Eight numbers.
type Number<const L: usize> = [Lanes; L];

/// The sums of a multiplication under way: the columns from the one that is next reduced.
type Window = [__m512i; HALF_LIMBS + 1];

/// Eight moduli of `L` limbs.
struct Moduli<const L: usize> {
    modulus: Number<L>,
    /// -1/modulus mod 2^52.
    inverse: Lanes,
    /// R² mod modulus: brings a number into Montgomery's form.
    r2: Number<L>,
}

/// Eight primes.
struct Primes {
    moduli: Moduli<HALF_LIMBS>,
    /// (k·p + 1)/2^52 with k = -1/p mod 2^52.
    reducer: Number<HALF_LIMBS>,
}

/// Powers of eight numbers under way.
struct Powers {
    primes: Primes,
    /// R³ mod p.
    r3: Number<HALF_LIMBS>,
    exponent: [Lanes; EXPONENT_WORDS],
    table: [Number<HALF_LIMBS>; POWERS],
    x: Number<HALF_LIMBS>,
}

impl<const L: usize> Moduli<L> {
    const NONE: Self =
        Self { modulus: [Lanes([0; LANES]); L], inverse: Lanes([0; LANES]), r2: [Lanes([0; LANES]); L] };
}

impl Primes {
    const NONE: Self = Self { moduli: Moduli::NONE, reducer: [Lanes([0; LANES]); HALF_LIMBS] };

    /// Fills a lane.
    fn put(&mut self, lane: usize, prime: &Prime) {
        put(&mut self.moduli.modulus, lane, &prime.modulus);
        put(&mut self.moduli.r2, lane, &prime.r2);
        self.moduli.inverse.0[lane] = prime.inverse;
        put(&mut self.reducer, lane, &prime.reducer);
    }

    fn wipe(&mut self) {
        self.moduli.modulus.zeroize();
        self.moduli.r2.zeroize();
        self.moduli.inverse.zeroize();
        self.reducer.zeroize();
    }
}

impl Powers {
    const NONE: Self = Self {
        primes: Primes::NONE,
        r3: [Lanes([0; LANES]); HALF_LIMBS],
        exponent: [Lanes([0; LANES]); EXPONENT_WORDS],
        table: [[Lanes([0; LANES]); HALF_LIMBS]; POWERS],
        x: [Lanes([0; LANES]); HALF_LIMBS],
    };

    /// Fills a lane. The halves of the message lie where the first two powers will.
    fn put(&mut self, lane: usize, prime: &Prime, message: &Full) {
        self.primes.put(lane, prime);
        put(&mut self.r3, lane, &prime.r3);
        put(&mut self.exponent, lane, &prime.exponent);
        for (place, limb) in message.iter().enumerate() {
            self.table[place / HALF_LIMBS][place % HALF_LIMBS].0[lane] = *limb;
        }
    }
}

fn put<const L: usize>(number: &mut Number<L>, lane: usize, limbs: &[u64; L]) {
    for (to, limb) in number.iter_mut().zip(limbs) {
        to.0[lane] = *limb;
    }
}

fn take<const L: usize>(number: &Number<L>, lane: usize) -> [u64; L] {
    std::array::from_fn(|place| number[place].0[lane])
}

/// The memory in which signatures are made; wiped when it is dropped.
pub(super) struct Workspace {
    powers: Powers,
    /// From here on lanes are those of the signatures.
    p: Primes,
    q: Number<HALF_LIMBS>,
    q_inverse: Number<HALF_LIMBS>,
    /// The messages modulo p and q, raised.
    residues: [Number<HALF_LIMBS>; 2],
    public: Moduli<FULL_LIMBS>,
    message: Number<FULL_LIMBS>,
    signature: Number<FULL_LIMBS>,
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.powers.primes.wipe();
        self.powers.r3.zeroize();
        self.powers.exponent.zeroize();
        self.powers.table.zeroize();
        self.powers.x.zeroize();
        self.p.wipe();
        self.q.zeroize();
        self.q_inverse.zeroize();
        self.residues.zeroize();
        self.signature.zeroize();
    }
}

impl Workspace {
    /// Memory for signatures, where the processor has what they need.
    pub(super) fn new() -> Option<Box<Self>> {
        let has_all = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        has_all.then(|| {
            Box::new(Self {
                powers: Powers::NONE,
                p: Primes::NONE,
                q: [Lanes::default(); HALF_LIMBS],
                q_inverse: [Lanes::default(); HALF_LIMBS],
                residues: [[Lanes::default(); HALF_LIMBS]; 2],
                public: Moduli::NONE,
                message: [Lanes::default(); FULL_LIMBS],
                signature: [Lanes::default(); FULL_LIMBS],
            })
        })
    }

    /// Signs up to eight padded digests, each below its key's modulus, and checks what came out: a lane whose signature is
    /// wrong gives nothing.
    ///
    /// # Panics
    /// With more than eight.
    pub(super) fn sign(&mut self, jobs: &[(&Private, Full)]) -> [Option<Full>; LANES] {
        assert!(jobs.len() <= LANES, "a batch has eight lanes");
        if jobs.is_empty() {
            return [None; LANES];
        }
        // SAFETY: a `Workspace` is made by `new` only, and only where the processor has these instructions.
        unsafe { self.sign_in_lanes(jobs) }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn sign_in_lanes(&mut self, jobs: &[(&Private, Full)]) -> [Option<Full>; LANES] {
        // The lanes behind the last job repeat the first, so that they hold numbers that can be computed with.
        let job = |lane: usize| jobs.get(lane).unwrap_or(&jobs[0]);
        // One vector has room for both powers of up to four signatures. The vectors are raised one after the other: so the
        // table stays near the processor.
        let vectors = if 2 * jobs.len() <= LANES { 1 } else { 2 };
        let per_prime = LANES * vectors / 2;
        for vector in 0..vectors {
            let slots = (0..LANES).map(|lane| (lane, vector * LANES + lane));
            for (lane, slot) in slots.clone() {
                let (key, message) = job(slot % per_prime);
                let prime = if slot < per_prime { &key.p } else { &key.q };
                self.powers.put(lane, prime, message);
            }
            raise(&mut self.powers);
            for (lane, slot) in slots {
                let residue = take(&self.powers.x, lane);
                put(&mut self.residues[slot / per_prime], slot % per_prime, &residue);
            }
        }
        for lane in 0..LANES {
            let (key, message) = job(lane);
            self.p.put(lane, &key.p);
            put(&mut self.q, lane, &key.q.modulus);
            put(&mut self.q_inverse, lane, &key.q_inverse);
            put(&mut self.public.modulus, lane, &key.modulus);
            put(&mut self.public.r2, lane, &key.r2);
            self.public.inverse.0[lane] = key.inverse;
            put(&mut self.message, lane, message);
        }
        self.recombine();
        let right = check(&self.signature, &self.message, &self.public);
        std::array::from_fn(|lane| {
            (lane < jobs.len() && right & 1 << lane != 0).then(|| take(&self.signature, lane))
        })
    }

    /// s = sq + q·h with h = (sp - sq)/q mod p (RFC 8017 section 5.1.2), for sp below p, sq below q and q below 2p.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn recombine(&mut self) {
        let [sp, sq] = &self.residues;
        let mut h = [Lanes::default(); HALF_LIMBS];
        let mut carry = _mm512_setzero_si512();
        for place in 0..HALF_LIMBS {
            let p_twice = _mm512_slli_epi64::<1>(load(&self.p.moduli.modulus[place]));
            let difference = _mm512_sub_epi64(load(&sp[place]), load(&sq[place]));
            let sum = _mm512_add_epi64(_mm512_add_epi64(difference, p_twice), carry);
            carry = _mm512_srai_epi64::<LIMB_BITS>(sum);
            store(&mut h[place], _mm512_and_si512(sum, limb_mask()));
        }
        multiply(&mut h, &self.q_inverse, &self.p);
        reduce(&mut h, &self.p.moduli.modulus);
        let mut sums = [_mm512_setzero_si512(); 2];
        for (column, limb) in self.signature.iter_mut().enumerate() {
            if let Some(sq) = sq.get(column) {
                sums[0] = _mm512_add_epi64(sums[0], load(sq));
            }
            sums = add_column(sums, column, &self.q, &h);
            store(limb, _mm512_and_si512(sums[0], limb_mask()));
            sums = next_column(sums);
        }
        h.zeroize();
    }
}

/// Puts message^exponent mod p into `x`. The halves of the message stand in the first two places of the table.
///
/// The digits of the exponent are taken from the highest: for each, x^16 is multiplied by that power of the message.
#[target_feature(enable = "avx512f,avx512ifma")]
fn raise(powers: &mut Powers) {
    fill_table(powers);
    powers.x = select(powers, DIGITS - 1);
    for digit in (0..DIGITS - 1).rev() {
        for _ in 0..DIGIT_BITS {
            square(&mut powers.x, &powers.primes);
        }
        let factor = select(powers, digit);
        multiply(&mut powers.x, &factor, &powers.primes);
    }
    multiply(&mut powers.x, &one(), &powers.primes);
    reduce(&mut powers.x, &powers.primes.moduli.modulus);
}

/// Fills the table with the powers 0 to 15 of the message, in Montgomery's form.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fill_table(powers: &mut Powers) {
    let primes = &powers.primes;
    let [low, high, ..] = &mut powers.table;
    multiply(low, &primes.moduli.r2, primes);
    multiply(high, &powers.r3, primes);
    // low · R + high · 2^1040 · R, each below 2p + p.
    let mut carry = _mm512_setzero_si512();
    for (low, high) in low.iter().zip(high.iter_mut()) {
        let sum = _mm512_add_epi64(_mm512_add_epi64(load(low), load(high)), carry);
        carry = _mm512_srli_epi64::<LIMB_BITS>(sum);
        store(high, _mm512_and_si512(sum, limb_mask()));
    }
    powers.table[0] = primes.moduli.r2;
    multiply(&mut powers.table[0], &one(), primes);
    for power in 2..POWERS {
        let mut x = powers.table[power - 1];
        multiply(&mut x, &powers.table[1], primes);
        powers.table[power] = x;
    }
}

/// The power of the table that each lane's digit of the exponent asks for. Which digit it is, is no secret.
#[target_feature(enable = "avx512f,avx512ifma")]
fn select(powers: &Powers, digit: usize) -> Number<HALF_LIMBS> {
    let (word, shift) = (digit * DIGIT_BITS / 64, digit * DIGIT_BITS % 64);
    let word = _mm512_srl_epi64(load(&powers.exponent[word]), _mm_cvtsi64_si128(shift as i64));
    let wanted = _mm512_and_si512(word, _mm512_set1_epi64(POWERS as i64 - 1));
    let mut found = [_mm512_setzero_si512(); HALF_LIMBS];
    for (power, number) in powers.table.iter().enumerate() {
        let is_it = _mm512_cmpeq_epi64_mask(wanted, _mm512_set1_epi64(power as i64));
        let all_or_none = _mm512_maskz_set1_epi64(is_it, -1);
        for (found, limb) in found.iter_mut().zip(number) {
            // found | (all_or_none & limb): measured quicker than a load under a mask.
            *found = _mm512_ternarylogic_epi64::<0xf8>(*found, all_or_none, load(limb));
        }
    }
    let mut number = [Lanes::default(); HALF_LIMBS];
    for (to, from) in number.iter_mut().zip(found) {
        store(to, from);
    }
    number
}

/// x := x·b/R mod p with R = 2^1040, below 2p + x·b/R.
///
/// In simple form: for each limb of b, add x times that limb; then add the multiple of p that makes the lowest column a
/// multiple of 2^52; then leave that column out. The columns stay in registers.
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply(x: &mut Number<HALF_LIMBS>, b: &Number<HALF_LIMBS>, primes: &Primes) {
    let mut sums = [_mm512_setzero_si512(); HALF_LIMBS + 1];
    let (last, others) = b.split_last().expect("a number has limbs");
    for limb in others {
        add_row(&mut sums, x, limb);
        sums = reduced(&sums, primes);
    }
    add_row(&mut sums, x, last);
    carry(&reduced_at_last(&sums, primes), x);
}

/// Adds `x` times a limb.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_row(sums: &mut Window, x: &Number<HALF_LIMBS>, limb: &Lanes) {
    let limb = load(limb);
    for (place, x) in x.iter().enumerate() {
        let x = load(x);
        sums[place] = _mm512_madd52lo_epu64(sums[place], x, limb);
        sums[place + 1] = _mm512_madd52hi_epu64(sums[place + 1], x, limb);
    }
}

/// x := x²/R mod p: as [`multiply`], but the products of two different limbs are added once, with one of them doubled.
#[target_feature(enable = "avx512f,avx512ifma")]
fn square(x: &mut Number<HALF_LIMBS>, primes: &Primes) {
    // The limbs of 2x, and what they are when the limb below gives them nothing.
    let mut doubled = [Lanes::default(); HALF_LIMBS];
    let mut alone = [Lanes::default(); HALF_LIMBS];
    let mut above = _mm512_setzero_si512();
    for place in 0..HALF_LIMBS {
        let twice = _mm512_and_si512(_mm512_slli_epi64::<1>(load(&x[place])), limb_mask());
        store(&mut alone[place], twice);
        store(&mut doubled[place], _mm512_or_si512(twice, above));
        above = _mm512_srli_epi64::<{ LIMB_BITS - 1 }>(load(&x[place]));
    }
    let mut sums = [_mm512_setzero_si512(); HALF_LIMBS + 1];
    let rows = Rows { x, doubled: &doubled, alone: &alone };
    add_square_row::<0>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<1>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<2>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<3>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<4>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<5>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<6>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<7>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<8>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<9>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<10>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<11>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<12>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<13>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<14>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<15>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<16>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<17>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<18>(&mut sums, &rows);
    sums = reduced(&sums, primes);
    add_square_row::<19>(&mut sums, &rows);
    carry(&reduced_at_last(&sums, primes), x);
}

/// What a squaring multiplies.
struct Rows<'a> {
    x: &'a Number<HALF_LIMBS>,
    doubled: &'a Number<HALF_LIMBS>,
    alone: &'a Number<HALF_LIMBS>,
}

/// Adds limb `ROW` times itself and times the double of what stands above it. The columns below 2·`ROW` are complete before.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_square_row<const ROW: usize>(sums: &mut Window, rows: &Rows<'_>) {
    let limb = load(&rows.x[ROW]);
    for place in ROW..HALF_LIMBS {
        let other = match place - ROW {
            0 => limb,
            // The bit that comes up from limb `ROW` is not part of what stands above it.
            1 => load(&rows.alone[place]),
            _ => load(&rows.doubled[place]),
        };
        sums[place] = _mm512_madd52lo_epu64(sums[place], other, limb);
        sums[place + 1] = _mm512_madd52hi_epu64(sums[place + 1], other, limb);
    }
}

/// Adds the multiple of k·p that makes the lowest column a multiple of 2^52, and goes on to the next: subtracts the lowest
/// limb and adds it times `reducer` one column higher. The window is built anew, not moved within itself: so the compiler
/// keeps it in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduced(sums: &Window, primes: &Primes) -> Window {
    let zero = _mm512_setzero_si512();
    let factor = _mm512_and_si512(sums[0], limb_mask());
    let carry = _mm512_srli_epi64::<LIMB_BITS>(sums[0]);
    let mut limb = load(&primes.reducer[0]);
    let mut next = [zero; HALF_LIMBS + 1];
    next[0] = _mm512_madd52lo_epu64(_mm512_add_epi64(sums[1], carry), limb, factor);
    for place in 1..HALF_LIMBS {
        let sum = _mm512_madd52hi_epu64(sums[place + 1], limb, factor);
        limb = load(&primes.reducer[place]);
        next[place] = _mm512_madd52lo_epu64(sum, limb, factor);
    }
    next[HALF_LIMBS] = _mm512_madd52hi_epu64(zero, limb, factor);
    next
}

/// The same with a multiple of p itself.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduced_at_last(sums: &Window, primes: &Primes) -> Window {
    let zero = _mm512_setzero_si512();
    let factor = _mm512_madd52lo_epu64(zero, sums[0], load(&primes.moduli.inverse));
    let mut limb = load(&primes.moduli.modulus[0]);
    let lowest = _mm512_madd52lo_epu64(sums[0], limb, factor);
    let mut next = [zero; HALF_LIMBS + 1];
    for place in 1..HALF_LIMBS {
        let sum = _mm512_madd52hi_epu64(sums[place], limb, factor);
        limb = load(&primes.moduli.modulus[place]);
        next[place - 1] = _mm512_madd52lo_epu64(sum, limb, factor);
    }
    next[HALF_LIMBS - 1] = _mm512_madd52hi_epu64(sums[HALF_LIMBS], limb, factor);
    next[0] = _mm512_add_epi64(next[0], _mm512_srli_epi64::<LIMB_BITS>(lowest));
    next
}

/// Writes sums of up to 64 bits as limbs. The last column is empty: the number is below 2^1040.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn carry(sums: &Window, out: &mut Number<HALF_LIMBS>) {
    let mut carry = _mm512_setzero_si512();
    for (to, sum) in out.iter_mut().zip(sums) {
        let sum = _mm512_add_epi64(*sum, carry);
        carry = _mm512_srli_epi64::<LIMB_BITS>(sum);
        store(to, _mm512_and_si512(sum, limb_mask()));
    }
}

/// Brings numbers below three times their modulus below it: subtracts it twice, where the difference is not negative.
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce<const L: usize>(x: &mut Number<L>, modulus: &Number<L>) {
    for _ in 0..2 {
        let mut less = [Lanes::default(); L];
        let mut borrow = _mm512_setzero_si512();
        for place in 0..L {
            let difference = _mm512_sub_epi64(load(&x[place]), load(&modulus[place]));
            let difference = _mm512_add_epi64(difference, borrow);
            borrow = _mm512_srai_epi64::<63>(difference);
            store(&mut less[place], _mm512_and_si512(difference, limb_mask()));
        }
        let keep = _mm512_test_epi64_mask(borrow, borrow);
        for (x, less) in x.iter_mut().zip(&less) {
            let kept = _mm512_mask_mov_epi64(load(less), keep, load(x));
            store(x, kept);
        }
    }
}

/// One in every lane.
fn one() -> Number<HALF_LIMBS> {
    let mut number = [Lanes::default(); HALF_LIMBS];
    number[0] = Lanes([1; LANES]);
    number
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn limb_mask() -> __m512i {
    _mm512_set1_epi64(LIMB_MASK as i64)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load(lanes: &Lanes) -> __m512i {
    // SAFETY: a `Lanes` is 64 bytes, aligned to 64, and the reference makes them readable.
    unsafe { _mm512_load_si512(std::ptr::from_ref(lanes).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store(lanes: &mut Lanes, value: __m512i) {
    // SAFETY: a `Lanes` is 64 bytes, aligned to 64, and the reference makes them ours to write; any bits are a `Lanes`.
    unsafe { _mm512_store_si512(std::ptr::from_mut(lanes).cast(), value) }
}

/// The arithmetic by itself, for whoever has a workspace.
#[cfg(test)]
impl Workspace {
    fn multiply(&self, x: &mut Number<HALF_LIMBS>, b: &Number<HALF_LIMBS>, primes: &Primes) {
        // SAFETY: a `Workspace` is made only where the processor has these instructions.
        unsafe { multiply(x, b, primes) }
    }

    fn square(&self, x: &mut Number<HALF_LIMBS>, primes: &Primes) {
        // SAFETY: as above.
        unsafe { square(x, primes) }
    }

    fn multiply_wide(&self, x: &mut Number<FULL_LIMBS>, b: &Number<FULL_LIMBS>, moduli: &Moduli<FULL_LIMBS>) {
        // SAFETY: as above.
        unsafe { wide::multiply_wide(x, b, moduli) }
    }
}

#[cfg(test)]
mod tests;
