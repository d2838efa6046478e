//! The runtime of a shard: a pinned thread with its own io_uring, and the sentences for kernels that refuse one.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Sizes of a ring, in the order in which they are tried: (operations handed over at a time, completions that may
/// wait). The first has a completion for every connection of a large shard, so that the kernel never has to queue
/// them elsewhere; the others are for users whose locked memory (`ulimit -l`) is small, and only slower.
const RING_ENTRIES: [(u32, u32); 4] = [(1024, 32_768), (512, 8_192), (256, 2_048), (128, 512)];

/// Why a shard cannot run here. Each is one sentence with its cure.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeFault {
    /// The kernel has no io_uring.
    #[error("this kernel has no io_uring: Linux 6.0 or newer is needed, built with CONFIG_IO_URING")]
    Missing,
    /// The kernel has an io_uring that is too old.
    #[error("the io_uring of this kernel is too old: Linux 6.0 or newer is needed")]
    TooOld,
    /// The sysctl forbids it.
    #[error(
        "io_uring is forbidden: sysctl kernel.io_uring_disabled is {0}; set it to 0, or to 1 and run as a member of \
         the group that kernel.io_uring_group names"
    )]
    Disabled(u8),
    /// Something else forbids it.
    #[error(
        "io_uring is forbidden, though not by the sysctl kernel.io_uring_disabled: allow the system calls \
         io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile of the container or service, or \
         in the security policy"
    )]
    Forbidden,
    /// The ring does not fit into the locked memory of the user.
    #[error(
        "io_uring has no memory: raise the limit of locked memory (ulimit -l, or LimitMEMLOCK= of the service), or \
         the memory limit of the container"
    )]
    NoMemory,
    /// Anything else.
    #[error("io_uring cannot be set up: {0}")]
    Other(#[source] io::Error),
    /// The thread could not be started.
    #[error("the thread of shard {index} cannot be started: {source}")]
    Thread {
        /// Which shard.
        index: usize,
        /// What the system answered.
        source: io::Error,
    },
}

impl RuntimeFault {
    fn of(fault: io::Error) -> Self {
        match fault.raw_os_error() {
            Some(libc::ENOSYS) => Self::Missing,
            Some(libc::EINVAL) => Self::TooOld,
            Some(libc::ENOMEM) => Self::NoMemory,
            Some(libc::EPERM | libc::EACCES) => Self::of_refusal(),
            _ => Self::Other(fault),
        }
    }

    fn of_refusal() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
        match text.trim().parse() {
            Ok(level) if level > 0 => Self::Disabled(level),
            _ => Self::Forbidden,
        }
    }
}

fn build() -> Result<tokio_uring::Runtime, RuntimeFault> {
    for (submissions, completions) in RING_ENTRIES {
        let mut ring = tokio_uring::uring_builder();
        // COOP_TASKRUN and SINGLE_ISSUER spare interrupts and locks; DEFER_TASKRUN hangs with this runtime.
        ring.setup_coop_taskrun().setup_single_issuer().setup_cqsize(completions);
        let built =
            tokio_uring::Runtime::new(tokio_uring::builder().entries(submissions).uring_builder(&ring));
        match built.map_err(RuntimeFault::of) {
            Err(RuntimeFault::NoMemory) => {
                tracing::warn!(completions, "no locked memory for a ring of this size (see ulimit -l)");
            }
            other => return other,
        }
    }
    Err(RuntimeFault::NoMemory)
}

/// Whether a shard could run here; for the check at start, before any thread is made.
///
/// # Errors
/// One sentence with its cure.
pub fn check_kernel() -> Result<(), RuntimeFault> {
    build().map(drop)
}

/// Runs `work` to its end on this thread, on a ring of its own. For tests and tools; the engine uses
/// [`run_shard`].
///
/// # Errors
/// When there is no ring to be had.
pub fn block_on<F: Future>(work: F) -> Result<F::Output, RuntimeFault> {
    Ok(build()?.block_on(work))
}

/// Starts a task on this shard. It ends with the shard.
///
/// # Panics
/// Outside of a shard's runtime.
pub fn spawn<F: Future + 'static>(work: F) -> tokio::task::JoinHandle<F::Output> {
    tokio_uring::spawn(work)
}

/// A running shard; [`ShardThread::join`] waits for its end.
#[derive(Debug)]
pub struct ShardThread<T> {
    thread: thread::JoinHandle<Option<T>>,
}

impl<T> ShardThread<T> {
    /// Waits for the end of the shard and returns what its work returned. A panic there goes on here.
    ///
    /// # Panics
    /// When the shard panicked.
    pub fn join(self) -> T {
        match self.thread.join() {
            Ok(result) => result.expect("a shard that got no ring is not handed out"),
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }

    /// Whether the shard has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts shard `index` on a thread of its own, pinned to the core of that index among those that the process may
/// use. `make` is called there and returns the work; what the work holds need not be `Send`.
///
/// Returns when the ring stands, so a refusal is known before anything is accepted.
///
/// # Errors
/// When there is no ring or no thread to be had.
pub fn run_shard<Make, Work>(index: usize, make: Make) -> Result<ShardThread<Work::Output>, RuntimeFault>
where
    Make: FnOnce() -> Work + Send + 'static,
    Work: Future,
    Work::Output: Send + 'static,
{
    let (ready, stands) = mpsc::sync_channel(1);
    let body = move || {
        pin(index);
        let runtime = match build() {
            Ok(runtime) => runtime,
            Err(fault) => {
                // The starter waits for exactly this message.
                let _ = ready.send(Err(fault));
                return None;
            }
        };
        let _ = ready.send(Ok(()));
        // The future is made inside, so that it may use the ring at once.
        Some(runtime.block_on(async move { make().await }))
    };
    let thread = thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(body)
        .map_err(|source| RuntimeFault::Thread { index, source })?;
    match stands.recv() {
        Ok(Ok(())) => Ok(ShardThread { thread }),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(RuntimeFault::Thread { index, source: io::Error::other("it ended at once") }),
    }
}

/// Pins this thread to a core. A refusal costs speed only.
fn pin(index: usize) {
    let pinned = sched_getaffinity(None).and_then(|allowed| {
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let mut wanted = CpuSet::new();
        if let Some(core) = cores.get(index % cores.len().max(1)) {
            wanted.set(*core);
        }
        sched_setaffinity(None, &wanted)
    });
    if let Err(fault) = pinned {
        tracing::debug!(shard = index, %fault, "the thread is not pinned to a core");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn a_shard_runs_work_that_is_not_send() {
        let shard = run_shard(0, || async {
            let local = Rc::new(7);
            let task = spawn({
                let local = Rc::clone(&local);
                async move { *local + 1 }
            });
            let allowed = sched_getaffinity(None).expect("a thread knows its cores");
            (task.await.expect("the task ends"), allowed.count())
        });
        assert_eq!(shard.expect("a ring").join(), (8, 1));
    }

    #[test]
    fn every_refusal_names_its_cure() {
        let sentence = |code| RuntimeFault::of(io::Error::from_raw_os_error(code)).to_string();
        assert!(sentence(libc::ENOSYS).contains("Linux 6.0"));
        assert!(sentence(libc::EINVAL).contains("Linux 6.0"));
        assert!(sentence(libc::EPERM).contains("kernel.io_uring_disabled"));
        assert!(sentence(libc::ENOMEM).contains("ulimit -l"));
        assert!(RuntimeFault::Disabled(2).to_string().contains("kernel.io_uring_disabled is 2"));
    }
}
