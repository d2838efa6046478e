//! The book says what the code says: pages made from the code are up to date, and names and links in the others exist.
//!
//! `STAFFETTA_WRITE_DOCS=1 cargo test -p behaviours --test docs` writes the generated pages anew.

use std::fs;
use std::path::{Path, PathBuf};

use policy::config::{Checked, check, reference};

/// Set to write generated pages instead of comparing them.
const WRITE: &str = "STAFFETTA_WRITE_DOCS";
/// Words of docs/architecture.md: a page that is read in one sitting.
const ARCHITECTURE_WORDS_MAX: usize = 900;
/// Lines of the configuration in the README.
const EXAMPLE_LINES_MAX: usize = 30;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every Markdown page of the book, by its path from the root.
fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "perf/README.md".to_owned()];
    for folder in ["docs", "docs/decisions"] {
        for entry in fs::read_dir(root().join(folder)).expect(folder).flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found
}

/// The fenced blocks of a language in a page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("\n```{language}\n");
    page.split(opening.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn the_configuration_reference_is_the_one_that_the_program_reads_by() {
    let page = "docs/configuration.md";
    if std::env::var_os(WRITE).is_some() {
        fs::write(root().join(page), reference()).expect(page);
    }
    assert!(read(page) == reference(), "{page} is out of date: run this test once with {WRITE}=1");
}

#[test]
fn configurations_in_the_book_are_right() {
    let mut broken = Vec::new();
    for page in pages().into_iter().filter(|page| page != "docs/configuration.md") {
        for block in blocks(&read(&page), "toml") {
            let Checked { config, problems } = check(&page, block);
            if config.is_none() {
                broken.extend(problems.iter().map(ToString::to_string));
            }
        }
    }
    assert_none(&broken, "configurations that the engine would refuse");
}

#[test]
fn the_readme_has_a_short_configuration() {
    let readme = read("README.md");
    let examples = blocks(&readme, "toml");
    assert!(!examples.is_empty(), "the README shows a configuration");
    for example in examples {
        let lines = example.lines().count();
        assert!(lines < EXAMPLE_LINES_MAX, "the configuration of the README has {lines} lines");
    }
}

#[test]
fn architecture_is_read_in_one_sitting_and_names_every_crate() {
    let page = read("docs/architecture.md");
    let words = page.split_whitespace().count();
    assert!(words <= ARCHITECTURE_WORDS_MAX, "docs/architecture.md has {words} words");
    let manifest: toml::Table = read("Cargo.toml").parse().expect("the workspace's manifest");
    let members = manifest["workspace"]["members"].as_array().expect("a list of members");
    let silent = members.iter().filter_map(|member| member.as_str()).filter(|member| {
        let name = member.rsplit('/').next().unwrap_or(member);
        !page.contains(&format!(" {name}/ "))
    });
    let silent: Vec<String> = silent.map(str::to_owned).collect();
    assert_none(&silent, "crates that docs/architecture.md does not name");
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for page in pages() {
        let folder = root().join(&page).parent().expect("a page lies in a folder").to_path_buf();
        for target in read(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert_none(&broken, "links that lead nowhere");
}

#[test]
fn every_error_code_of_the_api_is_in_its_reference() {
    let reference = read("docs/http.md");
    let mut codes = Vec::new();
    for folder in ["engine/console/src", "engine/console/src/list"] {
        for entry in fs::read_dir(root().join(folder)).expect(folder).flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rs") {
                let text = read(&format!("{folder}/{name}"));
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                codes.extend(lines.flat_map(error_codes));
            }
        }
    }
    let refusals = read("engine/mta/src/refusal.rs");
    let arms =
        refusals.lines().filter(|line| line.trim_start().starts_with("Self::") && line.contains("=> \""));
    codes.extend(arms.flat_map(error_codes));
    codes.sort();
    codes.dedup();
    assert!(codes.len() > 20, "only {codes:?} were found");
    codes.retain(|code| !reference.contains(&format!("`{code}`")));
    assert_none(&codes, "error codes that docs/http.md does not explain");
}

/// A command as it is typed: `tls-report` for `TlsReport`.
fn as_typed(variant: &str) -> String {
    let mut typed = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !typed.is_empty() {
            typed.push('-');
        }
        typed.extend(letter.to_lowercase());
    }
    typed
}

/// What looks like an error code in a line that makes an error.
fn error_codes(line: &str) -> Vec<String> {
    const MAKERS: [&str; 5] = ["StatusCode::", "reject(", "fatal(", "code", "=> \""];
    if !MAKERS.iter().any(|maker| line.contains(maker)) {
        return Vec::new();
    }
    let quoted = line.split('"').skip(1).step_by(2);
    let is_code = |word: &&str| {
        word.len() > 3
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
    };
    quoted.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_command_is_in_the_reference_of_the_command_line() {
    let page = read("docs/cli.md");
    let code = read("tools/staffetta/src/cli.rs");
    let body = code.split("enum Command {").nth(1).and_then(|rest| rest.split("\n}").next());
    let variants = body.expect("the commands").lines().filter(|line| line.trim_end().ends_with("),"));
    let mut silent: Vec<String> = variants
        .filter_map(|line| line.trim().split('(').next())
        .map(as_typed)
        .filter(|name| !page.contains(&format!("## staffetta {name}")))
        .collect();
    silent.sort();
    assert_none(&silent, "commands that docs/cli.md does not describe");
}
