//! Takes sessions from the shards without making them wait, and counts them on the control runtime.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use policy::tls_report::{Aggregate, Day, PolicyReport, Session};

use super::file;

/// Sessions on their way from the shards: half a second of more connections than a machine can open.
const WAITING_MAX: usize = 16_384;
/// How often they are counted.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// How often the counts are written to disk. What was counted since is lost when the machine fails: a report is a
/// statistic, and a session is not worth a write of its own.
const SAVE_EVERY: Duration = Duration::from_secs(180);
/// Days kept: the current one, the last one, which is being told, and the one before it, for whom could not be reached.
const DAYS_MAX: usize = 3;

/// Counts of sessions by day, domain, policy and failure. Clones share them.
#[derive(Clone, Debug)]
pub struct TlsReports {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: ArrayQueue<Session>,
    /// Sessions that are in no day's counts because they came faster than they could be counted.
    lost: AtomicU64,
    successful: AtomicU64,
    failed: AtomicU64,
    days: Mutex<Days>,
    /// Where the counts are kept.
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Days {
    by_day: BTreeMap<Day, Aggregate>,
    /// Whether there is anything that the file does not have.
    is_changed: bool,
}

/// Sessions in all since the start, for the metrics; one that is told to several domains counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsCounters {
    /// Those that were protected as the policy of their domain wants.
    pub successful: u64,
    /// Those that were not.
    pub failed: u64,
    /// Those that are in no report, because they came faster than they could be counted.
    pub lost: u64,
}

impl TlsReports {
    /// Counts kept in `data_dir`. A file that cannot be read is begun anew, with a warning.
    #[must_use]
    pub fn open(data_dir: &Path) -> Self {
        let path = data_dir.join(file::NAME);
        let by_day = file::read(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the counts for TLS reports begin anew");
            BTreeMap::new()
        });
        Self {
            shared: Arc::new(Shared {
                waiting: ArrayQueue::new(WAITING_MAX),
                lost: AtomicU64::new(0),
                successful: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                days: Mutex::new(Days { by_day, is_changed: false }),
                path,
            }),
        }
    }

    /// Takes the end of an attempt to open a session; from any thread, without waiting. To be called once for each
    /// connection that learnt whether TLS can be had, not for each message.
    pub fn record(&self, session: Session) {
        let counter = if session.failure.is_none() { &self.shared.successful } else { &self.shared.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        if self.shared.waiting.push(session).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sessions since the start.
    #[must_use]
    pub fn counters(&self) -> TlsCounters {
        TlsCounters {
            successful: self.shared.successful.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }

    /// The days that there are counts of, in order.
    #[must_use]
    pub fn days(&self) -> Vec<Day> {
        self.counted().by_day.keys().copied().collect()
    }

    /// The domains of a day that still have to be told of it.
    #[must_use]
    pub fn domains(&self, day: Day) -> Vec<String> {
        self.counted().by_day.get(&day).map(Aggregate::domains).unwrap_or_default()
    }

    /// What was counted on `day`, of one domain or of all.
    #[must_use]
    pub fn policies(&self, day: Day, domain: Option<&str>) -> Vec<PolicyReport> {
        self.counted().by_day.get(&day).map(|counted| counted.policies(domain)).unwrap_or_default()
    }

    /// Forgets what was counted on `day` for `domain`, once the domain was told or wants to hear nothing.
    pub fn forget(&self, day: Day, domain: &str) {
        let mut days = self.counted();
        let Some(counted) = days.by_day.get_mut(&day) else { return };
        counted.forget(domain);
        if counted.is_empty() || counted.domains().is_empty() {
            days.by_day.remove(&day);
        }
        days.is_changed = true;
    }

    /// Writes the counts to disk, if they have changed; blocks.
    ///
    /// # Errors
    /// The file cannot be written; the counts are still there.
    pub fn save(&self) -> io::Result<()> {
        let saved = {
            let mut days = self.counted();
            if !std::mem::take(&mut days.is_changed) {
                return Ok(());
            }
            days.by_day.iter().map(|(day, counted)| (*day, counted.save())).collect()
        };
        file::write(&self.shared.path, &saved).inspect_err(|_| self.lock().is_changed = true)
    }

    /// The counts, with all that waits counted.
    fn counted(&self) -> MutexGuard<'_, Days> {
        let mut days = self.lock();
        // Not more than there is room for: a shard that goes on pushing does not hold this up.
        for _ in 0..WAITING_MAX {
            let Some(session) = self.shared.waiting.pop() else { break };
            days.count(session);
        }
        days
    }

    fn lock(&self) -> MutexGuard<'_, Days> {
        // Counting does not panic half-way: a poisoned lock guards whole counts.
        self.shared.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Days {
    fn count(&mut self, mut session: Session) {
        if !session.policy.domain.is_ascii() {
            let Ok(domain) = idna::domain_to_ascii(&session.policy.domain) else { return };
            Arc::make_mut(&mut session.policy).domain = domain;
        }
        self.by_day.entry(Day::of(session.at)).or_default().add(session);
        self.is_changed = true;
        while self.by_day.len() > DAYS_MAX {
            self.by_day.pop_first();
        }
    }

    /// Forgets the days before `oldest`.
    fn forget_before(&mut self, oldest: Day) {
        let kept = self.by_day.split_off(&oldest);
        self.is_changed |= !self.by_day.is_empty();
        self.by_day = kept;
    }
}

/// Counts what the shards hand over and writes it down from time to time, until the engine stops.
pub(crate) async fn keep(engine: Arc<crate::shared::Shared>) {
    let reports = &engine.counting.tls_reports;
    let mut saved = Instant::now();
    while !engine.condition.stopping.load(Ordering::Acquire) {
        tokio::time::sleep(COUNT_EVERY).await;
        let today = Day::of(engine.clock.now());
        reports.counted().forget_before(Day(today.0.saturating_sub(DAYS_MAX as u32 - 1)));
        if saved.elapsed() >= SAVE_EVERY {
            save(reports).await;
            saved = Instant::now();
        }
    }
}

async fn save(reports: &TlsReports) {
    let writer = reports.clone();
    let written = tokio::task::spawn_blocking(move || writer.save()).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(path = %reports.shared.path.display(), %error, "the counts for TLS reports cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::tls_report::{AppliedPolicy, Failure, ResultType};

    fn session(day: Day, domain: &str, failure: Option<ResultType>) -> Session {
        let policy = Arc::new(AppliedPolicy::none(domain));
        Session { at: day.begin() + Duration::from_secs(9), policy, failure: failure.map(Failure::new) }
    }

    #[test]
    fn counts_outlive_a_restart_until_they_are_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let (today, yesterday) = (Day(20_000), Day(19_999));
        let reports = TlsReports::open(dir.path());
        reports.record(session(today, "a.test", None));
        reports.record(session(today, "a.test", Some(ResultType::CertificateExpired)));
        reports.record(session(yesterday, "b.test", None));
        assert_eq!(reports.domains(today), ["a.test"]);
        reports.save().expect("written");
        let again = TlsReports::open(dir.path());
        assert_eq!(again.days(), [yesterday, today]);
        let told = again.policies(today, Some("a.test"));
        assert_eq!((told[0].summary.successful, told[0].summary.failed), (1, 1));
        again.forget(yesterday, "b.test");
        again.save().expect("written");
        assert_eq!(TlsReports::open(dir.path()).days(), [today]);
        let counters = TlsCounters { successful: 2, failed: 1, lost: 0 };
        assert_eq!(reports.counters(), counters);
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let reports = TlsReports::open(dir.path());
        for _ in 0..WAITING_MAX + 7 {
            reports.record(session(Day(1), "a.test", None));
        }
        assert_eq!(reports.counters().lost, 7);
        assert_eq!(reports.policies(Day(1), None)[0].summary.successful, WAITING_MAX as u64);
        for day in 2..9 {
            reports.record(session(Day(day), "a.test", None));
        }
        assert_eq!(reports.days(), [Day(6), Day(7), Day(8)]);
        reports.record(session(Day(8), "b\u{fc}cher.test", None));
        assert_eq!(reports.domains(Day(8)), ["a.test", "xn--bcher-kva.test"]);
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(file::NAME), "{\"1\":").expect("written");
        let reports = TlsReports::open(dir.path());
        assert!(reports.days().is_empty());
        reports.record(session(Day(1), "a.test", None));
        assert_eq!(reports.days(), [Day(1)]);
        reports.save().expect("written");
        assert_eq!(TlsReports::open(dir.path()).days(), [Day(1)]);
    }
}
