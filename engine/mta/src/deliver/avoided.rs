//! Hosts of a site that are remembered for a while: those that have lately not wanted mail, which are tried last, and
//! those that offer what they cannot do.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use mail::UnixMs;

/// How long a host is tried last: an outage of minutes is not met by every connection anew, and the first host has its
/// mail back soon after.
const AVOIDED_FOR: Duration = Duration::from_secs(300);
/// How long a server that offers something and cannot do it (TLS, BDAT, PIPELINING) is spoken to without it.
const BROKEN_FOR: Duration = Duration::from_secs(3600);
/// How many are remembered; beyond it the oldest is forgotten.
const AVOIDED_MAX: usize = 64;

/// Addresses, each until its moment.
pub(super) struct Avoided {
    addresses: RefCell<Vec<(SocketAddr, UnixMs)>>,
    /// How long each is remembered.
    time: Duration,
}

impl Avoided {
    const fn new(time: Duration) -> Self {
        Self { addresses: RefCell::new(Vec::new()), time }
    }

    /// Those that are tried last.
    pub(super) const fn hosts() -> Self {
        Self::new(AVOIDED_FOR)
    }

    /// Those that offer something and cannot do it.
    pub(super) const fn abilities() -> Self {
        Self::new(BROKEN_FOR)
    }

    pub(super) fn clear(&self) {
        self.addresses.borrow_mut().clear();
    }

    pub(super) fn add(&self, address: SocketAddr, now: UnixMs) {
        let mut avoided = self.addresses.borrow_mut();
        avoided.retain(|(other, until)| *other != address && *until > now);
        if avoided.len() == AVOIDED_MAX {
            avoided.remove(0);
        }
        avoided.push((address, now + self.time));
    }

    /// The host speaks with us again.
    pub(super) fn remove(&self, address: SocketAddr) {
        self.addresses.borrow_mut().retain(|(other, _)| *other != address);
    }

    pub(super) fn holds(&self, address: SocketAddr, now: UnixMs) -> bool {
        self.addresses.borrow().iter().any(|(other, until)| *other == address && *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_avoided_until_its_time_is_over() {
        let (avoided, start) = (Avoided::hosts(), UnixMs(1_000_000));
        let host = |port| SocketAddr::from(([127, 0, 0, 1], port));
        avoided.add(host(1), start);
        avoided.add(host(1), start);
        assert_eq!(avoided.addresses.borrow().len(), 1);
        assert!(avoided.holds(host(1), start) && !avoided.holds(host(2), start));
        assert!(!avoided.holds(host(1), start + AVOIDED_FOR));
        (0..200).for_each(|port| avoided.add(host(port), start));
        assert_eq!(avoided.addresses.borrow().len(), AVOIDED_MAX);
        avoided.remove(host(199));
        assert!(!avoided.holds(host(199), start));
    }
}
