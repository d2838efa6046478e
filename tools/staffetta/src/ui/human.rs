//! Numbers as people read them: counts, sizes, rates, durations and points in time.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1536` as `1.5 KiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `8123.4` as `8,123/s`; slow rates keep a decimal.
pub(crate) fn rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second <= 0.0 {
        return "0/s".to_owned();
    }
    if per_second < 10.0 { format!("{per_second:.1}/s") } else { format!("{}/s", count(per_second as u64)) }
}

/// A span in the two units that matter: `850 ms`, `12.3 s`, `4m 05s`, `2h 03m`, `3d 04h`.
pub(crate) fn duration(span: Duration) -> String {
    let ms = span.as_millis();
    let seconds = span.as_secs();
    match seconds {
        0 if ms < 10 => format!("{:.1} ms", span.as_secs_f64() * 1000.0),
        0 => format!("{ms} ms"),
        1..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Reads a span such as `40ms`, `90s` or `4h`.
///
/// # Errors
/// Says what a span looks like.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time such as \"40ms\", \"90s\" or \"4h\"");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

/// A point in time in the zone of this machine, to the second; `-` when it cannot be one.
pub(crate) fn time(unix_ms: u64) -> String {
    zoned(unix_ms, "%Y-%m-%d %H:%M:%S")
}

/// The time of day, to the millisecond.
pub(crate) fn clock(unix_ms: u64) -> String {
    zoned(unix_ms, "%H:%M:%S%.3f")
}

fn zoned(unix_ms: u64, format: &str) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| "-".to_owned(), |at| at.to_zoned(TimeZone::system()).strftime(format).to_string())
}

/// How `unix_ms` lies to now: `in 4m 05s`, `12.3 s ago`.
pub(crate) fn relative(unix_ms: u64, now_ms: u64) -> String {
    if unix_ms >= now_ms {
        format!("in {}", duration(Duration::from_millis(unix_ms - now_ms)))
    } else {
        format!("{} ago", duration(Duration::from_millis(now_ms - unix_ms)))
    }
}

/// The clock of this machine, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// `1 message`, `2 messages`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn sizes_keep_two_digits_that_matter() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (268_435_456, "256 MiB"),
            (1_073_741_823, "1.0 GiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn spans_use_two_units() {
        for (ms, text) in [
            (4, "4.0 ms"),
            (850, "850 ms"),
            (12_300, "12.3 s"),
            (245_000, "4m 05s"),
            (7_380_000, "2h 03m"),
            (273_600_000, "3d 04h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn rates_and_relations_read_well() {
        assert_eq!(rate(8123.9), "8,123/s");
        assert_eq!(rate(0.25), "0.2/s");
        assert_eq!(rate(f64::INFINITY), "0/s");
        assert_eq!(relative(10_000, 5_000), "in 5.0 s");
        assert_eq!(relative(5_000, 10_000), "5.0 s ago");
        assert_eq!(plural(1, "recipient"), "1 recipient");
        assert_eq!(plural(2000, "recipient"), "2,000 recipients");
    }
}
