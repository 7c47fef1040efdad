//! The spans of calls, with the names and attributes of the OpenTelemetry conventions for servers of gRPC
//! (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/#server>).

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tracing::Span;
use tracing::field::Empty;

use super::access::traceparent;
use super::status::MAX_TEXT_BYTES;
use crate::access::operation_of_call;
use crate::domain::error::cut;
use crate::telemetry::trace;

/// Whether a call is one of health or reflection. Monitors and tools make many of them: they have no span, and are not
/// counted.
pub(super) fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.")
}

/// The span of a call, in the caller's trace; disabled for calls of health and reflection.
pub(super) fn span_of(request: &Request<Body>) -> Span {
    let path = request.uri().path();
    let span = match operation_of_call(path) {
        Some(operation) => span_of_known(operation.call),
        None if is_open(path) => Span::none(),
        None => span_of_unknown(path),
    };
    if !span.is_disabled()
        && let Some(incoming) = traceparent(request)
    {
        trace::continue_from(&span, &incoming);
    }
    span
}

/// The span of a call of this method, which has the name of its service.
pub(super) fn span_of_known(call: &'static str) -> Span {
    span(call, call, None)
}

/// Records in the span of a call what its answer is, as far as its head says so. Leaves out an answer that is not of
/// gRPC.
pub(super) fn record_answer(span: &Span, answer: &Response<Body>) {
    if answer.status().is_success() {
        let status = Status::from_header_map(answer.headers());
        record_code(span, status.map_or(Code::Ok, |status| status.code()));
    }
}

/// Records in the span of a call the code of its answer.
pub(super) fn record_code(span: &Span, code: Code) {
    let name = name_of(code);
    span.record("rpc.response.status_code", name);
    let is_fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_fault {
        span.record("error.type", name);
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of a call of a method that does not exist. Clients must not choose the names of spans.
fn span_of_unknown(path: &str) -> Span {
    // It can be as long as a head.
    let original = cut(path.strip_prefix('/').unwrap_or(path), MAX_TEXT_BYTES);
    span("grpc", "_OTHER", Some(&original))
}

fn span(name: &'static str, method: &'static str, original: Option<&str>) -> Span {
    tracing::info_span!(
        "call",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.method_original = original,
        rpc.response.status_code = Empty,
        error.r#type = Empty,
        hookbox.webhook.id = Empty,
    )
}

/// The name of a code, as gRPC writes it.
const fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
