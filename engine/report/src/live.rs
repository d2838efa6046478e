//! What is known while the engine runs and is never stored: that there are new events, and counts for Prometheus.

use mail::Class;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::batch::Batch;

/// Bounds of the latency histogram, in seconds: from a one-time code that is awaited to a day of greylisting.
const LATENCY_BOUNDS: [f64; 14] =
    [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0];

/// Labels of the counter of outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
    class: &'static str,
    provider: String,
}

/// Label of the latency histogram.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

/// Fed by the report thread, read by everyone.
#[derive(Debug)]
pub(crate) struct Live {
    registry: Registry,
    outcomes: Family<OutcomeLabels, Counter>,
    /// By [`Class::index`].
    latency: [Histogram; Class::ALL.len()],
    events: watch::Sender<u64>,
}

impl Default for Live {
    fn default() -> Self {
        let outcomes = Family::default();
        let make: fn() -> Histogram = || Histogram::new(LATENCY_BOUNDS);
        let by_class: Family<ClassLabel, Histogram, _> = Family::new_with_constructor(make);
        let latency =
            Class::ALL.map(|class| by_class.get_or_create_owned(&ClassLabel { class: class.name() }));
        let mut registry = Registry::with_prefix("staffetta");
        registry.register(
            "outcomes",
            "Attempts by outcome, class and provider since the start",
            outcomes.clone(),
        );
        registry.register(
            "delivery_latency_seconds",
            "Time from acceptance (or not-before, or the start of the campaign) to delivery",
            by_class,
        );
        Self { registry, outcomes, latency, events: watch::Sender::new(0) }
    }
}

impl Live {
    /// Counts the events of `batch` and wakes those who wait for some.
    pub(crate) fn told(&self, batch: &Batch) {
        for block in &batch.blocks {
            for (key, count) in &block.counts {
                let labels = OutcomeLabels {
                    outcome: key.disposition.name(),
                    class: block.origins.values()[key.origin].class.name(),
                    provider: block.routes.values()[key.route].provider.clone(),
                };
                self.outcomes.get_or_create(&labels).inc_by(*count);
            }
            for (class, latency_ms) in &block.waits {
                // Exact up to 285,000 years.
                #[expect(clippy::cast_precision_loss, reason = "a latency has far fewer than 52 bits")]
                self.latency[class.index()].observe(*latency_ms as f64 / 1000.0);
            }
        }
        if batch.events() > 0 {
            self.events.send_modify(|count| *count += batch.events() as u64);
        }
    }

    /// Wakes its receivers when there are new events.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// The metrics that the events feed.
    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }
}
