//! A report as a file and as mail (RFC 8460 sections 5.1 and 5.3).

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use content::date_text;
use flate2::Compression;
use flate2::write::GzEncoder;
use mail::{Address, UnixMs};
use policy::tls_report::{Day, Report, Reporter, file_name};

/// The media type of the compressed file.
pub(super) const MEDIA_TYPE: &str = "application/tlsrpt+gzip";
/// Characters of a line of base 64 (RFC 2045 section 6.8).
const LINE_CHARACTERS: usize = 76;

/// The report as a compressed file.
pub(super) fn compressed(report: &Report) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut gzip, report)?;
    gzip.flush()?;
    gzip.finish()
}

/// What a letter is about.
#[derive(Clone, Copy)]
pub(super) struct Letter<'a> {
    pub(super) by: &'a Reporter,
    pub(super) from: &'a Address,
    pub(super) to: &'a [Address],
    pub(super) domain: &'a str,
    pub(super) day: Day,
    pub(super) report: &'a Report,
}

impl Letter<'_> {
    /// The whole message, with CRLF, around `file`, the compressed report.
    ///
    /// It says `TLS-Required: No` (RFC 8689 section 3): a report of broken TLS has to arrive in spite of it (RFC 8460
    /// section 5.3).
    pub(super) fn write(&self, file: &[u8], now: UnixMs) -> Vec<u8> {
        let Self { by, from, to, domain, day, report } = *self;
        let (submitter, id) = (&by.submitter, &report.report_id);
        let to = to.iter().map(ToString::to_string).collect::<Vec<_>>().join(",\r\n ");
        let date = date_text(now);
        // The same for the same report sent again. Base 64 has no underscores, so it is in no part.
        let boundary = format!("=_{:x}_tlsrpt", day.begin().seconds());
        let words = self.words();
        let name = file_name(by, domain, day);
        let encoded = in_lines(&STANDARD.encode(file));
        format!(
            "From: {from}\r\n\
            To: {to}\r\n\
            Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>\r\n\
            Date: {date}\r\n\
            Message-ID: <tlsrpt.{id}>\r\n\
            TLS-Report-Domain: {domain}\r\n\
            TLS-Report-Submitter: {submitter}\r\n\
            TLS-Required: No\r\n\
            Auto-Submitted: auto-generated\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{boundary}\"\r\n\
            \r\n\
            --{boundary}\r\n\
            Content-Type: text/plain; charset=\"us-ascii\"\r\n\
            Content-Transfer-Encoding: 7bit\r\n\
            \r\n\
            {words}\r\n\
            --{boundary}\r\n\
            Content-Type: {MEDIA_TYPE}\r\n\
            Content-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment;\r\n filename=\"{name}\"\r\n\
            \r\n\
            {encoded}\r\n\
            --{boundary}--\r\n"
        )
        .into_bytes()
    }

    /// For a person who opens it.
    fn words(&self) -> String {
        let sum = |count: fn(&policy::tls_report::Summary) -> u64| {
            self.report.policies.iter().map(|told| count(&told.summary)).sum::<u64>()
        };
        let (successful, failed) = (sum(|summary| summary.successful), sum(|summary| summary.failed));
        format!(
            "This is an aggregate TLS report (RFC 8460) from {}\r\n\
            about mail to {} on {} (UTC):\r\n\
            {successful} sessions as the policy wants, {failed} not.\r\n",
            self.by.submitter, self.domain, self.day
        )
    }
}

fn in_lines(encoded: &str) -> String {
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE_CHARACTERS * 2);
    let mut rest = encoded;
    while rest.len() > LINE_CHARACTERS {
        // Base 64 is ASCII.
        let (line, more) = rest.split_at(LINE_CHARACTERS);
        text.push_str(line);
        text.push_str("\r\n");
        rest = more;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mail_auth::report::tlsrpt::{PolicyType, ResultType as Told, TlsReport};
    use mail_parser::{MessageParser, MimeHeaders};
    use policy::mta_sts::Policy;
    use policy::tls_report::{Aggregate, AppliedPolicy, Failure, ResultType, Session};

    use super::*;

    const DAY: Day = Day(20_779);

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    /// A day on which everything that can fail has failed once under each kind of policy.
    fn day() -> Aggregate {
        let text = "version: STSv1\nmode: enforce\nmx: *.a.test\nmx: mx.a.test\nmax_age: 86400\n";
        let policy = Policy::parse(text.as_bytes()).expect("a policy");
        let policies = [
            AppliedPolicy::none("a.test"),
            AppliedPolicy::sts("a.test", Some(&policy)),
            AppliedPolicy::sts("a.test", None),
            AppliedPolicy::tlsa("a.test", "mx.a.test", vec!["3 1 1 1F850A337E6DB9C6".to_owned()]),
        ];
        let mut day = Aggregate::default();
        for policy in policies.map(Arc::new) {
            let mut add =
                |failure| day.add(Session { at: DAY.begin(), policy: Arc::clone(&policy), failure });
            add(None);
            for result_type in ResultType::ALL {
                add(Some(Failure {
                    sending_mta_ip: Some("192.0.2.1".parse().expect("an address")),
                    receiving_mx_hostname: "mx.a.test".to_owned(),
                    receiving_ip: Some("2001:db8::1".parse().expect("an address")),
                    failure_reason_code: "quoted \"words\" and \u{e9}".to_owned(),
                    ..Failure::new(result_type)
                }));
            }
        }
        day
    }

    fn letter() -> (Report, Vec<u8>) {
        let from = address("tls@sender.test");
        let by = Reporter::new(&from, Some("Sender & Co".to_owned()), None);
        let report = Report::new(&by, "a.test", DAY, day().policies(Some("a.test")));
        let file = compressed(&report).expect("in memory");
        let to = [address("one@a.test"), address("two@b.test")];
        let letter = Letter { by: &by, from: &from, to: &to, domain: "a.test", day: DAY, report: &report };
        let message = letter.write(&file, DAY.end());
        (report, message)
    }

    #[test]
    fn the_reader_of_another_house_reads_every_field() {
        let (ours, message) = letter();
        let theirs = TlsReport::parse_rfc5322(&message, 1 << 20).expect("a report");
        assert_eq!(theirs.organization_name.as_deref(), Some("Sender & Co"));
        assert_eq!(theirs.contact_info.as_deref(), Some("tls@sender.test"));
        assert_eq!(theirs.report_id, ours.report_id);
        assert_eq!(theirs.date_range.start_datetime.to_rfc3339(), "2026-11-22T00:00:00Z");
        assert_eq!(theirs.date_range.end_datetime.to_rfc3339(), "2026-11-22T23:59:59Z");
        let types = theirs.policies.iter().map(|told| told.policy.policy_type).collect::<Vec<_>>();
        assert_eq!(types, [PolicyType::Tlsa, PolicyType::Sts, PolicyType::Sts, PolicyType::NoPolicyFound]);
        for told in &theirs.policies {
            assert_eq!((told.policy.policy_domain.as_str(), told.summary.total_success), ("a.test", 1));
            assert_eq!((told.summary.total_failure, told.failure_details.len()), (11, 11));
            let all: Vec<Told> = told.failure_details.iter().map(|detail| detail.result_type).collect();
            assert!(!all.contains(&Told::Other), "{all:?}");
            let detail = &told.failure_details[0];
            assert_eq!(detail.failed_session_count, 1);
            assert_eq!(detail.receiving_mx_hostname.as_deref(), Some("mx.a.test"));
            assert_eq!(detail.sending_mta_ip, Some("192.0.2.1".parse().expect("an address")));
            assert_eq!(detail.failure_reason_code.as_deref(), Some("quoted \"words\" and \u{e9}"));
        }
        let sts = &theirs.policies[2].policy;
        assert_eq!(sts.policy_string[1], "mode: enforce");
        assert_eq!(sts.mx_host, ["*.a.test", "mx.a.test"]);
        assert_eq!(theirs.policies[0].policy.mx_host, ["mx.a.test"]);
    }

    #[test]
    fn the_letter_has_the_fields_and_names_of_the_rfc() {
        let (_, message) = letter();
        let read = MessageParser::default().parse(&message).expect("a message");
        let id = "<2026-11-22_a.test@sender.test>";
        assert_eq!(
            read.subject(),
            Some(format!("Report Domain: a.test Submitter: sender.test Report-ID: {id}").as_str())
        );
        for (name, value) in [
            ("TLS-Report-Domain", "a.test"),
            ("TLS-Report-Submitter", "sender.test"),
            ("TLS-Required", "No"),
            ("Auto-Submitted", "auto-generated"),
        ] {
            assert_eq!(read.header_raw(name).map(str::trim), Some(value), "{name}");
        }
        let kind = read.content_type().expect("a type");
        assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
        assert_eq!(kind.attribute("report-type"), Some("tlsrpt"));
        let file = read.attachment(0).expect("a file");
        assert_eq!(file.attachment_name(), Some("sender.test!a.test!1795305600!1795391999!001.json.gz"));
        assert!(file.contents().starts_with(&[0x1f, 0x8b]));
        let lines = message.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
        assert!(message.is_ascii() && lines.is_some_and(|longest| longest < 998));
        assert!(!message.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'));
    }
}
