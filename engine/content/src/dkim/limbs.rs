//! Numbers of RSA in limbs of 52 bits, lowest first: reading, writing, and what is computed once per key. The hot
//! arithmetic is not here. It refuses to divide: the little that is needed is done by doubling.
//!
//! Nothing here branches on the value of a number.

/// Bits of a limb.
pub(super) const LIMB_BITS: u32 = 52;
/// The bits of a limb that are set in 2^52 - 1.
pub(super) const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;
/// Limbs of a prime of 1024 bits: 16 bits more than needed.
pub(super) const HALF_LIMBS: usize = 20;
/// Limbs of a modulus of 2048 bits: 32 bits more than needed.
pub(super) const FULL_LIMBS: usize = 40;

/// A number of up to 1040 bits.
pub(super) type Half = [u64; HALF_LIMBS];
/// A number of up to 2080 bits.
pub(super) type Full = [u64; FULL_LIMBS];

/// Reads a big-endian number that fits into `L` limbs.
///
/// # Panics
/// When it is longer than the limbs.
pub(super) fn from_bytes<const L: usize>(bytes: &[u8]) -> [u64; L] {
    assert!(bytes.len() * 8 <= L * LIMB_BITS as usize, "the number fits into its limbs");
    let mut limbs = [0; L];
    let (mut held, mut bits, mut place) = (0_u128, 0, 0);
    for chunk in bytes.rchunks(4) {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u128::from(*byte));
        held |= word << bits;
        bits += 8 * chunk.len() as u32;
        if bits >= LIMB_BITS {
            limbs[place] = held as u64 & LIMB_MASK;
            place += 1;
            held >>= LIMB_BITS;
            bits -= LIMB_BITS;
        }
    }
    if place < L {
        limbs[place] = held as u64;
    }
    limbs
}

/// Writes a number big-endian into 256 bytes. Bits from 2^2048 on are left out; there are none in a signature.
pub(super) fn to_bytes(limbs: &Full) -> [u8; 256] {
    let mut bytes = [0; 256];
    let (mut held, mut bits) = (0_u128, 0);
    let mut limb = limbs.iter();
    for chunk in bytes.rchunks_exact_mut(4) {
        if bits < 32 {
            held |= u128::from(limb.next().copied().unwrap_or_default()) << bits;
            bits += LIMB_BITS;
        }
        chunk.copy_from_slice(&(held as u32).to_be_bytes());
        held >>= 32;
        bits -= 32;
    }
    bytes
}

/// -1/`modulus` mod 2^52 for an odd number, given its lowest limb. Each round of Newton's doubles the right bits, of which
/// an odd number is its own inverse for three.
pub(super) fn negative_inverse(modulus: u64) -> u64 {
    let mut inverse = modulus;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(modulus.wrapping_mul(inverse)));
    }
    inverse.wrapping_neg() & LIMB_MASK
}

/// (k · `modulus` + 1)/2^52 with k = [`negative_inverse`] of the modulus, which makes the division exact.
pub(super) fn reducer(modulus: &Half) -> Half {
    let k = u128::from(negative_inverse(modulus[0]));
    let mut carry = (u128::from(modulus[0]) * k + 1) >> LIMB_BITS;
    let mut reducer = [0; HALF_LIMBS];
    for (place, to) in reducer.iter_mut().enumerate() {
        let sum = u128::from(modulus.get(place + 1).copied().unwrap_or_default()) * k + carry;
        *to = sum as u64 & LIMB_MASK;
        carry = sum >> LIMB_BITS;
    }
    reducer
}

/// `value` · 2^`bits` mod `modulus`, for a value below the modulus and a modulus that leaves the highest bit of the limbs
/// free.
pub(super) fn shifted<const L: usize>(value: &[u64; L], bits: usize, modulus: &[u64; L]) -> [u64; L] {
    let mut x = *value;
    for _ in 0..bits {
        let mut doubled = [0; L];
        let mut carry = 0;
        for (to, from) in doubled.iter_mut().zip(x) {
            *to = (from << 1 | carry) & LIMB_MASK;
            carry = from >> (LIMB_BITS - 1);
        }
        x = reduced_once(&doubled, modulus);
    }
    x
}

/// `x` or, where that is not negative, `x` - `modulus`.
fn reduced_once<const L: usize>(x: &[u64; L], modulus: &[u64; L]) -> [u64; L] {
    let mut less = [0; L];
    let mut borrow = 0;
    for ((to, x), modulus) in less.iter_mut().zip(x).zip(modulus) {
        let difference = x.wrapping_sub(*modulus).wrapping_sub(borrow);
        borrow = difference >> 63;
        *to = difference & LIMB_MASK;
    }
    // All ones where the difference is negative.
    let keep = borrow.wrapping_neg();
    for (to, x) in less.iter_mut().zip(x) {
        *to = (*to & !keep) | (x & keep);
    }
    less
}
