//! What the event store lets go of: events that are old, and events of records that the spool has lost. Totals stay.

use mail::{RecordId, UnixMs};
use rusqlite::{Connection, params};

use crate::StoreError;
use crate::batch::{Batch, Places};
use crate::event::Event;
use crate::pack::Block;
use crate::rows::{Blocks, number_at};
use crate::store::bounds;
use crate::write::{SET_CURSOR, Writer, add_blocks, key};

impl Writer {
    /// Forgets blocks of `shard` whose events are all older than `before`, oldest first and up to `events_max` events; how many events.
    pub(crate) fn prune(&mut self, shard: u8, before: UnixMs, events_max: u32) -> Result<u32, StoreError> {
        self.transact(|transaction, _| {
            let (first, last) = bounds(shard);
            let mut pruned = 0;
            let mut statement = transaction.prepare_cached(
                "SELECT id, events, newest, count FROM block WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
            )?;
            loop {
                let mut rows = statement.query([first, last])?;
                let Some(row) = rows.next()? else { break };
                let (id, newest): (i64, i64) = (row.get(0)?, row.get(2)?);
                let count: u32 = row.get(3)?;
                if newest >= before.0.cast_signed() || pruned + count > events_max.max(count) {
                    break;
                }
                let places = places(RecordId::from_raw(number_at(row, 0)?), row.get_ref(1)?.as_blob().ok());
                drop(rows);
                remove(transaction, id, &places)?;
                pruned += count;
            }
            Ok(pruned)
        })
    }

    /// Forgets the counts per minute before `before`; the totals stay.
    pub(crate) fn prune_minutes(&self, before: UnixMs) -> Result<usize, StoreError> {
        let minute = (before.0 / 60_000).cast_signed();
        Ok(self.connection.execute("DELETE FROM tally WHERE minute < ?1", [minute])?)
    }

    /// Forgets the events of `shard` from `end` on and reads on from there: the spool has lost its tail, which is only
    /// possible with `durability = "memory"`, and other records will stand at their positions.
    pub(crate) fn forget_from(&mut self, shard: u8, end: u64) -> Result<(), StoreError> {
        self.transact(|transaction, names| {
            transaction.execute(SET_CURSOR, params![shard, end.cast_signed()])?;
            let end = RecordId::new(shard, end);
            let (first, last) = bounds(shard);
            // The block that `end` falls into loses its end only.
            let sql = "SELECT id, events FROM block WHERE id BETWEEN ?1 AND ?2 AND last >= ?3 ORDER BY id";
            let mut statement = transaction.prepare(sql)?;
            let mut rows = statement.query([first, last, key(end)])?;
            let mut lost = Vec::new();
            while let Some(row) = rows.next()? {
                let id = RecordId::from_raw(number_at(row, 0)?);
                lost.push((key(id), places(id, row.get_ref(1)?.as_blob().ok())));
            }
            let kept =
                Blocks::new(transaction)
                    .events(sql, &[&first, &last, &key(end)], usize::MAX, |packed| packed.id < end)?;
            for (block, places) in &lost {
                remove(transaction, *block, places)?;
            }
            add_blocks(transaction, names, &mut batch_of(&kept))
        })
    }
}

/// `events` as they are added again.
pub(crate) fn batch_of(events: &[Event]) -> Batch {
    let mut batch = Batch::default();
    for event in events {
        batch.tell_again(event);
    }
    batch
}

/// Where the block is listed, as far as it can be read.
fn places(first: RecordId, bytes: Option<&[u8]>) -> Places {
    let mut places = Places::default();
    let mut block = bytes.and_then(|bytes| Block::read(first, bytes));
    while let Some(Ok(packed)) = block.as_mut().and_then(Block::next_event) {
        places.add(packed.recipient.0, packed.message.0);
    }
    places
}

fn remove(connection: &Connection, block: i64, places: &Places) -> Result<(), StoreError> {
    let mut beside = connection.prepare_cached("DELETE FROM beside WHERE stretch = ?1 AND block = ?2")?;
    for stretch in &places.stretches {
        beside.execute([*stretch, block])?;
    }
    let mut apart = connection.prepare_cached("DELETE FROM apart WHERE message = ?1 AND block = ?2")?;
    for message in &places.messages {
        apart.execute([*message, block])?;
    }
    connection.prepare_cached("DELETE FROM block WHERE id = ?1")?.execute([block])?;
    Ok(())
}
