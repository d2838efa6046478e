//! What a few observations say at least about a share: the bounds of Wilson's score interval.

/// Standard deviations of the interval: one wrong alarm in about 200 judgements of a share that is exactly at the threshold.
const Z: f64 = 2.58;

/// The least share that `hits` of `trials` make likely; 0 without trials. A bare ratio of small numbers condemns by chance: one
/// of ten is at least 1 %, a hundred of a thousand at least 8 %.
pub(crate) fn share_at_least(hits: f64, trials: f64) -> f64 {
    bounds(hits, trials).0
}

fn bounds(hits: f64, trials: f64) -> (f64, f64) {
    if trials <= 0.0 {
        return (0.0, 1.0);
    }
    let share = (hits / trials).clamp(0.0, 1.0);
    let z2 = Z * Z / trials;
    let centre = share + z2 / 2.0;
    let spread = Z * ((share * (1.0 - share) + z2 / 4.0) / trials).sqrt();
    (((centre - spread) / (1.0 + z2)).max(0.0), ((centre + spread) / (1.0 + z2)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_with_what_is_seen_and_stays_below_the_share() {
        assert_eq!(share_at_least(0.0, 0.0), 0.0);
        let tenth: Vec<f64> = [10.0, 100.0, 1_000.0, 100_000.0].map(|n| share_at_least(n / 10.0, n)).to_vec();
        assert!(tenth.is_sorted() && tenth[0] < 0.02 && tenth[3] > 0.097 && tenth[3] < 0.1, "{tenth:?}");
        assert!(share_at_least(3.0, 3.0) < 0.4);
    }
}
