//! What is counted and logged of attempts that ended, whether their handlers ran in hookbox or in a worker elsewhere.

use std::time::Duration;

use jiff::Timestamp;

use super::{DEAD_LETTERED, Finish};
use crate::domain::alert::Alert;
use crate::domain::attempt::{Conclusion, Lease, Outcome};
use crate::domain::job::Status;
use crate::domain::route::{OrderValue, RouteName};
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, Source};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::repeated::Repeated;

static LOST_LEASES: Repeated = Repeated::new("attempts end under their leases again");

/// The names of a job, for its log lines and metrics.
pub(crate) struct JobNames<'a> {
    pub(crate) route: &'a RouteName,
    pub(crate) source: &'a Source,
    pub(crate) event_type: &'a EventType,
    pub(crate) traceparent: &'a Traceparent,
}

impl Finish {
    /// The end of an attempt that was `concluded`. The job was due at `was_due` for this attempt. The pair of times is
    /// when the attempt started and ended.
    pub(crate) fn concluded(
        lease: Lease,
        order: Option<OrderValue>,
        attempt: u32,
        was_due: Timestamp,
        (started_at, finished_at): (Timestamp, Timestamp),
        concluded: Conclusion,
    ) -> Self {
        Self {
            lease,
            order,
            attempt,
            outcome: concluded.outcome,
            started_at,
            finished_at,
            error: concluded.error,
            result: concluded.result,
            delivery: None,
            health: None,
            next: concluded.next,
            available_at: concluded.due_at.unwrap_or(was_due),
            counts: concluded.counts,
            blocks: concluded.blocks,
        }
    }
}

/// Logs why an attempt did not complete. `trace_id` is none if it was taken over.
pub(crate) fn log_failure(
    trace_id: Option<&str>,
    lease: Lease,
    route: &RouteName,
    attempt: u32,
    outcome: Outcome,
    error: &str,
) {
    tracing::info!(
        trace_id,
        webhook_id = %lease.job.webhook,
        route = route.as_str(),
        attempt,
        outcome = outcome.as_str(),
        error,
        "an attempt did not complete"
    );
}

/// Counts an outcome that was sent to the store, and logs it if the lease was lost or the job is a dead letter. Raises an
/// alert of a dead letter. `now` is monotonic.
pub(crate) fn tell_end(
    metrics: &Metrics,
    now: Duration,
    finish: &Finish,
    names: &JobNames<'_>,
    is_recorded: bool,
) {
    let trace_id = names.traceparent.trace_id();
    if !is_recorded {
        metrics.lease_lost();
        LOST_LEASES.failed(|times| {
            tracing::warn!(
                times,
                trace_id,
                webhook_id = %finish.lease.job.webhook,
                attempt = finish.attempt,
                "the lease was lost before the attempt ended; its outcome does not count"
            );
        });
        return;
    }
    LOST_LEASES.works();
    match finish.next {
        Status::Completed => metrics.completed(now),
        Status::DeadLettered => {
            metrics.dead_lettered(names.route.as_str());
            let (webhook, error) = (finish.lease.job.webhook, finish.error.as_deref());
            metrics
                .alerts()
                .raise(|| Alert::dead_lettered(names.route, webhook, names.source, finish.attempt, error));
            tracing::warn!(
                trace_id,
                webhook_id = %finish.lease.job.webhook,
                route = names.route.as_str(),
                source = names.source.as_str(),
                event_type = names.event_type.as_str(),
                attempts = finish.attempt,
                error = finish.error.as_deref(),
                "{DEAD_LETTERED}"
            );
        }
        _ => {}
    }
}
