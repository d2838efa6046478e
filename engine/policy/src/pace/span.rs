//! A time that is long enough for a number of messages at any rate.

use std::time::Duration;

/// As long as so many messages take, between two bounds.
pub(super) struct Span {
    pub(super) least: Duration,
    pub(super) messages: f64,
    pub(super) most: Duration,
}

impl Span {
    /// The time at `rate` messages a second.
    pub(super) fn at(&self, rate: f64) -> Duration {
        let seconds = self.messages / rate;
        // A rate of nothing, or one that is no number, takes as long as there is.
        let most = self.most.as_secs_f64();
        let seconds = if seconds < most { seconds.max(0.0) } else { most };
        Duration::from_secs_f64(seconds).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rate_has_a_time_within_the_bounds() {
        let span = Span { least: Duration::from_secs(2), messages: 10.0, most: Duration::from_secs(60) };
        for (rate, seconds) in
            [(1.0, 10), (100.0, 2), (f64::INFINITY, 2), (0.01, 60), (0.0, 60), (-1.0, 2), (f64::NAN, 60)]
        {
            assert_eq!(span.at(rate).as_secs(), seconds, "{rate}");
        }
    }
}
