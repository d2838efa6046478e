//! What this host has: addresses and network devices, for the checks at start.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Whether mail can leave from `ip`: the address is on this host (or the kernel allows foreign ones, see the sysctl
/// net.ipv4.ip_nonlocal_bind). Found out by binding a socket to it.
#[must_use]
pub fn is_on_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || broadcast {
        return false;
    }
    let address = SocketAddr::new(ip, 0);
    Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)
        .and_then(|socket| socket.bind(&address.into()))
        .is_ok()
}

/// Whether the kernel lets sockets be bound to addresses of other hosts: then [`is_on_host`] says nothing.
#[must_use]
pub fn foreign_may_be_bound() -> bool {
    let is_set = |file| std::fs::read_to_string(file).is_ok_and(|text| text.trim() != "0");
    is_set("/proc/sys/net/ipv4/ip_nonlocal_bind") || is_set("/proc/sys/net/ipv6/ip_nonlocal_bind")
}

/// The network devices of this host (of the network namespace of this process), by name.
///
/// # Errors
/// When /proc/net/dev cannot be read.
pub fn devices() -> io::Result<Vec<String>> {
    Ok(names(&std::fs::read_to_string("/proc/net/dev")?))
}

/// The table has two heading lines; then every line is a name, a colon and counters.
fn names(table: &str) -> Vec<String> {
    table
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_host_are_on_it() {
        for (text, here) in [
            ("127.0.0.1", true),
            ("127.0.0.5", true),
            ("203.0.113.77", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_on_host(text.parse().expect("an address")), here, "{text}");
        }
    }

    #[test]
    fn the_loopback_device_is_listed() {
        assert!(devices().expect("a proc file system").iter().any(|name| name == "lo"));
        assert_eq!(names("Inter-|\n face |\n  eth0: 1 2\nwg-x:0 0\n"), ["eth0", "wg-x"]);
    }
}
