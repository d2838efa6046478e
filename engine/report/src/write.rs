//! The writing half of the event store: batches of events and counts, each in one transaction with its cursor.

use std::hash::Hash;

use mail::{CampaignId, Class, RecordId, UnixMs};
use rusqlite::{Connection, Transaction, params};
use rustc_hash::FxHashMap;

use crate::StoreError;
use crate::batch::{Batch, NewBlock, Places};
use crate::event::{Origin, Route};
use crate::pack::pack_lists;
use crate::schema::ACCEPTED;

/// Most entries of a dictionary that are remembered, so that senders with an address of their own per message
/// cannot grow the memory without bound; the file knows the others.
const REMEMBERED_MAX: usize = 65_536;

/// The one connection that writes.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    names: Names,
}

/// The numbers of origins and routes in the file.
#[derive(Default)]
pub(crate) struct Names {
    origins: FxHashMap<Origin, i64>,
    routes: FxHashMap<Route, i64>,
}

impl Writer {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, names: Names::default() }
    }

    /// Where `shard` is to be read on: at its oldest record when it has never been read.
    pub(crate) fn position(&self, shard: u8) -> Result<u64, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT position FROM cursor WHERE shard = ?1")?;
        let mut rows = statement.query([shard])?;
        let Some(row) = rows.next()? else { return Ok(0) };
        Ok(row.get::<_, i64>(0)?.cast_unsigned())
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
    pub(crate) fn commit(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        batch.close();
        self.transact(|transaction, names| add(transaction, names, batch))
    }

    /// Adds the events of `batch` only.
    pub(crate) fn commit_events(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.transact(|transaction, names| add_blocks(transaction, names, batch))
    }

    /// Does `work`, all of it or nothing.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Names) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.connection.transaction()?;
        let done = work(&transaction, &mut self.names);
        let done = done.and_then(|value| Ok(transaction.commit().map(|()| value)?));
        if done.is_err() {
            // What was interned in the failed transaction is not in the file.
            self.names = Names::default();
        }
        done
    }

    /// Makes everything that was committed durable; `false` when a reader stood in the way.
    pub(crate) fn checkpoint(&self) -> Result<bool, StoreError> {
        let (busy, log, moved): (i64, i64, i64) =
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        Ok(busy == 0 && log == moved)
    }
}

/// Adds the events of `batch` only.
pub(crate) fn add_blocks(
    transaction: &Transaction<'_>,
    names: &mut Names,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    batch.close();
    batch.blocks.iter().try_for_each(|block| add_block(transaction, names, block).map(drop))
}

fn add(transaction: &Transaction<'_>, names: &mut Names, batch: &Batch) -> Result<(), StoreError> {
    for block in &batch.blocks {
        if add_block(transaction, names, block)? {
            add_counts(transaction, block)?;
        }
    }
    for (key, count) in &batch.accepted {
        let row = Tally {
            campaign: campaign_key(key.campaign),
            minute: key.minute,
            tenant: &key.tenant,
            class: key.class,
            provider: "",
            source: "",
            state: ACCEPTED,
        };
        row.add(transaction, *count)?;
    }
    for (campaign, at) in &batch.started {
        transaction.execute(
            "INSERT OR REPLACE INTO started (campaign, at) VALUES (?1, ?2)",
            [key(campaign.0), at.0.cast_signed()],
        )?;
    }
    for (shard, position) in &batch.cursors {
        transaction.prepare_cached(SET_CURSOR)?.execute(params![shard, position.cast_signed()])?;
    }
    Ok(())
}

/// The number under which a record is kept: its raw identifier as SQLite's signed integer.
pub(crate) const fn key(id: RecordId) -> i64 {
    id.raw().cast_signed()
}

/// The number of the campaign; 0, which no campaign has, for mail outside of campaigns.
fn campaign_key(campaign: Option<CampaignId>) -> i64 {
    campaign.map_or(0, |campaign| key(campaign.0))
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
        params![origin.tenant, origin.class as u8, campaign_key(origin.campaign), origin.campaign_name, tags],
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

/// Where a shard's log is to be read on.
pub(crate) const SET_CURSOR: &str = "INSERT OR REPLACE INTO cursor (shard, position) VALUES (?1, ?2)";

/// Adds `block`; `false` when it is there already.
fn add_block(transaction: &Transaction<'_>, names: &mut Names, block: &NewBlock) -> Result<bool, StoreError> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO block (id, last, newest, count, events) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let (mut origins, mut routes) = (Vec::new(), Vec::new());
    for origin in block.origins.values() {
        origins.push(intern(&mut names.origins, origin, |origin| insert_origin(transaction, origin))?);
    }
    for route in block.routes.values() {
        routes.push(intern(&mut names.routes, route, |route| insert_route(transaction, route))?);
    }
    let mut bytes = pack_lists(&origins, &routes, block.texts.values());
    bytes.extend_from_slice(&block.events);
    let newest = block.newest.0.cast_signed();
    let added = insert.execute(params![key(block.first), key(block.last), newest, block.count(), bytes])?;
    add_places(transaction, block.first, &block.places)?;
    Ok(added == 1)
}

fn add_places(transaction: &Transaction<'_>, block: RecordId, places: &Places) -> Result<(), StoreError> {
    let tables = [
        ("INSERT OR IGNORE INTO beside (stretch, block) VALUES (?1, ?2)", &places.stretches),
        ("INSERT OR IGNORE INTO apart (message, block) VALUES (?1, ?2)", &places.messages),
    ];
    for (sql, keys) in tables {
        if keys.is_empty() {
            continue;
        }
        let mut insert = transaction.prepare_cached(sql)?;
        for place in keys {
            insert.execute([*place, key(block)])?;
        }
    }
    Ok(())
}

fn add_counts(transaction: &Transaction<'_>, block: &NewBlock) -> Result<(), StoreError> {
    for (counted, count) in &block.counts {
        let origin = &block.origins.values()[counted.origin];
        let route = &block.routes.values()[counted.route];
        let row = Tally {
            campaign: campaign_key(origin.campaign),
            minute: counted.minute,
            tenant: &origin.tenant,
            class: origin.class,
            provider: &route.provider,
            source: &route.source,
            state: i64::from(counted.disposition as u8),
        };
        row.add(transaction, *count)?;
    }
    Ok(())
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
