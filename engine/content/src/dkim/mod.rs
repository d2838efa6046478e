//! DKIM (RFC 6376, RFC 8463): body hashes, keys and their DNS records, signatures.
//!
//! It refuses to verify: this engine signs what it sends.

mod body;
mod key;
mod sign;

pub use body::{BodyHash, BodyHasher, Canonicalization};
pub use key::{Algorithm, Key, KeyError, dns_name, dns_zone_line, generate_ed25519, generate_rsa_2048};
pub use sign::{SignError, Signer, sign};
