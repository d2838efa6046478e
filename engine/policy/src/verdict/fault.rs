//! Failures without a reply: DNS, connections, TLS.

use std::time::Duration;

use super::{Action, RuleId, Scope, Verdict};

/// What went wrong before or between replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// DNS says that the domain does not exist (NXDOMAIN).
    DnsNotFound,
    /// The domain exists and has neither MX nor address.
    DnsNoHost,
    /// The domain takes no mail: a null MX (RFC 7505).
    NullMx,
    /// DNS did not answer in time.
    DnsTimeout,
    /// DNS answered that it cannot answer (SERVFAIL, REFUSED, bogus signatures).
    DnsFailure,
    /// DNS names only addresses that mail must not go to (loopback, private, our own).
    ForbiddenAddress,
    /// The address is of a family that no source has, or the source's address is not on this host.
    SourceUnusable,
    /// The connection was refused.
    ConnectRefused,
    /// No answer to the connection in time.
    ConnectTimeout,
    /// The network or host cannot be reached.
    ConnectUnreachable,
    /// The connection broke, with no message in doubt.
    ConnectionLost,
    /// The connection broke after the last byte of a message: nobody knows whether it was taken (RFC 1047).
    ConnectionLostAfterBody,
    /// The server fell silent.
    ReplyTimeout,
    /// The server broke the protocol.
    Protocol,
    /// TLS is required and not offered.
    TlsMissing,
    /// The TLS handshake failed.
    TlsHandshake,
    /// The certificate does not stand for the host.
    TlsCertificate,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 17] = [
        Self::DnsNotFound,
        Self::DnsNoHost,
        Self::NullMx,
        Self::DnsTimeout,
        Self::DnsFailure,
        Self::ForbiddenAddress,
        Self::SourceUnusable,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectUnreachable,
        Self::ConnectionLost,
        Self::ConnectionLostAfterBody,
        Self::ReplyTimeout,
        Self::Protocol,
        Self::TlsMissing,
        Self::TlsHandshake,
        Self::TlsCertificate,
    ];
}

/// Says what a failure without a reply means.
#[must_use]
pub const fn judge_network(fault: Fault) -> Verdict {
    use Action::{Bounce, Defer, Hold, NextMx, WithoutTls};
    let (class, scope, action, rule) = match fault {
        Fault::DnsNotFound => ("dns.notfound", Scope::Site, Bounce, "fault.dns-not-found"),
        Fault::DnsNoHost => ("dns.nohost", Scope::Site, Bounce, "fault.dns-no-host"),
        Fault::NullMx => ("domain.notaccept", Scope::Site, Bounce, "fault.null-mx"),
        Fault::DnsTimeout => ("dns.timeout", Scope::Site, Defer, "fault.dns-timeout"),
        Fault::DnsFailure => ("dns.failure", Scope::Site, Defer, "fault.dns-failure"),
        Fault::ForbiddenAddress => ("dns.forbidden", Scope::Site, Bounce, "fault.forbidden-address"),
        Fault::SourceUnusable => {
            ("network.source", Scope::Source, Hold(SOURCE_HOLD), "fault.source-unusable")
        }
        Fault::ConnectRefused => ("network.refused", Scope::Site, NextMx, "fault.connect-refused"),
        Fault::ConnectTimeout => ("network.timeout", Scope::Site, NextMx, "fault.connect-timeout"),
        Fault::ConnectUnreachable => {
            ("network.unreachable", Scope::Site, NextMx, "fault.connect-unreachable")
        }
        Fault::ConnectionLost => ("network.lost", Scope::Session, Defer, "fault.connection-lost"),
        Fault::ConnectionLostAfterBody => ("network.unknown", Scope::Session, Defer, "fault.lost-after-body"),
        Fault::ReplyTimeout => ("network.silence", Scope::Session, Defer, "fault.reply-timeout"),
        Fault::Protocol => ("protocol", Scope::Session, Defer, "fault.protocol"),
        Fault::TlsMissing => ("tls.missing", Scope::Site, NextMx, "fault.tls-missing"),
        Fault::TlsHandshake => ("tls.handshake", Scope::Site, WithoutTls, "fault.tls-handshake"),
        Fault::TlsCertificate => ("tls.certificate", Scope::Site, NextMx, "fault.tls-certificate"),
    };
    // Only the domain's own word: a name that is not found may be back tomorrow.
    let suppress = matches!(fault, Fault::NullMx);
    let alert = matches!(fault, Fault::SourceUnusable);
    Verdict { class, scope, action, suppress, alert, rule: RuleId::Builtin(rule) }
}

/// How long mail waits for a source that this host cannot use: long enough not to spin, short enough to leave soon after it is mended.
const SOURCE_HOLD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dns_says_for_good_bounces() {
        let bounced = Fault::ALL.into_iter().filter(|&fault| judge_network(fault).action == Action::Bounce);
        let expected = [Fault::DnsNotFound, Fault::DnsNoHost, Fault::NullMx, Fault::ForbiddenAddress];
        assert_eq!(bounced.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_fault_has_a_rule_of_its_own() {
        let rules: std::collections::BTreeSet<_> = Fault::ALL.map(|fault| judge_network(fault).rule).into();
        assert_eq!(rules.len(), Fault::ALL.len());
    }
}
