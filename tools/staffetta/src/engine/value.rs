//! Reads fields of the API's JSON without fuss: what is absent is empty.

use serde_json::Value;

/// A string field; numbers and booleans as text, absent and null as empty.
pub(crate) fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A whole number; absent as 0.
pub(crate) fn number(value: &Value, key: &str) -> u64 {
    optional(value, key).unwrap_or(0)
}

/// A whole number that may be absent.
pub(crate) fn optional(value: &Value, key: &str) -> Option<u64> {
    value.get(key).and_then(Value::as_u64)
}

/// A number with decimals that may be absent.
pub(crate) fn decimal(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

/// The elements of a list field; none when absent.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A point in time given as milliseconds or as RFC 3339 text.
pub(crate) fn moment(value: &Value, key: &str) -> Option<u64> {
    match value.get(key)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => {
            let at: jiff::Timestamp = text.parse().ok()?;
            u64::try_from(at.as_millisecond()).ok()
        }
        _ => None,
    }
}

/// `text` fit for one segment of a URL path or for a query value.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_empty() {
        let value = serde_json::json!({"a": null, "n": 3, "s": "x", "t": "1970-01-01T00:00:01Z"});
        assert_eq!(text(&value, "a"), "");
        assert_eq!(text(&value, "n"), "3");
        assert_eq!(text(&value, "s"), "x");
        assert_eq!(number(&value, "zz"), 0);
        assert!(list(&value, "s").is_empty());
        assert_eq!(moment(&value, "t"), Some(1000));
        assert_eq!(moment(&value, "n"), Some(3));
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escape("a b/c@x.test"), "a%20b%2Fc%40x.test");
    }
}
