//! What is counted: one attempt to open a session, under which policy, and what failed.

use std::net::IpAddr;
use std::sync::Arc;

use mail::UnixMs;
use serde::{Deserialize, Serialize};

use crate::mta_sts;

/// What failed (RFC 8460 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// The host does not offer STARTTLS.
    StarttlsNotSupported,
    /// The certificate does not name the host, or the MTA-STS policy does not.
    CertificateHostMismatch,
    /// The certificate has expired.
    CertificateExpired,
    /// Nobody whom we trust has issued the certificate.
    CertificateNotTrusted,
    /// Any other failure of TLS.
    ValidationFailure,
    /// The TLSA records are there and none fits, or they cannot be used.
    TlsaInvalid,
    /// The DNSSEC records do not validate.
    DnssecInvalid,
    /// Our own policy demands DANE, and the domain has none.
    DaneRequired,
    /// The policy of MTA-STS could not be fetched.
    StsPolicyFetchError,
    /// What was fetched is no policy.
    StsPolicyInvalid,
    /// The policy of MTA-STS cannot be believed: the certificate of the host that it is fetched from is not valid.
    StsWebpkiInvalid,
}

impl ResultType {
    /// All of them, in the order of the RFC.
    pub const ALL: [Self; 11] = [
        Self::StarttlsNotSupported,
        Self::CertificateHostMismatch,
        Self::CertificateExpired,
        Self::CertificateNotTrusted,
        Self::ValidationFailure,
        Self::TlsaInvalid,
        Self::DnssecInvalid,
        Self::DaneRequired,
        Self::StsPolicyFetchError,
        Self::StsPolicyInvalid,
        Self::StsWebpkiInvalid,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }
}

/// Which kind of policy was applied (RFC 8460 section 4.4, `policy-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// The domain has neither.
    NoPolicyFound,
}

/// The policy that a session was held to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppliedPolicy {
    /// Which kind it is.
    #[serde(rename = "policy-type")]
    pub kind: PolicyKind,
    /// It in words: the lines of the MTA-STS policy, or the TLSA records (`3 1 1 1F85...`).
    #[serde(rename = "policy-string", default, skip_serializing_if = "Vec::is_empty")]
    pub strings: Vec<String>,
    /// The domain that published it, which is told about it: for MTA-STS the recipient domain. In A-labels, lower case.
    #[serde(rename = "policy-domain")]
    pub domain: String,
    /// For MTA-STS the patterns of its `mx` lines; for DANE the host that the TLSA records are for.
    #[serde(rename = "mx-host", default, skip_serializing_if = "Vec::is_empty")]
    pub mx_hosts: Vec<String>,
}

impl AppliedPolicy {
    /// Neither DANE nor MTA-STS.
    #[must_use]
    pub fn none(domain: &str) -> Self {
        let domain = domain.to_ascii_lowercase();
        Self { kind: PolicyKind::NoPolicyFound, strings: Vec::new(), domain, mx_hosts: Vec::new() }
    }

    /// The MTA-STS policy of `domain`; without one, that it could not be had.
    #[must_use]
    pub fn sts(domain: &str, policy: Option<&mta_sts::Policy>) -> Self {
        Self {
            kind: PolicyKind::Sts,
            strings: policy.map(mta_sts::Policy::lines).unwrap_or_default(),
            domain: domain.to_ascii_lowercase(),
            mx_hosts: policy.into_iter().flat_map(|policy| &policy.mx).map(ToString::to_string).collect(),
        }
    }

    /// The TLSA records of `host`, for mail to `domain`.
    #[must_use]
    pub fn tlsa(domain: &str, host: &str, records: Vec<String>) -> Self {
        Self {
            kind: PolicyKind::Tlsa,
            strings: records,
            domain: domain.to_ascii_lowercase(),
            mx_hosts: vec![host.to_ascii_lowercase()],
        }
    }
}

/// What failed, and between whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// What it was.
    pub result_type: ResultType,
    /// Our address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<IpAddr>,
    /// The name of the host; empty when there was none, as with a policy that could not be fetched.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub receiving_mx_hostname: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<IpAddr>,
    /// What the TLS library or the host said, for a person to read; it should not differ from session to session. At most
    /// the first 200 characters are kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failure_reason_code: String,
}

impl Failure {
    /// A failure of which nothing but its type is known.
    #[must_use]
    pub fn new(result_type: ResultType) -> Self {
        Self {
            result_type,
            sending_mta_ip: None,
            receiving_mx_hostname: String::new(),
            receiving_ip: None,
            failure_reason_code: String::new(),
        }
    }
}

/// One attempt to open a session with a host, which came as far as to learn whether TLS can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// When it was.
    pub at: UnixMs,
    /// The policy it was held to.
    pub policy: Arc<AppliedPolicy>,
    /// What failed; `None` when the session was protected as the policy wants.
    pub failure: Option<Failure>,
}
