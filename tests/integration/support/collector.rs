//! An OTLP collector inside of a test: keeps the spans that programs export.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// See the module. It ends with the runtime of the test.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Received,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("has an address");
        let received = Received::default();
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(received.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, received }
    }

    /// One that takes spans over HTTP.
    pub(crate) async fn start_http() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("has an address");
        let received = Received::default();
        let kept = received.clone();
        let take = move |body: axum::body::Bytes| async move {
            let request = ExportTraceServiceRequest::decode(body).expect("is protobuf");
            kept.keep(request).encode_to_vec()
        };
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, received }
    }

    /// Gives this answer to every batch from now on.
    pub(crate) fn set_answer(&self, answer: ExportTraceServiceResponse) {
        *self.received.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` has to name.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far, each with the name of the service that exported it.
    pub(crate) fn spans(&self) -> Vec<(String, Span)> {
        let received = self.received.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for of_service in received.iter().flat_map(|request| &request.resource_spans) {
            let resource = of_service.resource.as_ref().map(|resource| attributes_of(&resource.attributes));
            let service = resource.and_then(|mut resource| resource.remove("service.name"));
            let spans = of_service.scope_spans.iter().flat_map(|scope| &scope.spans);
            all.extend(spans.map(|span| (service.clone().unwrap_or_default(), span.clone())));
        }
        all
    }

    pub(crate) fn spans_of(&self, trace_id: &str) -> Vec<Span> {
        let spans = self.spans().into_iter().map(|(_, span)| span);
        spans.filter(|span| hex(&span.trace_id) == trace_id).collect()
    }

    pub(crate) fn service_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.spans().into_iter().map(|(service, _)| service).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Keeps what it receives.
#[derive(Clone, Default)]
struct Received {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    answer: Arc<Mutex<ExportTraceServiceResponse>>,
}

impl Received {
    fn keep(&self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(self.keep(request.into_inner())))
    }
}

/// Attributes by name, their values as text.
pub(crate) fn attributes_of(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &AnyValue| match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .iter()
        .filter_map(|attribute| Some((attribute.key.clone(), text(attribute.value.as_ref()?))))
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
