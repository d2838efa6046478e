//! A complaint as providers report it to senders: an abuse feedback report (RFC 5965). It is rendered, not sent.

use std::fmt::Write as _;

use mail::UnixMs;

use crate::readers::{Feedback, FeedbackKind};

/// Parts the report; what a header holds has no such line.
const BOUNDARY: &str = "=_staffetta_world_report";
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Feedback {
    /// The report of a complaint by the provider with the mail server `host`, about a mail with the header `original` that
    /// had arrived at `arrived`; `None` for what providers do not report.
    #[must_use]
    pub fn to_arf(&self, host: &str, original: &[u8], arrived: UnixMs) -> Option<Vec<u8>> {
        if self.kind != FeedbackKind::Complaint {
            return None;
        }
        let identity = if self.identity.is_empty() { "sender.invalid" } else { &self.identity };
        let mut text = String::with_capacity(1500 + original.len());
        let written = write!(
            text,
            "From: <feedback@{host}>\r\nTo: <abuse@{identity}>\r\nDate: {date}\r\n\
             Message-ID: <{token:x}.{mailbox:x}@{host}>\r\nSubject: Complaint about a message from {ip}\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report;\r\n\tboundary=\"{BOUNDARY}\"\r\n\r\n\
             --{BOUNDARY}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             A reader of {host} calls a message from {ip} unwanted. It arrived on\r\n{arrival}.\r\n\r\n\
             --{BOUNDARY}\r\nContent-Type: message/feedback-report\r\n\r\n\
             Feedback-Type: abuse\r\nUser-Agent: staffetta-world/1\r\nVersion: 1\r\n\
             Original-Rcpt-To: <{to}>\r\nReported-Domain: {identity}\r\nSource-IP: {ip}\r\nArrival-Date: {arrival}\r\n\r\n\
             --{BOUNDARY}\r\nContent-Type: text/rfc822-headers\r\n\r\n",
            date = Rfc5322(self.at),
            token = self.token,
            mailbox = self.mailbox,
            ip = self.ip,
            arrival = Rfc5322(arrived),
            to = self.recipient,
        );
        written.unwrap_or_else(|std::fmt::Error| unreachable!("text grows"));
        let mut report = text.into_bytes();
        report.extend_from_slice(original);
        report.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        Some(report)
    }
}

/// A moment as a header has it (RFC 5322 section 3.3), in UTC.
struct Rfc5322(UnixMs);

impl std::fmt::Display for Rfc5322 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.seconds();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let name = DAYS[(days % 7) as usize];
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{name}, {day} {} {year} {hour:02}:{minute:02}:{second:02} +0000",
            MONTHS[month as usize - 1]
        )
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01: years are counted from March, so that the leap
/// day is the last of one.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProviderIndex;
    use mail::Address;

    fn feedback(kind: FeedbackKind) -> Feedback {
        Feedback {
            at: UnixMs::from_seconds(1_700_003_600),
            provider: ProviderIndex(0),
            kind,
            mailbox: 0xabc,
            recipient: Address::parse("ann@x.test").expect("an address"),
            identity: "shop.test".into(),
            ip: [192, 0, 2, 1].into(),
            token: 7,
        }
    }

    #[test]
    fn a_complaint_is_a_report_of_three_parts() {
        let original = b"From: <news@shop.test>\r\nMessage-ID: <1@shop.test>\r\n";
        let report = feedback(FeedbackKind::Complaint)
            .to_arf("mx.x.test", original, UnixMs::from_seconds(1_700_000_000))
            .expect("a complaint is reported");
        let report = String::from_utf8(report).expect("text");
        assert_eq!(report.matches(&format!("--{BOUNDARY}\r\n")).count(), 3);
        assert!(
            report.ends_with(&format!("Message-ID: <1@shop.test>\r\n\r\n--{BOUNDARY}--\r\n")),
            "{report}"
        );
        for line in [
            "Date: Tue, 14 Nov 2023 23:13:20 +0000",
            "Feedback-Type: abuse",
            "Version: 1",
            "Source-IP: 192.0.2.1",
            "Original-Rcpt-To: <ann@x.test>",
            "Reported-Domain: shop.test",
            "Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000",
        ] {
            assert!(report.contains(&format!("\r\n{line}\r\n")), "{line} is not in\n{report}");
        }
        assert!(
            report.lines().all(|line| line.len() < 100) && !report.replace("\r\n", "").contains(['\r', '\n'])
        );
        assert!(feedback(FeedbackKind::Open).to_arf("mx.x.test", b"", UnixMs(0)).is_none());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
            (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
        ] {
            assert_eq!(Rfc5322(UnixMs::from_seconds(seconds)).to_string(), date);
        }
    }
}
