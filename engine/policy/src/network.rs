//! A block of IP addresses, written `127.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that share the first `prefix` bits of `addr`; the bits behind them are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    addr: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no IP address.
    #[error("what stands before the / is not an IP address")]
    Address,
    /// What stands behind the slash is no number of bits.
    #[error("what stands behind the / is not a number of bits from 0 to 32, or to 128 for IPv6")]
    Prefix,
}

impl Network {
    /// The block of `prefix` bits around `addr`; `None` when the address has fewer bits.
    #[must_use]
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= bits_of(addr)).then(|| Self { addr: masked(addr, prefix), prefix })
    }

    /// The first address of the block.
    #[must_use]
    pub const fn addr(self) -> IpAddr {
        self.addr
    }

    /// How many leading bits all addresses of the block share.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether `ip` lies in the block. An IPv4 address mapped into IPv6 counts as the IPv4 address it stands for.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.addr.is_ipv4() && masked(ip, self.prefix) == self.addr
    }
}

const fn bits_of(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn masked(addr: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match addr {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl From<IpAddr> for Network {
    /// The block that holds only this address.
    fn from(addr: IpAddr) -> Self {
        Self { addr, prefix: bits_of(addr) }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `address/bits` or a single address. Bits of the address behind the prefix are cleared.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let Some((addr, prefix)) = text.split_once('/') else {
            return text.parse().map(IpAddr::into).map_err(|_| NetworkError::Address);
        };
        let addr: IpAddr = addr.parse().map_err(|_| NetworkError::Address)?;
        let digits = prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| digits).ok_or(NetworkError::Prefix)?;
        Self::new(addr, prefix).ok_or(NetworkError::Prefix)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect(text)
    }

    #[test]
    fn a_block_contains_its_addresses_and_no_others() {
        for (block, inside, outside) in [
            ("127.0.0.0/8", "127.255.0.1", "128.0.0.1"),
            ("62.149.128.0/24", "62.149.128.200", "62.149.129.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("::1/128", "::1", "::2"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::127.0.0.1"),
        ] {
            assert!(network(block).contains(inside.parse().expect(inside)), "{inside} in {block}");
            assert!(!network(block).contains(outside.parse().expect(outside)), "{outside} in {block}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_cleared() {
        assert_eq!(network("10.1.2.3/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn wrong_text_says_which_side_is_wrong() {
        for (text, error) in [
            ("", NetworkError::Address),
            ("10.0.0/8", NetworkError::Address),
            ("10.0.0.0/33", NetworkError::Prefix),
            ("10.0.0.0/+8", NetworkError::Prefix),
            ("10.0.0.0/", NetworkError::Prefix),
            ("::/129", NetworkError::Prefix),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }
}
