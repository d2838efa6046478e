//! Senders whose mail a receiver refuses by a fault of our own configuration (SPF, DKIM, DMARC): their mail for it waits,
//! so that the fault burns nobody's attempts. Shared by all shards; a message takes no lock here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mail::{Reply, UnixMs};

use crate::control::destination::Destination;

/// Holds kept at most; beyond it the one that ends first is forgotten.
const HOLDS_MAX: usize = 4096;

/// To whom the mail of a sender is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Receiver {
    provider: u16,
    /// 0 where the provider's sites have something in common.
    site: u64,
}

impl Receiver {
    pub(crate) fn of(destination: &Destination) -> Self {
        let site = if destination.is_alone() { destination.site } else { 0 };
        Self { provider: destination.provider.0, site }
    }

    /// Index of the provider in the configuration.
    pub(crate) const fn provider(self) -> u16 {
        self.provider
    }
}

/// Why and until when mail is held.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) until: UnixMs,
    /// What the receiver said.
    pub(crate) reply: Reply,
}

type Map = BTreeMap<(Box<str>, Receiver), Hold>;

/// All holds, by the sender's domain and the receiver.
#[derive(Default)]
pub(crate) struct Holds(ArcSwap<Map>);

impl Holds {
    /// Whether mail of `identity` for `receiver` is held at `now`, and by what.
    pub(crate) fn find(&self, identity: &str, receiver: Receiver, now: UnixMs) -> Option<Hold> {
        let holds = self.0.load();
        if holds.is_empty() {
            return None;
        }
        holds.get(&(identity.into(), receiver)).filter(|hold| hold.until > now).cloned()
    }

    /// Holds mail of `identity` for `receiver`; false when it was held already.
    pub(crate) fn add(&self, identity: &str, receiver: Receiver, hold: &Hold, now: UnixMs) -> bool {
        if self.find(identity, receiver, now).is_some() {
            return false;
        }
        self.0.rcu(|holds| {
            let mut holds = Map::clone(holds);
            holds.retain(|_, hold| hold.until > now);
            if holds.len() >= HOLDS_MAX {
                let first = holds.iter().min_by_key(|(_, hold)| hold.until).map(|(key, _)| key.clone());
                first.map(|key| holds.remove(&key));
            }
            holds.insert((identity.into(), receiver), hold.clone());
            holds
        });
        true
    }

    /// Ends the holds whose receiver is meant; returns how many.
    pub(crate) fn end(&self, meant: impl Fn(Receiver) -> bool) -> usize {
        let before = self.0.rcu(|holds| {
            let mut holds = Map::clone(holds);
            holds.retain(|(_, receiver), _| !meant(*receiver));
            holds
        });
        before.keys().filter(|(_, receiver)| meant(*receiver)).count()
    }

    /// All holds, for people.
    pub(crate) fn all(&self) -> Arc<BTreeMap<(Box<str>, Receiver), Hold>> {
        self.0.load_full()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn hold(seconds: u64) -> Hold {
        Hold { until: NOW + Duration::from_secs(seconds), reply: Reply::new(550, "no SPF") }
    }

    #[test]
    fn a_hold_is_for_one_sender_and_receiver_until_its_end() {
        let holds = Holds::default();
        let (there, elsewhere) = (Receiver { provider: 3, site: 0 }, Receiver { provider: 4, site: 0 });
        assert!(holds.find("a.test", there, NOW).is_none());
        assert!(holds.add("a.test", there, &hold(10), NOW));
        assert!(!holds.add("a.test", there, &hold(20), NOW), "the first one stands");
        assert!(holds.find("a.test", there, NOW).is_some());
        assert!(holds.find("b.test", there, NOW).is_none() && holds.find("a.test", elsewhere, NOW).is_none());
        assert!(holds.find("a.test", there, NOW + Duration::from_secs(10)).is_none());
        assert_eq!(holds.end(|receiver| receiver.provider() == 4), 0);
        assert_eq!(holds.end(|receiver| receiver.provider() == 3), 1);
        assert!(holds.all().is_empty());
    }

    #[test]
    fn the_number_of_holds_is_bounded() {
        let (holds, there) = (Holds::default(), Receiver { provider: 1, site: 2 });
        for n in 0..HOLDS_MAX as u64 + 10 {
            holds.add(&n.to_string(), there, &hold(100 + n), NOW);
        }
        assert_eq!(holds.all().len(), HOLDS_MAX);
        assert!(holds.find("0", there, NOW).is_none(), "the one that ends first is gone");
    }
}
