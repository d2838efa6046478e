//! A list line as JSON: `{"address": "...", "merge": {"name": value}}`, read straight into the template's order.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};

use super::{Fields, Input, LINE_BYTES_MAX, Line, Rejected, is_address_name};

/// The next line that is not blank.
pub(super) fn next(input: &mut Input, fields: &Fields) -> Option<Line> {
    while input.skip_rest() {
        let unread = input.unread();
        let (end, consumed) = match memchr(b'\n', unread) {
            Some(end) => (end, end + 1),
            None if input.ended && !unread.is_empty() => (unread.len(), unread.len()),
            None if unread.len() > LINE_BYTES_MAX => return Some(Err(input.too_long())),
            None => return None,
        };
        if end > LINE_BYTES_MAX {
            return Some(Err(input.too_long()));
        }
        let text = unread[..end].trim_ascii();
        let line = (!text.is_empty()).then(|| read(input, fields, text));
        input.consume(consumed, 1);
        if line.is_some() {
            return line;
        }
    }
    None
}

fn read(input: &Input, fields: &Fields, text: &[u8]) -> Line {
    let mut json = serde_json::Deserializer::from_slice(text);
    let found = Object { fields }.deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    let found = found.map_err(|error| wrong_json(input, &error))?;
    let Some(address) = found.address else {
        return Err(input.reject("missing_address", "the line has no `address`"));
    };
    fields.entry(input, &address, found.values)
}

fn wrong_json(input: &Input, error: &serde_json::Error) -> Rejected {
    let code = if error.is_data() { "invalid_value" } else { "invalid_json" };
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    input.reject(code, format!("column {}: {text}", error.column()))
}

struct Found<'de> {
    address: Option<Cow<'de, str>>,
    values: Vec<Option<String>>,
}

struct Object<'f> {
    fields: &'f Fields,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object {\"address\": ..., \"merge\": {...}}")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Found<'de>, M::Error> {
        let mut found = Found { address: None, values: self.fields.empty() };
        while let Some(key) = map.next_key_seed(Text)? {
            if is_address_name(&key) {
                found.address = Some(map.next_value_seed(Text)?);
            } else if key == "merge" {
                map.next_value_seed(Merge { fields: self.fields, values: &mut found.values })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Merge<'a> {
    fields: &'a Fields,
    values: &'a mut [Option<String>],
}

impl<'de> DeserializeSeed<'de> for Merge<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Merge<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`merge` to be an object of merge fields")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key_seed(Text)? {
            match self.fields.place(&key) {
                Some(place) => self.values[place] = Some(map.next_value_seed(Value { name: &key })?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A text, borrowed from the line where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A merge value: texts as they are, numbers and booleans as they are written, null as the empty text.
struct Value<'a> {
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Value<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the merge field `{}` to be a text, a number, a boolean or null", self.name)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ListFormat::Ndjson;
    use super::super::tests::{read, read_all_ways};
    use super::*;

    #[test]
    fn lines_become_entries_in_the_order_of_the_template() {
        let text = "{\"address\":\"a@x.test\",\"merge\":{\"b\":\"two\",\"a\":\"o\\u006ee\",\"z\":[1]}}\r\n\
                    \n  {\"merge\":{\"a\":1,\"b\":null},\"more\":{},\"email\":\" b@x.test \"}  \n\
                    {\"address\":\"c@x.test\",\"merge\":{\"a\":-1.5,\"b\":true}}";
        let lines = read_all_ways(Ndjson, &["a", "b"], text.as_bytes()).expect("read");
        assert_eq!(lines, ["a@x.test|one|two", "b@x.test|1|", "c@x.test|-1.5|true"]);
    }

    #[test]
    fn wrong_lines_are_rejected_one_by_one_and_the_rest_goes_on() {
        for (line, code) in [
            ("{", "invalid_json"),
            ("{\"address\":\"a@x\"} x", "invalid_json"),
            ("nonsense", "invalid_json"),
            ("[]", "invalid_value"),
            ("{\"address\":7}", "invalid_value"),
            ("{\"address\":\"a@x\",\"merge\":[]}", "invalid_value"),
            ("{\"address\":\"a@x\",\"merge\":{\"n\":{}}}", "invalid_value"),
            ("{\"merge\":{\"n\":\"v\"}}", "missing_address"),
            ("{\"address\":\"a\",\"merge\":{\"n\":\"v\"}}", "invalid_address"),
            ("{\"address\":\"a@x\\r\\ny\",\"merge\":{\"n\":\"v\"}}", "invalid_address"),
            ("{\"address\":\"a@x\"}", "missing_field"),
            ("{\"address\":\"a@x\",\"merge\":{\"N\":\"v\"}}", "missing_field"),
        ] {
            let good = "{\"address\":\"ok@x\",\"merge\":{\"n\":\"v\"}}";
            let text = format!("{good}\n{line}\n{good}\n");
            let lines = read_all_ways(Ndjson, &["n"], text.as_bytes()).expect("read");
            assert_eq!(lines, ["ok@x|v".to_owned(), format!("2 {code}"), "ok@x|v".to_owned()], "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_rejected() {
        let text =
            b"{\"address\":\"a@x\",\"merge\":{\"n\":\"\xe9\"}}\n{\"address\":\"b@x\",\"merge\":{\"n\":\"\"}}";
        assert_eq!(read_all_ways(Ndjson, &["n"], text).expect("read"), ["1 invalid_json", "b@x|"]);
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let mut text = vec![b' '; LINE_BYTES_MAX * 5];
        text[0] = b'{';
        text.extend_from_slice(b"\n{\"address\":\"b@x\"}\n");
        for piece in [1000, 70_000, usize::MAX] {
            assert_eq!(read(Ndjson, &[], &text, piece).expect("read"), ["1 line_too_long", "b@x"]);
        }
        let mut reader = super::super::ListReader::new(Ndjson, &[]);
        let mut rejected = 0;
        for _ in 0..100 {
            reader.feed(&[b'x'; 10_000]);
            rejected += usize::from(reader.next().expect("goes on").is_some());
            assert!(reader.input.bytes.len() < LINE_BYTES_MAX + 20_000);
        }
        assert_eq!(rejected, 1);
    }
}
