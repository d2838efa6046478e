//! What a domain is told: the JSON of RFC 8460 section 4.4, and the names that go with it.

use mail::Address;
use serde::{Deserialize, Serialize};

use super::day::Day;
use super::session::{AppliedPolicy, Failure};

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The name of the organization.
    pub organization: String,
    /// Whom to ask about a report.
    pub contact: String,
    /// The domain that reports are sent from, `TLS-Report-Submitter`.
    pub submitter: String,
}

/// A report. Serialized it is the JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Who reports.
    pub organization_name: String,
    /// Which day it is about.
    pub date_range: DateRange,
    /// Whom to ask about it.
    pub contact_info: String,
    /// A name that no other report has.
    pub report_id: String,
    /// What happened under each policy of the domain.
    pub policies: Vec<PolicyReport>,
}

/// First and last moment, as RFC 3339 writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    /// The first second.
    pub start_datetime: String,
    /// The last second.
    pub end_datetime: String,
}

/// What happened under one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Which policy.
    pub policy: AppliedPolicy,
    /// How many sessions in all.
    pub summary: Summary,
    /// The failures, equal ones counted together.
    #[serde(rename = "failure-details", default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Detail>,
}

/// Sessions in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Those that were protected as the policy wants.
    #[serde(rename = "total-successful-session-count")]
    pub successful: u64,
    /// Those that were not.
    #[serde(rename = "total-failure-session-count")]
    pub failed: u64,
}

/// Failures that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What they have in common.
    #[serde(flatten)]
    pub failure: Failure,
    /// How many sessions.
    #[serde(rename = "failed-session-count")]
    pub sessions: u64,
}

impl Report {
    /// The report of a day to `domain`, of what [`super::Aggregate::policies`] says of it.
    #[must_use]
    pub fn new(by: &Reporter, domain: &str, day: Day, policies: Vec<PolicyReport>) -> Self {
        let date_range = DateRange { start_datetime: day.at("00:00:00"), end_datetime: day.at("23:59:59") };
        Self {
            organization_name: by.organization.clone(),
            date_range,
            contact_info: by.contact.clone(),
            report_id: report_id(by, domain, day),
            policies,
        }
    }
}

/// The name of the report of a day to a domain; the same for the same report sent again, so that a receiver can tell.
#[must_use]
pub fn report_id(by: &Reporter, domain: &str, day: Day) -> String {
    format!("{day}_{domain}@{}", by.submitter)
}

/// The name of the compressed file (RFC 8460 section 5.1).
#[must_use]
pub fn file_name(by: &Reporter, domain: &str, day: Day) -> String {
    let (begin, end) = (day.begin().seconds(), day.end().seconds() - 1);
    format!("{}!{domain}!{begin}!{end}!001.json.gz", by.submitter)
}

impl Reporter {
    /// Reports sent from `from`; without an organization or a contact, these are its domain and itself.
    #[must_use]
    pub fn new(from: &Address, organization: Option<String>, contact: Option<String>) -> Self {
        let submitter = from.domain().to_ascii_lowercase();
        Self {
            organization: organization.unwrap_or_else(|| submitter.clone()),
            contact: contact.unwrap_or_else(|| from.to_string()),
            submitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rfc() {
        let from = Address::parse("tls@Mail.Sender.test").expect("an address");
        let by = Reporter::new(&from, None, None);
        let day = Day::parse("2016-08-03").expect("a day");
        assert_eq!(
            file_name(&by, "example.test", day),
            "mail.sender.test!example.test!1470182400!1470268799!001.json.gz"
        );
        let report = Report::new(&by, "example.test", day, Vec::new());
        assert_eq!(report.report_id, "2016-08-03_example.test@mail.sender.test");
        assert_eq!(report.date_range.start_datetime, "2016-08-03T00:00:00Z");
        assert_eq!(report.date_range.end_datetime, "2016-08-03T23:59:59Z");
        assert_eq!(
            (report.organization_name.as_str(), report.contact_info.as_str()),
            ("mail.sender.test", "tls@mail.sender.test")
        );
    }
}
