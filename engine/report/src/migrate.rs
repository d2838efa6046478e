//! Turns a store of the layout that had one row for each event into one of blocks. Nothing is forgotten, and a start that is
//! interrupted goes on where it was.

use mail::{Disposition, MessageId, Phase, RecipientId, RecordId, UnixMs};
use rusqlite::{Connection, Row, params};

use crate::StoreError;
use crate::event::{Event, Outcome, Subject, Way};
use crate::forget::batch_of;
use crate::rows::{number_at, read_origin, read_route};
use crate::schema::{LAYOUT, LAYOUT_OF_ROWS};
use crate::store::{bounds, last_of, shards_of};
use crate::write::{Writer, key};

/// Events that are turned in one transaction.
const EVENTS_PER_STEP: u32 = 8192;

/// The columns in the order in which they are read below.
const SELECT_ROWS: &str = "SELECT event.id, recipient, message, event.address, accepted_at, metadata,
    sender, tenant, class, campaign, name, tags,
    at, disposition, attempt, next_attempt, phase, verdict, code, enhanced, reply,
    source, provider, mx, route.address, tls, connect_ms, transaction_ms, latency_ms
    FROM event JOIN origin ON origin.id = event.origin JOIN route ON route.id = event.route
    WHERE event.id > ?1 AND event.id <= ?2 ORDER BY event.id LIMIT ?3";

/// Does nothing to a store that has blocks.
pub(crate) fn to_blocks(writer: &mut Writer) -> Result<(), StoreError> {
    let layout: i64 = writer.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if layout != LAYOUT_OF_ROWS {
        return Ok(());
    }
    tracing::info!(
        "the event store is brought into its new layout; that takes some seconds for each million of events"
    );
    for shard in shards_of(&writer.connection)? {
        let (first, end) = bounds(shard);
        let mut after = last_of(&writer.connection, shard)?.map_or(first.saturating_sub(1), key);
        loop {
            let events = rows(&writer.connection, after, end)?;
            let Some(last) = events.last() else { break };
            after = key(last.id);
            writer.commit_events(&mut batch_of(&events))?;
        }
    }
    let done = format!("BEGIN; DROP TABLE event; PRAGMA user_version = {LAYOUT}; COMMIT;");
    Ok(writer.connection.execute_batch(&done)?)
}

fn rows(connection: &Connection, after: i64, end: i64) -> Result<Vec<Event>, StoreError> {
    let mut statement = connection.prepare_cached(SELECT_ROWS)?;
    let events = statement.query_map(params![after, end, EVENTS_PER_STEP], read_event)?;
    Ok(events.collect::<Result<_, _>>()?)
}

fn read_event(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    let subject = Subject {
        recipient: RecipientId(id_at(row, 1)?),
        message: MessageId(id_at(row, 2)?),
        address: row.get(3)?,
        accepted_at: UnixMs(number_at(row, 4)?),
        metadata: row.get(5)?,
        sender: row.get(6)?,
        origin: read_origin(row, 7)?,
    };
    let way = Way { route: read_route(row, 21)?, connect_ms: row.get(26)?, transaction_ms: row.get(27)? };
    Ok(Event { id: id_at(row, 0)?, subject, result: read_outcome(row)?, way })
}

fn read_outcome(row: &Row<'_>) -> Result<Outcome, rusqlite::Error> {
    Ok(Outcome {
        at: UnixMs(number_at(row, 12)?),
        disposition: Disposition::from_index(row.get(13)?).unwrap_or(Disposition::Unknown),
        attempt: row.get(14)?,
        next_attempt: row.get::<_, Option<i64>>(15)?.map(|at| UnixMs(at.cast_unsigned())),
        phase: Phase::from_index(row.get(16)?).unwrap_or(Phase::Routing),
        verdict: row.get(17)?,
        code: row.get(18)?,
        enhanced: row.get(19)?,
        reply: row.get(20)?,
        latency_ms: row.get::<_, Option<i64>>(28)?.map(i64::cast_unsigned),
    })
}

fn id_at(row: &Row<'_>, column: usize) -> Result<RecordId, rusqlite::Error> {
    number_at(row, column).map(RecordId::from_raw)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Cursor, Store};

    /// A store as the layout of rows had it, with `events` rows in two shards and a cursor for each.
    fn store_of_rows(path: &Path, events: i64) {
        drop(Store::create(path, std::sync::Arc::default()).expect("made"));
        let connection = Connection::open(path.join("events.sqlite")).expect("opened");
        connection
            .execute_batch(
                "CREATE TABLE event (
                    id INTEGER PRIMARY KEY, recipient INTEGER NOT NULL, message INTEGER NOT NULL, origin INTEGER NOT NULL,
                    route INTEGER NOT NULL, address TEXT NOT NULL, sender TEXT NOT NULL, accepted_at INTEGER NOT NULL,
                    at INTEGER NOT NULL, disposition INTEGER NOT NULL, attempt INTEGER NOT NULL, next_attempt INTEGER, phase INTEGER NOT NULL,
                    verdict TEXT NOT NULL, code INTEGER NOT NULL, enhanced TEXT NOT NULL, reply TEXT NOT NULL,
                    connect_ms INTEGER NOT NULL, transaction_ms INTEGER NOT NULL, latency_ms INTEGER, metadata TEXT
                ) STRICT;
                CREATE INDEX event_recipient ON event (recipient);
                CREATE INDEX event_message ON event (message);
                INSERT INTO origin (id, tenant, class, campaign, name, tags) VALUES (5, 'acme', 0, 9, 'spring', 'a\nb');
                INSERT INTO route (id, source, provider, mx, address, tls) VALUES (6, 'a', 'p', 'mx.test', '192.0.2.1:25', 'TLSv1.3');
                INSERT INTO cursor (shard, position) VALUES (0, 7), (200, 8);
                PRAGMA user_version = 1;
                BEGIN;",
            )
            .expect("laid out");
        for n in 0..events {
            let shard: u8 = if n % 2 == 0 { 0 } else { 200 };
            let id = key(RecordId::new(shard, 1000 + n.cast_unsigned() * 16));
            connection
                .execute(
                    "INSERT INTO event VALUES (?1, ?1 - 3, 9, 5, 6, 'r@x.test', 's@x.test', 10, 30, 1, 2, 40, 9, 'v', 450, '4.2.0', 'later', 3, 4, NULL, '{}')",
                    [id],
                )
                .expect("inserted");
        }
        connection.execute_batch("COMMIT").expect("committed");
    }

    #[test]
    fn every_row_becomes_an_event_of_a_block() {
        let dir = tempfile::tempdir().expect("a directory");
        store_of_rows(dir.path(), 20_001);
        for _ in 0..2 {
            let (store, writer) = Store::create(dir.path(), std::sync::Arc::default()).expect("turned");
            assert_eq!((writer.position(0).expect("read"), writer.position(200).expect("read")), (7, 8));
            let (mut found, mut cursor) = (0, Cursor::default());
            loop {
                let (events, next) = store.events_after(&cursor, 5000, None).expect("read");
                if events.is_empty() {
                    break;
                }
                found += events.len();
                cursor = next;
            }
            assert_eq!(found, 20_001);
            let id = RecordId::new(200, 1016);
            let story = store.story(RecipientId::from_raw(id.raw() - 3)).expect("read");
            let json = serde_json::to_value(&story[0]).expect("written");
            assert_eq!((story.len(), story[0].id), (1, id));
            for (name, value) in [
                ("account", "\"acme\""),
                ("campaign_name", "\"spring\""),
                ("tags", "[\"a\",\"b\"]"),
                ("event", "\"deferred\""),
                ("next_attempt", "\"1970-01-01T00:00:00.040Z\""),
                ("latency_ms", "null"),
                ("reply", "\"later\""),
                ("tls", "\"TLSv1.3\""),
                ("metadata", "{}"),
            ] {
                assert_eq!(json[name].to_string(), value, "{name}");
            }
        }
    }

    #[test]
    fn a_turn_that_was_interrupted_goes_on() {
        let dir = tempfile::tempdir().expect("a directory");
        store_of_rows(dir.path(), 100);
        let connection = crate::schema::open_writer(&dir.path().join("events.sqlite")).expect("opened");
        let (first, end) = bounds(0);
        let mut events = rows(&connection, first, end).expect("read");
        events.truncate(20);
        Writer::new(connection).commit_events(&mut batch_of(&events)).expect("committed");
        let (store, _) = Store::create(dir.path(), std::sync::Arc::default()).expect("turned");
        assert_eq!(store.events_after(&Cursor::default(), 1000, None).expect("read").0.len(), 100);
    }
}
