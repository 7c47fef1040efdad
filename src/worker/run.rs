//! A thread of the pool: runs handlers, one after the other, and has recorded what came of each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use tracing::field::Empty;

use super::Shared;
use super::handler::{Attempt, Failure, Handler};
use super::record::Outcome;
use crate::domain::attempt;
use crate::domain::clock::Signal;
use crate::domain::job::{Event, Status, next_status};
use crate::store::{ClaimedJob, Finish};
use crate::telemetry::metrics::Stopwatch;
use crate::telemetry::trace;

/// The longest error text that is kept, in characters.
const MAX_ERROR_CHARS: usize = 2_000;

/// The largest result that is kept, in bytes of JSON.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// One thread.
pub(super) struct Runner {
    shared: Arc<Shared>,
    outcomes: UnboundedSender<Outcome>,
    random: SmallRng,
}

/// What came of an attempt, before it is recorded.
struct Ended {
    event: Event,
    outcome: attempt::Outcome,
    error: Option<String>,
    result: Option<String>,
    retry_after: Option<Duration>,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, outcomes: UnboundedSender<Outcome>, seed: u64) -> Self {
        Self { shared, outcomes, random: SmallRng::seed_from_u64(seed) }
    }

    /// Runs until the pool ends.
    pub(super) fn work(mut self) {
        while let Some((job, stop)) = self.shared.queue.take() {
            // Handlers are caught on their own; this is for what nobody thought of.
            let ran = catch_unwind(AssertUnwindSafe(|| self.run(&job, &stop)));
            let sent = ran.map(|finish| {
                let outcome = Outcome { finish, traceparent: job.traceparent.clone() };
                self.outcomes.unbounded_send(outcome).is_ok()
            });
            if !matches!(sent, Ok(true)) {
                tracing::error!(webhook_id = %job.lease.webhook, "a worker failed; the job runs again when its lease expires");
                self.shared.released(&[job.lease]);
            }
        }
    }

    fn run(&mut self, job: &ClaimedJob, stop: &Arc<Signal>) -> Finish {
        let handler = Arc::clone(self.shared.registry.for_job(job));
        let span = attempt_span(job, handler.name());
        trace::continue_from(&span, &job.traceparent);
        let _entered = span.enter();
        let started_at = self.shared.clock.now();
        let took = Stopwatch::start();
        let ended = self.handle(handler.as_ref(), job, stop);
        self.shared.metrics.attempted(handler.name(), ended.outcome.as_str(), took.elapsed());
        if let Some(error) = &ended.error {
            span.record("otel.status_code", "ERROR");
            span.record("error.message", error.as_str());
            tracing::info!(
                trace_id = job.traceparent.trace_id(),
                webhook_id = %job.lease.webhook,
                attempt = job.attempt,
                outcome = ended.outcome.as_str(),
                error = error.as_str(),
                "an attempt did not complete"
            );
        }
        let finish = self.decide(job, ended, started_at);
        span.record("hookbox.status", finish.next.as_str());
        if finish.next == Status::DeadLettered {
            tracing::warn!(
                trace_id = job.traceparent.trace_id(),
                webhook_id = %job.lease.webhook,
                source = job.source.as_str(),
                event_type = job.event_type.as_str(),
                attempts = job.attempt,
                error = finish.error.as_deref(),
                "a webhook is dead-lettered; retry it by hand once the cause is gone"
            );
        }
        finish
    }

    fn handle(&self, handler: &dyn Handler, job: &ClaimedJob, stop: &Arc<Signal>) -> Ended {
        let Some(payload) = &job.payload else {
            return Ended::failed(Event::FailForGood, "the payload is no longer kept".into(), None);
        };
        let attempt = Attempt { job, payload, stop, clock: self.shared.clock.as_ref() };
        // A handler's state after a panic is the handler's affair; ours is not touched by it.
        match catch_unwind(AssertUnwindSafe(|| handler.handle(&attempt))) {
            Ok(Ok(result)) => Ended::completed(&result),
            Ok(Err(Failure::Retry { error, after })) => Ended::failed(Event::Fail, error, after),
            Ok(Err(Failure::Permanent { error })) => Ended::failed(Event::FailForGood, error, None),
            Ok(Err(Failure::Stopped)) if !stop.is_raised() => Ended::failed(
                Event::Fail,
                "the handler said it was stopped, but nothing stopped it".into(),
                None,
            ),
            Ok(Err(Failure::Stopped)) => Ended {
                event: Event::GiveBack,
                outcome: attempt::Outcome::Interrupted,
                error: Some("it was stopped before it was done".into()),
                result: None,
                retry_after: None,
            },
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "without a message".into());
                Ended::failed(Event::Fail, format!("the handler panicked: {text}"), None)
            }
        }
    }

    /// The job's next status and when it is due.
    fn decide(&mut self, job: &ClaimedJob, ended: Ended, started_at: Timestamp) -> Finish {
        let attempts_left = job.attempt < job.max_attempts;
        // A running job allows every event that ends an attempt.
        let next =
            next_status(Status::Processing, ended.event, attempts_left).unwrap_or(Status::DeadLettered);
        let now = self.shared.clock.now();
        let delay = match next {
            Status::Retrying => ended
                .retry_after
                .unwrap_or_else(|| self.shared.options.retry.delay(job.attempt_of_run, &mut self.random)),
            _ => Duration::ZERO,
        };
        Finish {
            lease: job.lease,
            attempt: job.attempt,
            outcome: ended.outcome,
            started_at,
            finished_at: now,
            error: ended.error,
            result: ended.result,
            next,
            available_at: match next {
                Status::Retrying | Status::Pending => now.saturating_add(delay).unwrap_or(now),
                _ => job.available_at,
            },
        }
    }
}

impl Ended {
    fn completed(result: &Value) -> Self {
        let result = result.to_string();
        if result.len() > MAX_RESULT_BYTES {
            let error = format!(
                "the handler's result has {} bytes; at most {MAX_RESULT_BYTES} are kept",
                result.len()
            );
            return Self::failed(Event::FailForGood, error, None);
        }
        Self {
            event: Event::Complete,
            outcome: attempt::Outcome::Completed,
            error: None,
            result: Some(result),
            retry_after: None,
        }
    }

    fn failed(event: Event, error: String, retry_after: Option<Duration>) -> Self {
        let error = match error.char_indices().nth(MAX_ERROR_CHARS) {
            Some((end, _)) => format!("{}…", &error[..end]),
            None => error,
        };
        Self { event, outcome: attempt::Outcome::Failed, error: Some(error), result: None, retry_after }
    }
}

/// The span of an attempt, named and described by the OpenTelemetry conventions for messaging
/// (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>).
fn attempt_span(job: &ClaimedJob, handler: &'static str) -> tracing::Span {
    let waited = job.claimed_at.duration_since(job.available_at);
    tracing::info_span!(
        "process",
        otel.name = format!("process {}", job.source),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.message = Empty,
        messaging.system = "hookbox",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = job.source.as_str(),
        messaging.message.id = %job.lease.webhook,
        hookbox.webhook.id = %job.lease.webhook,
        hookbox.event_type = job.event_type.as_str(),
        hookbox.attempt.number = i64::from(job.attempt),
        hookbox.queue_wait_seconds = waited.as_secs_f64(),
        hookbox.handler = handler,
        hookbox.status = Empty,
    )
}
