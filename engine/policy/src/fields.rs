//! Fields of TXT records such as `v=STSv1; id=1;`, the form that MTA-STS (RFC 8461 section 3.1) and TLS-RPT (RFC 8460
//! section 3) share. It knows no field by name.

/// Longest name of a field (`sts-ext-name`, `tlsrpt-ext-name`).
const NAME_BYTES_MAX: usize = 32;

/// The one record among `texts` that begins with `version` and a semicolon; `None` when there is none or more than one,
/// which both RFCs say is to be taken as none. The rest of it, behind that semicolon, is returned.
pub(crate) fn only_record<'t>(texts: &'t [String], version: &str) -> Option<&'t str> {
    let mut found = texts.iter().filter_map(|text| {
        let rest = text.strip_prefix(version)?.trim_start_matches(is_blank);
        rest.strip_prefix(';')
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The fields of a record in order, names and values; `None` when one of them is not written as the grammar has it.
/// A semicolon at the end is allowed.
pub(crate) fn fields(text: &str) -> Option<Vec<(&str, &str)>> {
    let text = text.trim_matches(is_blank);
    let text = text.strip_suffix(';').unwrap_or(text);
    text.split(';').map(|field| split_field(field.trim_matches(is_blank))).collect()
}

fn split_field(field: &str) -> Option<(&str, &str)> {
    let (name, value) = field.split_once('=')?;
    // Values of known fields may hold what extensions must not: `=` in the query of an address.
    let is_value = !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    (is_name(name) && is_value).then_some((name, value))
}

/// Letters and digits, behind the first also `_`, `-` and `.`; at most 32.
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() <= NAME_BYTES_MAX
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}
