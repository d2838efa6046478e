//! Numbers of twice the size, column after column, for the check of signatures and their last step: a hundredth of the work,
//! so it is kept simple. As in the file above, nothing depends on the values.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_or_si512, _mm512_setzero_si512, _mm512_srli_epi64, _mm512_test_epi64_mask, _mm512_xor_si512,
};

use super::{Lanes, Moduli, Number, limb_mask, load, reduce, store};
use crate::dkim::limbs::{FULL_LIMBS, LIMB_BITS};

/// Squarings by which a number is raised to 65536.
const PUBLIC_SQUARINGS: usize = 16;

/// A bit for each lane in which `signature`^65537 mod n is `message`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn check(
    signature: &Number<FULL_LIMBS>,
    message: &Number<FULL_LIMBS>,
    public: &Moduli<FULL_LIMBS>,
) -> u8 {
    let mut x = *signature;
    multiply_wide(&mut x, &public.r2, public);
    for _ in 0..PUBLIC_SQUARINGS {
        let factor = x;
        multiply_wide(&mut x, &factor, public);
    }
    multiply_wide(&mut x, signature, public);
    reduce(&mut x, &public.modulus);
    let mut difference = _mm512_setzero_si512();
    for (x, message) in x.iter().zip(message) {
        difference = _mm512_or_si512(difference, _mm512_xor_si512(load(x), load(message)));
    }
    !_mm512_test_epi64_mask(difference, difference)
}

/// Adds the products of limbs whose places add up to `column`: lower halves to the first sum, upper halves to the second,
/// which is that of the next column. Every other product goes to sums of its own meanwhile, so that fewer wait for the one
/// before.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add_column<const L: usize>(
    sums: [__m512i; 2],
    column: usize,
    a: &Number<L>,
    b: &Number<L>,
) -> [__m512i; 2] {
    let (first, last) = (column.saturating_sub(L - 1), column.min(L - 1));
    let zero = _mm512_setzero_si512();
    let mut sums = [sums, [zero, zero]];
    let mut places = first..=last;
    while let Some(place) = places.next() {
        sums[0] = add_product(sums[0], load(&a[place]), load(&b[column - place]));
        if let Some(place) = places.next() {
            sums[1] = add_product(sums[1], load(&a[place]), load(&b[column - place]));
        }
    }
    [_mm512_add_epi64(sums[0][0], sums[1][0]), _mm512_add_epi64(sums[0][1], sums[1][1])]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_product([low, high]: [__m512i; 2], a: __m512i, b: __m512i) -> [__m512i; 2] {
    [_mm512_madd52lo_epu64(low, a, b), _mm512_madd52hi_epu64(high, a, b)]
}

/// The sums with which the next column begins: the upper halves, and what the lower ones carry over.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn next_column([low, high]: [__m512i; 2]) -> [__m512i; 2] {
    [_mm512_add_epi64(high, _mm512_srli_epi64::<LIMB_BITS>(low)), _mm512_setzero_si512()]
}

/// x := x·b/R mod n with R = 2^2080, column after column, below n + x·b/R. For the check, where it is called a hundredth as
/// often as [`multiply`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn multiply_wide(x: &mut Number<FULL_LIMBS>, b: &Number<FULL_LIMBS>, moduli: &Moduli<FULL_LIMBS>) {
    let zero = _mm512_setzero_si512();
    let mut factors = [Lanes::default(); FULL_LIMBS];
    let mut product = [Lanes::default(); FULL_LIMBS];
    let inverse = load(&moduli.inverse);
    let mut sums = [zero, zero];
    for column in 0..2 * FULL_LIMBS {
        sums = add_column(sums, column, x, b);
        sums = add_column(sums, column, &factors, &moduli.modulus);
        if column < FULL_LIMBS {
            // The factor of this column was zero until now, so its product with the lowest limb is missing.
            let factor = _mm512_madd52lo_epu64(zero, sums[0], inverse);
            store(&mut factors[column], factor);
            sums = add_product(sums, factor, load(&moduli.modulus[0]));
        } else {
            store(&mut product[column - FULL_LIMBS], _mm512_and_si512(sums[0], limb_mask()));
        }
        sums = next_column(sums);
    }
    *x = product;
}
