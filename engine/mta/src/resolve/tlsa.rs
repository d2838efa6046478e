//! TLSA records of hosts (RFC 6698, RFC 7672): asked for only where the host's addresses are signed, believed only
//! where they are signed themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::{RData, RecordType};

use super::cache::{Answer, Cache};
use super::hosts::Host;
use super::query::{Outcome, Questions};
use super::resolver::{ANSWER_MAX, FAILURE, absence, holds, presence};
use crate::io::tls::{Association, DaneSet};

/// Names for which answers are kept.
const NAMES_MAX: usize = 50_000;
/// Records of a host that are looked at: more than anybody needs who changes keys.
const RECORDS_MAX: usize = 32;

/// What DNS says of how a host proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tlsa {
    /// Nothing, or nothing that is signed.
    None,
    /// There are signed records, but none that can be used.
    Unusable,
    /// By one of these.
    Usable(Arc<DaneSet>),
    /// It cannot be learnt for now: the host must not be used (RFC 7672 section 2.1.2). The text says what came.
    Failed(String),
}

/// Answers by the name of the records.
pub(super) struct Proofs {
    known: Cache<Tlsa>,
}

impl Proofs {
    pub(super) fn new() -> Self {
        Self { known: Cache::new(NAMES_MAX) }
    }

    /// What DNS says of `host` for the service at `port`, and until when.
    pub(super) async fn find(&self, questions: &Questions, host: &Host, port: u16) -> (Tlsa, Duration) {
        let mut until = Instant::now() + ANSWER_MAX;
        let mut tlsa = Tlsa::None;
        // Where the aliases lead first, then the name in the MX record (RFC 7672 section 2.2.2).
        for base in &host.signed_names {
            let name = format!("_{port}._tcp.{base}");
            let answer = self.known.get(&name, || ask(questions, &name, base)).await;
            until = until.min(answer.until);
            if answer.value != Tlsa::None {
                tlsa = answer.value;
                break;
            }
        }
        if let Tlsa::Usable(set) = &mut tlsa
            && set.names.iter().all(|name| *name != host.name)
        {
            let names = set.names.iter().cloned().chain([host.name.clone()]).collect();
            *set = Arc::new(DaneSet { associations: set.associations.clone(), names });
        }
        (tlsa, until.saturating_duration_since(Instant::now()))
    }
}

async fn ask(questions: &Questions, name: &str, base: &str) -> Answer<Tlsa> {
    let (tlsa, time) = of_outcome(questions.ask(name, RecordType::TLSA).await, name, base);
    holds(tlsa, time)
}

/// What the records at `name` say of the host `base`, and for how long.
pub(super) fn of_outcome(outcome: Outcome, name: &str, base: &str) -> (Tlsa, Duration) {
    match outcome {
        Outcome::Records(found) => {
            let tlsa = if found.secure { of_records(&found.records, base) } else { Tlsa::None };
            (tlsa, presence(found.time))
        }
        Outcome::NoRecords(time) | Outcome::NoName(time) => (Tlsa::None, absence(time)),
        Outcome::Nothing => (Tlsa::None, FAILURE),
        Outcome::Failed(_, what) => (Tlsa::Failed(format!("TLSA question for {name}: {what}")), FAILURE),
    }
}

fn of_records(records: &[RData], base: &str) -> Tlsa {
    let association = |record: &RData| {
        let RData::TLSA(tlsa) = record else { return None };
        Some(Association {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        })
    };
    let mut associations: Vec<Association> =
        records.iter().filter_map(association).filter(Association::is_usable).take(RECORDS_MAX).collect();
    if associations.is_empty() {
        return Tlsa::Unusable;
    }
    // Equal sets are one set, in whatever order they come.
    associations.sort_unstable();
    Tlsa::Usable(Arc::new(DaneSet { associations, names: vec![base.to_owned()] }))
}
