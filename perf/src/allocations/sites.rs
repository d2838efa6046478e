//! Where memory is allocated: stacks of a sample of all allocations, told by the function of the house that asked.

use std::backtrace::Backtrace;
use std::collections::HashMap;
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
    /// The function, with file and line.
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
    let Some(at) = frames.iter().position(|frame| is_of_house(&frame.0)) else {
        let outermost = frames.iter().rev().find(|frame| !frame.0.starts_with("std::")).or(frames.last());
        return [outermost.map(named).unwrap_or_default(), String::new(), String::new()];
    };
    let base = |name: &str| name.replace("::{{closure}}", "");
    let others = frames[at + 1..].iter().filter(|frame| is_of_house(&frame.0));
    let caller = others.map(|frame| base(&frame.0)).find(|name| *name != base(&frames[at].0));
    let via = at.checked_sub(1).map(|inner| frames[inner].0.clone());
    [named(&frames[at]), caller.unwrap_or_default(), via.unwrap_or_default()]
}

/// Function and place of each frame, the innermost first.
fn frames(stack: &str) -> Vec<(String, String)> {
    let mut frames = Vec::<(String, String)>::new();
    for line in stack.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.1 = place.to_owned();
            }
        } else if let Some((_, name)) = line.split_once(": ") {
            frames.push((name.to_owned(), String::new()));
        }
    }
    frames
}

fn is_of_house(name: &str) -> bool {
    let path = name.trim_start_matches(['<', '&']);
    path.split_once("::").is_some_and(|(first, _)| HOUSE.contains(&first))
}

/// `mta::deliver::job::Job::read (job.rs:88)`.
fn named((name, place): &(String, String)) -> String {
    let name = name.replace("::{{closure}}", "");
    let file = place.rsplit('/').next().unwrap_or_default();
    let line = file.rsplit_once(':').map_or(file, |(line, _column)| line);
    if line.is_empty() { name } else { format!("{name} ({line})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "   0: allocations::counting::allocated
             at ./perf/src/allocations/counting.rs:150:9
   1: alloc::vec::Vec<T,A>::reserve
             at /rustc/abc/library/alloc/src/vec/mod.rs:1:2
   2: <smtp::client::Client as core::fmt::Debug>::fmt::{{closure}}
             at /home/x/engine/smtp/src/client/session.rs:120:9
   3: smtp::client::Client::begin
   4: core::ops::function::FnOnce::call_once
   5: mta::deliver::connection::live::{{closure}}
";

    #[test]
    fn the_innermost_function_of_the_house_is_the_site() {
        let [place, caller, via] = site(STACK);
        assert_eq!(place, "<smtp::client::Client as core::fmt::Debug>::fmt (session.rs:120)");
        assert_eq!(caller, "smtp::client::Client::begin");
        assert_eq!(via, "alloc::vec::Vec<T,A>::reserve");
    }

    #[test]
    fn a_stack_without_the_house_is_told_by_its_outermost_function() {
        let [place, caller, _] = site("  0: tokio::task::spawn\n  1: hyper::run\n  2: std::rt::start\n");
        assert_eq!((place.as_str(), caller.as_str()), ("hyper::run", ""));
        assert!(!is_of_house("mailbox::x") && is_of_house("<&mta::Engine as Debug>::fmt"));
    }
}
