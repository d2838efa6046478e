//! What the demo sees of itself: the events of the store, counted by class and by provider.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use mail::{Class, Disposition};
use report::{Cursor, Event, Store};

/// Events read at a time.
const PAGE_EVENTS: usize = 10_000;
/// Latencies are told apart up to a day.
const LATENCY_MS_MAX: u64 = 86_400_000;

/// What became of the mail of one class.
pub(super) struct Seen {
    pub(super) delivered: u64,
    pub(super) bounced: u64,
    pub(super) expired: u64,
    pub(super) other: u64,
    pub(super) deferrals: u64,
    pub(super) latency_ms: Histogram<u64>,
}

impl Seen {
    fn new() -> Self {
        let latency_ms =
            Histogram::new_with_max(LATENCY_MS_MAX, 3).expect("bounds that a histogram can have");
        Self { delivered: 0, bounced: 0, expired: 0, other: 0, deferrals: 0, latency_ms }
    }

    /// Recipients with a final outcome.
    pub(super) const fn finished(&self) -> u64 {
        self.delivered + self.bounced + self.expired + self.other
    }

    fn add(&mut self, event: &Event) {
        match event.result.disposition {
            Disposition::Delivered => self.delivered += 1,
            Disposition::Deferred | Disposition::Unknown => self.deferrals += 1,
            Disposition::Bounced => self.bounced += 1,
            Disposition::Expired => self.expired += 1,
            Disposition::Cancelled | Disposition::Suppressed => self.other += 1,
        }
        if let Some(latency_ms) = event.result.latency_ms {
            self.latency_ms.saturating_record(latency_ms);
        }
    }
}

/// Reads the feed and counts.
pub(super) struct Observer {
    store: Store,
    cursor: Cursor,
    classes: [Seen; 4],
    providers: BTreeMap<String, Seen>,
    /// Deliveries by second.
    seconds: BTreeMap<u64, u64>,
}

impl Observer {
    /// An observer that has seen nothing yet.
    pub(super) fn new(store: Store) -> Self {
        let classes = std::array::from_fn(|_| Seen::new());
        Self {
            store,
            cursor: Cursor::default(),
            classes,
            providers: BTreeMap::new(),
            seconds: BTreeMap::new(),
        }
    }

    /// Reads all that is new.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn read(&mut self) -> anyhow::Result<()> {
        loop {
            let (events, next) = self.store.events_after(&self.cursor, PAGE_EVENTS, None)?;
            self.cursor = next;
            events.iter().for_each(|event| self.add(event));
            if events.len() < PAGE_EVENTS {
                return Ok(());
            }
        }
    }

    fn add(&mut self, event: &Event) {
        self.classes[event.subject.origin.class.index()].add(event);
        let provider = &event.way.route.provider;
        match self.providers.get_mut(provider) {
            Some(seen) => seen.add(event),
            None => self.providers.entry(provider.clone()).or_insert_with(Seen::new).add(event),
        }
        if event.result.disposition == Disposition::Delivered {
            *self.seconds.entry(event.result.at.seconds()).or_default() += 1;
        }
    }

    /// The mail of one class.
    pub(super) const fn class(&self, class: Class) -> &Seen {
        &self.classes[class.index()]
    }

    /// The mail of each provider.
    pub(super) const fn providers(&self) -> &BTreeMap<String, Seen> {
        &self.providers
    }

    /// Recipients with a final outcome.
    pub(super) fn finished(&self) -> u64 {
        self.classes.iter().map(Seen::finished).sum()
    }

    /// The most deliveries in one second of the clock.
    pub(super) fn peak_per_second(&self) -> u64 {
        self.seconds.values().copied().max().unwrap_or(0)
    }
}
