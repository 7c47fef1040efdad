//! A thread of the pool. Runs handlers one after the other, and sends the outcome of each attempt to the
//! recorder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tracing::field::Empty;

use super::Shared;
use super::handler::{Attempt, Failure, Handler};
use super::recorder::{Ended, JobNames};
use super::threads::Threads;
use crate::domain::attempt::{Conclusion, RunResult, conclude};
use crate::domain::clock::Signal;
use crate::domain::delivery::Delivery;
use crate::domain::error::message_of_panic;
use crate::domain::policy::Policy;
use crate::store::{ClaimedJob, Finish};
use crate::telemetry::metrics::Stopwatch;
use crate::telemetry::trace;

/// The longest error text that is stored, in characters. Longer texts are cut off.
const MAX_ERROR_CHARS: usize = 2_000;

/// The largest result that is stored, in bytes of JSON. A larger result fails the attempt for good.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// A debug event about an attempt of a claimed job, with the names of the job. Costs nothing if it is not logged.
macro_rules! debug {
    ($job:expr, $($rest:tt)+) => {
        tracing::debug!(
            trace_id = $job.traceparent.trace_id(),
            webhook_id = %$job.lease.job.webhook,
            route = $job.route.as_str(),
            source = $job.source.as_str(),
            idempotency_key = $job.idempotency_key.as_str(),
            attempt = $job.attempt,
            $($rest)+
        )
    };
}

/// Runs on one thread of the pool.
pub(super) struct Runner {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    outcomes: UnboundedSender<Ended>,
    random: SmallRng,
}

impl Runner {
    pub(super) fn new(
        shared: Arc<Shared>,
        threads: Arc<Threads>,
        outcomes: UnboundedSender<Ended>,
        seed: u64,
    ) -> Self {
        Self { shared, threads, outcomes, random: SmallRng::seed_from_u64(seed) }
    }

    /// Runs until the queue ends the thread.
    pub(super) fn work(mut self) {
        self.shared.queue.started();
        while let Some(((job, stop), start)) = self.shared.queue.take() {
            self.threads.start_if(start);
            let lease = job.lease;
            // `handle` catches panics of handlers; this catches panics of hookbox itself.
            let ran = catch_unwind(AssertUnwindSafe(|| self.run(job, &stop)));
            let sent = ran.map(|ended| self.outcomes.send(ended).is_ok());
            if !matches!(sent, Ok(true)) {
                tracing::error!(webhook_id = %lease.job.webhook, "a worker thread failed; its job is taken over when the lease expires");
                self.shared.free_threads([lease].into_iter());
                self.shared.forget([lease]);
            }
        }
    }

    /// Runs the handler, unless the pool stops, the lease may have expired while the job waited for its thread, or a
    /// reload has removed the route since the claim. Then the job is given back.
    fn run(&mut self, job: ClaimedJob, stop: &Arc<Signal>) -> Ended {
        let started_at = self.shared.clock.now();
        let policy = self.shared.policies.get().get(&job.route).cloned();
        let is_held = self.shared.slots.is_held(&job.lease, self.shared.clock.monotonic());
        let Some(policy) = policy.filter(|_| is_held && !stop.is_raised()) else {
            debug!(job, "an attempt is not started; its job is given back");
            return Ended::NotStarted(job.lease);
        };
        debug!(job, handler = policy.handler.name(), "an attempt starts");
        let span = attempt_span(&job, policy.handler.name());
        trace::continue_from(&span, &job.traceparent);
        let _entered = span.enter();
        let took = Stopwatch::start();
        let (ran, delivery) = match self.shared.registry.get(policy.handler.name()).cloned() {
            Some(handler) => self.handle(handler.as_ref(), &job, &policy, stop),
            None => {
                let error = format!("there is no handler `{}`; check the settings", policy.handler);
                (failed_for_good(error), None)
            }
        };
        // The policy in force when the attempt ends decides. If the route is gone by then, the policy from
        // the start of the attempt does.
        let policy = self.shared.policies.get().get(&job.route).cloned().unwrap_or(policy);
        let now = self.shared.clock.now();
        let concluded = conclude(ran, job.attempt_of_run, &policy, now, &mut self.random);
        self.shared.metrics.attempted(
            job.route.as_str(),
            policy.handler.name(),
            concluded.outcome.as_str(),
            took.elapsed(),
        );
        tell(&job, &span, &concluded);
        let finish = Finish { delivery: delivery.map(Arc::new), ..finish(&job, concluded, started_at, now) };
        let ClaimedJob { route, source, event_type, traceparent, .. } = job;
        Ended::Attempt { finish, names: JobNames { route, source, event_type, traceparent } }
    }

    /// Runs the handler. Returns the result, and what the handler sent and was answered.
    fn handle(
        &self,
        handler: &dyn Handler,
        job: &ClaimedJob,
        policy: &Policy,
        stop: &Arc<Signal>,
    ) -> (RunResult, Option<Delivery>) {
        let Some(payload) = &job.payload else {
            let error = "the payload is gone, because its retention is over".to_owned();
            return (failed_for_good(error), None);
        };
        let clock = self.shared.clock.as_ref();
        let deadline = policy.timeout.and_then(|timeout| clock.monotonic().checked_add(timeout));
        let kept = Mutex::default();
        let attempt = Attempt { job, payload, policy, stop, clock, deadline, kept };
        // Unwind safe: the handler cannot leave our state half changed, and is responsible for its own.
        let ran = match catch_unwind(AssertUnwindSafe(|| handler.handle(&attempt))) {
            Ok(Ok(result)) => completed(&result),
            Ok(Err(Failure::Retry { error, after })) => {
                RunResult::Failed { error: cut(error), retry_after: after }
            }
            Ok(Err(Failure::Permanent { error })) => failed_for_good(error),
            Ok(Err(Failure::Stopped)) if stop.is_raised() => RunResult::Stopped,
            Ok(Err(Failure::Stopped)) => {
                let timeout = policy.timeout.filter(|_| attempt.is_stopped());
                failed(timeout.map_or_else(
                    || "the handler returned `Stopped`, but the attempt was not told to stop".into(),
                    |timeout| format!("the attempt took longer than its timeout of {timeout:?}"),
                ))
            }
            Err(panic) => {
                let text = message_of_panic(panic.as_ref());
                failed(format!("the handler panicked: {text}"))
            }
        };
        (ran, attempt.kept.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

fn completed(result: &Value) -> RunResult {
    let result = result.to_string();
    if result.len() > MAX_RESULT_BYTES {
        let bytes = result.len();
        return failed_for_good(format!(
            "the handler's result has {bytes} bytes, but at most {MAX_RESULT_BYTES} are allowed; return a smaller one"
        ));
    }
    RunResult::Completed { result }
}

fn failed(error: String) -> RunResult {
    RunResult::Failed { error: cut(error), retry_after: None }
}

fn failed_for_good(error: String) -> RunResult {
    RunResult::FailedForGood { error: cut(error) }
}

fn cut(error: String) -> String {
    match error.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error,
    }
}

fn finish(job: &ClaimedJob, concluded: Conclusion, started_at: Timestamp, now: Timestamp) -> Finish {
    Finish {
        lease: job.lease,
        order: job.order.clone(),
        attempt: job.attempt,
        outcome: concluded.outcome,
        started_at,
        finished_at: now,
        error: concluded.error,
        result: concluded.result,
        delivery: None,
        next: concluded.next,
        available_at: concluded.due_at.unwrap_or(job.available_at),
        counts: concluded.counts,
        blocks: concluded.blocks,
    }
}

/// Records in the span, and logs, how an attempt ended. Whether its outcome counts is not known yet: the recorder logs
/// dead letters.
fn tell(job: &ClaimedJob, span: &tracing::Span, concluded: &Conclusion) {
    span.record("hookbox.status", concluded.next.as_str());
    debug!(
        job,
        outcome = concluded.outcome.as_str(),
        status = concluded.next.as_str(),
        due_at = concluded.due_at.map(tracing::field::display),
        "an attempt ended"
    );
    let Some(error) = &concluded.error else { return };
    span.record("otel.status_code", "ERROR");
    span.record("error.message", error.as_str());
    tracing::info!(
        trace_id = job.traceparent.trace_id(),
        webhook_id = %job.lease.job.webhook,
        route = job.route.as_str(),
        attempt = job.attempt,
        outcome = concluded.outcome.as_str(),
        error = error.as_str(),
        "an attempt did not complete"
    );
}

/// The span of an attempt, with the names and attributes of the OpenTelemetry conventions for messaging
/// (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>).
fn attempt_span(job: &ClaimedJob, handler: &str) -> tracing::Span {
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
        messaging.message.id = %job.lease.job.webhook,
        hookbox.webhook.id = %job.lease.job.webhook,
        hookbox.event_type = job.event_type.as_str(),
        hookbox.route = job.route.as_str(),
        hookbox.attempt.number = i64::from(job.attempt),
        hookbox.queue_wait_seconds = waited.as_secs_f64(),
        hookbox.handler = handler,
        hookbox.status = Empty,
    )
}
