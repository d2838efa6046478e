//! Single questions to DNS through hickory, with a limit on how many are open, told apart by what came back.

use std::io;
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use policy::config::Dns;

use super::fault::FaultKind;
use super::lanes::Lanes;
use super::servers::Servers;

/// Questions open at a time that may be answered any moment: each has a socket of its own.
const OPEN_MAX: usize = 256;
/// The same when each is some dozen, with signatures to check.
const OPEN_VALIDATED_MAX: usize = 64;
/// Questions open at a time that have not been answered for a while.
const SLOW_MAX: usize = 1024;
const SLOW_VALIDATED_MAX: usize = 128;
/// How long one name server may take: a little more than the 5 s after which it may itself have asked a second time.
pub(super) const SERVER_TIMEOUT: Duration = Duration::from_secs(6);
/// The end of all repeats.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Aliases (CNAME) followed from a name to its records.
const ALIASES_MAX: usize = 24;
/// Questions asked on the way, where the server does not follow aliases itself.
pub(super) const STEPS_MAX: usize = 8;

/// What came back, and for how long DNS says that it holds.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Records of the type, behind CNAMEs too.
    Records(Found),
    /// The name exists, but has no such record (NODATA), as the zone's SOA record confirms.
    NoRecords(Option<Duration>),
    /// An empty answer, or one about something else. Some servers mean NODATA by it, others lie.
    Nothing,
    /// The name does not exist (NXDOMAIN).
    NoName(Option<Duration>),
    /// There was no usable answer; the text names what there was.
    Failed(FaultKind, String),
}

/// Records of the type that was asked for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) records: Vec<RData>,
    /// For how long they hold, and the aliases that led to them.
    pub(super) time: Duration,
    /// Whether they, and the aliases, are signed by their zones.
    pub(super) secure: bool,
    /// Where the aliases led; `None` without any.
    pub(super) alias_of: Option<String>,
}

impl Outcome {
    fn failed(what: impl Into<String>) -> Self {
        Self::Failed(FaultKind::ServerFailure, what.into())
    }

    pub(super) fn endless() -> Self {
        Self::failed("aliases without an end")
    }

    pub(super) fn silence() -> Self {
        Self::Failed(FaultKind::NoAnswer, "no answer in time".to_owned())
    }
}

/// Who asks.
pub(super) struct Questions {
    servers: Servers,
    hosts: Hosts,
    lanes: Lanes,
}

impl Questions {
    /// Asks the servers of `dns`, or those of the system if there are none.
    pub(super) fn new(dns: &Dns, server_timeout: Duration) -> io::Result<Self> {
        let (servers, hosts) = Servers::new(dns, server_timeout)?;
        let lanes = match servers {
            Servers::Validating(_) => Lanes::new(OPEN_VALIDATED_MAX, SLOW_VALIDATED_MAX),
            _ => Lanes::new(OPEN_MAX, SLOW_MAX),
        };
        Ok(Self { servers, hosts, lanes })
    }

    /// Whether any answer can count as signed.
    pub(super) const fn know_signatures(&self) -> bool {
        self.servers.know_signatures()
    }

    /// Asks for the records of one type. `name` is absolute: search lists are for people at terminals.
    pub(super) async fn ask(&self, name: &str, record: RecordType) -> Outcome {
        let Ok(mut name) = Name::from_ascii(name) else {
            return Outcome::NoName(None);
        };
        name.set_fqdn(true);
        if let Some(known) = self.known_here(&name, record) {
            return known;
        }
        let question = tokio::time::timeout(QUESTION_TIMEOUT, self.follow(name, record));
        match self.lanes.pass(question).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Outcome::silence(),
            None => Outcome::Failed(
                FaultKind::NoAnswer,
                "no answer yet, and too many other questions wait".to_owned(),
            ),
        }
    }

    /// What need not, or must not, be asked: the hosts file, and names that are not of DNS (RFC 6761, RFC 7686).
    fn known_here(&self, name: &Name, record: RecordType) -> Option<Outcome> {
        let found = |records| {
            let time = Duration::from_secs(24 * 3600);
            Some(Outcome::Records(Found { records, time, secure: false, alias_of: None }))
        };
        if let Some(lookup) = self.hosts.lookup_static_host(&Query::query(name.clone(), record)) {
            let records: Vec<RData> = lookup.answers().iter().map(|answer| answer.data.clone()).collect();
            return if records.is_empty() { Some(Outcome::NoRecords(None)) } else { found(records) };
        }
        let last = name.iter().next_back().unwrap_or_default();
        match record {
            _ if last.eq_ignore_ascii_case(b"invalid") || last.eq_ignore_ascii_case(b"onion") => {
                Some(Outcome::NoName(None))
            }
            _ if !last.eq_ignore_ascii_case(b"localhost") => None,
            RecordType::A => found(vec![RData::A(A::new(127, 0, 0, 1))]),
            RecordType::AAAA => found(vec![RData::AAAA(AAAA(std::net::Ipv6Addr::LOCALHOST))]),
            _ => Some(Outcome::NoRecords(None)),
        }
    }

    /// Asks, and asks on where an alias leads out of the answer.
    async fn follow(&self, name: Name, record: RecordType) -> Outcome {
        let mut trail = Trail::new(name);
        for _ in 0..STEPS_MAX {
            let asked = trail.question(record);
            let response = self.servers.ask(asked.clone()).await;
            if let Some(outcome) = trail.step(&asked, response, |response| self.is_signed_by_word(response)) {
                return outcome;
            }
        }
        Outcome::endless()
    }

    /// Whether the whole answer counts as signed (`Some`), or each record has its own proof.
    fn is_signed_by_word(&self, response: &DnsResponse) -> Option<bool> {
        match &self.servers {
            Servers::Plain(_) => Some(false),
            Servers::TrustAd(_) => Some(response.metadata.authentic_data),
            Servers::Validating(_) => None,
        }
    }
}

/// The way from a name over its aliases to records.
pub(super) struct Trail {
    owner: Name,
    pub(super) aliases: usize,
    seconds: u32,
    secure: bool,
    signed_by_word: Option<bool>,
}

impl Trail {
    pub(super) const fn new(name: Name) -> Self {
        Self { owner: name, aliases: 0, seconds: u32::MAX, secure: true, signed_by_word: Some(false) }
    }

    /// The question at which the way has arrived.
    pub(super) fn question(&self, record: RecordType) -> Query {
        Query::query(self.owner.clone(), record)
    }

    /// Goes on with what came back to `asked`, [`Trail::question`]; `None` when there is a next question.
    pub(super) fn step(
        &mut self,
        asked: &Query,
        response: Result<DnsResponse, NetError>,
        signed_by_word: impl FnOnce(&DnsResponse) -> Option<bool>,
    ) -> Option<Outcome> {
        let response = match response {
            Ok(response) if response.queries.first() == Some(asked) => response,
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if *none.query == *asked => {
                return Some(of_none(&none));
            }
            // Over TCP, hickory does not compare the question that comes back with the one that was asked.
            Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_))) => {
                return Some(Outcome::failed("an answer to another question"));
            }
            Err(fault) => return Some(of_fault(&fault)),
        };
        self.signed_by_word = signed_by_word(&response);
        self.walk(asked.query_type(), &response.answers)
    }

    /// Follows the aliases within an answer; `None` when they lead out of it. What belongs to other names is not
    /// believed.
    fn walk(&mut self, record: RecordType, answers: &[Record]) -> Option<Outcome> {
        let began_with = self.aliases;
        loop {
            let (mut records, mut alias) = (Vec::new(), None);
            for answer in answers.iter().filter(|answer| answer.name == self.owner) {
                match &answer.data {
                    data if data.record_type() == record => records.push(data.clone()),
                    RData::CNAME(target) => alias = Some(target.0.clone()),
                    _ => continue,
                }
                match (self.signed_by_word, answer.proof) {
                    (Some(signed), _) => self.secure &= signed,
                    (None, Proof::Secure) => {}
                    (None, Proof::Insecure) => self.secure = false,
                    (None, Proof::Bogus | Proof::Indeterminate) => {
                        return Some(Outcome::failed("the DNSSEC signatures are not good"));
                    }
                }
                // The shortest-lived link of the chain decides.
                self.seconds = self.seconds.min(answer.ttl);
            }
            if !records.is_empty() {
                return Some(Outcome::Records(self.found(records)));
            }
            let Some(target) = alias else {
                return if self.aliases > began_with { None } else { Some(Outcome::Nothing) };
            };
            self.owner = target;
            self.aliases += 1;
            if self.aliases > ALIASES_MAX {
                return Some(Outcome::endless());
            }
        }
    }

    fn found(&self, records: Vec<RData>) -> Found {
        let alias_of = || self.owner.to_ascii().to_ascii_lowercase().trim_end_matches('.').to_owned();
        Found {
            records,
            time: Duration::from_secs(u64::from(self.seconds)),
            secure: self.secure,
            alias_of: (self.aliases > 0).then(alias_of),
        }
    }
}

fn of_fault(fault: &NetError) -> Outcome {
    match fault {
        NetError::Dns(DnsError::NoRecordsFound(none)) => of_none(none),
        NetError::Dns(DnsError::ResponseCode(code)) => Outcome::failed(mnemonic(*code)),
        // There is no proof that there is none, and the zone is not signed: as good as anywhere else.
        NetError::Dns(DnsError::Nsec { response, proof: Proof::Insecure, .. }) => {
            match DnsError::from_response((**response).clone()) {
                Err(DnsError::NoRecordsFound(none)) => of_none(&none),
                _ => Outcome::Nothing,
            }
        }
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => {
            Outcome::failed("the DNSSEC proof of absence is not good")
        }
        NetError::Timeout => Outcome::silence(),
        NetError::NoConnections | NetError::Io(_) | NetError::Busy => {
            Outcome::Failed(FaultKind::NoAnswer, format!("no name server could be reached: {fault}"))
        }
        other => Outcome::failed(format!("an unusable answer: {other}")),
    }
}

fn of_none(none: &NoRecords) -> Outcome {
    let holds = none.negative_ttl.map(|seconds| Duration::from_secs(u64::from(seconds)));
    match none.response_code {
        ResponseCode::NXDomain => Outcome::NoName(holds),
        ResponseCode::NoError if none.soa.is_some() => Outcome::NoRecords(holds),
        ResponseCode::NoError => Outcome::Nothing,
        other => Outcome::failed(mnemonic(other)),
    }
}

/// The names that DNS tools print.
fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("code {}, {other}", u16::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{A, CNAME};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect(text)
    }

    fn alias(from: &str, to: &str, ttl: u32) -> Record {
        Record::from_rdata(name(from), ttl, RData::CNAME(CNAME(name(to))))
    }

    fn address(of: &str, ttl: u32) -> Record {
        Record::from_rdata(name(of), ttl, RData::A(A::new(192, 0, 2, 1)))
    }

    fn shown(answers: &[Record]) -> String {
        match Trail::new(name("a.test.")).walk(RecordType::A, answers) {
            Some(Outcome::Records(found)) => {
                let alias = found.alias_of.map(|to| format!(" at {to}")).unwrap_or_default();
                format!("{} for {}{alias}", found.records.len(), found.time.as_secs())
            }
            Some(Outcome::Failed(_, what)) => what,
            Some(other) => format!("{other:?}"),
            None => "to be asked on".to_owned(),
        }
    }

    #[test]
    fn only_what_belongs_to_the_question_is_believed() {
        let (ab, bc, ca) = (
            alias("a.test.", "b.test.", 30),
            alias("B.test.", "c.test.", 20),
            alias("c.test.", "a.test.", 10),
        );
        assert_eq!(shown(&[address("A.test.", 60), address("a.test.", 50)]), "2 for 50");
        assert_eq!(shown(&[address("c.test.", 60), bc.clone(), ab.clone()]), "1 for 20 at c.test");
        assert_eq!(shown(&[ab.clone(), bc.clone(), address("evil.test.", 5)]), "to be asked on");
        assert_eq!(shown(&[address("evil.test.", 60)]), "Nothing");
        assert_eq!(shown(&[]), "Nothing");
        assert_eq!(shown(&[ab, bc, ca]), "aliases without an end");
    }

    #[test]
    fn one_unsigned_link_leaves_the_chain_unsigned_and_a_bad_one_breaks_it() {
        let proven = |mut record: Record, proof| {
            record.proof = proof;
            record
        };
        for (first, second, expected) in [
            (Proof::Secure, Proof::Secure, Some(true)),
            (Proof::Secure, Proof::Insecure, Some(false)),
            (Proof::Insecure, Proof::Secure, Some(false)),
            (Proof::Secure, Proof::Bogus, None),
            (Proof::Indeterminate, Proof::Secure, None),
        ] {
            let answers =
                [proven(alias("a.test.", "b.test.", 30), first), proven(address("b.test.", 30), second)];
            let mut trail = Trail { signed_by_word: None, ..Trail::new(name("a.test.")) };
            let secure = match trail.walk(RecordType::A, &answers) {
                Some(Outcome::Records(found)) => Some(found.secure),
                Some(Outcome::Failed(FaultKind::ServerFailure, _)) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(secure, expected, "{first:?} {second:?}");
        }
    }
}
