//! How many messages a second come through, and what ends it: processor, disk, connections or a receiver's limit.

use std::time::Duration;

use serde::Serialize;

use crate::cost::{Way, Work};
use crate::machine::Machine;

/// What the spool adds to a message that it keeps: envelope, header, outcome.
const SPOOL_OVERHEAD_BYTES: f64 = 1024.0;
/// What the spool holds of one recipient of a campaign; perf/ holds the engine to it.
const SPOOL_RECIPIENT_BYTES: f64 = 300.0;

/// The way to the receivers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// From a command to its reply: the line both ways, and the time that the receiver takes for it.
    pub round_trip: Duration,
    /// Open connections, all receivers together.
    pub connections: u32,
    /// Transactions on the wire of one connection at a time, at least 1.
    pub in_flight: u32,
    /// Round trips of one message: 1 in one flight (PIPELINING and CHUNKING), 2 with PIPELINING alone, 4 in lock-step.
    pub round_trips: u32,
    /// Messages a second that the receivers allow, all together; none when nobody limits.
    pub allowed_per_s: Option<f64>,
}

impl Path {
    /// Messages a second that so many connections carry; infinite when replies take no time.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        let message_s = self.round_trip.as_secs_f64() * f64::from(self.round_trips.max(1));
        f64::from(self.connections) * f64::from(self.in_flight.max(1)) / message_s
    }

    /// Connections that it takes to carry so many messages a second.
    #[must_use]
    pub fn connections_for(&self, per_s: f64) -> u64 {
        let message_s = self.round_trip.as_secs_f64() * f64::from(self.round_trips.max(1));
        (per_s * message_s / f64::from(self.in_flight.max(1))).ceil() as u64
    }
}

/// What ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The cores are busy.
    Processor,
    /// The spool's disk takes no more.
    Disk,
    /// The connections wait for replies.
    Latency,
    /// The receivers allow no more.
    Provider,
}

/// Messages a second, as each limit alone would have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// That the cores can do.
    pub processor_per_s: f64,
    /// That the disk can hold; infinite for what is not written.
    pub disk_per_s: f64,
    /// That the connections carry.
    pub latency_per_s: f64,
    /// That the receivers allow; infinite when nobody limits.
    pub provider_per_s: f64,
}

impl Rate {
    /// The limit that is met first, and messages a second up to there.
    #[must_use]
    pub fn limit(&self) -> (Limit, f64) {
        let all = [
            (Limit::Processor, self.processor_per_s),
            (Limit::Disk, self.disk_per_s),
            (Limit::Latency, self.latency_per_s),
            (Limit::Provider, self.provider_per_s),
        ];
        all.into_iter().min_by(|one, other| one.1.total_cmp(&other.1)).expect("there are four")
    }

    /// Messages an hour.
    #[must_use]
    pub fn per_hour(&self) -> f64 {
        self.limit().1 * 3600.0
    }
}

impl Machine {
    /// What this machine does of the work with so many cores for the engine. What is only taken in meets no receiver.
    #[must_use]
    pub fn rate(&self, work: Work, cores: usize, path: &Path) -> Rate {
        let leaves = work.way != Way::Accept;
        let outside = |per_s: f64| if leaves { per_s } else { f64::INFINITY };
        Rate {
            processor_per_s: cores as f64 * 1e6 / self.costs.of(work).us(),
            disk_per_s: self.disk.write_mb_per_s * 1e6 / spool_bytes(work),
            latency_per_s: outside(path.per_s()),
            provider_per_s: outside(path.allowed_per_s.unwrap_or(f64::INFINITY)),
        }
    }

    /// Cores that the engine needs for so many messages a second of this work; a part of one is a part.
    #[must_use]
    pub fn cores_for(&self, work: Work, per_s: f64) -> f64 {
        per_s * self.costs.of(work).us() / 1e6
    }
}

fn spool_bytes(work: Work) -> f64 {
    match work.way {
        Way::Relay | Way::Accept => work.bytes as f64 + SPOOL_OVERHEAD_BYTES,
        Way::Campaign => SPOOL_RECIPIENT_BYTES,
        // The message is there already; what became of it is written.
        Way::Send => SPOOL_OVERHEAD_BYTES,
    }
}

/// When a machine that does `per_s` is through with messages that fall due in steps of `step_s` seconds each: what it cannot do in its step waits
/// for the next. In seconds from the beginning of the first step; 0 when there is nothing to do.
#[must_use]
pub fn finish_s(due: impl IntoIterator<Item = f64>, step_s: f64, per_s: f64) -> f64 {
    let (mut waiting, mut steps, mut finish) = (0.0_f64, 0_u32, 0.0);
    for due in due {
        let begun = f64::from(steps) * step_s;
        steps += 1;
        waiting += due;
        if waiting > 0.0 {
            finish = begun + if due > 0.0 { step_s } else { (waiting / per_s).min(step_s) };
        }
        waiting = (waiting - per_s * step_s).max(0.0);
    }
    if waiting > 0.0 { f64::from(steps) * step_s + waiting / per_s } else { finish }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Signing;
    use crate::machine::tests::machine;

    const WORK: Work = Work { way: Way::Relay, bytes: 10_240, signing: Signing::None, tls: false };

    fn path(ms: u64, connections: u32) -> Path {
        Path {
            round_trip: Duration::from_millis(ms),
            connections,
            in_flight: 1,
            round_trips: 1,
            allowed_per_s: None,
        }
    }

    #[test]
    fn far_receivers_bound_by_latency_and_near_ones_by_the_processor() {
        let mut machine = machine();
        machine.disk.write_mb_per_s = 10_000.0;
        let far = machine.rate(WORK, 2, &path(100, 20));
        assert_eq!(far.limit(), (Limit::Latency, 200.0));
        // 60 µs a message.
        let near = machine.rate(WORK, 2, &path(0, 20));
        let (limit, per_s) = near.limit();
        assert!(limit == Limit::Processor && (per_s - 33_333.3).abs() < 0.1, "{near:?}");
        // In the first regime connections help and cores do not; in the second it is the other way round.
        assert_eq!(machine.rate(WORK, 4, &path(100, 20)).limit().1, 200.0);
        assert_eq!(machine.rate(WORK, 2, &path(100, 40)).limit().1, 400.0);
        assert!((machine.rate(WORK, 4, &path(0, 20)).per_hour() / near.per_hour() - 2.0).abs() < 1e-9);
        assert!((machine.rate(WORK, 2, &path(0, 40)).limit().1 - per_s).abs() < 1e-9);
    }

    #[test]
    fn more_in_flight_and_fewer_round_trips_are_worth_connections() {
        let deep = Path { in_flight: 8, ..path(40, 10) };
        let slow = Path { round_trips: 4, ..path(40, 10) };
        assert_eq!((deep.per_s(), path(40, 10).per_s(), slow.per_s()), (2000.0, 250.0, 62.5));
        for path in [deep, slow] {
            assert_eq!(path.connections_for(path.per_s()), 10);
        }
    }

    #[test]
    fn disk_and_receivers_bound_too() {
        let machine = machine();
        let limited = Path { allowed_per_s: Some(50.0), ..path(0, 1) };
        assert_eq!(machine.rate(WORK, 2, &limited).limit(), (Limit::Provider, 50.0));
        // 100 MB/s of 11 KiB each.
        let (limit, per_s) = machine.rate(WORK, 2, &path(0, 1)).limit();
        assert!(limit == Limit::Disk && (per_s - 1e8 / 11_264.0).abs() < 1e-6, "{limit:?} {per_s}");
        let taken = machine.rate(Work { way: Way::Accept, ..WORK }, 2, &limited);
        assert!(taken.provider_per_s.is_infinite() && taken.latency_per_s.is_infinite());
    }

    #[test]
    fn cores_and_rate_are_two_sides_of_one_cost() {
        let machine = machine();
        for cores in [1, 2, 8] {
            let rate = machine.rate(WORK, cores, &path(0, 1)).processor_per_s;
            assert!((machine.cores_for(WORK, rate) - cores as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn what_a_step_cannot_do_waits_for_the_next() {
        assert_eq!(finish_s([], 10.0, 5.0), 0.0);
        // Enough for all: the end is that of the last step in which something fell due.
        assert_eq!(finish_s([10.0, 20.0, 0.0], 10.0, 5.0), 20.0);
        // 50 a step: 200 take four steps, whenever they fall due.
        assert_eq!(finish_s([200.0], 10.0, 5.0), 40.0);
        assert_eq!(finish_s([100.0, 0.0, 0.0, 0.0], 10.0, 5.0), 20.0);
        assert_eq!(finish_s([60.0, 0.0, 0.0], 10.0, 5.0), 12.0);
    }
}
