//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as the client says it, without channel binding. The password never leaves: what
//! the server learns is that we know it, and it has to show that it knows it too.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail::Secret;

/// What RFC 7677 asks of servers at least; fewer let an eavesdropper guess the password cheaply.
const ITERATIONS_MIN: u32 = 4096;
/// The server chooses how long we compute. So many take some 30 ms, in which the shard does nothing else.
const ITERATIONS_MAX: u32 = 100_000;
/// `n,,` in base64: no channel binding, no other identity (RFC 5802 section 7).
const NO_BINDING: &str = "n,,";

/// An exchange under way.
#[derive(Clone)]
pub(super) enum Scram {
    /// The first message is out.
    AwaitServerFirst {
        /// `n=user,r=nonce`.
        bare: String,
        /// Our nonce; the server's must begin with it.
        nonce: String,
    },
    /// The proof is out.
    AwaitServerFinal {
        /// What a server that knows the password signs.
        signature: [u8; 32],
    },
    /// The server has shown that it knows the password.
    Verified,
}

impl Scram {
    /// The exchange and its first message. `nonce`: printable ASCII without comma, never used before.
    pub(super) fn begin(username: &str, nonce: &str) -> (Self, String) {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={name},r={nonce}");
        let first = format!("{NO_BINDING}{bare}");
        (Self::AwaitServerFirst { bare, nonce: nonce.to_owned() }, first)
    }

    /// The answer to a message of the server.
    pub(super) fn answer(&mut self, message: &str, password: &Secret) -> Result<String, &'static str> {
        match self {
            Self::AwaitServerFirst { bare, nonce } => {
                let (signature, answer) = prove(bare, nonce, message, password)?;
                *self = Self::AwaitServerFinal { signature };
                Ok(answer)
            }
            Self::AwaitServerFinal { signature } => {
                let said =
                    message.strip_prefix("v=").ok_or("the server ended the SCRAM exchange with an error")?;
                let said = said.split(',').next().unwrap_or_default();
                let said =
                    BASE64_STANDARD.decode(said).map_err(|_| "the server's SCRAM signature is malformed")?;
                constant_time::verify_slices_are_equal(&said, signature)
                    .map_err(|_| "the server does not know the password: its SCRAM signature is wrong")?;
                *self = Self::Verified;
                Ok(String::new())
            }
            Self::Verified => Err("the server goes on after the end of the SCRAM exchange"),
        }
    }

    pub(super) const fn is_verified(&self) -> bool {
        matches!(self, Self::Verified)
    }
}

/// RFC 5802 section 3: the signature to expect and the message with our proof.
fn prove(
    bare: &str,
    nonce: &str,
    server_first: &str,
    password: &Secret,
) -> Result<([u8; 32], String), &'static str> {
    const MALFORMED: &str = "the server's first SCRAM message is malformed";
    let mut attributes = server_first.split(',');
    let mut attribute = |name: &str| attributes.next().and_then(|it| it.strip_prefix(name));
    let (full_nonce, salt, iterations) =
        (attribute("r="), attribute("s="), attribute("i=").and_then(|digits| digits.parse().ok()));
    let (Some(full_nonce), Some(salt), Some(iterations)) = (full_nonce, salt, iterations) else {
        return Err(MALFORMED);
    };
    if full_nonce.len() <= nonce.len() || !full_nonce.starts_with(nonce) {
        return Err("the server's SCRAM nonce is not made from ours");
    }
    let salt = BASE64_STANDARD.decode(salt).map_err(|_| MALFORMED)?;
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
        return Err("the server's SCRAM iteration count is not between 4096 and 100000");
    }
    let iterations = NonZeroU32::new(iterations).ok_or(MALFORMED)?;
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.reveal().as_bytes(), &mut salted);
    let without_proof = format!("c={},r={full_nonce}", BASE64_STANDARD.encode(NO_BINDING));
    let signed = format!("{bare},{server_first},{without_proof}");
    let client_key = mac(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let client_signature = mac(stored_key.as_ref(), signed.as_bytes());
    let mut proof = client_key;
    proof.iter_mut().zip(client_signature).for_each(|(byte, mask)| *byte ^= mask);
    let signature = mac(&mac(&salted, b"Server Key"), signed.as_bytes());
    Ok((signature, format!("{without_proof},p={}", BASE64_STANDARD.encode(proof))))
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn proved() -> (Scram, String) {
        let (mut scram, first) = Scram::begin("user", NONCE);
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let answer = scram.answer(SERVER_FIRST, &Secret::new("pencil")).unwrap();
        (scram, answer)
    }

    /// The exchange of RFC 7677 section 3.
    #[test]
    fn the_example_of_rfc_7677_is_reproduced() {
        let (mut scram, answer) = proved();
        assert_eq!(
            answer,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!scram.is_verified());
        let end = scram.answer("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", &Secret::default());
        assert_eq!((end, scram.is_verified()), (Ok(String::new()), true));
        assert!(scram.answer("v=", &Secret::default()).is_err());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for end in [
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95GA=",
            "v=",
            "e=other-error",
            "",
        ] {
            let (mut scram, _) = proved();
            assert!(scram.answer(end, &Secret::default()).is_err() && !scram.is_verified(), "{end}");
        }
    }

    #[test]
    fn first_messages_that_are_no_good_are_refused() {
        for first in [
            "",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295",
        ] {
            let (mut scram, _) = Scram::begin("user", NONCE);
            assert!(scram.answer(first, &Secret::new("pencil")).is_err(), "{first}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(Scram::begin("a=b,c", "x").1, "n,,n=a=3Db=2Cc,r=x");
    }
}
