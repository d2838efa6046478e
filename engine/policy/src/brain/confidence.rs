//! Whether a share is surely too large: the lower bound of Wilson's score interval, and a least number of observations.

/// Standard deviations of the interval: one wrong alarm in about 200 judgements of a share that is exactly at the limit.
const Z: f64 = 2.58;
/// Fewer hits than this may be chance however many trials there were: the interval is too narrow for single events.
const HITS_LEAST: f64 = 3.0;
/// Fewer trials than this never condemn.
const TRIALS_LEAST: f64 = 30.0;

/// Whether `hits` of `trials` show for sure that their share is above `limit`. A bare ratio of small numbers condemns by chance.
pub(crate) fn surely_above(hits: f64, trials: f64, limit: f64) -> bool {
    hits >= HITS_LEAST && trials >= TRIALS_LEAST && share_at_least(hits, trials) > limit
}

/// The least share that `hits` of `trials` make likely: of one in ten at least 1 %, of a hundred in a thousand at least 8 %.
fn share_at_least(hits: f64, trials: f64) -> f64 {
    let share = (hits / trials).clamp(0.0, 1.0);
    let z2 = Z * Z / trials;
    let centre = share + z2 / 2.0;
    let spread = Z * ((share * (1.0 - share) + z2 / 4.0) / trials).sqrt();
    ((centre - spread) / (1.0 + z2)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_with_what_is_seen_and_stays_below_the_share() {
        let tenth: Vec<f64> = [10.0, 100.0, 1_000.0, 100_000.0].map(|n| share_at_least(n / 10.0, n)).to_vec();
        assert!(tenth.is_sorted() && tenth[0] < 0.02 && tenth[3] > 0.097 && tenth[3] < 0.1, "{tenth:?}");
    }

    #[test]
    fn few_observations_never_condemn() {
        assert!(!surely_above(0.0, 0.0, 0.0));
        assert!(!surely_above(10.0, 10.0, 0.1));
        assert!(!surely_above(2.0, 100.0, 0.001));
        assert!(surely_above(15.0, 30.0, 0.1));
    }
}
