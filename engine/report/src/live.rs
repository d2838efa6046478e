//! What is known while the engine runs and is never stored: that there are new events, and counts for Prometheus.

use mail::Class;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::Event;

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
    latency: Family<ClassLabel, Histogram, fn() -> Histogram>,
    events: watch::Sender<u64>,
}

impl Default for Live {
    fn default() -> Self {
        let outcomes = Family::default();
        let make: fn() -> Histogram = || Histogram::new(LATENCY_BOUNDS);
        let latency = Family::new_with_constructor(make);
        for class in Class::ALL {
            drop(latency.get_or_create(&ClassLabel { class: class.name() }));
        }
        let mut registry = Registry::with_prefix("staffetta");
        registry.register(
            "outcomes",
            "Attempts by outcome, class and provider since the start",
            outcomes.clone(),
        );
        registry.register(
            "delivery_latency_seconds",
            "Time from acceptance (or not-before, or the start of the campaign) to delivery",
            latency.clone(),
        );
        Self { registry, outcomes, latency, events: watch::Sender::new(0) }
    }
}

impl Live {
    /// Counts `events` and wakes those who wait for some.
    pub(crate) fn told(&self, events: &[Event]) {
        for event in events {
            let class = event.subject.origin.class.name();
            let labels = OutcomeLabels {
                outcome: event.result.disposition.name(),
                class,
                provider: event.way.route.provider.clone(),
            };
            self.outcomes.get_or_create(&labels).inc();
            if let Some(latency_ms) = event.result.latency_ms {
                // Exact up to 285,000 years.
                #[expect(clippy::cast_precision_loss, reason = "a latency has far fewer than 52 bits")]
                self.latency.get_or_create(&ClassLabel { class }).observe(latency_ms as f64 / 1000.0);
            }
        }
        if !events.is_empty() {
            self.events.send_modify(|count| *count += events.len() as u64);
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
