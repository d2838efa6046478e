//! The keys of what others are told about the mail that they got.

use super::{Key, Kind, Section, Shape, Standard};

pub(super) const TLS_REPORT: Section = Section {
    name: "tls_report",
    shape: Shape::Once,
    about: "Daily reports to the domains that ask for them of how connections to them were protected (TLS-RPT, RFC 8460). The sessions are counted in any case: `staffetta tls-report` shows them.",
    keys: &[
        Key {
            name: "from",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "The address that reports are sent from, such as \"tls-reports@example.test\". Its domain should have a `[[domain]]` with a DKIM key: receivers are to ignore reports that are not signed.",
            reason: "Without it no report is sent: only you know an address that may send them.",
        },
        Key {
            name: "organization",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "The name of the organization that reports.",
            reason: "Without it the domain of `from`.",
        },
        Key {
            name: "contact",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "Whom to ask about a report, an address.",
            reason: "Without it `from`.",
        },
    ],
};
