//! Common to every call: its span, the count of its answer, and the conversion of its error to a status.

use std::future::Future;

use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Code, Request, Response, Status};
use tracing::Instrument;
use tracing::field::Empty;

use super::{Api, status};
use crate::domain::error::Result;
use crate::domain::headers::KeptHeaders;
use crate::domain::trace::Traceparent;
use crate::service::Service;
use crate::telemetry::trace;

pub(super) type Answer<T> = std::result::Result<Response<T>, Status>;

/// The code of an answer, among its extensions. Its call is counted once it is known whether there is memory for the
/// answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uncounted(pub(super) Code);

/// Counts a call with the code that the client gets.
pub(super) fn count(service: &Service, method: &'static str, code: Code) {
    service.metrics().answered("grpc", method, &format!("{code:?}"));
}

/// Runs a call as [`run`] does, and counts it: at once if it failed, else when the memory for its answer is reserved.
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
    match run(service, method, incoming, call).await {
        Ok(answer) => {
            let mut answer = Response::new(answer);
            answer.extensions_mut().insert(Uncounted(Code::Ok));
            Ok(answer)
        }
        Err(status) => {
            count(&api.service, method, status.code());
            Err(status)
        }
    }
}

/// Runs a call in a span of the caller's trace, and converts its error to a status.
pub(super) async fn run<T, F>(
    service: &'static str,
    method: &'static str,
    incoming: Option<Traceparent>,
    call: impl FnOnce(Traceparent) -> F,
) -> std::result::Result<T, Status>
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
    let code = answered_code(&answer);
    span.record("rpc.grpc.status_code", i64::from(code as i32));
    if matches!(code, Code::Internal | Code::Unavailable) {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

/// The code of the answer to a call.
pub(super) fn answered_code<T>(answer: &std::result::Result<T, Status>) -> Code {
    answer.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

/// The caller's trace, from the metadata `traceparent`; none if it is absent or not valid.
pub(super) fn traceparent_of<T>(request: &Request<T>) -> Option<Traceparent> {
    Traceparent::parse(request.metadata().get("traceparent")?.to_str().ok()?)
}

/// The metadata of a request as headers: names (in lower case) and values. Leaves out binary values.
pub(super) fn headers_of(metadata: &MetadataMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    ascii(metadata).map(|(name, value)| (name.to_owned(), text(value))).collect()
}

/// What is kept of the metadata of a request, as its headers. Leaves out binary values.
pub(super) fn kept_headers_of(metadata: &MetadataMap) -> KeptHeaders {
    KeptHeaders::keep(ascii(metadata), |_| false)
}

fn ascii(metadata: &MetadataMap) -> impl Iterator<Item = (&str, &[u8])> {
    metadata.iter().filter_map(|entry| match entry {
        KeyAndValueRef::Ascii(name, value) => Some((name.as_str(), value.as_encoded_bytes())),
        KeyAndValueRef::Binary(..) => None,
    })
}
