//! What domains publish about how their hosts must be spoken to, put to the hosts: DANE first, then MTA-STS, which it
//! overrides where its records can be used (RFC 8461 section 2). Pure functions of what was found.

use std::sync::Arc;
use std::time::Duration;

use policy::mta_sts::{Mode, Policy};
use policy::tls_report::{AppliedPolicy, Failure, ResultType};

use super::{Host, Unroutable};
use crate::io::tls::{Association, DaneSet};
use crate::resolve::Tlsa;

/// So long a destination is believed at most whose domain has an MTA-STS policy: that can change by the hour.
const STS_TTL_MAX: Duration = Duration::from_secs(3600);

/// What the domain has published about how a host must be spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing: the configuration decides.
    ByPolicy,
    /// Signed TLSA records, none of which can be used: TLS, whatever the certificate (RFC 7672 section 2.2).
    Encrypted,
    /// Signed TLSA records that name the certificate.
    Dane(Arc<DaneSet>),
    /// An MTA-STS policy in force that names this host (RFC 8461).
    MtaSts,
}

/// What reports say of sessions with a host (RFC 8460).
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) policy: Arc<AppliedPolicy>,
    /// Whether the policy is an MTA-STS policy that does not name the host.
    pub(crate) is_stranger: bool,
}

/// The hosts of a domain with their guards.
pub(super) struct Guarded {
    pub(super) hosts: Vec<Host>,
    pub(super) expires_in: Duration,
    /// Why a host had to be left out for now.
    pub(super) lost: Option<Unroutable>,
    /// Hosts that had to be left out, for reports.
    pub(super) failures: Vec<(Arc<AppliedPolicy>, Failure)>,
}

impl Guarded {
    pub(super) const fn new(hosts: Vec<Host>, expires_in: Duration) -> Self {
        Self { hosts, expires_in, lost: None, failures: Vec::new() }
    }

    /// Guards the hosts that have signed TLSA records, and leaves out those of which it cannot be learnt (RFC 7672
    /// section 2.1.2). The answers are in the order of the hosts.
    pub(super) fn heed_dane(&mut self, domain: &str, answers: Vec<(Tlsa, Duration)>) {
        let hosts = std::mem::take(&mut self.hosts);
        for (mut host, (tlsa, holds)) in hosts.into_iter().zip(answers) {
            self.expires_in = self.expires_in.min(holds);
            let (guard, records) = match tlsa {
                Tlsa::None => {
                    self.hosts.push(host);
                    continue;
                }
                Tlsa::Unusable => (Guard::Encrypted, Vec::new()),
                Tlsa::Usable(set) => {
                    let records = set.associations.iter().map(in_words).collect();
                    (Guard::Dane(set), records)
                }
                Tlsa::Failed(what) => {
                    let policy = AppliedPolicy::tlsa(domain, &host.name, Vec::new());
                    self.leave_out(&host, policy, ResultType::DnssecInvalid);
                    let why = format!("whether {} proves itself by DANE is not known: {what}", host.name);
                    self.lost = Some(Unroutable::unproven(&why));
                    continue;
                }
            };
            host.guard = guard;
            let policy = Arc::new(AppliedPolicy::tlsa(domain, host.certificate_name(), records));
            host.told = Some(Told { policy, is_stranger: false });
            self.hosts.push(host);
        }
    }

    /// Guards the hosts that an MTA-STS policy in force names, and leaves out the others. A host that proves itself by
    /// DANE is left as it is; one whose TLSA records cannot be used proves nothing by them, and keeps to the policy.
    pub(super) fn heed_sts(&mut self, domain: &str, policy: &Policy) {
        let applied = Arc::new(AppliedPolicy::sts(domain, Some(policy)));
        self.expires_in = self.expires_in.min(STS_TTL_MAX);
        let hosts = std::mem::take(&mut self.hosts);
        for mut host in hosts {
            let is_stranger = !policy.allows(&host.name);
            match policy.mode {
                _ if matches!(host.guard, Guard::Dane(_)) => {}
                Mode::Enforce if is_stranger => {
                    self.leave_out(&host, (*applied).clone(), ResultType::CertificateHostMismatch);
                    let why = format!("the MTA-STS policy of {domain} does not name {}", host.name);
                    self.lost = Some(Unroutable::unprotected(&why));
                    continue;
                }
                Mode::Enforce => {
                    host.guard = Guard::MtaSts;
                    host.told = Some(Told { policy: Arc::clone(&applied), is_stranger });
                }
                Mode::Testing if host.guard == Guard::ByPolicy => {
                    host.told = Some(Told { policy: Arc::clone(&applied), is_stranger });
                }
                Mode::Testing | Mode::None => {}
            }
            self.hosts.push(host);
        }
    }

    /// That the domain has no policy is believed for `at_most`; one that comes later is heeded then.
    pub(super) fn without_sts(&mut self, at_most: Duration) {
        self.expires_in = self.expires_in.min(at_most);
    }

    /// Says of the hosts that nothing is published about that it is so.
    pub(super) fn tell_the_rest(&mut self, domain: &str) {
        let none = Told { policy: Arc::new(AppliedPolicy::none(domain)), is_stranger: false };
        for host in &mut self.hosts {
            host.told.get_or_insert_with(|| none.clone());
        }
    }

    fn leave_out(&mut self, host: &Host, policy: AppliedPolicy, result: ResultType) {
        let failure = Failure { receiving_mx_hostname: host.name.clone(), ..Failure::new(result) };
        self.failures.push((Arc::new(policy), failure));
    }
}

/// A record as zone files have it, shortened for reports.
fn in_words(association: &Association) -> String {
    use std::fmt::Write;
    const BYTES_MAX: usize = 64;
    let Association { usage, selector, matching, data } = association;
    let mut words = format!("{usage} {selector} {matching} ");
    for byte in data.iter().take(BYTES_MAX) {
        write!(words, "{byte:02X}").expect("a string takes everything");
    }
    words
}

#[cfg(test)]
mod tests {
    use policy::tls_report::PolicyKind;

    use super::*;

    fn guarded(names: &[&str]) -> Guarded {
        let host = |name: &&str| Host::new((*name).to_owned(), 0, Vec::new());
        Guarded::new(names.iter().map(host).collect(), Duration::from_secs(86_400))
    }

    fn usable() -> Tlsa {
        let record = Association { usage: 3, selector: 1, matching: 1, data: vec![0xab; 32] };
        Tlsa::Usable(Arc::new(DaneSet { associations: vec![record], names: vec!["base.test".to_owned()] }))
    }

    fn policy(mode: &str) -> Policy {
        let text = format!("version: STSv1\nmode: {mode}\nmx: *.in.test\nmax_age: 86400\n");
        Policy::parse(text.as_bytes()).expect("a policy")
    }

    /// `host guard` of each that is left.
    fn shown(guarded: &Guarded) -> Vec<String> {
        let guard = |guard: &Guard| match guard {
            Guard::ByPolicy => "by policy",
            Guard::Encrypted => "encrypted",
            Guard::Dane(_) => "dane",
            Guard::MtaSts => "sts",
        };
        guarded.hosts.iter().map(|host| format!("{} {}", host.name, guard(&host.guard))).collect()
    }

    #[test]
    fn a_host_whose_records_cannot_be_learnt_is_left_out() {
        let mut four = guarded(&["a", "b", "c", "d"]);
        let answers = [Tlsa::None, Tlsa::Unusable, usable(), Tlsa::Failed("SERVFAIL".to_owned())];
        let time = Duration::from_secs(60);
        four.heed_dane("d.test", answers.into_iter().map(|answer| (answer, time)).collect());
        four.tell_the_rest("d.test");
        assert_eq!(shown(&four), ["a by policy", "b encrypted", "c dane"]);
        assert_eq!(four.expires_in, time);
        let lost = four.lost.expect("d is lost");
        assert!(lost.temporary && lost.by_protection);
        assert_eq!(
            lost.reply.to_string(),
            "000 4.4.3 whether d proves itself by DANE is not known: SERVFAIL"
        );
        assert_eq!(four.failures[0].1.result_type, ResultType::DnssecInvalid);
        let told = four.hosts[2].told.as_ref().expect("told");
        assert_eq!(told.policy.strings, [format!("3 1 1 {}", "AB".repeat(32))]);
        assert_eq!((four.hosts[2].certificate_name(), four.hosts[0].certificate_name()), ("base.test", "a"));
    }

    #[test]
    fn a_policy_in_force_leaves_strangers_out_and_dane_overrides_it() {
        let names = ["mx.in.test", "mx.out.test", "dane.out.test"];
        let answers = || [Tlsa::None, Tlsa::None, usable()].map(|tlsa| (tlsa, Duration::MAX)).into();
        let mut enforced = guarded(&names);
        enforced.heed_dane("d.test", answers());
        enforced.heed_sts("d.test", &policy("enforce"));
        assert_eq!(shown(&enforced), ["mx.in.test sts", "dane.out.test dane"]);
        let lost = enforced.lost.expect("one is lost");
        assert!(lost.temporary && lost.reply.to_string().contains("does not name mx.out.test"));
        assert_eq!(enforced.expires_in, STS_TTL_MAX);
        let mut tested = guarded(&names);
        tested.heed_sts("d.test", &policy("testing"));
        assert_eq!(
            shown(&tested),
            ["mx.in.test by policy", "mx.out.test by policy", "dane.out.test by policy"]
        );
        let strangers =
            tested.hosts.iter().map(|host| host.told.as_ref().is_some_and(|told| told.is_stranger));
        assert_eq!(strangers.collect::<Vec<_>>(), [false, true, true]);
        let mut none = guarded(&names);
        none.heed_sts("d.test", &policy("none"));
        assert!(none.hosts.len() == 3 && none.hosts.iter().all(|host| host.told.is_none()));
    }

    #[test]
    fn records_that_cannot_be_used_are_no_way_round_a_policy() {
        for (mode, left) in [
            ("enforce", &["mx.in.test sts"][..]),
            ("testing", &["mx.in.test encrypted", "mx.out.test encrypted"]),
        ] {
            let mut two = guarded(&["mx.in.test", "mx.out.test"]);
            two.heed_dane(
                "d.test",
                [Tlsa::Unusable, Tlsa::Unusable].map(|tlsa| (tlsa, Duration::MAX)).into(),
            );
            two.heed_sts("d.test", &policy(mode));
            assert_eq!(shown(&two), left, "{mode}");
            let kind = two.hosts[0].told.as_ref().expect("told").policy.kind;
            assert_eq!(kind, if mode == "enforce" { PolicyKind::Sts } else { PolicyKind::Tlsa });
        }
    }
}
