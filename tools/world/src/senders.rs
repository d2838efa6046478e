//! What a provider remembers of senders: source addresses, netblocks and identities, each in a table of bounded size.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::limits::{Gauge, Meter, Moment};
use crate::standing::Standing;

/// Senders of one kind that a provider remembers, at most.
const SENDERS_MAX: usize = 1 << 16;

/// A table of senders of one kind.
#[derive(Debug)]
pub(crate) struct Table<K> {
    rows: FxHashMap<K, Sender>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { rows: FxHashMap::default() }
    }
}

/// One sender.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// Connections open now; of source addresses only.
    pub(crate) open: u32,
    pub(crate) standing: Standing,
    meters: SmallVec<[Meter; 2]>,
    /// The phase of the limits that the meters are for.
    phase: u32,
    seen_ms: u64,
}

impl<K: Copy + Eq + Hash + Ord> Table<K> {
    /// The sender, who is made by `new` when it comes for the first time.
    pub(crate) fn sender(&mut self, key: K, now_ms: u64, new: impl FnOnce() -> Standing) -> &mut Sender {
        if self.rows.len() >= SENDERS_MAX && !self.rows.contains_key(&key) {
            self.make_room();
        }
        let sender = self.rows.entry(key).or_insert_with(|| Sender { standing: new(), ..Sender::default() });
        sender.seen_ms = now_ms;
        sender
    }

    /// The sender, if it is remembered.
    pub(crate) fn known(&mut self, key: K) -> Option<&mut Sender> {
        self.rows.get_mut(&key)
    }

    /// Forgets the half that was not seen for the longest time; nobody with a connection is forgotten.
    fn make_room(&mut self) {
        let mut seen: Vec<u64> = self.rows.values().map(|sender| sender.seen_ms).collect();
        let middle = seen.len() / 2;
        let (_, &mut median, _) = seen.select_nth_unstable(middle);
        self.rows.retain(|_, sender| sender.seen_ms > median || sender.open > 0);
    }

    /// All of them in the order of their keys.
    pub(crate) fn all(&self) -> Vec<(K, &Sender)> {
        let mut all: Vec<(K, &Sender)> = self.rows.iter().map(|(key, sender)| (*key, sender)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }
}

impl Sender {
    /// Whether one more recipient is within all limits; the first that is exhausted otherwise.
    pub(crate) fn check(
        &mut self,
        (gauges, phase): (&[Gauge], u32),
        moment: Moment,
        factor: f64,
    ) -> Result<(), Gauge> {
        if self.phase != phase || self.meters.len() != gauges.len() {
            self.meters.resize(gauges.len(), Meter::default());
            self.phase = phase;
        }
        for (meter, gauge) in self.meters.iter_mut().zip(gauges) {
            if !meter.check(gauge, moment, factor) {
                return Err(*gauge);
            }
        }
        Ok(())
    }

    /// Counts one recipient that was within all limits.
    pub(crate) fn take(&mut self, gauges: &[Gauge], moment: Moment, factor: f64) {
        for (meter, gauge) in self.meters.iter_mut().zip(gauges) {
            meter.take(gauge, moment, factor);
        }
    }
}

/// The netblock of an address: its /24, or its /64 of IPv6.
pub(crate) fn netblock(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(ip) => {
            let upper = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(upper))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_forgets_those_not_seen_for_long_and_nobody_who_is_there() {
        let mut table: Table<u32> = Table::default();
        table.sender(0, 0, Standing::default).open = 1;
        for n in 1..(SENDERS_MAX as u32 + 10) {
            table.sender(n, u64::from(n), Standing::default);
        }
        assert!(table.rows.len() <= SENDERS_MAX / 2 + 20, "{}", table.rows.len());
        assert!(table.known(0).is_some() && table.known(1).is_none());
        assert!(table.known(SENDERS_MAX as u32).is_some());
    }

    #[test]
    fn netblocks_are_slash_24_and_slash_64() {
        let of = |ip: &str| netblock(ip.parse().expect("an address")).to_string();
        assert_eq!(
            (of("192.0.2.77").as_str(), of("2001:db8::1:2:3:4").as_str()),
            ("192.0.2.0", "2001:db8::")
        );
    }
}
