//! What all paths of one (source, provider) share: connections, rate, and who has a claim on them. It refuses to
//! know what waits.

use std::collections::BTreeSet;
use std::time::Duration;

use mail::{Class, UnixMs};
use policy::{Bucket, ByteRate, Limits};

use crate::Demand;

/// Paths remembered as possibly idle, at most; beyond it connections close by their idle timeout.
const IDLE_MAX: usize = 256;
/// What a bucket holds unclaimed before bulk may take it while critical mail waits: this much of its time, or of one interval if that is longer.
/// As much of theirs may bytes run ahead of their limit.
const BURST: Duration = Duration::from_millis(100);
/// How far ahead of the rate the recipients of one transaction may run: one more transaction costs a receiver more than
/// half a second of it, and critical mail that comes behind it is not delayed by more.
const AHEAD: Duration = Duration::from_millis(500);

/// Who shares limits: the paths of a source to a provider, or to one site where the provider is only a name for
/// many that have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub(crate) source: u16,
    pub(crate) provider: u16,
    pub(crate) site: Option<u64>,
}

/// A path that has work but no connection; the least has the best claim to the next one: critical first, then the longest waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) other: bool,
    pub(crate) since: u64,
    pub(crate) path: u32,
}

/// What the next recipient of a path is, seen from the shared limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Critical mail, or other mail that has had to wait for too long a run of it.
    First,
    /// Any other mail.
    Other,
}

/// What may leave per time.
#[derive(Debug)]
struct Rates {
    /// Recipients.
    bucket: Option<Bucket>,
    /// Apart, since few receivers have such a limit and there may be many of them.
    bytes: Option<Box<Bytes>>,
}

/// Bytes per time. What a message has is known only when it is made, so it is counted then, as a debt: the next one waits
/// until its time is over, but for a burst.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    rate: ByteRate,
    /// When all that was sent has had its time.
    free_at_ns: u64,
    /// How long that was ahead when something was sent last.
    owed: Duration,
}

impl Bytes {
    const fn new(rate: ByteRate) -> Self {
        Self { rate, free_at_ns: 0, owed: Duration::ZERO }
    }

    fn charge(&mut self, message_bytes: u64, now: UnixMs) {
        let now_ns = nanoseconds(now);
        // Such a time ends after five hundred years.
        let time_ns = u64::try_from(self.rate.time_of(message_bytes).as_nanos()).unwrap_or(u64::MAX);
        self.free_at_ns = self.free_at_ns.max(now_ns).saturating_add(time_ns);
        self.owed = Duration::from_nanos(self.free_at_ns - now_ns);
    }

    fn waits_until(&self, now: UnixMs) -> Option<UnixMs> {
        let until_ns = self.free_at_ns.saturating_sub(BURST.as_nanos() as u64);
        (until_ns > nanoseconds(now)).then(|| UnixMs(until_ns.div_ceil(1_000_000)))
    }
}

/// The shared limits and how much of them is used.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) key: GroupKey,
    limits: Limits,
    rates: Rates,
    critical_share: f32,
    connections: u32,
    /// How many of them are of paths on which critical mail is ready.
    connections_critical: u32,
    /// Connections that were told to yield and have not closed yet.
    yielding: u32,
    /// Recipients that could leave now, on all paths.
    ready: u64,
    /// How many of them are critical.
    pub(crate) critical_ready: u64,
    /// Whether a pull had to wait for the rate since [`Group::demand`] was last asked.
    waited_for_rate: bool,
    claims: BTreeSet<Claim>,
    /// How many of the claims are those of critical mail.
    claims_critical: u32,
    /// Paths that had a connection and no work when last asked.
    idle: Vec<u32>,
    pub(crate) paths: u32,
    /// Whether there was a place for mail that is not critical when last looked.
    had_place: bool,
}

impl Group {
    pub(crate) fn new(key: GroupKey, limits: Limits, critical_share: f32) -> Self {
        Self {
            key,
            limits,
            rates: Rates { bucket: limits.rate.map(Bucket::new), bytes: None },
            critical_share,
            connections: 0,
            connections_critical: 0,
            yielding: 0,
            ready: 0,
            critical_ready: 0,
            waited_for_rate: false,
            claims: BTreeSet::new(),
            claims_critical: 0,
            idle: Vec::new(),
            paths: 0,
            had_place: true,
        }
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes new limits; what the bucket holds stays.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.rates.bucket = match (self.rates.bucket, limits.rate) {
            (Some(mut bucket), Some(rate)) => {
                bucket.set_rate(rate);
                Some(bucket)
            }
            (_, rate) => rate.map(Bucket::new),
        };
        self.limits = limits;
    }

    fn connections_max(&self) -> u32 {
        self.limits.connections.max(1)
    }

    /// Connections kept for critical mail while some waits; at least one, unless nothing is to be kept.
    fn reserve(&self) -> u32 {
        // A share such as 0.1 is stored as slightly more: this must not cost a place.
        (self.critical_share * self.connections_max() as f32 - 0.001).ceil() as u32
    }

    /// Counts recipients that can leave now.
    pub(crate) fn add_ready(&mut self, class: Class, count: u64) {
        self.ready += count;
        self.critical_ready += if class == Class::Critical { count } else { 0 };
    }

    /// Counts recipients off that have left, or cannot leave any more.
    pub(crate) fn subtract_ready(&mut self, class: Class, count: u64) {
        self.ready -= count;
        self.critical_ready -= if class == Class::Critical { count } else { 0 };
    }

    pub(crate) fn add_claim(&mut self, claim: Claim) {
        self.claims_critical += u32::from(!claim.other);
        self.claims.insert(claim);
    }

    pub(crate) fn remove_claim(&mut self, claim: Claim) {
        self.claims_critical -= u32::from(!claim.other);
        self.claims.remove(&claim);
    }

    /// The paths with the best claims.
    pub(crate) fn first_claims(&self, count: usize) -> Vec<u32> {
        self.claims.iter().take(count).map(|claim| claim.path).collect()
    }

    /// Connections that may still be opened.
    pub(crate) fn free(&self) -> u32 {
        self.connections_max().saturating_sub(self.connections)
    }

    /// Connections that mail which is not critical may still open: while critical mail waits, it leaves the reserve alone.
    fn free_for_others(&self) -> u32 {
        if self.critical_ready == 0 {
            return self.free();
        }
        let others_max = self.connections_max().saturating_sub(self.reserve());
        self.free().min(others_max.saturating_sub(self.others()))
    }

    /// Connections of paths on which no critical mail is ready.
    fn others(&self) -> u32 {
        self.connections - self.connections_critical
    }

    /// Whether a path may open one more. One that has connections leaves the last places to those that have none.
    pub(crate) fn has_place(&self, has_critical: bool, has_connection: bool) -> bool {
        let places = if has_critical { self.free() } else { self.free_for_others() };
        if !has_connection {
            return places > 0;
        }
        let claims = self.claims.len() as u32;
        self.free() > claims && places > claims - self.claims_critical
    }

    /// Whether there has come to be a place for mail that is not critical since the last call.
    pub(crate) fn has_new_place(&mut self) -> bool {
        let has_place = self.free_for_others() > 0;
        let had_place = std::mem::replace(&mut self.had_place, has_place);
        has_place && !had_place
    }

    /// Connections beyond the limit, when it has come down, that have not been told to close.
    const fn surplus(&self, connections_max: u32) -> u32 {
        self.connections.saturating_sub(self.yielding).saturating_sub(connections_max)
    }

    /// Whether some path waits for a place that only a connection without work can leave to it, or there are too many.
    pub(crate) fn wants_idle_closed(&self) -> bool {
        self.free() == 0 && !self.claims.is_empty() || self.surplus(self.connections_max()) > 0
    }

    /// Whether a path with `connections` is to give one to a path that has none, or there are more than may be.
    pub(crate) fn must_yield(&self, has_work: bool, has_critical: bool, connections: u32) -> bool {
        if self.surplus(self.connections_max()) > 0 && (!has_critical || self.others() == 0) {
            return true;
        }
        let Some(first) = self.claims.first() else { return false };
        if self.free() > 0 || self.yielding as usize >= self.claims.len() {
            return false;
        }
        let is_borrowed = self.others() > self.connections_max().saturating_sub(self.reserve());
        !has_work || !has_critical && (connections > 1 || !first.other && is_borrowed)
    }

    pub(crate) fn opened(&mut self) {
        self.connections += 1;
    }

    /// Brings up to date how many connections are of paths with critical mail.
    pub(crate) fn count_critical(&mut self, before: u32, now: u32) {
        self.connections_critical = self.connections_critical - before + now;
    }

    pub(crate) fn yielded(&mut self) {
        self.yielding += 1;
    }

    pub(crate) fn closed(&mut self) {
        self.connections = self.connections.saturating_sub(1);
        self.yielding = self.yielding.saturating_sub(1).min(self.connections);
    }

    pub(crate) fn remember_idle(&mut self, path: u32) -> bool {
        let has_room = self.idle.len() < IDLE_MAX;
        if has_room {
            self.idle.push(path);
        }
        has_room
    }

    pub(crate) fn take_idle(&mut self) -> Option<u32> {
        self.idle.pop()
    }

    pub(crate) fn forget_idle(&mut self, path: u32) {
        self.idle.retain(|&idle| idle != path);
    }

    /// Takes one token.
    ///
    /// # Errors
    /// The moment at which to ask again.
    pub(crate) fn take_token(&mut self, need: Need, now: UnixMs) -> Result<(), UnixMs> {
        // What must arrive is not held up by the bytes of others; it counts among them.
        if let (Some(until), Need::Other) = (self.bytes_owed_until(now), need) {
            return Err(until);
        }
        let patience = self.patience(need);
        let Some(bucket) = self.rates.bucket.as_mut() else { return Ok(()) };
        let taken = match bucket.wait_until(now - patience) {
            Some(moment) => Err(moment + patience),
            None => bucket.take(now),
        };
        self.waited_for_rate |= taken.is_err();
        taken
    }

    /// What there is to do, and whether the rate has held it up since the last call.
    pub(crate) const fn demand(&mut self) -> Demand {
        let waited_for_rate = std::mem::replace(&mut self.waited_for_rate, false);
        Demand { ready: self.ready, connections: self.connections, waited_for_rate }
    }

    /// Takes a token for one more recipient of a transaction that goes anyway, also ahead of the rate unless critical
    /// mail waits for it.
    pub(crate) fn take_token_along(&mut self, need: Need, now: UnixMs) -> bool {
        if need == Need::Other && self.critical_ready > 0 {
            return self.take_token(need, now).is_ok();
        }
        self.rates.bucket.as_mut().is_none_or(|bucket| bucket.take_ahead(now, AHEAD))
    }

    /// For how long a token must have lain unclaimed: critical mail takes it at once; other mail waits while there
    /// is critical mail on any path, so that tokens are kept for it, but do not go to waste when it cannot use them.
    fn patience(&self, need: Need) -> Duration {
        let Some(rate) = self.limits.rate else { return Duration::ZERO };
        if need == Need::First || self.critical_ready == 0 {
            return Duration::ZERO;
        }
        let interval = rate.per() / rate.count().max(1);
        let share = self.critical_share.min(0.9);
        interval.max(BURST).mul_f32(share / (1.0 - share))
    }

    /// Puts back a token that was taken and not used.
    pub(crate) fn give_back(&mut self) {
        if let Some(bucket) = self.rates.bucket.as_mut() {
            bucket.give_back();
        }
    }

    /// Limits the bytes per time; `None` does not. What is owed stays.
    pub(crate) fn set_rate_bytes(&mut self, rate: Option<ByteRate>) {
        let before = self.rates.bytes.take();
        let changed = |rate| before.map_or(Bytes::new(rate), |bytes| Bytes { rate, ..*bytes });
        self.rates.bytes = rate.map(|rate| Box::new(changed(rate)));
    }

    /// Counts a message that is being sent.
    pub(crate) fn charge(&mut self, message_bytes: u64, now: UnixMs) {
        if let Some(bytes) = self.rates.bytes.as_mut() {
            bytes.charge(message_bytes, now);
        }
    }

    /// Until when mail waits, because what was sent still takes its time by the limit of bytes.
    pub(crate) fn bytes_owed_until(&self, now: UnixMs) -> Option<UnixMs> {
        self.rates.bytes.as_ref().and_then(|bytes| bytes.waits_until(now))
    }

    /// How long the group must have been unused before forgetting it breaks no limit.
    pub(crate) fn memory(&self) -> Duration {
        let owed = self.rates.bytes.as_ref().map_or(Duration::ZERO, |bytes| bytes.owed);
        self.limits.rate.map_or(Duration::ZERO, |rate| rate.per()).max(owed)
    }
}

fn nanoseconds(moment: UnixMs) -> u64 {
    moment.0.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use policy::Rate;

    use super::*;

    fn group(connections: u32, rate: Option<Rate>) -> Group {
        let key = GroupKey { source: 0, provider: 0, site: None };
        let limits = Limits {
            connections,
            rate,
            messages_per_connection: 100,
            recipients_per_message: 1,
            pipeline_depth: 1,
        };
        Group::new(key, limits, 0.2)
    }

    /// Tokens that `need` gets in `length_ms` when it asks at the moment it is told to.
    fn tokens(group: &mut Group, need: Need, start: UnixMs, length_ms: u64) -> u64 {
        let (mut now, mut taken) = (start, 0);
        while now.0 < start.0 + length_ms {
            match group.take_token(need, now) {
                Ok(()) => taken += 1,
                Err(moment) => {
                    assert!(moment > now, "the wait ends after now");
                    now = moment;
                }
            }
        }
        taken
    }

    #[test]
    fn other_mail_borrows_the_reserve_only_while_no_critical_waits() {
        let mut group = group(10, None);
        group.connections = 8;
        assert!(group.has_place(false, false));
        group.critical_ready = 1;
        assert!(!group.has_place(false, false));
        assert!(group.has_place(true, false));
        group.connections_critical = 1;
        assert!(group.has_place(false, false), "what critical mail uses itself counts for its reserve");
    }

    #[test]
    fn the_last_places_go_to_those_without_a_connection() {
        let mut group = group(10, None);
        group.connections = 9;
        group.add_claim(Claim { other: true, since: 0, path: 7 });
        assert!(!group.has_place(false, true));
        assert!(group.has_place(false, false));
    }

    #[test]
    fn one_connection_yields_for_each_claim() {
        let mut group = group(2, None);
        group.connections = 2;
        assert!(!group.must_yield(false, false, 2));
        group.add_claim(Claim { other: true, since: 0, path: 7 });
        assert!(group.must_yield(true, false, 2));
        assert!(!group.must_yield(true, false, 1));
        assert!(group.must_yield(false, false, 1));
        group.yielded();
        assert!(!group.must_yield(false, false, 1));
        group.closed();
        assert!(!group.must_yield(false, false, 1), "a place is free");
    }

    #[test]
    fn other_mail_leaves_its_share_of_a_slow_rate_to_critical_mail_that_does_not_come() {
        let start = UnixMs(1_700_000_000_000);
        let mut group = group(1, Rate::new(3600, Duration::from_secs(3600)));
        assert_eq!(tokens(&mut group, Need::Other, start, 100_000), 100);
        group.critical_ready = 1;
        assert_eq!(tokens(&mut group, Need::Other, start + Duration::from_secs(100), 100_000), 80);
    }

    #[test]
    fn a_fast_rate_loses_nothing_by_the_reserve() {
        let start = UnixMs(1_700_000_000_000);
        let mut group = group(1, Some(Rate::per_second(1000)));
        group.critical_ready = 1;
        let taken = tokens(&mut group, Need::Other, start, 10_000);
        assert!((9_900..=10_100).contains(&taken), "{taken}");
    }

    #[test]
    fn bytes_are_owed_and_worked_off_and_critical_mail_does_not_wait_for_them() {
        let start = UnixMs(1_700_000_000_000);
        let mut group = group(1, None);
        group.set_rate_bytes(ByteRate::new(1_000_000, Duration::from_secs(1)));
        group.charge(100_000, start);
        assert_eq!(group.take_token(Need::Other, start), Ok(()), "a burst of a tenth of a second");
        group.charge(5_000_000, start);
        let until = start + Duration::from_secs(5);
        assert_eq!(group.take_token(Need::Other, start), Err(until));
        assert_eq!(group.take_token(Need::First, start), Ok(()));
        assert!(!group.demand().waited_for_rate, "the rate is not what is short");
        assert!(group.memory() >= Duration::from_secs(5), "what is owed is not forgotten");
        group.set_rate_bytes(ByteRate::new(2_000_000, Duration::from_secs(1)));
        assert_eq!(group.take_token(Need::Other, start), Err(until), "what is owed stays");
        assert_eq!(group.take_token(Need::Other, until), Ok(()));
        group.set_rate_bytes(None);
        assert_eq!(group.take_token(Need::Other, start), Ok(()));
    }

    #[test]
    fn small_messages_at_a_fast_rate_of_bytes_are_counted_to_the_nanosecond() {
        let start = UnixMs(1_700_000_000_000);
        let mut group = group(1, None);
        group.set_rate_bytes(ByteRate::new(100_000_000, Duration::from_secs(1)));
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(10) {
            match group.take_token(Need::Other, now) {
                Ok(()) => {
                    group.charge(2_000, now);
                    sent += 2_000_u64;
                }
                Err(moment) => {
                    assert!(moment > now, "the wait ends after now");
                    now = moment;
                }
            }
        }
        assert!((1_000_000_000..=1_011_000_000).contains(&sent), "{sent} bytes in ten seconds");
    }
}
