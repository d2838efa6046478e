//! An RSA-2048 private key in the form of the lanes (`ifma.rs`): what they need of it, computed once. It refuses other sizes.

use zeroize::Zeroize;

use super::limbs::{self, FULL_LIMBS, Full, HALF_LIMBS, Half, LIMB_BITS};

/// 64-bit words of an exponent.
pub(super) const EXPONENT_WORDS: usize = 16;

/// The parts of a private key as PKCS#1 has them, big-endian without leading zeros (RFC 8017 appendix A.1.2).
pub(super) struct Parts<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    /// d mod (p-1).
    pub(super) dp: &'a [u8],
    /// d mod (q-1).
    pub(super) dq: &'a [u8],
    /// 1/q mod p.
    pub(super) q_inverse: &'a [u8],
}

/// A private key in the form of the lanes.
pub(super) struct Private {
    pub(super) p: Prime,
    pub(super) q: Prime,
    /// R/q mod p.
    pub(super) q_inverse: Half,
    pub(super) modulus: Full,
    pub(super) inverse: u64,
    pub(super) r2: Full,
}

/// A prime of a key, and what is computed once from it.
pub(super) struct Prime {
    pub(super) modulus: Half,
    pub(super) inverse: u64,
    pub(super) r2: Half,
    pub(super) r3: Half,
    /// (k·modulus + 1)/2^52 with k = -1/modulus mod 2^52.
    pub(super) reducer: Half,
    pub(super) exponent: [u64; EXPONENT_WORDS],
}

impl Private {
    /// Takes a key whose exponent is 65537, unless its sizes are not for this file. That the parts belong together is for
    /// the caller to have checked.
    pub(super) fn new(parts: &Parts<'_>) -> Option<Self> {
        let is_full =
            |number: &[u8], bytes| number.len() == bytes && number[0] >= 0x80 && number[bytes - 1] % 2 == 1;
        let sizes_fit = is_full(parts.modulus, 256)
            && is_full(parts.p, 128)
            && is_full(parts.q, 128)
            && parts.dp.len() <= 128
            && parts.dq.len() <= 128
            && parts.q_inverse.len() <= 128;
        if !sizes_fit {
            return None;
        }
        let (p, q) = (Prime::new(parts.p, parts.dp), Prime::new(parts.q, parts.dq));
        let modulus: Full = limbs::from_bytes(parts.modulus);
        let mut one = [0; FULL_LIMBS];
        one[0] = 1;
        Some(Self {
            q_inverse: limbs::shifted(
                &limbs::from_bytes(parts.q_inverse),
                HALF_LIMBS * LIMB_BITS as usize,
                &p.modulus,
            ),
            p,
            q,
            inverse: limbs::negative_inverse(modulus[0]),
            r2: limbs::shifted(&one, 2 * FULL_LIMBS * LIMB_BITS as usize, &modulus),
            modulus,
        })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        for prime in [&mut self.p, &mut self.q] {
            prime.modulus.zeroize();
            prime.r2.zeroize();
            prime.r3.zeroize();
            prime.reducer.zeroize();
            prime.inverse.zeroize();
            prime.exponent.zeroize();
        }
        self.q_inverse.zeroize();
    }
}

impl Prime {
    /// Takes an odd prime with 2^1023 <= prime < 2^1024 and an exponent of up to 128 bytes, both big-endian.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Self {
        let modulus = limbs::from_bytes(modulus);
        let mut one = [0; HALF_LIMBS];
        one[0] = 1;
        let bits = HALF_LIMBS * LIMB_BITS as usize;
        let r2 = limbs::shifted(&one, 2 * bits, &modulus);
        let mut words = [0; EXPONENT_WORDS];
        for (word, bytes) in words.iter_mut().zip(exponent.rchunks(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Self {
            r3: limbs::shifted(&r2, bits, &modulus),
            r2,
            inverse: limbs::negative_inverse(modulus[0]),
            reducer: limbs::reducer(&modulus),
            modulus,
            exponent: words,
        }
    }
}
