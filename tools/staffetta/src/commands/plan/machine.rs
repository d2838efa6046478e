//! What the machine could do of a plan: the receivers decide when a mailing is over, unless the machine is slower than they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use capacity::{Limit, Machine, Signing, Way, Work};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use simulator::Report;
use world::World;

use crate::ui::human;

/// Seconds of a step of the curve of deliveries.
const STEP_S: f64 = 10.0;
/// Headers and routing of a message beside its text are in the coefficients: a message has at least so many bytes.
const BYTES_MIN: u64 = 512;

/// Options of `plan` that are about the machine.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The machine that is to send, as `staffetta bench --write` wrote it [default: one that comes with the program]
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    machine: Option<PathBuf>,
    /// Cores for the engine [default: those of the machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Machine")]
    cores: Option<u32>,
    /// Bytes of a message [default: the mean of the world's mail]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000), help_heading = "Machine")]
    bytes: Option<u64>,
    /// How messages are signed
    #[arg(long, value_enum, default_value_t = Signed::Rsa, help_heading = "Machine")]
    signed: Signed,
    /// Without TLS to the receivers
    #[arg(long, help_heading = "Machine")]
    plain: bool,
}

/// The kinds of signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Signed {
    /// Not at all
    None,
    /// RSA-2048, which every receiver verifies
    Rsa,
    /// Ed25519
    Ed25519,
}

/// A machine and what it is to do with each message.
pub(crate) struct Station {
    machine: Machine,
    is_own: bool,
    cores: usize,
    work: Work,
    round_trip: Duration,
}

/// What becomes of a plan on a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// Messages a second that the machine can do.
    per_s: f64,
    /// What is at its end then: the cores or the disk.
    ends: Limit,
    /// Attempts a second in the busiest ten seconds of the plan.
    busiest_per_s: f64,
    /// Cores that are busy then.
    cores_busiest: f64,
    /// When it would be over, in seconds, were receivers all that counts; none when it never is.
    receivers_finish_s: Option<f64>,
    /// When the machine is through with what they allow at each moment.
    machine_finish_s: f64,
    /// How long it would take for all of the plan's attempts at full speed, in seconds.
    alone_s: f64,
    /// Connections that the busiest ten seconds need, one message on each at a time.
    connections: u64,
}

impl Options {
    /// Reads the machine file; sizes and ways come from the world where they were not said.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(super) fn station(&self, world: &str, round_trip: Duration) -> anyhow::Result<Station> {
        let machine = self.machine.as_deref().map_or_else(|| Ok(Machine::shipped()), read)?;
        let world = World::from_toml(world, 0)?;
        let load = world.load();
        let campaigns = mean_bytes(load.campaigns.iter().map(|one| (one.recipients as f64, one.size)));
        let streams = mean_bytes(load.streams.iter().map(|one| (1.0, one.size)));
        let way = if campaigns.is_some() { Way::Campaign } else { Way::Relay };
        let bytes = self.bytes.or(campaigns).or(streams).unwrap_or(BYTES_MIN).max(BYTES_MIN);
        let signing = match self.signed {
            Signed::None => Signing::None,
            Signed::Rsa => Signing::Rsa2048,
            Signed::Ed25519 => Signing::Ed25519,
        };
        let cores = self.cores.map_or(machine.facts.cores, |cores| cores as usize);
        let work = Work { way, bytes, signing, tls: !self.plain };
        Ok(Station { machine, is_own: self.machine.is_some(), cores, work, round_trip })
    }
}

fn read(file: &Path) -> anyhow::Result<Machine> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{name} cannot be read; `staffetta bench --write {name}` makes it"))?;
    Machine::from_toml(&text)
        .with_context(|| format!("{name} is no machine file; `staffetta bench --write {name}` makes one"))
}

/// The mean size, each counted as often as it is sent; none of nothing.
fn mean_bytes(sizes: impl Iterator<Item = (f64, u32)>) -> Option<u64> {
    let (count, bytes) = sizes.fold((0.0, 0.0), |(count, bytes), (weight, size)| {
        (count + weight, bytes + weight * f64::from(size))
    });
    (count > 0.0).then(|| (bytes / count) as u64)
}

impl Station {
    /// What becomes of a plan here. An attempt that is put off is counted like a delivery, which is more than it costs.
    pub(super) fn judge(&self, report: &Report) -> Judgement {
        let curve = report.curve(|_| true);
        let delivered = curve.total().max(1) as f64;
        let attempts = report.attempts.total.max(1) as f64 / delivered;
        let due: Vec<f64> = steps(&curve.points()).into_iter().map(|sum| sum * attempts).collect();
        let busiest_per_s = due.iter().copied().fold(0.0, f64::max) / STEP_S;
        let path = capacity::Path {
            round_trip: self.round_trip,
            // As many as are needed: they are told, and the rehearsal had those that the receivers allow.
            connections: u32::MAX,
            in_flight: 1,
            round_trips: 1,
            allowed_per_s: None,
        };
        let (ends, per_s) = self.machine.rate(self.work, self.cores, &path).limit();
        Judgement {
            per_s,
            ends,
            busiest_per_s,
            cores_busiest: self.machine.cores_for(self.work, busiest_per_s),
            receivers_finish_s: report.speed.finish_s,
            machine_finish_s: capacity::finish_s(due, STEP_S, per_s),
            alone_s: report.attempts.total as f64 / per_s,
            connections: path.connections_for(busiest_per_s),
        }
    }

    /// The work in words.
    fn label(&self) -> String {
        let signing = match self.work.signing {
            Signing::None => "unsigned",
            Signing::Rsa2048 => "RSA-2048",
            Signing::Ed25519 => "Ed25519",
        };
        let tls = if self.work.tls { "TLS" } else { "no TLS" };
        format!("{}, {signing}, {tls}", human::bytes(self.work.bytes))
    }
}

impl Judgement {
    /// Whether the machine is slower than what the receivers allow.
    fn is_machine(&self) -> bool {
        self.busiest_per_s > self.per_s
    }

    /// When it is over with both counted; none when the receivers never let it.
    fn finish_s(&self) -> Option<f64> {
        let receivers = self.receivers_finish_s?;
        Some(if self.is_machine() { self.machine_finish_s.max(receivers) } else { receivers })
    }

    fn cores_needed(&self) -> u64 {
        (self.cores_busiest.ceil() as u64).max(1)
    }
}

/// What was delivered in each step, from the sums.
fn steps(points: &[(f64, f64)]) -> Vec<f64> {
    let before = std::iter::once(0.0).chain(points.iter().map(|point| point.1));
    points.iter().zip(before).map(|(point, before)| point.1 - before).collect()
}

/// Seconds in words; as long as can be where the figures of a machine file make it longer than that.
fn span(seconds: f64) -> String {
    human::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// What is said of a plan on a machine.
pub(super) fn render(station: &Station, judgement: &Judgement) -> String {
    let Station { machine, is_own, cores, work, .. } = station;
    let cost = machine.costs.of(*work);
    let whose = if *is_own { "the measured machine" } else { "the machine that comes with the program" };
    let over = |seconds: Option<f64>| match seconds {
        Some(seconds) => format!("over after {}", span(seconds)),
        None => "never over".to_owned(),
    };
    let cores_needed = format!("{} would do", human::plural(judgement.cores_needed(), "core"));
    let limit = if judgement.is_machine() {
        let (what, cure) = match judgement.ends {
            Limit::Disk => ("Its disk", "a faster one is needed"),
            _ => ("The machine", cores_needed.as_str()),
        };
        format!(
            "{what} is the limit at the busiest moment: {} instead of {}; {cure}.",
            over(judgement.finish_s()),
            over(judgement.receivers_finish_s),
        )
    } else {
        let finish = over(judgement.receivers_finish_s);
        format!("The receivers are the limit: {finish}; {cores_needed}.")
    };
    format!(
        "\nOn {whose} ({}, {}): {:.0} µs of CPU a message ({}), {} an hour and core, {} with all cores; {} for all of the plan at full speed.\n\
         The plan needs {} at its busiest: {:.2} cores, and {} that are {} away. {limit}\n",
        crate::ui::table::printable(&machine.facts.cpu),
        human::plural(*cores as u64, "core"),
        cost.us(),
        station.label(),
        human::count(cost.per_core_hour() as u64),
        human::rate(judgement.per_s),
        span(judgement.alone_s),
        human::rate(judgement.busiest_per_s),
        judgement.cores_busiest,
        human::plural(judgement.connections.max(1), "connection"),
        human::duration(station.round_trip),
    )
}

/// The same of a plan, for programs.
pub(super) fn to_json(station: &Station, judgement: &Judgement) -> Value {
    let cost = station.machine.costs.of(station.work);
    json!({
        "facts": station.machine.facts, "cores": station.cores, "work": station.work, "cpu_us": cost.us(),
        "per_core_hour": cost.per_core_hour(), "per_s": judgement.per_s, "ends": judgement.ends, "busiest_per_s": judgement.busiest_per_s,
        "cores_busiest": judgement.cores_busiest, "cores_needed": judgement.cores_needed(), "connections": judgement.connections,
        "receivers_finish_s": judgement.receivers_finish_s, "finish_s": judgement.finish_s(), "alone_s": judgement.alone_s,
        "limit": if judgement.is_machine() { "machine" } else { "receivers" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulator::{Options as Rehearsal, rehearse};

    fn station(cores: usize, us: f64) -> Station {
        let mut machine = Machine::shipped();
        machine.costs.campaign = capacity::Line { message_us: us, kib_us: 0.0 };
        let work = Work { way: Way::Campaign, bytes: 10_240, signing: Signing::None, tls: false };
        Station { machine, is_own: true, cores, work, round_trip: Duration::from_millis(40) }
    }

    #[test]
    fn a_slow_machine_is_the_limit_and_a_fast_one_is_not() {
        let text = super::super::text_of("calm-day").expect("a shipped world");
        let report =
            rehearse(&text, &Rehearsal { volume: Some(5_000), ..Rehearsal::default() }).expect("a report");
        let fast = station(2, 20.0).judge(&report);
        assert!(!fast.is_machine() && fast.finish_s() == report.speed.finish_s, "{fast:?}");
        assert_eq!(fast.cores_needed(), 1);
        // A second a message: never as fast as what the receivers allow.
        let slow = station(2, 1e6).judge(&report);
        assert!(slow.is_machine() && slow.finish_s() > report.speed.finish_s, "{slow:?}");
        let attempts = report.attempts.total as f64;
        assert!(slow.finish_s().is_some_and(|seconds| seconds >= attempts / 2.0 - STEP_S), "{slow:?}");
        assert!(slow.cores_needed() > 2);
        // As many cores as it says are needed, and the receivers are the limit again.
        let enough = station(slow.cores_needed() as usize, 1e6).judge(&report);
        assert!(!enough.is_machine(), "{enough:?}");
        assert!(render(&station(2, 1e6), &slow).contains("The machine is the limit"));
        let never = station(2, 1e300);
        assert!(render(&never, &never.judge(&report)).contains("The machine is the limit"));
        assert_eq!(to_json(&station(2, 20.0), &fast)["limit"], "receivers");
    }

    #[test]
    fn sizes_and_ways_come_from_the_world() {
        let options =
            Options { machine: None, cores: Some(3), bytes: None, signed: Signed::Rsa, plain: false };
        let text = super::super::text_of("calm-day").expect("a shipped world");
        let station = options.station(&text, Duration::ZERO).expect("a station");
        assert_eq!((station.cores, station.work.tls, station.work.signing), (3, true, Signing::Rsa2048));
        assert!(station.work.bytes >= BYTES_MIN && !station.is_own);
        assert_eq!(mean_bytes([(1.0, 100), (3.0, 500)].into_iter()), Some(400));
        assert_eq!(mean_bytes(std::iter::empty()), None);
    }

    #[test]
    fn a_file_that_is_no_machine_is_named_with_its_cure() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("m.toml");
        for is_written in [false, true] {
            if is_written {
                std::fs::write(&file, "[facts]\n").expect("written");
            }
            let error = format!("{:#}", read(&file).expect_err("refused"));
            assert!(error.contains("m.toml") && error.contains("staffetta bench --write"), "{error}");
        }
    }
}
