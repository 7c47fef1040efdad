//! Common to every call: its span, the count of its answers, and the conversion of its error to a status.

use std::future::Future;

use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Request, Response, Status};
use tracing::Instrument;
use tracing::field::Empty;

use super::{Api, status};
use crate::domain::error::Result;
use crate::domain::trace::Traceparent;
use crate::telemetry::trace;

pub(super) type Answer<T> = std::result::Result<Response<T>, Status>;

/// Runs a call in a span of the caller's trace, counts its answer, and converts its error to a status.
pub(super) async fn answer<T, F>(
    api: &Api,
    service: &'static str,
    method: &'static str,
    incoming: Option<Traceparent>,
    call: impl FnOnce(Traceparent) -> F,
) -> Answer<T>
where
    F: Future<Output = Result<T>>,
{
    let span = tracing::info_span!(
        "call",
        otel.name = format!("{service}/{method}"),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        hookbox.webhook.id = Empty,
    );
    let traceparent = trace::join(&span, incoming.as_ref());
    let trace_id = traceparent.trace_id().to_owned();
    let answer =
        call(traceparent).instrument(span.clone()).await.map_err(|error| status::status(&error, &trace_id));
    let code = answer.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok);
    span.record("rpc.grpc.status_code", i64::from(code as i32));
    if matches!(code, tonic::Code::Internal | tonic::Code::Unavailable) {
        span.record("otel.status_code", "ERROR");
    }
    api.service.counters().answered("grpc", method, &format!("{code:?}"));
    answer.map(Response::new)
}

/// The caller's trace, from the metadata `traceparent`; none if it is absent or not valid.
pub(super) fn traceparent_of<T>(request: &Request<T>) -> Option<Traceparent> {
    Traceparent::parse(request.metadata().get("traceparent")?.to_str().ok()?)
}

/// The metadata of a request as headers: names (in lower case) and values. Leaves out binary values.
pub(super) fn headers_of(metadata: &MetadataMap) -> Vec<(String, String)> {
    metadata
        .iter()
        .filter_map(|entry| match entry {
            KeyAndValueRef::Ascii(name, value) => {
                Some((name.to_string(), String::from_utf8_lossy(value.as_encoded_bytes()).into_owned()))
            }
            KeyAndValueRef::Binary(..) => None,
        })
        .collect()
}
