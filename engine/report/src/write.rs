//! The writing half of the event store: batches of events and counts, each in one transaction with its cursor.

use std::collections::BTreeMap;
use std::hash::Hash;

use mail::{CampaignId, Class, RecordId, UnixMs};
use rusqlite::{Connection, Transaction, params};
use rustc_hash::FxHashMap;

use crate::StoreError;
use crate::event::{Event, Origin, Route};
use crate::schema::ACCEPTED;

/// Most entries of a dictionary that are remembered, so that senders with an address of their own per message
/// cannot grow the memory without bound; the file knows the others.
const REMEMBERED_MAX: usize = 65_536;

const MINUTE_MS: u64 = 60_000;

/// What one transaction adds.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Outcomes, in the order of each shard's log.
    pub(crate) events: Vec<Event>,
    /// Campaigns that were started, and when.
    pub(crate) started: BTreeMap<CampaignId, UnixMs>,
    /// Recipients that were taken in.
    pub(crate) accepted: FxHashMap<Accepted, u64>,
    /// Where each shard that was read is to be read on.
    pub(crate) cursors: BTreeMap<u8, u64>,
}

/// Under what an accepted recipient is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Accepted {
    pub(crate) minute: u64,
    pub(crate) campaign: i64,
    pub(crate) tenant: String,
    pub(crate) class: Class,
}

impl Batch {
    /// Counts one recipient of `origin` that was accepted at `at`.
    pub(crate) fn accept(&mut self, origin: &Origin, at: UnixMs) {
        let key = Accepted {
            minute: at.0 / MINUTE_MS,
            campaign: campaign_key(origin),
            tenant: origin.tenant.clone(),
            class: origin.class,
        };
        *self.accepted.entry(key).or_default() += 1;
    }

    /// Makes room for the next batch, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.started.clear();
        self.accepted.clear();
        self.cursors.clear();
    }
}

/// The one connection that writes.
pub(crate) struct Writer {
    connection: Connection,
    origins: FxHashMap<Origin, i64>,
    routes: FxHashMap<Route, i64>,
}

impl Writer {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, origins: FxHashMap::default(), routes: FxHashMap::default() }
    }

    /// Where `shard` is to be read on: at its oldest record when it has never been read.
    pub(crate) fn position(&self, shard: u8) -> Result<u64, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT position FROM cursor WHERE shard = ?1")?;
        let mut rows = statement.query([shard])?;
        let Some(row) = rows.next()? else { return Ok(0) };
        Ok(row.get::<_, i64>(0)?.cast_unsigned())
    }

    /// Forgets the events of `shard` from `end` on and reads on from there: the spool has lost its tail, which is only
    /// possible with `durability = "memory"`, and other records will stand at their positions.
    pub(crate) fn forget_from(&mut self, shard: u8, end: u64) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(SET_CURSOR, params![shard, end.cast_signed()])?;
        let (first, last) = (RecordId::new(shard, end), RecordId::new(shard, RecordId::POSITION_MAX));
        transaction.execute("DELETE FROM event WHERE id BETWEEN ?1 AND ?2", [key(first), key(last)])?;
        Ok(transaction.commit()?)
    }

    /// When each campaign was last started.
    pub(crate) fn started(&self) -> Result<FxHashMap<CampaignId, UnixMs>, StoreError> {
        let mut statement = self.connection.prepare("SELECT campaign, at FROM started")?;
        let rows = statement.query_map([], |row| {
            let (campaign, at): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((CampaignId::from_raw(campaign.cast_unsigned()), UnixMs(at.cast_unsigned())))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds `batch`, all of it or nothing.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let done = self.try_commit(batch);
        if done.is_err() {
            // What was interned in the failed transaction is not in the file.
            self.origins.clear();
            self.routes.clear();
        }
        done
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let mut tallies = Tallies::default();
        {
            let mut insert = transaction.prepare_cached(INSERT_EVENT)?;
            for event in &batch.events {
                let origin = intern(&mut self.origins, &event.subject.origin, |origin| {
                    insert_origin(&transaction, origin)
                })?;
                let route =
                    intern(&mut self.routes, &event.way.route, |route| insert_route(&transaction, route))?;
                if insert_event(&mut insert, event, origin, route)? {
                    tallies.count(event, origin, route);
                }
            }
        }
        tallies.write(&transaction, batch)?;
        for (campaign, at) in &batch.started {
            transaction.execute(
                "INSERT OR REPLACE INTO started (campaign, at) VALUES (?1, ?2)",
                [key(campaign.0), at.0.cast_signed()],
            )?;
        }
        for (shard, position) in &batch.cursors {
            let mut statement = transaction
                .prepare_cached("INSERT OR REPLACE INTO cursor (shard, position) VALUES (?1, ?2)")?;
            statement.execute(params![shard, position.cast_signed()])?;
        }
        Ok(transaction.commit()?)
    }

    /// Makes everything that was committed durable; `false` when a reader stood in the way.
    pub(crate) fn checkpoint(&self) -> Result<bool, StoreError> {
        let (busy, log, moved): (i64, i64, i64) =
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        Ok(busy == 0 && log == moved)
    }

    /// Forgets up to `events_max` events of `shard` that are older than `before`, oldest first; how many.
    pub(crate) fn prune(&self, shard: u8, before: UnixMs, events_max: u32) -> Result<usize, StoreError> {
        let first = key(RecordId::new(shard, 0));
        let last = key(RecordId::new(shard, RecordId::POSITION_MAX));
        let mut oldest = self
            .connection
            .prepare_cached("SELECT at FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1")?;
        let mut rows = oldest.query([first, last])?;
        let oldest: Option<i64> = rows.next()?.map(|row| row.get(0)).transpose()?;
        if oldest.is_none_or(|at| at >= before.0.cast_signed()) {
            return Ok(0);
        }
        let mut statement = self.connection.prepare_cached(
            "DELETE FROM event WHERE id IN
             (SELECT id FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?4) AND at < ?3",
        )?;
        Ok(statement.execute(params![first, last, before.0.cast_signed(), events_max])?)
    }

    /// Forgets the counts per minute before `before`; the totals stay.
    pub(crate) fn prune_minutes(&self, before: UnixMs) -> Result<usize, StoreError> {
        let minute = (before.0 / MINUTE_MS).cast_signed();
        Ok(self.connection.execute("DELETE FROM tally WHERE minute < ?1", [minute])?)
    }
}

/// The number under which a record is kept: its raw identifier as SQLite's signed integer.
pub(crate) const fn key(id: RecordId) -> i64 {
    id.raw().cast_signed()
}

/// The number of the campaign; 0, which no campaign has, for mail outside of campaigns.
fn campaign_key(origin: &Origin) -> i64 {
    origin.campaign.map_or(0, |campaign| key(campaign.0))
}

fn intern<T: Hash + Eq + Clone>(
    remembered: &mut FxHashMap<T, i64>,
    value: &T,
    insert: impl FnOnce(&T) -> Result<i64, StoreError>,
) -> Result<i64, StoreError> {
    if let Some(id) = remembered.get(value) {
        return Ok(*id);
    }
    let id = insert(value)?;
    if remembered.len() >= REMEMBERED_MAX {
        remembered.clear();
    }
    remembered.insert(value.clone(), id);
    Ok(id)
}

/// The upsert that changes nothing makes RETURNING give the number of a row that exists.
fn insert_origin(transaction: &Transaction<'_>, origin: &Origin) -> Result<i64, StoreError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO origin (tenant, class, campaign, name, tags) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET class = excluded.class RETURNING id",
    )?;
    let tags = origin.tags.join("\n");
    Ok(statement.query_row(
        params![origin.tenant, origin.class as u8, campaign_key(origin), origin.campaign_name, tags],
        |row| row.get(0),
    )?)
}

fn insert_route(transaction: &Transaction<'_>, route: &Route) -> Result<i64, StoreError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO route (source, provider, mx, address, tls) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET tls = excluded.tls RETURNING id",
    )?;
    let values = params![route.source, route.provider, route.mx, route.address, route.tls];
    Ok(statement.query_row(values, |row| row.get(0))?)
}

const SET_CURSOR: &str = "INSERT OR REPLACE INTO cursor (shard, position) VALUES (?1, ?2)";

const INSERT_EVENT: &str =
    "INSERT OR IGNORE INTO event (id, recipient, message, origin, route, address, sender,
    accepted_at, at, disposition, attempt, next_attempt, phase, verdict, code, enhanced, reply, connect_ms,
    transaction_ms, latency_ms, metadata)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

/// Adds `event`; `false` when it is there already.
fn insert_event(
    insert: &mut rusqlite::CachedStatement<'_>,
    event: &Event,
    origin: i64,
    route: i64,
) -> Result<bool, StoreError> {
    let (subject, result, way) = (&event.subject, &event.result, &event.way);
    let added = insert.execute(params![
        key(event.id),
        key(subject.recipient.0),
        key(subject.message.0),
        origin,
        route,
        subject.address,
        subject.sender,
        subject.accepted_at.0.cast_signed(),
        result.at.0.cast_signed(),
        result.disposition as u8,
        result.attempt,
        result.next_attempt.map(|at| at.0.cast_signed()),
        result.phase as u8,
        result.verdict,
        result.code,
        result.enhanced,
        result.reply,
        way.connect_ms,
        way.transaction_ms,
        result.latency_ms.map(u64::cast_signed),
        subject.metadata,
    ])?;
    Ok(added == 1)
}

/// Counts of one batch: first by the numbers of the dictionaries, which is cheap per event, then by their names.
#[derive(Default)]
struct Tallies<'a>(FxHashMap<TallyNumbers, (u64, Option<&'a Event>)>);

/// Minute, origin, route and state.
type TallyNumbers = (u64, i64, i64, i64);

impl<'a> Tallies<'a> {
    fn count(&mut self, event: &'a Event, origin: i64, route: i64) {
        let state = i64::from(event.result.disposition as u8);
        let entry = self.0.entry((event.result.at.0 / MINUTE_MS, origin, route, state)).or_default();
        entry.0 += 1;
        entry.1 = Some(event);
    }

    fn write(&self, transaction: &Transaction<'_>, batch: &Batch) -> Result<(), StoreError> {
        for ((minute, _, _, state), (count, event)) in &self.0 {
            let Some(event) = event else { continue };
            let (origin, route) = (&event.subject.origin, &event.way.route);
            let row = Tally {
                campaign: campaign_key(origin),
                minute: *minute,
                tenant: &origin.tenant,
                class: origin.class,
                provider: &route.provider,
                source: &route.source,
                state: *state,
            };
            row.add(transaction, *count)?;
        }
        for (key, count) in &batch.accepted {
            let row = Tally {
                campaign: key.campaign,
                minute: key.minute,
                tenant: &key.tenant,
                class: key.class,
                provider: "",
                source: "",
                state: ACCEPTED,
            };
            row.add(transaction, *count)?;
        }
        Ok(())
    }
}

/// The key of one row of `tally`, and with it of one row of `total`.
struct Tally<'a> {
    campaign: i64,
    minute: u64,
    tenant: &'a str,
    class: Class,
    provider: &'a str,
    source: &'a str,
    state: i64,
}

impl Tally<'_> {
    fn add(&self, transaction: &Transaction<'_>, count: u64) -> Result<(), StoreError> {
        let mut tally = transaction.prepare_cached(
            "INSERT INTO tally (campaign, minute, tenant, class, provider, source, state, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?;
        tally.execute(params![
            self.campaign,
            self.minute.cast_signed(),
            self.tenant,
            self.class as u8,
            self.provider,
            self.source,
            self.state,
            count.cast_signed(),
        ])?;
        let mut total = transaction.prepare_cached(
            "INSERT INTO total (campaign, provider, state, count) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?;
        total.execute(params![self.campaign, self.provider, self.state, count.cast_signed()])?;
        Ok(())
    }
}
