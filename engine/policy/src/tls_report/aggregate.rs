//! The counts of one day, by policy and failure, within fixed bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::day::Day;
use super::report::{Detail, PolicyReport, Summary};
use super::session::{AppliedPolicy, Failure, Session};

/// The most policies of a day: all the domains that a large sender writes to, each with a change of policy within the day
/// for some. Sessions under further ones are counted as not told.
pub const POLICIES_MAX: usize = 20_000;
/// The most failures of one policy that are told apart. Beyond, only their type is kept.
pub const DETAILS_MAX: usize = 64;
/// Failures of all policies together that are told apart.
const DETAILS_OF_DAY_MAX: usize = 50_000;
/// How much of a policy is quoted, in bytes and strings.
const QUOTED_BYTES_MAX: usize = 2_048;
const QUOTED_STRINGS_MAX: usize = 32;
/// Longest reason, in characters.
const REASON_CHARACTERS_MAX: usize = 200;

/// What was counted on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    policies: BTreeMap<Arc<AppliedPolicy>, Tally>,
    /// Failures that are told apart, of all policies.
    details: usize,
    /// Sessions that found no room.
    untold: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    successful: u64,
    failed: u64,
    failures: BTreeMap<Failure, u64>,
}

impl Aggregate {
    /// Counts a session.
    pub fn add(&mut self, session: Session) {
        let key =
            if is_short(&session.policy) { session.policy } else { Arc::new(shortened(&session.policy)) };
        if self.policies.len() >= POLICIES_MAX && !self.policies.contains_key(&key) {
            self.untold += 1;
            return;
        }
        let tally = self.policies.entry(key).or_default();
        let Some(failure) = session.failure else {
            tally.successful += 1;
            return;
        };
        tally.failed += 1;
        let may_grow = tally.failures.len() < DETAILS_MAX && self.details < DETAILS_OF_DAY_MAX;
        let failure = bounded(failure);
        if let Some(count) = tally.failures.get_mut(&failure) {
            *count += 1;
            return;
        }
        let failure = if may_grow { failure } else { Failure::new(failure.result_type) };
        let before = tally.failures.len();
        *tally.failures.entry(failure).or_default() += 1;
        self.details += tally.failures.len() - before;
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.untold == 0
    }

    /// Sessions that are in no count, because [`POLICIES_MAX`] others were there before.
    #[must_use]
    pub const fn untold(&self) -> u64 {
        self.untold
    }

    /// The domains that sessions were counted for, each once, in order.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        let mut domains: Vec<String> = self.policies.keys().map(|policy| policy.domain.clone()).collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// What is told of one domain, or of all.
    #[must_use]
    pub fn policies(&self, domain: Option<&str>) -> Vec<PolicyReport> {
        let wanted =
            |policy: &AppliedPolicy| domain.is_none_or(|domain| policy.domain.eq_ignore_ascii_case(domain));
        let all = self.policies.iter().filter(|(policy, _)| wanted(policy));
        all.map(|(policy, tally)| tally.told(policy)).collect()
    }

    /// Forgets a domain, once it has its report.
    pub fn forget(&mut self, domain: &str) {
        self.policies.retain(|policy, _| policy.domain != domain);
        self.details = self.policies.values().map(|tally| tally.failures.len()).sum();
    }

    /// All of it, to be kept over a restart with [`Aggregate::restore`].
    #[must_use]
    pub fn save(&self) -> Saved {
        Saved { untold: self.untold, policies: self.policies(None) }
    }

    /// What [`Aggregate::save`] made.
    #[must_use]
    pub fn restore(saved: Saved) -> Self {
        let mut restored = Self { untold: saved.untold, ..Self::default() };
        for told in saved.policies.into_iter().take(POLICIES_MAX) {
            let failures: BTreeMap<Failure, u64> =
                told.failures.into_iter().map(|detail| (detail.failure, detail.sessions)).collect();
            restored.details += failures.len();
            let tally = Tally { successful: told.summary.successful, failed: told.summary.failed, failures };
            restored.policies.insert(Arc::new(told.policy), tally);
        }
        restored
    }
}

/// The counts of a day as they are kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    untold: u64,
    policies: Vec<PolicyReport>,
}

/// The counts of several days, by day.
pub type SavedDays = BTreeMap<Day, Saved>;

impl Tally {
    fn told(&self, policy: &AppliedPolicy) -> PolicyReport {
        let detail =
            |(failure, sessions): (&Failure, &u64)| Detail { failure: failure.clone(), sessions: *sessions };
        PolicyReport {
            policy: policy.clone(),
            summary: Summary { successful: self.successful, failed: self.failed },
            failures: self.failures.iter().map(detail).collect(),
        }
    }
}

fn quoted_bytes(strings: &[String]) -> usize {
    strings.iter().map(String::len).sum()
}

fn is_short(policy: &AppliedPolicy) -> bool {
    [&policy.strings, &policy.mx_hosts]
        .iter()
        .all(|strings| strings.len() <= QUOTED_STRINGS_MAX && quoted_bytes(strings) <= QUOTED_BYTES_MAX)
}

fn shortened(policy: &AppliedPolicy) -> AppliedPolicy {
    let cut = |strings: &[String]| {
        let mut bytes = 0;
        let fits = |string: &&String| {
            bytes += string.len();
            bytes <= QUOTED_BYTES_MAX
        };
        strings.iter().take(QUOTED_STRINGS_MAX).take_while(fits).cloned().collect()
    };
    AppliedPolicy { strings: cut(&policy.strings), mx_hosts: cut(&policy.mx_hosts), ..policy.clone() }
}

fn bounded(mut failure: Failure) -> Failure {
    if let Some((at, _)) = failure.failure_reason_code.char_indices().nth(REASON_CHARACTERS_MAX) {
        failure.failure_reason_code.truncate(at);
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_report::ResultType;
    use mail::UnixMs;

    fn session(policy: &Arc<AppliedPolicy>, failure: Option<Failure>) -> Session {
        Session { at: UnixMs(0), policy: Arc::clone(policy), failure }
    }

    fn failure(host: &str) -> Failure {
        Failure { receiving_mx_hostname: host.to_owned(), ..Failure::new(ResultType::CertificateExpired) }
    }

    #[test]
    fn equal_failures_are_counted_together_and_totals_add_up() {
        let mut day = Aggregate::default();
        let none = Arc::new(AppliedPolicy::none("A.test"));
        for failure in [None, None, Some(failure("m")), Some(failure("n")), Some(failure("m"))] {
            day.add(session(&none, failure));
        }
        day.add(session(&Arc::new(AppliedPolicy::sts("b.test", None)), None));
        assert_eq!(day.domains(), ["a.test", "b.test"]);
        let told = day.policies(Some("a.test"));
        assert_eq!((told.len(), told[0].summary), (1, Summary { successful: 2, failed: 3 }));
        let counts: Vec<u64> = told[0].failures.iter().map(|detail| detail.sessions).collect();
        assert_eq!(counts, [2, 1]);
        assert_eq!(Aggregate::restore(day.save()), day);
        day.forget("a.test");
        assert_eq!(day.domains(), ["b.test"]);
    }

    #[test]
    fn memory_is_bounded_and_no_count_is_lost_within_a_policy() {
        let mut day = Aggregate::default();
        let policy = Arc::new(AppliedPolicy::tlsa(
            "a.test",
            "mx.a.test",
            (0..1_000).map(|number| format!("3 1 1 {number:064}")).collect(),
        ));
        for number in 0..1_000 {
            day.add(session(&policy, Some(failure(&number.to_string()))));
        }
        let told = day.policies(Some("a.test"));
        assert_eq!(told[0].summary.failed, 1_000);
        assert_eq!(told[0].failures.iter().map(|detail| detail.sessions).sum::<u64>(), 1_000);
        assert!(told[0].failures.len() <= DETAILS_MAX + ResultType::ALL.len());
        assert!(quoted_bytes(&told[0].policy.strings) <= QUOTED_BYTES_MAX);
        for number in 0..POLICIES_MAX + 10 {
            day.add(session(&Arc::new(AppliedPolicy::none(&format!("{number}.test"))), None));
        }
        assert_eq!((day.policies.len(), day.untold()), (POLICIES_MAX, 11));
    }
}
