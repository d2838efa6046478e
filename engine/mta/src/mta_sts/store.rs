//! What is known of domains and for how long: policies within a budget of memory, and who has none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail::UnixMs;
use policy::mta_sts::Policy;
use rustc_hash::FxBuildHasher;

use super::discovery::Found;

/// A policy holds so long at least, whatever it says: shorter ones would be fetched again for every message.
const LIFETIME_MIN: Duration = Duration::from_secs(5 * 60);
/// A policy is fetched again when it is so old, or at half its time (RFC 8461 section 3.3 suggests daily).
const REFRESH_AFTER: Duration = Duration::from_secs(24 * 3600);
/// While mail goes to the domain, its record is looked at so often, which is how a new policy is noticed.
const CHECK_AFTER: Duration = Duration::from_secs(3600);
/// Unasked, a policy is refreshed that holds for a day at least and was asked for within this time.
const REFRESHED_UNASKED: Duration = Duration::from_secs(30 * 24 * 3600);
/// A policy that could not be refreshed is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// "The domain has no policy" is believed for this long.
const ABSENCE: Duration = Duration::from_secs(3600);
/// A policy that cannot be had is not asked for again before this (RFC 8461 section 3.3 suggests five minutes).
const FAILURE: Duration = Duration::from_secs(5 * 60);

/// Memory for policies, in bytes: those of some 60,000 domains of ordinary length.
const POLICIES_BYTES_MAX: usize = 32 << 20;
/// What a policy costs beside its own text.
const POLICY_BYTES: usize = 256;
/// Domains without a policy that are remembered, in each of two generations.
const OTHERS_MAX: usize = 50_000;

/// A policy with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) policy: Arc<Policy>,
    /// The id of the TXT record under which it was fetched.
    pub(super) id: Arc<str>,
    pub(super) fetched_at: UnixMs,
}

impl Held {
    pub(super) fn lifetime(&self) -> Duration {
        self.policy.max_age.max(LIFETIME_MIN)
    }

    pub(super) fn holds(&self, now: UnixMs) -> bool {
        now < self.fetched_at + self.lifetime()
    }

    /// Whether it is old enough to be fetched again although its id is the same; also when the host's clock was wrong at
    /// the time, or is now.
    pub(super) fn is_old(&self, now: UnixMs) -> bool {
        now < self.fetched_at || now >= self.fetched_at + REFRESH_AFTER.min(self.lifetime() / 2)
    }

    fn bytes(&self) -> usize {
        // About one and a half times its text.
        POLICY_BYTES + self.policy.mx.len() * 40 + self.policy.to_string().len()
    }
}

#[derive(Debug)]
struct Kept {
    held: Held,
    bytes: usize,
    /// When to look at the domain again, if somebody asks.
    check_at: UnixMs,
    used_at: UnixMs,
}

type Map<V> = HashMap<Arc<str>, V, FxBuildHasher>;

/// Domains that are known.
#[derive(Debug, Default)]
pub(super) struct Store {
    kept: Map<Kept>,
    kept_bytes: usize,
    /// Domains that have no policy, or whose policy cannot be had, until when. The older half goes when there are many.
    others: Map<UnixMs>,
    older_others: Map<UnixMs>,
}

/// What is known of a domain.
pub(super) enum Known {
    /// It has this policy.
    Policy(Arc<Policy>),
    /// It has this policy, but it is time to look again.
    Old(Arc<Policy>),
    /// It has none, or none that can be had; until this moment that is believed.
    Nothing(UnixMs),
    /// Nobody has looked yet.
    Unknown,
}

impl Store {
    pub(super) fn known(&mut self, domain: &str, now: UnixMs) -> Known {
        if let Some(kept) = self.kept.get_mut(domain).filter(|kept| kept.held.holds(now)) {
            kept.used_at = now;
            let policy = Arc::clone(&kept.held.policy);
            return if now >= kept.check_at { Known::Old(policy) } else { Known::Policy(policy) };
        }
        let until = self.others.get(domain).or_else(|| self.older_others.get(domain));
        match until {
            Some(until) if now < *until => Known::Nothing(*until),
            _ => Known::Unknown,
        }
    }

    /// The policy that was fetched last, whether it still holds or not.
    pub(super) fn held(&self, domain: &str) -> Option<Held> {
        self.kept.get(domain).map(|kept| kept.held.clone())
    }

    /// Domains whose policy holds and should be refreshed although nobody asks, at most `max`. Policies that no longer
    /// hold are dropped.
    pub(super) fn due(&mut self, now: UnixMs, max: usize) -> Vec<Arc<str>> {
        let bytes = &mut self.kept_bytes;
        self.kept.retain(|_, kept| {
            let holds = kept.held.holds(now);
            *bytes -= if holds { 0 } else { kept.bytes };
            holds
        });
        let is_due = |kept: &Kept| {
            kept.held.is_old(now)
                && now >= kept.check_at
                && kept.held.lifetime() >= REFRESH_AFTER
                && now < kept.used_at + REFRESHED_UNASKED
        };
        self.kept
            .iter()
            .filter(|(_, kept)| is_due(kept))
            .map(|(domain, _)| Arc::clone(domain))
            .take(max)
            .collect()
    }

    /// Takes what a look at a domain has brought; whether the file has to be written.
    pub(super) fn learn(&mut self, domain: &str, found: Found, now: UnixMs) -> bool {
        match found {
            Found::Policy(held) => {
                self.keep(domain.into(), held, now);
                self.others.remove(domain);
                self.older_others.remove(domain);
                return true;
            }
            Found::Same => self.check_again(domain, now + CHECK_AFTER),
            Found::Absent => {
                self.check_again(domain, now + CHECK_AFTER);
                self.remember_other(domain, now + ABSENCE);
            }
            Found::Failed => {
                self.check_again(domain, now + RETRY_AFTER);
                self.remember_other(domain, now + FAILURE);
            }
        }
        false
    }

    /// Keeps a policy that has just been fetched.
    fn keep(&mut self, domain: Arc<str>, held: Held, now: UnixMs) {
        let check_at = now + CHECK_AFTER.min(held.lifetime() / 2);
        let used_at = self.kept.get(&domain).map_or(now, |kept| kept.used_at);
        self.insert(domain, Kept { bytes: held.bytes(), held, check_at, used_at });
    }

    /// Takes back a policy of an earlier run; the domain is looked at again when it is first asked for.
    pub(super) fn restore(&mut self, domain: Arc<str>, held: Held) {
        let used_at = held.fetched_at;
        self.insert(domain, Kept { bytes: held.bytes(), held, check_at: UnixMs(0), used_at });
    }

    /// Makes room among those that were asked for longest ago.
    fn insert(&mut self, domain: Arc<str>, kept: Kept) {
        self.kept_bytes += kept.bytes;
        self.kept_bytes -= self.kept.insert(domain, kept).map_or(0, |old| old.bytes);
        if self.kept_bytes > POLICIES_BYTES_MAX {
            self.make_room();
        }
    }

    /// Drops the sixteenth that was asked for longest ago, so that this is seldom done.
    fn make_room(&mut self) {
        let mut by_use: Vec<(UnixMs, Arc<str>)> =
            self.kept.iter().map(|(domain, kept)| (kept.used_at, Arc::clone(domain))).collect();
        by_use.sort_unstable();
        for (_, domain) in by_use {
            if self.kept_bytes <= POLICIES_BYTES_MAX - POLICIES_BYTES_MAX / 16 {
                return;
            }
            self.kept_bytes -= self.kept.remove(&domain).map_or(0, |kept| kept.bytes);
        }
    }

    fn check_again(&mut self, domain: &str, at: UnixMs) {
        if let Some(kept) = self.kept.get_mut(domain) {
            kept.check_at = at;
        }
    }

    fn remember_other(&mut self, domain: &str, until: UnixMs) {
        if self.others.len() >= OTHERS_MAX {
            self.older_others = std::mem::take(&mut self.others);
        }
        self.others.insert(domain.into(), until);
    }

    /// All policies, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Held)> {
        self.kept.iter().map(|(domain, kept)| (domain, &kept.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn held(max_age: u64) -> Held {
        let text = format!("version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: {max_age}\n");
        let policy = Policy::parse(text.as_bytes()).expect("a policy");
        Held { policy: Arc::new(policy), id: "1".into(), fetched_at: NOW }
    }

    fn shown(store: &mut Store, domain: &str, at: UnixMs) -> &'static str {
        match store.known(domain, at) {
            Known::Policy(_) => "policy",
            Known::Old(_) => "old",
            Known::Nothing(_) => "nothing",
            Known::Unknown => "unknown",
        }
    }

    #[test]
    fn a_policy_is_looked_at_hourly_when_asked_for_and_ends_with_its_time() {
        let mut store = Store::default();
        assert_eq!(shown(&mut store, "a.test", NOW), "unknown");
        assert!(store.learn("a.test", Found::Policy(held(7 * 86_400)), NOW));
        assert_eq!(shown(&mut store, "a.test", NOW + HOUR / 2), "policy");
        assert_eq!(shown(&mut store, "a.test", NOW + HOUR), "old");
        assert!(!store.learn("a.test", Found::Same, NOW + HOUR));
        assert_eq!(shown(&mut store, "a.test", NOW + HOUR), "policy");
        assert!(store.due(NOW + 3 * HOUR, 9).is_empty(), "it is too young to be fetched again unasked");
        assert_eq!(store.due(NOW + 24 * HOUR, 9).len(), 1);
        let last = NOW + (7 * 24 * HOUR - Duration::from_millis(1));
        assert_eq!(shown(&mut store, "a.test", last), "old");
        assert_eq!(shown(&mut store, "a.test", NOW + 7 * 24 * HOUR), "unknown");
        assert!(store.due(NOW + 7 * 24 * HOUR, 9).is_empty());
        assert_eq!((store.kept.len(), store.kept_bytes), (0, 0));
    }

    #[test]
    fn a_record_that_is_gone_or_a_failure_leaves_a_policy_in_force() {
        let mut store = Store::default();
        store.learn("a.test", Found::Policy(held(86_400)), NOW);
        store.learn("a.test", Found::Absent, NOW + HOUR);
        assert_eq!(shown(&mut store, "a.test", NOW + 3 * HOUR / 2), "policy");
        store.learn("a.test", Found::Failed, NOW + 2 * HOUR);
        assert_eq!(shown(&mut store, "a.test", NOW + 2 * HOUR), "policy");
        assert_eq!(shown(&mut store, "a.test", NOW + 9 * HOUR / 4), "old");
        assert_eq!(shown(&mut store, "a.test", NOW + 24 * HOUR), "unknown");
    }

    #[test]
    fn failure_and_absence_are_remembered_for_their_time() {
        let mut store = Store::default();
        store.learn("a.test", Found::Failed, NOW);
        store.learn("b.test", Found::Absent, NOW);
        assert_eq!(shown(&mut store, "a.test", NOW + Duration::from_secs(299)), "nothing");
        assert_eq!(shown(&mut store, "a.test", NOW + Duration::from_secs(300)), "unknown");
        assert_eq!(shown(&mut store, "b.test", NOW + Duration::from_secs(3599)), "nothing");
        assert_eq!(shown(&mut store, "b.test", NOW + HOUR), "unknown");
    }

    #[test]
    fn a_short_policy_holds_for_five_minutes() {
        let mut store = Store::default();
        store.learn("a.test", Found::Policy(held(0)), NOW);
        assert_eq!(shown(&mut store, "a.test", NOW + Duration::from_secs(149)), "policy");
        assert_eq!(shown(&mut store, "a.test", NOW + Duration::from_secs(299)), "old");
        assert_eq!(shown(&mut store, "a.test", NOW + Duration::from_secs(300)), "unknown");
    }

    #[test]
    fn a_policy_of_an_earlier_run_is_looked_at_at_once_even_when_its_clock_was_ahead() {
        let mut store = Store::default();
        store.restore("a.test".into(), held(86_400));
        let ahead = Held { fetched_at: NOW + 10_000 * HOUR, ..held(86_400) };
        store.restore("b.test".into(), ahead.clone());
        assert_eq!(shown(&mut store, "a.test", NOW), "old");
        assert_eq!(shown(&mut store, "b.test", NOW), "old");
        assert!(ahead.is_old(NOW) && !held(86_400).is_old(NOW));
        assert_eq!(store.due(NOW, 9), ["b.test".into()]);
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut store = Store::default();
        let large = (0..250).map(|n| format!("mx: {}.{n}.test\n", "a".repeat(60))).collect::<String>();
        let text = format!("version: STSv1\nmode: enforce\n{large}max_age: 86400\n");
        let large =
            Held { policy: Arc::new(Policy::parse(text.as_bytes()).expect("a policy")), ..held(86_400) };
        store.learn("used.test", Found::Policy(held(86_400)), NOW);
        for number in 0..3_000_u64 {
            let now = NOW + Duration::from_millis(number + 1);
            store.learn(&format!("{number}.test"), Found::Policy(large.clone()), now);
            assert_eq!(shown(&mut store, "used.test", now), "policy");
            assert!(store.kept_bytes <= POLICIES_BYTES_MAX);
        }
        assert!(store.kept.len() > 500, "{}", store.kept.len());
        for number in 0..3 * OTHERS_MAX {
            store.learn(&format!("{number}.test"), Found::Absent, NOW);
            assert!(store.others.len() + store.older_others.len() <= 2 * OTHERS_MAX);
        }
    }
}
