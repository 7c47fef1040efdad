//! Spans that a collector refuses from a batch that it takes (`partial_success` of OTLP). The exporter reports them only in
//! an event of its own log.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::domain::attempt::cut;

/// The collector's answer to the last batch; a static, because the subscriber is global.
static LAST: Mutex<Option<Refused>> = Mutex::new(None);

/// What a collector said about a batch that it took.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// How many spans it refused. None if it only warns.
    pub(super) spans: u64,
    /// The reason that it gave.
    pub(super) error: String,
}

/// What the collector said about the last batch; none if it took the batch without a word.
pub(super) fn take() -> Option<Refused> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Keeps what [`take`] returns. Its events are those of [`is_about_refused`].
pub(in crate::telemetry) struct Refusals;

impl<S: Subscriber> Layer<S> for Refusals {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut refused = Refused::default();
        event.record(&mut refused);
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
    }
}

/// Whether an event of the exporter is about spans that a collector refused.
pub(in crate::telemetry) fn is_about_refused(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "opentelemetry-otlp" && metadata.name().ends_with(".PartialSuccess")
}

impl Visit for Refused {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "rejected_spans" {
            self.spans = u64::try_from(value).unwrap_or_default();
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error_message" {
            self.error = cut(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
