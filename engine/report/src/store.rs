//! The reading half of the event store: the feed, stories, messages and counts, each from one short query.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mail::{CampaignId, Disposition, MessageId, RecipientId, RecordId, UnixMs};
use prometheus_client::registry::Registry;
use rusqlite::{Connection, ToSql};
use tokio::sync::watch;

use crate::batch::stretch;
use crate::event::Event;
use crate::live::Live;
use crate::migrate;
use crate::pack::Packed;
use crate::rows::{Blocks, number_at};
use crate::schema::{self, ACCEPTED};
use crate::write::{Writer, key};
use crate::{Cursor, CursorError};

/// Most events that one call gives.
pub const EVENTS_MAX: usize = 10_000;

/// The file in the data directory.
const FILE: &str = "events.sqlite";

/// Connections for reading that are kept open: more readers at once than this open one for themselves.
const READERS_KEPT: usize = 4;

/// The shards there can be: an identifier has 8 bits for them.
const SHARDS_MAX: u16 = 256;

/// Why the event store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the event store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The cursor of a reader is wrong.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A file cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store that was just made is not of our layout.
    #[error("the new event store has another layout: another engine uses the same data_dir")]
    Layout,
    /// The events that begin with this one were not written by this program.
    #[error(
        "the event store's block {0} is damaged: stop the engine, move events.sqlite away, and start it: what the spool still has is told again"
    )]
    Block(RecordId),
    /// The spool cannot be read.
    #[error("the event store cannot read the spool: {0}")]
    Spool(String),
}

/// The event store, open for reading. Clones share it. Every call reads the disk and may take milliseconds: call it
/// where blocking is allowed.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    readers: Mutex<Vec<Connection>>,
    live: Arc<Live>,
}

/// What became of a campaign's recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Recipients taken in; of a single provider always 0, because the provider is not known until they are tried.
    pub accepted: u64,
    /// Taken by their receiver.
    pub delivered: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Given up when their time ran out.
    pub expired: u64,
    /// Withdrawn by the user.
    pub cancelled: u64,
    /// Not tried because of a suppression list.
    pub suppressed: u64,
    /// Attempts that ended in a deferral; not part of the balance.
    pub deferrals: u64,
    /// Attempts whose end nobody knows; not part of the balance.
    pub unknown_retries: u64,
}

impl Counts {
    /// Recipients with a final outcome.
    #[must_use]
    pub const fn finished(&self) -> u64 {
        self.delivered + self.bounced + self.expired + self.cancelled + self.suppressed
    }

    /// Recipients that still wait.
    #[must_use]
    pub const fn queued(&self) -> u64 {
        self.accepted.saturating_sub(self.finished())
    }

    fn add(&mut self, state: i64, count: u64) {
        let disposition = u8::try_from(state).ok().and_then(Disposition::from_index);
        match disposition {
            Some(Disposition::Delivered) => self.delivered += count,
            Some(Disposition::Deferred) => self.deferrals += count,
            Some(Disposition::Unknown) => self.unknown_retries += count,
            Some(Disposition::Bounced) => self.bounced += count,
            Some(Disposition::Expired) => self.expired += count,
            Some(Disposition::Cancelled) => self.cancelled += count,
            Some(Disposition::Suppressed) => self.suppressed += count,
            None if state == ACCEPTED => self.accepted += count,
            None => {}
        }
    }
}

/// The counts of a campaign, whole and by provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignCounts {
    /// All of it.
    pub all: Counts,
    /// By name of the provider; the empty name is of those that were never routed.
    pub providers: Vec<(String, Counts)>,
}

/// Everything that was tried for one recipient of a message, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The recipient.
    pub recipient: RecipientId,
    /// What became of each attempt; at least one.
    pub events: Vec<Event>,
}

impl Store {
    /// Opens the store in `data_dir` beside a running engine or after one; nothing new is told through it.
    ///
    /// # Errors
    /// When there is none or it cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let reader = schema::open_reader(&path)?;
        let shared = Shared { path, readers: Mutex::new(vec![reader]), live: Arc::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens the store in `data_dir`, making it when it is missing, and returns the one writer with it.
    pub(crate) fn create(data_dir: &Path, live: Arc<Live>) -> Result<(Self, Writer), StoreError> {
        let path = data_dir.join(FILE);
        let mut writer = Writer::new(schema::open_writer(&path)?);
        match migrate::to_blocks(&mut writer) {
            Err(StoreError::Sqlite(error)) if schema::is_damage(&error) => {
                drop(writer);
                writer = Writer::new(schema::rebuild(&path, &error.to_string())?);
            }
            done => done?,
        }
        let shared = Shared { path, readers: Mutex::new(Vec::new()), live };
        Ok((Self { shared: Arc::new(shared) }, writer))
    }

    /// Counts the events that have been told since the start; its receiver is woken by each batch of new ones.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.live.subscribe()
    }

    /// The metrics that the events feed.
    pub(crate) fn registry(&self) -> &Registry {
        self.shared.live.registry()
    }

    /// At most `limit` events (and never more than [`EVENTS_MAX`]) that follow `cursor`, and the cursor behind them.
    /// Within a shard they come in the order of its log, between shards about in the order of time. Reading on from the
    /// returned cursor gives every event exactly once. `tenant` leaves out the events of other accounts; so that a
    /// call stays short however rare the account's own are, at most [`EVENTS_MAX`] are looked at, and the list may be
    /// empty although there are more: the feed has been read to its end when the returned cursor is the given one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_after(
        &self,
        cursor: &Cursor,
        limit: usize,
        tenant: Option<&str>,
    ) -> Result<(Vec<Event>, Cursor), StoreError> {
        let limit = limit.clamp(1, EVENTS_MAX);
        let looked_at_max = if tenant.is_some() { EVENTS_MAX } else { limit };
        self.read(|connection| {
            let mut shards = Vec::new();
            for shard in shards_of(connection)? {
                shards.push(shard_events(connection, shard, cursor.last(shard), looked_at_max)?.into_iter());
            }
            let mut found = Vec::new();
            let mut next = cursor.clone();
            for event in merge(shards, looked_at_max) {
                if found.len() == limit {
                    break;
                }
                next.advance(event.id);
                if tenant.is_none_or(|tenant| event.subject.origin.tenant == tenant) {
                    found.push(event);
                }
            }
            Ok((found, next))
        })
    }

    /// The cursor behind all events there are now: where to begin to follow.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn end(&self) -> Result<Cursor, StoreError> {
        self.read(|connection| {
            let mut cursor = Cursor::default();
            for shard in shards_of(connection)? {
                if let Some(last) = last_of(connection, shard)? {
                    cursor.advance(last);
                }
            }
            Ok(cursor)
        })
    }

    /// Everything that was tried for `recipient`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn story(&self, recipient: RecipientId) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT block.id, block.events FROM beside JOIN block ON block.id = beside.block
                WHERE beside.stretch = ?1 ORDER BY beside.block";
            let found = |packed: &Packed<'_>| packed.recipient == recipient;
            Blocks::new(connection).events(sql, &[&stretch(recipient.0)], usize::MAX, found)
        })
    }

    /// The stories of the recipients of `message` that have one, in the order of the recipients; of a message with
    /// very many events only those of the first `events_max`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn message(&self, message: MessageId, events_max: usize) -> Result<Vec<Story>, StoreError> {
        let found = self.read(|connection| {
            // The two stretches of `is_beside`, and where the message itself is listed.
            let sql = "SELECT id, events FROM block WHERE id IN (
                SELECT block FROM beside WHERE stretch BETWEEN ?1 AND ?1 + 1
                UNION SELECT block FROM apart WHERE message = ?2) ORDER BY id";
            let keys: [&dyn ToSql; 2] = [&stretch(message.0), &key(message.0)];
            Blocks::new(connection).events(sql, &keys, events_max, |packed| packed.message == message)
        })?;
        let mut stories: Vec<Story> = Vec::new();
        let mut places = rustc_hash::FxHashMap::default();
        for event in found {
            let recipient = event.subject.recipient;
            let place = *places.entry(recipient).or_insert_with(|| {
                stories.push(Story { recipient, events: Vec::new() });
                stories.len() - 1
            });
            stories[place].events.push(event);
        }
        stories.sort_by_key(|story| story.recipient);
        Ok(stories)
    }

    /// What became of the recipients of `campaign`, whole and by provider.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn campaign(&self, campaign: CampaignId) -> Result<CampaignCounts, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT provider, state, count FROM total WHERE campaign = ?1 ORDER BY provider",
            )?;
            let mut rows = statement.query([key(campaign.0)])?;
            let mut counts = CampaignCounts::default();
            while let Some(row) = rows.next()? {
                let (provider, state): (String, i64) = (row.get(0)?, row.get(1)?);
                let count = row.get::<_, i64>(2)?.cast_unsigned();
                counts.all.add(state, count);
                if state != ACCEPTED {
                    add_to_provider(&mut counts.providers, provider, state, count);
                }
            }
            Ok(counts)
        })
    }

    /// How many recipients of `campaign` reached their final outcome since `since`, by the counts per minute: the
    /// minute of `since` counts whole.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn finished_since(&self, campaign: CampaignId, since: UnixMs) -> Result<u64, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT state, sum(count) FROM tally WHERE campaign = ?1 AND minute >= ?2 GROUP BY state",
            )?;
            let mut rows = statement.query([key(campaign.0), (since.0 / 60_000).cast_signed()])?;
            let mut counts = Counts::default();
            while let Some(row) = rows.next()? {
                counts.add(row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned());
            }
            Ok(counts.finished())
        })
    }

    /// When `campaign` was last started; `None` when it never was.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn started(&self, campaign: CampaignId) -> Result<Option<UnixMs>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT at FROM started WHERE campaign = ?1")?;
            let mut rows = statement.query([key(campaign.0)])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            Ok(Some(UnixMs(number_at(row, 0)?)))
        })
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let kept = self.kept().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => schema::open_reader(&self.shared.path)?,
        };
        let answer = query(&connection)?;
        let mut readers = self.kept();
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        Ok(answer)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// The shards that have ever been read.
pub(crate) fn shards_of(connection: &Connection) -> Result<Vec<u8>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT shard FROM cursor WHERE shard < ?1 ORDER BY shard")?;
    let shards = statement.query_map([SHARDS_MAX], |row| row.get(0))?;
    Ok(shards.collect::<Result<_, _>>()?)
}

/// The first and the last number of a shard's events.
pub(crate) const fn bounds(shard: u8) -> (i64, i64) {
    (key(RecordId::new(shard, 0)), key(RecordId::new(shard, RecordId::POSITION_MAX)))
}

/// The last event of `shard`.
pub(crate) fn last_of(connection: &Connection, shard: u8) -> Result<Option<RecordId>, StoreError> {
    let sql = "SELECT last FROM block WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let (first, last) = bounds(shard);
    let mut rows = statement.query([first, last])?;
    let last = rows.next()?.map(|row| number_at(row, 0)).transpose()?;
    Ok(last.map(RecordId::from_raw))
}

fn shard_events(
    connection: &Connection,
    shard: u8,
    last: Option<RecordId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let (first, end) = bounds(shard);
    let after = last.map_or(first, key);
    // From the block that has the event read last: others may follow there.
    let sql = "SELECT id, events FROM block WHERE id <= ?2
        AND id >= coalesce((SELECT max(id) FROM block WHERE id BETWEEN ?1 AND ?3), ?1) ORDER BY id";
    let is_new = |packed: &Packed<'_>| last.is_none_or(|last| packed.id > last);
    Blocks::new(connection).events(sql, &[&first, &end, &after], limit, is_new)
}

/// Takes `limit` events from the fronts of `shards`, always the earliest.
fn merge(mut shards: Vec<std::vec::IntoIter<Event>>, limit: usize) -> Vec<Event> {
    let mut merged = Vec::new();
    while merged.len() < limit {
        let earliest = shards
            .iter_mut()
            .filter(|shard| !shard.as_slice().is_empty())
            .min_by_key(|shard| shard.as_slice().first().map(|event| event.result.at));
        let Some(event) = earliest.and_then(Iterator::next) else { break };
        merged.push(event);
    }
    merged
}

fn add_to_provider(providers: &mut Vec<(String, Counts)>, provider: String, state: i64, count: u64) {
    if providers.last().is_none_or(|(name, _)| *name != provider) {
        providers.push((provider, Counts::default()));
    }
    if let Some((_, counts)) = providers.last_mut() {
        counts.add(state, count);
    }
}

#[cfg(test)]
mod tests {
    use mail::{Class, Phase};

    use super::*;
    use crate::batch::Batch;
    use crate::event::{Origin, Outcome, Route, Subject, Way};

    const MINUTE: u64 = 60_000;

    fn origin(tenant: &str, campaign: Option<u64>) -> Origin {
        Origin {
            tenant: tenant.to_owned(),
            class: Class::Bulk,
            campaign: campaign.map(CampaignId::from_raw),
            campaign_name: String::new(),
            tags: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    fn event(id: RecordId, recipient: u64, origin: &Origin, disposition: Disposition) -> Event {
        let delivered = disposition == Disposition::Delivered;
        let at = UnixMs(MINUTE * 10 + id.position());
        let result = Outcome {
            at,
            attempt: 1,
            disposition,
            next_attempt: (!disposition.is_final()).then_some(UnixMs(MINUTE * 20)),
            phase: if delivered { Phase::Body } else { Phase::Rcpt },
            verdict: if delivered { String::new() } else { "recipient.unknown".to_owned() },
            code: 550,
            enhanced: "5.1.1".to_owned(),
            reply: "no such user".to_owned(),
            latency_ms: delivered.then_some(id.position()),
        };
        let route = Route {
            source: "a".to_owned(),
            provider: if recipient.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
            mx: "mx.test".to_owned(),
            address: "192.0.2.1:25".to_owned(),
            tls: String::new(),
        };
        let subject = Subject {
            recipient: RecipientId::from_raw(recipient),
            message: MessageId::from_raw(7),
            address: format!("r{recipient}@x.test"),
            sender: "news@s.test".to_owned(),
            accepted_at: UnixMs(MINUTE * 10),
            metadata: Some("{\"order\":1}".to_owned()),
            origin: origin.clone(),
        };
        Event { id, subject, result, way: Way { route, connect_ms: 3, transaction_ms: 4 } }
    }

    fn created(dir: &Path) -> (Store, Writer) {
        Store::create(dir, Arc::default()).expect("a store")
    }

    fn commit(writer: &mut Writer, events: &[Event]) {
        let mut batch = Batch::default();
        for event in events {
            batch.cursors.insert(event.id.shard(), event.id.position() + 8);
            batch.tell_again(event);
        }
        writer.commit(&mut batch).expect("committed");
    }

    #[test]
    fn the_feed_gives_every_event_once_over_all_shards() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, mut writer) = created(dir.path());
        let origin = origin("", None);
        let mut ids = Vec::new();
        for n in 0..50_u64 {
            for shard in [0_u8, 1, 200] {
                ids.push(RecordId::new(shard, n * 16));
            }
        }
        let all: Vec<Event> =
            ids.iter().map(|&id| event(id, id.raw(), &origin, Disposition::Delivered)).collect();
        for part in all.chunks(40) {
            commit(&mut writer, part);
        }
        let mut cursor = Cursor::default();
        let mut read = Vec::new();
        loop {
            let (events, next) = store.events_after(&cursor, 7, None).expect("read");
            if events.is_empty() {
                assert_eq!(next, cursor);
                break;
            }
            read.extend(events);
            cursor = next.to_string().parse().expect("a cursor");
        }
        assert!(read.is_sorted_by_key(|event| event.result.at));
        read.sort_by_key(|event| event.id);
        let mut all = all;
        all.sort_by_key(|event| event.id);
        assert_eq!(read, all);
        assert_eq!(store.end().expect("read"), cursor);
    }

    #[test]
    fn an_account_sees_its_own_events_and_still_gets_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, mut writer) = created(dir.path());
        let (mine, other) = (origin("me", None), origin("other", None));
        let events = (0..100_u64).map(|n| {
            let origin = if n == 90 { &mine } else { &other };
            event(RecordId::new(0, n * 16), n, origin, Disposition::Delivered)
        });
        commit(&mut writer, &events.collect::<Vec<_>>());
        let (events, next) = store.events_after(&Cursor::default(), 10, Some("me")).expect("read");
        assert_eq!(events.len(), 1);
        assert_eq!(next, store.end().expect("read"));
    }

    #[test]
    fn stories_and_messages_are_read_back_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, mut writer) = created(dir.path());
        let origin = origin("", Some(7));
        let first = event(RecordId::new(0, 160), 40, &origin, Disposition::Deferred);
        let other = event(RecordId::new(0, 176), 41, &origin, Disposition::Bounced);
        let second = event(RecordId::new(0, 192), 40, &origin, Disposition::Delivered);
        commit(&mut writer, &[first.clone(), other.clone(), second.clone()]);
        assert_eq!(store.story(RecipientId::from_raw(40)).expect("read"), [first.clone(), second.clone()]);
        assert_eq!(store.story(RecipientId::from_raw(1)).expect("read"), []);
        let stories = store.message(MessageId::from_raw(7), 100).expect("read");
        let wanted = [
            Story { recipient: RecipientId::from_raw(40), events: vec![first, second] },
            Story { recipient: RecipientId::from_raw(41), events: vec![other] },
        ];
        assert_eq!(stories, wanted);
    }

    #[test]
    fn campaigns_are_counted_by_outcome_and_provider() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, mut writer) = created(dir.path());
        let campaign = origin("", Some(7));
        let mut batch = Batch::default();
        for _ in 0..5 {
            batch.accept(&campaign, UnixMs(MINUTE));
        }
        batch.accept(&origin("", None), UnixMs(MINUTE));
        for (place, recipient, disposition) in [
            (160, 40, Disposition::Deferred),
            (176, 41, Disposition::Bounced),
            (192, 40, Disposition::Delivered),
        ] {
            batch.tell_again(&event(RecordId::new(0, place), recipient, &campaign, disposition));
        }
        writer.commit(&mut batch).expect("committed");
        let counts = store.campaign(CampaignId::from_raw(7)).expect("read");
        let all = Counts { accepted: 5, delivered: 1, bounced: 1, deferrals: 1, ..Counts::default() };
        assert_eq!((counts.all, counts.all.queued()), (all, 3));
        let even = Counts { delivered: 1, deferrals: 1, ..Counts::default() };
        let odd = Counts { bounced: 1, ..Counts::default() };
        assert_eq!(counts.providers, [("even".to_owned(), even), ("odd".to_owned(), odd)]);
        let since =
            |minute| store.finished_since(CampaignId::from_raw(7), UnixMs(minute * MINUTE)).expect("read");
        assert_eq!((since(10), since(11)), (2, 0));
    }

    #[test]
    fn what_is_told_twice_is_kept_and_counted_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let campaign = origin("", Some(7));
        for _ in 0..2 {
            let (store, mut writer) = created(dir.path());
            commit(&mut writer, &[event(RecordId::new(0, 176), 41, &campaign, Disposition::Bounced)]);
            assert_eq!(store.campaign(CampaignId::from_raw(7)).expect("read").all.bounced, 1);
            assert_eq!(writer.position(0).expect("read"), 184);
            assert!(writer.checkpoint().expect("done"));
        }
    }

    #[test]
    fn old_events_are_forgotten_and_totals_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, mut writer) = created(dir.path());
        let campaign = origin("", Some(7));
        let events = (0..10_u64).map(|n| event(RecordId::new(0, n * 16), n, &campaign, Disposition::Bounced));
        for block in events.collect::<Vec<_>>().chunks(2) {
            commit(&mut writer, block);
        }
        let before = UnixMs(MINUTE * 10 + 64);
        assert_eq!(writer.prune(0, before, 3).expect("pruned"), 2);
        assert_eq!(writer.prune(0, before, 3).expect("pruned"), 2);
        assert_eq!(writer.prune(0, before, 3).expect("pruned"), 0);
        assert_eq!(writer.prune_minutes(UnixMs(MINUTE * 11)).expect("pruned"), 2);
        assert_eq!(store.events_after(&Cursor::default(), 100, None).expect("read").0.len(), 6);
        assert_eq!(store.campaign(CampaignId::from_raw(7)).expect("read").all.bounced, 10);
        assert_eq!(store.story(RecipientId::from_raw(3)).expect("read"), []);
        writer.prune(0, UnixMs(MINUTE * 100), 100).expect("pruned");
        let sql = "SELECT (SELECT count(*) FROM beside) + (SELECT count(*) FROM apart) + (SELECT count(*) FROM block)";
        let left: i64 = writer.connection.query_row(sql, [], |row| row.get(0)).expect("counted");
        assert_eq!(left, 0);
    }

    #[test]
    fn a_block_that_the_spool_has_lost_in_part_keeps_the_rest() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, mut writer) = created(dir.path());
        let origin = origin("", None);
        let events: Vec<Event> = (0..600_u64)
            .map(|n| event(RecordId::new(1, n * 16), 7 + n % 3, &origin, Disposition::Deferred))
            .collect();
        commit(&mut writer, &events);
        writer.forget_from(1, 300 * 16).expect("forgotten");
        assert_eq!(writer.position(1).expect("read"), 300 * 16);
        assert_eq!(store.events_after(&Cursor::default(), 1000, None).expect("read").0, events[..300]);
        assert_eq!(store.story(RecipientId::from_raw(8)).expect("read").len(), 100);
        let stories = store.message(MessageId::from_raw(7), 250).expect("read");
        assert_eq!(stories.iter().map(|story| story.events.len()).sum::<usize>(), 250);
    }

    #[test]
    fn an_event_reads_as_one_flat_object() {
        let event = event(RecordId::new(0, 176), 41, &origin("acme", Some(7)), Disposition::Delivered);
        let json = serde_json::to_value(&event).expect("written");
        for (name, value) in [
            ("id", "\"000000000005g\""),
            ("event", "\"delivered\""),
            ("recipient", "\"0000000000019\""),
            ("address", "\"r41@x.test\""),
            ("account", "\"acme\""),
            ("class", "\"bulk\""),
            ("campaign", "\"0000000000007\""),
            ("tags", "[\"one\",\"two\"]"),
            ("metadata", "{\"order\":1}"),
            ("mx_address", "\"192.0.2.1:25\""),
            ("phase", "\"body\""),
            ("at", "\"1970-01-01T00:10:00.176Z\""),
            ("latency_ms", "176"),
            ("next_attempt", "null"),
        ] {
            assert_eq!(json[name].to_string(), value, "{name}");
        }
    }
}
