//! TXT records, by which domains say things about themselves. Nothing is remembered here: whoever asks knows for how
//! long the answer is good.

use hickory_resolver::proto::rr::{RData, RecordType};

use super::fault::FaultKind;
use super::query::Outcome;
use super::resolver::Resolver;

/// TXT records that are looked at: more than any name has that is in order.
const RECORDS_MAX: usize = 64;

impl Resolver {
    /// The TXT records of `name`, an A-label name, each with its strings joined without anything between (RFC 7208
    /// section 3.3); none when DNS says that there are none. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// What came instead of an answer: then nobody knows whether there are any.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, (FaultKind, String)> {
        of_outcome(self.questions().ask(name, RecordType::TXT).await)
    }
}

pub(super) fn of_outcome(outcome: Outcome) -> Result<Vec<String>, (FaultKind, String)> {
    match outcome {
        Outcome::Records(found) => Ok(found.records.iter().filter_map(text).take(RECORDS_MAX).collect()),
        Outcome::NoRecords(_) | Outcome::NoName(_) => Ok(Vec::new()),
        Outcome::Nothing => Err((FaultKind::ServerFailure, "an empty answer".to_owned())),
        Outcome::Failed(kind, what) => Err((kind, what)),
    }
}

fn text(record: &RData) -> Option<String> {
    let RData::TXT(text) = record else { return None };
    let bytes: Vec<u8> = text.txt_data.iter().flat_map(|string| string.iter().copied()).collect();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
