//! From measured costs to coefficients: a line for each way, and what signing and TLS cost more than the way alone.

use crate::cost::{Signing, Way, Work};
use crate::machine::{Costs, Line};

/// A measured cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Of this work.
    pub work: Work,
    /// Microseconds of processor time per message.
    pub us: f64,
}

/// What is not measured and cannot be told from what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// A way.
    #[error("nothing was measured of the way {0:?}, unsigned and without TLS")]
    Way(Way),
    /// A signature.
    #[error("nothing was measured that is signed with {0:?}")]
    Signing(Signing),
    /// TLS.
    #[error("nothing was measured under TLS")]
    Tls,
}

/// The coefficients that come nearest to what was measured. Sizes are told apart where a stage was measured at two or more; a stage
/// that comes out below 0, as noise can have it, is 0.
///
/// # Errors
/// Names the first stage of which there is no sample. What is both signed and under TLS is not used.
pub fn fit(samples: &[Sample]) -> Result<Costs, Gap> {
    let way = |way: Way| {
        let is_plain = |work: &Work| work.way == way && work.signing == Signing::None && !work.tls;
        let points = points(samples, is_plain, |_| 0.0);
        Line::through(&points).filter(|line| line.message_us > 0.0).ok_or(Gap::Way(way))
    };
    let mut costs = Costs {
        rsa_2048_us: 0.0,
        ed25519_us: 0.0,
        body_hash_kib_us: 0.0,
        relay: way(Way::Relay)?,
        accept: way(Way::Accept)?,
        send: way(Way::Send)?,
        campaign: way(Way::Campaign)?,
        tls: Line { message_us: 0.0, kib_us: 0.0 },
    };
    let plain = costs;
    let alone = |work: &Work| plain.of(Work { signing: Signing::None, tls: false, ..*work }).us();
    let signed = |signing: Signing| points(samples, |work| work.signing == signing && !work.tls, alone);
    let (rsa, ed25519) = (signed(Signing::Rsa2048), signed(Signing::Ed25519));
    // The hash is the same for both kinds of key, and shows better beside the cheap one: noise grows with what is measured.
    let hash = Line::through(&ed25519).ok_or(Gap::Signing(Signing::Ed25519))?;
    costs.body_hash_kib_us = hash.kib_us;
    costs.ed25519_us = hash.message_us;
    costs.rsa_2048_us = above(&rsa, hash.kib_us).ok_or(Gap::Signing(Signing::Rsa2048))?;
    let tls = points(samples, |work| work.tls && work.signing == Signing::None, alone);
    costs.tls = Line::through(&tls).ok_or(Gap::Tls)?;
    Ok(costs)
}

/// The mean of what the points have above a part that grows with the size; none of nothing.
fn above(points: &[(f64, f64)], kib_us: f64) -> Option<f64> {
    let sum: f64 = points.iter().map(|(kib, us)| us - kib * kib_us).sum();
    (!points.is_empty()).then(|| thousandths((sum / points.len() as f64).max(0.0)))
}

/// KiB, and microseconds above `base`, of the samples that `wanted` picks.
fn points(
    samples: &[Sample],
    wanted: impl Fn(&Work) -> bool,
    base: impl Fn(&Work) -> f64,
) -> Vec<(f64, f64)> {
    let point = |sample: &Sample| (sample.work.bytes as f64 / 1024.0, sample.us - base(&sample.work));
    samples.iter().filter(|sample| wanted(&sample.work)).map(point).collect()
}

impl Line {
    /// The line nearest to the points (least squares) that neither falls nor begins below 0; none without a point.
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (kib, us) = (mean(&|point| point.0), mean(&|point| point.1));
        let spread = mean(&|point| (point.0 - kib).powi(2));
        let together = mean(&|point| (point.0 - kib) * (point.1 - us));
        let slope = if spread > 0.0 { (together / spread).max(0.0) } else { 0.0 };
        let message_us = us - slope * kib;
        match points {
            [] => None,
            _ if message_us >= 0.0 => {
                Some(Self { message_us: thousandths(message_us), kib_us: thousandths(slope) })
            }
            // It would begin below 0: everything grows with the size.
            _ => Some(Self { message_us: 0.0, kib_us: thousandths((us / kib).max(0.0)) }),
        }
    }
}

/// More digits than these were not measured.
fn thousandths(us: f64) -> f64 {
    (us * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::machine;

    const WAYS: [Way; 4] = [Way::Relay, Way::Accept, Way::Send, Way::Campaign];

    fn samples(noise: impl Fn(usize) -> f64) -> Vec<Sample> {
        let plain = |way, bytes| Work { way, bytes, signing: Signing::None, tls: false };
        let mut works: Vec<Work> =
            WAYS.iter().flat_map(|&way| [1024, 20_480].map(|bytes| plain(way, bytes))).collect();
        for bytes in [1024, 20_480] {
            works.push(Work { signing: Signing::Rsa2048, ..plain(Way::Relay, bytes) });
            works.push(Work { signing: Signing::Ed25519, ..plain(Way::Relay, bytes) });
            works.push(Work { tls: true, ..plain(Way::Relay, bytes) });
        }
        let costs = machine().costs;
        let sample = |(place, work)| Sample { work, us: costs.of(work).us() + noise(place) };
        works.into_iter().enumerate().map(sample).collect()
    }

    #[test]
    fn costs_that_are_measured_without_noise_are_found_again() {
        let (found, wanted) = (fit(&samples(|_| 0.0)).expect("a fit"), machine().costs);
        for way in WAYS {
            for signing in [Signing::None, Signing::Rsa2048, Signing::Ed25519] {
                let work = Work { way, bytes: 10_240, signing, tls: true };
                assert!((found.of(work).us() - wanted.of(work).us()).abs() < 1e-6, "{work:?}");
            }
        }
    }

    #[test]
    fn noise_never_makes_a_stage_cheaper_than_nothing() {
        for wave in 1..20_usize {
            let noise = |place: usize| if (place * wave).is_multiple_of(3) { -8.0 } else { 8.0 };
            let costs = fit(&samples(noise)).expect("a fit");
            let mut machine = machine();
            machine.costs = costs;
            let text = machine.to_toml().expect("text");
            assert!(crate::Machine::from_toml(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let all = samples(|_| 0.0);
        let without = |drop: fn(&Work) -> bool| {
            let kept: Vec<Sample> = all.iter().copied().filter(|sample| !drop(&sample.work)).collect();
            fit(&kept).expect_err("a gap")
        };
        assert_eq!(without(|work| work.way == Way::Send), Gap::Way(Way::Send));
        assert_eq!(without(|work| work.tls), Gap::Tls);
        assert_eq!(without(|work| work.signing == Signing::Ed25519), Gap::Signing(Signing::Ed25519));
        assert_eq!(without(|work| work.signing == Signing::Rsa2048), Gap::Signing(Signing::Rsa2048));
    }
}
