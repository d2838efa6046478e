//! Durations, rates and shares as a world file writes them.

use std::time::Duration;

use policy::Rate;
use serde::Deserialize;

/// `250ms`, `90s`, `5m`, `1h`, `2d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        duration(&text)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a duration such as \"250ms\", \"90s\" or \"5m\""))
    }
}

/// Reads a count and one unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..unit_at].parse().ok()?;
    let unit_ms = match &text[unit_at..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(unit_ms).map(Duration::from_millis)
}

/// `100/s`, `5000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PerTime(pub(crate) Rate);

impl TryFrom<String> for PerTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rate = || {
            let (count, unit) = text.split_once('/')?;
            Rate::new(count.parse().ok()?, duration(&format!("1{unit}"))?)
        };
        rate().map(Self).ok_or_else(|| format!("`{text}` is not a rate such as \"100/s\" or \"5000/h\""))
    }
}

/// A part of the whole, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Share(pub(crate) f64);

impl Share {
    pub(crate) const ALL: Self = Self(1.0);
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        let ok = (0.0..=1.0).contains(&share);
        if ok { Ok(Self(share)) } else { Err(format!("{share} is not a share between 0.0 and 1.0")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_rates_and_shares_are_read_strictly() {
        assert_eq!(Span::try_from("1500ms".to_owned()), Ok(Span(Duration::from_millis(1500))));
        assert_eq!(Span::try_from("2h".to_owned()), Ok(Span(Duration::from_secs(7200))));
        for text in
            ["", "5", "s", "-1s", "1.5s", "1 s", "1y", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(Span::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert_eq!(PerTime::try_from("100/s".to_owned()), Ok(PerTime(Rate::per_second(100))));
        for text in ["100", "/s", "0/s", "100/", "100/5"] {
            assert!(PerTime::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(Share::try_from(1.01).is_err() && Share::try_from(f64::NAN).is_err());
    }
}
