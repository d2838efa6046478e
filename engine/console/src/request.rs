//! The body of `POST /v1/messages`, read field by field so that every wrong value is named with its place.

use std::fmt;

use content::Draft;
use mail::Class;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A message as it is handed in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageRequest {
    /// Its parts.
    pub(crate) draft: Draft,
    /// The complete message instead of its parts, in base 64.
    pub(crate) raw_base64: Option<String>,
    /// What is asked of the engine.
    pub(crate) wishes: Wishes,
}

/// What becomes of a message whose deadline cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnLate {
    /// It is not taken.
    Refuse,
    /// It is taken, and the answer says so.
    #[default]
    Warn,
}

/// What is asked of the engine for a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) class: Option<Class>,
    pub(crate) campaign: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) not_before: Option<String>,
    pub(crate) deadline: Option<String>,
    /// What to do when the deadline cannot be kept.
    pub(crate) on_late: OnLate,
    /// Any JSON, kept as text.
    pub(crate) metadata: Option<String>,
}

const FIELDS: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "reply_to",
    "subject",
    "text",
    "html",
    "headers",
    "attachments",
    "raw_base64",
    "class",
    "campaign",
    "tags",
    "not_before",
    "deadline",
    "on_late",
    "metadata",
];

impl<'de> Deserialize<'de> for MessageRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = MessageRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the parts of a message")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<MessageRequest, M::Error> {
        let mut request = MessageRequest::default();
        let MessageRequest { draft, raw_base64, wishes } = &mut request;
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "from" => draft.from = or_default(&mut map)?,
                "to" => draft.to = list(&mut map)?,
                "cc" => draft.cc = list(&mut map)?,
                "bcc" => draft.bcc = list(&mut map)?,
                "reply_to" => draft.reply_to = or_default(&mut map)?,
                "subject" => draft.subject = or_default(&mut map)?,
                "text" => draft.text = or_default(&mut map)?,
                "html" => draft.html = or_default(&mut map)?,
                "headers" => draft.headers = or_default(&mut map)?,
                "attachments" => draft.attachments = or_default(&mut map)?,
                "raw_base64" => *raw_base64 = map.next_value()?,
                "class" => wishes.class = map.next_value()?,
                "campaign" => wishes.campaign = map.next_value()?,
                "tags" => wishes.tags = list(&mut map)?,
                "not_before" => wishes.not_before = map.next_value()?,
                "deadline" => wishes.deadline = map.next_value()?,
                "on_late" => wishes.on_late = or_default(&mut map)?,
                "metadata" => {
                    let metadata: serde_json::Value = map.next_value()?;
                    wishes.metadata = (!metadata.is_null()).then(|| metadata.to_string());
                }
                _ => map.next_value_seed(Unknown { name: &name })?,
            }
        }
        Ok(request)
    }
}

/// The value of a field that there is not: refuses it as the value, so that the error knows its place.
struct Unknown<'a> {
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for Unknown<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(D::Error::unknown_field(self.name, FIELDS))
    }
}

/// A value, or what stands for none when it is null.
fn or_default<'de, T: Deserialize<'de> + Default, M: MapAccess<'de>>(map: &mut M) -> Result<T, M::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

/// A list of texts, or one text alone.
fn list<'de, M: MapAccess<'de>>(map: &mut M) -> Result<Vec<String>, M::Error> {
    Ok(map.next_value::<Option<OneOrMany>>()?.map_or_else(Vec::new, |list| list.0))
}

struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts).map(Self)
    }
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<S: serde::de::SeqAccess<'de>>(self, mut list: S) -> Result<Vec<String>, S::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::read_json;

    #[test]
    fn one_recipient_may_stand_alone_and_null_is_nothing() {
        let request: MessageRequest = read_json(
            br#"{"from":"a@x","to":"b@y","cc":["c@z"],"bcc":null,"subject":null,"metadata":{"a":[1]},"class":"critical"}"#,
        )
        .expect("read");
        assert_eq!((request.draft.to, request.draft.cc), (vec!["b@y".to_owned()], vec!["c@z".to_owned()]));
        assert_eq!(request.wishes.metadata.as_deref(), Some("{\"a\":[1]}"));
        assert_eq!(request.wishes.class, Some(Class::Critical));
    }

    #[test]
    fn wrong_json_is_told_with_line_column_and_field() {
        for (text, status, field, part) in [
            ("{\n  \"from\": }", 400, serde_json::Value::Null, "line 2, column 11"),
            ("", 400, serde_json::Value::Null, "line 1, column 0"),
            ("{} x", 400, serde_json::Value::Null, "trailing characters"),
            ("[]", 422, serde_json::Value::Null, "expected an object"),
            ("{\"from\":7}", 422, "from".into(), "line 1, column 9"),
            ("{\"to\":[\"a@x\",7]}", 422, "to[1]".into(), "expected a string"),
            ("{\"headers\":{\"X-A\":1}}", 422, "headers.X-A".into(), "expected a string"),
            ("{\"attachments\":[{\"type\":1}]}", 422, "attachments[0].type".into(), "expected a string"),
            ("{\"class\":\"urgent\"}", 422, "class".into(), "critical"),
            ("{\"txt\":\"a\"}", 422, "txt".into(), "unknown field `txt`, expected one of `from`"),
        ] {
            let error = read_json::<MessageRequest>(text.as_bytes()).expect_err(text);
            assert_eq!(error.status().as_u16(), status, "{text}");
            let body = serde_json::to_value(error.body_for_test()).expect("written");
            assert_eq!(body["error"]["field"], field, "{text}");
            let message = body["error"]["message"].as_str().expect("a message");
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
