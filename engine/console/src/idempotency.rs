//! Remembers what was answered to requests that carry an Idempotency-Key, so that one sent twice is done once.
//!
//! The answers lie in an SQLite file of their own and survive a power cut: they are committed, many at a time, before
//! they are given. What is not covered is a crash in the moment between the message's commit and the answer's.

use std::collections::HashSet;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::StatusCode;
use mail::UnixMs;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use crate::ApiError;

/// How long an answer is remembered.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often old answers are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Requests that may wait for the file at once; more are refused as busy.
const WAITING_MAX: usize = 1024;
/// Most answers that one commit makes durable.
const GROUP_MAX: usize = 256;
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The fingerprint of the request that a key was used for, and its answer.
type Looked = Result<Option<(Vec<u8>, Answer)>, rusqlite::Error>;

/// The remembered answers. Clones share them; the thread behind them ends with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Idempotency {
    asks: mpsc::SyncSender<Ask>,
    under_way: Arc<Mutex<HashSet<Key>>>,
}

/// A key belongs to the account that chose it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    tenant: String,
    text: String,
}

/// An answer as it was given the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What is known of a key.
pub(crate) enum Begun {
    /// It has been answered: give this again.
    Again(Answer),
    /// It is new: do it, then [`Turn::finish`].
    New(Turn),
}

/// The right to be the one who does what the key stands for; dropping it gives the right back.
#[derive(Debug)]
pub(crate) struct Turn {
    all: Idempotency,
    key: Key,
    fingerprint: Vec<u8>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

enum Ask {
    Look {
        key: Key,
        now: UnixMs,
        answer: oneshot::Sender<Looked>,
    },
    Keep {
        key: Key,
        fingerprint: Vec<u8>,
        kept: Answer,
        now: UnixMs,
        answer: oneshot::Sender<Result<(), String>>,
    },
}

impl Idempotency {
    /// Opens the file in `data_dir`, making it when it is missing, and starts the thread that works it.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let connection = Connection::open(create_private(&data_dir.join("idempotency.sqlite"))?)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS answer (
                 tenant TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, fingerprint BLOB NOT NULL,
                 status INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (tenant, key)
             ) STRICT;
             CREATE INDEX IF NOT EXISTS answer_at ON answer (at);",
        )?;
        let (asks, asked) = mpsc::sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("idempotency".to_owned());
        thread.spawn(move || work(connection, &asked))?;
        Ok(Self { asks, under_way: Arc::default() })
    }

    /// Begins what `text`, the key of an account's request with `body`, stands for.
    ///
    /// # Errors
    /// The key is no key, is being worked on, or was used for another request.
    pub(crate) async fn begin(
        &self,
        tenant: &str,
        text: &str,
        body: &[u8],
        now: UnixMs,
    ) -> Result<Begun, ApiError> {
        if text.is_empty() || text.len() > KEY_BYTES_MAX {
            let message = format!("the Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", message));
        }
        let key = Key { tenant: tenant.to_owned(), text: text.to_owned() };
        let fingerprint = digest(&SHA256, body).as_ref().to_vec();
        if !self.under_way().insert(key.clone()) {
            let message = "a request with this Idempotency-Key is being worked on";
            return Err(ApiError::new(StatusCode::CONFLICT, "idempotency_key_in_use", message));
        }
        let turn = Turn { all: self.clone(), key, fingerprint };
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Look { key: turn.key.clone(), now, answer })?;
        let found = answered.await.map_err(|_| unusable("its thread has ended"))?.map_err(unusable)?;
        match found {
            None => Ok(Begun::New(turn)),
            Some((fingerprint, answer)) if fingerprint == turn.fingerprint => Ok(Begun::Again(answer)),
            Some(_) => {
                let message = "this Idempotency-Key was used for another request within the last 24 hours";
                Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message))
            }
        }
    }

    fn ask(&self, ask: Ask) -> Result<(), ApiError> {
        self.asks.try_send(ask).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => {
                let message = "too many requests with an Idempotency-Key at once";
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
            }
            mpsc::TrySendError::Disconnected(_) => unusable("its thread has ended"),
        })
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashSet<Key>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Remembers the answer; it is durable when this returns.
    pub(crate) async fn finish(self, kept: Answer, now: UnixMs) -> Result<(), ApiError> {
        let (answer, answered) = oneshot::channel();
        let (key, fingerprint) = (self.key.clone(), self.fingerprint.clone());
        self.all.ask(Ask::Keep { key, fingerprint, kept, now, answer })?;
        answered.await.map_err(|_| unusable("its thread has ended"))?.map_err(unusable)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.all.under_way().remove(&self.key);
    }
}

/// The file tells who wrote to whom: it is made readable for its owner only.
pub(crate) fn create_private(path: &Path) -> Result<&Path, std::io::Error> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(|_| path)
}

fn unusable(why: impl std::fmt::Display) -> ApiError {
    ApiError::fault(format!("the memory of Idempotency-Keys failed: {why}"))
}

/// Works what is asked in groups, one commit each, until the last asker is gone.
fn work(mut connection: Connection, asked: &mpsc::Receiver<Ask>) {
    let mut forgot = Instant::now();
    let mut group = Vec::new();
    while let Ok(first) = asked.recv() {
        group.push(first);
        group.extend(asked.try_iter().take(GROUP_MAX - 1));
        let now = group.iter().map(Ask::now).max().unwrap_or_default();
        if forgot.elapsed() >= FORGET_EVERY {
            forgot = Instant::now();
            let before = (now - KEPT).0.cast_signed();
            if let Err(error) = connection.execute("DELETE FROM answer WHERE at < ?1", [before]) {
                tracing::warn!("old Idempotency-Keys stay: {error}");
            }
        }
        work_group(&mut connection, &mut group);
    }
}

fn work_group(connection: &mut Connection, group: &mut Vec<Ask>) {
    let mut keepers = Vec::new();
    let outcome = (|| {
        let transaction = connection.transaction()?;
        for ask in group.drain(..) {
            match ask {
                Ask::Look { key, now, answer } => {
                    // Whoever asked may have gone.
                    let _ = answer.send(look(&transaction, &key, now));
                }
                Ask::Keep { key, fingerprint, kept, now, answer } => {
                    keepers.push(answer);
                    keep(&transaction, &key, &fingerprint, &kept, now)?;
                }
            }
        }
        transaction.commit()
    })();
    for keeper in keepers {
        let told = outcome.as_ref().map_err(ToString::to_string).copied();
        let _ = keeper.send(told);
    }
}

impl Ask {
    const fn now(&self) -> UnixMs {
        match self {
            Self::Look { now, .. } | Self::Keep { now, .. } => *now,
        }
    }
}

fn look(connection: &Connection, key: &Key, now: UnixMs) -> Looked {
    let mut statement = connection.prepare_cached(
        "SELECT fingerprint, status, body FROM answer WHERE tenant = ?1 AND key = ?2 AND at >= ?3",
    )?;
    let mut rows = statement.query(params![key.tenant, key.text, (now - KEPT).0.cast_signed()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((row.get(0)?, Answer { status: row.get(1)?, body: row.get(2)? })))
}

fn keep(
    connection: &Connection,
    key: &Key,
    fingerprint: &[u8],
    kept: &Answer,
    now: UnixMs,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO answer (tenant, key, at, fingerprint, status, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![
        key.tenant,
        key.text,
        now.0.cast_signed(),
        fingerprint,
        kept.status,
        kept.body
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000_000_000);

    fn answer() -> Answer {
        Answer { status: 202, body: b"{}".to_vec() }
    }

    async fn begin(
        all: &Idempotency,
        tenant: &str,
        key: &str,
        body: &[u8],
        now: UnixMs,
    ) -> Result<Option<Answer>, u16> {
        match all.begin(tenant, key, body, now).await {
            Ok(Begun::Again(answer)) => Ok(Some(answer)),
            Ok(Begun::New(_)) => Ok(None),
            Err(error) => Err(error.status().as_u16()),
        }
    }

    #[tokio::test]
    async fn an_answer_is_given_again_for_a_day_and_over_restarts() {
        let dir = tempfile::tempdir().expect("a directory");
        let all = Idempotency::open(dir.path()).expect("opened");
        let Ok(Begun::New(turn)) = all.begin("a", "key", b"body", NOW).await else { panic!("it is new") };
        turn.finish(answer(), NOW).await.expect("kept");
        drop(all);
        let all = Idempotency::open(dir.path()).expect("opened again");
        assert_eq!(begin(&all, "a", "key", b"body", NOW).await, Ok(Some(answer())));
        assert_eq!(begin(&all, "a", "key", b"other", NOW).await, Err(422));
        assert_eq!(begin(&all, "b", "key", b"other", NOW).await, Ok(None));
        assert_eq!(begin(&all, "a", "key", b"body", NOW + KEPT + Duration::from_secs(1)).await, Ok(None));
        assert_eq!(begin(&all, "a", "", b"body", NOW).await, Err(400));
        assert_eq!(begin(&all, "a", &"k".repeat(256), b"body", NOW).await, Err(400));
    }

    #[tokio::test]
    async fn what_is_under_way_is_not_begun_twice_and_a_failure_gives_the_key_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let all = Idempotency::open(dir.path()).expect("opened");
        let Ok(Begun::New(turn)) = all.begin("a", "key", b"body", NOW).await else { panic!("it is new") };
        assert_eq!(begin(&all, "a", "key", b"body", NOW).await, Err(409));
        drop(turn);
        assert_eq!(begin(&all, "a", "key", b"body", NOW).await, Ok(None));
    }
}
