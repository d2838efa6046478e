//! The hosts that take the mail of a domain.

use std::net::IpAddr;
use std::time::Duration;

/// A host that takes mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name in lower case without the final dot, or an address literal such as `[192.0.2.1]`.
    pub name: String,
    /// The preference of its MX record; lower is tried earlier. 0 without one.
    pub preference: u16,
    /// Its addresses, IPv4 before IPv6 and otherwise as DNS gave them, at most 16. Empty when there is none or
    /// looking them up failed for now.
    pub addresses: Vec<IpAddr>,
    /// The names under which TLSA records may stand, first where aliases lead; empty when the addresses are not signed
    /// by their zone (DNSSEC), or nobody's word on that is taken.
    pub signed_names: Vec<String>,
}

/// The hosts of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailHosts {
    /// By preference, equals by name; at least one has an address.
    pub hosts: Vec<Host>,
    /// Whether the zone has signed that these are the hosts.
    pub signed: bool,
    /// What kept some of the hosts from being known, if anything did.
    pub incomplete: Option<String>,
    /// For how long this may be used without asking again.
    pub expires_in: Duration,
}

impl MailHosts {
    /// The hosts in the order in which to try them: by preference, equals shuffled by `seed` (RFC 5321 section 5.1
    /// asks for it, so that the hosts share the load). One seed always gives the same order.
    #[must_use]
    pub fn in_order(&self, seed: u64) -> Vec<&Host> {
        let mut hosts: Vec<(u16, u64, &Host)> =
            (0..).zip(&self.hosts).map(|(index, host)| (host.preference, mix(seed, index), host)).collect();
        hosts.sort_by_key(|&(preference, chance, _)| (preference, chance));
        hosts.into_iter().map(|(_, _, host)| host).collect()
    }
}

/// The finalizer of SplitMix64 over seed and index.
fn mix(seed: u64, index: u64) -> u64 {
    let mut x = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_share_the_load_and_preference_rules() {
        let host = |name: &str, preference| Host {
            name: name.to_owned(),
            preference,
            addresses: Vec::new(),
            signed_names: Vec::new(),
        };
        let hosts = MailHosts {
            hosts: vec![host("a", 5), host("b", 10), host("c", 10), host("d", 10), host("e", 20)],
            signed: false,
            incomplete: None,
            expires_in: Duration::ZERO,
        };
        let mut first = [0; 3];
        for seed in 0..3_000 {
            let order = hosts.in_order(seed);
            assert_eq!((order[0].name.as_str(), order[4].name.as_str()), ("a", "e"));
            first[usize::from(order[1].name.as_bytes()[0] - b'b')] += 1;
            assert_eq!(order, hosts.in_order(seed));
        }
        assert!(first.iter().all(|count| (900..1_100).contains(count)), "{first:?}");
    }
}
