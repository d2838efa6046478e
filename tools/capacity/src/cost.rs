//! What one message costs the engine: a sum of stages, each a constant and a part that grows with the size.

use serde::Serialize;

use crate::machine::{Costs, Line};

/// Which of the engine's ways a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// In by SMTP, durable, and out by SMTP at the same time.
    Relay,
    /// In by SMTP and durable; nothing leaves.
    Accept,
    /// Out by SMTP, from a queue that was filled before.
    Send,
    /// A recipient of a list: taken in as merge values, rendered and sent.
    Campaign,
}

/// How a message is signed with DKIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Signing {
    /// Not at all.
    #[serde(rename = "none")]
    None,
    /// `rsa-sha256` with a key of 2,048 bits (RFC 6376).
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// `ed25519-sha256` (RFC 8463).
    #[serde(rename = "ed25519")]
    Ed25519,
}

/// What is to be done with each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Work {
    /// Its way through the engine.
    pub way: Way,
    /// Its size; of a campaign, that of the template.
    pub bytes: u64,
    /// Its signature.
    pub signing: Signing,
    /// Whether it leaves under TLS.
    pub tls: bool,
}

/// A part of the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The way itself: protocol, spool, queue, sockets.
    Way,
    /// The hash over the body, which every signature needs.
    BodyHash,
    /// The signature.
    Signature,
    /// Encrypting what leaves.
    Tls,
}

/// Processor time of one message by stage, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    stages: Vec<(Stage, f64)>,
}

impl Cost {
    /// The stages that the work has, in their order.
    #[must_use]
    pub fn stages(&self) -> &[(Stage, f64)] {
        &self.stages
    }

    /// All of them together, in microseconds.
    #[must_use]
    pub fn us(&self) -> f64 {
        self.stages.iter().map(|(_, us)| us).sum()
    }

    /// Messages that one core can do in an hour.
    #[must_use]
    pub fn per_core_hour(&self) -> f64 {
        3.6e9 / self.us()
    }
}

impl Costs {
    /// What a message of this work costs. Nothing is signed or encrypted while it is only taken in.
    #[must_use]
    pub fn of(&self, work: Work) -> Cost {
        let mut stages = vec![(Stage::Way, self.way(work.way).at(work.bytes))];
        if work.way != Way::Accept {
            let signature_us = match work.signing {
                Signing::None => None,
                Signing::Rsa2048 => Some(self.rsa_2048_us),
                Signing::Ed25519 => Some(self.ed25519_us),
            };
            if let Some(us) = signature_us {
                let hash = Line { message_us: 0.0, kib_us: self.body_hash_kib_us };
                stages.extend([(Stage::BodyHash, hash.at(work.bytes)), (Stage::Signature, us)]);
            }
            if work.tls {
                stages.push((Stage::Tls, self.tls.at(work.bytes)));
            }
        }
        Cost { stages }
    }

    const fn way(&self, way: Way) -> Line {
        match way {
            Way::Relay => self.relay,
            Way::Accept => self.accept,
            Way::Send => self.send,
            Way::Campaign => self.campaign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::machine;

    const WORK: Work = Work { way: Way::Relay, bytes: 10_240, signing: Signing::None, tls: false };

    #[test]
    fn a_larger_message_never_costs_less() {
        let costs = machine().costs;
        for way in [Way::Relay, Way::Accept, Way::Send, Way::Campaign] {
            for signing in [Signing::None, Signing::Rsa2048, Signing::Ed25519] {
                let us: Vec<f64> = [0, 600, 1024, 10_240, 20_480, 10_000_000]
                    .map(|bytes| costs.of(Work { way, bytes, signing, tls: true }).us())
                    .to_vec();
                assert!(us.is_sorted() && us[0] > 0.0, "{way:?} {signing:?}: {us:?}");
            }
        }
    }

    #[test]
    fn stages_add_up_and_none_is_counted_twice() {
        let costs = machine().costs;
        let us = |signing, tls| costs.of(Work { signing, tls, ..WORK }).us();
        let plain = us(Signing::None, false);
        let (signed, encrypted) = (us(Signing::Rsa2048, false) - plain, us(Signing::None, true) - plain);
        assert!((us(Signing::Rsa2048, true) - plain - signed - encrypted).abs() < 1e-9);
        // 100 + 10 * 1 for the signature, 1 + 10 * 0.5 for TLS: see the machine of the tests.
        assert!((signed - 110.0).abs() < 1e-9 && (encrypted - 6.0).abs() < 1e-9, "{signed} {encrypted}");
        assert!((us(Signing::Rsa2048, false) - us(Signing::Ed25519, false) - 88.0).abs() < 1e-9);
    }

    #[test]
    fn what_stays_is_neither_signed_nor_encrypted() {
        let work = Work { way: Way::Accept, signing: Signing::Rsa2048, tls: true, ..WORK };
        let cost = machine().costs.of(work);
        assert_eq!(cost.stages().len(), 1);
        assert!((cost.per_core_hour() - 3.6e9 / cost.us()).abs() < 1e-6);
    }
}
