//! Counters in Prometheus' text form.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use supervisor::Handle;
use worker_protocol::Usage;

/// Upper ends of the buckets of request times, in seconds: from a cached answer to a long text.
const REQUEST_SECONDS: [f64; 12] =
    [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];
/// Upper ends of the buckets of times to the first token, in seconds.
const FIRST_TOKEN_SECONDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTier {
    model: String,
    tier: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Because {
    reason: &'static str,
}

/// What the gateway counts itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Asked, Counter>,
    request_seconds: Histogram,
    first_token_seconds: Histogram,
    prompt_tokens: Counter,
    completion_tokens: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Histogram::new(REQUEST_SECONDS),
            first_token_seconds: Histogram::new(FIRST_TOKEN_SECONDS),
            prompt_tokens: Counter::default(),
            completion_tokens: Counter::default(),
        }
    }

    /// A request got its status. A stream's time is that to its first byte.
    pub(crate) fn request(&self, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Asked { route, status }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// An answer ended.
    pub(crate) fn usage(&self, usage: &Usage) {
        self.prompt_tokens.inc_by(u64::from(usage.prompt_tokens));
        self.completion_tokens.inc_by(u64::from(usage.completion_tokens));
        if usage.completion_tokens > 0 {
            let first = Duration::from_micros(usage.queue_us + usage.prefill_us);
            self.first_token_seconds.observe(first.as_secs_f64());
        }
    }

    /// Everything as text: what was counted here, and what the supervisor says right now.
    pub(crate) async fn render(&self, hub: &Handle) -> String {
        let mut registry = Registry::with_prefix("resident");
        self.register(&mut registry);
        register_supervisor(&mut registry, &hub.metrics().await);
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests by route and status", self.requests.clone());
        registry.register_with_unit(
            "request",
            "Time from a request to its answer, or to the first byte of a stream",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register_with_unit(
            "first_token",
            "Time from a request's arrival at the worker to its first token",
            Unit::Seconds,
            self.first_token_seconds.clone(),
        );
        for (name, help, counter) in [
            ("prompt_tokens", "Prompt tokens of answered requests", &self.prompt_tokens),
            ("completion_tokens", "Tokens generated", &self.completion_tokens),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}

fn register_supervisor(registry: &mut Registry, seen: &supervisor::Metrics) {
    for (name, help, value) in [
        ("workers_started", "Workers that were started", seen.workers_started),
        ("workers_crashed", "Workers that ended unasked", seen.workers_crashed),
        ("loads_failed", "Loads that failed", seen.loads_failed),
        ("requests_granted", "Requests that got a model", seen.requests_granted),
        (
            "requests_abandoned",
            "Requests whose client left while it waited",
            seen.requests_abandoned,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let refused: Family<Because, Counter> = Family::default();
    for (reason, count) in &seen.requests_refused {
        refused.get_or_create(&Because { reason }).inc_by(*count);
    }
    registry.register("requests_refused", "Requests that got no model, by reason", refused);
    for (name, help, value) in [
        ("requests_waiting", "Requests that wait for a model", u64::from(seen.waiting)),
        ("memory_booked_bytes", "Bytes that workers hold by the ledger", seen.booked_bytes),
        ("memory_budget_bytes", "Bytes that workers may hold", seen.budget_bytes),
    ] {
        let gauge: Gauge<u64, AtomicU64> = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    register_models(registry, &seen.models);
}

fn register_models(registry: &mut Registry, models: &[supervisor::ModelMetrics]) {
    type Read = fn(&supervisor::ModelMetrics) -> u64;
    let counters: [(&str, &str, Read); 5] = [
        ("model_prefill_tokens", "Prompt tokens a model processed", |m| m.prefill_tokens),
        ("kv_written_bytes", "Bytes of kept prefixes written to files", |m| m.kept_written_bytes),
        ("model_decode_tokens", "Tokens a model generated", |m| m.decode_tokens),
        ("model_drafted_tokens", "Tokens guessed ahead and checked", |m| m.drafted_tokens),
        ("model_accepted_tokens", "Guessed tokens that came true", |m| m.accepted_tokens),
    ];
    for (name, help, read) in counters {
        let family: Family<OfModel, Counter> = Family::default();
        for model in models {
            family.get_or_create(&OfModel { model: model.name.clone() }).inc_by(read(model));
        }
        registry.register(name, help, family);
    }
    let gauges: [(&str, &str, Read); 4] = [
        ("model_booked_bytes", "Bytes a model holds by the ledger", |m| m.booked_bytes),
        ("model_running", "Requests a model works on", |m| u64::from(m.running)),
        ("model_waiting", "Requests that wait inside a model", |m| u64::from(m.waiting)),
        ("model_cells_used", "Context cells in use", |m| u64::from(m.cells_used)),
    ];
    for (name, help, read) in gauges {
        let family: Family<OfModel, Gauge<u64, AtomicU64>> = Family::default();
        for model in models {
            family.get_or_create(&OfModel { model: model.name.clone() }).set(read(model));
        }
        registry.register(name, help, family);
    }
    register_tiers(registry, models);
}

/// What each tier of the KV cache found and holds.
fn register_tiers(registry: &mut Registry, models: &[supervisor::ModelMetrics]) {
    let cached: Family<OfTier, Counter> = Family::default();
    let bytes: Family<OfTier, Gauge<u64, AtomicU64>> = Family::default();
    for model in models {
        let of = |tier| OfTier { model: model.name.clone(), tier };
        let elsewhere = model.cached_ram_tokens + model.cached_ssd_tokens;
        let live = model.cached_tokens.saturating_sub(elsewhere);
        cached.get_or_create(&of("live")).inc_by(live);
        cached.get_or_create(&of("ram")).inc_by(model.cached_ram_tokens);
        cached.get_or_create(&of("ssd")).inc_by(model.cached_ssd_tokens);
        bytes.get_or_create(&of("ram")).set(model.kept_ram_bytes);
        bytes.get_or_create(&of("ssd")).set(model.kept_ssd_bytes);
    }
    let help = "Prompt tokens a model found in its cache, by tier";
    registry.register("cached_tokens", help, cached);
    let help = "Bytes of kept prefixes of the models in memory, by tier";
    registry.register("kv_bytes", help, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_told_apart() {
        let model = supervisor::ModelMetrics {
            name: "m".to_owned(),
            cached_tokens: 10,
            cached_ram_tokens: 3,
            cached_ssd_tokens: 2,
            kept_ram_bytes: 7,
            kept_ssd_bytes: 8,
            kept_written_bytes: 9,
            drafted_tokens: 6,
            accepted_tokens: 4,
            ..Default::default()
        };
        let mut registry = Registry::with_prefix("resident");
        register_models(&mut registry, &[model]);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "resident_cached_tokens_total{model=\"m\",tier=\"live\"} 5",
            "resident_cached_tokens_total{model=\"m\",tier=\"ram\"} 3",
            "resident_cached_tokens_total{model=\"m\",tier=\"ssd\"} 2",
            "resident_kv_bytes{model=\"m\",tier=\"ram\"} 7",
            "resident_kv_bytes{model=\"m\",tier=\"ssd\"} 8",
            "resident_kv_written_bytes_total{model=\"m\"} 9",
            "resident_model_drafted_tokens_total{model=\"m\"} 6",
            "resident_model_accepted_tokens_total{model=\"m\"} 4",
        ] {
            assert!(text.lines().any(|seen| seen == line), "no {line} in:\n{text}");
        }
    }
}
