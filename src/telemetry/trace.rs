//! Makes spans part of the trace of a webhook, which leads from the sender's `traceparent` to the attempts.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::domain::trace::Traceparent;

/// Makes `span` a child of the span that `incoming` names, and returns the context of `span`, which is stored
/// with the webhook. Without an exporter, returns `incoming`, or a random context if there is none.
#[expect(
    clippy::disallowed_methods,
    reason = "trace ids are random by their standard, and nothing depends on them"
)]
pub fn join(span: &Span, incoming: Option<&Traceparent>) -> Traceparent {
    if let Some(incoming) = incoming {
        continue_from(span, incoming);
    }
    context_of(span)
        .or_else(|| incoming.cloned())
        .unwrap_or_else(|| Traceparent::new(rand::random(), rand::random(), true))
}

/// The context of `span`; none if it is not recorded, because there is no exporter.
pub fn context_of(span: &Span) -> Option<Traceparent> {
    let context = span.context();
    let own = context.span().span_context().clone();
    own.is_valid().then(|| {
        Traceparent::new(
            u128::from_be_bytes(own.trace_id().to_bytes()),
            u64::from_be_bytes(own.span_id().to_bytes()),
            own.is_sampled(),
        )
    })
}

/// Makes `span` a child of the span that `traceparent` names.
pub fn continue_from(span: &Span, traceparent: &Traceparent) {
    // An error means that there is no exporter, or that the span is not recorded.
    let _ = remote(traceparent).map(|parent| span.set_parent(parent));
}

/// The context of the span that `traceparent` names, in which its children begin.
pub(super) fn remote(traceparent: &Traceparent) -> Option<Context> {
    let text = traceparent.as_str();
    let trace_id = TraceId::from_hex(&text[3..35]).ok()?;
    let span_id = SpanId::from_hex(&text[36..52]).ok()?;
    let flags = u8::from_str_radix(&text[53..55], 16).unwrap_or_default();
    let remote = SpanContext::new(trace_id, span_id, TraceFlags::new(flags), true, TraceState::default());
    Some(Context::new().with_remote_span_context(remote))
}
