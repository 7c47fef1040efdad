//! Logs, traces and metrics. Every layer may use this module.

pub mod alerts;
mod commits;
pub mod history;
mod log_lines;
pub mod metrics;
mod pool_gauges;
#[cfg(target_os = "linux")]
mod process;
pub mod pulled;
mod quarantine;
pub mod rates;
pub mod repeated;
mod route_counters;
mod source_counters;
mod stopwatch;
pub mod store_gauges;
mod submissions;
pub mod tasks;
pub mod trace;
mod traces;

use std::io::IsTerminal;
use std::sync::Mutex;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::log_lines::LogLines;
pub use self::traces::{Protocol, Traces};
use self::traces::{Refusals, is_about_refused};
use crate::tls::system_roots;

/// The options of logs and traces.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// How log lines are written; none: `Pretty` if standard error is a terminal, else `Json`.
    pub log_format: Option<LogFormat>,
    /// Where traces are exported to, if they are.
    pub traces: Option<Traces>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The trace exporter could not be built.
    #[error("cannot export traces; check the OTEL_EXPORTER_OTLP_* variables")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The HTTP client for traces could not be built.
    #[error("cannot set up the HTTP client that exports traces")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The process has another `tracing` subscriber already.
    #[error("cannot write logs")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// The running telemetry. [`Telemetry::shutdown`] exports the last traces.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    logs_as_json: bool,
    logs_for_people: bool,
}

impl Telemetry {
    /// Starts to write logs to standard error, and to export traces if `options` says so. Must be called in a
    /// tokio runtime, which the exporter uses.
    pub fn start(options: &Options) -> Result<Self, TelemetryError> {
        let traces = options.traces.as_ref().map(traces::provider).transpose()?;
        if let Some(provider) = &traces {
            // For spans that are made when they are over, which `tracing` cannot make: `pulled`.
            opentelemetry::global::set_tracer_provider(provider.clone());
        }
        let spans = traces
            .as_ref()
            .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("hookbox")))
            // Places in the code of hookbox, its threads, and times of its tasks: of no use to operators.
            .map(|layer| layer.with_location(false).with_target(false).with_threads(false))
            .map(|layer| layer.with_tracked_inactivity(false))
            // Only spans of hookbox are exported, not those of the exporter's own calls.
            .map(|layer| layer.with_filter(EnvFilter::new("off,hookbox=info")));
        let refusals = options
            .traces
            .as_ref()
            .map(|_| Refusals.with_filter(filter_fn(is_about_refused).with_max_level_hint(Level::WARN)));
        let is_terminal = std::io::stderr().is_terminal();
        let format =
            options.log_format.unwrap_or(if is_terminal { LogFormat::Pretty } else { LogFormat::Json });
        let lines = Mutex::new(LogLines::new(std::io::stderr(), format));
        let logs = tracing_subscriber::fmt::layer().with_writer(lines);
        let logs = match format {
            LogFormat::Pretty => logs.boxed(),
            LogFormat::Json => {
                logs.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
            }
        };
        tracing_subscriber::registry()
            .with(spans)
            .with(refusals)
            // Log lines have trace and webhook as fields and need no spans. If nothing uses spans, they cost
            // nothing.
            .with(logs.with_filter(EnvFilter::new(&options.log).and(filter_fn(is_logged))))
            .try_init()?;
        if let Some(Traces { endpoint, protocol, .. }) = &options.traces {
            tracing::info!(endpoint, protocol = protocol.as_str(), "traces are exported");
            if endpoint.starts_with("https:") {
                // Logs what cannot be read of them.
                system_roots().or_warn();
            }
        }
        let logs_as_json = format == LogFormat::Json && !options.log.trim().eq_ignore_ascii_case("off");
        Ok(Self { traces, logs_as_json, logs_for_people: is_terminal && format == LogFormat::Pretty })
    }

    /// Whether logs are written, and are JSON.
    pub fn logs_as_json(&self) -> bool {
        self.logs_as_json
    }

    /// Whether logs are text on a terminal.
    pub fn logs_for_people(&self) -> bool {
        self.logs_for_people
    }

    /// Exports the spans that are left. Blocks.
    pub fn shutdown(self) {
        if let Some(Err(error)) = self.traces.map(|provider| provider.shutdown()) {
            tracing::warn!(error = %error, "the last traces could not be exported");
        }
    }
}

/// Whether what is logged may contain this. `tokio_postgres` shows the parameters of statements at `debug`, and so
/// payloads.
fn is_logged(metadata: &Metadata<'_>) -> bool {
    let shows_payloads = metadata.target().starts_with("tokio_postgres") && *metadata.level() > Level::INFO;
    // What the exporter of traces says, `traces` logs at most once a second.
    let is_of_exporter = metadata.target().starts_with("opentelemetry");
    // Beside each message, they show where on the machine of the build the code of rustls was.
    let shows_paths = metadata.target().starts_with("rustls") && *metadata.level() > Level::INFO;
    let is_of_library = shows_payloads || shows_paths || is_of_exporter || is_warning_about_client(metadata);
    metadata.is_event() && !is_of_library
}

/// Whether it is a warning of h2 about a client. Clients decide how many there are, by breaking the protocol.
fn is_warning_about_client(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("h2::") && *metadata.level() == Level::WARN
}
