//! The tables of the event store and how its file is opened.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;

/// The number of the layout below; a file with another number is set aside and built anew from the spool, but for that of
/// [`LAYOUT_OF_ROWS`].
pub(crate) const LAYOUT: i64 = 2;

/// The layout that had one row for each event in place of blocks: `migrate` turns it into the one below.
pub(crate) const LAYOUT_OF_ROWS: i64 = 1;

/// Identifiers are the raw numbers of `mail::RecordId`, as signed integers: within a shard they keep their order.
/// `cursor` says up to where each shard's log has been told. `started` has the last start of each campaign, from which on its recipients could be sent.
/// `tally` counts outcomes (and acceptances, see [`ACCEPTED`]) per minute; `total` is its sum over time. [`BLOCKS`] has the events.
const TABLES: &str = "
    CREATE TABLE cursor (shard INTEGER PRIMARY KEY, position INTEGER NOT NULL) STRICT;
    CREATE TABLE started (campaign INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
    CREATE TABLE origin (
        id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, class INTEGER NOT NULL,
        campaign INTEGER NOT NULL, name TEXT NOT NULL, tags TEXT NOT NULL,
        UNIQUE (tenant, class, campaign, name, tags)
    ) STRICT;
    CREATE TABLE route (
        id INTEGER PRIMARY KEY, source TEXT NOT NULL, provider TEXT NOT NULL, mx TEXT NOT NULL,
        address TEXT NOT NULL, tls TEXT NOT NULL, UNIQUE (source, provider, mx, address, tls)
    ) STRICT;
    CREATE TABLE tally (
        campaign INTEGER NOT NULL, minute INTEGER NOT NULL, tenant TEXT NOT NULL, class INTEGER NOT NULL,
        provider TEXT NOT NULL, source TEXT NOT NULL, state INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (campaign, minute, tenant, class, provider, source, state)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE total (
        campaign INTEGER NOT NULL, provider TEXT NOT NULL, state INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (campaign, provider, state)
    ) STRICT, WITHOUT ROWID;";

/// A block has the events `id` to `last` of one shard, packed (see `pack`), the latest of them of the moment `newest`. Blocks are added in the order of
/// their identifiers, so the table grows at its end. `beside` finds the blocks with events of the recipients in a stretch of the log (see `batch`), `apart`
/// those of a message that is not found so: a campaign's template mostly.
const BLOCKS: &str = "
    CREATE TABLE IF NOT EXISTS block (
        id INTEGER PRIMARY KEY, last INTEGER NOT NULL, newest INTEGER NOT NULL, count INTEGER NOT NULL,
        events BLOB NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS beside (
        stretch INTEGER NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (stretch, block)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS apart (
        message INTEGER NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (message, block)
    ) STRICT, WITHOUT ROWID;";

/// The state under which `tally` and `total` count recipients that were accepted; all others are the
/// discriminants of `mail::Disposition`.
pub(crate) const ACCEPTED: i64 = 255;

/// Pages that the writer keeps to itself. All tables grow at their ends, so it comes back to few, and each page more is
/// memory that must be had from the kernel first; what it does not keep lies in the page cache.
const CACHE_KIB: i64 = 4096;

/// How long a connection waits for another one's lock. The writer is alone and readers need no lock in WAL mode,
/// so only a checkpoint or a foreign tool that has the file open can cause a wait.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Opens the store's file for writing, making it anew when it is missing, damaged or of another layout.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    match try_writer(path) {
        Ok(Some(connection)) => Ok(connection),
        Ok(None) => rebuild(path, "it has another layout"),
        Err(StoreError::Sqlite(error)) if is_damage(&error) => rebuild(path, &error.to_string()),
        Err(error) => Err(error),
    }
}

/// Opens the store's file for reading beside the writer.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// `None` when the file holds another layout.
fn try_writer(path: &Path) -> Result<Option<Connection>, StoreError> {
    create_private(path)?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // In WAL mode NORMAL never damages the file in a power cut; it may take back the last transactions, and with them
    // their cursor, so that they are read again from the spool, which is held until a checkpoint has made them durable.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(32);
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        let all = format!("BEGIN; {TABLES} {BLOCKS} PRAGMA user_version = {LAYOUT}; COMMIT;");
        connection.execute_batch(&all)?;
        return Ok(Some(connection));
    }
    if layout == LAYOUT_OF_ROWS {
        connection.execute_batch(&format!("BEGIN; {BLOCKS} COMMIT;"))?;
        return Ok(Some(connection));
    }
    Ok((layout == LAYOUT).then_some(connection))
}

/// The file names people and what was written to them: it is made readable for its owner only, and SQLite gives the
/// files beside it the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    opened.map(drop).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// Whether the file is at fault, and not the disk or the moment.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// The spool is the truth: a file that cannot be used is set aside, and a new one is filled from the spool.
pub(crate) fn rebuild(path: &Path, why: &str) -> Result<Connection, StoreError> {
    let aside = suffixed(path, ".old");
    tracing::warn!("the event store {} is built anew from the spool: {why}", path.display());
    std::fs::rename(path, &aside).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(suffixed(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::File { path: suffixed(path, suffix), source: error });
            }
            _ => {}
        }
    }
    try_writer(path)?.ok_or(StoreError::Layout)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_database_is_set_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.sqlite");
        std::fs::write(&path, vec![7_u8; 8192]).expect("written");
        let connection = open_writer(&path).expect("built anew");
        let count: i64 =
            connection.query_row("SELECT count(*) FROM block", [], |row| row.get(0)).expect("a table");
        assert_eq!(count, 0);
        assert!(dir.path().join("events.sqlite.old").exists());
    }

    #[test]
    fn another_layout_is_set_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.sqlite");
        open_writer(&path).expect("made").pragma_update(None, "user_version", 99).expect("changed");
        open_writer(&path).expect("built anew");
        assert!(dir.path().join("events.sqlite.old").exists());
        open_writer(&path).expect("opened again");
    }
}
