//! Clean line ends, told 32 bytes at a time where the processor can: every message is looked at when it comes and when it goes.
#![allow(unsafe_code, reason = "AVX2 is used where it is detected; the call is argued")]

/// Whether every CR stands before an LF and every LF behind a CR (RFC 5321 section 2.3.8).
#[must_use]
pub fn has_clean_line_ends(bytes: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the call asks for.
        return unsafe { with_avx2(bytes) };
    }
    look(bytes)
}

/// [`look`], compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(bytes: &[u8]) -> bool {
    look(bytes)
}

#[inline(always)]
fn look(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return true };
    // No early exit: the compiler turns this into comparisons of whole vectors.
    let bare = bytes
        .iter()
        .zip(&bytes[1..])
        .fold(0u8, |bare, (byte, next)| bare | u8::from((*byte == b'\r') != (*next == b'\n')));
    bare == 0 && *first != b'\n' && *last != b'\r'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn those_without_a_bare_one_are_clean(before in 0usize..80, text in "[a\r\n]{0,12}", behind in 0usize..80) {
            let without_pairs = text.replace("\r\n", "");
            let clean = !without_pairs.contains(['\r', '\n']) && !text.replace("\r\n", "x").contains(['\r', '\n']);
            let text = ["y".repeat(before), text, "z".repeat(behind)].concat();
            prop_assert_eq!(has_clean_line_ends(text.as_bytes()), clean);
            prop_assert_eq!(look(text.as_bytes()), clean, "without AVX2");
        }
    }
}
