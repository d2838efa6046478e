//! An event: one outcome record of the spool, told with everything a reader needs to understand it alone.

use std::fmt::Display;

use mail::{CampaignId, Class, Disposition, MessageId, Phase, RecipientId, RecordId, UnixMs};
use serde::{Serialize, Serializer};

/// One attempt and its outcome, as the feed, the story of a recipient and `staffetta events` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The outcome record's place in the spool: unique for ever, and the event's place in the feed.
    #[serde(serialize_with = "as_text")]
    pub id: RecordId,
    /// Whom it concerns.
    #[serde(flatten)]
    pub subject: Subject,
    /// What happened.
    #[serde(flatten)]
    pub result: Outcome,
    /// The way the attempt took.
    #[serde(flatten)]
    pub way: Way,
}

/// The recipient that an event is about, and the message it was to get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The recipient.
    #[serde(serialize_with = "as_text")]
    pub recipient: RecipientId,
    /// Its message; of a campaign's recipient: the template.
    #[serde(serialize_with = "as_text")]
    pub message: MessageId,
    /// Where the message was to go.
    pub address: String,
    /// The envelope sender; empty for the null reverse-path.
    pub sender: String,
    /// When it was accepted.
    #[serde(serialize_with = "as_time")]
    pub accepted_at: UnixMs,
    /// The sender's own JSON, as it was submitted with the message.
    #[serde(serialize_with = "as_json", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// What all messages of its sort share.
    #[serde(flatten)]
    pub origin: Origin,
}

/// What many messages of one account have in common; the store keeps each combination once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Origin {
    /// The account that submitted it; empty when it came from a trusted network.
    #[serde(rename = "account")]
    pub tenant: String,
    /// The kind of mail.
    pub class: Class,
    /// The campaign, if it is part of one.
    #[serde(serialize_with = "as_optional_text")]
    pub campaign: Option<CampaignId>,
    /// The campaign's name, or the sender's own label for mail that was not sent from a stored template.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub campaign_name: String,
    /// The tags of the message.
    pub tags: Vec<String>,
}

/// What became of the attempt, with the receiver's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// When it was decided.
    #[serde(serialize_with = "as_time")]
    pub at: UnixMs,
    /// Where the recipient stands now.
    #[serde(rename = "event", serialize_with = "disposition_name")]
    pub disposition: Disposition,
    /// Which attempt it was, counted from 1; 0 when none was made.
    pub attempt: u16,
    /// When it will be tried again, unless it is final.
    #[serde(serialize_with = "as_optional_time")]
    pub next_attempt: Option<UnixMs>,
    /// How far the attempt got.
    #[serde(serialize_with = "phase_name")]
    pub phase: Phase,
    /// The class of the verdict, such as `recipient.unknown`; empty when delivered.
    pub verdict: String,
    /// The reply code; 0 when the words are our own.
    pub code: u16,
    /// The enhanced status code, or empty.
    pub enhanced: String,
    /// The text of the reply.
    pub reply: String,
    /// How long the recipient waited for its delivery: since it was accepted, or since its not-before or the start of
    /// its campaign when that was later. Only of deliveries.
    pub latency_ms: Option<u64>,
}

/// The way an attempt took; every text is empty when it did not get so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Source, provider, server and TLS, which many attempts share.
    #[serde(flatten)]
    pub route: Route,
    /// From connect to the end of the greeting and STARTTLS; 0 on a connection that was reused.
    pub connect_ms: u32,
    /// From MAIL to the last reply of the transaction.
    pub transaction_ms: u32,
}

/// Between which ends an attempt ran; the store keeps each combination once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Route {
    /// Name of the source.
    pub source: String,
    /// Name of the provider.
    pub provider: String,
    /// Host name of the receiving server.
    pub mx: String,
    /// Address and port of the receiving server.
    #[serde(rename = "mx_address")]
    pub address: String,
    /// TLS version and cipher suite.
    pub tls: String,
}

impl Origin {
    /// Of a message whose record can no longer be read.
    pub(crate) const fn unknown() -> Self {
        Self {
            tenant: String::new(),
            class: Class::Bulk,
            campaign: None,
            campaign_name: String::new(),
            tags: Vec::new(),
        }
    }

    /// Whether it is the same as `other`; what is asked for each event of a busy day.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.class == other.class
            && self.campaign == other.campaign
            && is_same(&self.tenant, &other.tenant)
            && is_same(&self.campaign_name, &other.campaign_name)
            && self.tags == other.tags
    }
}

/// Whether two texts are the same. Empty ones are told by their length: an empty `String` points nowhere, and glibc's
/// `memcmp` reads there under an empty mask, for which the processor needs hundreds of cycles.
pub(crate) fn is_same(text: &str, other: &str) -> bool {
    text.len() == other.len() && (text.is_empty() || text == other)
}

/// Writes `at` as RFC 3339 in UTC with milliseconds, as every time in the API is written.
///
/// Moments beyond the calendar's end (the year 9999) are written as that end.
#[must_use]
pub fn rfc3339(at: UnixMs) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{timestamp:.3}")
}

/// Serialises what has a text form, such as an identifier, as that text.
///
/// # Errors
/// Those of the serializer.
pub fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serialises a moment as [`rfc3339`] text.
///
/// # Errors
/// Those of the serializer.
pub fn as_time<S: Serializer>(at: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

/// Serialises a moment as [`rfc3339`] text, and none as null.
///
/// # Errors
/// Those of the serializer.
pub fn as_optional_time<S: Serializer>(at: &Option<UnixMs>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => as_time(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// Serialises what has a text form as that text, and none as null.
///
/// # Errors
/// Those of the serializer.
pub fn as_optional_text<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Text that is no JSON, which the API does not let in, is given as a string.
fn as_json<S: Serializer>(metadata: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(text) = metadata else { return serializer.serialize_none() };
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

fn disposition_name<S: Serializer>(disposition: &Disposition, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(disposition.name())
}

fn phase_name<S: Serializer>(phase: &Phase, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(phase.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(UnixMs(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(UnixMs(1_795_353_089_007)), "2026-11-22T13:11:29.007Z");
        assert!(rfc3339(UnixMs::NEVER).starts_with("9999-"));
    }
}
