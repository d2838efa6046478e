//! Which addresses mail may be sent to when it was DNS that named them. A pure function.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::Network;

/// Whether an address that DNS named may be dialled: one on the public internet, or one that the operator has allowed.
///
/// Anybody can publish an MX record that points at 127.0.0.1 or at a service inside the sender's network, so those
/// are refused: this network, loopback, private, shared (carrier NAT), link-local, multicast, reserved, and whatever
/// carries such an IPv4 address inside an IPv6 one. Addresses for documentation and benchmarks (RFC 5737, RFC 2544)
/// pass: nothing of ours can live there, and laboratories use them as their internet.
#[must_use]
pub fn dialable(ip: IpAddr, allow: &[Network]) -> bool {
    allow.iter().any(|network| network.contains(ip))
        || match ip {
            IpAddr::V4(v4) => is_public_v4(v4),
            IpAddr::V6(v6) => is_public_v6(v6),
        }
}

/// The special-purpose registry of IPv4 (RFC 6890), without the blocks that are harmless.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocol_assignments = (a, b, c) == (192, 0, 0);
    !(a == 0
        || a >= 224
        || shared
        || protocol_assignments
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local())
}

/// Global unicast is 2000::/3; all else is local, multicast or unassigned (RFC 4291, RFC 6890). Of it, Teredo leads
/// to hosts behind NAT, and 6to4 carries an IPv4 address, as NAT64 does from outside the block. An IPv4-mapped
/// address never comes from an honest AAAA record.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    match (carried(IpAddr::V6(ip)), ip.segments()) {
        (Some(v4), _) => is_public_v4(v4),
        (None, [0x2001, 0, ..]) => false,
        (None, [first, ..]) => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address to which an IPv6 address leads through a translator or a tunnel: NAT64 (RFC 6052) and 6to4 (RFC 3056).
pub(crate) fn carried(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let (high, low) = match ip.segments() {
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn only_public_addresses_are_dialled() {
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.18.0.1",
            "203.0.113.5",
            "223.255.255.255",
            "2001:4860::1",
            "2a00:1450:4001::1a",
            "2002:0808:0808::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(dialable(ip(text), &[]), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "100::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2002:7f00:0001::1",
            "2002:0a00:0001::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
        ] {
            assert!(!dialable(ip(text), &[]), "{text}");
        }
    }

    #[test]
    fn the_operator_may_allow_more() {
        let allow = [
            Network::new(ip("127.0.0.0"), 8).expect("a network"),
            Network::new(ip("fd00::"), 8).expect("a network"),
        ];
        for (text, expected) in
            [("127.0.0.5", true), ("::ffff:127.0.0.5", true), ("fd12::1", true), ("10.0.0.1", false)]
        {
            assert_eq!(dialable(ip(text), &allow), expected, "{text}");
        }
    }
}
