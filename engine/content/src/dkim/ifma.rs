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
//! below 4p give a result below p + 16p²/R < 2p, so that nothing need be subtracted on the way.
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

use std::arch::x86_64::{
    __m512i, _mm_cvtsi64_si128, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask,
    _mm512_load_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_mov_epi64, _mm512_or_si512,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srai_epi64, _mm512_srl_epi64,
    _mm512_srli_epi64, _mm512_store_si512, _mm512_sub_epi64, _mm512_test_epi64_mask, _mm512_xor_si512,
};

use zeroize::{DefaultIsZeroes, Zeroize};

use super::limbs::{FULL_LIMBS, Full, HALF_LIMBS, LIMB_BITS, LIMB_MASK};
use super::private::{EXPONENT_WORDS, Prime, Private};

/// Signatures that are made together, and numbers in a vector.
pub(super) const LANES: usize = 8;
/// Bits of a digit of the exponent.
const DIGIT_BITS: usize = 4;
/// Powers in the table: one for each value of a digit.
const POWERS: usize = 1 << DIGIT_BITS;
/// Squarings by which a number is raised to 65536.
const PUBLIC_SQUARINGS: usize = 16;

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

/// Powers of eight numbers under way.
struct Powers {
    moduli: Moduli<HALF_LIMBS>,
    /// R³ mod modulus.
    r3: Number<HALF_LIMBS>,
    exponent: [Lanes; EXPONENT_WORDS],
    table: [Number<HALF_LIMBS>; POWERS],
    x: Number<HALF_LIMBS>,
}

impl<const L: usize> Moduli<L> {
    const NONE: Self =
        Self { modulus: [Lanes([0; LANES]); L], inverse: Lanes([0; LANES]), r2: [Lanes([0; LANES]); L] };
}

impl Powers {
    const NONE: Self = Self {
        moduli: Moduli::NONE,
        r3: [Lanes([0; LANES]); HALF_LIMBS],
        exponent: [Lanes([0; LANES]); EXPONENT_WORDS],
        table: [[Lanes([0; LANES]); HALF_LIMBS]; POWERS],
        x: [Lanes([0; LANES]); HALF_LIMBS],
    };

    /// Fills a lane. Only what is computed from the message is left as it is.
    fn put(&mut self, lane: usize, prime: &Prime) {
        put(&mut self.moduli.modulus, lane, &prime.modulus);
        put(&mut self.moduli.r2, lane, &prime.r2);
        put(&mut self.r3, lane, &prime.r3);
        self.moduli.inverse.0[lane] = prime.inverse;
        put(&mut self.exponent, lane, &prime.exponent);
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
    powers: [Powers; 2],
    /// Of p, in the lanes of the signatures.
    recombination: Moduli<HALF_LIMBS>,
    q_inverse: Number<HALF_LIMBS>,
    public: Moduli<FULL_LIMBS>,
    message: Number<FULL_LIMBS>,
    signature: Number<FULL_LIMBS>,
}

impl Drop for Workspace {
    fn drop(&mut self) {
        for powers in &mut self.powers {
            powers.moduli.modulus.zeroize();
            powers.moduli.inverse.zeroize();
            powers.moduli.r2.zeroize();
            powers.r3.zeroize();
            powers.exponent.zeroize();
            powers.table.zeroize();
            powers.x.zeroize();
        }
        self.recombination.modulus.zeroize();
        self.q_inverse.zeroize();
        self.signature.zeroize();
    }
}

impl Workspace {
    /// Memory for signatures, where the processor has what they need.
    pub(super) fn new() -> Option<Box<Self>> {
        let has_all = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        has_all.then(|| {
            Box::new(Self {
                powers: [Powers::NONE, Powers::NONE],
                recombination: Moduli::NONE,
                q_inverse: [Lanes::default(); HALF_LIMBS],
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
        // SAFETY: a `Workspace` is made by `new` only, and only where the processor has these instructions.
        unsafe { self.sign_in_lanes(jobs) }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn sign_in_lanes(&mut self, jobs: &[(&Private, Full)]) -> [Option<Full>; LANES] {
        let vectors = if 2 * jobs.len() <= LANES { 1 } else { 2 };
        // The lanes behind the last job repeat the first, so that they hold numbers that can be computed with.
        let slots = |count: usize| (0..count).filter_map(|slot| jobs.get(slot).or(jobs.first()));
        for (lane, (key, message)) in slots(LANES).enumerate() {
            put(&mut self.recombination.modulus, lane, &key.p.modulus);
            self.recombination.inverse.0[lane] = key.p.inverse;
            put(&mut self.q_inverse, lane, &key.q_inverse);
            put(&mut self.public.modulus, lane, &key.modulus);
            put(&mut self.public.r2, lane, &key.r2);
            self.public.inverse.0[lane] = key.inverse;
            put(&mut self.message, lane, message);
        }
        let half = LANES * vectors / 2;
        for (lane, (key, message)) in slots(half).enumerate() {
            for (slot, prime) in [(lane, &key.p), (half + lane, &key.q)] {
                let (powers, lane) = (&mut self.powers[slot / LANES], slot % LANES);
                powers.put(lane, prime);
                let (low, high) = message.split_at(HALF_LIMBS);
                // The halves of the message lie where the first two powers will.
                for (place, (low, high)) in low.iter().zip(high).enumerate() {
                    powers.table[0][place].0[lane] = *low;
                    powers.table[1][place].0[lane] = *high;
                }
            }
        }
        raise(&mut self.powers[..vectors]);
        let mut residues = [[Lanes::default(); HALF_LIMBS]; 2];
        for slot in 0..2 * half {
            let limbs = take(&self.powers[slot / LANES].x, slot % LANES);
            put(&mut residues[slot / half], slot % half, &limbs);
        }
        let q = std::array::from_fn(|place| {
            Lanes(std::array::from_fn(|lane| match jobs.get(lane) {
                Some((key, _)) => key.q.modulus[place],
                None => 0,
            }))
        });
        self.signature = recombine(&residues, &self.recombination, &q, &self.q_inverse);
        residues.zeroize();
        let right = self.check();
        std::array::from_fn(|lane| {
            (lane < jobs.len() && right & 1 << lane != 0).then(|| take(&self.signature, lane))
        })
    }

    /// A bit for each lane in which signature^65537 mod n is the message.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn check(&self) -> u8 {
        let mut x = self.signature;
        multiply_wide(&mut x, &self.public.r2, &self.public);
        for _ in 0..PUBLIC_SQUARINGS {
            let factor = x;
            multiply_wide(&mut x, &factor, &self.public);
        }
        multiply_wide(&mut x, &self.signature, &self.public);
        reduce(&mut x, &self.public.modulus);
        let mut difference = _mm512_setzero_si512();
        for (x, message) in x.iter().zip(&self.message) {
            difference = _mm512_or_si512(difference, _mm512_xor_si512(load(x), load(message)));
        }
        !_mm512_test_epi64_mask(difference, difference)
    }
}

/// Puts message^exponent mod modulus into `x` of each. The halves of the message stand in the first two places of the
/// tables.
///
/// The digits of the exponent are taken from the highest: for each, x^16 is multiplied by that power of the message.
#[target_feature(enable = "avx512f,avx512ifma")]
fn raise(all: &mut [Powers]) {
    for powers in all.iter_mut() {
        fill_table(powers);
        powers.x = select(powers, EXPONENT_WORDS * 64 / DIGIT_BITS - 1);
    }
    for digit in (0..EXPONENT_WORDS * 64 / DIGIT_BITS - 1).rev() {
        // In turns, because the end of one multiplication waits for its carries while the next can begin.
        for _ in 0..DIGIT_BITS {
            for powers in all.iter_mut() {
                square(&mut powers.x, &powers.moduli);
            }
        }
        for powers in all.iter_mut() {
            let factor = select(powers, digit);
            multiply(&mut powers.x, &factor, &powers.moduli);
        }
    }
    for powers in all.iter_mut() {
        multiply(&mut powers.x, &one(), &powers.moduli);
        reduce(&mut powers.x, &powers.moduli.modulus);
    }
}

/// Fills the table with the powers 0 to 15 of the message, in Montgomery's form.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fill_table(powers: &mut Powers) {
    let [low, high, ..] = &mut powers.table;
    multiply(low, &powers.moduli.r2, &powers.moduli);
    multiply(high, &powers.r3, &powers.moduli);
    // low · R + high · R · 2^1040, below 4p.
    let mut carry = _mm512_setzero_si512();
    for (low, high) in low.iter().zip(high.iter_mut()) {
        let sum = _mm512_add_epi64(_mm512_add_epi64(load(low), load(high)), carry);
        carry = _mm512_srli_epi64::<LIMB_BITS>(sum);
        store(high, _mm512_and_si512(sum, limb_mask()));
    }
    powers.table[0] = powers.moduli.r2;
    multiply(&mut powers.table[0], &one(), &powers.moduli);
    for power in 2..POWERS {
        let mut x = powers.table[power - 1];
        multiply(&mut x, &powers.table[1], &powers.moduli);
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
        for (found, limb) in found.iter_mut().zip(number) {
            *found = _mm512_mask_mov_epi64(*found, is_it, load(limb));
        }
    }
    let mut number = [Lanes::default(); HALF_LIMBS];
    for (to, from) in number.iter_mut().zip(found) {
        store(to, from);
    }
    number
}

/// s = sq + q·h with h = (sp - sq)/q mod p (RFC 8017 section 5.1.2), for sp below p, sq below q and q below 2p.
#[target_feature(enable = "avx512f,avx512ifma")]
fn recombine(
    [sp, sq]: &[Number<HALF_LIMBS>; 2],
    p: &Moduli<HALF_LIMBS>,
    q: &Number<HALF_LIMBS>,
    q_inverse: &Number<HALF_LIMBS>,
) -> Number<FULL_LIMBS> {
    let mut h = [Lanes::default(); HALF_LIMBS];
    let mut carry = _mm512_setzero_si512();
    for place in 0..HALF_LIMBS {
        let p_twice = _mm512_slli_epi64::<1>(load(&p.modulus[place]));
        let difference = _mm512_sub_epi64(load(&sp[place]), load(&sq[place]));
        let sum = _mm512_add_epi64(_mm512_add_epi64(difference, p_twice), carry);
        carry = _mm512_srai_epi64::<LIMB_BITS>(sum);
        store(&mut h[place], _mm512_and_si512(sum, limb_mask()));
    }
    multiply(&mut h, q_inverse, p);
    reduce(&mut h, &p.modulus);
    let mut signature = [Lanes::default(); FULL_LIMBS];
    let mut sums = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (column, limb) in signature.iter_mut().enumerate() {
        if let Some(sq) = sq.get(column) {
            sums.0 = _mm512_add_epi64(sums.0, load(sq));
        }
        add_column(&mut sums, column, q, &h);
        store(limb, _mm512_and_si512(sums.0, limb_mask()));
        sums = (_mm512_add_epi64(sums.1, _mm512_srli_epi64::<LIMB_BITS>(sums.0)), _mm512_setzero_si512());
    }
    h.zeroize();
    signature
}

/// Adds the products of limbs whose places add up to `column`: lower halves to the first sum, upper halves to the second,
/// which is that of the next column.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_column<const L: usize>(sums: &mut (__m512i, __m512i), column: usize, a: &Number<L>, b: &Number<L>) {
    for place in column.saturating_sub(L - 1)..=column.min(L - 1) {
        let (a, b) = (load(&a[place]), load(&b[column - place]));
        sums.0 = _mm512_madd52lo_epu64(sums.0, a, b);
        sums.1 = _mm512_madd52hi_epu64(sums.1, a, b);
    }
}

/// x := x·b/R mod modulus with R = 2^2080, column after column; the result is below the modulus and a 2^-30th of it. For
/// the check, where it is called a hundredth as often as [`multiply`].
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply_wide(x: &mut Number<FULL_LIMBS>, b: &Number<FULL_LIMBS>, moduli: &Moduli<FULL_LIMBS>) {
    let zero = _mm512_setzero_si512();
    let mut factors = [Lanes::default(); FULL_LIMBS];
    let mut product = [Lanes::default(); FULL_LIMBS];
    let inverse = load(&moduli.inverse);
    let mut sums = (zero, zero);
    for column in 0..2 * FULL_LIMBS {
        let mut more = (zero, zero);
        add_column(&mut sums, column, x, b);
        add_column(&mut more, column, &factors, &moduli.modulus);
        sums = (_mm512_add_epi64(sums.0, more.0), _mm512_add_epi64(sums.1, more.1));
        if column < FULL_LIMBS {
            // Its own product is not among those of the column yet: the factor was zero.
            let factor = _mm512_madd52lo_epu64(zero, sums.0, inverse);
            store(&mut factors[column], factor);
            let lowest = load(&moduli.modulus[0]);
            sums.0 = _mm512_madd52lo_epu64(sums.0, factor, lowest);
            sums.1 = _mm512_madd52hi_epu64(sums.1, factor, lowest);
        } else {
            store(&mut product[column - FULL_LIMBS], _mm512_and_si512(sums.0, limb_mask()));
        }
        sums = (_mm512_add_epi64(sums.1, _mm512_srli_epi64::<LIMB_BITS>(sums.0)), zero);
    }
    *x = product;
}

/// x := x·b/R mod modulus with R = 2^1040, below 2·modulus for factors below 4·modulus.
///
/// In simple form: for each limb of b, add x times that limb; then add the multiple of the modulus that makes the lowest
/// column a multiple of 2^52; then leave that column out. The columns stay in registers.
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply(x: &mut Number<HALF_LIMBS>, b: &Number<HALF_LIMBS>, moduli: &Moduli<HALF_LIMBS>) {
    let mut sums = [_mm512_setzero_si512(); HALF_LIMBS + 1];
    for limb in b {
        let limb = load(limb);
        for place in 0..HALF_LIMBS {
            let a = load(&x[place]);
            sums[place] = _mm512_madd52lo_epu64(sums[place], a, limb);
            sums[place + 1] = _mm512_madd52hi_epu64(sums[place + 1], a, limb);
        }
        sums = reduced_column(&sums, moduli);
    }
    carry(&sums, x);
}

/// x := x²/R mod modulus: as [`multiply`], but the products of two different limbs are added once, with one of them doubled.
#[target_feature(enable = "avx512f,avx512ifma")]
fn square(x: &mut Number<HALF_LIMBS>, moduli: &Moduli<HALF_LIMBS>) {
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
    square_row::<0>(&mut sums, &rows, moduli);
    square_row::<1>(&mut sums, &rows, moduli);
    square_row::<2>(&mut sums, &rows, moduli);
    square_row::<3>(&mut sums, &rows, moduli);
    square_row::<4>(&mut sums, &rows, moduli);
    square_row::<5>(&mut sums, &rows, moduli);
    square_row::<6>(&mut sums, &rows, moduli);
    square_row::<7>(&mut sums, &rows, moduli);
    square_row::<8>(&mut sums, &rows, moduli);
    square_row::<9>(&mut sums, &rows, moduli);
    square_row::<10>(&mut sums, &rows, moduli);
    square_row::<11>(&mut sums, &rows, moduli);
    square_row::<12>(&mut sums, &rows, moduli);
    square_row::<13>(&mut sums, &rows, moduli);
    square_row::<14>(&mut sums, &rows, moduli);
    square_row::<15>(&mut sums, &rows, moduli);
    square_row::<16>(&mut sums, &rows, moduli);
    square_row::<17>(&mut sums, &rows, moduli);
    square_row::<18>(&mut sums, &rows, moduli);
    square_row::<19>(&mut sums, &rows, moduli);
    carry(&sums, x);
}

/// What a squaring multiplies.
struct Rows<'a> {
    x: &'a Number<HALF_LIMBS>,
    doubled: &'a Number<HALF_LIMBS>,
    alone: &'a Number<HALF_LIMBS>,
}

/// Limb `ROW` times itself and times the double of what stands above it. The columns below 2·`ROW` were complete before.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square_row<const ROW: usize>(sums: &mut Window, rows: &Rows<'_>, moduli: &Moduli<HALF_LIMBS>) {
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
    *sums = reduced_column(sums, moduli);
}

/// Adds the multiple of the modulus that makes the lowest column a multiple of 2^52, and goes on to the next. The window is
/// built anew, not moved within itself: so the compiler keeps it in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduced_column(sums: &Window, moduli: &Moduli<HALF_LIMBS>) -> Window {
    let zero = _mm512_setzero_si512();
    let factor = _mm512_madd52lo_epu64(zero, sums[0], load(&moduli.inverse));
    let mut limb = load(&moduli.modulus[0]);
    let lowest = _mm512_madd52lo_epu64(sums[0], limb, factor);
    let mut next = [zero; HALF_LIMBS + 1];
    for place in 1..HALF_LIMBS {
        let sum = _mm512_madd52hi_epu64(sums[place], limb, factor);
        limb = load(&moduli.modulus[place]);
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

/// x := x - modulus in the lanes where that is not negative.
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce<const L: usize>(x: &mut Number<L>, modulus: &Number<L>) {
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
    fn multiply(&self, x: &mut Number<HALF_LIMBS>, b: &Number<HALF_LIMBS>, moduli: &Moduli<HALF_LIMBS>) {
        // SAFETY: a `Workspace` is made only where the processor has these instructions.
        unsafe { multiply(x, b, moduli) }
    }

    fn square(&self, x: &mut Number<HALF_LIMBS>, moduli: &Moduli<HALF_LIMBS>) {
        // SAFETY: as above.
        unsafe { square(x, moduli) }
    }

    fn multiply_wide(&self, x: &mut Number<FULL_LIMBS>, b: &Number<FULL_LIMBS>, moduli: &Moduli<FULL_LIMBS>) {
        // SAFETY: as above.
        unsafe { multiply_wide(x, b, moduli) }
    }
}

#[cfg(test)]
mod tests;
