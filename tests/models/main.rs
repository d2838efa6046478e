//! Models of what threads of the engine share without locks: loom takes each scene through its interleavings and
//! through every value that the memory model allows a load to see.
//!
//! `cargo test -p models` takes seconds: it lets a thread be interrupted [`PREEMPTIONS_MAX`] times. Deeper, in hours
//! if need be: `LOOM_MAX_PREEMPTIONS=5 cargo test --release -p models`; `LOOM_LOG=trace` shows an interleaving.
//!
//! The scenes of `leases`, `mailbox` and `receipts` run the engine's own source files twice: over loom's atomics (`real`), and
//! over weakened ones (`weak`), where loom must find the mistake. The control shows that the scene could fail.
#![allow(clippy::duplicate_mod, reason = "the same files are compiled over two sets of primitives")]

mod atomics;
mod positions;
mod real;
mod weak;

/// How often a thread is interrupted at most: every mistake of the controls shows with one already, and each one
/// more multiplies the time.
const PREEMPTIONS_MAX: usize = 2;

/// Takes `scene` through its interleavings.
fn explore(scene: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS_MAX));
    builder.check(scene);
}
