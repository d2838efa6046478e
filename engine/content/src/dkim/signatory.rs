//! Makes the signatures of several messages at once: RSA-2048 eight at a time where the processor can, else one by one.

use std::fmt;

use super::ifma::{LANES, Workspace};
use super::key::Pair;
use super::sign::{Part, Unsigned};
use super::{limbs, rsa};

/// From how many RSA-2048 signatures on the lanes are quicker than as many calls of aws-lc-rs, which makes one in 230 to 350
/// µs: the lanes take 300 µs for up to four and 560 for up to eight (bench/benches/content.rs).
const LANES_MIN: usize = 2;

/// Signs. Holds the memory of the lanes, 50 KB: one for each thread that signs much.
pub struct Signatory {
    lanes: Option<Box<Workspace>>,
}

impl Signatory {
    /// The quickest on this processor.
    #[must_use]
    pub fn new() -> Self {
        Self { lanes: Workspace::new() }
    }

    /// One that makes each signature by itself, with aws-lc-rs, as is done where the processor lacks AVX-512 IFMA.
    #[must_use]
    pub const fn one_by_one() -> Self {
        Self { lanes: None }
    }

    /// Messages with one RSA signature each that are best signed together, at most.
    #[must_use]
    pub const fn batch_max(&self) -> usize {
        if self.lanes.is_some() { LANES } else { 1 }
    }

    /// Makes all signatures of `messages`, on this thread: about 0.6 ms for eight of RSA-2048.
    pub fn sign(&mut self, messages: &mut [&mut Unsigned]) {
        let mut alike = Vec::with_capacity(LANES);
        for part in messages.iter_mut().flat_map(|message| message.parts_mut()) {
            if self.lanes.is_some() && part.key.lanes().is_some() {
                alike.push(part);
                if alike.len() == LANES {
                    self.sign_alike(&mut alike);
                }
            } else {
                sign_alone(part);
            }
        }
        self.sign_alike(&mut alike);
    }

    /// Signs up to eight with keys for the lanes, and empties the list.
    fn sign_alike(&mut self, parts: &mut Vec<&mut Part>) {
        let mut jobs = Vec::with_capacity(LANES);
        jobs.extend(parts.iter().filter_map(|part| Some((part.key.lanes()?, rsa::padded(&part.digest)))));
        let signatures = match &mut self.lanes {
            Some(lanes) if jobs.len() >= LANES_MIN => lanes.sign(&jobs),
            _ => Default::default(),
        };
        drop(jobs);
        for (part, signature) in parts.drain(..).zip(signatures) {
            match signature {
                Some(signature) => part.signature = Some(limbs::to_bytes(&signature).to_vec()),
                // Alone, or the check has found it wrong.
                None => sign_alone(part),
            }
        }
    }
}

impl Default for Signatory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Signatory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signatory").field("batch_max", &self.batch_max()).finish_non_exhaustive()
    }
}

fn sign_alone(part: &mut Part) {
    part.signature = match part.key.pair() {
        Pair::Rsa(rsa) => rsa.sign_alone(&part.digest),
        // RFC 8463 section 3: what is signed is the SHA-256 digest.
        Pair::Ed25519(pair) => Some(pair.sign(part.digest.as_ref()).as_ref().to_vec()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::{Algorithm, Key, Signer, generate_rsa_2048, sign};

    const NOW: u64 = 1_795_353_001;

    fn signer(pem: &str, algorithm: Algorithm) -> Signer {
        let key = Key::from_pem(pem, algorithm).expect("is usable");
        Signer { domain: "example.test".into(), selector: "s".into(), key }
    }

    fn rsa(bits: aws_lc_rs::rsa::KeySize) -> Signer {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        let pair = aws_lc_rs::rsa::KeyPair::generate(bits).expect("makes a key");
        let der: Pkcs8V1Der<'_> = pair.as_der().expect("writes");
        signer(&crate::dkim::key::pem(der.as_ref()), Algorithm::RsaSha256)
    }

    /// Who signs which message: one of the usual kind, two, none, another size, both algorithms.
    fn signers() -> Vec<Vec<Signer>> {
        let made = || signer(&generate_rsa_2048().expect("makes a key"), Algorithm::RsaSha256);
        let ed25519 = || signer(include_str!("../../testdata/test-ed25519.pem"), Algorithm::Ed25519Sha256);
        let pkcs1 = signer(include_str!("../../testdata/test-rsa-pkcs1.pem"), Algorithm::RsaSha256);
        let other = signer(include_str!("../../testdata/test-rsa-e3.pem"), Algorithm::RsaSha256);
        vec![
            vec![made()],
            vec![made(), ed25519()],
            vec![],
            vec![rsa(aws_lc_rs::rsa::KeySize::Rsa3072)],
            vec![pkcs1, made()],
            vec![ed25519()],
            vec![other],
        ]
    }

    fn message(number: usize) -> Vec<u8> {
        format!("From: ann@example.test\r\nSubject: {number}\r\n\r\nHello\r\n").into_bytes()
    }

    #[test]
    fn many_messages_get_the_signatures_that_each_would_get_alone() {
        let signers = signers();
        for mut signatory in [Signatory::new(), Signatory::one_by_one()] {
            for count in [1, 2, 3, 8, 9, 23] {
                let of = |number: usize| &signers[number % signers.len()];
                let mut messages: Vec<Unsigned> = (0..count)
                    .map(|number| Unsigned::new(of(number), &message(number), None, NOW).expect("has From"))
                    .collect();
                signatory.sign(&mut messages.iter_mut().collect::<Vec<_>>());
                for (number, unsigned) in messages.iter().enumerate() {
                    let (mut together, mut alone) = (Vec::new(), Vec::new());
                    unsigned.finish(&mut together).expect("all are signed");
                    sign(of(number), &message(number), None, NOW, &mut alone).expect("signs");
                    assert_eq!(together, alone, "{signatory:?}, message {number} of {count}");
                }
            }
        }
    }

    #[test]
    fn only_keys_of_the_usual_kind_are_for_the_lanes() {
        let usual: Vec<Vec<bool>> = signers()
            .iter()
            .map(|signers| signers.iter().map(|signer| signer.key.lanes().is_some()).collect())
            .collect();
        let expected: [&[bool]; 7] =
            [&[true], &[true, false], &[], &[false], &[true, true], &[false], &[false]];
        assert_eq!(usual, expected);
    }

    #[test]
    fn a_signature_that_fails_its_check_is_made_again_by_other_means() {
        let pem = include_str!("../../testdata/test-rsa.pem");
        let right = [signer(pem, Algorithm::RsaSha256)];
        let mut damaged = [signer(pem, Algorithm::RsaSha256)];
        let [only] = &mut damaged;
        only.key = Key::from_pem(pem, Algorithm::RsaSha256).expect("is usable").damaged();
        let mut messages: Vec<Unsigned> = [&damaged, &right, &damaged]
            .iter()
            .map(|signers| Unsigned::new(*signers, &message(0), None, NOW).expect("has From"))
            .collect();
        Signatory::new().sign(&mut messages.iter_mut().collect::<Vec<_>>());
        let mut alone = Vec::new();
        sign(&right, &message(0), None, NOW, &mut alone).expect("signs");
        for unsigned in &messages {
            let mut headers = Vec::new();
            unsigned.finish(&mut headers).expect("all are signed");
            assert_eq!(headers, alone);
        }
    }

    #[test]
    fn what_was_not_signed_is_not_finished() {
        let unsigned = Unsigned::new(&signers()[0], &message(0), None, NOW).expect("has From");
        let mut out = b"before".to_vec();
        assert!(unsigned.finish(&mut out).is_err());
        assert_eq!(out, b"before");
    }
}
