//! Dates of header fields, and the moments and durations that submission headers name.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mail::UnixMs;

/// Length of a date of the years with four digits.
const DATE_BYTES: usize = 31;

/// The date-time of RFC 5322 section 3.3, in UTC, as in `Sun, 22 Nov 2026 13:10:01 +0000`.
/// Moments beyond the year 9999 are written as its last second.
#[must_use]
pub fn date_text(at: UnixMs) -> String {
    let mut text = Vec::with_capacity(DATE_BYTES);
    write_date(&mut text, at);
    String::from_utf8(text).expect("a date is ASCII")
}

/// The same behind what is there already.
pub(crate) fn write_date(out: &mut Vec<u8>, at: UnixMs) {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    let timestamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let civil = timestamp.to_zoned(TimeZone::UTC).datetime();
    let day = match civil.weekday() {
        jiff::civil::Weekday::Monday => "Mon",
        jiff::civil::Weekday::Tuesday => "Tue",
        jiff::civil::Weekday::Wednesday => "Wed",
        jiff::civil::Weekday::Thursday => "Thu",
        jiff::civil::Weekday::Friday => "Fri",
        jiff::civil::Weekday::Saturday => "Sat",
        jiff::civil::Weekday::Sunday => "Sun",
    };
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS[usize::from(civil.month().unsigned_abs()).saturating_sub(1).min(11)];
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} +0000",
        civil.day(),
        civil.year(),
        civil.hour(),
        civil.minute(),
        civil.second()
    );
}

/// Reads a moment: RFC 3339 (`2026-11-22T14:00:00+01:00`) or a duration from `now` on (`90s`, `2h`, `1h30m`).
pub(crate) fn parse_moment(text: &str, now: UnixMs) -> Result<UnixMs, String> {
    let text = text.trim();
    if let Some(duration) = parse_duration(text) {
        return Ok(now + duration);
    }
    let timestamp: Timestamp = text
        .parse()
        .map_err(|_| "write a moment as 2026-11-22T14:00:00Z or a duration as 90s or 2h".to_owned())?;
    let ms =
        u64::try_from(timestamp.as_millisecond()).map_err(|_| "the moment lies before 1970".to_owned())?;
    Ok(UnixMs(ms))
}

/// Reads numbers with the units ms, s, m, h, d and w, one behind the other; `None` when it is not that.
fn parse_duration(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > 40 {
        return None;
    }
    let mut total_ms: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        total_ms = total_ms.checked_add(count.checked_mul(unit_ms)?)?;
    }
    Some(Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_rfc_5322_says() {
        assert_eq!(date_text(UnixMs(0)), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date_text(UnixMs::from_seconds(1_795_353_001)), "Sun, 22 Nov 2026 13:10:01 +0000");
        assert_eq!(date_text(UnixMs::NEVER), "Thu, 30 Dec 9999 22:00:00 +0000");
    }

    #[test]
    fn moments_are_rfc_3339_or_durations() {
        let now = UnixMs(1_000_000);
        for (text, ms) in [
            ("90s", 1_090_000),
            ("2h", 8_200_000),
            (" 1h30m ", 6_400_000),
            ("1h 30m", 6_400_000),
            ("250ms", 1_000_250),
            ("1d", 87_400_000),
            ("1970-01-01T00:01:00Z", 60_000),
            ("1970-01-01T01:01:00+01:00", 60_000),
        ] {
            assert_eq!(parse_moment(text, now), Ok(UnixMs(ms)), "{text}");
        }
        for text in
            ["", "90", "s", "-5s", "tomorrow", "1x", "99999999999999999999s", "1960-01-01T00:00:00Z", "1.5h"]
        {
            assert!(parse_moment(text, now).is_err(), "{text}");
        }
    }
}
