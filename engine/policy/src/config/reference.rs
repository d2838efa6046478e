//! The reference of all keys in Markdown, made from the same table that the file is read by.

use std::fmt::Write as _;

use mail::Class;

use crate::Rate;
use crate::provider::{Provider, Providers};

use super::keys::{Key, Kind, SECTIONS, Section, Standard};

const HEAD: &str = "# Configuration reference

The configuration is one TOML file. Unknown keys are errors, and `staffetta check` names all problems at once, each with its line,
likely cause and cure. Sizes are written `\"256MiB\"`, durations `\"90s\"` or `\"4h\"`, rates `\"100/s\"` or `\"5000/h\"`.
This page is generated from the table that the program reads the file by.

A file with a data directory, one listener and one route is enough:

```toml
[node]
data_dir = \"/var/lib/staffetta\"

[[smtp_listener]]
address = \"127.0.0.1:2525\"

[[route]]
domain = \"*\"
hosts = [\"relay.example.test\"]
```
";

/// The reference of all keys, with their types, defaults and the reasons for them, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        describe(section, &mut page);
    }
    page.push_str("\n## The built-in providers\n\n");
    page.push_str("| name | connections | rate | messages per connection | recipients per message | pipeline depth | known by |\n|---|---|---|---|---|---|---|\n");
    for (_, provider) in Providers::builtin().iter() {
        page.push_str(&provider_row(provider));
    }
    page
}

fn describe(section: &Section, page: &mut String) {
    let heading = section.heading();
    let rows: String = section.keys.iter().map(key_row).collect();
    let about = section.about;
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## `{heading}`\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|\n{rows}"
    );
    for key in section.keys {
        if let Kind::Sections(inner) = key.kind {
            describe(inner, page);
        }
    }
}

fn key_row(key: &Key) -> String {
    let default = match key.default {
        Standard::Required => "required".to_owned(),
        Standard::Nothing => "none".to_owned(),
        Standard::Is(text) => format!("`{text}`"),
        Standard::PerClass(texts) => {
            let parts = Class::ALL.iter().zip(texts).map(|(class, text)| match text {
                "" => format!("{class}: none"),
                text => format!("{class}: `{text}`"),
            });
            parts.collect::<Vec<_>>().join("; ")
        }
    };
    let meaning =
        if key.reason.is_empty() { key.about.to_owned() } else { format!("{} *{}*", key.about, key.reason) };
    format!("| `{}` | {} | {} | {} |\n", key.name, cell(&key.kind.words()), cell(&default), cell(&meaning))
}

fn provider_row(provider: &Provider) -> String {
    let limits = &provider.limits;
    let shown = |rate: Option<Rate>| rate.map_or_else(|| "unlimited".to_owned(), |rate| rate.to_string());
    let up_to = |start: String, ceiling: String| match start == ceiling {
        true => start,
        false => format!("{start}, up to {ceiling}"),
    };
    let ceiling = &provider.ceiling;
    let rate = up_to(shown(limits.rate), shown(ceiling.rate));
    let connections = up_to(limits.connections.to_string(), ceiling.connections.to_string());
    let networks = provider.networks.iter().map(ToString::to_string);
    let marks: Vec<_> = provider.mx.iter().chain(&provider.domains).cloned().chain(networks).collect();
    format!(
        "| `{}` | {connections} | {rate} | {} | {} | {} | {} |\n",
        provider.name,
        limits.messages_per_connection,
        limits.recipients_per_message,
        limits.pipeline_depth,
        marks.join(" ")
    )
}

/// A bar would end the cell of the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_and_key_is_in_the_reference() {
        let page = reference();
        for section in SECTIONS {
            assert!(page.contains(&section.heading()), "{}", section.name);
            for key in section.keys {
                assert!(page.contains(&format!("| `{}` |", key.name)), "{}.{}", section.name, key.name);
            }
        }
        assert!(page.contains("[[domain.dkim]]") && page.contains("| `selector` |"));
    }

    #[test]
    fn the_example_of_the_reference_is_a_whole_configuration() {
        let page = reference();
        let example =
            page.split("```").nth(1).and_then(|block| block.strip_prefix("toml\n")).expect("an example");
        let checked = super::super::check("staffetta.toml", example);
        assert_eq!(checked.problems, []);
        assert!(checked.config.is_some());
    }
}
