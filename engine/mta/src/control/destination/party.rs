//! The domains whose mail shares a path, as far as reports need them: a session that serves several is one of each
//! (RFC 8460 section 4.1 counts by policy domain). It asks nobody, and forgets those who have sent nothing for a while.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use mail::UnixMs;

use super::{Destination, Told};

/// Domains remembered for a path; of more, those that came last.
const DOMAINS_MAX: usize = 16;
/// So long after its mail has come the sessions of a path are still a domain's: longer than a path rests.
const REMEMBERED_FOR: Duration = Duration::from_secs(15 * 60);

/// The domains of a path, in the order in which their mail last came.
#[derive(Default)]
pub(crate) struct Party {
    members: RefCell<Vec<Member>>,
}

struct Member {
    destination: Arc<Destination>,
    until: UnixMs,
}

impl Party {
    /// Mail for a domain has come.
    pub(crate) fn joins(&self, destination: &Arc<Destination>, now: UnixMs) {
        if destination.domain.is_none() {
            return;
        }
        let mut members = self.members.borrow_mut();
        let until = now + REMEMBERED_FOR;
        // Mostly mail for one domain after the other.
        if let Some(last) = members.last_mut().filter(|last| Arc::ptr_eq(&last.destination, destination)) {
            last.until = until;
            return;
        }
        members.retain(|member| member.destination.domain != destination.domain && member.until > now);
        if members.len() >= DOMAINS_MAX {
            members.remove(0);
        }
        members.push(Member { destination: Arc::clone(destination), until });
    }

    /// What is told of a session with the host called `name`, each domain once; `first` is that of the domain for which it
    /// was opened.
    pub(crate) fn told(&self, first: Option<&Told>, name: &str, now: UnixMs) -> Vec<Told> {
        let mut all: Vec<Told> = first.into_iter().cloned().collect();
        for member in self.members.borrow().iter().filter(|member| member.until > now) {
            let host = member.destination.hosts.iter().find(|host| host.name == name);
            let Some(told) = host.and_then(|host| host.told.as_ref()) else { continue };
            if all.iter().all(|other| other.policy.domain != told.policy.domain) {
                all.push(told.clone());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use mail::TlsWish;
    use policy::TlsPolicy;
    use policy::config::Access;
    use policy::provider::ProviderIndex;
    use policy::tls_report::AppliedPolicy;

    use super::super::Host;
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn destination(domain: &str) -> Arc<Destination> {
        let told = Told { policy: Arc::new(AppliedPolicy::none(domain)), is_stranger: false };
        let host = Host { told: Some(told), ..Host::new("mx.test".to_owned(), 10, Vec::new()) };
        Arc::new(Destination {
            site: 1,
            hosts: vec![host],
            provider: ProviderIndex::DEFAULT,
            tls: TlsPolicy::Opportunistic,
            identity: None,
            domain: Some(domain.into()),
            access: Access::default(),
            wish: TlsWish::Unstated,
            expires: NOW,
        })
    }

    fn domains(party: &Party, of: &Destination, host: &str, now: UnixMs) -> Vec<String> {
        let told = party.told(of.hosts[0].told.as_ref(), host, now);
        told.iter().map(|told| told.policy.domain.clone()).collect()
    }

    #[test]
    fn all_whose_mail_has_come_lately_are_told_once() {
        let (party, [a, b, again]) = (Party::default(), ["a.test", "b.test", "a.test"].map(destination));
        party.joins(&a, NOW);
        party.joins(&b, NOW);
        party.joins(&again, NOW);
        party.joins(&again, NOW);
        assert_eq!(domains(&party, &b, "mx.test", NOW), ["b.test", "a.test"]);
        assert_eq!(domains(&party, &b, "other.test", NOW), ["b.test"]);
        party.joins(&b, NOW + REMEMBERED_FOR / 2);
        assert_eq!(domains(&party, &b, "mx.test", NOW + REMEMBERED_FOR), ["b.test"]);
        for number in 0..3 * DOMAINS_MAX {
            party.joins(&destination(&format!("{number}.test")), NOW);
        }
        assert_eq!(domains(&party, &a, "mx.test", NOW).len(), 1 + DOMAINS_MAX);
    }
}
