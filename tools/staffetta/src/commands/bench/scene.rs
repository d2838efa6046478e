//! What is measured: the works that the model is fitted to, and others that it has to predict.

use capacity::{Signing, Way, Work};
use serde::Serialize;

/// What a measured work is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The coefficients come from it.
    Fitted,
    /// It is predicted, and the prediction is compared.
    HeldOut,
}

/// One work to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    /// [`Way::Send`] is taken in first, which measures [`Way::Accept`] too.
    pub(crate) work: Work,
    pub(crate) kind: Kind,
}

/// What one run measured. Processor time is that of the engine, in microseconds per message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Messages of the run.
    pub(crate) messages: u64,
    /// Messages per second from the first to the last.
    pub(crate) per_s: f64,
    /// Megabytes (of a million bytes) of messages per second.
    pub(crate) mb_per_s: f64,
    /// Processor time per message.
    pub(crate) cpu_us: f64,
    /// From MAIL to the 250 behind the message, in milliseconds: half within, 99 of 100 within.
    pub(crate) accept_ms: Option<(f64, f64)>,
    /// From MAIL of the injector until the message is in the sink, in milliseconds.
    pub(crate) delivery_ms: Option<(f64, f64)>,
    /// Of [`Way::Send`]: processor time and rate of taking in, before.
    pub(crate) accept_cpu_us: Option<f64>,
    pub(crate) accept_per_s: Option<f64>,
}

impl Scene {
    /// The scene in words.
    pub(crate) fn label(&self) -> String {
        let Work { way, bytes, signing, tls } = self.work;
        let way = match way {
            Way::Relay => "relay",
            Way::Accept => "accept",
            Way::Send => "accept, then send",
            Way::Campaign => "campaign",
        };
        let signing = match signing {
            Signing::None => "",
            Signing::Rsa2048 => ", RSA-2048",
            Signing::Ed25519 => ", Ed25519",
        };
        format!("{way} {} KiB{signing}{}", bytes / 1024, if tls { ", TLS" } else { "" })
    }
}

const fn plain(way: Way, bytes: u64) -> Work {
    Work { way, bytes, signing: Signing::None, tls: false }
}

/// The fewest works that every coefficient can be told from: each way small and large, and what is added to a relay.
pub(crate) fn fitted() -> Vec<Scene> {
    const SMALL: u64 = 1024;
    const LARGE: u64 = 20_480;
    let relay = |bytes, signing, tls| Work { signing, tls, ..plain(Way::Relay, bytes) };
    let works = [
        plain(Way::Relay, SMALL),
        plain(Way::Relay, LARGE),
        relay(SMALL, Signing::Rsa2048, false),
        relay(LARGE, Signing::Rsa2048, false),
        relay(SMALL, Signing::Ed25519, false),
        relay(LARGE, Signing::Ed25519, false),
        relay(SMALL, Signing::None, true),
        relay(LARGE, Signing::None, true),
        plain(Way::Send, SMALL),
        plain(Way::Send, LARGE),
        plain(Way::Campaign, 4096),
        plain(Way::Campaign, LARGE),
    ];
    works.map(|work| Scene { work, kind: Kind::Fitted }).to_vec()
}

/// Other sizes, other combinations, and a campaign that is signed, of which nothing was fitted.
pub(crate) fn held_out() -> Vec<Scene> {
    const MIDDLE: u64 = 10_240;
    let relay = |signing, tls| Work { signing, tls, ..plain(Way::Relay, MIDDLE) };
    let works = [
        relay(Signing::None, false),
        relay(Signing::Rsa2048, false),
        relay(Signing::None, true),
        relay(Signing::Rsa2048, true),
        plain(Way::Send, MIDDLE),
        plain(Way::Campaign, MIDDLE),
        Work { signing: Signing::Rsa2048, ..plain(Way::Campaign, 20_480) },
    ];
    works.map(|work| Scene { work, kind: Kind::HeldOut }).to_vec()
}

impl Figures {
    /// The median of each figure.
    pub(crate) fn median(found: &[Self]) -> Self {
        let of = |figure: &dyn Fn(&Self) -> f64| middle(found.iter().map(figure).collect());
        let pair = |figure: &dyn Fn(&Self) -> Option<(f64, f64)>| {
            let all: Option<Vec<(f64, f64)>> = found.iter().map(figure).collect();
            let all = all.filter(|all| !all.is_empty())?;
            let halves = all.into_iter().unzip::<f64, f64, Vec<f64>, Vec<f64>>();
            Some((middle(halves.0), middle(halves.1)))
        };
        let some = |figure: &dyn Fn(&Self) -> Option<f64>| {
            found.iter().map(figure).collect::<Option<Vec<f64>>>().map(middle)
        };
        Self {
            messages: found.iter().map(|one| one.messages).max().unwrap_or(0),
            per_s: of(&|one| one.per_s),
            mb_per_s: of(&|one| one.mb_per_s),
            cpu_us: of(&|one| one.cpu_us),
            accept_ms: pair(&|one| one.accept_ms),
            delivery_ms: pair(&|one| one.delivery_ms),
            accept_cpu_us: some(&|one| one.accept_cpu_us),
            accept_per_s: some(&|one| one.accept_per_s),
        }
    }
}

/// The median; 0 of nothing.
fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    match all.len() {
        0 => 0.0,
        count if count % 2 == 1 => all[count / 2],
        count => f64::midpoint(all[count / 2 - 1], all[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_held_out_was_fitted() {
        let fitted = fitted();
        assert!(held_out().iter().all(|scene| fitted.iter().all(|other| other.work != scene.work)));
    }

    #[test]
    fn every_coefficient_can_be_told_from_what_is_measured() {
        let samples: Vec<capacity::Sample> = fitted()
            .iter()
            .flat_map(|scene| [scene.work, Work { way: Way::Accept, ..scene.work }])
            .map(|work| capacity::Sample { work, us: 10.0 + work.bytes as f64 / 1024.0 })
            .collect();
        assert!(capacity::fit(&samples).is_ok());
    }

    #[test]
    fn the_median_is_taken_of_each_figure_for_itself() {
        let one = |per_s, cpu_us, accept_ms| Figures { per_s, cpu_us, accept_ms, ..Figures::default() };
        let all = [
            one(1.0, 9.0, Some((1.0, 2.0))),
            one(3.0, 7.0, Some((3.0, 9.0))),
            one(2.0, 8.0, Some((2.0, 4.0))),
        ];
        let median = Figures::median(&all);
        assert_eq!((median.per_s, median.cpu_us, median.accept_ms), (2.0, 8.0, Some((2.0, 4.0))));
        assert_eq!(Figures::median(&[one(1.0, 2.0, None)]).accept_ms, None);
        assert_eq!(middle(vec![4.0, 2.0]), 3.0);
    }
}
