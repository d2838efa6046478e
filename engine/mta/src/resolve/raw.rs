//! What is made of any bytes that a name server might send: for fuzzing only, behind the feature `raw-answers`. It asks
//! nobody and remembers nothing; all that is between a response and its meaning is the resolver's own.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::DnsResponse;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::fault::FaultKind;
use super::query::{Outcome, STEPS_MAX, Trail};
use super::resolver::{FAILURE, Gathered, absence, exchanges_in_time};
use super::texts;
use super::tlsa::{self, Tlsa};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawQuestion {
    /// The MX records of a domain.
    Exchanges,
    /// The A records of a host, and then its AAAA records.
    Addresses,
    /// The TLSA records at a name.
    Tlsa,
    /// The TXT records at a name.
    Texts,
}

/// Whose word on signatures is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawTrust {
    /// Nobody's.
    Never,
    /// The server's, by the AD bit.
    AuthenticData,
    /// That of a validator, which has found for the answer at index `i` what the two bits from `2 * (i % 32)` on say:
    /// 0 secure, 1 insecure, 2 bogus, 3 indeterminate.
    Validator(u64),
}

/// What was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawHeard {
    /// The hosts that take mail, with their preferences: by preference, then name.
    Exchanges(Vec<(u16, String)>),
    /// Of a host.
    Addresses {
        /// IPv4 before IPv6.
        found: Vec<IpAddr>,
        /// What failed, if a question did.
        failed: Option<FaultKind>,
        /// The names under which TLSA records may stand; none where that is for another question to say.
        signed_names: Vec<String>,
    },
    /// Of the host whose name was asked with.
    Tlsa(Tlsa),
    /// Each with its strings joined.
    Texts(Vec<String>),
    /// There are no MX records: the domain itself is the host, if it has an address.
    Implicit,
    /// A permanent or temporary fault.
    Fault(FaultKind),
}

/// What was understood of the responses to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// What it says.
    pub heard: RawHeard,
    /// For how long it holds; `None` for TXT records, which the resolver does not remember.
    pub holds: Option<Duration>,
    /// How many responses were used.
    pub responses: usize,
    /// The most aliases that led to records.
    pub aliases: usize,
}

/// Reads `responses`, DNS messages without a length in front, as what comes back to the questions for `name` one after
/// the other; after the last one the server is silent. A `name` that cannot be asked for is one that does not exist.
pub fn answer<'a>(
    question: RawQuestion,
    name: &str,
    trust: RawTrust,
    responses: impl IntoIterator<Item = &'a [u8]>,
) -> RawAnswer {
    let mut server = Server { responses: responses.into_iter(), trust, used: 0, aliases: 0 };
    let (heard, holds) = match question {
        RawQuestion::Exchanges => {
            let (heard, holds) = of_exchanges(name, server.follow(name, RecordType::MX));
            (heard, Some(holds))
        }
        RawQuestion::Addresses => {
            let v4 = server.follow(name, RecordType::A);
            let v6 = server.follow(name, RecordType::AAAA);
            let Gathered { found, failed, time, signing } = Gathered::of(name, v4, v6);
            let signed_names = signing.names(name).unwrap_or_default();
            (RawHeard::Addresses { found, failed: failed.map(|lack| lack.kind), signed_names }, Some(time))
        }
        RawQuestion::Tlsa => {
            let (tlsa, time) = tlsa::of_outcome(server.follow(name, RecordType::TLSA), name, name);
            (RawHeard::Tlsa(tlsa), Some(time))
        }
        RawQuestion::Texts => match texts::of_outcome(server.follow(name, RecordType::TXT)) {
            Ok(texts) => (RawHeard::Texts(texts), None),
            Err((kind, _)) => (RawHeard::Fault(kind), None),
        },
    };
    RawAnswer { heard, holds, responses: server.used, aliases: server.aliases }
}

fn of_exchanges(domain: &str, outcome: Outcome) -> (RawHeard, Duration) {
    match outcome {
        Outcome::Records(found) => {
            let (exchanges, time) = exchanges_in_time(domain, &found);
            (exchanges.map_or_else(|lack| RawHeard::Fault(lack.kind), RawHeard::Exchanges), time)
        }
        Outcome::NoRecords(time) => (RawHeard::Implicit, absence(time)),
        Outcome::Nothing => (RawHeard::Implicit, FAILURE),
        Outcome::NoName(time) => (RawHeard::Fault(FaultKind::NoDomain), absence(time)),
        Outcome::Failed(kind, _) => (RawHeard::Fault(kind), FAILURE),
    }
}

/// A name server that says what it was told to say.
struct Server<I> {
    responses: I,
    trust: RawTrust,
    used: usize,
    aliases: usize,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Server<I> {
    /// As the resolver does it, without lanes and limits of time.
    fn follow(&mut self, name: &str, record: RecordType) -> Outcome {
        let Ok(mut name) = Name::from_ascii(name) else {
            return Outcome::NoName(None);
        };
        name.set_fqdn(true);
        let mut trail = Trail::new(name);
        for _ in 0..STEPS_MAX {
            let Some(bytes) = self.responses.next() else {
                return Outcome::silence();
            };
            self.used += 1;
            let (asked, trust) = (trail.question(record), self.trust);
            let signed_by_word = |response: &DnsResponse| match trust {
                RawTrust::Never => Some(false),
                RawTrust::AuthenticData => Some(response.metadata.authentic_data),
                RawTrust::Validator(_) => None,
            };
            if let Some(outcome) = trail.step(&asked, response(bytes, trust), signed_by_word) {
                if let Outcome::Records(_) = outcome {
                    self.aliases = self.aliases.max(trail.aliases);
                }
                return outcome;
            }
        }
        Outcome::endless()
    }
}

/// What hickory makes of a response, and a validator after it.
fn response(bytes: &[u8], trust: RawTrust) -> Result<DnsResponse, NetError> {
    let mut response = DnsResponse::from_buffer(bytes.to_vec())?;
    if let RawTrust::Validator(found) = trust {
        for (index, answer) in response.answers.iter_mut().enumerate() {
            answer.proof = match found >> (2 * (index % 32)) & 3 {
                0 => Proof::Secure,
                1 => Proof::Insecure,
                2 => Proof::Bogus,
                _ => Proof::Indeterminate,
            };
        }
    }
    Ok(DnsError::from_response(response)?)
}
