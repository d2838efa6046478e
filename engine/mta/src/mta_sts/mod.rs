//! The MTA-STS policies of domains (RFC 8461): found by DNS, fetched over HTTPS, kept as long as they hold, over restarts
//! too, since only a policy that is kept protects against somebody who keeps it from being found.
//!
//! It runs on the control runtime. It judges no host and refuses no mail: that is for whoever asks.

mod discovery;
mod file;
mod store;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mail::UnixMs;
use policy::mta_sts::{Mode, Policy};
use tokio::sync::{Semaphore, watch};

use self::store::{Known, Store};
use crate::https::Https;
use crate::resolve::{self, Lanes, Resolver};
use crate::tls_report::TlsReports;

/// How long mail for a domain of which nothing is known waits for its policy. A policy that comes later holds for later
/// mail: RFC 8461 section 3.3 has mail go on when a policy cannot be fetched.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// For how long mail goes on without a policy that is still being looked for: about what fetching it takes at most.
const SOUGHT: Duration = Duration::from_secs(60);
/// "Its policy is not to be heeded" is believed for as long as its record is.
const NOT_IN_FORCE: Duration = Duration::from_secs(3600);
/// Policies that are fetched anew at the same time, before those whose hosts are slow give way, and of these.
const FETCHES_MAX: usize = 64;
const SLOW_FETCHES_MAX: usize = 192;
/// How long a host may take before its fetch counts as slow, and the same while others wait, which is time for the three
/// round trips over most distances. So a thousand hosts that do not answer have had their turn before the time is over that
/// mail waits.
const FETCH_PATIENCE: Duration = Duration::from_secs(3);
const FETCH_PATIENCE_CROWDED: Duration = Duration::from_millis(600);
/// Policies that are fetched again at the same time: nobody waits for these.
const REFRESHES_MAX: usize = 64;
/// How often policies are looked for that are to be refreshed though nobody asks for them.
const TEND_EVERY: Duration = Duration::from_secs(60);
/// Refreshes begun at a time: with one a minute, more than 100,000 a day.
const TENDED_MAX: usize = 200;
/// How long changes wait to be written, while the file is small and when it is not.
const SAVE_AFTER: Duration = Duration::from_secs(5);
const SAVE_LARGE_AFTER: Duration = Duration::from_secs(60);
/// From this size on the file is large.
const LARGE_BYTES: usize = 1 << 20;

/// Finds policies. Clones share what is known.
#[derive(Clone)]
pub(crate) struct MtaSts {
    shared: Arc<Shared>,
}

struct Shared {
    resolver: Resolver,
    https: Https,
    /// Told of policies that could not be had.
    reports: TlsReports,
    state: Mutex<State>,
    fetches: Lanes,
    refreshes: Semaphore,
    path: PathBuf,
    first_contact: Duration,
}

struct State {
    store: Store,
    /// Domains that are being looked at; the receiver learns the end when the sender is gone.
    sought: HashMap<Arc<str>, watch::Receiver<()>>,
    /// Since when the file lacks something, and how long it was when it was written.
    changed: Option<Instant>,
    file_bytes: usize,
}

impl MtaSts {
    /// Policies kept in `data_dir`, which may hold those of an earlier run. A file that cannot be read is begun anew,
    /// with a warning.
    pub(crate) fn open(data_dir: &Path, resolver: Resolver, https: Https, reports: TlsReports) -> Self {
        Self::with_first_contact(data_dir, resolver, https, reports, FIRST_CONTACT)
    }

    fn with_first_contact(
        data_dir: &Path,
        resolver: Resolver,
        https: Https,
        reports: TlsReports,
        first_contact: Duration,
    ) -> Self {
        let path = data_dir.join(file::NAME);
        let (store, file_bytes) = file::read(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the kept MTA-STS policies are lost; they are fetched again");
            (Store::default(), 0)
        });
        let state = State { store, sought: HashMap::new(), changed: None, file_bytes };
        let shared = Shared {
            resolver,
            https,
            reports,
            state: Mutex::new(state),
            fetches: Lanes::new(FETCHES_MAX, SLOW_FETCHES_MAX)
                .with_patience(FETCH_PATIENCE, FETCH_PATIENCE_CROWDED),
            refreshes: Semaphore::new(REFRESHES_MAX),
            path,
            first_contact,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The policy that mail to `domain` is to keep to, in mode `enforce` or `testing`. At once when something is known,
    /// within ten seconds otherwise. `domain` is what stands behind the `@`, in any script; an address literal has no
    /// policy.
    ///
    /// # Errors
    /// When there is none, or none can be had: for how long mail may go on without before it is asked for again.
    pub(crate) async fn find(&self, domain: &str, now: UnixMs) -> Result<Arc<Policy>, Duration> {
        let Some(domain) = resolve::a_labels(domain) else { return Err(Duration::MAX) };
        let end = match self.known(&domain, now) {
            Ok(known) => return known,
            Err(end) => end,
        };
        let deadline = tokio::time::Instant::now() + self.shared.first_contact;
        if tokio::time::timeout_at(deadline, ended(end)).await.is_err() {
            tracing::info!(domain, "its MTA-STS policy is not there in time; mail goes on without");
            return Err(SOUGHT);
        }
        let known = self.shared.lock().store.known(&domain, now);
        believed(known, now).unwrap_or(Err(SOUGHT))
    }

    /// What is known; when nothing is, what to wait for. What is old is looked at again, while nobody waits.
    fn known(&self, domain: &str, now: UnixMs) -> Result<Result<Arc<Policy>, Duration>, watch::Receiver<()>> {
        let mut state = self.shared.lock();
        let known = state.store.known(domain, now);
        if matches!(known, Known::Old(_)) {
            self.seek(&mut state, domain, now);
        }
        believed(known, now).ok_or_else(|| self.seek(&mut state, domain, now))
    }

    /// Begins a look at a domain, unless there is one under way.
    fn seek(&self, state: &mut State, domain: &str, now: UnixMs) -> watch::Receiver<()> {
        let sought = match state.sought.entry(domain.into()) {
            Entry::Occupied(sought) => return sought.get().clone(),
            Entry::Vacant(sought) => sought,
        };
        let (under_way, end) = watch::channel(());
        sought.insert(end.clone());
        let (shared, domain, had) =
            (Arc::clone(&self.shared), Arc::<str>::from(domain), state.store.held(domain));
        tokio::spawn(async move {
            // In this order whatever happens: the domain is no longer sought, then those who wait learn it.
            let _under_way = under_way;
            let _sought = Sought { shared: &shared, domain: &domain };
            let found = discovery::discover(&shared, &domain, had.as_ref(), now).await;
            shared.learn(&domain, found, now);
        });
        end
    }

    /// Begins to refresh policies that nobody has asked for lately, so that they hold when mail comes.
    fn tend(&self, now: UnixMs) {
        let mut state = self.shared.lock();
        for domain in state.store.due(now, TENDED_MAX) {
            self.seek(&mut state, &domain, now);
        }
    }

    /// Writes the policies to disk if they have changed; blocks.
    ///
    /// # Errors
    /// The file cannot be written; the policies are still there.
    pub(crate) fn save(&self) -> std::io::Result<()> {
        let bytes = {
            let mut state = self.shared.lock();
            if state.changed.take().is_none() {
                return Ok(());
            }
            let bytes = file::encode(&state.store)?;
            state.file_bytes = bytes.len();
            bytes
        };
        let written = crate::replace::write(&self.shared.path, &bytes);
        written.inspect_err(|_| self.shared.lock().changed = Some(Instant::now()))
    }

    async fn save_if_due(&self) {
        {
            let state = self.shared.lock();
            let wait = if state.file_bytes < LARGE_BYTES { SAVE_AFTER } else { SAVE_LARGE_AFTER };
            if state.changed.is_none_or(|since| since.elapsed() < wait) {
                return;
            }
        }
        let writer = self.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || writer.save()).await {
            tracing::warn!(path = %self.shared.path.display(), %error, "MTA-STS policies cannot be written");
        }
    }

    /// Refreshes and writes, until the engine stops.
    pub(crate) async fn keep(self, engine: Arc<crate::shared::Shared>) {
        let mut tended = Instant::now();
        while !engine.condition.stopping.load(Ordering::Acquire) {
            tokio::time::sleep(SAVE_AFTER / 5).await;
            self.save_if_due().await;
            if tended.elapsed() >= TEND_EVERY {
                self.tend(engine.clock.now());
                tended = Instant::now();
            }
        }
    }
}

impl Shared {
    fn learn(&self, domain: &str, found: discovery::Found, now: UnixMs) {
        let mut state = self.lock();
        if state.store.learn(domain, found, now) {
            state.changed.get_or_insert_with(Instant::now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A domain that is being looked at, until this is dropped.
struct Sought<'a> {
    shared: &'a Shared,
    domain: &'a str,
}

impl Drop for Sought<'_> {
    fn drop(&mut self) {
        self.shared.lock().sought.remove(self.domain);
    }
}

async fn ended(mut end: watch::Receiver<()>) {
    // Nothing is ever sent: an error is what is waited for.
    while end.changed().await.is_ok() {}
}

/// The policy to keep to, or how long to go on without; `None` when nobody has looked yet.
fn believed(known: Known, now: UnixMs) -> Option<Result<Arc<Policy>, Duration>> {
    match known {
        Known::Policy(policy) | Known::Old(policy) => {
            Some(if policy.mode == Mode::None { Err(NOT_IN_FORCE) } else { Ok(policy) })
        }
        Known::Nothing(until) => Some(Err(until.since(now))),
        Known::Unknown => None,
    }
}
