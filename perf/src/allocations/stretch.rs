//! A stretch of a run: what each kind of thread did for a message in it, and where.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde_json::{Value, json};

use crate::counting::{self, Counts};
use crate::sites::{self, Site};

/// Sites that are told of each stretch.
const SITES_TOLD: usize = 60;
/// Threads that have ended: those that wait for files, for instance.
const ENDED: &str = "ended";

/// How it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    /// Every so manieth allocation is told by its site; 0 for none.
    pub(crate) every: u64,
}

/// What was counted.
pub(crate) struct Stretch {
    what: &'static str,
    messages: u64,
    threads: BTreeMap<String, Counts>,
    sites: Vec<Site>,
    every: u64,
}

impl Count {
    /// Counts what happens during `work`.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn stretch(
        self,
        what: &'static str,
        messages: u64,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Stretch> {
        let before = counting::by_thread();
        sites::open(self.every > 0);
        counting::sample_every(self.every);
        let done = work();
        counting::sample_every(0);
        let after = counting::by_thread();
        let names = names();
        // This thread only steers.
        let me = rustix::thread::gettid().as_raw_nonzero().get();
        let kind = |thread: i32| names.get(&thread).map_or_else(|| ENDED.to_owned(), |name| kind(name));
        let sites = sites::take(kind);
        done?;
        let mut threads = BTreeMap::<String, Counts>::new();
        for (&thread, &counts) in after.iter().filter(|(thread, _)| **thread != me) {
            let spent = counts - before.get(&thread).copied().unwrap_or_default();
            if spent != Counts::default() {
                *threads.entry(kind(thread)).or_default() += spent;
            }
        }
        Ok(Stretch { what, messages, threads, sites, every: self.every })
    }
}

impl Stretch {
    fn per_message(&self, count: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of a run have far fewer than 52 bits")]
        let each = count as f64 / self.messages as f64;
        (each * 1000.0).round() / 1000.0
    }

    pub(crate) fn json(&self) -> Value {
        let threads: serde_json::Map<String, Value> = self.threads.iter().map(|(name, counts)| {
            let figures = json!({
                "allocations": self.per_message(counts.allocations), "frees": self.per_message(counts.frees),
                "reallocations": self.per_message(counts.reallocations), "bytes": self.per_message(counts.bytes),
            });
            (name.clone(), figures)
        }).collect();
        let sites: Vec<Value> = self.sites.iter().take(SITES_TOLD).map(|site| json!({
            "thread": site.thread, "site": site.place, "caller": site.caller, "via": site.via,
            "per_message": self.per_message(site.samples * self.every), "bytes": self.per_message(site.bytes * self.every),
        })).collect();
        json!({"stretch": self.what, "messages": self.messages, "threads": threads, "sites": sites})
    }

    /// The same as text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("  {}, {} messages, for each\n", self.what, self.messages);
        let head = ["thread", "allocations", "frees", "reallocations", "bytes"];
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "    {:12} {:>12} {:>12} {:>14} {:>10}",
            head[0], head[1], head[2], head[3], head[4]
        );
        for (name, counts) in &self.threads {
            let [allocations, frees, reallocations, bytes] =
                [counts.allocations, counts.frees, counts.reallocations, counts.bytes]
                    .map(|count| self.per_message(count));
            let _ = writeln!(
                text,
                "    {name:12} {allocations:12.2} {frees:12.2} {reallocations:14.2} {bytes:10.0}"
            );
        }
        for site in self.sites.iter().take(SITES_TOLD) {
            let (each, bytes) =
                (self.per_message(site.samples * self.every), site.bytes / site.samples.max(1));
            let _ = writeln!(text, "    {each:6.2} of {bytes:6} bytes  {:8} {}", site.thread, site.place);
            let _ = writeln!(
                text,
                "           in {}, called by {}",
                shortened(&site.via),
                shortened(&site.caller)
            );
        }
        text
    }
}

/// The names of the threads that there are.
fn names() -> HashMap<i32, String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
    });
    named.collect()
}

/// A thread's name without its number.
fn kind(name: &str) -> String {
    name.trim_end_matches(|end: char| end.is_ascii_digit() || end == '-').to_owned()
}

/// A function's name, cut where it is all type parameters.
fn shortened(name: &str) -> String {
    name.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_kind_are_told_together() {
        assert_eq!((kind("shard-0").as_str(), kind("control").as_str()), ("shard", "control"));
    }

    #[test]
    fn what_another_thread_does_is_counted_for_each_message() {
        let stretch = Count { every: 0 }.stretch("test", 10, || {
            let work = || (0..1000).for_each(|n| drop(std::hint::black_box(vec![n; 10])));
            let thread = std::thread::Builder::new().name("worker-7".to_owned());
            thread.spawn(work)?.join().map_err(|_| anyhow::anyhow!("it panicked"))
        });
        let json = stretch.expect("it works").json();
        assert!(json["threads"][ENDED]["allocations"].as_f64().is_some_and(|each| each >= 100.0), "{json}");
    }
}
