//! How events are read back from their blocks.

use mail::{CampaignId, Class, RecordId};
use rusqlite::{Connection, Row, ToSql};
use rustc_hash::FxHashMap;

use crate::StoreError;
use crate::event::{Event, Origin, Route, Way};
use crate::pack::{Block, Packed};

/// Reads blocks, keeping the origins and routes that it has met for the length of one query.
pub(crate) struct Blocks<'a> {
    connection: &'a Connection,
    origins: FxHashMap<i64, Origin>,
    routes: FxHashMap<i64, Route>,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection, origins: FxHashMap::default(), routes: FxHashMap::default() }
    }

    /// The first `events_max` events that `is` accepts in the blocks that `sql` gives, in their order. Its first column is `id`, its second `events`.
    pub(crate) fn events(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
        events_max: usize,
        is: impl Fn(&Packed<'_>) -> bool,
    ) -> Result<Vec<Event>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while found.len() < events_max
            && let Some(row) = rows.next()?
        {
            let first = RecordId::from_raw(number_at(row, 0)?);
            let bytes = row.get_ref(1)?.as_blob().map_err(|_| StoreError::Block(first))?;
            self.read(first, bytes, (events_max, &is), &mut found)?;
        }
        Ok(found)
    }

    fn read(
        &mut self,
        first: RecordId,
        bytes: &[u8],
        (events_max, is): (usize, &impl Fn(&Packed<'_>) -> bool),
        found: &mut Vec<Event>,
    ) -> Result<(), StoreError> {
        let mut block = Block::read(first, bytes).ok_or(StoreError::Block(first))?;
        while found.len() < events_max
            && let Some(packed) = block.next_event()
        {
            let packed = packed.map_err(|_| StoreError::Block(first))?;
            if is(&packed) {
                found.push(self.event(first, &block, &packed)?);
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        first: RecordId,
        block: &Block<'_>,
        packed: &Packed<'_>,
    ) -> Result<Event, StoreError> {
        let event = block.unpack(packed).map_err(|_| StoreError::Block(first))?;
        let origin = named(&mut self.origins, event.origin, |id| {
            let sql = "SELECT tenant, class, campaign, name, tags FROM origin WHERE id = ?1";
            Ok(self.connection.prepare_cached(sql)?.query_row([id], |row| read_origin(row, 0))?)
        })?;
        let route = named(&mut self.routes, event.route, |id| {
            let sql = "SELECT source, provider, mx, address, tls FROM route WHERE id = ?1";
            Ok(self.connection.prepare_cached(sql)?.query_row([id], |row| read_route(row, 0))?)
        })?;
        Ok(Event {
            id: packed.id,
            subject: event.subject.to_subject(origin),
            result: event.result,
            way: Way { route, connect_ms: event.connect_ms, transaction_ms: event.transaction_ms },
        })
    }
}

fn named<T: Clone>(
    known: &mut FxHashMap<i64, T>,
    id: i64,
    read: impl FnOnce(i64) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if let Some(value) = known.get(&id) {
        return Ok(value.clone());
    }
    let value = read(id)?;
    known.insert(id, value.clone());
    Ok(value)
}

/// An origin from five columns, of which `first` is the first.
pub(crate) fn read_origin(row: &Row<'_>, first: usize) -> Result<Origin, rusqlite::Error> {
    let campaign = number_at(row, first + 2)?;
    let tags: String = row.get(first + 4)?;
    Ok(Origin {
        tenant: row.get(first)?,
        class: Class::from_index(usize::from(row.get::<_, u8>(first + 1)?)).unwrap_or(Class::Bulk),
        campaign: (campaign != 0).then_some(CampaignId::from_raw(campaign)),
        campaign_name: row.get(first + 3)?,
        tags: tags.split('\n').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
    })
}

/// A route from five columns, of which `first` is the first.
pub(crate) fn read_route(row: &Row<'_>, first: usize) -> Result<Route, rusqlite::Error> {
    Ok(Route {
        source: row.get(first)?,
        provider: row.get(first + 1)?,
        mx: row.get(first + 2)?,
        address: row.get(first + 3)?,
        tls: row.get(first + 4)?,
    })
}

/// A number that SQLite keeps as a signed one.
pub(crate) fn number_at(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
