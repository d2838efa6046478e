//! A machine as the model knows it: what it is, what each stage costs on it, and what its disk does. It is written and read as TOML.

use serde::{Deserialize, Serialize};

/// A machine file cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It is no TOML, or a key is missing, unknown or of another type.
    #[error("{0}")]
    Form(String),
    /// A figure that no machine has.
    #[error("{key} is {value}; it must be a number, {bound}")]
    Figure {
        /// Which.
        key: &'static str,
        /// What stands there.
        value: f64,
        /// What may stand there.
        bound: &'static str,
    },
}

/// Everything that is known of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What it is.
    pub facts: Facts,
    /// What messages cost on it.
    pub costs: Costs,
    /// What its disk does.
    pub disk: Disk,
}

/// What a machine is, and how it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// When it was measured, RFC 3339.
    pub at: String,
    /// The engine's version.
    pub version: String,
    /// Whether the engine was compiled with optimisation.
    pub optimised: bool,
    /// The processor's name.
    pub cpu: String,
    /// Its cores, as far as the engine may use them.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The file system that held the spool.
    pub filesystem: String,
    /// Processes that were running or waiting to run before: the load average of the last minute. Far from 0, figures are those of a
    /// machine that did something else too.
    pub load_before: f64,
    /// How many times each figure was measured; the median is kept.
    pub rounds: u32,
}

/// A cost that grows with the size: so much for each message, and so much for each KiB of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Microseconds of processor time for a message of no size.
    pub message_us: f64,
    /// Microseconds more for each 1,024 bytes.
    pub kib_us: f64,
}

impl Line {
    /// Microseconds for a message of so many bytes.
    #[must_use]
    pub fn at(self, bytes: u64) -> f64 {
        self.message_us + self.kib_us * bytes as f64 / 1024.0
    }
}

/// The coefficients: microseconds of the engine's processor time, user and kernel, of all its threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// An RSA-2048 signature, without the hash of the body.
    pub rsa_2048_us: f64,
    /// An Ed25519 signature, without the hash of the body.
    pub ed25519_us: f64,
    /// Hashing the body for a signature, each 1,024 bytes.
    pub body_hash_kib_us: f64,
    /// SMTP in and SMTP out at the same time.
    pub relay: Line,
    /// SMTP in.
    pub accept: Line,
    /// SMTP out of a full queue.
    pub send: Line,
    /// A recipient of a campaign, by the size of the template.
    pub campaign: Line,
    /// TLS on the way out, on connections that are open.
    pub tls: Line,
}

/// What the disk under the spool does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Microseconds to make 4 KiB durable (`write`, `fdatasync`), the median.
    pub commit_p50_us: f64,
    /// The same, 99 of 100 within.
    pub commit_p99_us: f64,
    /// Megabytes (of a million bytes) made durable a second, written in large pieces.
    pub write_mb_per_s: f64,
}

/// The machine that comes with the program.
const SHIPPED: &str = include_str!("../data/machine.toml");

impl Machine {
    /// Reads a machine file.
    ///
    /// # Errors
    /// When it has not the form or a figure is impossible; the fault names key and line as far as they are known.
    pub fn from_toml(text: &str) -> Result<Self, Fault> {
        let machine: Self = toml::from_str(text).map_err(|error| Fault::Form(error.to_string()))?;
        machine.check()?;
        Ok(machine)
    }

    /// The machine file.
    ///
    /// # Errors
    /// When a figure cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, Fault> {
        toml::to_string(self).map_err(|error| Fault::Form(error.to_string()))
    }

    /// The machine that comes with the program: a measured one, which need not be like any other.
    ///
    /// # Panics
    /// Never: its file is compiled in, and a test reads it.
    #[must_use]
    pub fn shipped() -> Self {
        Self::from_toml(SHIPPED).expect("the machine that is compiled in is a valid one")
    }

    fn check(&self) -> Result<(), Fault> {
        let Costs { rsa_2048_us, ed25519_us, body_hash_kib_us, relay, accept, send, campaign, tls } =
            self.costs;
        let ways = [
            ("costs.relay.message_us", relay.message_us),
            ("costs.accept.message_us", accept.message_us),
            ("costs.send.message_us", send.message_us),
            ("costs.campaign.message_us", campaign.message_us),
            ("disk.write_mb_per_s", self.disk.write_mb_per_s),
        ];
        let others = [
            ("costs.relay.kib_us", relay.kib_us),
            ("costs.accept.kib_us", accept.kib_us),
            ("costs.send.kib_us", send.kib_us),
            ("costs.campaign.kib_us", campaign.kib_us),
            ("costs.tls.message_us", tls.message_us),
            ("costs.tls.kib_us", tls.kib_us),
            ("costs.rsa_2048_us", rsa_2048_us),
            ("costs.ed25519_us", ed25519_us),
            ("costs.body_hash_kib_us", body_hash_kib_us),
            ("disk.commit_p50_us", self.disk.commit_p50_us),
            ("disk.commit_p99_us", self.disk.commit_p99_us),
        ];
        let fault = |(key, value), bound| Err(Fault::Figure { key, value, bound });
        if let Some(&found) = ways.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return fault(found, "above 0");
        }
        if let Some(&found) = others.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            return fault(found, "0 or more");
        }
        if self.facts.cores == 0 { fault(("facts.cores", 0.0), "at least 1") } else { Ok(()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A machine of round figures.
    pub(crate) fn machine() -> Machine {
        let line = |message_us, kib_us| Line { message_us, kib_us };
        Machine {
            facts: Facts {
                at: "2026-01-01T00:00:00Z".to_owned(),
                version: "0".to_owned(),
                optimised: true,
                cpu: "round".to_owned(),
                cores: 2,
                kernel: "6".to_owned(),
                filesystem: "ext4".to_owned(),
                load_before: 0.0,
                rounds: 1,
            },
            costs: Costs {
                rsa_2048_us: 100.0,
                ed25519_us: 12.0,
                body_hash_kib_us: 1.0,
                relay: line(40.0, 2.0),
                accept: line(20.0, 1.0),
                send: line(10.0, 0.5),
                campaign: line(15.0, 0.25),
                tls: line(1.0, 0.5),
            },
            disk: Disk { commit_p50_us: 500.0, commit_p99_us: 5_000.0, write_mb_per_s: 100.0 },
        }
    }

    #[test]
    fn a_machine_is_read_as_it_was_written() {
        let machine = machine();
        let text = machine.to_toml().expect("text");
        assert_eq!(Machine::from_toml(&text), Ok(machine));
    }

    #[test]
    fn the_shipped_machine_is_read() {
        assert!(Machine::shipped().facts.optimised);
    }

    #[test]
    fn impossible_figures_and_unknown_keys_are_named() {
        let mut wrong = machine();
        wrong.costs.relay.message_us = 0.0;
        let error = Machine::from_toml(&wrong.to_toml().expect("text")).expect_err("refused");
        assert_eq!(error.to_string(), "costs.relay.message_us is 0; it must be a number, above 0");
        wrong.costs.relay.message_us = 1.0;
        wrong.costs.tls.kib_us = -0.5;
        let error = Machine::from_toml(&wrong.to_toml().expect("text")).expect_err("refused");
        assert!(error.to_string().starts_with("costs.tls.kib_us is -0.5"), "{error}");
        let text = machine().to_toml().expect("text").replace("rsa_2048_us", "rsa_4096_us");
        let error = Machine::from_toml(&text).expect_err("refused").to_string();
        assert!(error.contains("rsa_4096_us") && error.contains("line"), "{error}");
    }
}
