//! DKIM (RFC 6376, RFC 8463): body hashes, keys and their DNS records, signatures.
//!
//! It refuses to verify: this engine signs what it sends.

mod body;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_ifma.rs")]
mod ifma;
mod key;
mod limbs;
mod private;
mod rsa;
mod sign;
mod signatory;

pub use body::{BodyHash, BodyHasher, Canonicalization};
pub use key::{Algorithm, Key, KeyError, dns_name, dns_zone_line, generate_ed25519, generate_rsa_2048};
pub use sign::{SignError, Signer, Unsigned, sign};
pub use signatory::Signatory;
