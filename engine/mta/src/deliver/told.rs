//! What TLS reports say of an attempt to open a session (RFC 8460 section 4.3): one word for each connection that came as
//! far as to learn whether TLS can be had, to each domain whose mail has lately come to its path.

use std::net::SocketAddr;

use policy::tls_report::{Failure, PolicyKind, ResultType, Session};
use policy::verdict::Fault;

use super::open::Connected;
use super::pool::Pool;
use super::protection::{By, Protection};
use crate::control::destination::{Guard, Host, Told};
use crate::io::tls::{Doubt, Standing};
use crate::shard::Shard;

/// How TLS failed, before a session was opened.
#[derive(Clone, Debug)]
pub(super) struct TlsFailure {
    pub(super) result: ResultType,
    pub(super) why: String,
}

impl TlsFailure {
    /// STARTTLS is not there.
    pub(super) const fn not_offered() -> Self {
        Self { result: ResultType::StarttlsNotSupported, why: String::new() }
    }

    /// What a failed handshake means for the verdict and for reports.
    pub(super) fn of_handshake(error: &std::io::Error, host: &Host) -> (Fault, Self) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let (fault, result) = match inner {
            Some(fault @ rustls::Error::InvalidCertificate(_)) => {
                (Fault::TlsCertificate, of_doubt(Doubt::of(fault), host))
            }
            Some(rustls::Error::NoCertificatesPresented) => {
                (Fault::TlsCertificate, ResultType::ValidationFailure)
            }
            _ => (Fault::TlsHandshake, ResultType::ValidationFailure),
        };
        (fault, Self { result, why: error.to_string() })
    }
}

const fn of_doubt(doubt: Doubt, host: &Host) -> ResultType {
    match (&host.guard, doubt) {
        (Guard::Dane(_), Doubt::Issuer | Doubt::Other) => ResultType::TlsaInvalid,
        (_, Doubt::Time) => ResultType::CertificateExpired,
        (_, Doubt::Name) => ResultType::CertificateHostMismatch,
        (_, Doubt::Issuer) => ResultType::CertificateNotTrusted,
        (_, Doubt::Other) => ResultType::ValidationFailure,
    }
}

/// Counts a session that was opened; `is_broken` when it is in clear because TLS did not work.
pub(super) fn opened(shard: &Shard, pool: &Pool, host: &Host, connected: &Connected, is_broken: bool) {
    let standing = connected.stream.tls_standing();
    record(shard, pool, host, connected.address, |told| {
        let result = match short_of(told, host, connected.protection, standing)? {
            ResultType::StarttlsNotSupported if is_broken => ResultType::ValidationFailure,
            other => other,
        };
        Some(TlsFailure { result, why: String::new() })
    });
}

/// Counts a session that was not opened because of TLS.
pub(super) fn failed(shard: &Shard, pool: &Pool, host: &Host, address: SocketAddr, failure: &TlsFailure) {
    record(shard, pool, host, address, |_| Some(failure.clone()));
}

fn record(
    shard: &Shard,
    pool: &Pool,
    host: &Host,
    address: SocketAddr,
    failure: impl Fn(&Told) -> Option<TlsFailure>,
) {
    let (source, now) = (shard.shared.sources.get(pool.key.source), shard.now());
    for told in pool.party.told(host.told.as_ref(), &host.name, now) {
        let failure = failure(&told).map(|failure| Failure {
            sending_mta_ip: source.ip,
            receiving_mx_hostname: host.name.clone(),
            receiving_ip: Some(address.ip()),
            failure_reason_code: failure.why,
            ..Failure::new(failure.result)
        });
        let session = Session { at: now, policy: told.policy, failure };
        shard.shared.counting.tls_reports.record(session);
    }
}

/// In what an open session falls short of the policy of the domain.
fn short_of(
    told: &Told,
    host: &Host,
    protection: Protection,
    standing: Option<Standing>,
) -> Option<ResultType> {
    if !protection.encrypted {
        return Some(ResultType::StarttlsNotSupported);
    }
    match (told.policy.kind, &host.guard, standing) {
        (PolicyKind::Tlsa, Guard::Encrypted, _) => Some(ResultType::TlsaInvalid),
        (PolicyKind::Sts, _, _) if told.is_stranger => Some(ResultType::CertificateHostMismatch),
        (PolicyKind::Sts, Guard::ByPolicy, Some(Standing::Unverified(doubt)))
            if !matches!(protection.authenticated, Some(By::Authority)) =>
        {
            Some(of_doubt(doubt, host))
        }
        _ => None,
    }
}
