//! The house rules that a compiler does not know: who may use whom, how large things may grow, where `unsafe` and
//! clocks are allowed. A rule that is broken is named with its place.

use std::fs;
use std::path::{Path, PathBuf};

/// Each crate with the crates of the house that it may use: those to its left in docs/architecture.md.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("engine/mail", "mail", &[]),
    ("engine/smtp", "smtp", &["mail"]),
    ("engine/policy", "policy", &["mail"]),
    ("engine/queue", "queue", &["mail", "policy"]),
    ("engine/content", "content", &["mail"]),
    ("spool", "spool", &["mail"]),
    ("engine/mta", "mta", &["mail", "smtp", "policy", "queue", "content", "spool"]),
    ("engine/report", "report", &["mail", "smtp", "policy", "queue", "content", "spool", "mta"]),
    ("engine/console", "console", &["mail", "smtp", "policy", "queue", "content", "spool", "mta", "report"]),
    ("tools/world", "world", &["mail", "smtp", "policy", "queue"]),
    ("tools/inject", "inject", &[]),
    ("tools/capacity", "capacity", &[]),
    ("tools/simulator", "simulator", &["mail", "policy", "queue", "world"]),
    (
        "tools/staffetta",
        "staffetta",
        &[
            "mail",
            "smtp",
            "policy",
            "queue",
            "content",
            "spool",
            "mta",
            "report",
            "console",
            "world",
            "simulator",
            "inject",
            "capacity",
        ],
    ),
];
/// Crates that do no IO, read no clock and start no thread.
const PURE: &[&str] = &[
    "engine/mail",
    "engine/smtp",
    "engine/policy",
    "engine/queue",
    "engine/content",
    "tools/world",
    "tools/simulator",
    "tools/capacity",
];
/// What gives a pure crate away.
const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::env",
    "tokio",
    "rand::",
];
/// The files that may hold `unsafe`.
const UNSAFE: &[&str] = &[
    "spool/src/mmap.rs",
    "engine/content/src/dkim/ifma.rs",
    "engine/mta/src/io/sockopt.rs",
    "engine/smtp/src/wire/line_ends.rs",
    "perf/src/spool/map.rs",
    "perf/src/allocations/counting.rs",
];
/// Lines of a file before its tests.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Fields of a struct.
const FIELDS_MAX: usize = 15;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

/// Every Rust file of the house, by its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for place in ["engine", "spool", "tools", "tests", "bench", "perf"] {
        collect(&root().join(place), &mut found);
    }
    assert!(found.len() > 50, "only {} sources were found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the house").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push((name, text));
        }
    }
}

/// What stands before the tests of a file.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

fn is_test_file(name: &str) -> bool {
    name.split('/').any(|part| matches!(part, "tests" | "behaviours" | "tests.rs" | "examples" | "fuzz"))
}

fn assert_none(broken: Vec<String>, rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn crates_use_only_what_stands_to_their_left() {
    let house: Vec<&str> = ARROWS.iter().map(|(_, name, _)| *name).collect();
    let mut broken = Vec::new();
    for (folder, name, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect(folder);
        let manifest: toml::Table = manifest.parse().expect(folder);
        let Some(used) = manifest.get("dependencies").and_then(|table| table.as_table()) else { continue };
        for other in used.keys().filter(|other| house.contains(&other.as_str())) {
            if !allowed.contains(&other.as_str()) {
                broken.push(format!("{name} uses {other}"));
            }
        }
    }
    assert_none(broken, "arrows that docs/architecture.md does not have");
}

#[test]
fn pure_crates_do_no_io_and_read_no_clock() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        if !PURE.iter().any(|folder| name.starts_with(folder)) || is_test_file(&name) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let found = IMPURE.iter().find(|word| code.contains(**word));
            broken.extend(found.map(|word| format!("{name}:{}: {word}", number + 1)));
        }
    }
    assert_none(broken, "pure crates take time and randomness as arguments");
}

#[test]
fn unsafe_stands_only_in_the_listed_files() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let allowed = UNSAFE.contains(&name.as_str()) || name == "tests/tidy.rs";
        for (number, line) in text.lines().enumerate().filter(|_| !allowed) {
            let code = line.split("//").next().unwrap_or_default();
            if code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                broken.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert_none(broken, "`unsafe` outside of the listed files");
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(name, _)| name);
    assert_none(silent.collect(), "files that do not begin with a //! sentence");
}

#[test]
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let code = without_tests(&text);
        let lines = code.lines().count();
        if lines > FILE_LINES_MAX && !is_test_file(&name) {
            broken.push(format!("{name} has {lines} lines"));
        }
        broken.extend(long_functions(&name, code));
    }
    assert_none(broken, "a file has at most 600 lines before its tests, a function 70");
}

fn long_functions(name: &str, code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        if !words.split("fn ").next().is_some_and(is_function_prefix) || !words.contains("fn ") {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[start..].iter().position(|line| *line == closing) else { continue };
        let one_line = words.ends_with('}') || words.ends_with(';');
        if length + 1 > FUNCTION_LINES_MAX && !one_line {
            long.push(format!("{name}:{}: {} lines", start + 1, length + 1));
        }
    }
    long
}

fn is_function_prefix(before: &str) -> bool {
    before.split_whitespace().all(|word| {
        word.starts_with("pub") || matches!(word, "async" | "const" | "unsafe" | "extern" | "\"C\"")
    })
}

#[test]
fn structs_stay_small() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let lines: Vec<&str> = without_tests(&text).lines().collect();
        for (start, line) in lines.iter().enumerate() {
            if !line.contains("struct ") || !line.ends_with('{') || line.trim_start().starts_with("//") {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            let closing = format!("{}}}", " ".repeat(indent));
            let body = lines[start + 1..].iter().take_while(|line| **line != closing);
            let fields = body.filter(|line| is_field(line, indent + 4)).count();
            if fields > FIELDS_MAX {
                broken.push(format!("{name}:{}: {fields} fields", start + 1));
            }
        }
    }
    assert_none(broken, "a struct over 15 fields is two structs");
}

fn is_field(line: &str, indent: usize) -> bool {
    let words = line.trim_start();
    line.len() - words.len() == indent
        && words.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && words.contains(": ")
}
