//! Where memory is allocated: stacks of a sample of all allocations, told by the function of the house that asked.

use std::backtrace::Backtrace;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Crates of the house: the innermost of their functions on a stack is the site.
const HOUSE: [&str; 9] = ["mail", "smtp", "policy", "queue", "content", "spool", "mta", "report", "console"];
/// Stacks kept at most; a run of a few ten thousand messages has some thousand.
const SAMPLES_MAX: usize = 20_000;

static SAMPLES: Mutex<Vec<Sample>> = Mutex::new(Vec::new());
/// Whether samples are kept: those of a warm-up are not wanted.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

struct Sample {
    thread: i32,
    bytes: usize,
    stack: Backtrace,
}

/// A place in the source, and what was found there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Site {
    /// Kind of the thread.
    pub(crate) thread: String,
    /// The function with its module and line.
    pub(crate) place: String,
    /// The next function of the house that called it.
    pub(crate) caller: String,
    /// What it called in the standard library or a dependency.
    pub(crate) via: String,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
}

/// Begins with none, or ends.
pub(crate) fn open(is_open: bool) {
    IS_OPEN.store(is_open, Ordering::Release);
}

/// Keeps the stack of this moment. Called by the allocator, which does not count what this allocates.
pub(crate) fn keep(thread: i32, bytes: usize) {
    if !IS_OPEN.load(Ordering::Acquire) {
        return;
    }
    let stack = Backtrace::force_capture();
    let Ok(mut samples) = SAMPLES.lock() else { return };
    if samples.len() < SAMPLES_MAX {
        samples.push(Sample { thread, bytes, stack });
    }
}

/// The sites of what was kept, those with the most samples first; nothing is kept any more.
pub(crate) fn take(kind_of: impl Fn(i32) -> String) -> Vec<Site> {
    open(false);
    let samples = SAMPLES.lock().map(|mut samples| std::mem::take(&mut *samples)).unwrap_or_default();
    let mut found = HashMap::<[String; 4], (u64, u64)>::new();
    for sample in &samples {
        let [place, caller, via] = site(&sample.stack.to_string());
        let counts = found.entry([kind_of(sample.thread), place, caller, via]).or_default();
        counts.0 += 1;
        counts.1 += sample.bytes as u64;
    }
    let told = found.into_iter().map(|([thread, place, caller, via], (samples, bytes))| Site {
        thread,
        place,
        caller,
        via,
        samples,
        bytes,
    });
    let mut sites: Vec<Site> = told.collect();
    sites.sort_by(|one, other| other.samples.cmp(&one.samples).then_with(|| one.place.cmp(&other.place)));
    sites
}

/// Place, caller and what was called, of a stack as the standard library prints it.
fn site(stack: &str) -> [String; 3] {
    let frames = frames(stack);
    let ours = |frame: &&Frame| frame.module.is_some();
    let Some(at) = frames.iter().position(|frame| ours(&frame)) else {
        let outermost = frames
            .iter()
            .rev()
            .find(|frame| !frame.place.starts_with("/rustc/") && !frame.place.contains("sysdeps"));
        return [
            outermost.or(frames.last()).map(Frame::told).unwrap_or_default(),
            String::new(),
            String::new(),
        ];
    };
    let place = frames[at].told();
    let caller = frames[at + 1..].iter().filter(ours).map(Frame::told).find(|caller| *caller != place);
    let via = at.checked_sub(1).map(|inner| frames[inner].name.clone());
    [place, caller.unwrap_or_default(), via.unwrap_or_default()]
}

/// One function on a stack. Tables of lines have its bare name only, so its module is told from its file.
#[derive(Debug)]
struct Frame {
    name: String,
    /// File, line and column.
    place: String,
    /// `mta::deliver::job` for functions of the house.
    module: Option<String>,
}

impl Frame {
    /// `mta::deliver::job::read:88`; of others the bare name.
    fn told(&self) -> String {
        let Some(module) = &self.module else { return self.name.clone() };
        let Some((file, line)) = split_place(&self.place) else { return format!("{module}::{}", self.name) };
        // An async function or a closure has no name of its own.
        let name = if self.name.starts_with('{') { named_in_source(file, line) } else { None };
        format!("{module}::{}:{line}", name.as_deref().unwrap_or(&self.name))
    }
}

/// The frames, the innermost first.
fn frames(stack: &str) -> Vec<Frame> {
    let mut frames = Vec::<Frame>::new();
    for line in stack.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.place = place.to_owned();
                frame.module = module(place);
            }
        } else if let Some((_, name)) = line.split_once(": ") {
            frames.push(Frame { name: name.to_owned(), place: String::new(), module: None });
        }
    }
    frames
}

/// File and line of `engine/mta/src/io/ring.rs:12:7`.
fn split_place(place: &str) -> Option<(&str, usize)> {
    let (rest, _column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?))
}

/// The module that a file of the house is.
fn module(place: &str) -> Option<String> {
    let (file, _) = split_place(place)?;
    let (folder, inside) = file.rsplit_once("/src/")?;
    let (before, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    let is_ours = HOUSE.contains(&name) && (name == "spool" || before.ends_with("engine"));
    let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    is_ours.then(|| format!("{name}::{}", inside.replace('/', "::")))
}

/// The function that a line of the house stands in, by the nearest `fn` above it.
fn named_in_source(file: &str, line: usize) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let text = std::fs::read_to_string(root.join(file)).ok()?;
    let above: Vec<&str> = text.lines().take(line).collect();
    let head = above.into_iter().rev().find_map(|line| line.split_once("fn "))?;
    Some(head.1.split(['(', '<']).next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "   0: allocated
             at ./perf/src/allocations/counting.rs:150:9
   1: reserve<u8, alloc::alloc::Global>
             at /rustc/abc/library/alloc/src/vec/mod.rs:1:2
   2: begin
             at ./engine/smtp/src/client/session.rs:120:9
   3: {async_fn#0}
             at ./engine/nowhere/src/x.rs:1:1
   4: call_once
   5: {async_fn#0}
             at /home/x/engine/mta/src/deliver/mod.rs:7:3
";

    #[test]
    fn the_innermost_function_of_the_house_is_the_site() {
        let [place, caller, via] = site(STACK);
        assert_eq!(place, "smtp::client::session::begin:120");
        assert_eq!(caller, "mta::deliver::{async_fn#0}:7");
        assert_eq!(via, "reserve<u8, alloc::alloc::Global>");
    }

    #[test]
    fn a_stack_without_the_house_is_told_by_its_outermost_function() {
        let stack = "  0: spawn\n at /rustc/x/library/std/src/a.rs:1:1\n  1: run\n at /r/hyper/src/b.rs:1:2\n 2: start\n at /rustc/x/library/c.rs:1:1\n";
        let [place, caller, _] = site(stack);
        assert_eq!((place.as_str(), caller.as_str()), ("run", ""));
    }

    #[test]
    fn a_function_without_a_name_is_found_in_the_source() {
        assert_eq!(
            named_in_source("perf/src/allocations/sites.rs", line!() as usize).as_deref(),
            Some("a_function_without_a_name_is_found_in_the_source")
        );
        assert_eq!(module("./spool/src/log/append.rs:3:1").as_deref(), Some("spool::log::append"));
        assert_eq!(module("./perf/src/spool/append.rs:3:1"), None);
    }
}
