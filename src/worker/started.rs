//! A started attempt, and what ends it: its handler, by returning, or the pool, by abandoning the attempt. Exactly one
//! of the two does.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::clock::Clock;
use crate::domain::policy::{PoliciesInForce, Policy};
use crate::store::ClaimedJob;
use crate::telemetry::metrics::Stopwatch;

/// How long a handler may take to return after it was told to stop. Then its attempt is abandoned.
pub(super) const RETURN_TIME: Duration = Duration::from_secs(10);

/// A started attempt: what its end is concluded from. Its thread, the slots and the recorder share it.
#[derive(Debug)]
pub(super) struct Started {
    /// The job, without its payload, which the thread has.
    pub(super) job: ClaimedJob,
    /// The policy in force at the start.
    pub(super) policy: Arc<Policy>,
    pub(super) started_at: Timestamp,
    pub(super) took: Stopwatch,
    /// The monotonic time at which the timeout of the route ends; none if the route has no timeout.
    pub(super) deadline: Option<Duration>,
    /// What ended the attempt; empty while its handler runs.
    end: OnceLock<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Returned,
    Abandoned,
}

impl Started {
    /// An attempt that starts now.
    pub(super) fn new(job: ClaimedJob, policy: Arc<Policy>, clock: &dyn Clock) -> Self {
        let deadline = policy.timeout.and_then(|timeout| clock.monotonic().checked_add(timeout));
        let (started_at, took) = (clock.now(), Stopwatch::start());
        Self { job, policy, started_at, took, deadline, end: OnceLock::new() }
    }

    /// Notes that the handler has returned. False if the attempt was abandoned before: then its result is dropped.
    pub(super) fn returns(&self) -> bool {
        *self.end.get_or_init(|| End::Returned) == End::Returned
    }

    /// Abandons the attempt. False if its handler has returned, or if the attempt was abandoned before.
    pub(super) fn abandon(&self) -> bool {
        self.end.set(End::Abandoned).is_ok()
    }

    /// Whether the handler has returned, or the attempt was abandoned.
    pub(super) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// The policy in force now, which decides when the attempt ends; that of the start if the route is gone by then.
    pub(super) fn policy_in(&self, in_force: &PoliciesInForce) -> Arc<Policy> {
        Arc::clone(in_force.get().get(&self.job.route).unwrap_or(&self.policy))
    }

    /// Whether the timeout of the route is over at this monotonic time.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }
}
