//! What a name server might send is read as answers. The first byte says what is asked and whose word on signatures is
//! taken, the next eight what a validator found; then messages as over TCP, with their lengths in front (RFC 1035
//! section 4.2.2). What was believed is looked for again in the messages, in a simpler way.
#![no_main]

use std::collections::HashSet;
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use libfuzzer_sys::fuzz_target;
use mta::resolve::Tlsa;
use mta::resolve::raw::{RawAnswer, RawHeard, RawQuestion, RawTrust, answer};

/// The name that is asked for.
const NAME: &str = "a.test";

const FAILURE: Duration = Duration::from_secs(30);
const ABSENCE_MIN: Duration = Duration::from_secs(300);
const ABSENCE_MAX: Duration = Duration::from_secs(3600);
const ANSWER_MIN: Duration = Duration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(86_400);

fuzz_target!(|bytes: &[u8]| {
    let Some((&[first, ref proofs @ ..], rest)) = bytes.split_first_chunk::<9>() else { return };
    let question = match first % 4 {
        0 => RawQuestion::Exchanges,
        1 => RawQuestion::Addresses,
        2 => RawQuestion::Tlsa,
        _ => RawQuestion::Texts,
    };
    let trust = match first / 4 % 3 {
        0 => RawTrust::Never,
        1 => RawTrust::AuthenticData,
        _ => RawTrust::Validator(u64::from_le_bytes(*proofs)),
    };
    let responses = messages(rest);
    let answer = answer(question, NAME, trust, responses.iter().copied());
    bounds(question, trust, &answer);
    believed(&answer, &Zone::of(&responses[..answer.responses]));
});

/// The last message may be shorter than it says.
fn messages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (message, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        messages.push(message);
        bytes = rest;
    }
    messages
}

/// Whatever came, no more is kept than the documentation says.
fn bounds(question: RawQuestion, trust: RawTrust, answer: &RawAnswer) {
    let steps = if question == RawQuestion::Addresses { 16 } else { 8 };
    assert!(answer.responses <= steps && answer.aliases <= 24);
    assert_eq!(answer.holds.is_none(), question == RawQuestion::Texts);
    let holds = answer.holds.unwrap_or(FAILURE);
    let within = |least, most| (least..=most).contains(&holds);
    let absent = || holds == FAILURE || within(ABSENCE_MIN, ABSENCE_MAX);
    match &answer.heard {
        RawHeard::Exchanges(hosts) => {
            assert!((1..=16).contains(&hosts.len()) && hosts.is_sorted() && within(ANSWER_MIN, ANSWER_MAX));
            assert!(hosts.iter().all(|(_, name)| is_plain_name(name)));
            let names: HashSet<&String> = hosts.iter().map(|(_, name)| name).collect();
            assert_eq!(names.len(), hosts.len(), "each host once");
        }
        RawHeard::Addresses { found, failed, signed_names } => {
            assert!(found.is_sorted_by_key(|ip| ip.is_ipv6()) && found.len() <= 16);
            assert!(within(FAILURE, ANSWER_MAX) && (failed.is_none() || holds <= ABSENCE_MAX));
            assert!(failed.is_none_or(|kind| !kind.is_permanent()));
            assert!(signed_names.len() <= 2 && signed_names.iter().all(|name| is_plain_name(name)));
            assert!(signed_names.is_empty() || trust != RawTrust::Never);
            assert!(signed_names.last().is_none_or(|name| name == NAME));
        }
        RawHeard::Tlsa(tlsa) => {
            assert!(
                within(FAILURE, ANSWER_MAX)
                    && (*tlsa == Tlsa::None || trust != RawTrust::Never || holds == FAILURE)
            );
            if let Tlsa::Usable(set) = tlsa {
                assert!((1..=32).contains(&set.associations.len()) && set.associations.is_sorted());
                assert!(set.associations.iter().all(mta::io::tls::Association::is_usable));
                assert_eq!(set.names, [NAME]);
            }
        }
        RawHeard::Texts(texts) => assert!(texts.len() <= 64),
        RawHeard::Implicit => assert!(absent()),
        RawHeard::Fault(_) => assert!(question == RawQuestion::Texts || absent()),
    }
}

/// Lower case, A-labels, no final dot, no address.
fn is_plain_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_plain);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The records of all messages that stand at the name, or at where aliases lead from there.
struct Zone {
    names: HashSet<Name>,
    records: Vec<Record>,
}

impl Zone {
    fn of(responses: &[&[u8]]) -> Self {
        let messages = responses.iter().filter_map(|bytes| Message::from_vec(bytes).ok());
        let mut records: Vec<Record> = messages.flat_map(|message| message.answers).collect();
        let mut names = HashSet::from([Name::from_ascii(format!("{NAME}.")).expect("a name")]);
        loop {
            let ours = records.iter().filter(|record| names.contains(&record.name));
            let targets: Vec<Name> = ours
                .filter_map(|record| match &record.data {
                    RData::CNAME(target) => Some(target.0.clone()),
                    _ => None,
                })
                .collect();
            let before = names.len();
            names.extend(targets);
            if names.len() == before {
                break;
            }
        }
        records.retain(|record| names.contains(&record.name));
        Self { names, records }
    }

    /// Whether a record says so, and lives for as long as it is to be kept.
    fn says(&self, kind: RecordType, holds: Option<Duration>, says: impl Fn(&RData) -> bool) -> bool {
        let lives = |record: &Record| {
            let time = Duration::from_secs(record.ttl.into()).max(ANSWER_MIN);
            holds.is_none_or(|holds| holds <= time)
        };
        self.records.iter().any(|record| record.record_type() == kind && lives(record) && says(&record.data))
    }
}

/// Everything that was believed stands at the name or where its aliases lead.
fn believed(answer: &RawAnswer, zone: &Zone) {
    let holds = answer.holds;
    match &answer.heard {
        RawHeard::Exchanges(hosts) => {
            for (preference, host) in hosts {
                let host = Name::from_ascii(format!("{host}.")).expect("a name");
                assert!(zone.says(RecordType::MX, holds, |data| {
                    matches!(data, RData::MX(mx) if mx.preference == *preference && mx.exchange == host)
                }));
            }
        }
        RawHeard::Addresses { found, signed_names, .. } => {
            for ip in found {
                let kind = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
                assert!(zone.says(kind, holds, |data| data.ip_addr() == Some(*ip)));
            }
            for name in signed_names {
                assert!(zone.names.contains(&Name::from_ascii(format!("{name}.")).expect("a name")));
            }
        }
        RawHeard::Tlsa(Tlsa::Usable(set)) => {
            for one in &set.associations {
                assert!(zone.says(RecordType::TLSA, holds, |data| {
                    let RData::TLSA(tlsa) = data else { return false };
                    (
                        u8::from(tlsa.cert_usage),
                        u8::from(tlsa.selector),
                        u8::from(tlsa.matching),
                        &tlsa.cert_data,
                    ) == (one.usage, one.selector, one.matching, &one.data)
                }));
            }
        }
        RawHeard::Texts(texts) => {
            for text in texts {
                assert!(zone.says(RecordType::TXT, None, |data| {
                    let RData::TXT(txt) = data else { return false };
                    String::from_utf8_lossy(&txt.txt_data.concat()) == *text
                }));
            }
        }
        RawHeard::Tlsa(_) | RawHeard::Implicit | RawHeard::Fault(_) => {}
    }
}
