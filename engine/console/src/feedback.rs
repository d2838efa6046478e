//! `POST /v1/feedback`: what recipients did with a message after it was delivered. It is counted into the reputation of
//! whatever the message was, and shown in the recipient's story. Each kind counts once for a recipient.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use mail::{RecipientId, UnixMs};
use mta::FeedbackKind;
use report::{as_text, as_time};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::app::Console;
use crate::body::{expect_json, read_json};
use crate::idempotency::create_private;
use crate::{ApiError, Caller};

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long feedback is shown: complaints come within days, openings within weeks.
const KEPT_DAYS: u64 = 90;
/// Old feedback is looked for once in so many new ones.
const FORGET_EVERY: u64 = 1_000;

/// The feedback of all recipients, in an SQLite file of its own. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct FeedbackStore {
    shared: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    added: u64,
}

/// One piece of feedback, as a story shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    kind: &'static str,
    #[serde(serialize_with = "as_time")]
    at: UnixMs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    recipient: String,
    kind: String,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Taken {
    #[serde(serialize_with = "as_text")]
    recipient: RecipientId,
    kind: &'static str,
    /// False when the same was told before.
    counted: bool,
}

impl FeedbackStore {
    /// Opens the file in `data_dir`, making it when it is missing.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, crate::idempotency::OpenError> {
        let connection = Connection::open(create_private(&data_dir.join("feedback.sqlite"))?)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS feedback (
                 recipient INTEGER NOT NULL, kind INTEGER NOT NULL, at INTEGER NOT NULL,
                 PRIMARY KEY (recipient, kind)
             ) STRICT, WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS feedback_at ON feedback (at);",
        )?;
        Ok(Self { shared: Arc::new(Mutex::new(Inner { connection, added: 0 })) })
    }

    /// Keeps a piece of feedback; false when the same is kept already. Blocks.
    fn add(&self, recipient: RecipientId, kind: FeedbackKind, at: UnixMs) -> Result<bool, rusqlite::Error> {
        let mut inner = self.lock();
        let sql = "INSERT OR IGNORE INTO feedback (recipient, kind, at) VALUES (?1, ?2, ?3)";
        let values = params![recipient.raw().cast_signed(), kind as u8, at.0.cast_signed()];
        let is_new = inner.connection.prepare_cached(sql)?.execute(values)? > 0;
        inner.added += 1;
        if inner.added.is_multiple_of(FORGET_EVERY) {
            let before = at.0.saturating_sub(KEPT_DAYS * 86_400_000);
            inner.connection.execute("DELETE FROM feedback WHERE at < ?1", [before.cast_signed()])?;
        }
        Ok(is_new)
    }

    /// What is kept of a recipient, oldest first. Blocks.
    fn of(&self, recipient: RecipientId) -> Result<Vec<Told>, rusqlite::Error> {
        let inner = self.lock();
        let sql = "SELECT kind, at FROM feedback WHERE recipient = ?1 ORDER BY at, kind";
        let mut statement = inner.connection.prepare_cached(sql)?;
        let rows = statement.query_map([recipient.raw().cast_signed()], |row| {
            let kind = FeedbackKind::from_index(row.get(0)?).map_or("unknown", FeedbackKind::name);
            Ok(Told { kind, at: UnixMs(row.get::<_, i64>(1)?.cast_unsigned()) })
        })?;
        rows.collect()
    }

    /// What is kept of a recipient, read where blocking is allowed; nothing when it cannot be read.
    pub(crate) async fn told(&self, recipient: RecipientId) -> Vec<Told> {
        let store = self.clone();
        let read = tokio::task::spawn_blocking(move || store.of(recipient)).await;
        match read {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the feedback of a recipient cannot be read");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // SQLite keeps its own order: a panic leaves the connection whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a piece of feedback.
pub(crate) async fn take(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Taken>), ApiError> {
    expect_json(&headers)?;
    let body = console.budget.collect(&headers, body, BODY_BYTES_MAX).await?;
    let request: Request = read_json(&body.bytes)?;
    let recipient: RecipientId = request
        .recipient
        .parse()
        .map_err(|error: mail::IdError| ApiError::invalid("recipient", error.to_string()))?;
    let kind = FeedbackKind::from_name(&request.kind).ok_or_else(|| {
        let names = FeedbackKind::ALL.map(FeedbackKind::name).join(", ");
        ApiError::invalid("kind", format!("`{}` is not one of {names}", request.kind))
    })?;
    let subject = crate::stories::recipient(&console, &caller, recipient).await?;
    let feedback = subject.feedback(&console, kind);
    let counted = keep(&console, recipient, kind).await?;
    if counted {
        console.handle.feedback(feedback);
    }
    Ok((StatusCode::ACCEPTED, Json(Taken { recipient, kind: kind.name(), counted })))
}

async fn keep(console: &Console, recipient: RecipientId, kind: FeedbackKind) -> Result<bool, ApiError> {
    let (store, now) = (console.feedback.clone(), console.handle.now());
    let kept = tokio::task::spawn_blocking(move || store.add(recipient, kind, now)).await;
    kept.map_err(|_| ApiError::fault("the feedback could not be kept"))?
        .map_err(|error| ApiError::fault(format!("the feedback could not be kept: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_counts_once_and_outlives_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (RecipientId::from_raw(7), RecipientId::from_raw(8));
        {
            let store = FeedbackStore::open(dir.path()).expect("opened");
            assert!(store.add(one, FeedbackKind::Open, UnixMs(5)).expect("kept"));
            assert!(!store.add(one, FeedbackKind::Open, UnixMs(6)).expect("kept"));
            assert!(store.add(one, FeedbackKind::Complaint, UnixMs(7)).expect("kept"));
        }
        let store = FeedbackStore::open(dir.path()).expect("opened again");
        let told = store.of(one).expect("read");
        assert_eq!(told, [Told { kind: "open", at: UnixMs(5) }, Told { kind: "complaint", at: UnixMs(7) }]);
        assert!(store.of(other).expect("read").is_empty());
    }
}
