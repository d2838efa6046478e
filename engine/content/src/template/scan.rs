//! Finds the tags of a template: which are plain fields that can be spliced, which words in the others are filters,
//! tests and calls. It refuses to judge syntax; what it cannot read it leaves to minijinja, which says what is wrong.

/// The kind of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `{{ ... }}`
    Variable,
    /// `{% ... %}`
    Block,
    /// `{# ... #}`
    Comment,
}

/// One tag of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag<'a> {
    pub(super) kind: Kind,
    /// What stands between the delimiters.
    pub(super) inner: &'a str,
    /// Byte offset of its first brace.
    pub(super) start: usize,
    /// Byte offset behind its last brace.
    pub(super) end: usize,
}

/// A stretch of a source without anything but plain fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Literal(&'a str),
    Field(&'a str),
}

/// A word of a tag's inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Name(&'a str),
    Mark(u8),
    Literal,
}

/// What a name in a tag is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use<'a> {
    Filter(&'a str),
    Test(&'a str),
    Call(&'a str),
    Method(&'a str),
    /// A field that the template is prepared to find missing: `x|default(...)`, `x is defined`.
    Optional(&'a str),
}

/// Names that are not fields.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "not",
    "and",
    "or",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "for",
    "loop",
    "self",
    "set",
    "with",
    "filter",
    "recursive",
    "as",
];

/// All tags of `source`; `None` when one is not closed.
pub(super) fn tags(source: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut from = 0;
    while let Some(tag) = next_tag(source, from)? {
        from = tag.end;
        if tag.kind == Kind::Block && block_word(tag.inner) == "raw" {
            from = end_of_raw(source, from)?;
        }
        tags.push(tag);
    }
    Some(tags)
}

/// The first tag at or behind `from`: `None` when it is not closed, `Some(None)` when there is none.
fn next_tag(source: &str, from: usize) -> Option<Option<Tag<'_>>> {
    let bytes = source.as_bytes();
    let mut at = from;
    loop {
        let Some(offset) = memchr::memchr(b'{', &bytes[at..]) else {
            return Some(None);
        };
        let start = at + offset;
        let kind = match bytes.get(start + 1) {
            Some(b'{') => Kind::Variable,
            Some(b'%') => Kind::Block,
            Some(b'#') => Kind::Comment,
            _ => {
                at = start + 1;
                continue;
            }
        };
        let inner_end = start + 2 + inner_bytes(&source[start + 2..], kind)?;
        let inner = &source[start + 2..inner_end];
        return Some(Some(Tag { kind, inner, start, end: inner_end + 2 }));
    }
}

/// Length of a tag's inside: up to its closing delimiter outside of quotes.
fn inner_bytes(rest: &str, kind: Kind) -> Option<usize> {
    let close = match kind {
        Kind::Variable => "}}",
        Kind::Block => "%}",
        Kind::Comment => return rest.find("#}"),
    };
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => at += quoted_bytes(&bytes[at..], quote)?,
            _ if bytes[at..].starts_with(close.as_bytes()) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// Length of the quoted text that `bytes` begins with, quotes included.
fn quoted_bytes(bytes: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            b if b == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn block_word(inner: &str) -> &str {
    let inner = inner.trim_start_matches(['-', '+']).trim_start();
    &inner[..inner.bytes().take_while(|&b| is_name_byte(b)).count()]
}

/// Byte offset behind the `{% endraw %}` that follows `from`.
fn end_of_raw(source: &str, mut from: usize) -> Option<usize> {
    loop {
        let start = from + source[from..].find("{%")?;
        let end = start + source[start..].find("%}")? + 2;
        if block_word(&source[start + 2..end - 2]) == "endraw" {
            return Some(end);
        }
        from = start + 2;
    }
}

/// The source as literals and plain fields; `None` when it holds anything else.
pub(super) fn plain_pieces<'a>(source: &'a str, tags: &[Tag<'a>]) -> Option<Vec<Piece<'a>>> {
    let mut pieces = Vec::with_capacity(2 * tags.len() + 1);
    let mut copied = 0;
    for tag in tags {
        let name = tag.inner.trim();
        if tag.kind != Kind::Variable || !is_name(name) || RESERVED.contains(&name) {
            return None;
        }
        if tag.start > copied {
            pieces.push(Piece::Literal(&source[copied..tag.start]));
        }
        pieces.push(Piece::Field(name));
        copied = tag.end;
    }
    if copied < source.len() {
        pieces.push(Piece::Literal(&source[copied..]));
    }
    Some(pieces)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.as_bytes()[0].is_ascii_digit() && text.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What the names in a tag are used as.
pub(super) fn uses<'a>(tag: &Tag<'a>) -> Vec<Use<'a>> {
    if tag.kind == Kind::Comment {
        return Vec::new();
    }
    let words = words(tag.inner);
    let mut uses = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if let Word::Name(name) = *word {
            uses.extend(use_of(tag.kind, &words[..index], name, &words[index + 1..]));
        }
    }
    uses
}

fn use_of<'a>(kind: Kind, before: &[Word<'_>], name: &'a str, behind: &[Word<'_>]) -> Option<Use<'a>> {
    use Word::{Mark, Name};
    match before {
        [.., Mark(b'|')] => return Some(Use::Filter(name)),
        [Name("filter")] if kind == Kind::Block => return Some(Use::Filter(name)),
        [.., Name("is"), Name("not")] => return Some(Use::Test(name)),
        [.., Name("is")] if name != "not" => return Some(Use::Test(name)),
        [.., Name("loop"), Mark(b'.')] => return None,
        [.., Mark(b'.')] => return matches!(behind, [Mark(b'('), ..]).then_some(Use::Method(name)),
        _ => {}
    }
    match behind {
        _ if RESERVED.contains(&name) => None,
        [Mark(b'('), ..] => Some(Use::Call(name)),
        [Mark(b'|'), Name("default" | "d"), ..]
        | [Name("is"), Name("defined" | "undefined"), ..]
        | [Name("is"), Name("not"), Name("defined" | "undefined"), ..] => Some(Use::Optional(name)),
        _ => None,
    }
}

fn words(inner: &str) -> Vec<Word<'_>> {
    let bytes = inner.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = match bytes[at] {
            quote @ (b'"' | b'\'') => {
                words.push(Word::Literal);
                quoted_bytes(&bytes[at..], quote).unwrap_or(bytes.len() - at)
            }
            b if is_name_byte(b) => {
                let length = bytes[at..].iter().take_while(|&&b| is_name_byte(b)).count();
                let word = &inner[at..at + length];
                words.push(if is_name(word) { Word::Name(word) } else { Word::Literal });
                length
            }
            b => {
                if !b.is_ascii_whitespace() {
                    words.push(Word::Mark(b));
                }
                1
            }
        };
        at += length;
    }
    words
}

/// The line, counted from 1, on which byte `at` of `source` stands.
pub(super) fn line_of(source: &str, at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &source.as_bytes()[..at.min(source.len())]).count()
}

/// The line on which `name` first stands inside of a tag.
pub(super) fn line_of_name(source: &str, tags: &[Tag<'_>], name: &str) -> usize {
    let holds = |tag: &&Tag<'_>| words(tag.inner).contains(&Word::Name(name));
    tags.iter().find(holds).map_or(1, |tag| line_of(source, tag.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_fields_are_told_from_everything_else() {
        let pieces = |source| plain_pieces(source, &tags(source).expect("closed"));
        assert_eq!(
            pieces("Hi {{ name }}{{b}}, {x} }} {"),
            Some(vec![
                Piece::Literal("Hi "),
                Piece::Field("name"),
                Piece::Field("b"),
                Piece::Literal(", {x} }} {"),
            ])
        );
        for source in [
            "{{ a|upper }}",
            "{% if a %}{% endif %}",
            "{# c #}",
            "{{- a }}",
            "{{ a.b }}",
            "{{ true }}",
            "{{ 1 }}",
            "{{ }}",
        ] {
            assert_eq!(pieces(source), None, "{source}");
        }
    }

    #[test]
    fn tags_end_outside_of_quotes_and_raw_text_is_skipped() {
        let source = "{{ \"}}\\\"\" }}{% raw %}{{ x }}{% endraw %}{{ y }}";
        let found: Vec<_> = tags(source).expect("closed").iter().map(|tag| tag.inner.trim()).collect();
        assert_eq!(found, ["\"}}\\\"\"", "raw", "y"]);
        for open in ["{{ a", "{% if", "{# c", "{{ 'a }}", "{% raw %}{{ x }}"] {
            assert!(tags(open).is_none(), "{open}");
        }
    }

    #[test]
    fn the_use_of_a_name_is_seen() {
        let all = |source| tags(source).expect("closed").iter().flat_map(uses).collect::<Vec<_>>();
        for (source, expected) in [
            ("{{ a|upper|default('x|y') }}", vec![Use::Filter("upper"), Use::Filter("default")]),
            ("{{ a|default('') }}", vec![Use::Optional("a"), Use::Filter("default")]),
            (
                "{% if a is not defined and f(b) %}",
                vec![Use::Optional("a"), Use::Test("defined"), Use::Call("f")],
            ),
            ("{% if a is divisibleby(3) %}", vec![Use::Test("divisibleby")]),
            ("{% filter lower %}", vec![Use::Filter("lower")]),
            ("{{ a.upper() }}{{ loop.cycle(1) }}", vec![Use::Method("upper")]),
            ("{# a|b #}{{ a if (b) else c }}", vec![]),
        ] {
            assert_eq!(all(source), expected, "{source}");
        }
    }
}
