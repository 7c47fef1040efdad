//! Common to every call: its span, the count of its answer, and the conversion of its error to a status.

use std::future::Future;

use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span};

use super::span::{is_open, record_code, span_of_known};
use super::{Api, status};
use crate::access::{Operation, operation_of_call};
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

/// The method of a call, as it is counted; none if it is not. Clients must not choose the labels of metrics.
pub(super) fn counted_method(path: &str) -> Option<&'static str> {
    let unmatched = || (!is_open(path)).then_some("unmatched");
    operation_of_call(path).map(Operation::method).or_else(unmatched)
}

/// Counts a call with the code that the client gets.
pub(super) fn count(service: &Service, method: &'static str, code: Code) {
    service.metrics().answered("grpc", method, &format!("{code:?}"));
}

/// Runs a call in its span, converts its error to a status, and counts it: at once if it failed, else when the memory
/// for its answer is reserved.
pub(super) async fn answer<T, F>(
    api: &Api,
    method: &'static str,
    incoming: Option<Traceparent>,
    call: impl FnOnce(Traceparent) -> F,
) -> Answer<T>
where
    F: Future<Output = Result<T>>,
{
    let traceparent = trace::join(&Span::current(), incoming.as_ref());
    let trace_id = traceparent.trace_id().to_owned();
    match call(traceparent).await {
        Ok(answer) => {
            let mut answer = Response::new(answer);
            answer.extensions_mut().insert(Uncounted(Code::Ok));
            Ok(answer)
        }
        Err(error) => {
            let status = status::status(&error, &trace_id);
            count(&api.service, method, status.code());
            Err(status)
        }
    }
}

/// Runs a request of a pipeline in a span of its own, in the caller's trace, and converts its error to a status. `call`
/// is the method with its service.
pub(super) async fn run<T, F>(
    call: &'static str,
    incoming: Option<Traceparent>,
    request: impl FnOnce(Traceparent) -> F,
) -> std::result::Result<T, Status>
where
    F: Future<Output = Result<T>>,
{
    let span = span_of_known(call);
    let traceparent = trace::join(&span, incoming.as_ref());
    let trace_id = traceparent.trace_id().to_owned();
    let answer = request(traceparent)
        .instrument(span.clone())
        .await
        .map_err(|error| status::status(&error, &trace_id));
    record_code(&span, answered_code(&answer));
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
