//! The hosts of a site that have lately not wanted mail: they are tried last until their time is over.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use mail::UnixMs;

/// How long a host is tried last: an outage of minutes is not met by every connection anew, and the first host has its
/// mail back soon after.
const AVOIDED_FOR: Duration = Duration::from_secs(300);
/// How many are remembered; beyond it the oldest is forgotten.
const AVOIDED_MAX: usize = 64;

/// Addresses that are tried last, each until its moment.
#[derive(Default)]
pub(super) struct Avoided(RefCell<Vec<(SocketAddr, UnixMs)>>);

impl Avoided {
    pub(super) fn add(&self, address: SocketAddr, now: UnixMs) {
        let mut avoided = self.0.borrow_mut();
        avoided.retain(|(other, until)| *other != address && *until > now);
        if avoided.len() == AVOIDED_MAX {
            avoided.remove(0);
        }
        avoided.push((address, now + AVOIDED_FOR));
    }

    /// The host speaks with us again.
    pub(super) fn remove(&self, address: SocketAddr) {
        self.0.borrow_mut().retain(|(other, _)| *other != address);
    }

    pub(super) fn holds(&self, address: SocketAddr, now: UnixMs) -> bool {
        self.0.borrow().iter().any(|(other, until)| *other == address && *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_avoided_until_its_time_is_over() {
        let (avoided, start) = (Avoided::default(), UnixMs(1_000_000));
        let host = |port| SocketAddr::from(([127, 0, 0, 1], port));
        avoided.add(host(1), start);
        avoided.add(host(1), start);
        assert_eq!(avoided.0.borrow().len(), 1);
        assert!(avoided.holds(host(1), start) && !avoided.holds(host(2), start));
        assert!(!avoided.holds(host(1), start + AVOIDED_FOR));
        (0..200).for_each(|port| avoided.add(host(port), start));
        assert_eq!(avoided.0.borrow().len(), AVOIDED_MAX);
        avoided.remove(host(199));
        assert!(!avoided.holds(host(199), start));
    }
}
