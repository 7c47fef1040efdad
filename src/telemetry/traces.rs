//! Exports traces over OTLP, by gRPC or HTTP, and logs when spans are lost.

mod http_client;
mod refused;
mod span_queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter as Exporter,
};

use self::http_client::{Cause, HttpClient};
use self::refused::Refused;
pub(super) use self::refused::{Refusals, is_about_refused};
use self::span_queue::{Queued, SpanQueue};
use super::TelemetryError;
use super::repeated::Repeated;

/// Where traces are exported to, and how. The OpenTelemetry SDK reads all else from the `OTEL_*` variables.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The URL of the collector, for the log.
    pub endpoint: String,
    /// The protocol.
    pub protocol: Protocol,
    /// How long the export of a batch may take.
    pub timeout: Duration,
    /// How many spans may wait for their export.
    pub queue_size: usize,
}

/// The protocols of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    Http,
}

impl Protocol {
    /// The protocol of this name, if it is supported.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "grpc" => Some(Self::Grpc),
            "http/protobuf" => Some(Self::Http),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }
}

/// Starts to export spans in the background.
pub(super) fn provider(traces: &Traces) -> Result<SdkTracerProvider, TelemetryError> {
    let cause = Cause::default();
    let exporter = match traces.protocol {
        Protocol::Grpc => SpanExporter::builder().with_tonic().build()?,
        Protocol::Http => {
            let client = HttpClient::new(traces.timeout, cause.clone())?;
            SpanExporter::builder().with_http().with_http_client(client).build()?
        }
    };
    // The builder reads `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`. If neither names the service, its
    // name begins with `unknown_service`.
    let resource = Resource::builder().build();
    let named = resource
        .get(&opentelemetry::Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = if named { resource } else { Resource::builder().with_service_name("hookbox").build() };
    let queue = Arc::new(SpanQueue::new(traces.queue_size));
    let (unlogged, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let exporter = Logged { exporter, cause, queue: Arc::clone(&queue), unlogged, refused };
    // It reads the other variables for batches.
    let batches = BatchConfigBuilder::default().with_max_queue_size(traces.queue_size).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(Queued::new(processor, queue))
        .with_resource(resource)
        .build())
}

static EXPORTS: Repeated = Repeated::new("traces are exported again");

static REFUSED: Repeated = Repeated::new("the collector takes all spans again");

static QUEUE: Repeated = Repeated::new("the queue of spans has room again");

/// Logs when spans are lost, and when exports work again.
#[derive(Debug)]
struct Logged {
    exporter: SpanExporter,
    /// Why the last request over HTTP failed.
    cause: Cause,
    queue: Arc<SpanQueue>,
    /// How many spans were lost by failed exports since the last line about them.
    unlogged: AtomicU64,
    /// How many spans the collector refused since the last line about them.
    refused: AtomicU64,
}

impl Logged {
    /// Logs what the collector said about a batch that it took.
    fn log_refused(&self) {
        let Some(Refused { spans, error }) = refused::take() else {
            REFUSED.works();
            return;
        };
        self.refused.fetch_add(spans, Ordering::Relaxed);
        REFUSED.failed(|times| {
            let spans = self.refused.swap(0, Ordering::Relaxed);
            tracing::warn!(times, spans, error, "the collector refused spans, which are lost, or warns about them; see error, and the log of the collector");
        });
    }

    /// Logs the spans that found no room in the queue.
    fn log_lost_in_queue(&self) {
        if self.queue.lost() == 0 {
            QUEUE.works();
            return;
        }
        QUEUE.failed(|_| {
            let spans = self.queue.take_lost();
            tracing::warn!(spans, "spans are lost, because the queue was full: the collector is slower than spans are made; make it faster, raise OTEL_BSP_MAX_QUEUE_SIZE, or record fewer traces by OTEL_TRACES_SAMPLER");
        });
    }
}

impl Exporter for Logged {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.leave(spans);
        let exported = self.exporter.export(batch).await;
        match &exported {
            Ok(()) => {
                EXPORTS.works();
                self.log_refused();
            }
            Err(error) => {
                self.unlogged.fetch_add(spans as u64, Ordering::Relaxed);
                let cause = self.cause.take();
                EXPORTS.failed(|times| {
                    let spans = self.unlogged.swap(0, Ordering::Relaxed);
                    let error = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
                    tracing::warn!(times, spans, error = %error, "traces could not be exported, and are lost; check the collector and OTEL_EXPORTER_OTLP_ENDPOINT");
                });
            }
        }
        self.log_lost_in_queue();
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let of_exports = self.unlogged.swap(0, Ordering::Relaxed) + self.refused.swap(0, Ordering::Relaxed);
        let spans = of_exports + self.queue.take_lost();
        if spans > 0 {
            tracing::warn!(spans, "more spans were lost before the stop");
        }
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
