//! Exports traces over OTLP, by gRPC or HTTP, and logs when that fails.

use std::time::Duration;

use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter as Exporter};

use super::TelemetryError;
use super::repeated::Repeated;
use crate::tls::system_roots;

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
pub(super) fn provider(protocol: Protocol) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = match protocol {
        Protocol::Grpc => SpanExporter::builder().with_tonic().build()?,
        Protocol::Http => SpanExporter::builder().with_http().with_http_client(http_client()?).build()?,
    };
    // The builder reads `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`. If neither names the service, its
    // name begins with `unknown_service`.
    let resource = Resource::builder().build();
    let named = resource
        .get(&opentelemetry::Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = if named { resource } else { Resource::builder().with_service_name("hookbox").build() };
    Ok(SdkTracerProvider::builder().with_batch_exporter(Logged(exporter)).with_resource(resource).build())
}

/// A client that trusts the certificates of the system. It blocks, as the thread that exports expects. Built on a
/// thread of its own, because it starts a runtime.
fn http_client() -> Result<reqwest::blocking::Client, TelemetryError> {
    let build = || {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TelemetryError::Client(error.into()))?
            // What cannot be read of them is logged later: there is no log yet.
            .with_root_certificates(system_roots().roots())
            .with_no_client_auth();
        let client = reqwest::blocking::Client::builder().tls_backend_preconfigured(tls).build();
        client.map_err(|error| TelemetryError::Client(error.into()))
    };
    std::thread::scope(|scope| scope.spawn(build).join())
        .unwrap_or_else(|_| Err(TelemetryError::Client("building it panicked".into())))
}

static EXPORTS: Repeated = Repeated::new("traces are exported again");

/// Logs when exports fail, and when they work again.
#[derive(Debug)]
struct Logged(SpanExporter);

impl Exporter for Logged {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.0.export(batch).await;
        match &exported {
            Ok(()) => EXPORTS.works(),
            Err(error) => EXPORTS.failed(|times| {
                tracing::warn!(times, spans, error = %error, "traces could not be exported, and are lost; check the collector and OTEL_EXPORTER_OTLP_ENDPOINT");
            }),
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
