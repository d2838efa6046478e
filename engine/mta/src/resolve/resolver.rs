//! From a domain to its mail hosts, by the rules of RFC 5321 section 5.1 and RFC 7505, through shared caches.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, join_all, select};
use hickory_resolver::proto::rr::{RData, RecordType};
use policy::config::Dns;

use super::cache::{Answer, Cache, Staleness};
use super::domain::{Destination, is_host_name};
use super::fault::{FaultKind, ResolveFault};
use super::hosts::{Host, MailHosts};
use super::query::{Found, Outcome, Questions, SERVER_TIMEOUT};
use super::tlsa::{Proofs, Tlsa};

/// Answers hold so long at least: below it, names that change at every question would cost one per message.
const ANSWER_MIN: Duration = Duration::from_secs(60);
/// Answers hold so long at most, whatever DNS says.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// "There is none" holds so long at least, and at most: a domain just registered should not wait for a day.
const ABSENCE_MIN: Duration = Duration::from_secs(5 * 60);
const ABSENCE_MAX: Duration = Duration::from_secs(60 * 60);
/// A failure holds so long: mail waits longer than this anyway, and the server is spared.
pub(super) const FAILURE: Duration = Duration::from_secs(30);

/// So long after its time an answer is given at once, while a new one is fetched: mail for a site in use never waits
/// for DNS.
const STALE_MEANWHILE: Duration = Duration::from_secs(5 * 60);
/// So long after its time an answer is better than none: a resolver that is down for a night stops no mail to sites
/// that are known (RFC 8767 section 5 has one to three days).
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// When a host has addresses of one kind, so long are those of the other kind waited for.
const SECOND_ANSWER: Duration = Duration::from_secs(3);

/// Domains and hosts kept; some 30 MB when full.
const DOMAINS_MAX: usize = 100_000;
const HOSTS_MAX: usize = 50_000;
/// Hosts of a domain that are looked at, the preferred ones, and addresses of a host.
const HOSTS_OF_DOMAIN_MAX: usize = 16;
const ADDRESSES_MAX: usize = 16;

/// Finds the mail hosts of domains. Clones share the caches; needs a tokio runtime with IO and time.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    questions: Questions,
    domains: Cache<Known>,
    hosts: Cache<Addresses>,
    proofs: Proofs,
}

/// What is known of a domain.
type Known = Result<Hosts, Lack>;

/// The hosts of a domain, as [`MailHosts`] has them.
#[derive(Clone)]
struct Hosts {
    list: Arc<[Host]>,
    signed: bool,
    incomplete: Option<Arc<str>>,
}

impl Hosts {
    fn one(host: Host) -> Self {
        let signed = !host.signed_names.is_empty();
        Self { list: [host].into(), signed, incomplete: None }
    }
}

/// A [`ResolveFault`] before its time is known.
#[derive(Clone)]
pub(super) struct Lack {
    pub(super) kind: FaultKind,
    text: Arc<str>,
}

impl Lack {
    fn new(kind: FaultKind, text: String) -> Self {
        Self { kind, text: text.into() }
    }
}

/// What DNS says of one host.
#[derive(Clone)]
struct Addresses {
    found: Arc<[IpAddr]>,
    /// What failed, if a question did; then `found` may be incomplete.
    failed: Option<Lack>,
    /// See [`Host::signed_names`].
    signed_names: Arc<[String]>,
}

impl Resolver {
    /// Asks the servers of `dns`, or those of /etc/resolv.conf (and /etc/hosts for addresses) if there are none.
    ///
    /// # Errors
    /// When the resolver cannot be set up, or the trust anchors cannot be read.
    pub fn new(dns: &Dns) -> io::Result<Self> {
        Self::with_timeout(dns, SERVER_TIMEOUT)
    }

    pub(super) fn with_timeout(dns: &Dns, server_timeout: Duration) -> io::Result<Self> {
        let questions = Questions::new(dns, server_timeout)?;
        let domains = Cache::with_stale(DOMAINS_MAX, staleness(is_unknown));
        let hosts = Cache::with_stale(HOSTS_MAX, staleness(Addresses::is_unknown));
        Ok(Self { shared: Arc::new(Shared { questions, domains, hosts, proofs: Proofs::new() }) })
    }

    /// For questions of other kinds, which have no cache here.
    pub(super) fn questions(&self) -> &Questions {
        &self.shared.questions
    }

    /// The hosts that take mail for `domain`: what stands behind the `@`, in any script, or an address literal.
    ///
    /// The addresses are what DNS says; whether they may be dialled is for [`super::dialable`] to say.
    ///
    /// # Errors
    /// A permanent fault when DNS says that there is none, a temporary one when it does not say.
    pub async fn mail_hosts(&self, domain: &str) -> Result<MailHosts, ResolveFault> {
        let name = match Destination::parse(domain) {
            Some(Destination::Domain(name)) => name,
            Some(Destination::Literal(ip)) => return Ok(of_literal(domain, ip)),
            None => return Err(not_a_domain(domain)),
        };
        let Some(stale) = self.shared.domains.stale(&name) else {
            return unwrap(self.shared.domain(&name).await);
        };
        if stale.is_alone {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { drop(shared.domain(&name).await) });
        }
        unwrap(stale.answer)
    }

    /// What signed TLSA records say of a host of [`Resolver::mail_hosts`] for the service at `port`, and for how long
    /// this may be used.
    pub async fn tlsa(&self, host: &Host, port: u16) -> (Tlsa, Duration) {
        self.shared.proofs.find(&self.shared.questions, host, port).await
    }

    /// The addresses of a host that the operator has named, without a look at its MX records.
    ///
    /// # Errors
    /// A permanent fault when it has none, a temporary one when DNS does not say.
    pub async fn host(&self, name: &str) -> Result<MailHosts, ResolveFault> {
        if let Ok(ip) = name.parse() {
            return Ok(of_literal(name, ip));
        }
        let name = match Destination::parse(name) {
            Some(Destination::Domain(name)) => name,
            Some(Destination::Literal(ip)) => return Ok(of_literal(name, ip)),
            None => return Err(not_a_domain(name)),
        };
        let answer = self.shared.addresses(&name).await;
        let value = match (&answer.value.failed, answer.value.found.is_empty()) {
            (_, false) => Ok(Hosts::one(host(&name, 0, &answer.value))),
            (Some(lack), true) => Err(lack.clone()),
            (None, true) => Err(Lack::new(
                FaultKind::NoAddress,
                format!("the host {name} has no address (DNS has no A or AAAA record for it)"),
            )),
        };
        unwrap(Answer { value, until: answer.until })
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

fn staleness<V>(is_failure: fn(&V) -> bool) -> Staleness<V> {
    Staleness { is_failure, meanwhile: STALE_MEANWHILE, at_most: STALE_MAX, holds: FAILURE }
}

fn is_unknown(known: &Known) -> bool {
    known.as_ref().is_err_and(|lack| !lack.kind.is_permanent())
}

impl Addresses {
    fn is_unknown(&self) -> bool {
        self.found.is_empty() && self.failed.is_some()
    }
}

fn unwrap(answer: Answer<Known>) -> Result<MailHosts, ResolveFault> {
    let expires_in = answer.until.saturating_duration_since(Instant::now());
    match answer.value {
        Ok(Hosts { list, signed, incomplete }) => {
            let incomplete = incomplete.map(|what| what.as_ref().to_owned());
            Ok(MailHosts { hosts: list.to_vec(), signed, incomplete, expires_in })
        }
        Err(lack) => Err(ResolveFault { kind: lack.kind, text: lack.text.as_ref().to_owned(), expires_in }),
    }
}

fn of_literal(text: &str, ip: IpAddr) -> MailHosts {
    let host = Host {
        name: text.to_ascii_lowercase(),
        preference: 0,
        addresses: vec![ip],
        signed_names: Vec::new(),
    };
    MailHosts { hosts: vec![host], signed: false, incomplete: None, expires_in: ANSWER_MAX }
}

fn not_a_domain(text: &str) -> ResolveFault {
    let text = format!("{} is neither a domain nor an address literal", text.escape_debug());
    ResolveFault { kind: FaultKind::NotADomain, text, expires_in: ANSWER_MAX }
}

fn host(name: &str, preference: u16, addresses: &Addresses) -> Host {
    Host {
        name: name.to_owned(),
        preference,
        addresses: addresses.found.to_vec(),
        signed_names: addresses.signed_names.to_vec(),
    }
}

pub(super) fn holds<V>(value: V, time: Duration) -> Answer<V> {
    Answer { value, until: Instant::now() + time }
}

/// For how long records are kept that hold for `time`.
pub(super) fn presence(time: Duration) -> Duration {
    time.clamp(ANSWER_MIN, ANSWER_MAX)
}

/// For how long it is remembered that there is none, when DNS says so for `time`.
pub(super) fn absence(time: Option<Duration>) -> Duration {
    time.unwrap_or_default().clamp(ABSENCE_MIN, ABSENCE_MAX)
}

impl Shared {
    async fn domain(&self, domain: &str) -> Answer<Known> {
        self.domains.get(domain, || self.find(domain)).await
    }

    async fn find(&self, domain: &str) -> Answer<Known> {
        match self.questions.ask(domain, RecordType::MX).await {
            Outcome::Records(found) => self.of_exchanges(domain, &found).await,
            Outcome::NoRecords(time) => self.of_implicit(domain, absence(time)).await,
            Outcome::Nothing => self.of_implicit(domain, FAILURE).await,
            Outcome::NoName(time) => holds(
                Err(Lack::new(
                    FaultKind::NoDomain,
                    format!("the domain {domain} does not exist (DNS answered NXDOMAIN)"),
                )),
                absence(time),
            ),
            Outcome::Failed(kind, what) => holds(Err(failure(domain, RecordType::MX, kind, &what)), FAILURE),
        }
    }

    /// No MX record: the domain itself is the host (RFC 5321 section 5.1, "implicit MX").
    async fn of_implicit(&self, domain: &str, time: Duration) -> Answer<Known> {
        let answer = self.addresses(domain).await;
        let until = answer.until.min(Instant::now() + time);
        let value = match (&answer.value.failed, answer.value.found.is_empty()) {
            (_, false) => Ok(Hosts::one(host(domain, 0, &answer.value))),
            (Some(lack), true) => Err(lack.clone()),
            (None, true) => Err(Lack::new(
                FaultKind::NoRecords,
                format!("the domain {domain} has no mail server (DNS has no MX, A or AAAA record for it)"),
            )),
        };
        Answer { value, until }
    }

    async fn of_exchanges(&self, domain: &str, found: &Found) -> Answer<Known> {
        let (exchanges, time) = exchanges_in_time(domain, found);
        let exchanges = match exchanges {
            Ok(exchanges) => exchanges,
            Err(lack) => return holds(Err(lack), time),
        };
        let answers = join_all(exchanges.iter().map(|(_, name)| self.addresses(name))).await;
        let until = answers.iter().map(|answer| answer.until).fold(Instant::now() + time, Instant::min);
        let pairs = exchanges.iter().zip(&answers);
        let hosts: Vec<Host> =
            pairs.map(|((preference, name), answer)| host(name, *preference, &answer.value)).collect();
        let failed = answers.into_iter().find_map(|answer| answer.value.failed);
        if hosts.iter().any(|host| !host.addresses.is_empty()) {
            let incomplete = failed.map(|lack| lack.text);
            let value = Ok(Hosts { list: hosts.into(), signed: found.secure, incomplete });
            return Answer { value, until };
        }
        let lack = failed.unwrap_or_else(|| no_address(domain, hosts.iter().map(|host| host.name.as_str())));
        Answer { value: Err(lack), until }
    }

    async fn addresses(&self, name: &str) -> Answer<Addresses> {
        self.hosts.get(name, || self.ask_addresses(name)).await
    }

    async fn ask_addresses(&self, name: &str) -> Answer<Addresses> {
        let (v4, v6) = self.ask_both(name).await;
        let Gathered { found, failed, time, signing } = Gathered::of(name, v4, v6);
        let signed_names = self.signed_names(name, signing).await;
        holds(Addresses { found: found.into(), failed, signed_names }, time)
    }

    /// See [`Host::signed_names`].
    async fn signed_names(&self, name: &str, signing: Signing) -> Arc<[String]> {
        match signing.names(name) {
            Some(names) => names.into(),
            None if self.questions.know_signatures() => {
                match self.questions.ask(name, RecordType::CNAME).await {
                    Outcome::Records(found) if found.secure => [name.to_owned()].into(),
                    _ => [].into(),
                }
            }
            None => [].into(),
        }
    }

    async fn ask_both(&self, name: &str) -> (Outcome, Outcome) {
        let v4 = std::pin::pin!(self.questions.ask(name, RecordType::A));
        let v6 = std::pin::pin!(self.questions.ask(name, RecordType::AAAA));
        match select(v4, v6).await {
            Either::Left((v4, v6)) => {
                let v6 = other(&v4, v6).await;
                (v4, v6)
            }
            Either::Right((v6, v4)) => {
                let v4 = other(&v6, v4).await;
                (v4, v6)
            }
        }
    }
}

/// What two answers say of the addresses of a host.
pub(super) struct Gathered {
    pub(super) found: Vec<IpAddr>,
    /// See [`Addresses::failed`].
    pub(super) failed: Option<Lack>,
    pub(super) time: Duration,
    pub(super) signing: Signing,
}

impl Gathered {
    /// From what came to the questions for A and for AAAA records.
    pub(super) fn of(name: &str, v4: Outcome, v6: Outcome) -> Self {
        let (mut found, mut failed, mut empty) = (Vec::new(), None, None);
        let mut time = ANSWER_MAX;
        let mut signing = Signing::default();
        for (record, outcome) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
            let so_long = match outcome {
                Outcome::Records(answer) => {
                    found.extend(answer.records.iter().filter_map(RData::ip_addr).take(ADDRESSES_MAX / 2));
                    signing.add(&answer);
                    presence(answer.time)
                }
                Outcome::NoRecords(so_long) | Outcome::NoName(so_long) => absence(so_long),
                Outcome::Nothing => {
                    empty = Some(failure(name, record, FaultKind::ServerFailure, "an empty answer"));
                    ABSENCE_MIN
                }
                Outcome::Failed(kind, what) => {
                    failed = Some(failure(name, record, kind, &what));
                    FAILURE
                }
            };
            time = time.min(so_long);
        }
        // Without any address, an empty answer is too little to say that there is none.
        if found.is_empty() && failed.is_none() && empty.is_some() {
            (failed, time) = (empty, FAILURE);
        }
        Self { found, failed, time, signing }
    }
}

/// Whether the addresses of a host are signed.
#[derive(Default)]
pub(super) struct Signing {
    /// All answers that there were.
    all: Option<bool>,
    alias_of: Option<String>,
}

impl Signing {
    fn add(&mut self, answer: &Found) {
        self.all = Some(self.all.unwrap_or(true) && answer.secure);
        self.alias_of = self.alias_of.take().or_else(|| answer.alias_of.clone());
    }

    /// The names under which TLSA records may stand (RFC 7672 section 2.2.2); `None` where the alias may be signed
    /// though what it leads to is not. Where the aliases lead to what is no host name (the root, a wildcard, a label with
    /// a dot in it), no certificate can be for that, and only the host's own name counts.
    pub(super) fn names(&self, name: &str) -> Option<Vec<String>> {
        let own = || name.to_owned();
        match (self.all, &self.alias_of) {
            (Some(true), Some(target)) if target != name && is_host_name(target) => {
                Some(vec![target.clone(), own()])
            }
            (Some(true), _) => Some(vec![own()]),
            (Some(false), Some(_)) => None,
            _ => Some(Vec::new()),
        }
    }
}

/// Waits for the second answer; not for long if the first one is good. Some name servers never answer AAAA questions.
async fn other(first: &Outcome, second: impl Future<Output = Outcome>) -> Outcome {
    if !matches!(first, Outcome::Records(_)) {
        return second.await;
    }
    let late = |_| Outcome::Failed(FaultKind::NoAnswer, "no answer in time".to_owned());
    tokio::time::timeout(SECOND_ANSWER, second).await.unwrap_or_else(late)
}

fn failure(name: &str, record: RecordType, kind: FaultKind, what: &str) -> Lack {
    Lack::new(kind, format!("DNS does not say for now where {name} is ({record} question: {what})"))
}

fn no_address<'a>(domain: &str, names: impl Iterator<Item = &'a str>) -> Lack {
    let names: Vec<&str> = names.collect();
    let text =
        format!("no mail server of {domain} has an address in DNS (its MX names {})", names.join(", "));
    Lack::new(FaultKind::NoAddress, text)
}

/// The hosts that MX records name, and for how long.
pub(super) fn exchanges_in_time(domain: &str, found: &Found) -> (Result<Vec<(u16, String)>, Lack>, Duration) {
    let (exchanges, time) = (exchanges(domain, &found.records), presence(found.time));
    let time = if exchanges.is_ok() { time } else { absence(Some(time)) };
    (exchanges, time)
}

/// The hosts that MX records name: by preference, then name, without repetitions, the first 16.
fn exchanges(domain: &str, records: &[RData]) -> Result<Vec<(u16, String)>, Lack> {
    let mut exchanges = Vec::new();
    let mut unusable = Vec::new();
    for record in records {
        let RData::MX(mx) = record else { continue };
        let name = mx.exchange.to_ascii().to_ascii_lowercase();
        match name.strip_suffix('.').unwrap_or(&name) {
            // The root stands for "no host": all that RFC 7505 wants to say.
            "" => {}
            name if is_host_name(name) => exchanges.push((mx.preference, name.to_owned())),
            name => unusable.push(name.escape_debug().to_string()),
        }
    }
    if exchanges.is_empty() && unusable.is_empty() {
        return Err(Lack::new(
            FaultKind::NullMx,
            format!("the domain {domain} does not take mail (DNS has a null MX record for it)"),
        ));
    }
    if exchanges.is_empty() {
        unusable.truncate(HOSTS_OF_DOMAIN_MAX);
        return Err(no_address(domain, unusable.iter().map(String::as_str)));
    }
    exchanges.sort_unstable();
    let mut seen = std::collections::HashSet::new();
    exchanges.retain(|(_, name)| seen.insert(name.clone()));
    exchanges.truncate(HOSTS_OF_DOMAIN_MAX);
    Ok(exchanges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tlsa_records_are_looked_for_under_host_names_only() {
        for (alias_of, expected) in [
            (None, vec!["a.test"]),
            (Some("a.test"), vec!["a.test"]),
            (Some("b.test"), vec!["b.test", "a.test"]),
            (Some(""), vec!["a.test"]),
            (Some("*.test"), vec!["a.test"]),
            (Some("b.test\\"), vec!["a.test"]),
        ] {
            let signing = Signing { all: Some(true), alias_of: alias_of.map(str::to_owned) };
            assert_eq!(signing.names("a.test").expect("they are signed"), expected, "{alias_of:?}");
        }
    }
}
