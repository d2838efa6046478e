//! The text that Prometheus scrapes: the books, the engine's counters, the queue, and what the events have fed.

use std::fmt;
use std::sync::atomic::AtomicU64;

use mail::{Class, Ledger};
use mta::{Counters, PathView, SourceView, TlsCounters, WaitingView};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::Store;

/// The media type of the text.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is asked of the engine for one scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Whether submissions are taken.
    pub accepting: bool,
    /// The books.
    pub ledger: Ledger,
    /// What the engine has counted since it was started.
    pub counters: Counters,
    /// Recipients by what they wait for.
    pub waiting: WaitingView,
    /// All paths.
    pub paths: Vec<PathView>,
    /// Sessions with receivers, by how they were protected.
    pub tls: TlsCounters,
    /// All sources with their standings.
    pub sources: Vec<SourceView>,
}

impl Scrape {
    /// The text in the OpenMetrics format, which every Prometheus reads.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn text(&self, store: &Store) -> Result<String, fmt::Error> {
        let mut now = Registry::with_prefix("staffetta");
        gauge(&mut now, "accepting", "Whether submissions are taken", u64::from(self.accepting));
        self.register_ledger(&mut now);
        self.register_counters(&mut now);
        self.register_queue(&mut now);
        self.register_tls(&mut now);
        self.register_budgets(&mut now);
        let mut text = String::new();
        encode_registry(&mut text, &now)?;
        encode_registry(&mut text, store.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn register_ledger(&self, registry: &mut Registry) {
        let recipients = Family::<StateLabel, Gauge>::default();
        let ledger = &self.ledger;
        for (state, count) in [
            ("accepted", ledger.accepted),
            ("queued", ledger.queued()),
            ("delivered", ledger.delivered),
            ("bounced", ledger.bounced),
            ("expired", ledger.expired),
            ("cancelled", ledger.cancelled),
            ("suppressed", ledger.suppressed),
        ] {
            recipients.get_or_create(&StateLabel { state }).set(count.cast_signed());
        }
        registry.register("recipients", "Recipients by the books, since the spool was created", recipients);
        gauge(registry, "unknown_retries", "Attempts whose end nobody knows", ledger.unknown_retries);
    }

    fn register_tls(&self, registry: &mut Registry) {
        let sessions = Family::<ResultLabel, Counter>::default();
        for (result, count) in [("successful", self.tls.successful), ("failed", self.tls.failed)] {
            sessions.get_or_create(&ResultLabel { result }).inc_by(count);
        }
        let help = "Sessions with receivers by whether they were protected as the policy of the domain wants";
        registry.register("tls_sessions", help, sessions);
        let lost = Counter::<u64>::default();
        lost.inc_by(self.tls.lost);
        registry.register("tls_sessions_unreported", "Sessions that no TLS report counts", lost);
    }

    fn register_counters(&self, registry: &mut Registry) {
        for (name, value) in self.counters.named() {
            let help = "Counted by the engine since it was started";
            if name.ends_with("_open") {
                gauge(registry, name, help, value);
            } else {
                let counter = Counter::<u64>::default();
                counter.inc_by(value);
                registry.register(name, help, counter);
            }
        }
    }

    fn register_queue(&self, registry: &mut Registry) {
        let waiting = Family::<ReasonLabel, Gauge>::default();
        for (waits_for, count) in [
            ("time", self.waiting.scheduled),
            ("turn", self.waiting.ready),
            ("campaign", self.waiting.held),
            ("dns", self.waiting.resolving),
        ] {
            waiting.get_or_create(&ReasonLabel { waits_for }).set(count.cast_signed());
        }
        registry.register("waiting", "Waiting recipients by what they wait for", waiting);
        let ready = Family::<ReadyLabels, Gauge>::default();
        let connections = Family::<PathLabels, Gauge>::default();
        let suspended = Family::<PathLabels, Gauge>::default();
        for path in &self.paths {
            for (class, count) in Class::ALL.into_iter().zip(path.ready) {
                let labels = ReadyLabels { provider: path.provider.clone(), class: class.name() };
                ready.get_or_create(&labels).inc_by(count.cast_signed());
            }
            let labels = PathLabels { provider: path.provider.clone(), source: path.source.clone() };
            connections.get_or_create(&labels).inc_by(i64::from(path.connections));
            suspended.get_or_create(&labels).inc_by(i64::from(path.suspended_until.is_some()));
        }
        registry.register("ready", "Recipients that wait for their turn on a path", ready);
        registry.register("connections", "Open connections to receivers", connections);
        registry.register("suspended_paths", "Paths on which nothing is sent for now", suspended);
    }
}

impl Scrape {
    /// What each source may burden each provider with now, and how it stands there.
    fn register_budgets(&self, registry: &mut Registry) {
        let rate = Family::<PathLabels, Gauge<f64, AtomicU64>>::default();
        let connections = Family::<PathLabels, Gauge>::default();
        for path in &self.paths {
            let labels = PathLabels { provider: path.provider.clone(), source: path.source.clone() };
            if let Some(per_second) = path.budget.as_ref().and_then(|budget| budget.rate_per_second) {
                rate.get_or_create(&labels).set(per_second);
            }
            connections.get_or_create(&labels).set(i64::from(path.connections_max));
        }
        registry.register(
            "budget_rate",
            "Recipients a second that a source may send to a provider now",
            rate,
        );
        registry.register(
            "budget_connections",
            "Connections that a source may open to a provider now",
            connections,
        );
        let score = Family::<PathLabels, Gauge>::default();
        let burnt = Family::<PathLabels, Gauge>::default();
        for source in &self.sources {
            for standing in &source.providers {
                let labels = PathLabels { provider: standing.provider.clone(), source: source.name.clone() };
                score.get_or_create(&labels).set(i64::from(standing.score));
                burnt.get_or_create(&labels).set(i64::from(standing.burnt_until.is_some()));
            }
        }
        registry.register("score", "Reputation of a source at a provider, 0 to 100", score);
        registry.register("burnt", "Whether a provider refuses a source", burnt);
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value.cast_signed());
    registry.register(name, help, gauge);
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    waits_for: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadyLabels {
    provider: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    provider: String,
    source: String,
}
