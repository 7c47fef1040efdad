//! The span of an attempt that ran in a worker elsewhere. hookbox learns of it only at its end, so the span is made then,
//! with the times at which the attempt started and ended. It has the name and attributes of the spans of attempts that
//! run in hookbox (`worker/run.rs`), and `hookbox.worker`.

use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status as SpanStatus, Tracer as _};
use opentelemetry::{KeyValue, global};

use super::trace;
use crate::domain::attempt::Outcome;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::trace::Traceparent;

/// An attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub struct PulledAttempt<'a> {
    /// The span that accepted the webhook.
    pub traceparent: &'a Traceparent,
    /// The webhook.
    pub webhook: WebhookId,
    /// The route of the job.
    pub route: &'a str,
    /// The source of the webhook.
    pub source: &'a str,
    /// The event type of the webhook.
    pub event_type: &'a str,
    /// The number of the attempt, over all runs.
    pub number: u32,
    /// The worker that ran the attempt.
    pub worker: &'a str,
    /// When the job was due.
    pub available_at: Timestamp,
    /// When the job was leased.
    pub started_at: Timestamp,
    /// When the outcome was reported.
    pub finished_at: Timestamp,
    /// The status of the job after the attempt.
    pub status: Status,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Why the attempt failed; none if it completed.
    pub error: Option<&'a str>,
}

impl PulledAttempt<'_> {
    /// Records the span as a child of the span that accepted the webhook. Does nothing if traces are not exported.
    pub fn record(&self) {
        let (Ok(started_at), Ok(finished_at)) =
            (SystemTime::try_from(self.started_at), SystemTime::try_from(self.finished_at))
        else {
            return;
        };
        let builder = SpanBuilder::from_name(format!("process {}", self.source))
            .with_kind(SpanKind::Consumer)
            .with_start_time(started_at);
        let parent = trace::remote(self.traceparent).unwrap_or_default();
        let mut span = global::tracer("hookbox").build_with_context(builder, &parent);
        if !span.is_recording() {
            return;
        }
        let waited = self.started_at.duration_since(self.available_at);
        span.set_attributes([
            KeyValue::new("messaging.system", "hookbox"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", self.source.to_owned()),
            KeyValue::new("messaging.message.id", self.webhook.to_string()),
            KeyValue::new("hookbox.webhook.id", self.webhook.to_string()),
            KeyValue::new("hookbox.event_type", self.event_type.to_owned()),
            KeyValue::new("hookbox.route", self.route.to_owned()),
            KeyValue::new("hookbox.attempt.number", i64::from(self.number)),
            KeyValue::new("hookbox.queue_wait_seconds", waited.as_secs_f64()),
            KeyValue::new("hookbox.handler", "pull"),
            KeyValue::new("hookbox.worker", self.worker.to_owned()),
            KeyValue::new("hookbox.status", self.status.as_str()),
        ]);
        if let Some(error) = self.error {
            span.set_attribute(KeyValue::new("error.type", self.outcome.as_str()));
            span.set_attribute(KeyValue::new("error.message", error.to_owned()));
            span.set_status(SpanStatus::error(""));
        }
        span.end_with_timestamp(finished_at);
    }
}
