//! A thread of the pool. Runs handlers one after the other, and sends the outcome of each attempt to the
//! recorder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::mpsc::UnboundedSender;
use tracing::Span;
use tracing::field::Empty;

use super::Shared;
use super::handler::{Attempt, Failure, Handler};
use super::recorder::Ended;
use super::started::Started;
use super::threads::Threads;
use crate::domain::attempt::{Conclusion, MAX_RESULT_BYTES, RunResult, conclude, cut};
use crate::domain::breaker::Health;
use crate::domain::clock::Signal;
use crate::domain::delivery::Delivery;
use crate::domain::error::message_of_panic;
use crate::domain::json;
use crate::store::outcomes::log_failure;
use crate::store::{ClaimedJob, Finish};
use crate::telemetry::trace;

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

/// The result of running a handler, and what the handler has left with its attempt.
struct Ran {
    result: RunResult,
    /// What the handler sent and was answered.
    delivery: Option<Delivery>,
    /// What the handler found out about its target.
    health: Option<Health>,
}

impl From<RunResult> for Ran {
    fn from(result: RunResult) -> Self {
        Self { result, delivery: None, health: None }
    }
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

    /// Runs until the queue ends the thread, or until the handler of an abandoned attempt returns: by then another
    /// thread may have taken the place of this one.
    pub(super) fn work(mut self) {
        self.shared.queue.started();
        while let Some(((mut job, stop), start)) = self.shared.queue.take() {
            self.threads.start_if(start);
            let (lease, payload) = (job.lease, job.payload.take());
            let bytes = payload.as_ref().map_or(0, Vec::len);
            let mut started = None;
            // `handle` catches panics of handlers; this catches panics of hookbox itself.
            let ran = catch_unwind(AssertUnwindSafe(|| {
                started = self.start(job);
                match &started {
                    Some(started) => self.run(started, payload, &stop),
                    None => Some(Ended::NotStarted(lease)),
                }
            }));
            if started.is_some_and(|started| !started.returns()) {
                self.shared.slots.returned(bytes);
                self.shared.metrics.abandoned_returned();
                return;
            }
            let sent = ran.map(|ended| ended.is_some_and(|ended| self.outcomes.send(ended).is_ok()));
            if !matches!(sent, Ok(true)) {
                tracing::error!(webhook_id = %lease.job.webhook, "a worker thread failed; its job is taken over when the lease expires");
                self.shared.free_threads([lease].into_iter());
                self.shared.forget([lease]);
            }
        }
    }

    /// Starts an attempt, unless the pool stops, the lease may have expired while the job waited for its thread, or a
    /// reload since the claim has removed the route or made it a pulled one. Then the job is given back.
    fn start(&self, job: ClaimedJob) -> Option<Arc<Started>> {
        let Shared { policies, clock, slots, .. } = self.shared.as_ref();
        let policy = policies.get().get(&job.route).filter(|policy| !policy.is_pulled()).cloned();
        let Some(policy) = policy else { return not_started(&job) };
        let started = Arc::new(Started::new(job, policy, clock.as_ref()));
        if slots.start(&started, clock.monotonic()) { Some(started) } else { not_started(&started.job) }
    }

    /// Runs the handler of a started attempt. None if the attempt was abandoned meanwhile.
    fn run(&mut self, started: &Arc<Started>, payload: Option<Vec<u8>>, stop: &Arc<Signal>) -> Option<Ended> {
        let Started { job, policy, .. } = started.as_ref();
        debug!(job, handler = policy.handler.name(), "an attempt starts");
        let span = attempt_span(job, policy.handler.name());
        trace::continue_from(&span, &job.traceparent);
        let _entered = span.enter();
        let Ran { result, delivery, health } = match self.shared.registry.get(policy.handler.name()).cloned()
        {
            Some(handler) => self.handle(handler.as_ref(), started, payload.as_deref(), stop),
            None => {
                let error = format!("there is no handler `{}`; check the settings", policy.handler);
                failed_for_good(error).into()
            }
        };
        if !started.returns() {
            tell_late(started, &span);
            return None;
        }
        let finish = finish(&self.shared, started, result, &span, &mut self.random);
        let finish = Finish { delivery: delivery.map(Arc::new), health, ..finish };
        Some(Ended::Attempt { finish, started: Arc::clone(started) })
    }

    /// Runs the handler.
    fn handle(
        &self,
        handler: &dyn Handler,
        started: &Started,
        payload: Option<&[u8]>,
        stop: &Arc<Signal>,
    ) -> Ran {
        let Some(payload) = payload else {
            let error = "the payload is gone, because its retention is over".to_owned();
            return failed_for_good(error).into();
        };
        let clock = self.shared.clock.as_ref();
        let Started { job, policy, deadline, .. } = started;
        let (kept, health, result, last_output) = Default::default();
        let deadline = *deadline;
        let attempt =
            Attempt { job, payload, policy, stop, clock, deadline, kept, health, result, last_output };
        // Unwind safe: the handler cannot leave our state half changed, and is responsible for its own.
        let returned = catch_unwind(AssertUnwindSafe(|| handler.handle(&attempt)));
        let overdue = attempt.overdue();
        let Attempt { kept, health, result, .. } = attempt;
        let result = match returned {
            Ok(Ok(value)) => completed(left(result).unwrap_or_else(|| value.to_string())),
            Ok(Err(Failure::Retry { error, after })) => {
                RunResult::Failed { error: cut(error), retry_after: after }
            }
            Ok(Err(Failure::Permanent { error })) => failed_for_good(error),
            Ok(Err(Failure::Stopped)) if stop.is_raised() => RunResult::Stopped,
            Ok(Err(Failure::Stopped)) => failed(overdue.unwrap_or_else(|| {
                "the handler returned `Stopped`, but the attempt was not told to stop".to_owned()
            })),
            Err(panic) => {
                let text = message_of_panic(panic.as_ref());
                failed(format!("the handler panicked: {text}"))
            }
        };
        Ran { result, delivery: left(kept), health: left(health) }
    }
}

/// What a handler has left with its attempt.
fn left<T>(kept: Mutex<Option<T>>) -> Option<T> {
    kept.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Concludes an attempt by the policy in force now. The caller adds the delivery.
pub(super) fn finish(
    shared: &Shared,
    started: &Started,
    ran: RunResult,
    span: &Span,
    random: &mut SmallRng,
) -> Finish {
    let (job, policy) = (&started.job, started.policy_in(&shared.policies));
    let now = shared.clock.now();
    let concluded = conclude(ran, job.attempt_of_run, &policy, now, random);
    shared.metrics.attempted(
        job.route.as_str(),
        policy.handler.name(),
        concluded.outcome.as_str(),
        started.took.elapsed(),
    );
    tell(job, span, &concluded);
    let times = (started.started_at, now);
    Finish::concluded(job.lease, job.order.clone(), job.attempt, job.available_at, times, concluded)
}

fn not_started(job: &ClaimedJob) -> Option<Arc<Started>> {
    debug!(job, "an attempt is not started; its job is given back");
    None
}

/// The end of an attempt with a result, as JSON.
fn completed(result: String) -> RunResult {
    if result.len() > MAX_RESULT_BYTES {
        let bytes = result.len();
        return failed_for_good(format!(
            "the handler's result has {bytes} bytes, but at most {MAX_RESULT_BYTES} are allowed; return a smaller one"
        ));
    }
    if let Err(problem) = json::check_readable(&result) {
        return failed_for_good(format!("the handler's result {problem}"));
    }
    RunResult::Completed { result }
}

fn failed(error: String) -> RunResult {
    RunResult::Failed { error: cut(error), retry_after: None }
}

fn failed_for_good(error: String) -> RunResult {
    RunResult::FailedForGood { error: cut(error) }
}

/// Records in the span, and logs, how an attempt ended. Whether its outcome counts is not known yet: the recorder logs
/// dead letters.
fn tell(job: &ClaimedJob, span: &Span, concluded: &Conclusion) {
    span.record("hookbox.status", concluded.next.as_str());
    debug!(
        job,
        outcome = concluded.outcome.as_str(),
        status = concluded.next.as_str(),
        due_at = concluded.due_at.map(tracing::field::display),
        "an attempt ended"
    );
    let Some(error) = &concluded.error else { return };
    span.record("error.type", concluded.outcome.as_str());
    span.record("otel.status_code", "ERROR");
    span.record("error.message", error.as_str());
    let trace_id = job.traceparent.trace_id();
    log_failure(Some(trace_id), job.lease, &job.route, job.attempt, concluded.outcome, error);
}

/// Records in the span, and logs, that the handler of an abandoned attempt has returned.
fn tell_late(started: &Started, span: &Span) {
    span.record("error.type", "abandoned");
    span.record("otel.status_code", "ERROR");
    span.record("error.message", "the handler returned after its attempt was abandoned");
    let job = &started.job;
    tracing::info!(
        trace_id = job.traceparent.trace_id(),
        webhook_id = %job.lease.job.webhook,
        route = job.route.as_str(),
        attempt = job.attempt,
        took_seconds = started.took.seconds(),
        "the handler of an abandoned attempt has returned; its result is dropped, and its thread ends"
    );
}

/// The span of an attempt, with the names and attributes of the OpenTelemetry conventions for messaging
/// (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>).
fn attempt_span(job: &ClaimedJob, handler: &str) -> Span {
    let waited = job.claimed_at.duration_since(job.available_at);
    tracing::info_span!(
        "process",
        otel.name = format!("process {}", job.source),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.r#type = Empty,
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
