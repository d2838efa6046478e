//! How long messages were on their way, read from the time that the load generator wrote into them. Nothing else is.

use std::time::{SystemTime, UNIX_EPOCH};

use content::header;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The header with the time of the beginning, in microseconds since 1970 by the clock of this machine.
const HEADER: &str = "X-Inject-Time";
/// Times are told apart up to an hour.
const US_MAX: u64 = 3_600_000_000;

/// The times of all messages that had the header.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_max(US_MAX, 3)?))
    }

    pub(super) fn add(&mut self, elapsed_us: u64) {
        self.0.saturating_record(elapsed_us);
    }

    /// Their number and quantiles in milliseconds; null when there were none.
    pub(super) fn to_json(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        let quantile_ms = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        json!({
            "count": self.0.len(), "p50": quantile_ms(0.5), "p95": quantile_ms(0.95), "p99": quantile_ms(0.99),
            "max": self.0.max() as f64 / 1000.0,
        })
    }
}

/// Microseconds since `message` was begun; none when it does not say.
pub(super) fn elapsed_us(message: &[u8]) -> Option<u64> {
    let (head, _) = header::split_head_body(message);
    let begun_us: u64 = header::find(head, HEADER)?.text().trim().parse().ok()?;
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_micros() as u64;
    Some(now_us.saturating_sub(begun_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_a_time_is_not_timed() {
        assert_eq!(elapsed_us(b"Subject: x\r\n\r\nX-Inject-Time: 1\r\n"), None);
        assert_eq!(elapsed_us(b"X-Inject-Time: soon\r\n\r\n"), None);
        assert!(elapsed_us(b"Received: by x\r\nX-Inject-Time: 0000000000000001\r\n\r\n").is_some());
    }

    #[test]
    fn quantiles_are_in_milliseconds() {
        let mut times = Times::new().expect("a histogram");
        assert_eq!(times.to_json(), Value::Null);
        (1..=100).for_each(|ms| times.add(ms * 1000));
        let told = times.to_json();
        assert_eq!(told["count"], 100);
        assert!((told["p50"].as_f64().expect("a number") - 50.0).abs() < 0.2, "{told}");
    }
}
