//! How events are read back from their rows.

use mail::{CampaignId, Class, Disposition, MessageId, Phase, RecipientId, RecordId, UnixMs};
use rusqlite::{Connection, Row, ToSql};

use crate::StoreError;
use crate::event::{Event, Origin, Outcome, Route, Subject, Way};

/// The columns in the order in which they are read below; to be followed by a condition.
pub(crate) const SELECT_EVENT: &str =
    "SELECT event.id, recipient, message, event.address, accepted_at, metadata,
    sender, tenant, class, campaign, name, tags,
    at, disposition, attempt, next_attempt, phase, verdict, code, enhanced, reply,
    source, provider, mx, route.address, tls, connect_ms, transaction_ms, latency_ms
    FROM event JOIN origin ON origin.id = event.origin JOIN route ON route.id = event.route";

/// The events that `sql`, which begins with [`SELECT_EVENT`], finds.
pub(crate) fn events(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<Event>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, read_event)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read_event(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    let subject = Subject {
        recipient: RecipientId(id_at(row, 1)?),
        message: MessageId(id_at(row, 2)?),
        address: row.get(3)?,
        accepted_at: UnixMs(number_at(row, 4)?),
        metadata: row.get(5)?,
        sender: row.get(6)?,
        origin: read_origin(row)?,
    };
    let result = read_outcome(row)?;
    let route = Route {
        source: row.get(21)?,
        provider: row.get(22)?,
        mx: row.get(23)?,
        address: row.get(24)?,
        tls: row.get(25)?,
    };
    let way = Way { route, connect_ms: row.get(26)?, transaction_ms: row.get(27)? };
    Ok(Event { id: id_at(row, 0)?, subject, result, way })
}

fn read_origin(row: &Row<'_>) -> Result<Origin, rusqlite::Error> {
    let campaign = number_at(row, 9)?;
    let tags: String = row.get(11)?;
    Ok(Origin {
        tenant: row.get(7)?,
        class: Class::from_index(usize::from(row.get::<_, u8>(8)?)).unwrap_or(Class::Bulk),
        campaign: (campaign != 0).then_some(CampaignId::from_raw(campaign)),
        campaign_name: row.get(10)?,
        tags: tags.split('\n').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
    })
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

/// A number that SQLite keeps as a signed one.
pub(crate) fn number_at(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
