//! What hookbox tells about itself: logs, traces, metrics. Every layer may know this one.

pub mod metrics;
pub mod rates;
pub mod trace;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What is logged, and whether traces are exported.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// How it is written; none: by whether it goes to a terminal.
    pub log_format: Option<LogFormat>,
    /// Whether traces are exported; the OpenTelemetry SDK reads the other `OTEL_*` itself.
    pub export_traces: bool,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter of traces could not be built.
    #[error("cannot export traces; check the OTEL_EXPORTER_OTLP_* variables")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Another subscriber is in place.
    #[error("cannot write logs")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// Logs and traces, until [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends logs to standard error, and traces to a collector if the environment names one.
    /// Runs inside of a tokio runtime, which the exporter uses.
    pub fn start(options: &Options) -> Result<Self, TelemetryError> {
        let traces = options.export_traces.then(tracer_provider).transpose()?;
        let spans = traces
            .as_ref()
            .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("hookbox")))
            // The exporter's own calls make no spans to be exported.
            .map(|layer| layer.with_filter(EnvFilter::new("off,hookbox=info")));
        let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let format = options.log_format.unwrap_or(if std::io::stderr().is_terminal() {
            LogFormat::Pretty
        } else {
            LogFormat::Json
        });
        let logs = match format {
            LogFormat::Pretty => logs.boxed(),
            LogFormat::Json => {
                logs.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
            }
        };
        tracing_subscriber::registry()
            .with(spans)
            // Log lines name trace and webhook themselves. Without an exporter nobody wants spans,
            // and then they cost nothing.
            .with(
                logs.with_filter(EnvFilter::new(&options.log).and(filter_fn(|metadata| metadata.is_event()))),
            )
            .try_init()?;
        Ok(Self { traces })
    }

    /// Exports the spans that are left.
    pub fn shutdown(self) {
        if let Some(Err(error)) = self.traces.map(|provider| provider.shutdown()) {
            tracing::warn!(error = %error, "the last traces could not be exported");
        }
    }
}

fn tracer_provider() -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build()?;
    // The builder reads `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`; nothing set there is
    // called `unknown_service`.
    let resource = Resource::builder().build();
    let named = resource
        .get(&opentelemetry::Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = if named { resource } else { Resource::builder().with_service_name("hookbox").build() };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
