//! Traces and figures for a collector that speaks OTLP.
//!
//! Spans are those of the log: a run, the reading of a split, an attempt at a delivery. Figures are those of `/metrics`.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::{Error, Result};
use engine_server::{FAMILIES, Family, Kind, Service};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// How long a collector is waited for, at the end too.
const PATIENCE: Duration = Duration::from_secs(5);
/// Figures of one look serve all families.
const FRESH: Duration = Duration::from_millis(500);

static TRACES: OnceLock<SdkTracerProvider> = OnceLock::new();
static METRICS: OnceLock<SdkMeterProvider> = OnceLock::new();

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder_empty().with_attributes([KeyValue::new("service.name", "engine"), version]).build()
}

fn wrong(url: &str, error: impl std::fmt::Display) -> Error {
    Error::config(format!("nothing can be sent to the collector at {url}: {error}"))
        .hint("give its address for OTLP by HTTP, such as --otlp http://127.0.0.1:4318")
}

fn endpoint(url: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", url.trim_end_matches('/'))
}

/// What sends the spans of the log.
///
/// # Errors
/// `Config` when the address is none.
pub fn layer<S>(url: &str) -> Result<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // The client takes the provider of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint(url, "traces")).with_timeout(PATIENCE);
    let exporter = exporter.build().map_err(|error| wrong(url, error))?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("engine"));
    let _ = TRACES.set(provider);
    Ok(layer)
}

/// Sends the figures of a service once a minute, or as often as `OTEL_METRIC_EXPORT_INTERVAL` says.
///
/// # Errors
/// `Config` when the address is none.
pub fn send_figures(url: &str, service: &Arc<Service>) -> Result<()> {
    let exporter = MetricExporter::builder().with_http().with_endpoint(endpoint(url, "metrics")).with_timeout(PATIENCE);
    let exporter = exporter.build().map_err(|error| wrong(url, error))?;
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).with_resource(resource()).build();
    let meter = provider.meter("engine");
    let figures = Arc::new(Figures { service: Arc::clone(service), last: Mutex::new((Instant::now(), Vec::new())) });
    for (name, kind, help) in FAMILIES {
        let observed = |name: &'static str, suffix: &'static str| {
            let figures = Arc::clone(&figures);
            move |observer: &dyn AsyncInstrument<f64>| figures.observe(name, suffix, observer)
        };
        match kind {
            Kind::Gauge => {
                meter.f64_observable_gauge(name).with_description(help).with_callback(observed(name, "")).build();
            }
            Kind::Counter => {
                meter.f64_observable_counter(name).with_description(help).with_callback(observed(name, "")).build();
            }
            // What is counted elsewhere can be handed on as its sum and its count.
            Kind::Histogram => {
                for suffix in ["_sum", "_count"] {
                    let counter = meter.f64_observable_counter(format!("{name}{suffix}")).with_description(help);
                    counter.with_callback(observed(name, suffix)).build();
                }
            }
        }
    }
    let _ = METRICS.set(provider);
    Ok(())
}

/// The figures of a service, looked up once for all families.
struct Figures {
    service: Arc<Service>,
    last: Mutex<(Instant, Vec<Family>)>,
}

impl Figures {
    fn observe(&self, name: &str, suffix: &str, observer: &dyn AsyncInstrument<f64>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.1.is_empty() || last.0.elapsed() > FRESH {
            // Without the state there are none.
            *last = (Instant::now(), self.service.figures().unwrap_or_default());
        }
        let samples = last.1.iter().filter(|family| family.name == name).flat_map(|family| &family.samples);
        for sample in samples.filter(|sample| sample.suffix == suffix) {
            let labels: Vec<_> =
                sample.labels.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect();
            observer.observe(sample.value, &labels);
        }
    }
}

/// Sends what is left. At the end of the process.
pub fn finish() {
    if let Some(metrics) = METRICS.get() {
        let _ = metrics.shutdown_with_timeout(PATIENCE);
    }
    if let Some(traces) = TRACES.get() {
        let _ = traces.shutdown_with_timeout(PATIENCE);
    }
}
