//! `POST /v1/messages`: one message, given in parts or whole.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use content::{
    Draft, Mailbox, Prepared, Stamp, compose, header as fields, normalise_newlines, read_directives,
};
use mail::{Address, UnixMs};
use mta::{Classifier, Incoming, NewRecipient, Submission, SubmissionMeta};
use report::{as_optional_time, as_text, rfc3339};
use serde::Serialize;

use crate::body::{expect_json, read_json};
use crate::idempotency::{Answer, Begun};
use crate::request::{MessageRequest, OnLate, Wishes};
use crate::{ApiError, Caller, app::Console};

/// Most recipients of one message: more is a campaign.
const RECIPIENTS_MAX: usize = 1_000;
/// Longest metadata, in bytes.
const METADATA_BYTES_MAX: usize = 16 * 1024;
/// What a body may have besides the message in base 64: addresses, names of fields, metadata.
const BESIDES_BYTES: u64 = 1024 * 1024;
/// The largest message when `[http]` is not configured and only the control socket is served.
const MESSAGE_BYTES_MAX: u64 = 50 * 1024 * 1024;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The answer: the message is durable.
#[derive(Debug, Serialize)]
struct Taken {
    #[serde(serialize_with = "as_text")]
    id: mail::MessageId,
    recipients: Vec<TakenRecipient>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

/// What the sender should know of a message that was taken all the same.
#[derive(Debug, Serialize)]
struct Warning {
    code: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct TakenRecipient {
    #[serde(serialize_with = "as_text")]
    id: mail::RecipientId,
    #[serde(serialize_with = "as_text")]
    address: Address,
    /// When it will arrive if nothing changes; absent when nobody can know.
    #[serde(serialize_with = "as_optional_time", skip_serializing_if = "Option::is_none")]
    expected_at: Option<UnixMs>,
}

/// Takes a message, once for each Idempotency-Key.
pub(crate) async fn submit(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    expect_json(&headers)?;
    let message_bytes_max =
        console.handle.config().http.as_ref().map_or(MESSAGE_BYTES_MAX, |http| http.message_bytes_max);
    let body_bytes_max = usize::try_from(message_bytes_max / 3 * 4 + BESIDES_BYTES).unwrap_or(usize::MAX);
    let body = console.budget.collect(&headers, body, body_bytes_max).await?;
    let Some(key) = headers.get(&IDEMPOTENCY_KEY) else {
        return take(&console, &caller, &body.bytes, message_bytes_max)
            .await
            .map(|answer| response(answer, false));
    };
    let key = String::from_utf8_lossy(key.as_bytes()).into_owned();
    // A client that goes away must not keep the answer from being remembered: the work has a task of its own.
    let work = async move {
        let now = console.handle.now();
        match console.idempotency.begin(caller.tenant(), &key, &body.bytes, now).await? {
            Begun::Again(answer) => Ok(response(answer, true)),
            Begun::New(turn) => {
                let answer = take(&console, &caller, &body.bytes, message_bytes_max).await?;
                if let Err(error) = turn.finish(answer.clone(), console.handle.now()).await {
                    tracing::error!(?error, "a message was taken and its Idempotency-Key was not kept");
                }
                Ok(response(answer, false))
            }
        }
    };
    tokio::spawn(work).await.map_err(|_| ApiError::fault("the request could not be finished"))?
}

fn response(answer: Answer, replayed: bool) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::ACCEPTED);
    let json = HeaderValue::from_static("application/json");
    let mut response = (status, [(header::CONTENT_TYPE, json)], answer.body).into_response();
    if replayed {
        response.headers_mut().insert(&IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Takes the message of `body`.
async fn take(
    console: &Console,
    caller: &Caller,
    body: &[u8],
    message_bytes_max: u64,
) -> Result<Answer, ApiError> {
    let request: MessageRequest = read_json(body)?;
    let on_late = request.wishes.on_late;
    let unique = console.handle.unique().await?;
    let desk = Desk { caller, classifier: console.handle.classifier(), now: console.handle.now(), unique };
    let submission = submission(request, &desk)?;
    if submission.body.len() as u64 > message_bytes_max {
        let message = format!("the message is larger than {message_bytes_max} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    let addresses: Vec<Address> = submission.recipients.iter().map(|one| one.address.clone()).collect();
    let expected = console.handle.expected(&submission.meta, &addresses.iter().collect::<Vec<_>>()).await;
    let late = late(console.handle.deadline(&submission.meta), &addresses, &expected);
    if let (Some(warning), OnLate::Refuse) = (&late, on_late) {
        let refused = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, warning.code, warning.message.clone());
        return Err(refused.in_field("deadline"));
    }
    let accepted = console.handle.submit(submission).await?;
    let expected = expected.into_iter().chain(std::iter::repeat(None));
    let recipients = accepted.recipients.into_iter().zip(addresses).zip(expected);
    let recipients =
        recipients.map(|((id, address), expected_at)| TakenRecipient { id, address, expected_at }).collect();
    let warnings = late.into_iter().collect();
    let body = serde_json::to_vec(&Taken { id: accepted.message, recipients, warnings })
        .map_err(|error| ApiError::fault(error.to_string()))?;
    Ok(Answer { status: StatusCode::ACCEPTED.as_u16(), body })
}

/// What a request is taken with.
struct Desk<'a> {
    caller: &'a Caller,
    classifier: &'a Classifier,
    now: UnixMs,
    /// A number that the engine gives only once.
    unique: u64,
}

/// Makes a submission of a request.
fn submission(request: MessageRequest, desk: &Desk<'_>) -> Result<Submission, ApiError> {
    let &Desk { caller, now, unique, .. } = desk;
    let MessageRequest { draft, raw_base64, wishes } = request;
    check_metadata(&wishes)?;
    let mut message = directives(&wishes)?;
    let (sender, recipients) = match raw_base64 {
        Some(raw) => {
            let raw = decode(&draft, &raw)?;
            let ends = ends_of_raw(&draft, &raw)?;
            message.extend_from_slice(&raw);
            ends
        }
        None => {
            let author = draft.author()?.address;
            let stamp = Stamp { now, host: author.domain(), unique };
            message.extend_from_slice(&compose(&draft, &stamp)?);
            let recipients = draft.recipients()?;
            (author, recipients.into_iter().map(|mailbox| mailbox.address).collect())
        }
    };
    if recipients.len() > RECIPIENTS_MAX {
        let message = format!("more than {RECIPIENTS_MAX} recipients: use a campaign for so many");
        return Err(ApiError::invalid("to", message));
    }
    let prepared = read_directives(&message, b"", &Stamp { now, host: sender.domain(), unique })?;
    let from = prepared.from.clone().map_err(|error| ApiError::invalid("from", error.to_string()))?;
    caller.may_send_as(&sender)?;
    caller.may_send_as(&from)?;
    Ok(assemble(prepared, wishes, desk, sender, recipients))
}

fn assemble(
    mut prepared: Prepared<'_>,
    wishes: Wishes,
    desk: &Desk<'_>,
    sender: Address,
    recipients: Vec<Address>,
) -> Submission {
    let to: Vec<&Address> = recipients.iter().collect();
    let (class, basis) = desk.classifier.classify(&Incoming {
        now: desk.now,
        account: desk.caller.account(),
        prepared: &prepared,
        priority: None,
        sender: Some(&sender),
        recipients: &to,
    });
    let is_ascii =
        prepared.fields().is_ascii() && sender.is_ascii() && recipients.iter().all(Address::is_ascii);
    let meta = SubmissionMeta {
        basis: Some(basis),
        tenant: desk.caller.tenant().to_owned(),
        campaign: prepared.directives.campaign,
        tags: std::mem::take(&mut prepared.directives.tags),
        metadata: wishes.metadata,
        not_before: prepared.directives.not_before,
        deadline: prepared.directives.deadline,
        identity: prepared.from.as_ref().ok().map(|from| from.domain().to_owned()),
        smtputf8: !is_ascii,
        tls: prepared.tls,
        ..SubmissionMeta::new(Some(sender), class)
    };
    let recipients = recipients.into_iter().map(NewRecipient::plain).collect();
    Submission { meta, body: prepared.into_message(), recipients }
}

/// What is to be said of a deadline that cannot be kept: of the recipient that would be reached last.
fn late(deadline: Option<UnixMs>, addresses: &[Address], expected: &[Option<UnixMs>]) -> Option<Warning> {
    let deadline = deadline?;
    let known =
        addresses.iter().zip(expected).filter_map(|(address, expected)| Some((address, (*expected)?)));
    let (address, expected) = known.max_by_key(|(_, expected)| *expected)?;
    (expected > deadline).then(|| Warning {
        code: "deadline_unreachable",
        message: format!(
            "{address} is expected to be reached at {}, after the deadline {}",
            rfc3339(expected),
            rfc3339(deadline)
        ),
    })
}

/// The wishes as the header fields that say the same, so that they are read in one place for HTTP and SMTP.
fn directives(wishes: &Wishes) -> Result<Vec<u8>, ApiError> {
    let class = wishes.class.map(|class| class.name().to_owned());
    let mut stated = vec![
        ("class", "Class", class.as_deref()),
        ("campaign", "Campaign", wishes.campaign.as_deref()),
        ("not_before", "Not-Before", wishes.not_before.as_deref()),
        ("deadline", "Deadline", wishes.deadline.as_deref()),
    ];
    stated.extend(wishes.tags.iter().map(|tag| ("tags", "Tag", Some(tag.as_str()))));
    let mut head = Vec::new();
    for (field, name, value) in stated {
        let Some(value) = value else { continue };
        if !fields::is_safe_value(value) {
            return Err(ApiError::invalid(
                field,
                "the value holds a line break or another control character",
            ));
        }
        head.extend_from_slice(format!("X-Staffetta-{name}: {value}\r\n").as_bytes());
    }
    Ok(head)
}

fn check_metadata(wishes: &Wishes) -> Result<(), ApiError> {
    if wishes.metadata.as_ref().is_some_and(|text| text.len() > METADATA_BYTES_MAX) {
        return Err(ApiError::invalid("metadata", format!("longer than {METADATA_BYTES_MAX} bytes as JSON")));
    }
    Ok(())
}

fn decode(draft: &Draft, raw: &str) -> Result<Vec<u8>, ApiError> {
    let parts = [
        ("subject", draft.subject.is_empty()),
        ("text", draft.text.is_empty()),
        ("html", draft.html.is_empty()),
        ("reply_to", draft.reply_to.is_empty()),
        ("headers", draft.headers.is_empty()),
        ("attachments", draft.attachments.is_empty()),
    ];
    if let Some((field, _)) = parts.iter().find(|(_, is_empty)| !is_empty) {
        return Err(ApiError::invalid(field, "a message is given whole (raw_base64) or in parts, not both"));
    }
    let digits: Vec<u8> = raw.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let message =
        STANDARD.decode(digits).map_err(|error| ApiError::invalid("raw_base64", error.to_string()))?;
    if message.is_empty() {
        return Err(ApiError::invalid("raw_base64", "the message is empty"));
    }
    Ok(normalise_newlines(message))
}

/// Sender and recipients of a message that was given whole: as the request says, else as its own header says.
fn ends_of_raw(draft: &Draft, raw: &[u8]) -> Result<(Address, Vec<Address>), ApiError> {
    let sender = if draft.from.is_empty() {
        let authors = mailboxes(raw, &["From"])?;
        let author = authors.into_iter().next();
        author
            .ok_or_else(|| ApiError::invalid("from", "neither the request nor the message names a sender"))?
    } else {
        draft.author()?.address
    };
    if !(draft.to.is_empty() && draft.cc.is_empty() && draft.bcc.is_empty()) {
        let recipients = draft.recipients()?;
        return Ok((sender, recipients.into_iter().map(|mailbox| mailbox.address).collect()));
    }
    let recipients = mailboxes(raw, &["To", "Cc", "Bcc"])?;
    if recipients.is_empty() {
        return Err(ApiError::invalid("to", "neither the request nor the message names a recipient"));
    }
    Ok((sender, recipients))
}

/// The addresses in the header fields `names` of a message, each once.
fn mailboxes(raw: &[u8], names: &[&str]) -> Result<Vec<Address>, ApiError> {
    let (head, _) = fields::split_head_body(raw);
    let mut addresses: Vec<Address> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for name in names {
        for field in fields::fields(head).filter(|field| field.is(name)) {
            let list = Mailbox::parse_list(&field.text())
                .map_err(|error| ApiError::invalid("raw_base64", format!("the message's {name}: {error}")))?;
            let new = list.into_iter().map(|mailbox| mailbox.address).filter(|one| known.insert(one.clone()));
            addresses.extend(new);
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn make(json: &str) -> Result<Submission, ApiError> {
        let classifier = Classifier::default();
        let desk = Desk { caller: &Caller::Operator, classifier: &classifier, now: NOW, unique: 7 };
        submission(read_json(json.as_bytes())?, &desk)
    }

    #[test]
    fn a_message_in_parts_becomes_a_submission() {
        let made = make(
            r#"{"from":"Shop <shop@s.test>","to":["Ann <a@x.test>","b@y.test"],"bcc":"A@x.test","subject":"Hi",
                "text":"Hello","class":"critical","tags":["one","two"],"deadline":"90s","metadata":{"n":1}}"#,
        )
        .expect("taken");
        assert_eq!(made.meta.sender.as_ref().map(Address::as_str), Some("shop@s.test"));
        let addresses: Vec<_> = made.recipients.iter().map(|one| one.address.as_str()).collect();
        assert_eq!(addresses, ["a@x.test", "b@y.test", "A@x.test"]);
        assert_eq!((made.meta.class, made.meta.deadline), (mail::Class::Critical, Some(UnixMs(1_090_000))));
        assert_eq!((made.meta.tags.len(), made.meta.metadata.as_deref()), (2, Some("{\"n\":1}")));
        assert_eq!((made.meta.identity.as_deref(), made.meta.smtputf8), (Some("s.test"), false));
        let text = String::from_utf8(made.body).expect("text");
        assert!(text.contains("Subject: Hi\r\n") && !text.contains("X-Staffetta"), "{text}");
        assert!(!text.contains("A@x.test"), "{text}");
    }

    #[test]
    fn a_message_given_whole_names_its_own_ends() {
        let raw = STANDARD.encode(
            "From: Shop <shop@s.test>\nTo: a@x.test, \"B, b\" <b@y.test>\nBcc: c@z.test\nX-Staffetta-Tag: t\n\nHi\n",
        );
        let made = make(&format!("{{\"raw_base64\":\"{raw}\"}}")).expect("taken");
        let addresses: Vec<_> = made.recipients.iter().map(|one| one.address.as_str()).collect();
        assert_eq!(addresses, ["a@x.test", "b@y.test", "c@z.test"]);
        assert_eq!(made.meta.tags, ["t"]);
        let text = String::from_utf8(made.body).expect("text");
        assert!(text.ends_with("\r\n\r\nHi\r\n") && !text.contains("c@z.test"), "{text}");

        let made =
            make(&format!("{{\"raw_base64\":\"{raw}\",\"from\":\"bounce@s.test\",\"to\":\"d@x.test\"}}"));
        let made = made.expect("taken");
        assert_eq!(made.meta.sender.as_ref().map(Address::as_str), Some("bounce@s.test"));
        assert_eq!(made.recipients.len(), 1);
    }

    #[test]
    fn wrong_requests_name_their_field() {
        let raw = STANDARD.encode("Subject: x\n\nHi\n");
        let many: Vec<String> = (0..=RECIPIENTS_MAX).map(|n| format!("\"r{n}@x.test\"")).collect();
        for (json, field) in [
            (r#"{"to":"a@x","text":"t"}"#.to_owned(), "from"),
            (r#"{"from":"a","to":"a@x","text":"t"}"#.to_owned(), "from"),
            (r#"{"from":"a@x","text":"t"}"#.to_owned(), "to"),
            (r#"{"from":"a@x","to":["b@y","c"],"text":"t"}"#.to_owned(), "to[1]"),
            (r#"{"from":"a@x","to":"b@y","subject":"a\r\nBcc: c@z","text":"t"}"#.to_owned(), "subject"),
            (r#"{"from":"a@x","to":"b@y","text":"t","not_before":"tomorrow"}"#.to_owned(), "not_before"),
            (
                r#"{"from":"a@x","to":"b@y","text":"t","deadline":"1h","not_before":"2h"}"#.to_owned(),
                "deadline",
            ),
            (r#"{"from":"a@x","to":"b@y","text":"t","tags":["a\nb"]}"#.to_owned(), "tags"),
            (r#"{"from":"a@x","to":"b@y","text":"t","tags":[""]}"#.to_owned(), "tags"),
            (r#"{"from":"a@x","to":"b@y","text":"t","campaign":"x"}"#.to_owned(), "campaign"),
            (r#"{"from":"a@x","to":"b@y","raw_base64":"?"}"#.to_owned(), "raw_base64"),
            (format!("{{\"raw_base64\":\"{raw}\",\"subject\":\"x\"}}"), "subject"),
            (format!("{{\"raw_base64\":\"{raw}\",\"from\":\"a@x\"}}"), "to"),
            (format!("{{\"raw_base64\":\"{raw}\",\"to\":\"a@x\"}}"), "from"),
            (format!("{{\"from\":\"a@x\",\"text\":\"t\",\"to\":[{}]}}", many.join(",")), "to"),
            (
                format!(
                    "{{\"from\":\"a@x\",\"to\":\"b@y\",\"text\":\"t\",\"metadata\":\"{}\"}}",
                    "m".repeat(17_000)
                ),
                "metadata",
            ),
        ] {
            let error = make(&json).expect_err(&json);
            let body = serde_json::to_value(error.body_for_test()).expect("written");
            assert_eq!(body["error"]["field"], field, "{json:.200} {body}");
        }
    }
}
