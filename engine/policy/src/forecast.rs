//! When a message will arrive: arithmetic on what waits and what may go, for admission, `why` and the end of a campaign.
//!
//! It assumes that what holds now goes on: the same limits, nothing new in the queue, no refusal. It refuses to guess those.

use std::time::Duration;

use mail::Class;

/// What one path looks like now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathState {
    /// Recipients that are ready to go, by class in the order of [`Class::ALL`].
    pub ready: [u64; 4],
    /// Recipients a second that the budget lets go; `None`: unlimited.
    pub rate: Option<f64>,
    /// Connections that are open.
    pub connections: u32,
    /// Connections that may be open.
    pub connections_max: u32,
    /// How long a connection is busy with one recipient, in milliseconds; below 1 where transactions overlap.
    pub transaction_ms: f64,
    /// How long a new connection takes, in milliseconds.
    pub connect_ms: f64,
    /// The weights of the classes, in the order of [`Class::ALL`].
    pub weights: [u32; 4],
    /// The share of the path that is kept for critical mail, 0 to 1.
    pub critical_share: f64,
    /// Nothing goes before this has passed: a suspension, a rest, the next slice of a warm-up.
    pub rests: Duration,
}

impl Default for PathState {
    /// An idle path of one connection that takes 100 ms for a message and for being made.
    fn default() -> Self {
        Self {
            ready: [0; 4],
            rate: None,
            connections: 0,
            connections_max: 1,
            transaction_ms: 100.0,
            connect_ms: 100.0,
            weights: [16, 8, 4, 1],
            critical_share: 0.1,
            rests: Duration::ZERO,
        }
    }
}

/// When a message arrives, and what it is that takes so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// From now until it is accepted by its receiver.
    pub arrives: Duration,
    /// Recipients that go before it.
    pub ahead: u64,
    /// What bounds it.
    pub bound: Bound,
}

/// What bounds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Nothing: it goes at once.
    Nothing,
    /// The recipients a second of the budget.
    Rate,
    /// The connections of the budget.
    Connections,
    /// The path rests.
    Rest,
}

impl Bound {
    /// The reason code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Rate => "rate",
            Self::Connections => "connections",
            Self::Rest => "rest",
        }
    }
}

/// The longest that is forecast: beyond it nothing of what holds now will still hold.
pub const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl PathState {
    /// Recipients a second that can go, and what bounds them.
    #[must_use]
    pub fn capacity(&self) -> (f64, Bound) {
        let connections = f64::from(self.connections_max.max(1));
        let by_connections = connections * 1000.0 / self.transaction_ms.max(0.001);
        match self.rate {
            Some(rate) if rate < by_connections => (rate.max(0.0), Bound::Rate),
            _ => (by_connections, Bound::Connections),
        }
    }

    /// When a message of `class` arrives that comes now, behind all of its class.
    #[must_use]
    pub fn expected(&self, class: Class) -> Forecast {
        self.at_position(class, self.ready[class.index()])
    }

    /// When the message of `class` arrives before which `position` others of its class go (0: it is the next of them).
    ///
    /// Critical mail goes before all others, which at most finish what is on the wire. The other classes share what is left
    /// by their weights, and a class that has nothing leaves its share to the others.
    #[must_use]
    pub fn at_position(&self, class: Class, position: u64) -> Forecast {
        let (capacity, bound) = self.capacity();
        let ahead = self.ahead(class, position);
        let queueing = if capacity > 0.0 { ahead / capacity } else { f64::INFINITY };
        let seconds = self.rests.as_secs_f64() + self.start_seconds(class) + queueing;
        let seconds = seconds + self.transaction_ms.max(0.0) / 1000.0;
        let bound = match () {
            () if self.rests.as_secs_f64() > queueing => Bound::Rest,
            () if ahead < 1.0 => Bound::Nothing,
            () => bound,
        };
        Forecast { arrives: duration(seconds), ahead: ahead.round() as u64, bound }
    }

    /// When the last of all that waits for the path arrives.
    #[must_use]
    pub fn drained(&self) -> Duration {
        let all: u64 = self.ready.iter().sum();
        match all.checked_sub(1) {
            Some(ahead) => {
                let (capacity, _) = self.capacity();
                let queueing = if capacity > 0.0 { ahead as f64 / capacity } else { f64::INFINITY };
                duration(
                    self.rests.as_secs_f64()
                        + self.start_seconds(Class::Bulk)
                        + queueing
                        + self.transaction_ms / 1000.0,
                )
            }
            None => Duration::ZERO,
        }
    }

    /// Until the first transaction can begin: a connection that is there and free, a new one, or the next that ends.
    fn start_seconds(&self, class: Class) -> f64 {
        let busy = self.ready.iter().any(|&count| count > 0);
        let reserved = f64::from(self.connections_max) * self.critical_share >= 1.0;
        let ms = match () {
            () if self.connections == 0 => self.connect_ms,
            () if !busy || (class == Class::Critical && reserved) => 0.0,
            // The first of n that are spread evenly over their transactions.
            () => self.transaction_ms / (f64::from(self.connections) + 1.0),
        };
        ms.max(0.0) / 1000.0
    }

    /// Recipients of all classes that go before the one of `class` at `position` of it.
    fn ahead(&self, class: Class, position: u64) -> f64 {
        let critical = self.ready[Class::Critical.index()] as f64;
        if class == Class::Critical {
            return position as f64;
        }
        let own = (position + 1) as f64;
        let mut waiting = self.ready.map(|count| count as f64);
        waiting[Class::Critical.index()] = 0.0;
        waiting[class.index()] = own;
        critical + served_until(class.index(), waiting, self.weights.map(|weight| f64::from(weight.max(1))))
            - 1.0
    }
}

/// How many of all are served until the last of `class` is, when each class that has something gets its weight's share.
fn served_until(class: usize, mut waiting: [f64; 4], weights: [f64; 4]) -> f64 {
    let mut served = 0.0;
    // Each round ends with a class that has nothing left.
    for _ in 0..waiting.len() {
        let active: f64 = (0..4).filter(|&one| waiting[one] > 0.0).map(|one| weights[one]).sum();
        let rounds = (0..4).filter(|&one| waiting[one] > 0.0).map(|one| waiting[one] / weights[one]);
        let rounds = rounds.fold(f64::INFINITY, f64::min);
        if !rounds.is_finite() {
            break;
        }
        served += rounds * active;
        let done = waiting[class] / weights[class] <= rounds;
        for one in 0..4 {
            let rest = waiting[one] - rounds * weights[one];
            waiting[one] = if rest > 1e-9 { rest } else { 0.0 };
        }
        if done {
            break;
        }
    }
    served
}

/// When a campaign ends whose recipients wait on several paths, each given with its class and how many of that class go before
/// and with the campaign's last: when the slowest path has served it.
#[must_use]
pub fn campaign_ends<'a>(paths: impl IntoIterator<Item = (&'a PathState, Class, u64)>) -> Duration {
    let ends = paths.into_iter().filter(|&(_, _, count)| count > 0);
    ends.map(|(path, class, count)| path.at_position(class, count - 1).arrives).max().unwrap_or_default()
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(LONGEST, |duration| duration.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(ready: [u64; 4], rate: f64) -> PathState {
        PathState { ready, rate: Some(rate), connections: 10, connections_max: 10, ..PathState::default() }
    }

    #[test]
    fn what_is_ahead_and_when_it_arrives() {
        let cases = [
            // ready, rate, class, recipients ahead, seconds without the transaction and the wait for a connection
            ([0, 0, 0, 0], 10.0, Class::Bulk, 0, 0.0),
            ([0, 0, 0, 1000], 10.0, Class::Bulk, 1000, 100.0),
            // Critical mail does not see a million of bulk.
            ([0, 0, 0, 1_000_000], 10.0, Class::Critical, 0, 0.0),
            ([30, 0, 0, 1_000_000], 10.0, Class::Critical, 30, 3.0),
            // One of bulk goes for each eight of transactional.
            ([0, 800, 0, 1_000_000], 10.0, Class::Transactional, 900, 90.0),
            // The last of bulk goes behind everything.
            ([10, 100, 100, 1000], 10.0, Class::Bulk, 1210, 121.0),
        ];
        for (ready, rate, class, ahead, seconds) in cases {
            let forecast = path(ready, rate).expected(class);
            let more = forecast.arrives.as_secs_f64() - seconds;
            assert_eq!(forecast.ahead, ahead, "{class} {ready:?}");
            assert!((0.09..0.13).contains(&more), "{class} {ready:?}: {:?}", forecast.arrives);
        }
    }

    #[test]
    fn connections_bound_where_the_rate_does_not() {
        let path = PathState { rate: None, ..path([0, 0, 0, 99], 1.0) };
        assert_eq!(path.capacity(), (100.0, Bound::Connections));
        assert_eq!(path.expected(Class::Bulk).bound, Bound::Connections);
        assert!(path.drained() < Duration::from_millis(1100));
    }

    #[test]
    fn a_rest_a_dead_path_and_an_idle_one() {
        let rests = PathState { rests: Duration::from_secs(600), ..path([0; 4], 1.0) };
        assert_eq!(rests.expected(Class::Critical).bound, Bound::Rest);
        assert!(rests.expected(Class::Critical).arrives >= Duration::from_secs(600));
        assert_eq!(path([0, 0, 0, 5], 0.0).expected(Class::Bulk).arrives, LONGEST);
        let idle = PathState::default();
        assert_eq!(idle.expected(Class::Personal).arrives, Duration::from_millis(200), "connect, then send");
        assert_eq!(idle.drained(), Duration::ZERO);
    }

    #[test]
    fn a_campaign_ends_with_its_slowest_path() {
        let (fast, slow) = (path([0, 0, 0, 1000], 100.0), path([0, 0, 0, 50], 1.0));
        let ends = campaign_ends([(&fast, Class::Bulk, 1000), (&slow, Class::Bulk, 50)]);
        assert!((49..51).contains(&ends.as_secs()), "{ends:?}");
        assert_eq!(campaign_ends([]), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn later_positions_arrive_later_and_nobody_later_than_all(
            ready in proptest::array::uniform4(0_u64..100_000), rate in 0.1_f64..1000.0,
        ) {
            let path = path(ready, rate);
            for class in Class::ALL {
                let count = ready[class.index()];
                let (first, last) = (path.at_position(class, 0), path.at_position(class, count));
                prop_assert!(first.arrives <= last.arrives);
                let all: u64 = ready.iter().sum();
                prop_assert!(last.ahead <= all, "{} of {all}", last.ahead);
            }
        }
    }
}
